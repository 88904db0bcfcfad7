// Drawing by hand: the small line of a rate, the latencies of the last half minute, and how they are distributed.
//
// Colours come from the style sheet, as custom properties of the drawing's element, so that light and dark are decided
// in one place.

const SVG = "http://www.w3.org/2000/svg";

// MARK: Sparklines

const PLACES_MIN = 12;

/** A line of the last values, in an <svg> that the style sheet sizes. */
export class Sparkline {
  #area = document.createElementNS(SVG, "path");
  #line = document.createElementNS(SVG, "path");

  constructor(svg) {
    svg.setAttribute("viewBox", "0 0 100 24");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    this.#area.setAttribute("class", "spark-area");
    this.#line.setAttribute("class", "spark-line");
    svg.append(this.#area, this.#line);
  }

  /** Draws values, the newest at the right. A few do not fill it: a line that begins is not to look like a long one. */
  draw(values) {
    const top = Math.max(...values);
    if (values.length < 2 || !top) {
      this.#area.setAttribute("d", "");
      this.#line.setAttribute("d", "");
      return;
    }
    const step = 100 / (Math.max(values.length, PLACES_MIN) - 1);
    const left = 100 - (values.length - 1) * step;
    const points = values.map((value, index) =>
      `${(left + index * step).toFixed(1)},${(22.5 - (21 * value) / top).toFixed(1)}`);
    this.#line.setAttribute("d", `M${points.join("L")}`);
    this.#area.setAttribute("d", `M${left.toFixed(1)},24L${points.join("L")}L100,24Z`);
  }
}

// MARK: Scale of latencies

const FASTEST_MS = 0.5;
const SLOWEST_MS = 60_000;
const DECADES = Math.log10(SLOWEST_MS / FASTEST_MS);
const MARKS = [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1000, "1 s"], [10_000, "10 s"]];

/** Where a latency stands between the fastest (0) and the slowest (1) that is drawn; each decade is as wide. */
export function place(ms) {
  return Math.min(1, Math.max(0, Math.log10(ms / FASTEST_MS) / DECADES));
}

/** Counts of latencies: a column of the drawing each, all equally wide on the scale. */
export class Buckets {
  static COUNT = 42;
  counts = new Array(Buckets.COUNT).fill(0);
  total = 0;

  add(ms) {
    this.counts[Math.min(Buckets.COUNT - 1, Math.floor(place(ms) * Buckets.COUNT))] += 1;
    this.total += 1;
  }

  clear() {
    this.counts.fill(0);
    this.total = 0;
  }
}

// MARK: Canvases

