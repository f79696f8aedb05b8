// Draws strokes: those that the server has told of, and over them what this page has drawn and not been told yet.
//
// Each piece of a line is drawn by itself, so however the points came, together or one by one, the pixels are the same.

const FULL = 65535; // The board's width and height on the wire.
const UNITS = 1600; // And its width in the units of a pen's.

export class Board {
  #picture;
  #overlay;
  #colours = [];
  #frame = 0; // In which everything is drawn anew, if it is to be.
  strokes = new Map(); // by number, in the order in which they began

  constructor(picture, overlay) {
    this.#picture = picture;
    this.#overlay = overlay;
    this.#readColours();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#readColours();
      this.#redrawSoon();
    });
  }

  /// Colours are the style sheet's, light or dark.
  #readColours() {
    const style = getComputedStyle(document.documentElement);
    this.#colours = Array.from({ length: 8 }, (_, index) => style.getPropertyValue(`--c${index}`));
  }

  /// Takes as many pixels as there are.
  resize(width, height) {
    const density = devicePixelRatio || 1;
    for (const canvas of [this.#picture, this.#overlay]) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    // Now, and not by the next frame: the canvas is blank, and this frame is shown.
    this.#redraw();
  }

  reset() {
    this.strokes.clear();
    this.#redrawSoon();
  }

  /// Takes over a change. It is drawn at once, unless everything is to be drawn anew, as when something is taken away.
  change(change) {
    switch (change.kind) {
      case "begin": {
        const stroke = { pen: change.pen, points: change.points };
        this.strokes.set(change.stroke, stroke);
        this.#add(stroke, 0);
        break;
      }
      case "more": {
        const stroke = this.strokes.get(change.stroke);
        if (!stroke) break;
        const from = stroke.points.length;
        stroke.points.push(...change.points);
        this.#add(stroke, from);
        break;
      }
      case "gone":
        if (this.strokes.delete(change.stroke)) this.#redrawSoon();
        break;
      default:
        this.reset();
    }
  }

  #add(stroke, from) {
    if (this.#frame === 0) this.#draw(this.#picture.getContext("2d"), stroke, from);
  }

  /// Once for a frame, however much is taken away in it: a full board has some ten thousand strokes.
  #redrawSoon() {
    this.#frame ||= requestAnimationFrame(() => this.#redraw());
  }

  #redraw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const context = this.#picture.getContext("2d");
    context.clearRect(0, 0, this.#picture.width, this.#picture.height);
    for (const stroke of this.strokes.values()) this.#draw(context, stroke, 0);
  }

  /// Draws what is not told yet, each stroke from its first point that was not.
  drawOwn(pending) {
    const context = this.#overlay.getContext("2d");
    context.clearRect(0, 0, this.#overlay.width, this.#overlay.height);
    for (const stroke of pending) this.#draw(context, stroke, stroke.told);
  }

  #draw(context, { pen, points }, from) {
    const { width, height } = context.canvas;
    const colour = this.#colours[pen.colour];
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineCap = "round";
    context.lineWidth = Math.max(1, pen.width * width / UNITS);
    const place = ({ x, y }) => [x / FULL * width, y / FULL * height];
    for (let at = from; at < points.length; at += 1) {
      context.beginPath();
      if (at === 0) {
        context.arc(...place(points[0]), context.lineWidth / 2, 0, 2 * Math.PI);
        context.fill();
      } else {
        context.moveTo(...place(points[at - 1]));
        context.lineTo(...place(points[at]));
        context.stroke();
      }
    }
  }
}

/// The place of a pointer, on the wire's scale.
export function pointOf({ clientX, clientY }, { left, top, width, height }) {
  const scale = (value, size) => Math.round(Math.min(1, Math.max(0, value / size)) * FULL);
  return { x: scale(clientX - left, width), y: scale(clientY - top, height) };
}

export const inPercent = ({ x, y }) => [`${x / FULL * 100}%`, `${y / FULL * 100}%`];
