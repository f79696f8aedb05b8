// The chat: what is typed goes to the server, what the server tells goes to the view.

import { connect } from "./chat.js";
import * as view from "./view.js";

// The server holds to the same limits; here they are told before anything is sent.
const LONGEST_NAME = 32;
const LONGEST_MESSAGE = 2_000;
const MOST_ROOMS = 8;

const TYPING_EVERY = 2_500; // At most this often the others are told that somebody is typing.
const TYPING_LASTS = 4_000; // And so long it is shown.
const SLOWED_LASTS = 1_500; // Beyond the wait itself.

const find = (id) => document.getElementById(id);
const nameField = find("name");
const roomField = find("room");
const sayField = find("say");
const otherField = find("other-room");

const lengthOf = (text) => [...text].length;

let chat = null; // { connection, name, rooms, current, typedAt } while in the chat
let slowed = null;

/// `isWanted` until the room is left; `isIn` between the server's word and the loss of the connection. `position` is that of
/// the last message: from there the server goes on when the room is entered again. `seen` has the positions since then.
function newRoom(name) {
  return {
    name, isWanted: true, isIn: false, hasBeenIn: false, awaySince: null, enteredAt: 0, isCatchingUp: false, position: undefined,
    seen: new Set(), people: new Map(), typing: new Map(), unread: 0, draft: "",
  };
}

function start(name, room) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const url = `${scheme}://${location.host}/chat?${new URLSearchParams({ user: name })}`;
  view.clearRooms();
  chat = { name, rooms: new Map(), current: null, typedAt: 0, hasBeenOpen: false };
  chat.connection = connect(url, { onState, onMessage });
  enter(room);
}

function stop(reason = "") {
  chat?.connection.close();
  for (const room of chat?.rooms.values() ?? []) room.typing.forEach(clearTimeout);
  chat = null;
  sayField.value = "";
  showDraft();
  view.showEntrance();
  view.showError("join-error", reason);
  nameField.focus();
}

function onState(change) {
  if (change.state === "refused") {
    const refusal = change.code === 1008 ? "The server refused this name." : `The server ended the connection (${change.code}).`;
    stop(change.reason || refusal);
    return;
  }
  for (const room of chat.rooms.values()) {
    if (change.state === "waiting" && room.isIn) {
      room.isIn = false;
      room.awaySince = Date.now();
    }
    if (change.state === "open" && room.isWanted) sendEnter(room);
  }
  chat.hasBeenOpen ||= change.state === "open";
  view.showState(change, chat.hasBeenOpen);
}

function send(type, room, more = {}) {
  return chat.connection.send({ type, room: room.name, ...more });
}

function sendEnter(room) {
  // What comes until the server has handled this is told once more behind the answer.
  room.seen.clear();
  send("enter", room, { since: room.position });
}

/// Enters a room, or goes back to one; the connection stays as it is.
function enter(name) {
  let room = chat.rooms.get(name);
  if (!room?.isWanted) {
    if ([...chat.rooms.values()].filter(({ isWanted }) => isWanted).length >= MOST_ROOMS) {
      return `At most ${MOST_ROOMS} rooms at a time; leave one.`;
    }
    room ??= newRoom(name);
    room.isWanted = true;
    chat.rooms.set(name, room);
    sendEnter(room); // Without a connection yet, `onState` does it.
  }
  if (chat.current) chat.current.draft = sayField.value;
  chat.current = room;
  room.unread = 0;
  sayField.value = room.draft;
  history.replaceState(null, "", `?${new URLSearchParams({ room: name })}`);
  view.showRoom(chat);
  view.showPeoplePanel(false);
  view.showError("say-error", "", sayField);
  showDraft();
  sayField.focus();
  return "";
}

/// Leaves a room that is not the only one; what was said there stays to be read.
function leave(name) {
  const room = chat.rooms.get(name);
  const other = [...chat.rooms.values()].find((one) => one !== room && one.isWanted);
  if (!room?.isWanted || !other) return;
  send("leave", room);
  Object.assign(room, { isWanted: false, isIn: false, awaySince: Date.now(), unread: 0 });
  room.people.clear();
  view.showNote(room, ["You left."]);
  if (room === chat.current) enter(other.name);
  else view.showRooms(chat);
}

function setPeople(room, people) {
  room.people = new Map(people.map(({ name, tabs }) => [name, tabs]));
  view.showPeople(chat, room);
}

function setTyping(room, name, isTyping) {
  clearTimeout(room.typing.get(name));
  room.typing.delete(name);
  if (isTyping) room.typing.set(name, setTimeout(setTyping, TYPING_LASTS, room, name, false));
  view.showTyping(chat, room);
}

