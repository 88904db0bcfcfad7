// The overview: what the server does now, from successive readings of /v1/topics and /metrics.
//
// A rate is a difference between two readings. The page reads while it is shown, and no more.

import { Sparkline } from "./draw.js";
import { byId, bytes, count, counted, duration, node, short, write } from "./dom.js";
import { Refused, access, address, ask, parseCursor, pause } from "./server.js";

const READ_EVERY_MS = 2000;
const PLACES = 60; // readings that a small line shows
const STALE_MS = 4 * READ_EVERY_MS; // after such a pause a line begins anew
const PAGE = 1000; // topics an answer; the server's bound
const TOPICS_MAX = 5000; // topics watched at a time
const ROWS_MAX = 200;
const TRANSPORTS = [["websocket", "WebSocket"], ["sse", "SSE"], ["ndjson", "JSON lines"], ["longpoll", "Long-poll"],
  ["shortpoll", "Short-poll"]];
const SHORT_NAMES = { websocket: "WS", sse: "SSE", ndjson: "NDJSON", longpoll: "long", shortpoll: "short" };
const STATES = ["live", "catching_up", "stalled"];

// MARK: Readings

/** A Prometheus text as a function: the sum of the samples with that name and these labels. */
export function parseMetrics(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const match = /^(herald_\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const pairs = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = Object.fromEntries(pairs.map((pair) => pair.slice(1)));
    if (!samples.has(match[1])) samples.set(match[1], []);
    samples.get(match[1]).push({ labels, value: Number(match[3]) });
  }
  const find = (name, labels = {}) => (samples.get(name) ?? [])
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value));
  const sum = (name, labels) => find(name, labels).reduce((total, { value }) => total + value, 0);
  return { sum, labels: (name) => find(name)[0]?.labels ?? {} };
}

/** A number that only grows, as a rate, with what it was in the last readings. */
class Rate {
  history = [];
  now = null; // a second; null before the second reading
  #last = null;

  /** at: performance.now() of the reading. */
  read(value, at) {
    const last = this.#last;
    this.#last = { value, at };
    if (!last || value < last.value || at - last.at > STALE_MS) {
      this.history = []; // the first reading, the server's restart, or the end of a pause
      this.now = null;
      return;
    }
    this.now = ((value - last.value) * 1000) / (at - last.at);
    this.history.push(this.now);
    if (this.history.length > PLACES) this.history.shift();
  }
}

const rateText = (rate, show = short) => (rate === null ? "–" : show(rate));

// MARK: Tiles

/** A number with its line. */
class Tile {
  constructor(name, title, unit = "") {
    this.value = node("span", "tile-number", "–");
    this.detail = node("p", "tile-detail", "");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "spark");
    this.line = new Sparkline(svg);
    this.element = node("article", "tile card", undefined, node("h3", "", title),
      node("p", "tile-value", undefined, this.value, node("span", "unit", unit)), this.detail, svg);
    this.element.dataset.testid = `tile-${name}`;
    this.history = [];
  }

  show(value, detail, history) {
    write(this.value, value);
    write(this.detail, detail);
    this.line.draw(history);
  }

  /** A number that goes up and down keeps its own past. */
  showLevel(number, value, detail) {
    this.history.push(number);
    if (this.history.length > PLACES) this.history.shift();
    this.show(value, detail, this.history);
  }
}

// MARK: Topics

const COLUMNS = {
  topic: (row) => row.state.topic,
  rate: (row) => row.rate.now ?? 0,
  bytes: (row) => row.bytesPerSecond ?? 0,
  kept: (row) => row.state.retained,
  size: (row) => row.state.retained_bytes,
  head: (row) => Number(parseCursor(row.state.head)?.sequence ?? 0),
  published: (row) => row.state.published,
  readers: (row) => row.readers,
};

/** A topic's row of the table. */
class Row {
  rate = new Rate();
  #element = null; // made when it is first shown: there may be many more rows than are

  constructor(name) {
    this.name = name;
  }

  get element() {
    this.#element ??= this.#build(this.name);
    return this.#element;
  }

