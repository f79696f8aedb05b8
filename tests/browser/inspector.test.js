// The inspector's page as an operator uses it: by its labels, and by keyboard. Run by scripts/browser. Screenshots go to
// target/browser.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { connect as connectSocket } from "node:net";
import { after, afterEach, before, test as nodeTest } from "node:test";

import { ROOT, launchChromium, startExample } from "./chromium.js";

const SCREENSHOTS = `${ROOT}target/browser/`;
const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let server;
let browser;
let contexts = [];
let sockets = [];
let wrongs = []; // What no page may do: fail in a script, break the policy, ask another host.

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  browser = await launchChromium();
});

after(() => browser?.close());

afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  for (const socket of sockets) socket.destroy();
  [contexts, sockets] = [[], []];
  await server?.stop();
  server = undefined;
  const found = wrongs;
  wrongs = [];
  assert.deepEqual(found, []);
});

async function startChat(...more) {
  server = await startExample("chat", ["--listen", "127.0.0.1:0", "--pace", "100000", ...more]);
  return new URL(server.where);
}

/// So many clients in rooms of the chat, over bare sockets; those that are deaf never read.
async function enterChat({ host, hostname, port }, count, { room, isDeaf = false }) {
  const entered = [];
  for (let number = 0; number < count; number += 1) {
    const socket = connectSocket({ host: hostname, port: Number(port) });
    sockets.push(socket);
    entered.push(socket);
    socket.on("error", () => {});
    const head = [
      `GET /chat?user=${room}${number} HTTP/1.1`, `Host: ${host}`, "Connection: Upgrade", "Upgrade: websocket",
      "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ];
    socket.write(head.join("\r\n"));
    await new Promise((resolve) => socket.once("data", resolve));
    if (isDeaf) socket.pause();
    else socket.resume();
    say(socket, { type: "enter", room });
  }
  return entered;
}

/// A frame with a mask of zeroes.
function say(socket, value) {
  const text = Buffer.from(JSON.stringify(value));
  const length = text.length < 126 ? [0x80 | text.length] : [0x80 | 126, text.length >> 8, text.length & 255];
  socket.write(Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), text]));
}

const nameOf = (socket) => `${socket.localAddress}:${socket.localPort}`;

async function openInspector(url, { viewport = WIDE, colorScheme = "light" } = {}) {
  const context = await browser.newContext({ viewport, colorScheme });
  context.setDefaultTimeout(20_000);
  contexts.push(context);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrongs.push(String(error)));
  page.on("console", (message) => /Content Security Policy/.test(message.text()) && wrongs.push(message.text()));
  page.on("request", (request) => /^data:/.test(request.url()) || new URL(request.url()).host === url.host || wrongs.push(request.url()));
  await page.goto(new URL("/inspect", url).href);
  await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
  return page;
}

const waitForCount = (page, count) => page.locator("#count").filter({ hasText: new RegExp(`^${count}$`) }).waitFor();
const waitForRange = (page, text) => page.locator("#range").filter({ hasText: text }).waitFor();
const firstPeer = (page) => page.locator("#rows tr").first().locator("td span").first();
const waitForFirst = (page, peer) => firstPeer(page).filter({ hasText: peer }).waitFor();

test("without the flag there is nothing, and not on every address with it", async () => {
  const url = await startChat();
  assert.equal((await fetch(new URL("/inspect", url))).status, 404);
  await assert.rejects(startExample("chat", ["--listen", "0.0.0.0:0", "--inspect"]), /did not start/);
});

test("connections are seen, sorted, searched and turned over", async () => {
  const url = await startChat("--inspect");
  const page = await openInspector(url);
  await page.getByText("No connections.").waitFor();
  const [first] = await enterChat(url, 1, { room: "garden" });
  await waitForCount(page, 1);
  await waitForFirst(page, nameOf(first));
  await enterChat(url, 59, { room: "attic" });
  await waitForCount(page, 60);
  await waitForRange(page, "1–50 of 60");
  await page.getByRole("button", { name: "Next" }).click();
  await waitForRange(page, "51–60 of 60");
  assert.equal(await page.locator("#rows tr").count(), 10);

  const heading = page.getByRole("columnheader", { name: "Age" });
  await heading.getByRole("button").click();
  await waitForFirst(page, nameOf(first));
  await waitForRange(page, "1–50 of 60");
  assert.equal(await heading.getAttribute("aria-sort"), "descending");
  assert.equal(await page.locator("[aria-sort]").count(), 1);
  await heading.getByRole("button").click();
  await page.waitForFunction((peer) => !document.querySelector("#rows").textContent.includes(peer), nameOf(first));
  assert.equal(await heading.getAttribute("aria-sort"), "ascending");

  await page.keyboard.press("/");
  await page.keyboard.type(`:${first.localPort}`);
  await waitForRange(page, "1–1 of 1");
  await page.getByText("1 of 60 connections are found.").waitFor();
  await page.keyboard.type(" nobody");
  await page.getByText("Nothing is found.").waitFor();
  // More words than the server takes.
  await page.locator("#search").fill(`:${first.localPort} ${": ".repeat(9)}`);
  await page.getByText("1 of 60 connections are found by the first 8 words.").waitFor();
  await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
  await page.locator("#search").fill("");
  const topic = page.getByRole("row").filter({ hasText: "attic" });
  await topic.first().filter({ hasText: "59" }).waitFor();
});

