// The board: what the pointer does goes to the server, once for each frame of the screen; what the server tells is drawn.

import { Board, inPercent, pointOf } from "./canvas.js";
import * as wire from "./wire.js";

const LONGEST_STROKE = 1_500; // Points; a longer one is continued by another.
const MOST_POINTS = 400; // In one message.
const CURSOR_LASTS = 4_000;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const STEADY_TIME = 5_000; // A connection that lived this long starts the waits from the beginning.

const find = (id) => document.getElementById(id);
const place = find("board");
const overlay = find("overlay");
const tools = find("tools");
const nameField = find("name");

const board = new Board(find("picture"), overlay);
new ResizeObserver(([{ contentRect }]) => {
  board.resize(contentRect.width, contentRect.height);
  board.drawOwn(pending);
}).observe(place);

let socket = null;
let me = 0;
let attempts = 0;
let connectedAt = Infinity; // When the picture came.

/// Strokes of this page that the server has not told of in full, in the order in which they were begun:
/// `{ pen, points, sent, told, number, isOver }`. `number` is known when the server has told of its beginning.
let pending = [];
let current = null; // The last of them, while the pointer is down.
let pointed = null; // Where the pointer is, if nobody was told yet.
let frame = 0;

// The connection.

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const opening = new WebSocket(`${scheme}://${location.host}/draw`);
  opening.binaryType = "arraybuffer";
  opening.onmessage = ({ data }) => hear(opening, wire.decode(data));
  opening.onclose = () => {
    socket = null;
    pending = [];
    current = null;
    board.drawOwn(pending);
    removeCursors();
    if (performance.now() - connectedAt > STEADY_TIME) attempts = 0;
    connectedAt = Infinity;
    // Half of the wait is chance, so that all who lost the same server do not come back in the same moment.
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts);
    attempts += 1;
    setTimeout(connect, longest / 2 + longest / 2 * Math.random());
    showState("waiting", "Connecting again");
  };
}

const send = (bytes) => socket?.send(bytes);

function showState(state, text) {
  find("state").dataset.state = state;
  find("state-text").textContent = text;
}

/// What was typed or pasted, as the server takes it: on one line, without control characters.
const ownName = () => nameField.value.replace(/[\s\p{Cc}]+/gu, " ").trim();

function sayName() {
  const name = ownName();
  if (name !== "") send(wire.name(name));
}

/// The name that this browser knows. Where storage is blocked, it knows none.
function recallName() {
  try {
    return localStorage.getItem("name") ?? "";
  } catch {
    return "";
  }
}

function keepName(name) {
  try {
    localStorage.setItem("name", name);
  } catch {
    // It holds for as long as the page is open.
  }
}

// What the server tells.

function hear(from, told) {
  switch (told.kind) {
    case "picture":
      socket = from;
      me = told.me;
      connectedAt = performance.now();
      board.reset();
      change(told.changes);
      sayName();
      showState("open", "Connected");
      break;
    case "changes": change(told.changes); break;
    case "cursor": if (told.person !== me) showCursor(told); break;
    case "left": removeCursor(told.person); break;
    case "missed cursors": removeCursors(); break;
  }
}

function change(changes) {
  for (const change of changes) {
    board.change(change);
    own(change);
  }
  board.drawOwn(pending);
  find("hint").hidden = board.strokes.size > 0 || pending.length > 0;
}

/// What the server has told of this page's strokes is in the picture, and is not drawn over it any more.
function own({ kind, stroke: number, person, points }) {
  if (kind === "begin" && person === me && me !== 0) {
    const begun = pending.find((stroke) => stroke.number === null);
    if (begun) begun.number = number;
  }
  if (kind === "begin" || kind === "more") {
    const stroke = pending.find((stroke) => stroke.number === number);
    if (stroke) stroke.told += points.length;
  } else {
    const isGone = (stroke) => stroke.number !== null && (kind === "clear" || stroke.number === number);
    if (current && isGone(current)) current = null;
    pending = pending.filter((stroke) => !isGone(stroke));
  }
  pending = pending.filter((stroke) => !stroke.isOver || stroke.told < stroke.points.length);
}

