// A chart of the last minute: an area under a line, on canvas. What is not a number is a hole in it.

const MINUTE = 60_000;

export class Chart {
  #canvas;
  #least;

  /// `least` is what the whole height stands for at least, so that a quiet figure looks quiet.
  constructor(canvas, least) {
    this.#canvas = canvas;
    this.#least = least;
    new ResizeObserver(([{ contentRect: { width, height } }]) => {
      const density = devicePixelRatio || 1;
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }).observe(canvas);
  }

  /// `points` are `[time, value]`, the oldest first.
  draw(points, now) {
    const { width, height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const density = devicePixelRatio || 1;
    const most = points.reduce((most, [, value]) => value > most ? value : most, this.#least);
    // Room for the line's width above, and a foot below, so that a zero is seen.
    const y = (value) => height - 6 * density - value / most * (height - 12 * density);
    const x = (time) => width * (1 - (now - time) / MINUTE);

    context.clearRect(0, 0, width, height);
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = density;
    for (const part of [0, 0.5, 1]) {
      context.beginPath();
      context.moveTo(0, Math.round(y(most * part)) + 0.5);
      context.lineTo(width, Math.round(y(most * part)) + 0.5);
      context.stroke();
    }

    const accent = style.getPropertyValue("--accent");
    const fill = context.createLinearGradient(0, 0, 0, height);
    fill.addColorStop(0, `color-mix(in srgb, ${accent} 38%, transparent)`);
    fill.addColorStop(1, `color-mix(in srgb, ${accent} 4%, transparent)`);
    context.strokeStyle = accent;
    context.fillStyle = fill;
    context.lineWidth = 2 * density;
    context.lineJoin = "round";
    for (const run of runs(points)) {
      context.beginPath();
      run.forEach(([time, value], at) => at === 0 ? context.moveTo(x(time), y(value)) : context.lineTo(x(time), y(value)));
      context.stroke();
      context.lineTo(x(run.at(-1)[0]), height);
      context.lineTo(x(run[0][0]), height);
      context.fill();
    }

    context.fillStyle = style.getPropertyValue("--muted");
    context.font = `${11 * density}px ${style.fontFamily}`;
    context.textAlign = "right";
    context.textBaseline = "top";
    context.fillText(most >= 10 ? most.toFixed(0) : most.toFixed(1), width - 10 * density, y(most) + 4 * density);
  }
}

/// The pieces between what is not a number.
function runs(points) {
  const runs = [];
  let run = [];
  for (const point of points) {
    if (!Number.isNaN(point[1])) run.push(point);
    else if (run.length > 0) runs.push(run.splice(0));
  }
  if (run.length > 0) runs.push(run);
  return runs;
}