  #build(name) {
    const link = node("a", "", name);
    link.href = `#tail?${new URLSearchParams({ filter: name })}`;
    link.title = `Read ${name} live`;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "spark");
    this.line = new Sparkline(svg);
    const cells = ["rate", "bytes", "kept", "size", "floor", "head", "published", "readers"];
    this.cells = Object.fromEntries(cells.map((each) => [each, node("td", `number col-${each}`)]));
    this.total = node("span", "", "");
    this.kinds = node("span", "kinds", "");
    this.cells.readers.append(this.total, this.kinds);
    const trend = node("td", "col-trend");
    trend.append(svg);
    const head = node("th", "col-topic", undefined, link);
    head.scope = "row";
    const { rate, ...others } = this.cells;
    const row = node("tr", "", undefined, head, rate, trend, ...Object.values(others));
    row.dataset.topic = name;
    return row;
  }

  read(state, at) {
    this.state = state;
    this.readers = Object.values(state.subscribers).reduce((sum, number) => sum + number, 0);
    this.rate.read(state.published, at);
    // The server counts no bytes a topic: about the size of those events that it keeps.
    const mean = state.retained ? state.retained_bytes / state.retained : 0;
    this.bytesPerSecond = this.rate.now === null ? null : this.rate.now * mean;
  }

  show() {
    const { state, cells } = this;
    write(cells.rate, rateText(this.rate.now));
    write(cells.bytes, rateText(this.bytesPerSecond, (number) => (number ? `${bytes(number)}` : "0")));
    write(cells.kept, count(state.retained));
    write(cells.size, state.retained ? bytes(state.retained_bytes) : "0");
    write(cells.floor, sequenceOf(state.floor));
    write(cells.head, sequenceOf(state.head));
    cells.floor.title = state.floor;
    cells.head.title = state.head;
    write(cells.published, count(state.published));
    write(this.total, String(this.readers));
    const kinds = Object.entries(state.subscribers).filter(([, number]) => number);
    write(this.kinds, kinds.map(([name, number]) => `${number} ${SHORT_NAMES[name] ?? name}`).join(", "));
    cells.readers.title = this.kinds.textContent;
    cells.rate.classList.toggle("zero", !this.rate.now);
    cells.bytes.classList.toggle("zero", !this.bytesPerSecond);
    cells.readers.classList.toggle("zero", !this.readers);
    this.line.draw(this.rate.history);
  }
}

const sequenceOf = (cursor) => String(parseCursor(cursor)?.sequence ?? cursor);

/** The table of topics: what is read, in what order, and which of it is shown. */
class TopicTable {
  #rows = new Map();
  #order = { column: "topic", isDescending: false };
  #isTruncated = false;
  #refusal = null; // why the topics may not be seen; they are not asked for again until somebody else does

  constructor() {
    this.body = byId("topics").tBodies[0];
    this.search = byId("topic-search");
    this.search.addEventListener("input", () => this.show(true));
    for (const button of byId("topics").querySelectorAll("th button")) {
      button.addEventListener("click", () => this.#sort(button.dataset.sort));
    }
    this.#showOrder();
  }

  /** Reads all topics, or the first of those that begin with what is searched for if there are too many. */
  async read(signal) {
    if (this.#refusal !== null) return;
    try {
      this.#take(await this.#states(signal), performance.now());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#refusal = sentence(error.message);
      this.#rows.clear();
    }
    this.show();
  }

  /** May have become another's page. */
  askAgain() {
    this.#refusal = null;
  }

  async #states(signal) {
    const prefix = this.#isTruncated ? this.search.value.trim() : "";
    const states = [];
    let after = "";
    do {
      const parameters = [["limit", String(PAGE)], ["prefix", prefix], ["after", after]].filter(([, value]) => value);
      const page = await (await ask(address("v1/topics", parameters), { signal })).json();
      states.push(...page.topics);
      after = page.next;
    } while (after && states.length < TOPICS_MAX);
    // With a prefix there may be few; the others are still too many.
    this.#isTruncated = Boolean(after) || prefix !== "";
    return states;
  }

  #take(states, at) {
    const before = this.#rows;
    this.#rows = new Map();
    for (const state of states) {
      const row = before.get(state.topic) ?? new Row(state.topic);
      row.read(state, at);
      this.#rows.set(state.topic, row);
    }
  }

