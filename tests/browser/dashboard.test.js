// A page of headless Chromium shows the dashboard example. Run by scripts/browser. Screenshots go to target/browser.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, afterEach, before, test as nodeTest } from "node:test";

import { ROOT, launchChromium, playServer, startExample } from "./chromium.js";

const SCREENSHOTS = `${ROOT}target/browser/`;
const WIDE = { width: 1180, height: 760 };
const PHONE = { width: 390, height: 780 };

const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

let server;
let browser;
let contexts = [];
let wrongs = []; // What no page may do: fail in a script, break the policy, ask another host.

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  server = await startExample("dashboard", ["--listen", "127.0.0.1:0", "--every", "50"]);
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
async function openPage(url, { viewport = WIDE, colorScheme = "light", scripts = [] } = {}) {
  const context = await browser.newContext({ viewport, colorScheme });
  context.setDefaultTimeout(20_000);
  contexts.push(context);
  for (const script of scripts) await context.addInitScript(script);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrongs.push(String(error)));
  page.on("console", (message) => /Content Security Policy/.test(message.text()) && wrongs.push(message.text()));
  page.on("request", (request) => new URL(request.url()).host === new URL(url).host || wrongs.push(request.url()));
  await page.goto(url);
  await waitForState(page, "Live");
  return page;
}

const waitForState = (page, text) => page.locator("#state").filter({ hasText: text }).waitFor();
const waitForFigure = (page, id, text) => page.locator(`#${id}`).filter({ hasText: text }).waitFor();

/// Waits until the line of a chart goes so far back from its right end, in hundredths.
const waitForLine = (page, id, part) => page.waitForFunction(([id, part]) => {
  const canvas = document.getElementById(`${id}-chart`);
  if (canvas.width === 0 || canvas.height === 0) return false;
  const x = Math.round(canvas.width * (1 - part / 100));
  // The accent is blue rather than green; the grid is grey.
  const { data } = canvas.getContext("2d").getImageData(x, 0, 1, canvas.height);
  return Array.from({ length: canvas.height }, (_, at) => data.slice(at * 4, at * 4 + 4)).some(([, green, blue, alpha]) => alpha > 200 && blue - green > 60);
}, [id, part]);

test("figures come and are drawn", async () => {
  const page = await openPage(server.where);
  await waitForFigure(page, "resident", /^\d+\.\d$/);
  await waitForFigure(page, "machine", /^\d+$/);
  await waitForFigure(page, "sockets", /^1$/);
  for (const id of ["machine", "program", "load", "resident", "sockets"]) await waitForLine(page, id, 1);
  const other = await openPage(server.where);
  await waitForFigure(page, "sockets", /^2$/);
  await other.close();
  await waitForFigure(page, "sockets", /^1$/);
});

test("a page that has lost the server comes back", async () => {
  const first = await startExample("dashboard", ["--listen", "127.0.0.1:0"]);
  const page = await openPage(first.where);
  await first.stop("SIGKILL");
  await waitForState(page, "Connecting again");
  const second = await startExample("dashboard", ["--listen", new URL(first.where).host]);
  await waitForState(page, "Live");
  await waitForFigure(page, "sockets", /^1$/);
  await second.stop();
});

test("a server whose clock is set back is followed", async () => {
  // What is there before the first sample has the number 0.
  const tellNone = () => addEventListener("load", () => tell(new Uint8Array(40)));
  const page = await openPage(server.where, { scripts: [playServer, tellNone] });
  const sample = (number, at) => {
    const view = new DataView(new ArrayBuffer(40));
    view.setUint32(0, number, true);
    view.setUint32(4, number, true);
    view.setFloat64(8, at, true);
    return [...new Uint8Array(view.buffer)];
  };
  const hour = 3_600_000;
  await page.evaluate((all) => all.forEach(tell), [1, 2, 3, 4].map((number) => sample(number, 2 * hour + number * 100)));
  await waitForFigure(page, "rate", /^4$/);
  await page.evaluate((all) => all.forEach(tell), [5, 6, 8].map((number) => sample(number, hour + number * 100)));
  await waitForFigure(page, "sockets", /^8$/);
  assert.equal(await page.locator("#rate").innerText(), "3");
  assert.equal(await page.locator("#skipped").innerText(), "1");
});

test("the page looks right, wide and narrow, light and dark", async () => {
  const light = await openPage(server.where);
  const dark = await openPage(server.where, { viewport: PHONE, colorScheme: "dark" });
  for (const [page, name] of [[light, "dashboard-wide-light"], [dark, "dashboard-narrow-dark"]]) {
    await waitForLine(page, "resident", 10);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
  }
});
