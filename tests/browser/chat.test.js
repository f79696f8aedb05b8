// Pages of headless Chromium talk to each other through the chat example, as people would: by its labels and buttons.
// Run by scripts/browser. Screenshots go to target/browser.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { connect as connectSocket } from "node:net";
import { after, afterEach, before, test as nodeTest } from "node:test";

import { ROOT, launchChromium, startExample } from "./chromium.js";

const SCREENSHOTS = `${ROOT}target/browser/`;
const WIDE = { width: 1180, height: 760 };
const PHONE = { width: 390, height: 780 };

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let server;
let browser;
let contexts = [];
let wrongs = []; // What no page may do: fail in a script, break the policy, ask another host.

async function startServer(listen = "127.0.0.1:0", ...more) {
  const { where: url, stop } = await startExample("chat", ["--listen", listen, ...more]);
  return { url, address: new URL(url).host, stop };
}

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  server = await startServer();
  browser = await launchChromium();
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

async function openContext(viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  context.setDefaultTimeout(20_000);
  contexts.push(context);
  return context;
}

/// `route` stands between the page's WebSocket and the server.
async function openPage({ viewport = WIDE, colorScheme = "light", context: shared, route } = {}) {
  const context = shared ?? await openContext(viewport, colorScheme);
  const page = await context.newPage();
  if (route) await page.routeWebSocket(/\/chat\?/, route);
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

  await grace.getByRole("button", { name: "Leave", exact: true }).click();
  await grace.getByRole("textbox", { name: "Your name" }).waitFor();
  await waitForNote(ada, "Grace left.");
  await waitForPeople(ada, ["Ada"]);
});

// What was said in a room is kept, so those that count what they see have rooms of their own.
test("other rooms hear nothing", async () => {
  const ada = await openRoom("Ada", "orchard");
  const grace = await openRoom("Grace", "attic");
  await say(ada, "Only for the orchard.");
  await waitForMessage(ada, "Only for the orchard.");
  await say(grace, "Only for the attic.");
  await waitForMessage(grace, "Only for the attic.");
  assert.equal(await ada.locator(".bubble").count(), 1);
  assert.equal(await grace.locator(".bubble").count(), 1);
});

const enterOther = async (page, room) => {
  await page.getByRole("textbox", { name: "Another room" }).fill(room);
  await page.keyboard.press("Enter");
};

test("rooms are switched without reconnecting, and what waits in the others is counted", async () => {
  const page = await openPage();
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket));
  await enter(page, "Ada", "garden");
  const grace = await openRoom("Grace", "garden");
  const linus = await openRoom("Linus", "cellar");
  await say(grace, "In the garden");
  await waitForMessage(page, "In the garden");

  await enterOther(page, "cellar");
  await waitForNote(page, "You are in cellar.");
  await waitForNote(linus, "Ada joined.");
  await waitForPeople(page, ["Ada", "Linus"]);
  await say(page, "In the cellar");
  await waitForMessage(linus, "In the cellar");
  assert.ok(!(await page.locator(".bubble").filter({ hasText: "In the garden" }).isVisible()));

  // It is in both rooms: what is said in the one that is not seen is counted, and read when it is seen again.
  await say(grace, "Still there?");
  await page.getByRole("button", { name: "garden 1 unread" }).waitFor();
  assert.equal(await page.title(), "(1) cellar · Dreamsocket chat");
  await page.screenshot({ path: `${SCREENSHOTS}rooms.png`, animations: "disabled" });
  await page.getByRole("button", { name: "garden 1 unread" }).click();
  await waitForMessage(page, "Still there?");
  await waitForPeople(page, ["Ada", "Grace"]);
  assert.equal(await page.title(), "garden · Dreamsocket chat");

  await page.getByRole("button", { name: "Leave cellar" }).click();
  await waitForNote(linus, "Ada left.");
  assert.equal(await page.locator("#room-name").textContent(), "garden");
  assert.equal(await page.getByRole("button", { name: "Leave garden" }).count(), 0);
  await say(linus, "While you were out");
  await waitForMessage(linus, "While you were out");
  await page.getByRole("button", { name: "cellar", exact: true }).click();
  await waitForNote(page, "Connected again");
  await waitForMessage(page, "While you were out");
  await waitForPeople(page, ["Ada", "Linus"]);

  await enterOther(page, "");
  await waitForError(page, "Choose a room.");
  await enterOther(page, "bad\u0007room");
  await waitForError(page, "This room has a character that cannot be shown.");
  await page.getByRole("button", { name: "cellar", exact: true }).click();
  await say(page, "Not lost");
  await waitForMessage(linus, "Not lost");
  assert.equal(sockets.length, 1);
  assert.ok(!sockets[0].isClosed());
});

