// Chromium talks to the echo example over HTTP/1.1: each kind of message, compressed and not, and both kinds of ends.
// Run by scripts/browser.

import assert from "node:assert/strict";
import { after, before, test as nodeTest } from "node:test";

import { launchChromium, startExample } from "./chromium.js";

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let browser;

before(async () => {
  browser = await launchChromium();
});

after(() => browser?.close());

/// A page that came from the echo, as the origin check wants it.
async function openPage(deflate) {
  const server = await startExample("echo", ["--listen", "127.0.0.1:0", "--deflate", deflate, "--subprotocol", "echo.v1"]);
  const page = await browser.newPage();
  await page.goto(`http://${server.where}/closed`);
  return { server, page };
}

for (const deflate of ["off", "shared", "dedicated"]) {
  test(`messages of each kind come back, compression ${deflate}`, async () => {
    const { server, page } = await openPage(deflate);
    const result = await page.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/echo`, ["other", "echo.v1"]);
      socket.binaryType = "arraybuffer";
      await new Promise((resolve) => socket.onopen = resolve);
      const noise = new Uint8Array(1024 * 1024);
      for (let at = 0; at < noise.length; at += 65536) crypto.getRandomValues(noise.subarray(at, at + 65536));
      const messages = ["hello", "aä€😀", "", "again and ".repeat(100_000), new Uint8Array([0, 1, 255]), new Uint8Array(0), noise];
      const isSame = (got, sent) => typeof sent === "string" ? got === sent
        : got.byteLength === sent.length && new Uint8Array(got).every((byte, at) => byte === sent[at]);
      const same = [];
      for (const message of [...messages, ...messages]) {
        const answer = new Promise((resolve) => socket.onmessage = ({ data }) => resolve(data));
        socket.send(message);
        same.push(isSame(await answer, message));
      }
      const closed = new Promise((resolve) => socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean }));
      socket.close(4001, "bye");
      return { same, extensions: socket.extensions, protocol: socket.protocol, ...await closed };
    });
    assert.deepEqual(result.same, Array(14).fill(true));
    assert.equal(result.protocol, "echo.v1");
    assert.equal(/^permessage-deflate/.test(result.extensions), deflate !== "off", result.extensions);
    assert.deepEqual([result.code, result.wasClean], [4001, true]);
    await page.close();
    await server.stop();
  });
}

test("a server that is killed is an unclean close", async () => {
  const { server, page } = await openPage("off");
  const closed = page.evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/echo`);
    socket.onopen = () => document.title = "open";
    socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
  }));
  await page.waitForFunction(() => document.title === "open");
  await server.stop("SIGKILL");
  assert.deepEqual(await closed, { code: 1006, wasClean: false });
});