  show(isAsked = false) {
    const wanted = this.search.value.trim();
    const found = [...this.#rows.values()].filter((row) => row.state.topic.includes(wanted));
    const shown = this.#sorted(found, isAsked).slice(0, ROWS_MAX);
    const elements = shown.map(({ element }) => element);
    for (const row of shown) row.show();
    // Rows that stay where they are are not touched, so that nothing that is pointed at or has the focus moves.
    const old = this.body.children;
    const isSame = elements.length === old.length && elements.every((each, index) => each === old[index]);
    if (!isSame) this.body.replaceChildren(...elements);
    byId("topics-empty").hidden = this.#rows.size > 0 && found.length > 0;
    byId("topics-empty-link").hidden = this.#refusal !== null || this.#rows.size > 0;
    write(byId("topics-empty-why"),
      this.#refusal ?? (this.#rows.size ? "No topic has this in its name." : "Nothing has been published yet."));
    write(byId("topics-count"), this.#refusal ? "" : this.#summary(found.length, shown.length));
  }

  #summary(found, shown) {
    if (this.#isTruncated) {
      return `There are more than ${count(TOPICS_MAX)} topics; the search finds those that begin with it. `
        + `${count(shown)} of ${count(found)} shown.`;
    }
    return found > shown ? `${count(shown)} of ${counted(found, "topic")} shown` : counted(found, "topic");
  }

  /** By what moves, the order is kept while somebody points at the table or is in it. */
  #sorted(rows, isAsked) {
    const { column, isDescending } = this.#order;
    const moves = column !== "topic";
    if (moves && !isAsked && byId("topics").matches(":hover, :focus-within")) {
      const places = new Map([...this.body.children].map((element, index) => [element.dataset.topic, index]));
      return rows.sort((a, b) => (places.get(a.state.topic) ?? Infinity) - (places.get(b.state.topic) ?? Infinity));
    }
    const value = COLUMNS[column];
    const sign = isDescending ? -1 : 1;
    const compare = (a, b) => (a < b ? -1 : Number(a > b));
    return rows.sort((a, b) => sign * compare(value(a), value(b)) || compare(a.state.topic, b.state.topic));
  }

  #sort(column) {
    const isSame = this.#order.column === column;
    this.#order = { column, isDescending: isSame ? !this.#order.isDescending : column !== "topic" };
    this.#showOrder();
    this.show(true);
  }

  #showOrder() {
    for (const button of byId("topics").querySelectorAll("th button")) {
      const isOrder = button.dataset.sort === this.#order.column;
      const order = this.#order.isDescending ? "descending" : "ascending";
      if (isOrder) button.parentElement.setAttribute("aria-sort", order);
      else button.parentElement.removeAttribute("aria-sort");
    }
  }
}

// MARK: The area

