// The inspector's page: says what it wants to see over a WebSocket, and shows what comes, once a second. Whatever comes is put
// into text, never into HTML.
"use strict";

const ROWS = 50;
const WORDS = 8; // The server takes no more in a search.
const BASE = location.pathname.replace(/\/*$/, "/");
const $ = (id) => document.getElementById(id);

// ---- what is said of numbers

const format = new Intl.NumberFormat("en");
const count = (number) => format.format(Math.round(number));

function bytes(number) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (number >= size) return `${(number / size).toFixed(number >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${Math.round(number)} B`;
}

function rate(number) {
  if (number === undefined) return "–";
  return `${number >= 10 || number === 0 ? count(number) : number.toFixed(1)}/s`;
}

function span(seconds) {
  if (seconds === null) return "–";
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

function milliseconds(seconds) {
  if (seconds === null) return "–";
  const number = seconds * 1000;
  return `${number >= 100 ? count(number) : number.toFixed(number >= 10 ? 1 : 2)} ms`;
}

const counts = (map) => Object.entries(map).map(([name, number]) => `${count(number)} ${name}`).join(", ");
const sum = (map) => Object.values(map).reduce((total, number) => total + number, 0);

// ---- small parts of the page

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // What is the same is not said again by a screen reader.
}

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// ---- connections

const view = { sort: "outbox", order: "descending", search: "", offset: 0, limit: ROWS };

// Title, sort, kind, text, and what stands small beneath it.
const COLUMNS = [
  { title: "Peer", sort: "peer", text: (row) => row.peer_addr ?? "unknown", small: (row) => row.id },
  { title: "Path", sort: "path", text: (row) => row.path ?? "–", small: (row) => row.subprotocol ?? "" },
  { title: "State", sort: "state", text: (row) => row.state ?? "–", small: (row) => (row.is_client ? "as a client" : "") },
  { title: "Age", sort: "age", number: true, text: (row) => span(row.age_seconds), small: () => "" },
  { title: "In", sort: "messages_in", number: true, text: (row) => rate(row.rates?.messages_in), small: (row) => `${count(row.messages_in)} · ${bytes(row.bytes_in)}` },
  { title: "Out", sort: "messages_out", number: true, text: (row) => rate(row.rates?.messages_out), small: (row) => `${count(row.messages_out)} · ${bytes(row.bytes_out)}` },
  { title: "Outbox", sort: "outbox", number: true, text: (row) => bytes(row.outbox_bytes), small: (row) => `of ${bytes(row.outbox_limit)}`, bar: (row) => row.outbox_bytes / row.outbox_limit },
  { title: "Round trip", sort: "round_trip", number: true, text: (row) => milliseconds(row.round_trip_seconds), small: () => "" },
  { title: "Missed", sort: "missed", number: true, text: (row) => (row.missed === null ? "–" : count(row.missed)), small: () => "", bad: (row) => row.missed > 0 },
];
const TEXTS = new Set(["peer", "path", "state"]);

for (const { title, sort, number } of COLUMNS) {
  const button = make("button", { type: "button", textContent: title });
  button.addEventListener("click", () => sortBy(sort));
  const head = make("th", { scope: "col", className: number ? "number" : "" }, button);
  head.setAttribute("role", "columnheader");
  head.dataset.sort = sort;
  $("heads").append(head);
  $("sort").append(make("option", { value: sort, textContent: title }));
}
const last = make("th", { scope: "col" }, make("span", { className: "hidden", textContent: "Close" }));
last.setAttribute("role", "columnheader");
$("heads").append(last);

function sortBy(sort) {
  if (view.sort === sort) view.order = view.order === "descending" ? "ascending" : "descending";
  else Object.assign(view, { sort, order: TEXTS.has(sort) ? "ascending" : "descending" });
  view.offset = 0;
  showOrder();
  ask();
}

function showOrder() {
  for (const head of $("heads").children) {
    if (head.dataset.sort === view.sort) head.setAttribute("aria-sort", view.order);
    else head.removeAttribute("aria-sort");
  }
  $("sort").value = view.sort;
  setText($("order"), view.order === "descending" ? "Descending" : "Ascending");
}

const rows = new Map(); // By number, so that the focus stays with a connection when others move.

function makeRow(id) {
  const row = make("tr", { tabIndex: -1 });
  row.setAttribute("role", "row");
  row.dataset.id = id;
  for (const { title, number } of COLUMNS) {
    const cell = make("td", { className: number ? "number" : "" }, make("span"), make("span", { className: "small" }));
    cell.setAttribute("role", "cell");
    cell.dataset.label = title;
    row.append(cell);
  }
  const button = make("button", { type: "button", tabIndex: -1, textContent: "Close" });
  button.addEventListener("click", () => askToClose(row));
  const cell = make("td", {}, button);
  cell.setAttribute("role", "cell");
  row.append(cell);
  return row;
}

function fillRow(row, connection) {
  row.connection = connection;
  COLUMNS.forEach(({ text, small, bar, bad }, index) => {
    const cell = row.cells[index];
    setText(cell.children[0], text(connection));
    setText(cell.children[1], small(connection));
    if (bar) {
      const full = Math.min(1, bar(connection));
      cell.classList.toggle("bar", full > 0);
      cell.toggleAttribute("data-high", full >= 0.5);
      cell.style.setProperty("--full", `${(full * 100).toFixed(1)}%`);
    }
    if (bad) cell.children[0].classList.toggle("bad", bad(connection));
  });
  row.toggleAttribute("data-closing", connection.is_closing);
  const button = row.lastElementChild.firstElementChild;
  setText(button, connection.is_closing ? "Closing" : "Close");
  button.disabled = connection.is_closing;
  const who = `${connection.peer_addr ?? "unknown"} ${connection.path ?? ""}`;
  button.setAttribute("aria-label", `Close ${who}`);
}

function showConnections({ totals, matched, offset, connections }) {
  const focused = document.activeElement.closest?.("#rows tr");
  const shown = new Set(connections.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (shown.has(id)) continue;
    rows.delete(id);
    row.remove();
  }
  connections.forEach((connection, place) => {
    let row = rows.get(connection.id);
    if (!row) rows.set(connection.id, (row = makeRow(connection.id)));
    fillRow(row, connection);
    const there = $("rows").children[place];
    if (there !== row) $("rows").insertBefore(row, there ?? null);
  });
  if (focused && document.activeElement !== focused) {
    // It has moved, or it is gone: then whoever is in its place.
    const next = rows.get(focused.dataset.id) ?? $("rows").children[Math.min(place, connections.length - 1)];
    next?.focus({ preventScroll: true });
  }
  place = [...$("rows").children].indexOf(document.activeElement.closest?.("#rows tr"));
  rove(place < 0 ? (place = 0) : place);
  $("nobody").hidden = connections.length > 0;
  setText($("nobody"), totals.connections > 0 ? "Nothing is found." : "No connections.");
  const end = offset + connections.length;
  setText($("range"), matched > 0 ? `${count(offset + (end > offset ? 1 : 0))}–${count(end)} of ${count(matched)}` : "0 of 0");
  $("previous").disabled = offset === 0;
  $("next").disabled = end >= matched;
  if (offset > 0 && connections.length === 0) { // The page that was looked at is gone.
    view.offset = 0;
    ask();
  }
  if (isSearchNew) {
    isSearchNew = false;
    const found = `${count(matched)} of ${count(totals.connections)} connections are found`;
    setText($("matched"), view.search ? `${found}${isSearchCut ? ` by the first ${WORDS} words` : ""}.` : "");
  }
}

// One row is reached by Tab, the others by arrows from there.
let place = 0;
function rove(to) {
  [...$("rows").children].forEach((row, index) => { row.tabIndex = index === to ? 0 : -1; });
}

$("rows").addEventListener("focusin", ({ target }) => {
  place = [...$("rows").children].indexOf(target.closest("tr"));
  rove(place);
});

$("rows").addEventListener("keydown", (event) => {
  const row = event.target.closest("tr");
  const all = [...$("rows").children];
  const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: all.length - 1, PageDown: place + 10, PageUp: place - 10 };
  if (event.key in moves) {
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, moves[event.key]))].focus();
  } else if ((event.key === "Enter" || event.key === "Delete") && event.target === row) {
    event.preventDefault();
    askToClose(row);
  }
});

// ---- closing one

let closing;
function askToClose(row) {
  if (row.connection.is_closing) return;
  closing = row.connection;
  const { peer_addr: peer, path, state, id } = closing;
  setText($("dialog-who"), [peer ?? "unknown peer", path, state, id].filter(Boolean).join(" · "));
  setText($("dialog-error"), "");
  row.focus({ preventScroll: true }); // Where the focus comes back to.
  $("dialog").showModal();
}

$("confirm").addEventListener("click", async () => {
  const asked = closing; // Another may be asked for before the answer is here.
  $("confirm").disabled = true;
  try {
    const answer = await fetch(`${BASE}connections/${asked.id}/close?code=${$("code").value}`, {
      method: "POST",
      headers: { "X-Dreamsocket-Inspector": "page" },
    });
    if (!answer.ok && answer.status !== 404) throw new Error((await answer.text()).trim());
    if (closing === asked) $("dialog").close();
    setText($("said"), answer.ok ? `Closed ${asked.peer_addr ?? asked.id}.` : "It was gone already.");
    ask();
  } catch (error) {
    setText(closing === asked ? $("dialog-error") : $("said"), `Not closed: ${error.message}`);
  } finally {
    $("confirm").disabled = false;
  }
});

// ---- the rest of the page

// The codes that are seen most often have colours of their own.
const COLOURS = { 1000: "code-b", 1001: "code-e", 1006: "code-d", 1008: "code-a", 1011: "code-c", 1013: "code-c" };
const NAMES = {
  1000: "normal", 1001: "going away", 1002: "protocol", 1003: "unsupported", 1005: "no code", 1006: "lost", 1007: "not UTF-8",
  1008: "policy", 1009: "too big", 1011: "error", 1012: "restart", 1013: "too slow",
};

function showCloses({ seconds_each: each, bars }) {
  const most = Math.max(1, ...bars.map(sum));
  const width = 720 / bars.length;
  const totals = {};
  const drawn = [];
  bars.forEach((bar, index) => {
    let top = 64;
    for (const [code, number] of Object.entries(bar)) {
      totals[code] = (totals[code] ?? 0) + number;
      const height = Math.max((number / most) * 60, 1.5);
      top -= height;
      const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const place = { x: index * width + 0.4, y: top, width: width - 0.8, height };
      for (const [name, value] of Object.entries(place)) part.setAttribute(name, value.toFixed(2));
      part.setAttribute("class", COLOURS[code] ?? "code-f");
      drawn.push(part);
    }
  });
  $("closes").replaceChildren(...drawn);
  const legend = Object.entries(totals).map(([code, number]) => {
    const text = `${code}${NAMES[code] ? ` ${NAMES[code]}` : ""}: ${count(number)}`;
    return make("li", { className: COLOURS[code] ?? "code-f", textContent: text });
  });
  $("legend").replaceChildren(...(legend.length > 0 ? legend : [make("li", { className: "code-f", textContent: "none" })]));
  setText($("closes-from"), `${span(each * bars.length).replace(" 0 s", "")} ago`);
  setText($("closes-most"), sum(totals) > 0 ? `at most ${count(most)} in ${each} s` : "");
  setText($("closes-text"), counts(totals) || "none");
}

function showSummary(summary, { totals }) {
  setText($("uptime"), `up ${span(summary.uptime_seconds)}`);
  setText($("count"), count(summary.connections));
  setText($("count-of"), `of ${count(summary.max_connections)}${totals.closing > 0 ? `, ${count(totals.closing)} closing` : ""}`);
  setText($("in"), rate(totals.rates?.messages_in));
  setText($("in-bytes"), totals.rates ? `${bytes(totals.rates.bytes_in)}/s` : "");
  setText($("out"), rate(totals.rates?.messages_out));
  setText($("out-bytes"), totals.rates ? `${bytes(totals.rates.bytes_out)}/s` : "");
  setText($("outboxes"), bytes(totals.outbox_bytes));
  setText($("missed"), `${count(totals.missed)} messages missed`);
  setText($("opened"), count(summary.opened));
  setText($("closed"), `ended: ${counts(summary.closed) || "none"}`);
  $("closed").title = $("closed").textContent;
  setText($("refused"), count(sum(summary.refused)));
  const faults = counts(summary.faults);
  setText($("refused-by"), [counts(summary.refused), faults && `faults: ${faults}`].filter(Boolean).join("; "));
  $("refused-by").title = $("refused-by").textContent;
  const { drain } = summary;
  $("drain").hidden = !drain;
  if (drain) {
    setText($("drain-title"), drain.left > 0 ? "Draining" : "Drained");
    const all = drain.clean + drain.cut + drain.left;
    $("drain-progress").value = all > 0 ? (all - drain.left) / all : 1;
    const rest = drain.left > 0 ? `; ${span(drain.cut_in_seconds)} until handlers are cut` : "";
    setText($("drain-text"), `${count(drain.left)} left, ${count(drain.clean)} ended cleanly, ${count(drain.cut)} cut${rest}`);
  }
  showCloses(summary.closes);
}

function showTopics({ broadcasters }) {
  $("topics").hidden = broadcasters.length === 0;
  const tables = broadcasters.map((broadcaster) => {
    const head = (title, number) => make("th", { scope: "col", className: number ? "number" : "", textContent: title });
    const number = (value) => make("td", { className: "number", textContent: count(value) });
    const lines = broadcaster.busiest.map((topic) => make(
      "tr", {}, make("td", { textContent: topic.name }), number(topic.subscribers), number(topic.published), number(topic.missed),
    ));
    const known = `${count(broadcaster.topics)} ${broadcaster.topics === 1 ? "topic" : "topics"}, ${count(broadcaster.published)} published, ${count(broadcaster.missed)} missed`;
    const caption = make("caption", {}, make("strong", { textContent: broadcaster.name }), make("span", { className: "small", textContent: ` ${known}` }));
    if (!broadcaster.is_ready) caption.append(make("span", { className: "bad", textContent: " not ready" }));
    const heads = make("thead", {}, make("tr", {}, head("Topic"), head("Subscribers", true), head("Published", true), head("Missed", true)));
    return make("table", {}, caption, heads, make("tbody", {}, ...lines));
  });
  $("broadcasters").replaceChildren(...tables);
}

let isPaused = false;
let isSearchNew = false;
let isSearchCut = false;
let awaited = 0; // How many answers to questions of ours are to come, which are shown even while paused.

function show(update) {
  if ($("dialog").open) return;
  if (isPaused && awaited === 0) return;
  awaited = 0;
  showSummary(update.summary, update.connections);
  showConnections(update.connections);
  showTopics(update.topics);
}

function pause() {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  setText($("pause"), isPaused ? "Paused" : "Pause");
}

// ---- the connection

let socket;
let wait = 500;

function ask() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  awaited += 1;
  socket.send(JSON.stringify(view));
}

function setState(state, text) {
  $("state").dataset.state = state;
  setText($("state"), text);
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${BASE}live`);
  socket.onopen = () => {
    wait = 500;
    setState("live", "Live");
    ask();
  };
  socket.onmessage = ({ data }) => show(JSON.parse(data));
  socket.onclose = ({ code, reason }) => {
    const isDrained = code === 1001 && reason === "drained";
    if (isDrained) wait = 2_000; // Nothing is hurried: a program that was drained is gone, and comes back if it was a restart.
    if (isDrained || $("state").dataset.state !== "drained") {
      setState(isDrained ? "drained" : "lost", `${isDrained ? "Drained" : "Disconnected"}, trying again`);
    }
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8_000);
  };
}

let typing;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const words = $("search").value.split(/[\s\u0085]+/).filter(Boolean);
    isSearchCut = words.length > WORDS;
    Object.assign(view, { search: words.slice(0, WORDS).join(" "), offset: 0 });
    isSearchNew = true;
    ask();
  }, 150);
});
$("find").addEventListener("submit", (event) => event.preventDefault());
$("sort").addEventListener("change", ({ target }) => sortBy(target.value));
$("order").addEventListener("click", () => sortBy(view.sort));
$("pause").addEventListener("click", pause);
$("previous").addEventListener("click", () => { view.offset = Math.max(0, view.offset - ROWS); ask(); });
$("next").addEventListener("click", () => { view.offset += ROWS; ask(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  if (event.target.matches?.("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "p") {
    pause();
  }
});

showOrder();
connect();
