// Chromium talks to the echo example over HTTP/1.1: each kind of message, compressed and not, and both kinds of ends.
// Run by scripts/browser.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before, test as nodeTest } from "node:test";

import { launchChromium, startExample } from "./chromium.js";

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let browser;

before(async () => {
  browser = await launchChromium();
});

after(() => browser?.close());

/// Stands before a server and counts the bytes there and back, so that compression is seen on the wire.
async function startProxy(where) {
  const bytes = { there: 0, back: 0 };
  const proxy = createServer((page) => {
    const server = connect({ port: Number(where.split(":").pop()), host: "127.0.0.1" });
    page.on("data", ({ length }) => bytes.there += length).pipe(server).on("error", () => page.destroy());
    server.on("data", ({ length }) => bytes.back += length).pipe(page).on("error", () => server.destroy());
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  return { bytes, where: `127.0.0.1:${proxy.address().port}`, stop: () => proxy.close() };
}

/// A page that came from the echo, as the origin check wants it.
async function openPage(deflate) {
  const server = await startExample("echo", ["--listen", "127.0.0.1:0", "--deflate", deflate, "--subprotocol", "echo.v1"]);
  const proxy = await startProxy(server.where);
  const page = await browser.newPage();
  await page.goto(`http://${proxy.where}/closed`);
  return { server, proxy, page };
}

const EXTENSIONS = {
  off: "",
  shared: "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
  dedicated: "permessage-deflate",
};

for (const [deflate, extensions] of Object.entries(EXTENSIONS)) {
  test(`messages of each kind come back, compression ${deflate}`, async () => {
    const { server, proxy, page } = await openPage(deflate);
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
    assert.equal(result.extensions, extensions);
    assert.deepEqual([result.code, result.wasClean], [4001, true]);
    // A megabyte of text and one of noise, each twice; with compression only the noise is on the wire.
    const [least, most] = deflate === "off" ? [3.8e6, 4.4e6] : [2.0e6, 2.4e6];
    for (const [way, bytes] of Object.entries(proxy.bytes)) assert.ok(least < bytes && bytes < most, `${bytes} bytes ${way}`);
    await page.close();
    proxy.stop();
    await server.stop();
  });
}

const ENDS = [
  ["a server that is killed is an unclean close", "SIGKILL", { code: 1006, reason: "", wasClean: false }],
  ["a server that is asked to end says so", "SIGTERM", { code: 1001, reason: "the server is shutting down", wasClean: true }],
];

for (const [name, signal, expected] of ENDS) {
  test(name, async () => {
    const { server, proxy, page } = await openPage("off");
    const closed = page.evaluate(() => new Promise((resolve) => {
      const socket = new WebSocket(`ws://${location.host}/echo`);
      socket.onopen = () => document.title = "open";
      socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
    }));
    await page.waitForFunction(() => document.title === "open");
    await server.stop(signal);
    assert.deepEqual(await closed, expected);
    await page.close();
    proxy.stop();
  });
}
