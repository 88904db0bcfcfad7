// The transport lab: one stream of events, received by all four transports at once, and what that costs.

import { Distribution, Timeline } from "./draw.js";
import { byId, bytes, count, counted, instance, milliseconds, prefersStillness, write } from "./dom.js";
import { Limit } from "./limit.js";
import { Measure } from "./measure.js";
import { Publisher } from "./publisher.js";
import { anchored, isMultiplexed, protocol } from "./server.js";
import { Reader } from "./transports.js";

const FIGURES_MS = 500;
const DRAWING_MS = 100;
const STILL_DRAWING_MS = 1000;
const CHECKED_AT = 200; // events published and not yet held against what came

const TRANSPORTS = [
  {
    name: "websocket", title: "WebSocket",
    said: "Textbooks: after one handshake only frames of a few bytes travel, so nothing is quicker or costs less; but "
      + "some proxies let none through, and a page must notice a dead one and come back by itself.",
  },
  {
    name: "sse", title: "Server-Sent Events",
    said: "Textbooks: as quick as a WebSocket in this one direction, and plain HTTP, which every proxy knows; over "
      + "HTTP/1.1 each stream takes one of the six connections that a browser opens to a host.",
  },
  {
    name: "longpoll", title: "Long-poll",
    said: "Textbooks: nearly as quick as a stream while events are rare, but each answer costs a whole request, and "
      + "what is published between two of them waits for the next.",
  },
  {
    name: "shortpoll", title: "Short-poll",
    said: "Textbooks: simple, and works everywhere; an event waits half the interval on average, and while events are "
      + "rare most requests bring nothing.",
  },
];

// MARK: A lane

/** One transport: its reader, what came of it, and where that is shown. */
class Lane {
  constructor({ name, title, said }, onCut) {
    this.measure = new Measure();
    this.name = name;
    const { element, parts } = instance("lane");
    Object.assign(this, { element, parts });
    element.dataset.testid = `lane-${name}`;
    element.setAttribute("aria-label", title);
    write(parts.title, title);
    write(parts.said, said);
    parts.timeline.setAttribute("aria-label", `Latency of each event by ${title} in the last 30 seconds`);
    parts.distribution.setAttribute("aria-label", `Distribution of latencies by ${title}`);
    parts.cut.dataset.testid = `cut-${name}`;
    parts.cut.setAttribute("aria-label", `Cut the line of ${title}`);
    parts.cut.addEventListener("click", () => onCut([this]));
    this.timeline = new Timeline(parts.timeline);
    this.distribution = new Distribution(parts.distribution);
    this.reader = new Reader(name, this);
    this.show("idle");
    this.showFigures();
  }

  // What the reader reports

  show(state, note = "") {
    this.element.dataset.state = state;
    write(this.parts.state, state);
    write(this.parts.note, note);
    this.parts.cut.disabled = !this.reader?.isRunning;
  }

  opened() { this.measure.back(performance.now()); }
  answered(isEmpty) { this.measure.answered(isEmpty, performance.now()); }
  gap(gap) { this.measure.gap(gap); }

  event(event) {
    if (event.data?.run === this.run) this.measure.take(event, performance.now());
  }

  // What the lab asks for

  /** number: of the last event that was published before. */
  start({ run, number }, topic, cursor, settings) {
    this.run = run;
    this.clear(number);
    this.reader.settings = settings;
    this.reader.start(topic, cursor);
  }

  clear(number) {
    this.measure.clear(number);
    this.reader.cost.clear();
    this.showFigures();
    this.draw(performance.now());
  }

  cut(seconds) {
    this.measure.cutFor(seconds, performance.now());
    this.reader.cut(seconds * 1000);
    this.showFigures();
  }

  draw(now) {
    const { dots, asks, cuts } = this.measure;
    this.timeline.draw({ dots, asks, blind: cuts }, now);
  }