// Others' cursors.

const cursors = new Map();

function showCursor({ person, at, colour, name }) {
  let cursor = cursors.get(person);
  if (!cursor) {
    const element = document.createElement("div");
    const label = document.createElement("span");
    element.className = "cursor";
    element.append(label);
    find("cursors").append(element);
    cursor = { element, label, timer: 0 };
    cursors.set(person, cursor);
  }
  const { element, label } = cursor;
  label.textContent = name;
  [element.style.left, element.style.top] = inPercent(at);
  element.style.setProperty("--c", `var(--c${colour === 7 ? 0 : colour})`);
  element.classList.toggle("west", at.x > 52_000);
  element.classList.toggle("north", at.y > 60_000);
  element.classList.remove("quiet");
  clearTimeout(cursor.timer);
  cursor.timer = setTimeout(() => element.classList.add("quiet"), CURSOR_LASTS);
}

function removeCursor(person) {
  cursors.get(person)?.element.remove();
  cursors.delete(person);
}

function removeCursors() {
  find("cursors").replaceChildren();
  cursors.clear();
}

// What the pointer does: mouse, finger or pen.

function start(event) {
  if (!event.isPrimary || event.button !== 0 || socket === null) return;
  overlay.setPointerCapture(event.pointerId);
  const { colour, width } = Object.fromEntries(new FormData(tools));
  begin({ colour: Number(colour), width: Number(width) }, pointOf(event, overlay.getBoundingClientRect()));
}

function begin(pen, point) {
  current = { pen, points: [point], sent: 0, told: 0, number: null, isOver: false };
  pending.push(current);
  schedule();
}

function move(event) {
  if (!event.isPrimary || socket === null) return;
  const box = overlay.getBoundingClientRect();
  if (current === null) {
    pointed = pointOf(event, box);
    schedule();
    return;
  }
  // A pointer may report several places between two frames: a line is drawn through all of them.
  const events = event.getCoalescedEvents?.() ?? [];
  for (const one of events.length > 0 ? events : [event]) {
    const point = pointOf(one, box);
    const last = current.points.at(-1);
    if (point.x === last.x && point.y === last.y) continue;
    current.points.push(point);
    if (current.points.length >= LONGEST_STROKE) {
      const { pen } = current;
      end();
      begin(pen, point);
    }
  }
  schedule();
}

function end() {
  if (current === null) return;
  current.isOver = true;
  current = null;
  schedule();
}

function schedule() {
  frame ||= requestAnimationFrame(flush);
}

/// Sends what has come together since the last frame.
function flush() {
  frame = 0;
  for (const stroke of pending) {
    while (stroke.sent < stroke.points.length) {
      const points = stroke.points.slice(stroke.sent, stroke.sent + MOST_POINTS);
      send(stroke.sent === 0 ? wire.begin(stroke.pen, points) : wire.more(points));
      stroke.sent += points.length;
    }
  }
  if (pointed) send(wire.pointAt(pointed));
  pointed = null;
  board.drawOwn(pending);
  find("hint").hidden = board.strokes.size > 0 || pending.length > 0;
}

function undo() {
  end();
  flush();
  send(wire.undo());
}

overlay.addEventListener("pointerdown", start);
overlay.addEventListener("pointermove", move);
overlay.addEventListener("pointerup", end);
overlay.addEventListener("pointercancel", end);
find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", () => send(wire.clear()));
addEventListener("keydown", (event) => {
  const isUndo = (event.ctrlKey || event.metaKey) && event.key === "z" && event.target !== nameField;
  if (!isUndo) return;
  event.preventDefault();
  undo();
});
tools.addEventListener("submit", (event) => event.preventDefault());
nameField.value = recallName();
nameField.addEventListener("change", () => {
  nameField.value = ownName();
  keepName(nameField.value);
  sayName();
});

connect();
