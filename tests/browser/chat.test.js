// Pages of headless Chromium talk to each other through the chat example, as people would: by its labels and buttons.
// Run by scripts/browser. Screenshots go to target/browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { after, afterEach, before, test as nodeTest } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SCREENSHOTS = `${ROOT}target/browser/`;
const WIDE = { width: 1180, height: 760 };
const PHONE = { width: 390, height: 780 };

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let server;
let browser;
let contexts = [];
let wrongs = []; // What no page may do: fail in a script, break the policy, ask another host.

/// Starts the chat and waits until it accepts. On Unix `cargo run` becomes the program, so its pid is the chat's.
async function startServer(listen = "127.0.0.1:0") {
  const flags = ["run", "--quiet", "--release", "--locked", "-p", "chat", "--", "--listen", listen];
  const program = spawn("cargo", flags, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => program.once("exit", resolve));
  for await (const line of createInterface({ input: program.stdout })) {
    const url = /^listening on (http:\S+)/.exec(line)?.[1];
    if (url) {
      program.stdout.resume();
      return { url, address: new URL(url).host, stop: () => (program.kill("SIGTERM"), ended) };
    }
  }
  throw new Error(`the chat did not start: exit ${await ended}`);
}

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  server = await startServer();
  browser = await chromium.launch({ // Each launch has a fresh user data directory.
    executablePath: "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  contexts = [];
  const found = wrongs;
  wrongs = [];
  assert.deepEqual(found, []);
});

async function openPage({ viewport = WIDE, colorScheme = "light" } = {}) {
  const context = await browser.newContext({ viewport, colorScheme });
  context.setDefaultTimeout(20_000);
  contexts.push(context);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrongs.push(String(error)));
  page.on("dialog", (dialog) => wrongs.push(`a dialog: ${dialog.message()}`));
  page.on("console", (message) => /Content Security Policy/.test(message.text()) && wrongs.push(message.text()));
  page.on("request", (request) => new URL(request.url()).host === server.address || wrongs.push(request.url()));
  await page.goto(server.url);
  return page;
}

async function enter(page, name, room) {
  await page.getByRole("textbox", { name: "Your name" }).fill(name);
  await page.getByRole("textbox", { name: "Room" }).fill(room);
  await page.getByRole("button", { name: "Enter the room" }).click();
  await waitForState(page, "Connected");
}

async function openRoom(name, room, options) {
  const page = await openPage(options);
  await enter(page, name, room);
  return page;
}

const say = async (page, text) => {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
};
const waitForState = (page, text) => page.locator("#state").filter({ hasText: text }).waitFor();
const waitForMessage = (page, text) => page.locator(".bubble").filter({ hasText: text }).waitFor();
const waitForNote = (page, text) => page.locator(".note").filter({ hasText: text }).waitFor();
const waitForError = (page, text) => page.getByRole("alert").filter({ hasText: text }).waitFor();
const waitForPeople = async (page, names) => {
  await page.waitForFunction((count) => document.getElementById("count").textContent === String(count), names.length);
  assert.deepEqual((await page.locator("#people bdi").allTextContents()).sort(), [...names].sort());
};

test("two pages see each other come, talk and go", async () => {
  const ada = await openRoom("Ada", "garden");
  await waitForNote(ada, "You are in garden.");
  await waitForPeople(ada, ["Ada"]);
  const grace = await openRoom("Grace", "garden");
  await waitForNote(ada, "Grace joined.");
  await waitForPeople(ada, ["Ada", "Grace"]);
  await waitForPeople(grace, ["Ada", "Grace"]);

  await say(ada, "Good evening, Grace.");
  await say(grace, "Good evening!");
  for (const page of [ada, grace]) {
    await waitForMessage(page, "Good evening, Grace.");
    await waitForMessage(page, "Good evening!");
  }
  assert.equal(await ada.locator(".own .bubble").textContent(), "Good evening, Grace.");
  assert.equal(await grace.locator(".own .bubble").textContent(), "Good evening!");

  await grace.getByRole("button", { name: "Leave" }).click();
  await grace.getByRole("textbox", { name: "Your name" }).waitFor();
  await waitForNote(ada, "Grace left.");
  await waitForPeople(ada, ["Ada"]);
});

test("other rooms hear nothing", async () => {
  const ada = await openRoom("Ada", "garden");
  const grace = await openRoom("Grace", "cellar");
  await say(ada, "Only for the garden.");
  await waitForMessage(ada, "Only for the garden.");
  await say(grace, "Only for the cellar.");
  await waitForMessage(grace, "Only for the cellar.");
  assert.equal(await ada.locator(".bubble").count(), 1);
  assert.equal(await grace.locator(".bubble").count(), 1);
});

test("HTML in names, rooms and messages is text", async () => {
  const name = "<img src=x onerror=alert(1)>";
  const room = "<b>bold</b>";
  const message = "<script>alert(2)</script><h1 onclick='alert(3)'>Hello</h1>";
  const mallory = await openRoom(name, room);
  const ada = await openRoom("Ada", room);
  await waitForPeople(ada, ["Ada", name]);
  await say(mallory, message);
  await waitForMessage(ada, message);
  await mallory.close();
  await waitForNote(ada, `${name} left.`);
  assert.equal(await ada.locator("#room-name").textContent(), room);
  assert.equal(await ada.locator(".bubble").textContent(), message);
  assert.equal(await ada.locator("#chat img:not([src='/icon.svg']), #chat b, #messages script, #messages h1").count(), 0);
});

