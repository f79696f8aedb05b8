// Starts what the tests need: an example of this project, and headless Chromium.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const TARGET = process.env.CARGO_TARGET_DIR ?? `${ROOT}target`;

/// Starts an example that scripts/browser has built, and waits until it accepts.
export async function startExample(name, flags) {
  const program = spawn(`${TARGET}/release/${name}`, flags, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => program.once("exit", resolve));
  for await (const line of createInterface({ input: program.stdout })) {
    const where = /^listening on (\S+)/.exec(line)?.[1];
    if (where) {
      program.stdout.resume();
      return { where, stop: (signal = "SIGTERM") => (program.kill(signal), ended) };
    }
  }
  throw new Error(`${name} did not start: exit ${await ended}`);
}

/// For what no real server does on demand: run in a page before its own scripts, it takes the server's place. What the page
/// connects to is in `sockets`; `tell` has something come on the last of them, and `hangUp` closes it.
export function playServer() {
  window.sockets = [];
  window.WebSocket = class {
    constructor() {
      sockets.push(this);
    }
    send() {}
  };
  window.tell = (bytes) => sockets.at(-1).onmessage({ data: Uint8Array.from(bytes).buffer });
  window.hangUp = () => sockets.at(-1).onclose();
}

/// Each launch has a fresh user data directory.
export function launchChromium(...more) {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more,
    ],
  });
}
