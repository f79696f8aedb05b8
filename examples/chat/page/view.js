// What is shown. Text that people wrote goes in as `textContent` and in no other way, so HTML in it stays text.

const find = (id) => document.getElementById(id);
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const AT_END = 80; // Pixels from the end within which the list follows new messages.
const SAME_GROUP = 5 * 60_000; // One person's messages within this time share one name and avatar.
const MOST_MESSAGES = 500; // Older ones leave the page.

// By the room's name: { frame, list, lastGroup, earlier, isFollowing, scrollTop }; `earlier` is the place for what was said
// before the room was entered, { before, lastGroup }.
const logs = new Map();
const links = new Map(); // By the room's name: its line in the list of rooms
let shown = null; // The log that is seen now.

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

/// Each room has a log of its own. All but one are hidden: what happens there is not read aloud.
function logOf(room) {
  const known = logs.get(room.name);
  if (known) return known;
  const frame = element("div", "log");
  frame.setAttribute("role", "log");
  frame.setAttribute("aria-live", "polite");
  frame.setAttribute("aria-label", `Messages in ${room.name}`);
  frame.hidden = true;
  const list = element("ol", "messages");
  frame.append(list);
  find("scroller").append(frame);
  const log = { frame, list, lastGroup: null, earlier: null, isFollowing: true, scrollTop: 0 };
  logs.set(room.name, log);
  return log;
}

function append(log, item, isOwn, isEarlier = false) {
  if (isEarlier) log.earlier.before.before(item);
  else log.list.append(item);
  while (log.list.childElementCount > MOST_MESSAGES) log.list.firstElementChild.remove();
  if (isOwn) log.isFollowing = true;
  if (log !== shown) return;
  if (log.isFollowing) scrollToEnd();
  else find("newer").hidden = false;
}

export function scrollToEnd() {
  const scroller = find("scroller");
  scroller.scrollTop = scroller.scrollHeight;
  find("newer").hidden = true;
}

/// Keeps the log at its end while it changes its size, unless the reader has scrolled away from there.
export function followMessages() {
  const scroller = find("scroller");
  scroller.addEventListener("scroll", () => {
    if (!shown) return;
    shown.scrollTop = scroller.scrollTop;
    shown.isFollowing = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END;
    if (shown.isFollowing) find("newer").hidden = true;
  }, { passive: true });
  new ResizeObserver(() => shown?.isFollowing && scrollToEnd()).observe(scroller);
}

export function showMessage(room, { name, text, at }, isOwn, isEarlier) {
  const log = logOf(room);
  const place = isEarlier ? log.earlier : log;
  const isNewGroup = place.lastGroup?.name !== name || at - place.lastGroup.at > SAME_GROUP;
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
  place.lastGroup = { name, at };
  append(log, item, isOwn, isEarlier);
}

/// A line about the room rather than from it: `parts` are strings, or `{ name }` for what a person chose.
export function showNote(room, parts, { at = Date.now(), tone = "", isEarlier = false } = {}) {
  const log = logOf(room);
  const item = element("li", `note ${tone}`);
  const line = element("p");
  for (const part of parts) line.append(typeof part === "string" ? part : element("bdi", "", part.name));
  line.append(" ", timeOf(at));
  item.append(line);
  (isEarlier ? log.earlier : log).lastGroup = null;
  append(log, item, false, isEarlier);
  return item;
}

/// Says that the room was entered. What was said before that comes behind it, and is shown above it.
export function showEntered(room, parts) {
  logOf(room).earlier = { before: showNote(room, parts), lastGroup: null };
}

export function clearRooms() {
  for (const { frame } of logs.values()) frame.remove();
  logs.clear();
  links.clear();
  find("rooms").replaceChildren();
  shown = null;
}

export function forgetRoom({ name }) {
  logs.get(name)?.frame.remove();
  logs.delete(name);
  links.get(name)?.item.remove();
  links.delete(name);
}

/// Who is in the room, if that is the one that is seen: oneself first, then by name.
export function showPeople({ name: you, current }, room) {
  if (room !== current) return;
  const people = [...room.people].sort(([a], [b]) => (b === you) - (a === you) || a.localeCompare(b));
  find("people").replaceChildren(...people.map(([name, tabs]) => {
    const item = element("li");
    item.append(avatar(name), element("bdi", "", name));
    const notes = [name === you ? "you" : "", tabs > 1 ? `${tabs} tabs` : ""].filter(Boolean);
    if (notes.length > 0) item.append(element("small", "muted", notes.join(", ")));
    return item;
  }));
  find("count").textContent = String(people.length);
  find("toggle-count").textContent = String(people.length);
}

export function showTyping({ current }, room) {
  if (room !== current) return;
  const names = [...room.typing.keys()];
  const parts = [];
  if (names.length === 1) parts.push(element("bdi", "", names[0]), " is typing…");
  else if (names.length === 2) parts.push(element("bdi", "", names[0]), " and ", element("bdi", "", names[1]), " are typing…");
  else if (names.length > 2) parts.push("Several people are typing…");
  find("typing").replaceChildren(...parts);
}

/// The rooms that one is in or was in, and what waits there to be read. Lines stay, so that the focus does.
export function showRooms({ rooms, current }) {
  const count = [...rooms.values()].filter(({ isWanted }) => isWanted).length;
  for (const room of rooms.values()) {
    const { item, link, badge, leave } = links.get(room.name) ?? newLink(room);
    item.classList.toggle("away", !room.isWanted);
    if (room === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    badge.hidden = room.unread === 0;
    badge.replaceChildren(String(room.unread), element("span", "visually-hidden", " unread"));
    leave.hidden = !room.isWanted || count < 2;
  }
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  find("toggle-unread").hidden = unread === 0;
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${current.name} · Dreamsocket chat`;
}

function newLink({ name }) {
  const item = element("li");
  const link = element("button", "room-link");
  link.type = "button";
  link.dataset.enter = name;
  const badge = element("span", "badge unread");
  const hash = element("span", "hash", "#");
  hash.setAttribute("aria-hidden", "true");
  link.append(hash, element("bdi", "", name), badge);
  const leave = element("button", "quiet leave-room", "×");
  leave.type = "button";
  leave.dataset.leave = name;
  leave.setAttribute("aria-label", `Leave ${name}`);
  item.append(link, leave);
  find("rooms").append(item);
  const made = { item, link, badge, leave };
  links.set(name, made);
  return made;
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

/// Shows the room that is the current one, where it was last scrolled to.
export function showRoom(chat) {
  const { name, current: room } = chat;
  if (shown) shown.frame.hidden = true;
  shown = logOf(room);
  shown.frame.hidden = false;
  find("newer").hidden = true;
  find("room-name").textContent = room.name;
  find("you-name").textContent = name;
  paint(find("you-avatar"), name).textContent = initialsOf(name);
  find("entrance").hidden = true;
  find("chat").hidden = false;
  if (shown.isFollowing) scrollToEnd();
  else find("scroller").scrollTop = shown.scrollTop;
  showPeople(chat, room);
  showTyping(chat, room);
  showRooms(chat);
}

export function showEntrance() {
  clearInterval(countdown);
  find("chat").hidden = true;
  find("entrance").hidden = false;
  showPeoplePanel(false);
  document.title = "Dreamsocket chat";
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
