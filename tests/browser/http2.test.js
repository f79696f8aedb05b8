// Chromium opens WebSockets over HTTP/2 (RFC 8441) and TLS on the echo example. Run by scripts/browser.
//
// Chromium does so where it has an HTTP/2 connection to the server already; so the page comes from there. The echo's
// `/version` says what a WebSocket came over, as the server saw it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test as nodeTest } from "node:test";

import { launchChromium, startExample } from "./chromium.js";

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let folder;
let server;
let browser;
let page;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "dreamsocket-browser-"));
  const [certificate, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  execFileSync("openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate,
  ], { stdio: "pipe" });
  server = await startExample("echo", [
    "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key, "--deflate", "shared",
  ]);
  browser = await launchChromium("--ignore-certificate-errors");
  page = await browser.newPage();
  const response = await page.goto(`https://${server.where}/closed`);
  assert.equal(response.status(), 200);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/// Opens a WebSocket in the page, sends something if there is something, and tells of the first answer and the close.
const talk = (path, message) => page.evaluate(([path, message]) => new Promise((resolve) => {
  const socket = new WebSocket(`wss://${location.host}${path}`);
  let answer;
  socket.onopen = () => message !== undefined && socket.send(message);
  socket.onmessage = ({ data }) => {
    answer = data;
    socket.close(1000, "done");
  };
  socket.onclose = ({ code, wasClean }) => resolve({ answer, code, wasClean, extensions: socket.extensions });
}), [path, message]);

test("the page itself came over HTTP/2", async () => {
  const protocol = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
  assert.equal(protocol, "h2");
});

test("the WebSocket comes over HTTP/2, too", async () => {
  const { answer, code, wasClean } = await talk("/version");
  assert.deepEqual({ answer, code, wasClean }, { answer: "HTTP/2.0", code: 1000, wasClean: true });
});

test("messages go both ways over it, compressed", async () => {
  for (const message of ["hello", "ä€😀", "long ".repeat(100_000)]) {
    const { answer, wasClean, extensions } = await talk("/echo", message);
    assert.ok(answer === message);
    assert.ok(wasClean);
    assert.match(extensions, /^permessage-deflate/);
  }
});

test("many WebSockets share the connection", async () => {
  // Chromium itself holds back those beyond 16 that are opened at once.
  const talks = await Promise.all(Array.from({ length: 15 }, () => talk("/version")));
  for (const { answer, wasClean } of talks) assert.deepEqual({ answer, wasClean }, { answer: "HTTP/2.0", wasClean: true });
});

test("many more WebSockets than a page has leave room for requests", async () => {
  // Chromium puts all of a site's on one connection; one after the other, since it holds back those that are opened at once.
  const { open, status } = await page.evaluate(async () => {
    const sockets = [];
    for (let number = 0; number < 200; number += 1) {
      const socket = new WebSocket(`wss://${location.host}/version`);
      await new Promise((resolve, reject) => [socket.onopen, socket.onerror] = [resolve, reject]);
      sockets.push(socket);
    }
    const { status } = await fetch("/closed", { cache: "no-store" });
    for (const socket of sockets) socket.close();
    return { open: sockets.length, status };
  });
  assert.deepEqual({ open, status }, { open: 200, status: 200 });
});

test("without an HTTP/2 connection Chromium speaks HTTP/1.1, and that works as well", async () => {
  // ALPN without h2, as Chromium asks for when it opens a connection for a WebSocket alone.
  const other = await launchChromium("--ignore-certificate-errors", "--disable-http2");
  try {
    const page = await other.newPage();
    await page.goto(`https://${server.where}/closed`);
    const answer = await page.evaluate(() => new Promise((resolve) => {
      new WebSocket(`wss://${location.host}/version`).onmessage = ({ data }) => resolve(data);
    }));
    assert.equal(answer, "HTTP/1.1");
  } finally {
    await other.close();
  }
});

test("shutting down closes WebSockets on HTTP/2 with 1001", async () => {
  const closed = page.evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket(`wss://${location.host}/version`);
    socket.onmessage = () => document.title = "open";
    socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
  }));
  await page.waitForFunction(() => document.title === "open");
  const ended = server.stop();
  assert.deepEqual(await closed, { code: 1001, wasClean: true });
  assert.equal(await ended, 0);
});
