// What is shown. Text that people wrote goes in as `textContent` and in no other way, so HTML in it stays text.

const find = (id) => document.getElementById(id);
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const AT_END = 80; // Pixels from the end within which the list follows new messages.
const SAME_GROUP = 5 * 60_000; // One person's messages within this time share one name and avatar.
const MOST_MESSAGES = 500; // Older ones leave the page.

let lastGroup = null; // { from, at }
let unread = 0;
let isFollowing = true; // Whether the list stays at its end as messages come.

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/// One of 18 hues, the same for the same name on every page (FNV-1a).
function hueOf(name) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return String(((hash ^ (hash >>> 15)) % 18) * 20);
}

function paint(node, name) {
  node.style.setProperty("--hue", hueOf(name));
  return node;
}

function initialsOf(name) {
  const words = name.trim().split(/\s+/u);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => [...word][0] ?? "").join("").toUpperCase();
}

function avatar(name) {
  const node = paint(element("span", "avatar", initialsOf(name)), name);
  node.setAttribute("aria-hidden", "true");
  return node;
}

function timeOf(at) {
  const node = element("time", "time", time.format(at));
  node.dateTime = new Date(at).toISOString();
  node.title = date.format(at);
  return node;
}

function append(item, isOwn) {
  const list = find("messages");
  list.append(item);
  while (list.childElementCount > MOST_MESSAGES) list.firstElementChild.remove();
  if (isOwn || isFollowing) scrollToEnd();
  else find("newer").hidden = false;
}

export function scrollToEnd() {
  const scroller = find("scroller");
  scroller.scrollTop = scroller.scrollHeight;
  find("newer").hidden = true;
}

/// Keeps the list at its end while it changes its size, unless the reader has scrolled away from there.
export function followMessages() {
  const scroller = find("scroller");
  scroller.addEventListener("scroll", () => {
    isFollowing = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END;
    if (isFollowing) find("newer").hidden = true;
  }, { passive: true });
  new ResizeObserver(() => isFollowing && scrollToEnd()).observe(scroller);
}

export function showMessage({ from, name, text, at }, isOwn) {
  const isNewGroup = lastGroup?.from !== from || at - lastGroup.at > SAME_GROUP;
  const item = element("li", isOwn ? "message own" : "message");
  item.classList.toggle("first", isNewGroup);
  if (isNewGroup && !isOwn) item.append(avatar(name));
  const body = element("div", "body");
  const head = element("p", isNewGroup ? "head" : "visually-hidden");
  const who = paint(element("bdi", "who", isOwn ? "You" : name), name);
  head.append(who, " ", timeOf(at));
  const bubble = element("p", "bubble", text);
  bubble.dir = "auto";
  bubble.title = date.format(at);
  body.append(head, bubble);
  item.append(body);
  lastGroup = { from, at };
  append(item, isOwn);
  if (document.hidden && !isOwn) {
    unread += 1;
    showTitle();
  }
}

/// A line about the room rather than from it: `parts` are strings, or `{ name }` for what a person chose.
export function showNote(parts, at = Date.now(), tone = "") {
  const item = element("li", `note ${tone}`);
  const line = element("p");
  for (const part of parts) line.append(typeof part === "string" ? part : element("bdi", "", part.name));
  line.append(" ", timeOf(at));
  item.append(line);
  lastGroup = null;
  append(item, false);
}

export function clearMessages() {
  find("messages").replaceChildren();
  lastGroup = null;
  isFollowing = true;
}

/// `people` is a map from the connection's id to the name.
export function showPeople(people, you) {
  const byName = [...people].sort(([a, nameA], [b, nameB]) => (b === you) - (a === you) || nameA.localeCompare(nameB));
  find("people").replaceChildren(...byName.map(([id, name]) => {
    const item = element("li");
    item.append(avatar(name), element("bdi", "", name));
    if (id === you) item.append(element("small", "muted", "you"));
    return item;
  }));
  find("count").textContent = String(people.size);
  find("toggle-count").textContent = String(people.size);
}

const STATES = { connecting: "Connecting", open: "Connected", waiting: "Disconnected" };
let countdown = null;

export function showState({ state, retryAt, reason }, hasBeenOpen) {
  find("state").dataset.state = state;
  find("state-text").textContent = STATES[state] ?? "";
  clearInterval(countdown);
  find("trouble").hidden = state === "open" || (state === "connecting" && !hasBeenOpen);
  find("retry").hidden = state !== "waiting";
  if (state === "waiting") {
    const what = hasBeenOpen ? "The connection was lost" : "The server does not answer";
    const why = reason ? ` (${reason})` : "";
    const tell = () => {
      const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
      find("trouble-text").textContent = `${what}${why}. Trying again in ${seconds} s.`;
    };
    tell();
    countdown = setInterval(tell, 1000);
  } else {
    find("trouble-text").textContent = "Connecting again…";
  }
}

export function showRoom({ name, room }) {
  find("entrance").hidden = true;
  find("chat").hidden = false;
  find("room-name").textContent = room;
  find("you-name").textContent = name;
  find("you-avatar").textContent = initialsOf(name);
  paint(find("you-avatar"), name);
  showTitle();
}

export function showEntrance() {
  clearInterval(countdown);
  find("chat").hidden = true;
  find("entrance").hidden = false;
  showPeoplePanel(false);
  document.title = "Dreamsocket chat";
}

function showTitle() {
  const count = unread > 0 ? `(${unread}) ` : "";
  document.title = `${count}${find("room-name").textContent} · Dreamsocket chat`;
}

export function markRead() {
  unread = 0;
  if (find("entrance").hidden) showTitle();
}

/// On a narrow page the people are a panel that opens and closes.
export function showPeoplePanel(isOpen) {
  const wasOpen = find("side").classList.contains("open");
  find("side").classList.toggle("open", isOpen);
  find("toggle-people").setAttribute("aria-expanded", String(isOpen));
  if (isOpen !== wasOpen) find(isOpen ? "close-people" : "toggle-people").focus();
}

/// Shows what is wrong with a field, or nothing for an empty text.
export function showError(id, text, field) {
  const node = find(id);
  node.textContent = text;
  node.hidden = text === "";
  if (field) field.setAttribute("aria-invalid", String(text !== ""));
}

/// Lets the field grow with its text, and shows how much room is left when there is not much.
export function showDraft(field, left) {
  field.style.setProperty("height", "auto");
  field.style.setProperty("height", `${field.scrollHeight}px`);
  const node = find("left");
  node.hidden = left > 200;
  node.textContent = left.toLocaleString();
  node.classList.toggle("over", left < 0);
}
