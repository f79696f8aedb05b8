// Starts what the tests need: an example of this project, and headless Chromium.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/// Starts an example and waits until it accepts. On Unix `cargo run` becomes the program, so its pid is the example's.
export async function startExample(name, flags) {
  const command = ["run", "--quiet", "--release", "--locked", "-p", name, "--", ...flags];
  const program = spawn("cargo", command, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
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