  showFigures() {
    const { measure, parts, reader: { cost } } = this;
    if (this.reader.isRunning) measure.check(this.reader.cursor);
    const [median, almostAll] = measure.percentiles([0.5, 0.99]);
    const marks = [[median, "p50"], [almostAll, "p99"]].filter(([ms]) => ms !== null);
    this.distribution.draw(measure.buckets, marks.map(([ms, name]) => [ms, `${name} ${milliseconds(ms)}`]));

    const { events } = measure;
    const each = (total, show) => (events ? show(total / events) : "–");
    write(parts.p50, median === null ? "–" : milliseconds(median));
    write(parts.p99, almostAll === null ? "–" : milliseconds(almostAll));
    write(parts.events, count(events));
    write(parts.losses, `${count(measure.lost)} / ${count(measure.repeated)}`);
    parts.losses.classList.toggle("bad", measure.lost + measure.repeated > 0);
    write(parts.requests, each(cost.requests, (number) => number.toFixed(2)));
    const heads = cost.receivedHeads + cost.sent;
    write(parts.bytes, each(cost.received + heads, bytes));
    write(parts.split, events ? `${each(cost.received, bytes)}, heads ${each(heads, bytes)}` : "");
    write(parts.empty, cost.answers ? `${count(cost.empty)} of ${count(cost.answers)}` : "none");
    write(parts.unchanged, cost.answers ? `${count(cost.unchangedAnswers)} × 304` : "");
    write(parts.open, count(cost.open));
    write(parts.found, this.#found(median, almostAll, each));
    this.#showCut();
  }

  #found(median, almostAll, each) {
    const { cost } = this.reader;
    if (median === null) return "Here, now: nothing has been measured yet.";
    const requests = each(cost.requests, (number) => (number < 0.005 ? "no request" : `${number.toFixed(2)} requests`));
    const empty = cost.answers ? `; ${Math.round((100 * cost.empty) / cost.answers)} % of the answers were empty` : "";
    const price = each(cost.received + cost.receivedHeads + cost.sent, bytes);
    return `Here, now: half of ${counted(this.measure.events, "event")} came within ${milliseconds(median)} and 99 of `
      + `100 within ${milliseconds(almostAll)}, at ${price} and ${requests} each${empty}.`;
  }

  #showCut() {
    const { measure, parts } = this;
    const { cut } = measure;
    parts.report.hidden = !cut;
    if (!cut) return;
    const { at, seconds, backAt, late, latest, before } = cut;
    const blind = milliseconds((backAt ?? performance.now()) - at);
    const isSettled = measure.isCutSettled;
    parts.report.dataset.settled = isSettled;
    parts.report.dataset.lost = measure.lost - before.lost;
    parts.report.dataset.repeated = measure.repeated - before.repeated;
    parts.report.dataset.late = late;
    const told = measure.told - before.told;
    const verdict = isSettled
      ? `${count(measure.lost - before.lost)} lost, ${count(measure.repeated - before.repeated)} repeated`
        + (told ? `, ${count(told)} no longer kept, as a gap said` : "")
      : "counting";
    const lateness = late ? `${counted(late, "event")} caught up, the latest after ${milliseconds(latest)}`
      : "nothing to catch up";
    write(parts.report, backAt === null
      ? `Cut for ${seconds} s. Blind for ${blind} so far.`
      : `Cut for ${seconds} s. Blind for ${blind}; ${lateness}; ${verdict}.`);
  }
}

// MARK: The lab

export class Lab {
  title = "Transport lab";
  #lanes;
  #publisher = new Publisher(this);
  #shown = null; // what draws while the lab is shown
  #starting = null;
  #failure = ""; // why it did not start, until it is started again