test("what is too long is told, by the page and by the server", async () => {
  const ada = await openPage();
  await ada.getByRole("button", { name: "Enter the room" }).click();
  await waitForError(ada, "Choose a name.");
  await ada.getByRole("textbox", { name: "Your name" }).fill("x".repeat(33));
  await ada.getByRole("textbox", { name: "Your name" }).press("Enter");
  await waitForError(ada, "At most 32 characters; this name has 33.");
  await enter(ada, "Ada", "garden");

  await say(ada, "y".repeat(2_001));
  await waitForError(ada, "At most 2,000 characters; this message has 2,001.");
  await ada.getByRole("textbox", { name: "Message" }).fill("y".repeat(2_000));
  assert.equal(await ada.getByRole("alert").count(), 0);
  await ada.keyboard.press("Enter");
  await waitForMessage(ada, "y".repeat(2_000));

  // A name with a control character passes the page and not the server, whose reason is shown.
  const eve = await openPage();
  await eve.getByRole("textbox", { name: "Your name" }).fill("Eve\u0007");
  await eve.getByRole("button", { name: "Enter the room" }).click();
  await waitForError(eve, "This name has a character that cannot be shown.");
});

test("everything can be done by keyboard", async () => {
  const ada = await openPage();
  await ada.keyboard.type("Ada");
  await ada.keyboard.press("Tab");
  await ada.keyboard.press("Control+A");
  await ada.keyboard.type("garden");
  await ada.keyboard.press("Enter");
  await waitForState(ada, "Connected");
  await ada.keyboard.type("One line");
  await ada.keyboard.press("Shift+Enter");
  await ada.keyboard.type("and another");
  await ada.keyboard.press("Enter");
  await waitForMessage(ada, "One line\nand another");
});

test("messages that come while the page is hidden are counted in its title", async () => {
  const ada = await openRoom("Ada", "garden");
  const grace = await openRoom("Grace", "garden");
  const hide = (page, isHidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
  await hide(ada, true);
  await say(grace, "One");
  await say(grace, "Two");
  await ada.waitForFunction(() => document.title === "(2) garden · Dreamsocket chat");
  await hide(ada, false);
  assert.equal(await ada.title(), "garden · Dreamsocket chat");
});

test("pages come back by themselves after the server was restarted", async () => {
  const ada = await openRoom("Ada", "garden");
  const grace = await openRoom("Grace", "garden");
  await say(ada, "Before");
  await waitForMessage(grace, "Before");

  await server.stop();
  await waitForState(ada, "Disconnected");
  await ada.locator("#trouble").filter({ hasText: "Trying again" }).waitFor();
  await say(ada, "Meanwhile");
  await waitForError(ada, "Not connected. Your message is kept");
  await ada.screenshot({ path: `${SCREENSHOTS}disconnected.png`, animations: "disabled" });

  server = await startServer(server.address);
  for (const page of [ada, grace]) {
    await waitForNote(page, "Connected again");
    await waitForState(page, "Connected");
    await waitForPeople(page, ["Ada", "Grace"]);
  }
  await ada.getByRole("button", { name: "Send" }).click();
  await waitForMessage(grace, "Meanwhile");
});

test("a page without a network says so, and comes back with it", async () => {
  const ada = await openRoom("Ada", "garden");
  const grace = await openRoom("Grace", "garden");
  await ada.context().setOffline(true);
  await waitForState(ada, "Disconnected");
  await waitForNote(grace, "Ada left.");
  await ada.context().setOffline(false);
  await waitForNote(ada, "Connected again");
  await waitForPeople(ada, ["Ada", "Grace"]);
  await waitForPeople(grace, ["Ada", "Grace"]);
});

test("wide and narrow, light and dark", async () => {
  const looks = [
    ["wide-light", "Ada Lovelace", WIDE, "light"],
    ["wide-dark", "Grace Hopper", WIDE, "dark"],
    ["phone-light", "Linus", PHONE, "light"],
    ["phone-dark", "Margaret", PHONE, "dark"],
  ];
  const pages = [];
  for (const [look, name, viewport, colorScheme] of looks) {
    const page = await openPage({ viewport, colorScheme });
    await page.screenshot({ path: `${SCREENSHOTS}${look}-entrance.png` });
    await enter(page, name, "garden");
    pages.push(page);
  }
  const [ada, grace, linus, margaret] = pages;
  const talk = [
    [ada, "Good evening! Has anybody seen the new garden room?"],
    [grace, "It opened this morning."],
    [grace, "The light there is lovely after five."],
    [linus, "A longer message shows how lines wrap when somebody has more to say than fits into one line of a phone.\n\nAnd this is a second paragraph."],
    [ada, "Then let us meet there at six."],
    [margaret, "I am bringing tea."],
  ];
  for (const [page, text] of talk) {
    await say(page, text);
    await Promise.all(pages.map((other) => waitForMessage(other, text)));
  }
  for (const [index, [look, , viewport]] of looks.entries()) {
    const page = pages[index];
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= viewport.width, `${look} scrolls sideways: ${width} px`);
    assert.ok(await page.locator(".own .bubble").last().isVisible());
    await page.screenshot({ path: `${SCREENSHOTS}${look}.png`, animations: "disabled" });
  }

  await linus.getByRole("button", { name: "in this room" }).click();
  await linus.getByRole("button", { name: "Close" }).waitFor();
  await linus.waitForTimeout(300); // The panel slides in.
  await linus.screenshot({ path: `${SCREENSHOTS}phone-light-people.png` });
  await linus.keyboard.press("Escape");
  await linus.getByRole("button", { name: "Close" }).waitFor({ state: "hidden" });
});
