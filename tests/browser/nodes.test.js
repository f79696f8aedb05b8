// Two pages on two nodes behind nginx, as examples/chat/nginx.conf has it: they are in one chat, and when a node is killed its
// page goes on at the other one and misses nothing. Run by scripts/browser. Screenshots go to target/browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";

import { ROOT, launchChromium, startExample } from "./chromium.js";

const SCREENSHOTS = `${ROOT}target/browser/`;

let folder;
let browser;
const running = [];

/// A port that is free now; whoever takes it before the server does makes the test fail by its start.
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/// Starts a server of the machine and waits until it listens.
async function start(program, flags, port) {
  const child = spawn(program, flags, { stdio: "ignore", env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.once("error", () => {}); // It is told below.
  running.push(() => (child.kill("SIGTERM"), ended));
  for (let look = 0; look < 500; look += 1) {
    const isUp = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(socket.destroy() && true));
      socket.once("error", () => resolve(false));
    });
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${program} does not listen; scripts/setup installs it`);
}

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  folder = await mkdtemp(`${tmpdir()}/dreamsocket-nodes-`);
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  for (const stop of running.reverse()) await stop();
  await rm(folder, { recursive: true, force: true });
});

/// The committed file, but for the ports and where nginx may write. The third node is not there, and is left out.
async function startNginx(nodes) {
  const port = await freePort();
  const ports = { 3000: port, 3001: nodes[0], 3002: nodes[1], 3003: await freePort() };
  const committed = await readFile(`${ROOT}examples/chat/nginx.conf`, "utf8");
  const changed = committed
    .replace(/127\.0\.0\.1:(300\d)/g, (_, known) => `127.0.0.1:${ports[known]}`)
    .replace("/tmp/dreamsocket-chat-nginx.pid", `${folder}/nginx.pid`);
  assert.notEqual(changed, committed);
  await writeFile(`${folder}/nginx.conf`, changed);
  await start("nginx", ["-c", `${folder}/nginx.conf`, "-p", folder], port);
  return `http://localhost:${port}`;
}

async function openRoom(url, name) {
  const context = await browser.newContext({ viewport: { width: 900, height: 640 } });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  // Then no request of the page is under way any more, which nginx would count as a connection.
  await page.goto(url, { waitUntil: "networkidle" });
  await page.getByRole("textbox", { name: "Your name" }).fill(name);
  await page.getByRole("textbox", { name: "Room" }).fill("garden");
  await page.getByRole("button", { name: "Enter the room" }).click();
  await waitForState(page, "Connected");
  return page;
}

const say = async (page, text) => {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
};
const waitForState = (page, text) => page.locator("#state").filter({ hasText: text }).waitFor();
const waitForMessage = (page, text) => page.locator(".bubble").filter({ hasText: text }).waitFor();
const waitForNote = (page, text) => page.locator(".note").filter({ hasText: text }).waitFor();

test("a page whose node is killed goes on at another and misses nothing", { timeout: 120_000 }, async () => {
  const nats = await freePort();
  await start("nats-server", ["-a", "127.0.0.1", "-p", String(nats), "-js", "-sd", `${folder}/nats`], nats);
  const nodes = [];
  for (let node = 0; node < 2; node += 1) {
    const { where, stop } = await startExample("chat", ["--listen", "127.0.0.1:0", "--nats", `nats://127.0.0.1:${nats}`]);
    running.push(stop);
    nodes.push({ port: new URL(where).port, stop });
  }
  const url = await startNginx(nodes.map(({ port }) => port));

  // Who has the fewest connections gets the next one: each node has one.
  const ada = await openRoom(url, "Ada");
  const grace = await openRoom(url, "Grace");
  await waitForNote(ada, "Grace joined.");
  await say(ada, "Good evening, Grace.");
  await waitForMessage(grace, "Good evening, Grace.");
  await say(grace, "Good evening!");
  await waitForMessage(ada, "Good evening!");

  await nodes[0].stop("SIGKILL");
  const lost = await Promise.race([ada, grace].map(async (page) => (await waitForNote(page, "Connected again"), page)));
  const stayed = lost === ada ? grace : ada;
  await waitForState(lost, "Connected");
  // Again, and now it is told while the page is away.
  assert.equal(await stayed.locator(".note").filter({ hasText: "Connected again" }).count(), 0);
  await lost.context().setOffline(true);
  await waitForState(lost, "Disconnected");
  for (let number = 1; number <= 5; number += 1) {
    await say(stayed, `While you were away ${number}`);
    await waitForMessage(stayed, `While you were away ${number}`);
  }
  await lost.context().setOffline(false);
  await waitForMessage(lost, "While you were away 5");
  await say(lost, "Here again.");
  await waitForMessage(stayed, "Here again.");

  const texts = await lost.locator(".bubble").allTextContents();
  assert.deepEqual(texts, await stayed.locator(".bubble").allTextContents());
  assert.deepEqual(texts, [
    "Good evening, Grace.", "Good evening!",
    ...[1, 2, 3, 4, 5].map((number) => `While you were away ${number}`), "Here again.",
  ]);
  for (const page of [lost, stayed]) assert.equal(await page.locator(".note.warning").count(), 0);
  await lost.screenshot({ path: `${SCREENSHOTS}another-node.png`, animations: "disabled" });
});