// One function for each type of message that the server sends; see `Tell` in chat.d.ts.
const told = {
  entered({ at }, room) {
    const seconds = Math.max(1, Math.round((Date.now() - room.awaySince) / 1000));
    const parts = room.hasBeenIn ? [`Connected again: you were away for ${seconds} s.`] : ["You are in ", { name: room.name }, "."];
    view.showEntered(room, parts);
    Object.assign(room, { isIn: true, hasBeenIn: true, enteredAt: at, isCatchingUp: true });
  },
  people({ people }, room) {
    setPeople(room, people);
  },
  said({ name, text, at, position }, room) {
    if (room.seen.has(position)) return;
    if (position) room.seen.add(position);
    const isOwn = name === chat.name;
    room.position = position ?? room.position;
    room.isCatchingUp &&= at <= room.enteredAt;
    setTyping(room, name, false);
    view.showMessage(room, { name, text, at }, isOwn, room.isCatchingUp);
    if (isOwn || (room === chat.current && !document.hidden)) return;
    room.unread += 1;
    view.showRooms(chat);
  },
  typing({ name }, room) {
    if (name !== chat.name) setTyping(room, name, true);
  },
  joined({ name, at }, room) {
    if (room.people.has(name)) return;
    room.people.set(name, 1);
    view.showPeople(chat, room);
    view.showNote(room, [{ name }, " joined."], { at });
  },
  tabs({ name, tabs }, room) {
    room.people.set(name, tabs);
    view.showPeople(chat, room);
  },
  left({ name, at }, room) {
    if (!room.people.delete(name)) return;
    setTyping(room, name, false);
    view.showPeople(chat, room);
    view.showNote(room, [{ name }, " left."], { at });
  },
  missed({ count }, room) {
    const text = count === null ? "Some messages are missing here." : count === 1 ? "1 message is missing here." : `${count} messages are missing here.`;
    view.showNote(room, [text], { tone: "warning", isEarlier: room.isCatchingUp });
  },
};

function onMessage(message) {
  if (message.type === "slowed") return showSlowed(message.wait);
  if (message.type === "refused") return showRefused(message);
  const room = chat.rooms.get(message.room);
  if (room?.isWanted) told[message.type]?.(message, room);
}

function showSlowed(wait) {
  clearTimeout(slowed);
  find("slowed").textContent = "You are faster than the chat allows. What you send waits its turn.";
  slowed = setTimeout(() => (find("slowed").textContent = ""), wait + SLOWED_LASTS);
}

function showRefused({ reason, room: name }) {
  const room = chat.rooms.get(name);
  if (!room) return view.showError("say-error", reason, sayField);
  chat.rooms.delete(name);
  view.forgetRoom(room);
  const other = [...chat.rooms.values()].find((one) => one.isWanted);
  if (!other) return stop(reason);
  if (room === chat.current) enter(other.name);
  else view.showRooms(chat);
  view.showPeoplePanel(true);
  view.showError("other-error", reason, otherField);
}

function problemWith(what, value) {
  if (value === "") return `Choose a ${what}.`;
  const length = lengthOf(value);
  if (length > LONGEST_NAME) return `At most ${LONGEST_NAME} characters; this ${what} has ${length}.`;
  return "";
}

find("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = nameField.value.trim();
  const room = roomField.value.trim();
  const problems = [problemWith("name", name), problemWith("room", room)];
  view.showError("join-error", "");
  view.showError("name-error", problems[0], nameField);
  view.showError("room-error", problems[1], roomField);
  if (problems[0]) nameField.focus();
  else if (problems[1]) roomField.focus();
  else {
    sessionStorage.setItem("name", name);
    start(name, room);
  }
});

find("other").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = otherField.value.trim();
  const problem = problemWith("room", room) || enter(room);
  view.showError("other-error", problem, otherField);
  if (!problem) otherField.value = "";
});

find("rooms").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.enter !== undefined) view.showError("other-error", enter(button.dataset.enter), otherField);
  if (button?.dataset.leave !== undefined) leave(button.dataset.leave);
});

function showDraft() {
  view.showDraft(sayField, LONGEST_MESSAGE - lengthOf(sayField.value));
}

find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = sayField.value.trim();
  const length = lengthOf(text);
  if (length === 0) return;
  if (length > LONGEST_MESSAGE) {
    const most = LONGEST_MESSAGE.toLocaleString();
    view.showError("say-error", `At most ${most} characters; this message has ${length.toLocaleString()}.`, sayField);
  } else if (send("say", chat.current, { text })) {
    sayField.value = "";
    view.showError("say-error", "", sayField);
    showDraft();
  } else {
    view.showError("say-error", "Not connected. Your message is kept; send it when the connection is back.", sayField);
  }
  sayField.focus();
});

sayField.addEventListener("input", () => {
  view.showError("say-error", "", sayField);
  showDraft();
  if (sayField.value.trim() === "" || Date.now() - chat.typedAt < TYPING_EVERY) return;
  chat.typedAt = Date.now();
  send("typing", chat.current);
});
sayField.addEventListener("keydown", (event) => {
  // An Enter that ends the composition of a character is not one that sends.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    find("composer").requestSubmit();
  }
});

find("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    find("copy").textContent = "Copied";
  } catch {
    find("copy").textContent = "Copy it from the address bar";
  }
  setTimeout(() => (find("copy").textContent = "Copy link"), 2_000);
});

function markRead() {
  if (document.hidden || chat === null) return;
  chat.current.unread = 0;
  view.showRooms(chat);
}

find("leave").addEventListener("click", () => stop());
find("retry").addEventListener("click", () => chat?.connection.retry());
find("newer").addEventListener("click", view.scrollToEnd);
find("toggle-people").addEventListener("click", () => view.showPeoplePanel(true));
find("close-people").addEventListener("click", () => view.showPeoplePanel(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && view.showPeoplePanel(false));
document.addEventListener("pointerdown", ({ target }) => find("side").contains(target) || view.showPeoplePanel(false));
document.addEventListener("visibilitychange", markRead);

view.followMessages();
nameField.value = sessionStorage.getItem("name") ?? "";
roomField.value = new URLSearchParams(location.search).get("room") ?? roomField.value;
nameField.focus();