/** A canvas as sharp as the screen, drawn in the colours that the style sheet gives it. */
class Picture {
  #canvas;
  #colours = {};

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = {};
      this.redraw?.();
    });
  }

  #fit() {
    const scale = devicePixelRatio || 1;
    const sides = [this.#canvas.clientWidth, this.#canvas.clientHeight];
    const [width, height] = sides.map((side) => Math.round(side * scale));
    if (this.#canvas.width === width && this.#canvas.height === height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.redraw?.();
  }

  colour(name) {
    return (this.#colours[name] ??= getComputedStyle(this.#canvas).getPropertyValue(name).trim());
  }

  /** Clears it and calls draw with the context and the size in the page's pixels, unless it is not shown. */
  paint(draw) {
    const [width, height] = [this.#canvas.clientWidth, this.#canvas.clientHeight];
    if (!width || !height || !this.#canvas.width) return;
    const context = this.#canvas.getContext("2d");
    context.setTransform(this.#canvas.width / width, 0, 0, this.#canvas.height / height, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "10px system-ui, sans-serif";
    draw(context, width, height);
  }
}

/** The last half minute: a dot for each event where it arrived, as high as it was late; cuts as shaded spans. */
export class Timeline extends Picture {
  static WINDOW_MS = 30_000;
  static #LEFT = 44;
  static #BOTTOM = 14;

  /** lane: `dots` ({at, ms, isLate}), `asks` ({at, isEmpty}), `blind` ({from, to}); now: performance.now(). */
  draw(lane, now) {
    this.redraw = () => this.draw(lane, now);
    this.paint((context, width, height) => {
      const [left, bottom] = [Timeline.#LEFT, height - Timeline.#BOTTOM];
      const x = (at) => width - 2 - ((now - at) / Timeline.WINDOW_MS) * (width - 2 - left);
      const y = (ms) => bottom - 3 - place(ms) * (bottom - 8);
      this.#grid(context, width, { left, bottom, x, y, now });
      context.save();
      context.beginPath();
      context.rect(left, 0, width - left, height);
      context.clip();
      this.#blind(context, lane.blind, { bottom, x, now });
      this.#asks(context, lane.asks, { bottom, x });
      this.#dots(context, lane.dots, { x, y });
      context.restore();
    });
  }

  #grid(context, width, { left, bottom, x, y, now }) {
    context.strokeStyle = this.colour("--grid");
    context.fillStyle = this.colour("--quiet");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const [ms, text] of MARKS) {
      const at = Math.round(y(ms)) + 0.5;
      line(context, left, at, width, at);
      context.fillText(text, left - 6, at);
    }
    context.textBaseline = "alphabetic";
    for (const seconds of [10, 20]) {
      const at = Math.round(x(now - seconds * 1000)) + 0.5;
      line(context, at, 0, at, bottom);
      context.textAlign = "center";
      context.fillText(`${seconds} s ago`, at, bottom + 11);
    }
    context.textAlign = "right";
    context.fillText("now", width - 2, bottom + 11);
  }

  #blind(context, spans, { bottom, x, now }) {
    for (const { from, to } of spans) {
      const [start, end] = [x(from), x(to ?? now)];
      context.fillStyle = this.colour("--bad-soft");
      context.fillRect(start, 0, end - start, bottom);
      context.strokeStyle = this.colour("--bad");
      line(context, Math.round(start) + 0.5, 0, Math.round(start) + 0.5, bottom);
      if (end - start < 34) continue;
      context.fillStyle = this.colour("--bad");
      context.textAlign = "left";
      context.fillText("blind", start + 5, 11);
    }
  }

  /** A tick for each answer to a poll, below the dots: hollow ones brought nothing. */
  #asks(context, asks, { bottom, x }) {
    for (const { at, isEmpty } of asks) {
      context.fillStyle = this.colour(isEmpty ? "--tick" : "--lane");
      context.fillRect(x(at) - 0.5, bottom - (isEmpty ? 4 : 6), 1.5, isEmpty ? 4 : 6);
    }
  }

  #dots(context, dots, { x, y }) {
    const draw = (isLate, colour) => {
      context.fillStyle = this.colour(colour);
      context.beginPath();
      for (const dot of dots) {
        if (dot.isLate !== isLate) continue;
        const [cx, cy] = [x(dot.at), y(dot.ms)];
        context.moveTo(cx + 2, cy);
        context.arc(cx, cy, 2, 0, 2 * Math.PI);
      }
      context.fill();
    };
    draw(false, "--lane");
    draw(true, "--text");
  }
}

/** How often each latency was seen, on the same scale for all. */
export class Distribution extends Picture {
  static #BOTTOM = 14;

  /** buckets: Buckets; marks: [[ms, text]], e.g. the median. */
  draw(buckets, marks) {
    this.redraw = () => this.draw(buckets, marks);
    this.paint((context, width, height) => {
      const bottom = height - Distribution.#BOTTOM;
      this.#grid(context, width, bottom);
      const top = Math.max(...buckets.counts) || 1;
      const step = (width - 2) / Buckets.COUNT;
      context.fillStyle = this.colour("--lane");
      buckets.counts.forEach((number, index) => {
        if (!number) return;
        const tall = Math.max(2, (number / top) * (bottom - 16));
        context.fillRect(1 + index * step, bottom - tall, Math.max(1, step - 1), tall);
      });
      this.#marks(context, marks, width, bottom);
    });
  }

  #grid(context, width, bottom) {
    context.strokeStyle = this.colour("--grid");
    context.fillStyle = this.colour("--quiet");
    context.lineWidth = 1;
    line(context, 0, bottom + 0.5, width, bottom + 0.5);
    context.textAlign = "center";
    for (const [ms, text] of MARKS) {
      const at = Math.round(1 + place(ms) * (width - 2)) + 0.5;
      line(context, at, 0, at, bottom);
      context.fillText(text, at, bottom + 11);
    }
  }

  #marks(context, marks, width, bottom) {
    context.strokeStyle = this.colour("--text");
    context.fillStyle = this.colour("--text");
    let free = 0; // where the next text may begin
    for (const [ms, text] of marks) {
      const at = Math.round(1 + place(ms) * (width - 2)) + 0.5;
      context.setLineDash([2, 2]);
      line(context, at, 12, at, bottom);
      context.setLineDash([]);
      const wide = context.measureText(text).width;
      const start = Math.max(free, Math.min(width - wide, at - wide / 2));
      context.textAlign = "left";
      context.fillText(text, start, 9);
      free = start + wide + 5;
    }
  }
}

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
