// Pages of headless Chromium draw on the board example together. Run by scripts/browser. Screenshots go to target/browser.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, afterEach, before, test as nodeTest } from "node:test";

import { ROOT, launchChromium, playServer, startExample } from "./chromium.js";

const SCREENSHOTS = `${ROOT}target/browser/`;
const WIDE = { width: 1180, height: 860 };
const PHONE = { width: 390, height: 780 };

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let server;
let browser;
let contexts = [];
let wrongs = []; // What no page may do: fail in a script, break the policy, ask another host.

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  server = await startExample("board", ["--listen", "127.0.0.1:0"]);
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

/// `scripts` run before the page's own.
async function openPage({ viewport = WIDE, colorScheme = "light", hasTouch = false, name = "", scripts = [] } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, hasTouch });
  context.setDefaultTimeout(20_000);
  contexts.push(context);
  for (const script of scripts) await context.addInitScript(script);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrongs.push(String(error)));
  page.on("console", (message) => /Content Security Policy/.test(message.text()) && wrongs.push(message.text()));
  page.on("request", (request) => new URL(request.url()).host === new URL(server.where).host || wrongs.push(request.url()));
  await page.goto(server.where);
  await waitForState(page, "Connected");
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Your name").blur();
  return page;
}

const waitForState = (page, text) => page.locator("#state").filter({ hasText: text }).waitFor();

/// Draws through points in hundredths of the board.
async function draw(page, points) {
  const box = await page.locator("#board").boundingBox();
  const at = ([x, y]) => [box.x + x / 100 * box.width, box.y + y / 100 * box.height];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 2 });
  await page.mouse.up();
}

const choose = (page, label) => page.getByLabel(label, { exact: true }).check();

/// A curve, as points in hundredths.
const curve = (from, to, count, place) =>
  Array.from({ length: count + 1 }, (_, at) => place(from + (to - from) * at / count));

/// How many pixels there are in the picture, and a checksum of all of them; and how many of what the server has not told yet.
const look = (page) => page.evaluate(async () => {
  // What the pointer did is sent by the next frame.
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  const pixels = (id) => {
    const { width, height } = document.getElementById(id);
    return document.getElementById(id).getContext("2d").getImageData(0, 0, width, height).data;
  };
  const count = (data) => data.reduce((count, value, at) => count + (at % 4 === 3 && value > 0), 0);
  const picture = pixels("picture");
  const sum = picture.reduce((sum, value) => (Math.imul(sum, 31) + value) | 0, 0);
  return { drawn: count(picture), untold: count(pixels("overlay")), sum };
});