test("what is said while a room is left and entered again is there once", async () => {
  let held = null; // What the server does not get yet.
  let toServer = null;
  let heard = null;
  const hasHeard = new Promise((resolve) => (heard = resolve));
  const route = (socket) => {
    const server = socket.connectToServer();
    toServer = (message) => server.send(message);
    socket.onMessage((message) => (held ? held.push(message) : toServer(message)));
    server.onMessage((message) => {
      socket.send(message);
      if (message.includes("In between")) heard();
    });
  };
  const ada = await openPage({ route });
  await enter(ada, "Ada", "stairs");
  const grace = await openRoom("Grace", "stairs");
  await say(grace, "First");
  await waitForMessage(ada, "First");
  await enterOther(ada, "landing");
  await waitForNote(ada, "You are in landing.");

  held = [];
  for (let count = 0; count < 2; count += 1) {
    await ada.getByRole("button", { name: "Leave stairs" }).click();
    await ada.getByRole("button", { name: "stairs", exact: true }).click();
  }
  await say(grace, "In between");
  await hasHeard;
  assert.equal(held.length, 4);
  held.forEach(toServer);
  held = null;
  await waitForMessage(ada, "In between");
  await say(ada, "Last");
  await waitForMessage(ada, "Last");
  assert.deepEqual(await ada.locator(".bubble").allTextContents(), ["First", "In between", "Last"]);
});

test("a refusal of something else does not end the entering of a room", async () => {
  const route = (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      if (message.includes("well")) socket.send(JSON.stringify({ type: "refused", reason: "The message was not sent." }));
      server.send(message);
    });
  };
  const ada = await openPage({ route });
  await enter(ada, "Ada", "garden");
  await enterOther(ada, "well");
  await waitForError(ada, "The message was not sent.");
  await waitForNote(ada, "You are in well.");
  assert.equal(await ada.locator("#room-name").textContent(), "well");
});

test("the entrance says why the server has ended a connection for good", async () => {
  const check = async (code, reason, told) => {
    const route = (socket) => socket.onMessage((message) => message.includes('"say"') && socket.close({ code, reason }));
    const page = await openPage({ route });
    await enter(page, "Ada", "garden");
    await say(page, "Enough?");
    await waitForError(page, told);
    assert.ok(await page.getByRole("button", { name: "Enter the room" }).isVisible());
  };
  await check(1000, "", "The server ended the connection (1000).");
  await check(1008, "", "The server refused this name.");
  await check(4001, "Another tab took over.", "Another tab took over.");
});

test("whoever comes sees what was said before, above the line that says so", async () => {
  const ada = await openRoom("Ada", "library");
  for (const text of ["First", "Second"]) await say(ada, text);
  await waitForMessage(ada, "Second");
  const grace = await openRoom("Grace", "library");
  await waitForMessage(grace, "Second");
  await say(ada, "Third");
  await waitForMessage(grace, "Third");
  const lines = await grace.locator(".bubble, .note").allTextContents();
  const order = lines.map((line) => /First|Second|Third|You are in/.exec(line)?.[0]).filter(Boolean);
  assert.deepEqual(order, ["First", "Second", "You are in", "Third"]);
  await grace.screenshot({ path: `${SCREENSHOTS}history.png`, animations: "disabled" });

  // What is said while a page is away is there when it is back, once; what it had before is not told again.
  await grace.context().setOffline(true);
  await waitForState(grace, "Disconnected");
  await say(ada, "Fourth");
  await waitForMessage(ada, "Fourth");
  await grace.context().setOffline(false);
  await waitForMessage(grace, "Fourth");
  assert.deepEqual(await grace.locator(".bubble").allTextContents(), ["First", "Second", "Third", "Fourth"]);
  assert.equal(await grace.locator(".note.warning").count(), 0);
});

test("who is typing is seen by the others, and no longer than it is true", async () => {
  const ada = await openRoom("Ada", "garden");
  const grace = await openRoom("Grace", "garden");
  const typing = ada.locator("#typing");
  await grace.getByRole("textbox", { name: "Message" }).pressSequentially("Hel");
  await typing.filter({ hasText: "Grace is typing…" }).waitFor();
  assert.equal(await grace.locator("#typing").textContent(), "");
  await ada.screenshot({ path: `${SCREENSHOTS}typing.png`, animations: "disabled" });
  await grace.keyboard.press("Enter");
  await waitForMessage(ada, "Hel");
  assert.equal(await typing.textContent(), "");

  await grace.getByRole("textbox", { name: "Message" }).pressSequentially("Hm, well", { delay: 400 });
  await typing.filter({ hasText: "Grace is typing…" }).waitFor();
  await ada.waitForFunction(() => document.getElementById("typing").textContent === "");

  // Nor does it matter to whoever has left the chat meanwhile.
  await ada.clock.install();
  await enterOther(ada, "landing");
  await enterOther(ada, "garden");
  await grace.getByRole("textbox", { name: "Message" }).pressSequentially("!");
  await typing.filter({ hasText: "Grace is typing…" }).waitFor();
  await ada.getByRole("button", { name: "Leave", exact: true }).click();
  await ada.clock.runFor(10_000);
});

