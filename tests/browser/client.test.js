// The client that dreamsocket-schema writes, on a WebSocket that does what no server does on demand; without a browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, mock, test } from "node:test";

const source = await readFile(new URL("../../crates/dreamsocket-schema/src/client.js", import.meta.url), "utf8");
const { connect } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

let sockets;
let listeners;

class Socket {
  static OPEN = 1;
  readyState = 0;

  constructor(url) {
    if (url === "refused:") throw new SyntaxError("This page may not connect there.");
    sockets.push(this);
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  close() {
    this.readyState = 2;
  }

  lose(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

beforeEach(() => {
  sockets = [];
  listeners = new Map();
  const target = {
    addEventListener: (type, listener) => listeners.set(type, listener),
    removeEventListener: (type, listener) => listeners.get(type) === listener && listeners.delete(type),
  };
  Object.assign(globalThis, target, { WebSocket: Socket, document: { ...target, hidden: false } });
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
});

afterEach(() => mock.timers.reset());

const LONG = 60_000; // Longer than any wait.

/// A connection whose first socket has opened and is lost.
function connectAndLose(handlers) {
  const connection = connect("ws://here", handlers);
  sockets[0].open();
  sockets[0].lose();
  return connection;
}

test("a lost connection comes back", () => {
  const states = [];
  connectAndLose({ onState: ({ state }) => states.push(state), onMessage() {} });
  mock.timers.tick(500);
  sockets[1].open();
  assert.deepEqual(states, ["connecting", "open", "waiting", "connecting", "open"]);
});

test("it comes back after the codes that the Rust client comes back after, and no others", () => {
  const check = (code, comesBack) => {
    sockets = [];
    const changes = [];
    connect("ws://here", { onState: (change) => changes.push(change), onMessage() {} });
    sockets[0].open();
    sockets[0].lose(code, "why");
    mock.timers.tick(LONG);
    assert.equal(sockets.length, comesBack ? 2 : 1, `${code}`);
    if (comesBack) {
      sockets[1].lose(1008);
    } else {
      assert.deepEqual(changes.at(-1), { state: "refused", code, reason: "why" });
    }
    assert.equal(listeners.size, 0, `${code}`);
  };
  for (const code of [1001, 1006, 1011, 1012, 1013]) check(code, true);
  for (const code of [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1014, 1015, 3000, 4000, 4001, 4999]) check(code, false);
});

test("nothing comes after a close() while it connects again", () => {
  const messages = [];
  let connection = null;
  const onState = ({ state }) => state === "connecting" && connection?.close();
  connection = connectAndLose({ onState, onMessage: (message) => messages.push(message) });
  mock.timers.tick(LONG);
  assert.equal(sockets.length, 2);
  assert.equal(sockets[1].readyState, 2);
  sockets[1].onmessage({ data: "1" });
  sockets[1].lose();
  mock.timers.tick(LONG);
  assert.deepEqual(messages, []);
  assert.equal(sockets.length, 2);
  assert.equal(listeners.size, 0);
});

test("retry() while it connects is one attempt", () => {
  let connection = null;
  connection = connectAndLose({ onState: ({ state }) => state === "connecting" && connection?.retry(), onMessage() {} });
  mock.timers.tick(500);
  assert.equal(sockets.length, 2);
});

test("a handler that throws while it connects again does not end it", () => {
  let throws = false;
  const onState = () => {
    if (throws) throw new Error("of the page");
  };
  const connection = connectAndLose({ onState, onMessage() {} });
  throws = true;
  assert.throws(() => mock.timers.tick(500), /of the page/);
  throws = false;
  sockets[1].open();
  sockets[1].send = () => {};
  assert.ok(connection.send({}));
  throws = true;
  assert.throws(() => listeners.get("offline")(), /of the page/);
  assert.equal(sockets[1].readyState, 2);
});

test("nothing is left of a connect() that throws", () => {
  assert.throws(() => connect("refused:", { onMessage() {} }), SyntaxError);
  const onState = () => {
    throw new Error("of the page");
  };
  assert.throws(() => connect("ws://here", { onState, onMessage() {} }), /of the page/);
  assert.equal(sockets[0].readyState, 2);
  assert.equal(listeners.size, 0);
  mock.timers.tick(LONG);
  assert.equal(sockets.length, 1);
});
