// The console: one page that reads the same log by all four transports, side by side.
//
// Every column is a cursor and a way to read on from it. A transport below is a function that reads until its
// connection ends; what is common to all (where to resume, when to try again, what to show) stands in Column.
// Nothing received is ever made into markup: only textContent is written.

const ROWS_MAX = 200; // rows a column keeps; older ones leave the page
const SEEN_MAX = 1000; // ids a column remembers, to drop repeats
const TYPES_MAX = 100; // event types learned; a publisher may make up as many as it likes
const PREVIEW_MAX = 600; // characters of data shown in a row
const LONG_POLL_SECONDS = 25; // below the usual 30 s after which a proxy loses patience
const SHORT_POLL_MS = 1000;
const BATCH_MAX = 100;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;

const byId = (id) => document.getElementById(id);
const form = {
  publish: byId("publish"), topic: byId("publish-topic"), type: byId("publish-type"),
  contentType: byId("publish-content-type"), data: byId("publish-data"), result: byId("publish-result"),
  subscribe: byId("subscribe"), filter: byId("filter"), cursor: byId("cursor"), types: byId("types"),
  start: byId("start"), clear: byId("clear"),
};

// MARK: Cursors

/** Splits "5f3a9c1e-42". Sequences have 64 bits, more than a Number holds, so BigInt. */
function parseCursor(text) {
  const match = /^([0-9a-f]{8})-(\d{1,20})$/.exec(text ?? "");
  return match && { epoch: match[1], sequence: BigInt(match[2]) };
}

/** Whether a stands before b in the same epoch. Cursors of two epochs have no order. */
function isBefore(a, b) {
  const [left, right] = [parseCursor(a), parseCursor(b)];
  return Boolean(left && right && left.epoch === right.epoch && left.sequence < right.sequence);
}

/** The cursor after which the event with this id comes next. */
function cursorBefore(id) {
  const place = parseCursor(id);
  return place && place.sequence > 0n ? `${place.epoch}-${place.sequence - 1n}` : id;
}

// MARK: HTTP

/** The server has said no, and would say so again: trying later is of no use. */
class Refused extends Error {}

/** The server can't serve just now; it may have said when to come back. */
class TryLater extends Error {
  constructor(message, afterMs = 0) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** Makes an Error of an answer that is not a success, from its problem+json when it has one. */
async function failure(response) {
  let text = `${response.status} ${response.statusText}`.trim();
  try {
    const problem = await response.json();
    text = [problem.title, problem.detail].filter(Boolean).join(": ") || text;
  } catch {
    // Not Herald's answer; a proxy's page tells us no more than its status does.
  }
  const isPassing = response.status >= 500 || response.status === 408 || response.status === 429;
  if (!isPassing) return new Refused(text);
  return new TryLater(text, 1000 * (Number(response.headers.get("Retry-After")) || 0));
}

function eventsUrl(filters, parameters) {
  const query = new URLSearchParams(filters.map((filter) => ["topic", filter]));
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  return new URL(`v1/events?${query}`, document.baseURI);
}

/** One poll. Gives null for 304. The browser's cache is left out: the ETag is ours to compare. */
async function poll(filters, parameters, signal, etag) {
  const response = await fetch(eventsUrl(filters, parameters), {
    cache: "no-store", signal, headers: etag ? { "If-None-Match": etag } : {},
  });
  if (response.status === 304) return null;
  if (!response.ok) throw await failure(response);
  const answer = await response.json();
  signal?.throwIfAborted(); // it came too late: the column may read from elsewhere by now
  return { ...answer, etag: response.headers.get("ETag") };
}

/** Turns "latest" into an id. Else what is published between a loss and the first event would be skipped. */
async function anchored(cursor, filters, signal) {
  if (cursor !== "latest") return cursor;
  return (await poll(filters, { after: "latest", max: 1 }, signal)).next;
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

// MARK: Transports
// Each reads for a column until the connection ends: it returns, or throws what went wrong.

async function readWebSocket(column, signal) {
  const url = eventsUrl(column.filters, { after: column.cursor });
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, "herald.v1");
  let wasOpen = false;
  let heartbeatMs = 60_000;
  let watchdog;

  // A browser hides the protocol's pings, and a dead network may close nothing. Herald sends a text message with
  // each ping for that reason: three of them missed, and the connection is given up.
  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => socket.close(4000, "nothing heard"), 3 * heartbeatMs);
  };

  const ended = new Promise((resolve) => {
    socket.onopen = () => { wasOpen = true; column.opened(); heard(); };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      heartbeatMs = message.heartbeat_ms ?? heartbeatMs;
      heard();
      if (message.control) column.control(message);
      else column.event(message);
    };
    socket.onclose = resolve;
    signal.addEventListener("abort", () => { socket.close(1000); resolve({ code: 1000 }); }, { once: true });
  });
  try {
    const { code, reason } = await ended;
    if (signal.aborted) return;
    if (!wasOpen) await explainRefusal(column, signal);
    throw new TryLater(`closed, ${code}${reason ? ` ${reason}` : ""}`);
  } finally {
    clearTimeout(watchdog);
    socket.onmessage = null; // what is still under way belongs to no column any more
  }
}