export class Overview {
  title = "Overview";
  #reading = null;
  #rates = {
    published: new Rate(), publishedBytes: new Rate(), delivered: new Rate(), deliveredBytes: new Rate(),
    evicted: new Rate(), missed: new Rate(),
  };

  constructor() {
    this.table = new TopicTable();
    this.tiles = {
      published: new Tile("published", "Published", "events / s"),
      delivered: new Tile("delivered", "Delivered", "events / s"),
      readers: new Tile("readers", "Readers"),
      kept: new Tile("kept", "Kept for replay"),
      connections: new Tile("connections", "Connections"),
    };
    byId("tiles").append(...Object.values(this.tiles).map(({ element }) => element));
    this.#buildReaders();
    document.addEventListener("visibilitychange", () => this.#go());
    access.addEventListener("changed", () => {
      this.#pause();
      this.table.askAgain();
      this.#go();
    });
  }

  show() {
    this.isShown = true;
    this.table.askAgain();
    this.#go();
  }

  hide() { this.isShown = false; this.#go(); }

  #go() {
    if (!this.isShown || document.hidden) this.#pause();
    else if (!this.#reading) {
      this.#reading = new AbortController();
      this.#keepReading(this.#reading.signal);
    }
  }

  #pause() {
    this.#reading?.abort();
    this.#reading = null;
  }

  async #keepReading(signal) {
    while (!signal.aborted) {
      let wait = READ_EVERY_MS;
      const begunAt = performance.now();
      const trouble = byId("overview-trouble");
      try {
        await this.#read(signal);
        wait = Math.max(wait, 4 * (performance.now() - begunAt)); // a server with much to tell is not kept busy by it
        trouble.hidden = true;
      } catch (error) {
        if (signal.aborted) return;
        wait = Math.max(wait, error.afterMs ?? 0);
        write(trouble, `${sentence(error.message)} What is shown is old.`);
        trouble.hidden = false;
      }
      byId("overview").classList.toggle("stale", !trouble.hidden);
      await pause(wait, signal);
    }
  }

  async #read(signal) {
    const text = await (await ask(address("metrics"), { signal })).text();
    this.#showMetrics(parseMetrics(text), performance.now());
    await this.table.read(signal);
  }

  #showMetrics(metrics, at) {
    const { sum } = metrics;
    const rates = this.#rates;
    rates.published.read(sum("herald_events_published_total"), at);
    rates.publishedBytes.read(sum("herald_published_bytes_total"), at);
    rates.delivered.read(sum("herald_deliveries_total"), at);
    const parts = ["payload", "overhead"].map((part) => sum(`herald_delivered_${part}_bytes_total`));
    rates.deliveredBytes.read(parts[0] + parts[1], at);
    rates.evicted.read(sum("herald_events_evicted_total"), at);
    rates.missed.read(sum("herald_events_missed_total"), at);
    this.#showTiles(sum);
    this.#showReaders(sum);
    this.#showFacts(metrics);
  }

  #showTiles(sum) {
    const { tiles } = this;
    const { published, publishedBytes, delivered, deliveredBytes } = this.#rates;
    const perSecond = (rate) => (rate.now === null ? "" : `${bytes(rate.now)} / s`);
    tiles.published.show(rateText(published.now), perSecond(publishedBytes), published.history);
    tiles.delivered.show(rateText(delivered.now), perSecond(deliveredBytes), delivered.history);
    const [live, catchingUp, stalled] = STATES.map((state) => sum("herald_readers", { state }));
    const all = live + catchingUp + stalled;
    const behind = `${count(catchingUp)} catching up, ${count(stalled)} stalled`;
    tiles.readers.showLevel(all, count(all), all === live ? (all ? "all live" : "none") : behind);
    const kept = sum("herald_retained_bytes");
    tiles.kept.showLevel(kept, bytes(kept),
      `${counted(sum("herald_retained_events"), "event")} in ${counted(sum("herald_topics"), "topic")}`);
    const connections = sum("herald_connections");
    const byProtocol = ["http/1.1", "h2"].map((protocol) => sum("herald_protocol_connections", { protocol }));
    tiles.connections.showLevel(connections, count(connections),
      `${count(byProtocol[0])} HTTP/1.1, ${count(byProtocol[1])} HTTP/2`);
  }

  #buildReaders() {
    this.readerCells = new Map();
    for (const [transport, title] of TRANSPORTS) {
      const head = node("th", "", title);
      head.scope = "row";
      const cells = STATES.map((state) => {
        const cell = node("td", `number ${state}`, "–");
        this.readerCells.set(`${transport} ${state}`, cell);
        return cell;
      });
      byId("readers").tBodies[0].append(node("tr", "", undefined, head, ...cells));
    }
  }

  #showReaders(sum) {
    for (const [transport] of TRANSPORTS) {
      for (const state of STATES) {
        const number = sum("herald_readers", { transport, state });
        const cell = this.readerCells.get(`${transport} ${state}`);
        write(cell, count(number));
        cell.classList.toggle("zero", number === 0);
      }
    }
  }

  #showFacts({ sum, labels }) {
    const { evicted, missed } = this.#rates;
    const facts = {
      "fact-uptime": duration(sum("herald_uptime_seconds")),
      "fact-version": labels("herald_build_info").version ?? "",
      "fact-loops": count(sum("herald_loops")),
      "fact-held": count(sum("herald_held_requests")),
      "fact-requests": count(sum("herald_http_requests_total")),
      "fact-stalls": count(sum("herald_stalls_total")),
      "fact-gaps": `${count(sum("herald_gaps_total"))}${missed.now ? `, ${short(missed.now)} events / s` : ""}`,
      "fact-evicted": `${rateText(evicted.now)} / s`,
    };
    for (const [id, text] of Object.entries(facts)) write(byId(id), text);
  }
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
