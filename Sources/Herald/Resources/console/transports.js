// Reading raw by each of the four transports, without herald.js: the lab measures the transports themselves.
//
// A reader is a cursor and a way to read on from it. A transport is a function that reads until its connection ends;
// what is common to all (where to resume, when to try again, when the line is cut) stands in Reader.

import {
  Cost, answerHeadLength, frameLength, lengthOf, requestHeadLength, socketAnswerLength, socketRequestLength,
} from "./cost.js";
import { Refused, TryLater, access, address, ask, inWords, isBefore, pause, socketAddress } from "./server.js";

const BATCH_MAX = 100;
const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 2000; // far below the usual half minute: somebody is looking
const SOUND_AFTER_MS = 5000;
const HELD_AFTER_MS = 300;
const SILENCE_MAX_MS = 75_000; // three of the server's heartbeats, unless it says how often they are

// MARK: WebSocket

async function readWebSocket(reader, signal) {
  const url = socketAddress(reader.parameters());
  const socket = new WebSocket(url, "herald.v1");
  const { cost } = reader;
  let wasOpen = false;
  let heartbeatMs = SILENCE_MAX_MS / 3;
  let watchdog;
  cost.began(socketRequestLength(url));

  // A browser hides the protocol's pings, and a dead network may close nothing. Herald sends a text message with
  // each ping for that reason: three of them missed, and the connection is given up.
  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => socket.close(4000, "nothing heard"), 3 * heartbeatMs);
  };

  const ended = new Promise((resolve) => {
    socket.onopen = () => {
      wasOpen = true;
      cost.receivedHeads += socketAnswerLength(socket.extensions);
      reader.opened();
      heard();
    };
    socket.onmessage = ({ data }) => {
      cost.received += frameLength(lengthOf(data), false);
      const message = JSON.parse(data);
      heartbeatMs = message.heartbeat_ms ?? heartbeatMs;
      heard();
      if (message.control) reader.control(message);
      else reader.event(message);
    };
    socket.onclose = resolve;
    signal.addEventListener("abort", () => resolve({}), { once: true });
  });
  try {
    const { code, reason } = await ended;
    if (signal.aborted) return;
    if (!wasOpen) await explainRefusal(reader, signal);
    throw new TryLater(`closed, ${code}${reason ? ` ${reason}` : ""}`);
  } finally {
    clearTimeout(watchdog);
    cost.ended();
    socket.onmessage = null; // what is still under way is lost with the line
    // A socket that is closed before it is open is an error in the browser's log.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(1000);
    else socket.close(1000);
  }
}

/** Asks by a poll what a WebSocket was refused for, as the browser does not tell. Throws it, if anything. */
async function explainRefusal(reader, signal) {
  await ask(address("v1/events", reader.parameters([["max", "1"]])), { signal });
}

// MARK: Server-Sent Events

async function readEventStream(reader, signal) {
  const silence = new AbortController();
  let watchdog;
  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => silence.abort(new TryLater("nothing heard")), SILENCE_MAX_MS);
  };
  heard();
  try {
    const all = AbortSignal.any([signal, silence.signal]);
    // Not EventSource, which counts no bytes and tells neither status nor reason. The stream is the same.
    await request(reader, reader.parameters(), all, { Accept: "text/event-stream" }, async (response) => {
      reader.opened();
      const blocks = new EventBlocks((block) => takeBlock(reader, block));
      const chunks = response.body.getReader();
      for (;;) {
        const { value, done } = await chunks.read();
        if (done) throw new TryLater("the stream has ended");
        heard();
        reader.cost.received += value.length;
        blocks.take(value);
      }
    });
  } finally {
    clearTimeout(watchdog);
  }
}

function takeBlock(reader, { id, data }) {
  if (!data) {
    reader.advance(id); // a heartbeat: it moves the place, and is no event
    return;
  }
  const message = JSON.parse(data);
  if (message.id) reader.event(message);
  else reader.control({ control: message.resume ?? (message.reason ? "gap" : "notice"), ...message });
}

/** Takes a text/event-stream apart, as the HTML standard says, as far as Herald uses it: lines end in LF. */
export class EventBlocks {
  #decoder = new TextDecoder();
  #rest = "";
  #data = [];
  #id;

  constructor(onBlock) { this.onBlock = onBlock; }

  take(bytes) {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length || this.#id) this.onBlock({ id: this.#id, data: this.#data.join("\n") });
      this.#data = [];
      this.#id = undefined;
      return;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
  }
}

// MARK: Polls

async function readLongPoll(reader, signal) {
  while (!signal.aborted) {
    // A request that is held is the sign of health here. One that fails does so sooner than this.
    const isHeld = setTimeout(() => reader.opened(), HELD_AFTER_MS);
    try {
      const parameters = reader.parameters([["wait", String(reader.settings.waitSeconds)], ["max", String(BATCH_MAX)]]);
      reader.answer((await poll(reader, parameters, signal)).answer);
    } finally {
      clearTimeout(isHeld);
    }
  }
}

async function readShortPoll(reader, signal) {
  let etag;
  while (!signal.aborted) {
    const polled = await poll(reader, reader.parameters([["max", String(BATCH_MAX)]]), signal, etag);
    if (polled) {
      reader.answer(polled.answer);
      etag = polled.etag;
      if (polled.answer.events.length >= BATCH_MAX) continue; // more lies ready
    }
    await pause(reader.settings.intervalMs, signal);
  }
}

