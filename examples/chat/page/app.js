// The chat: what is typed goes to the server, what the server tells goes to the view.

import { connect } from "./connection.js";
import * as view from "./view.js";

// The server holds to the same limits; here they are told before anything is sent.
const LONGEST_NAME = 32;
const LONGEST_MESSAGE = 2_000;

const find = (id) => document.getElementById(id);
const nameField = find("name");
const roomField = find("room");
const sayField = find("say");

const lengthOf = (text) => [...text].length;

let chat = null; // { connection, name, room, you, people, hasBeenOpen, lostAt } while in a room

function enter(name, room) {
  const query = new URLSearchParams({ user: name, room });
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  chat = { name, room, you: null, people: new Map(), hasBeenOpen: false, lostAt: null };
  view.clearMessages();
  view.showPeople(chat.people, null);
  view.showRoom(chat);
  chat.connection = connect(`${scheme}://${location.host}/chat?${query}`, { onState, onMessage });
  sayField.focus();
}

function leave(reason = "") {
  chat?.connection.close();
  chat = null;
  view.showEntrance();
  view.showError("join-error", reason);
  nameField.focus();
}

function onState(change) {
  if (change.state === "refused") {
    leave(change.reason || "The server refused this name or room.");
    return;
  }
  if (change.state === "waiting" && chat.hasBeenOpen) chat.lostAt ??= Date.now();
  view.showState(change, chat.hasBeenOpen);
}

function setPeople(people) {
  chat.people = new Map(people.map(({ id, name }) => [id, name]));
  chat.people.set(chat.you, chat.name);
  view.showPeople(chat.people, chat.you);
}

// One function for each type of message that the server sends; see `Event` and `Notice` in event.rs.
const told = {
  welcome({ you, people }) {
    chat.you = you;
    setPeople(people);
    if (chat.lostAt === null) {
      view.showNote(["You are in ", { name: chat.room }, "."]);
    } else {
      const seconds = Math.max(1, Math.round((Date.now() - chat.lostAt) / 1000));
      view.showNote([`Connected again after ${seconds} s. What was said meanwhile is not shown.`], Date.now(), "warning");
    }
    chat.hasBeenOpen = true;
    chat.lostAt = null;
  },
  said(message) {
    view.showMessage(message, message.from === chat.you);
  },
  joined({ id, name, at }) {
    if (chat.people.has(id)) return;
    chat.people.set(id, name);
    view.showPeople(chat.people, chat.you);
    view.showNote([{ name }, " joined."], at);
  },
  left({ id, name, at }) {
    if (!chat.people.delete(id)) return;
    view.showPeople(chat.people, chat.you);
    view.showNote([{ name }, " left."], at);
  },
  missed({ count, people }) {
    setPeople(people);
    const what = count === null ? "Some messages" : count === 1 ? "1 message" : `${count} messages`;
    view.showNote([`${what} came faster than this page could take them, and are not shown.`], Date.now(), "warning");
  },
  refused({ reason }) {
    view.showError("say-error", reason, sayField);
  },
};

function onMessage(message) {
  told[message.type]?.(message);
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
    history.replaceState(null, "", `?${new URLSearchParams({ room })}`);
    enter(name, room);
  }
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
  } else if (chat.connection.send(text)) {
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

find("leave").addEventListener("click", () => leave());
find("retry").addEventListener("click", () => chat?.connection.retry());
find("newer").addEventListener("click", view.scrollToEnd);
find("toggle-people").addEventListener("click", () => view.showPeoplePanel(true));
find("close-people").addEventListener("click", () => view.showPeoplePanel(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && view.showPeoplePanel(false));
document.addEventListener("pointerdown", ({ target }) => find("side").contains(target) || view.showPeoplePanel(false));
document.addEventListener("visibilitychange", () => document.hidden || view.markRead());

view.followMessages();
nameField.value = sessionStorage.getItem("name") ?? "";
roomField.value = new URLSearchParams(location.search).get("room") ?? roomField.value;
nameField.focus();