/// Waits until all pages show the same, and as many pixels as they should.
async function waitForSame(pages, isRight) {
  const end = Date.now() + 20_000;
  for (;;) {
    const [first, ...others] = await Promise.all(pages.map(look));
    const isSame = others.every(({ sum }) => sum === first.sum);
    const isTold = [first, ...others].every(({ untold }) => untold === 0);
    if (isSame && isTold && isRight(first.drawn)) return first.drawn;
    assert.ok(Date.now() < end, JSON.stringify([first, ...others]));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const isBlank = (drawn) => drawn === 0;
const isMoreThan = (least) => (drawn) => drawn > least;

test("what one page draws, another shows, to the pixel", async () => {
  const ada = await openPage({ name: "Ada" });
  const grace = await openPage({ name: "Grace" });
  await ada.getByText("Draw here.").waitFor();
  await choose(ada, "Blue");
  await draw(ada, curve(10, 90, 20, (x) => [x, 50 + 30 * Math.sin(x / 8)]));
  const wave = await waitForSame([ada, grace], isMoreThan(1_000));
  await choose(grace, "Red");
  await choose(grace, "Broad");
  await draw(grace, [[20, 20], [80, 20]]);
  await draw(grace, [[50, 60]]);
  const whole = await waitForSame([ada, grace], isMoreThan(wave + 1_000));
  assert.equal(await grace.getByText("Draw here.").isVisible(), false);
  assert.equal(await ada.locator(".cursor").innerText(), "Grace");

  // Who comes late sees it as well.
  const linus = await openPage();
  await waitForSame([ada, grace, linus], (drawn) => drawn === whole);

  // By the keyboard, too: back to the wave alone, then nothing.
  await grace.keyboard.press("Control+z");
  await grace.getByRole("button", { name: "Undo" }).press("Enter");
  await waitForSame([ada, grace, linus], (drawn) => drawn === wave);
  await ada.getByRole("button", { name: "Clear" }).press("Space");
  await waitForSame([ada, grace, linus], isBlank);
});

test("a finger draws, too", async () => {
  const mouse = await openPage();
  const finger = await openPage({ viewport: WIDE, hasTouch: true });
  const client = await finger.context().newCDPSession(finger);
  const { x, y, width, height } = await finger.locator("#board").boundingBox();
  const touch = (type, touchPoints) => client.send("Input.dispatchTouchEvent", { type, touchPoints });
  await touch("touchStart", [{ x: x + width / 4, y: y + height / 4 }]);
  for (let step = 1; step <= 20; step += 1) {
    await touch("touchMove", [{ x: x + width / 4 + step * 15, y: y + height / 4 + step * 5 }]);
  }
  await touch("touchEnd", []);
  await waitForSame([mouse, finger], isMoreThan(1_000));
  await finger.getByRole("button", { name: "Clear" }).click();
  await waitForSame([mouse, finger], isBlank);
});

test("a page that has lost the server comes back, and sees what there is", async () => {
  const first = await startExample("board", ["--listen", "127.0.0.1:0"]);
  const context = await browser.newContext({ viewport: WIDE });
  contexts.push(context);
  const page = await context.newPage();
  await page.goto(first.where);
  await waitForState(page, "Connected");
  await draw(page, [[20, 20], [80, 80]]);
  await first.stop("SIGKILL");
  await waitForState(page, "Connecting again");
  const second = await startExample("board", ["--listen", new URL(first.where).host]);
  await waitForState(page, "Connected");
  await waitForSame([page], isBlank);
  await draw(page, [[20, 80], [80, 20]]);
  await waitForSame([page], isMoreThan(1_000));
  await second.stop();
});

test("a name that was pasted with control characters is cleaned, also one that was kept so", async () => {
  const ada = await openPage();
  const grace = await openPage();
  const cursor = ada.locator(".cursor span");
  await grace.getByLabel("Your name").fill("Grace\tB.\u0007 Hopper ");
  await grace.getByLabel("Your name").blur();
  assert.equal(await grace.getByLabel("Your name").inputValue(), "Grace B. Hopper");
  await draw(grace, [[50, 50]]);
  await cursor.filter({ hasText: "Grace B. Hopper" }).waitFor();

  await grace.evaluate(() => localStorage.setItem("name", "\u0000Grace\u0085Hopper"));
  await grace.reload();
  await waitForState(grace, "Connected");
  await draw(grace, [[60, 60]]);
  await cursor.filter({ hasText: /^Grace Hopper$/ }).waitFor();
  await waitForState(grace, "Connected");
  await grace.getByRole("button", { name: "Clear" }).click();
  await waitForSame([ada, grace], isBlank);
});

test("where storage is blocked there is a board, too", async () => {
  const page = await openPage({
    name: "Ada",
    scripts: [() => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("blocked", "SecurityError"); } })],
  });
  await draw(page, [[20, 20], [80, 80]]);
  await waitForSame([page], isMoreThan(1_000));
  await page.getByRole("button", { name: "Clear" }).click();
  await waitForSame([page], isBlank);
});

/// Opens a page to which the test itself says what the server would; it has said an empty picture.
async function openPlayed(...scripts) {
  const tellPicture = () => addEventListener("load", () => tell([1, 1, 0]));
  return openPage({ scripts: [playServer, ...scripts, tellPicture] });
}

test("waits grow until a connection has lasted", async () => {
  const page = await openPlayed(() => {
    window.waits = [];
    window.now = 1_000_000;
    performance.now = () => now;
    Math.random = () => 1;
    window.setTimeout = (run, wait) => (waits.push(wait), queueMicrotask(run), 0);
  });
  const waits = await page.evaluate(async () => {
    for (const lasts of [0, 100, 4_000, 6_000, 0]) {
      now += lasts;
      hangUp();
      await null;
      tell([1, 1, 0]);
    }
    return waits;
  });
  assert.deepEqual(waits, [500, 1_000, 2_000, 500, 1_000]);
});

