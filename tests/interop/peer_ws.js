// Node's `ws`, as a client of ours or a server for our client. See README.md for how it is called.

import { once } from "node:events";
import { createRequire } from "node:module";

import WebSocket, { WebSocketServer } from "ws";

const MEBIBYTE = 1024 * 1024;
const LINE = Array.from({ length: 40 }, (_, number) => `{"line":${number},"text":"hello"}`).join("");
const NOISE = Buffer.alloc(MEBIBYTE);
for (let number = 0; number < MEBIBYTE / 4; number += 1) NOISE.writeUInt32LE(Math.imul(number, 2654435761) >>> 0, number * 4);

const MESSAGES = {
  "text": "hello",
  "text of many scripts": "aä€😀 ひらがな",
  "empty text": "",
  "compressible text": LINE,
  "1 MiB of text": LINE.repeat(1000).slice(0, MEBIBYTE),
  "binary": Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  "empty binary": Buffer.alloc(0),
  "1 MiB of noise": NOISE,
};

// As in checks.py, which says why.
const REPEATED = NOISE.subarray(0, 8 * 1024).toString("hex");
const REPETITIONS = 64;
const TOO_LONG = LINE.repeat(100);
const GOING_AWAY = "the server is shutting down";

// What a client may ask for: options of the library's offer.
const OFFERS = {
  "default": {},
  "server alone": { serverNoContextTakeover: true },
  "client alone": { clientNoContextTakeover: true },
  "server window 9": { serverMaxWindowBits: 9 },
  "client window 9": { clientMaxWindowBits: 9 },
  "windows 15": { serverMaxWindowBits: 15, clientMaxWindowBits: 15 },
};

function check(name, got, expected) {
  const isSame = Buffer.isBuffer(expected) ? Buffer.isBuffer(got) && expected.equals(got) : got === expected;
  if (!isSame) {
    console.log(`${name}: expected ${String(expected).slice(0, 100)}, got ${String(got).slice(0, 100)}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

/// Waits for something, and ends the program if it does not come.
async function within(promise, what) {
  const timer = setTimeout(() => check(what, "nothing", "something"), 20_000);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/// Messages in the order in which they come, also those that come before somebody asks.
function inbox(peer) {
  const waiting = [];
  const asked = [];
  peer.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    asked.length > 0 ? asked.shift()(message) : waiting.push(message);
  });
  return () => (waiting.length > 0 ? Promise.resolve(waiting.shift()) : within(new Promise((resolve) => asked.push(resolve)), "a message"));
}

/// Has everything echoed: the same whether we are the client or the server.
async function talk(peer, receive) {
  for (const [name, message] of Object.entries(MESSAGES)) {
    peer.send(message);
    check(name, await receive(), message);
  }
  for (let number = 0; number < REPETITIONS; number += 1) {
    peer.send(REPEATED);
    check("repeated text", await receive(), REPEATED);
  }
  peer.send("frag", { fin: false });
  peer.send("men", { fin: false });
  peer.send("ts", { fin: true });
  check("fragments", await receive(), "fragments");
  const pong = once(peer, "pong");
  peer.ping("payload");
  check("ping", (await within(pong, "a pong"))[0].toString(), "payload");
  for (let number = 0; number < 200; number += 1) peer.send(String(number));
  const numbers = [];
  while (numbers.length < 200) numbers.push(await receive());
  check("200 at once", numbers.join(), Array.from({ length: 200 }, (_, number) => number).join());
}

async function closeCleanly(peer) {
  const closed = once(peer, "close");
  peer.close(4001, "bye");
  const [code] = await within(closed, "a close");
  check("clean close", code, 4001);
}

async function open(url, deflate, offer = "default", protocols = ["other", "echo.v1"]) {
  const perMessageDeflate = deflate !== "off" && { threshold: 0, ...OFFERS[offer] };
  const peer = new WebSocket(url, protocols, { perMessageDeflate, maxPayload: 2 * MEBIBYTE });
  const receive = inbox(peer);
  await within(once(peer, "open"), "the handshake");
  return { peer, receive };
}

async function runClient(url, deflate) {
  for (const offer of deflate === "off" ? ["default"] : Object.keys(OFFERS)) {
    const { peer, receive } = await open(url, deflate, offer);
    check(`${offer}: extensions`, peer.extensions, deflate === "off" ? "" : "permessage-deflate");
    check("subprotocol", peer.protocol, "echo.v1");
    await talk(peer, receive);
    await closeCleanly(peer);
  }
  const { peer } = await open(url, deflate);
  peer.send("hello");
  peer.terminate();
  const again = await open(url, deflate);
  again.peer.send("hello");
  check("unclean close, and another connection", await again.receive(), "hello");
  await closeCleanly(again.peer);
}

async function runEnded(url, deflate) {
  const long = await open(url, deflate, "default", []);
  const refused = once(long.peer, "close");
  long.peer.send(TOO_LONG);
  check("too long", (await within(refused, "a close"))[0], 1009);

  const { peer, receive } = await open(url, deflate, "default", []);
  peer.send("hello");
  check("before the end", await receive(), "hello");
  const ended = once(peer, "close");
  console.log("ready");
  const [code, reason] = await within(ended, "a close");
  check("server ends", code, 1001);
  check("the reason", reason.toString(), GOING_AWAY);
}

async function handle(peer, path) {
  const receive = inbox(peer);
  if (path === "/abort") {
    peer.send("hello");
    check("before the unclean close", await receive(), "hello");
    peer.terminate();
    return;
  }
  await talk(peer, receive);
  await closeCleanly(peer);
}

async function runServer(deflate) {
  const server = new WebSocketServer({
    host: "127.0.0.1", port: 0, maxPayload: 2 * MEBIBYTE, perMessageDeflate: deflate !== "off" && { threshold: 0 },
  });
  server.on("connection", (peer, request) => handle(peer, request.url));
  await once(server, "listening");
  console.log(`listening on ${server.address().port}`);
}

console.log(`# ws ${createRequire(import.meta.url)("ws/package.json").version}`);
const [role, ...rest] = process.argv.slice(2);
await { client: runClient, ended: runEnded, server: runServer }[role](...rest);
