// The dashboard: keeps the last minute of samples, and draws when the screen is ready for it, at most once for each frame.

import { Chart } from "./chart.js";
import { SIZE, decode } from "./sample.js";

const KEPT = 60_000; // Milliseconds,
const MOST_KEPT = 6_000; // and samples at most: those of a minute at a hundred a second.
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

const find = (id) => document.getElementById(id);

/// What the whole height of a chart stands for at least, and how a figure is written.
const FIGURES = {
  machine: [100, (value) => value.toFixed(0)],
  program: [10, (value) => value.toFixed(1)],
  load: [2, (value) => value.toFixed(2)],
  resident: [16, (value) => value.toFixed(1)],
  sockets: [4, (value) => value.toFixed(0)],
};
const charts = new Map(Object.entries(FIGURES).map(([id, [least]]) => [id, new Chart(find(`${id}-chart`), least)]));

let samples = [];
let skipped = 0;
let attempts = 0;
let frame = 0;

function take(sample) {
  const last = samples.at(-1);
  // A server that was started anew begins to count anew.
  if (last && sample.number > last.number) skipped += sample.number - last.number - 1;
  // One whose clock was set back has its past anew.
  if (last && last.at > sample.at) samples = samples.filter(({ at }) => at < sample.at);
  samples.push(sample);
  while (samples.length > MOST_KEPT || samples[0].at < sample.at - KEPT) samples.shift();
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const last = samples.at(-1);
  for (const [id, [, write]] of Object.entries(FIGURES)) {
    find(id).textContent = Number.isNaN(last[id]) ? "–" : write(last[id]);
    charts.get(id).draw(samples.map((sample) => [sample.at, sample[id]]), last.at);
  }
  find("rate").textContent = samples.filter(({ at }) => at > last.at - 1_000).length;
  find("skipped").textContent = skipped;
}

function showState(state, text) {
  find("state").dataset.state = state;
  find("state-text").textContent = text;
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  let isFirst = true;
  socket.onmessage = ({ data }) => {
    if (!(data instanceof ArrayBuffer) || data.byteLength !== SIZE) return;
    const sample = decode(data);
    if (isFirst) {
      isFirst = false;
      attempts = 0;
      showState("open", "Live");
      // What was sampled while there was no connection was not skipped, and what is there before the first is none.
      if (sample.number === 0) return;
      samples = samples.filter(({ at }) => at < sample.at);
      if (samples.length > 0) samples.push({ ...samples.at(-1), number: sample.number - 1, machine: NaN, program: NaN, load: NaN, resident: NaN, sockets: NaN });
    }
    take(sample);
  };
  socket.onclose = () => {
    // Half of the wait is chance, so that all who lost the same server do not come back in the same moment.
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts);
    attempts += 1;
    setTimeout(connect, longest / 2 + longest / 2 * Math.random());
    showState("waiting", "Connecting again");
  };
}

connect();
