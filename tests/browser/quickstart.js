// Two browsers chat through the program of docs/quickstart.md, which scripts/quickstart has built: the argument is its path.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { launchChromium } from "./chromium.js";

const program = spawn(process.argv[2], { stdio: ["ignore", "pipe", "inherit"] });
const ended = once(program, "exit");
// Whatever fails from here on, it does not stay.
process.on("exit", () => program.kill());
const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
const first = (await lines.next()).value;
const url = /^open (http:\S+) in two tabs$/.exec(first)?.[1];
assert.ok(url, `the program says ${first}`);

const browser = await launchChromium();

/// A browser of its own, with cookies and storage of its own.
async function open(name) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(url);
  const sees = (line) => page.waitForFunction(
    (line) => document.querySelector("pre").textContent.split("\n").includes(line),
    line,
    { timeout: 30_000 },
  );
  const say = async (text) => {
    await page.fill("input", text);
    await page.click("button");
  };
  await sees("What is your name?");
  await say(name);
  await sees(`${name} is here`);
  return { page, sees, say };
}

try {
  const ada = await open("Ada");
  const grace = await open("Grace");
  await ada.sees("Grace is here");
  await ada.say("<b>hello</b>");
  await grace.sees("Ada: <b>hello</b>");
  await grace.say("hello, Ada");
  await ada.sees("Grace: hello, Ada");
  await grace.page.close();
  await ada.sees("Grace has left");

  program.kill("SIGTERM");
  await ada.sees("(closed with 1001)");
  assert.deepEqual(await ended, [0, null]);
  console.log(`the program says: ${(await lines.next()).value}`);
} finally {
  await browser.close();
  program.kill("SIGKILL");
}