async function readEventSource(column, signal) {
  const source = new EventSource(eventsUrl(column.filters, { after: column.cursor }));
  const take = ({ data }) => {
    const message = JSON.parse(data);
    if (message.id) column.event(message);
    else column.control({ control: message.resume ?? "gap", ...message });
  };
  // A type may be called "error" or "open", as the browser's own events are; data tells them apart.
  const named = new Set(["error", "open"]);
  const listen = (type) => {
    if (named.has(type)) return;
    named.add(type);
    source.addEventListener(type, take);
  };
  for (const type of ["message", "herald.resumed", "herald.gap", ...knownTypes.names]) listen(type);

  let forget;
  try {
    await new Promise((resolve, reject) => {
      source.onopen = (event) => (event instanceof MessageEvent ? take(event) : column.opened());
      source.onerror = (event) => {
        if (event instanceof MessageEvent) take(event);
        else if (source.readyState === EventSource.CLOSED) reject(new TryLater("closed"));
        else column.show("connecting", "the browser reconnects by itself");
      };
      // The browser drops events whose type has no listener. Another column, or the form, has just seen one:
      // read again from before it, for this stream may have let it pass.
      forget = knownTypes.onNew((type, id) => {
        listen(type);
        if (!id) return;
        column.rewind(cursorBefore(id));
        resolve();
      });
      signal.addEventListener("abort", resolve, { once: true });
    });
  } catch (error) {
    // EventSource says neither status nor body.
    await explainRefusal(column, signal);
    throw error;
  } finally {
    forget();
    source.close();
  }
}

async function readLongPoll(column, signal) {
  while (!signal.aborted) {
    const parameters = { after: column.cursor, wait: LONG_POLL_SECONDS, max: BATCH_MAX };
    // A request that is held is the sign of health here. One that fails does so sooner than this.
    const isHeld = setTimeout(() => column.opened(), 300);
    try {
      const answer = await poll(column.filters, parameters, signal);
      column.opened();
      column.answer(answer);
    } finally {
      clearTimeout(isHeld);
    }
  }
}

async function readShortPoll(column, signal) {
  let etag;
  let unchanged = 0;
  while (!signal.aborted) {
    const answer = await poll(column.filters, { after: column.cursor, max: BATCH_MAX }, signal, etag);
    column.opened();
    if (answer) {
      column.answer(answer);
      etag = answer.etag;
      unchanged = 0;
      if (answer.events.length >= BATCH_MAX) continue; // more lies ready
    } else {
      unchanged += 1;
      column.note(`${unchanged} × 304, nothing new`);
    }
    await pause(SHORT_POLL_MS, signal);
  }
}

/** Asks by a poll what a stream was refused for, as neither EventSource nor WebSocket tells. Throws it, if anything. */
async function explainRefusal(column, signal) {
  await poll(column.filters, { after: column.cursor, max: 1 }, signal);
}

// MARK: Types that EventSource has to know