test("a page that has missed cursors shows none until they move", async () => {
  const page = await openPlayed();
  const cursor = (person) => [3, person, 0, 255, 127, 255, 127, 5, 64 + person];
  await page.evaluate((all) => all.forEach(tell), [cursor(2), cursor(3), [5], cursor(4)]);
  assert.deepEqual(await page.locator(".cursor").allInnerTexts(), ["D"]);
});

test("however much goes, all is drawn anew once for a frame", async () => {
  const page = await openPlayed();
  const begin = (stroke) => [1, stroke, 0, 0, 0, 0, 0, 5, 24, 1, 0, stroke, 100, 0, 100];
  const strokes = Array.from({ length: 100 }, (_, at) => at + 1);
  await page.evaluate((changes) => tell([2, ...changes]), strokes.flatMap(begin));
  const { drawn } = await look(page);
  const cleared = await page.evaluate(async ({ gone, more }) => {
    let count = 0;
    const { clearRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
      count += this.canvas.id === "picture" ? 1 : 0;
      clearRect.apply(this, box);
    };
    for (const stroke of gone) tell([2, 3, stroke, 0, 0, 0]);
    tell([2, ...more]);
    const counts = [count];
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    return [...counts, count];
  }, { gone: strokes.slice(0, 99), more: begin(101) });
  assert.deepEqual(cleared, [0, 1]);
  // Two are left, at the right end.
  const left = (await look(page)).drawn;
  assert.ok(left > 0 && left < drawn, `${left} of ${drawn}`);
});

test("the page looks right, wide and narrow, light and dark", async () => {
  const ada = await openPage({ name: "Ada" });
  const grace = await openPage({ name: "Grace", colorScheme: "dark", viewport: PHONE });
  const pen = async (page, colour, width, ...lines) => {
    await choose(page, colour);
    await choose(page, width);
    for (const line of lines) await draw(page, line);
  };
  const ring = (x, y, r, from = 0, to = 2 * Math.PI) => curve(from, to, 48, (turn) => [x + r * Math.cos(turn), y + r * 4 / 3 * Math.sin(turn)]);
  // A hill, a house, the sun, a tree, a path.
  await pen(ada, "Green", "Broad", curve(2, 98, 40, (x) => [x, 78 - 9 * Math.sin(x / 31)]));
  await pen(ada, "Ink", "Medium", [[38, 70], [38, 46], [62, 46], [62, 71]], [[34, 48], [50, 30], [66, 48]], [[46, 70], [46, 57], [53, 57], [53, 70]]);
  await pen(ada, "Teal", "Medium", [[41, 50], [41, 55], [44, 55], [44, 50], [41, 50]], [[56, 50], [56, 55], [59, 55], [59, 50], [56, 50]]);
  await pen(ada, "Orange", "Broad", ring(82, 20, 6));
  await pen(ada, "Orange", "Medium", ...[0, 1, 2, 3, 4, 5, 6, 7].map((turn) => {
    const [x, y] = [Math.cos(turn * Math.PI / 4), Math.sin(turn * Math.PI / 4) * 4 / 3];
    return [[82 + 9 * x, 20 + 9 * y], [82 + 12 * x, 20 + 12 * y]];
  }));
  await pen(ada, "Red", "Medium", [[56, 37], [56, 28], [60, 28], [60, 42]], curve(0, 9, 50, (t) => [58 + t * 0.9 + 1.2 * Math.sin(t * 2), 26 - t * 1.6]));
  await pen(grace, "Green", "Broad", ring(17, 46, 6), ring(20, 41, 5));
  await pen(grace, "Violet", "Medium", curve(6, 34, 60, (x) => [x, 14 + 3 * Math.sin(x)]));
  await pen(grace, "Blue", "Fine", curve(68, 96, 40, (x) => [x, 88 + 2 * Math.sin(x / 2)]), curve(70, 94, 40, (x) => [x, 93 + 2 * Math.sin(x / 2)]));
  await pen(ada, "Orange", "Medium", [[18, 55], [18, 68]]);
  await draw(grace, curve(74, 88, 16, (x) => [x, 97 + Math.sin(x / 2)]));
  await ada.locator(".cursor span").filter({ hasText: "Grace" }).waitFor();
  await ada.waitForTimeout(200);
  for (const [page, name] of [[ada, "board-wide-light"], [grace, "board-narrow-dark"]]) {
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
  }
});
