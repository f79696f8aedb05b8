// What goes over the wire, as src/wire.rs has it: integers little-endian, a point two of 16 bits.

function message(kind, more, points) {
  const bytes = new DataView(new ArrayBuffer(1 + more.length + points.length * 4));
  bytes.setUint8(0, kind);
  more.forEach((value, at) => bytes.setUint8(1 + at, value));
  points.forEach(({ x, y }, at) => {
    bytes.setUint16(1 + more.length + at * 4, x, true);
    bytes.setUint16(3 + more.length + at * 4, y, true);
  });
  return bytes.buffer;
}

export const begin = ({ colour, width }, points) => message(1, [colour, width], points);
export const more = (points) => message(2, [], points);
export const pointAt = (point) => message(3, [], [point]);
export const undo = () => message(4, [], []);
export const clear = () => message(5, [], []);
export const name = (text) => message(6, new TextEncoder().encode(text), []);

/// Reads what the server tells, as `{ kind, … }` with kind 'picture', 'changes', 'cursor', 'left' or 'missed cursors'.
export function decode(buffer) {
  const view = new DataView(buffer);
  switch (view.getUint8(0)) {
    case 1: return { kind: "picture", me: view.getUint16(1, true), changes: changes(view, 3) };
    case 2: return { kind: "changes", changes: changes(view, 1) };
    case 3: return {
      kind: "cursor",
      person: view.getUint16(1, true),
      at: { x: view.getUint16(3, true), y: view.getUint16(5, true) },
      colour: view.getUint8(7),
      name: new TextDecoder().decode(new Uint8Array(buffer, 8)),
    };
    case 4: return { kind: "left", person: view.getUint16(1, true) };
    case 5: return { kind: "missed cursors" };
    default: return { kind: "unknown" };
  }
}

/// Each as `{ kind, stroke, … }` with kind 'begin', 'more', 'gone' or 'clear'.
function* changes(view, at) {
  while (at < view.byteLength) {
    const kind = view.getUint8(at);
    if (kind === 4) {
      at += 1;
      yield { kind: "clear" };
      continue;
    }
    const stroke = view.getUint32(at + 1, true);
    at += 5;
    if (kind === 3) {
      yield { kind: "gone", stroke };
      continue;
    }
    const change = { kind: kind === 1 ? "begin" : "more", stroke, points: [] };
    if (kind === 1) {
      change.person = view.getUint16(at, true);
      change.pen = { colour: view.getUint8(at + 2), width: view.getUint8(at + 3) };
      at += 4;
    }
    const end = at + 2 + view.getUint16(at, true) * 4;
    for (at += 2; at < end; at += 4) {
      change.points.push({ x: view.getUint16(at, true), y: view.getUint16(at + 2, true) });
    }
    yield change;
  }
}