const knownTypes = {
  names: new Set(),
  listeners: new Set(),
  /** Calls listener for each type learned from now on. Gives the function that ends it. */
  onNew(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  },
  /** Learns a type; id: the event that showed it, if it may have passed unseen. */
  add(type, id) {
    if (!type || this.names.has(type) || this.names.size >= TYPES_MAX) return;
    this.names.add(type);
    form.types.value = [...this.names].join(" ");
    for (const listener of this.listeners) listener(type, id);
  },
};

// MARK: Latency

// Difference of this clock to the server's, from the shortest publish seen: half its round trip bounds the error.
const clock = { offsetMs: 0, roundTripMs: Infinity };

function learnClock(time, sentAt, answeredAt) {
  const roundTripMs = answeredAt - sentAt;
  if (roundTripMs > clock.roundTripMs) return;
  clock.roundTripMs = roundTripMs;
  clock.offsetMs = Date.parse(time) - (sentAt + answeredAt) / 2;
}

// MARK: Columns

class Column {
  constructor(name, title, read) {
    Object.assign(this, { name, title, read });
    this.cursor = null;
    this.filters = [];
    this.abort = null; // set while the column is meant to be connected
    this.connectedAt = 0;
    this.counts = { events: 0, gaps: 0 };
    this.seen = new Set();
    this.pending = []; // rows of the next frame
    this.element = this.build();
    this.show("idle");
  }