/** One poll. Gives null for 304. */
async function poll(reader, parameters, signal, etag) {
  return request(reader, parameters, signal, etag ? { "If-None-Match": etag } : {}, async (response) => {
    const { cost } = reader;
    cost.answers += 1;
    const answer = response.status === 304 ? null : await response.json();
    signal.throwIfAborted(); // it came too late: the line is cut
    if (!answer) cost.unchangedAnswers += 1;
    else if (answer.events.length === 0) cost.emptyAnswers += 1;
    reader.opened();
    reader.answered(!answer?.events.length);
    return answer && { answer, etag: response.headers.get("ETag") };
  });
}

/** A request whose cost is counted while take reads its answer. */
async function request(reader, parameters, signal, headers, take) {
  const { cost } = reader;
  const url = address("v1/events", parameters);
  reader.checkLine();
  cost.began(requestHeadLength("GET", url, { ...access.headers, ...headers }));
  try {
    const response = await ask(url, { headers, signal });
    cost.receivedHeads += answerHeadLength(response);
    return await take(response);
  } finally {
    cost.ended();
  }
}

// MARK: Readers

const READ = { websocket: readWebSocket, sse: readEventStream, longpoll: readLongPoll, shortpoll: readShortPoll };

/**
 * Reads one filter by one transport, through a line that can be cut. What happens is told to the listener: `opened()`,
 * `event(event)`, `gap(gap)`, `answered(isEmpty)`, `show(state, note)`. Events come as the server sends them: a repeat
 * would be one here too.
 */
export class Reader {
  cost = new Cost();
  state = "idle";
  cursor = null;
  settings = { intervalMs: 1000, waitSeconds: 25 };
  #run = null; // from start to stop
  #line = null; // the connection there is, or is being tried
  #cutUntil = 0;

  constructor(transport, listener) {
    this.transport = transport;
    this.listener = listener;
    // Bodies of polls, as long as they were on the wire. A stream's would be told at its end only.
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (this.#isPoll(entry.name)) this.cost.received += entry.encodedBodySize;
    }).observe({ type: "resource" });
  }

  get isRunning() { return this.#run !== null; }
  get isCut() { return performance.now() < this.#cutUntil; }

  /** Reads on from a cursor, an id. */
  start(filter, cursor) {
    this.stop();
    this.filter = filter;
    this.cursor = cursor;
    this.#cutUntil = 0;
    this.#run = new AbortController();
    this.#keepReading(this.#run.signal);
  }

  stop() {
    this.#run?.abort();
    this.#run = null;
    this.#show("idle");
  }

  /** Cuts the line: what is under way is lost, and nothing gets through for so long. */
  cut(ms) {
    this.#cutUntil = performance.now() + ms;
    this.#line?.abort();
  }

  /** Fails as a connection does that gets no answer. */
  checkLine() {
    if (this.isCut) throw new TryLater("the line is cut");
  }

  parameters(more = []) {
    return [["topic", this.filter], ["after", this.cursor], ...more];
  }

  /** Reads until told to stop, and comes back after each loss, later each time. */
  async #keepReading(run) {
    let attempts = 0;
    while (!run.aborted) {
      if (!this.isCut) this.#show("connecting");
      this.openedAt = 0;
      const lost = await this.#readOnce(run);
      if (run.aborted) return;
      if (lost instanceof Refused) {
        this.#run = null;
        this.#show("refused", lost.message);
        return;
      }
      // A connection that had held for a while was sound: begin again with short waits.
      if (this.openedAt && performance.now() - this.openedAt > SOUND_AFTER_MS) attempts = 0;
      // Half of the wait is drawn, so that clients cut off together do not come back together.
      const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts++);
      const wait = Math.max(lost.afterMs ?? 0, ceiling / 2 + (Math.random() * ceiling) / 2);
      this.#show(this.isCut ? "cut" : "waiting", `${lost.message}; tries again in ${(wait / 1000).toFixed(1)} s`);
      await pause(wait, run);
    }
  }

  /** Reads until the connection ends, and gives why it did. */
  async #readOnce(run) {
    this.#line = new AbortController();
    try {
      this.checkLine();
      await READ[this.transport](this, AbortSignal.any([run, this.#line.signal]));
      return new TryLater(this.isCut ? "the line is cut" : "the connection has ended");
    } catch (error) {
      return this.#line.signal.aborted ? new TryLater("the line is cut") : error;
    }
  }

  // What the transports report

  opened() {
    this.openedAt ||= performance.now();
    if (this.state === "live") return;
    this.#show("live");
    this.listener.opened();
  }

  answered(isEmpty) { this.listener.answered(isEmpty); }

  event(event) {
    this.listener.event(event);
    this.advance(event.id);
  }

  control(message) {
    switch (message.control) {
      case "resumed":
      case "heartbeat":
        this.advance(message.cursor);
        break;
      case "gap":
      case "reset":
        this.gap(message);
        break;
      case "error":
        this.#show(this.state, inWords(message));
        break;
      default: // what needs nothing to be done: `welcome` stands before the outcome, which has the place
    }
  }

  answer({ events, next, gap }) {
    if (gap) this.gap(gap);
    for (const event of events) this.event(event);
    this.cursor = next;
  }

  gap(gap) {
    this.listener.gap(gap);
    // After a reset the old epoch's ids mean nothing any more.
    if (gap.cursor) this.cursor = gap.cursor;
  }

  /** Moves the cursor, never back within an epoch: a repeat must not undo what has been read. */
  advance(cursor) {
    if (cursor && !isBefore(cursor, this.cursor)) this.cursor = cursor;
  }

  #show(state, note = "") {
    this.state = state;
    this.listener.show(state, note);
  }

  #isPoll(name) {
    if (!this.transport.endsWith("poll") || !this.filter) return false;
    const query = new URL(name).searchParams;
    // Other requests for the topic have no `max`, or one that asks for a single event.
    if (query.get("topic") !== this.filter || query.get("max") !== String(BATCH_MAX)) return false;
    return query.has("wait") === (this.transport === "longpoll");
  }
}