test("one person with three tabs is one person", async () => {
  const ada = await openRoom("Ada", "garden");
  const context = await openContext(WIDE, "light");
  const tabs = [];
  for (let tab = 0; tab < 3; tab += 1) tabs.push(await openRoom("Grace", "garden", { context }));
  await ada.locator("#people li").filter({ hasText: "3 tabs" }).waitFor();
  await waitForPeople(ada, ["Ada", "Grace"]);
  await ada.screenshot({ path: `${SCREENSHOTS}tabs.png`, animations: "disabled" });
  await say(tabs[0], "From one of them");
  for (const tab of tabs) await tab.locator(".own .bubble").filter({ hasText: "From one of them" }).waitFor();
  await tabs[0].close();
  await tabs[1].close();
  await ada.waitForFunction(() => !document.getElementById("people").textContent.includes("tabs"));
  await waitForPeople(ada, ["Ada", "Grace"]);
  assert.equal(await ada.locator(".note").filter({ hasText: "Grace joined." }).count(), 1);
  assert.equal(await ada.locator(".note").filter({ hasText: "Grace left." }).count(), 0);
  await tabs[2].close();
  await waitForNote(ada, "Grace left.");
});

test("whoever floods is slowed down, sees it, and loses nothing", async () => {
  const ada = await openRoom("Ada", "pond");
  const grace = await openRoom("Grace", "pond");
  for (let count = 0; count < 20; count += 1) await say(grace, `Flood ${count}.`);
  await grace.locator("#slowed").filter({ hasText: "You are faster than the chat allows." }).waitFor();
  await grace.screenshot({ path: `${SCREENSHOTS}slowed.png`, animations: "disabled" });
  await waitForMessage(ada, "Flood 19.");
  assert.equal(await ada.locator(".bubble").count(), 20);
  await grace.waitForFunction(() => document.getElementById("slowed").textContent === "");
});

/// Enters rooms over a bare socket, and then never reads again.
async function enterDeaf(address, name, ...rooms) {
  const { hostname, port } = new URL(`http://${address}`);
  const socket = connectSocket({ host: hostname, port: Number(port) });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  const head = [
    `GET /chat?user=${name} HTTP/1.1`, `Host: ${address}`, "Connection: Upgrade", "Upgrade: websocket",
    "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
  ];
  socket.write(head.join("\r\n"));
  await new Promise((resolve) => socket.once("data", resolve));
  socket.pause();
  for (const room of rooms) {
    const text = Buffer.from(JSON.stringify({ type: "enter", room }));
    socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text])); // A mask of zeroes.
  }
  return socket;
}

test("one that never reads does not disturb the others", async () => {
  const slow = server;
  server = await startServer("127.0.0.1:0", "--pace", "100000"); // Whose pages are opened from here on.
  try {
    const ada = await openRoom("Ada", "garden");
    const deaf = await enterDeaf(server.address, "Deaf", "garden", "noise");
    await waitForNote(ada, "Deaf joined.");
    const grace = await openRoom("Grace", "garden");
    // More than the sockets and the outbox of the one that does not read can hold; too much to draw on a page.
    await grace.evaluate(() => new Promise((resolve) => {
      const socket = new WebSocket(`ws://${location.host}/chat?user=Talker`);
      let said = 0;
      const send = (value) => socket.send(JSON.stringify({ room: "noise", ...value }));
      socket.onopen = () => send({ type: "enter" });
      socket.onmessage = ({ data }) => {
        const { type } = JSON.parse(data);
        if (type === "said") said += 1;
        if (said === 1_000) resolve(socket.close());
        else if (type === "entered" || type === "said") send({ type: "say", text: "\u{1D11E}".repeat(2_000) });
      };
    }));
    for (const [page, other, text] of [[ada, grace, "Can you hear me?"], [grace, ada, "Well and at once."]]) {
      const start = Date.now();
      await say(page, text);
      await waitForMessage(other, text);
      assert.ok(Date.now() - start < 10_000);
    }
    for (const page of [ada, grace]) assert.equal(await page.locator(".note.warning").count(), 0);
    deaf.destroy();
    await waitForNote(ada, "Deaf left.");
  } finally {
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    await server.stop();
    server = slow;
  }
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
  assert.equal(await ada.locator("#chat img:not([src='/icon.svg']), #chat b, #scroller script, #scroller h1").count(), 0);
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