  build() {
    const element = byId("column").content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`.${name}`);
    element.dataset.testid = `column-${this.name}`;
    element.setAttribute("aria-label", this.title);
    element.querySelector("h2").textContent = this.title;
    part("events").setAttribute("aria-label", `Events by ${this.title}, newest first`);
    this.parts = Object.fromEntries(["toggle", "state-name", "count", "latency", "gaps", "cursor", "note", "events"]
      .map((name) => [name, part(name)]));
    this.parts.toggle.dataset.testid = `toggle-${this.name}`;
    this.parts.toggle.addEventListener("click", () => (this.isRunning ? stop([this]) : start([this])));
    return element;
  }

  get isRunning() { return this.abort !== null; }

  start(filters, cursor) {
    this.stop();
    this.filters = filters;
    this.setCursor(cursor);
    this.abort = new AbortController();
    this.keepReading(this.abort.signal);
  }

  stop() {
    this.abort?.abort();
    this.abort = null;
    this.show("idle");
  }

  /** Reads until told to stop, and comes back after each loss, later each time. */
  async keepReading(signal) {
    let attempts = 0;
    while (!signal.aborted) {
      this.show("connecting");
      this.connectedAt = 0;
      let lost = new TryLater("");
      try {
        this.setCursor(await anchored(this.cursor, this.filters, signal));
        await this.read(this, signal);
        if (!signal.aborted) continue; // ended by itself: reads on at once
      } catch (error) {
        lost = error;
      }
      if (signal.aborted) return;
      if (lost instanceof Refused) {
        this.abort = null;
        this.show("refused", lost.message);
        return;
      }
      // A connection that had held for a while was sound: begin again with short waits.
      if (this.connectedAt && Date.now() - this.connectedAt > 5000) attempts = 0;
      // Half of the wait is drawn, so that clients cut off together do not come back together.
      const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts++);
      const wait = Math.max(lost.afterMs ?? 0, ceiling / 2 + Math.random() * ceiling / 2);
      this.show("waiting", `${lost.message || "lost"}; again in ${(wait / 1000).toFixed(1)} s`);
      await pause(wait, signal);
    }
  }

  // What the transports report

  opened() {
    if (this.state !== "live") this.show("live");
    this.connectedAt ||= Date.now();
  }

  event(event) {
    this.advance(event.id);
    if (this.seen.has(event.id)) return;
    this.seen.add(event.id);
    if (this.seen.size > SEEN_MAX) this.seen.delete(this.seen.values().next().value);
    this.counts.events += 1;
    const latencyMs = Date.now() + clock.offsetMs - Date.parse(event.time);
    // Of a replayed event this would be its age. A second of grace, for clocks that differ.
    const isLive = Date.parse(event.time) - clock.offsetMs > this.connectedAt - 1000;
    if (isLive) this.parts.latency.textContent = `${Math.max(0, Math.round(latencyMs))} ms`;
    this.push(eventRow, event);
    if (this.name !== "sse") knownTypes.add(event.type, event.id);
  }

  control(message) {
    switch (message.control) {
      case "resumed":
        this.advance(message.cursor);
        this.note(`resumed at ${message.cursor}`);
        break;
      case "gap":
      case "reset":
        this.gap(message);
        break;
      case "heartbeat":
        this.advance(message.cursor);
        this.note(`heartbeat ${timeOfDay(new Date())}`);
        break;
      case "error":
        this.note([message.title, message.detail].filter(Boolean).join(": "));
        break;
      default: // welcome, and answers to operations that this page does not send
    }
  }

  answer({ events, next, gap, resume }) {
    if (gap) this.gap(gap);
    else if (resume === "resumed" && events.length) this.note("");
    for (const event of events) this.event(event);
    this.setCursor(next);
  }

  gap(gap) {
    this.counts.gaps += 1;
    // After a reset the old epoch's ids mean nothing any more.
    if (gap.cursor) this.setCursor(gap.cursor);
    this.push(gapRow, gap);
  }

  // What is shown

  setCursor(cursor) {
    this.cursor = cursor;
    this.parts.cursor.textContent = parseCursor(cursor) || cursor === "earliest" ? cursor : "–";
  }

  /** Moves the cursor, never back within an epoch: a repeat must not undo what has been read. */
  advance(cursor) {
    if (cursor && !isBefore(cursor, this.cursor)) this.setCursor(cursor);
  }

  rewind(cursor) {
    if (isBefore(cursor, this.cursor)) this.setCursor(cursor);
  }

  show(state, note = "") {
    this.state = state;
    this.element.dataset.state = state;
    this.parts["state-name"].textContent = state;
    this.parts.toggle.textContent = this.isRunning ? "Disconnect" : "Connect";
    this.parts.toggle.setAttribute("aria-label", `${this.parts.toggle.textContent} ${this.title}`);
    this.note(note);
    showStartButton();
  }

  note(text) { this.parts.note.textContent = text; }

  /** Keeps a row for the next frame: a burst is then laid out once, and a hidden tab keeps no more than it shows. */
  push(makeRow, message) {
    if (this.pending.length === 0) requestAnimationFrame(() => this.render());
    this.pending.push(() => makeRow(message));
    if (this.pending.length > ROWS_MAX) this.pending.shift();
  }

  render() {
    const { events, count, gaps } = this.parts;
    events.prepend(...this.pending.reverse().map((make) => make()));
    this.pending = [];
    while (events.childElementCount > ROWS_MAX) events.lastElementChild.remove();
    count.textContent = String(this.counts.events);
    gaps.textContent = String(this.counts.gaps);
    gaps.classList.toggle("some", this.counts.gaps > 0);
  }

  clear() {
    this.counts = { events: 0, gaps: 0 };
    this.pending = [];
    this.parts.events.replaceChildren();
    this.render();
  }
}

// MARK: Rows