  constructor({ onChange, onRoomNeeded }) {
    this.onChange = onChange;
    this.#lanes = TRANSPORTS.map((transport) => new Lane(transport, (lanes) => this.#cut(lanes)));
    byId("lanes").append(...this.#lanes.map(({ element }) => element));
    byId("lab-topic").value = `lab/${this.#publisher.run}`;
    byId("lab-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.isRunning) this.stop();
      else this.start();
    });
    for (const id of ["lab-rate", "lab-size", "lab-interval", "lab-wait"]) {
      byId(id).addEventListener("input", () => this.#set());
    }
    byId("lab-cut").addEventListener("click", () => this.#cut(this.#lanes));
    byId("lab-clear").addEventListener("click", () => this.#clear());
    document.addEventListener("visibilitychange", () => this.#showStatus());
    this.limit = new Limit({
      topic: () => `${byId("lab-topic").value.trim()}/limit`,
      onRoomNeeded: () => { this.stop(); onRoomNeeded(); },
    });
    this.#set();
    this.#showProtocol();
    this.#showStatus();
  }

  get isRunning() { return this.#publisher.isRunning || this.#starting !== null; }

  // As an area of the page

  show() {
    const drawEvery = prefersStillness.matches ? STILL_DRAWING_MS : DRAWING_MS;
    let [drawnAt, figuresAt] = [0, 0];
    const turn = (now) => {
      this.#shown = requestAnimationFrame(turn);
      if (now - drawnAt >= drawEvery && (this.isRunning || !drawnAt)) {
        drawnAt = now;
        for (const lane of this.#lanes) lane.draw(performance.now());
      }
      if (now - figuresAt >= FIGURES_MS) {
        figuresAt = now;
        this.#showFigures();
      }
    };
    this.#shown = requestAnimationFrame(turn);
  }

  hide() {
    cancelAnimationFrame(this.#shown);
    this.limit.close();
  }

  // What the controls do

  async start() {
    if (!byId("lab-form").reportValidity()) return;
    this.limit.close();
    const topic = byId("lab-topic").value.trim();
    this.#starting = new AbortController();
    this.#failure = "";
    this.#showStatus();
    try {
      // All four from one place, taken before the first event is published.
      const cursor = await anchored("latest", [topic], this.#starting.signal);
      for (const lane of this.#lanes) lane.start(this.#publisher, topic, cursor, this.settings);
      this.#publisher.start(topic);
    } catch (error) {
      if (!this.#starting.signal.aborted) this.#failure = error.message;
    } finally {
      this.#starting = null;
      this.#showStatus();
    }
  }

  stop() {
    this.#starting?.abort();
    this.#publisher.stop();
    for (const lane of this.#lanes) lane.reader.stop();
    this.#showFigures();
  }

  #set() {
    const rate = [0.2, 0.5, 1, 2, 5, 10, 20, 50][Number(byId("lab-rate").value)];
    byId("lab-rate").setAttribute("aria-valuetext", `${rate} a second`);
    write(byId("lab-rate-value"), `${rate} / s`);
    this.#publisher.settings = { rate, size: Number(byId("lab-size").value) };
    this.settings = { intervalMs: Number(byId("lab-interval").value), waitSeconds: Number(byId("lab-wait").value) };
    for (const lane of this.#lanes) lane.reader.settings = this.settings;
    this.#clear(); // figures of two settings would be figures of neither
  }

  #cut(lanes) {
    const seconds = Number(byId("lab-cut-seconds").value);
    for (const lane of lanes) if (lane.reader.isRunning) lane.cut(seconds);
  }

  #clear() {
    for (const lane of this.#lanes) lane.clear(this.#publisher.number);
  }

  // What the publisher reports

  confirmed(entry) {
    for (const { reader, measure } of this.#lanes) {
      if (!reader.isRunning) continue;
      measure.expect(entry);
      // While the lab is not shown nothing else does.
      if (measure.expected.length > CHECKED_AT) measure.check(reader.cursor);
    }
  }

  changed() {
    this.#showStatus();
  }

  // What is shown

  #showFigures() {
    for (const lane of this.#lanes) lane.showFigures();
    this.#showStatus();
  }

  #showStatus() {
    const { confirmed, way, note, isRunning } = this.#publisher;
    const status = byId("lab-status");
    const done = confirmed ? `${counted(confirmed, "event")} published by ${way}` : "";
    const resting = isRunning && document.hidden ? "; resting while the page is hidden" : "";
    const fault = this.#failure || note;
    write(status, this.#starting ? "Connecting…" : fault || (done ? `${done}${resting}.` : ""));
    status.classList.toggle("error", Boolean(fault));
    // Its numbers are not read out; what goes wrong is.
    if (fault) status.setAttribute("role", "alert");
    else status.removeAttribute("role");
    this.#showButtons();
  }

  #showButtons() {
    write(byId("lab-start"), this.isRunning ? "Stop" : "Start");
    byId("lab-start").classList.toggle("primary", !this.isRunning);
    byId("lab-cut").disabled = !this.#lanes.some(({ reader }) => reader.isRunning);
    this.onChange(this.isRunning);
  }

  #showProtocol() {
    const names = { "http/1.1": "HTTP/1.1", h2: "HTTP/2", h3: "HTTP/3" };
    const name = names[protocol()] ?? "a protocol that the browser does not name";
    write(byId("lab-protocol"), isMultiplexed()
      ? `This page came by ${name}, which shortens heads much; what is shown of heads is as HTTP/1.1 writes them.`
      : `This page came by ${name}.`);
  }
}