test("a slow reader is on top, and is closed by keyboard", async () => {
  const url = await startChat("--inspect");
  await enterChat(url, 5, { room: "garden" });
  const [deaf] = await enterChat(url, 1, { room: "noise", isDeaf: true });
  const [talker] = await enterChat(url, 1, { room: "noise" });
  const page = await openInspector(url);
  await waitForCount(page, 7);
  // More than the sockets between can hold.
  for (let said = 0; said < 1_000; said += 1) say(talker, { type: "say", room: "noise", text: "\u{1D11E}".repeat(2_000) });
  // Once the talker has read what it said, the order stays.
  await page.waitForFunction(() => document.querySelectorAll("#rows td.bar").length === 1);
  await waitForFirst(page, nameOf(deaf));
  await page.screenshot({ path: `${SCREENSHOTS}inspector.png` });

  await page.locator("#search").focus();
  while (!(await page.evaluate(() => document.activeElement.matches("#rows tr")))) await page.keyboard.press("Tab");
  await page.keyboard.press("Home");
  const focused = await page.evaluate(() => document.activeElement.textContent);
  assert.ok(focused.includes(nameOf(deaf)), focused);
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Close this connection?" });
  await dialog.filter({ hasText: nameOf(deaf) }).waitFor();
  await page.screenshot({ path: `${SCREENSHOTS}inspector-dialog.png` });
  // Whoever asks and thinks better of it has closed nothing.
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  assert.ok(await page.evaluate(() => document.activeElement.matches("#rows tr")));
  await waitForCount(page, 7);

  await page.keyboard.press("Home");
  await page.keyboard.press("Delete");
  await dialog.filter({ hasText: nameOf(deaf) }).waitFor();
  await dialog.getByLabel("Close code").selectOption("1008");
  await dialog.getByLabel("Close code").focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "confirm");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  await waitForCount(page, 6);
  await page.locator("#legend").filter({ hasText: "1008 policy: 1" }).waitFor();
  assert.ok(!talker.closed);
});

test("it fits a phone, in the dark, and a paused list stands still", async () => {
  const url = await startChat("--inspect");
  await enterChat(url, 4, { room: "garden" });
  for (const [name, look] of Object.entries({
    "inspector-phone": { viewport: PHONE },
    "inspector-phone-dark": { viewport: PHONE, colorScheme: "dark" },
    "inspector-dark": { colorScheme: "dark" },
  })) {
    const page = await openInspector(url, look);
    await waitForCount(page, 4);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0, name);
    await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true });
  }

  const page = await openInspector(url, { viewport: PHONE });
  await waitForCount(page, 4);
  await page.getByLabel("Sort by").selectOption("Peer");
  await page.getByRole("button", { name: "Ascending" }).waitFor();
  await page.keyboard.press("Escape"); // Out of the list of orders, where letters choose.
  await page.getByRole("heading", { name: "Inspector" }).click();
  await page.keyboard.press("p");
  await page.getByRole("button", { name: "Paused", pressed: true }).waitFor();
  const other = await openInspector(url);
  await enterChat(url, 1, { room: "garden" });
  await waitForCount(other, 5);
  await waitForCount(page, 4);
  await page.getByRole("button", { name: "Paused" }).click();
  await waitForCount(page, 5);
});

test("a drain is watched to its end", async () => {
  const url = await startChat("--inspect");
  await enterChat(url, 1, { room: "garden", isDeaf: true });
  const page = await openInspector(url);
  await waitForCount(page, 1);
  const stopped = server.stop();
  await page.getByRole("heading", { name: "Draining" }).waitFor();
  await page.getByText(/1 left, 0 ended cleanly/).waitFor();
  await page.getByRole("status").filter({ hasText: "Drained, trying again" }).waitFor();
  await page.getByRole("heading", { name: "Drained" }).waitFor();
  await page.getByText(/0 left, [01] ended cleanly, [01] cut/).waitFor();
  await page.screenshot({ path: `${SCREENSHOTS}inspector-drained.png` });
  await stopped;
  server = undefined;
});