function node(tag, className, text, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

function timeOfDay(date) {
  return Number.isNaN(date.getTime()) ? "" : date.toTimeString().slice(0, 8);
}

function preview(event) {
  if ("data_base64" in event) return `base64 ${event.data_base64}`;
  return typeof event.data === "string" ? event.data : JSON.stringify(event.data) ?? "";
}

function eventRow(event) {
  const text = preview(event);
  const time = node("time", "", timeOfDay(new Date(event.time)));
  time.dateTime = event.time;
  const head = node("div", "row-head", undefined, node("span", "topic", event.topic));
  if (event.type) head.append(node("span", "type", event.type));
  const row = node("li", "event", undefined, head,
    node("pre", "data", text.length > PREVIEW_MAX ? `${text.slice(0, PREVIEW_MAX)}…` : text),
    node("div", "row-foot", undefined, node("span", "id", event.id), time));
  row.dataset.id = event.id;
  return row;
}

function gapRow(gap) {
  const reasons = {
    evicted: "no longer kept", epoch: "the server has started anew", conflated: "skipped to the latest",
  };
  const what = gap.resume === "reset" || gap.control === "reset" ? "Reset" : "Gap";
  const row = node("li", "gap", undefined,
    node("div", "row-head", `${what} in ${gap.topic}: ${reasons[gap.reason] ?? gap.reason}`),
    node("div", "row-foot", undefined, node("span", "id", `${gap.from} to ${gap.to}`)));
  row.dataset.reason = gap.reason;
  return row;
}

// MARK: The page

const columns = [
  new Column("websocket", "WebSocket", readWebSocket),
  new Column("sse", "EventSource", readEventSource),
  new Column("longpoll", "Long-poll", readLongPoll),
  new Column("shortpoll", "Short-poll", readShortPoll),
];

function showStartButton() {
  // Asks the page, not the columns: they call this while they are still being made.
  const running = ["connecting", "live", "waiting"].map((state) => `#columns [data-state=${state}]`);
  const isAnyRunning = document.querySelector(running.join()) !== null;
  form.start.textContent = isAnyRunning ? "Stop all" : "Start all";
}

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/** Starts columns where the form says. All of them at the same place, so that they can be compared. */
async function start(chosen) {
  if (!form.subscribe.reportValidity()) return;
  for (const type of words(form.types.value)) knownTypes.add(type);
  const filters = words(form.filter.value);
  let cursor = form.cursor.value.trim() || "latest";
  try {
    cursor = await anchored(cursor, filters, AbortSignal.timeout(3000));
  } catch {
    // Each column asks again for itself, and shows what is wrong.
  }
  for (const column of chosen) column.start(filters, cursor);
}

/** Stops columns and leaves the oldest of their cursors in the form, for any other transport to go on from. */
function stop(chosen) {
  const cursors = chosen.filter((column) => column.isRunning).map((column) => column.cursor).filter(parseCursor);
  for (const column of chosen) column.stop();
  if (cursors.length) form.cursor.value = cursors.reduce((oldest, next) => (isBefore(next, oldest) ? next : oldest));
}

async function publish() {
  const headers = { "Content-Type": form.contentType.value };
  if (form.type.value) headers["Herald-Type"] = form.type.value;
  // Known before it is sent: EventSource then has a listener when it arrives.
  knownTypes.add(form.type.value);
  const topic = form.topic.value.trim().split("/").map(encodeURIComponent).join("/");
  const sentAt = Date.now();
  try {
    const response = await fetch(new URL(`v1/events/${topic}`, document.baseURI), {
      method: "POST", headers, body: form.data.value,
    });
    if (!response.ok) throw await failure(response);
    const published = await response.json();
    learnClock(published.time, sentAt, Date.now());
    const readers = `${published.receivers} ${published.receivers === 1 ? "receiver" : "receivers"}`;
    showResult(`${published.id}, ${readers}, ${Date.now() - sentAt} ms`, false);
  } catch (error) {
    showResult(error.message, true);
  }
}

function showResult(text, isError) {
  form.result.textContent = text;
  form.result.classList.toggle("error", isError);
}

byId("columns").append(...columns.map((column) => column.element));

form.publish.addEventListener("submit", (event) => { event.preventDefault(); publish(); });
form.data.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.publish.requestSubmit();
});
form.subscribe.addEventListener("submit", (event) => {
  event.preventDefault();
  if (columns.some((column) => column.isRunning)) stop(columns);
  else start(columns);
});
form.filter.addEventListener("change", () => {
  if (!form.filter.reportValidity()) return;
  // Another filter, the same place in the log.
  for (const column of columns) if (column.isRunning) column.start(words(form.filter.value), column.cursor ?? "latest");
});
form.types.addEventListener("change", () => words(form.types.value).forEach((type) => knownTypes.add(type)));
form.clear.addEventListener("click", () => columns.forEach((column) => column.clear()));
