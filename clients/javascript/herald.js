// herald.js: a client of Herald for browsers, workers, and Node 20 or later. One module, no dependencies.
//
//     import { Herald } from "https://events.example.com/herald.js";
//
//     const herald = new Herald("https://events.example.com", { token: () => fetchToken() });
//     const orders = herald.subscribe("orders/*", (event) => show(event.topic, event.data));
//     orders.addEventListener("gap", () => reloadOrders());
//     await herald.publish("orders/42", { status: "paid" });
//
// How it is built, from the top down. What each part knows, no other does:
//
//     Herald, Subscription   what a page uses.
//     Reader                 what is behind a subscription: it has a cursor, and hands on what lies ahead of it.
//     Seat                   a tab among tabs: one leads and has the connection, the others are told what comes.
//     Link                   one stream of all filters, opened again and again from one cursor.
//     Ladder                 which transport to try next. Decides only; no I/O.
//     Stream, read…          one connection by one transport, until it ends.
//     Caller, Credentials    requests, tokens, and what an answer means.
//
// Why nothing is lost or repeated: the server has one log, and an event's id says where in it the event stands. A stream gives
// everything after the cursor that it began with, in order. So whatever ends, another stream, another transport or another
// tab begins at a cursor that no subscription has got beyond, and each subscription drops what it has had.

const DEFAULTS = {
  transports: ["websocket", "sse", "longpoll", "shortpoll"],
  share: Boolean(globalThis.location), // elsewhere threads may be of several users
  probeTimeout: 5_000,
  silenceMax: 75_000,
  climbAfter: 15_000,
  longPollWait: 25_000,
  shortPollInterval: 2_000,
  credentials: "same-origin",
};
const BACKOFF = { first: 500, max: 30_000 };

const BATCH_MAX = 1_000; // events asked for in one poll
const BATCH_BYTES = 524_288; // a server adds nothing past 1 MiB; of what is as large as this some may have had no room
const NEAR = 1_000; // sequences: who is behind by no more than this joins a stream that is begun again for it
const GATHER_MS = 20; // how long filters are gathered before a stream is opened for them
const TAKEOVER_MS = 150; // the same when a tab takes over, for the others have to say where they stand
const SETTLED_MS = 5_000; // a stream that lived less than this has not shown that its transport works
const STRIKES_MAX = 3; // so many such streams in a row, and the next transport is tried
const CLIMB_DOUBLINGS = 4;
const BEATS_MAX = 3; // heartbeats that may fail to come
const UNHELD_MS = 500; // a poll that should have been held and came sooner is not followed at once
const HELLO_MS = 30_000; // how often a tab makes sure that another still leads
const TICK_MS = 5_000; // how often the clock is looked at, to notice that the machine slept
const SLEPT_MS = 90_000; // beyond what browsers delay the timers of hidden pages by
const RENEWALS_MAX = 2; // tokens tried in a row before a refusal is believed
const TIMER_MAX = 2 ** 31 - 1; // beyond it setTimeout fires at once

// MARK: Errors

/** What the server refused, or what kept it from being asked. */
export class HeraldError extends Error {
  constructor(message, { problem = null, status = problem?.status ?? 0, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "HeraldError";
    this.problem = problem;
    this.status = status;
  }
}

/**
 * Why a connection or a request ended, by what is to be done about it.
 *
 * - `blocked`: nothing of the server's came through. Perhaps by another transport.
 * - `cut`: it worked, and was lost.
 * - `ended`: the server ended it in good order, and says when to come back.
 * - `later`: the server can't just now.
 * - `token`: come with another token.
 * - `refused`: the server would say no again.
 */
class Fault extends Error {
  constructor(kind, error, delay = 0) {
    super(error.message, { cause: error });
    this.kind = kind;
    this.error = error;
    this.delay = delay;
  }
}

/** A fault out of whatever was thrown. What is not one of ours came from the network, or from something amid it. */
function faultOf(thrown, signal, kind = "blocked") {
  if (thrown instanceof Fault) return thrown;
  if (signal?.aborted && signal.reason instanceof Fault) return signal.reason;
  return new Fault(kind, new HeraldError(`the server was not reached: ${thrown?.message ?? thrown}`, { cause: thrown }));
}

/** What a problem document means, wherever it came from. */
function faultOfProblem(problem, delay = 0) {
  const text = [problem.title, problem.detail].filter(Boolean).join(": ") || `status ${problem.status}`;
  const error = new HeraldError(text, { problem });
  if (problem.status === 401) return new Fault("token", error);
  // Not a matter of time, whatever its status says.
  if (problem.type === "/problems/too-many-filters") return new Fault("refused", error);
  if (problem.status >= 500 || problem.status === 408 || problem.status === 429) return new Fault("later", error, delay);
  return new Fault("refused", error);
}

/** What an answer means that is no success. Only Herald sends problems of its own kind; the rest is of something between. */
async function faultOfAnswer(response) {
  const delay = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
  let problem = null;
  try {
    problem = JSON.parse(await response.text());
  } catch {
    // A proxy's page says no more than its status does.
  }
  if (typeof problem?.type === "string" && problem.type.startsWith("/problems/")) {
    return faultOfProblem({ ...problem, status: response.status }, delay);
  }
  const error = new HeraldError(`something before the server answered ${response.status}`, { status: response.status });
  return response.status === 429 || response.status === 503 ? new Fault("later", error, delay) : new Fault("blocked", error);
}

// MARK: Cursors and filters

const isCursor = (text) => typeof text === "string" && /^[0-9a-f]{8}-\d{1,20}$/.test(text);

/** Whether two ids count in the same epoch: the eight digits and the dash before the sequence. */
const isSameEpoch = (a, b) => isCursor(a) && isCursor(b) && a.slice(0, 9) === b.slice(0, 9);

/** Whether an id lies ahead of a cursor. One of another epoch does, and everything is ahead of what is no id yet. */
function isAhead(id, cursor) {
  if (!isSameEpoch(id, cursor)) return true;
  // Sequences have 64 bits, too many for a number, and no leading zeros: the longer one is greater.
  return id.length === cursor.length ? id > cursor : id.length > cursor.length;
}

/** How far ahead of the cursor an id of the same epoch lies; negative if it is behind. */
const distance = (id, cursor) => Number(BigInt(id.slice(9)) - BigInt(cursor.slice(9)));

/** Whether a filter matches a topic: `*` is any one segment, a last `**` one or more, and neither a first one with `~`. */
function matches(filter, topic) {
  const wanted = filter.split("/");
  const segments = topic.split("/");
  for (let at = 0; at < wanted.length; at += 1) {
    if (at >= segments.length) return false;
    const isWild = wanted[at] === "*" || wanted[at] === "**";
    if (isWild && at === 0 && segments[0].startsWith("~")) return false;
    if (wanted[at] === "**" && at === wanted.length - 1) return true;
    if (!isWild && wanted[at] !== segments[at]) return false;
  }
  return wanted.length === segments.length;
}

/** An event as it is handed on: bytes are bytes. */
function unpacked(event) {
  if (typeof event.data_base64 !== "string") return event;
  const { data_base64: encoded, ...rest } = event;
  return { ...rest, data: Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0)) };
}

// MARK: Time

/** Waits, or less if the signal fires. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, TIMER_MAX));
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}

/** Waits before another try: drawn anew each time from nothing up to a bound that doubles, but never less than was asked for. */
class Backoff {
  #tries = 0;

  constructor({ first = BACKOFF.first, max = BACKOFF.max } = {}) {
    this.first = first;
    this.max = max;
  }

  /** In milliseconds. `first` is what the server would have it begin with, if it said so. */
  next(atLeast = 0, first = 0) {
    const bound = Math.min(this.max, Math.max(this.first, first) * 2 ** this.#tries);
    this.#tries = Math.min(this.#tries + 1, 30);
    return atLeast + Math.random() * bound;
  }

  reset() {
    this.#tries = 0;
  }
}

// MARK: Requests

/** The token in use, and where the next comes from. */
class Credentials {
  #source;
  #value;
  #isSpent; // or has not been asked for yet
  #asking = null;

  constructor(source) {
    this.#source = source;
    this.#isSpent = typeof source === "function";
    this.#value = typeof source === "string" ? source : null;
  }

  /** The token; null if there is none. */
  async get() {
    if (this.#isSpent) await this.#ask();
    return this.#value;
  }

  /**
   * Gets another than the one given, which is about to end, or is no good any more (`isSpent`) and then not used again.
   * Says whether there is one.
   */
  async renew(token, isSpent) {
    if (typeof this.#source !== "function") return false;
    if (this.#value === token) {
      this.#isSpent ||= isSpent;
      await this.#ask();
    }
    return this.#value !== null && this.#value !== token;
  }

  /** The token in use, whatever has become of it. */
  get current() {
    return this.#value;
  }

  /** Asks the page, once however many wait for it. What it throws is a fault that passes. */
  async #ask() {
    this.#asking ??= this.#askOnce().finally(() => { this.#asking = null; });
    await this.#asking;
  }

  async #askOnce() {
    try {
      const value = (await this.#source()) ?? null;
      if (value !== null && (typeof value !== "string" || !value)) throw new TypeError("token() gave no text");
      this.#value = value;
      this.#isSpent = false;
    } catch (thrown) {
      const error = new HeraldError(`no token: ${thrown?.message ?? thrown}`, { cause: thrown });
      throw new Fault("later", error);
    }
  }
}

/** Makes requests to one server. */
class Caller {
  constructor(base, options) {
    this.base = base;
    this.options = options;
    this.credentials = new Credentials(options.token);
    this.fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
  }

  url(path, parameters = []) {
    const url = new URL(path.replace(/^\//, ""), this.base);
    for (const [name, value] of parameters) url.searchParams.append(name, value);
    return url;
  }

  /** The address of events: filters in their order, and what else is given. */
  eventsUrl(filters, parameters = {}) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
    return this.url("v1/events", [...filters.map((filter) => ["topic", filter]), ...given]);
  }

  /** Sends a request with the token. Throws a fault unless the status is one of success, or 304. */
  async send(url, { headers = {}, signal, ...rest } = {}) {
    const token = await this.credentials.get();
    let response;
    try {
      response = await this.fetch(url, {
        cache: "no-store", credentials: this.options.credentials, ...rest, signal,
        headers: token === null ? headers : { ...headers, Authorization: `Bearer ${token}` },
      });
    } catch (thrown) {
      throw faultOf(thrown, signal);
    }
    if (response.ok || response.status === 304) return response;
    throw await faultOfAnswer(response);
  }

  /** Asks for as little of these filters as can be. Throws a fault if the server does not say yes. */
  async probe(filters, signal) {
    await this.poll(filters, { after: "latest", max: 1 }, signal);
  }

  /** One poll. Gives null for 304. */
  async poll(filters, { after, wait, tag, max = BATCH_MAX }, signal) {
    const headers = { Accept: "application/json", ...(tag ? { "If-None-Match": tag } : {}) };
    const response = await this.send(this.eventsUrl(filters, { after, max, wait }), { headers, signal });
    if (response.status === 304) return null;
    let answer, text;
    try {
      text = await response.text();
      answer = JSON.parse(text);
    } catch (thrown) {
      throw faultOf(thrown, signal);
    }
    if (!Array.isArray(answer?.events) || !isCursor(answer.next)) {
      throw new Fault("blocked", new HeraldError("something before the server answered the poll"));
    }
    return {
      events: answer.events.map(unpacked), next: answer.next, gap: answer.gap, resume: answer.resume,
      tag: response.headers.get("ETag"), isFull: answer.events.length >= max || text.length >= BATCH_BYTES,
    };
  }
}

/** Runs an action that ends when a signal fires, or when it is not heard of for a time. */
class Patience {
  #controller = new AbortController();
  #parent;
  #timer = null;
  #onAbort = () => this.#controller.abort(this.#parent.reason);

  constructor(parent) {
    this.#parent = parent;
    parent?.addEventListener("abort", this.#onAbort);
    if (parent?.aborted) this.#onAbort();
  }

  get signal() {
    return this.#controller.signal;
  }

  /** Begins to wait anew, for so long. */
  allow(ms, fault) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(fault()), Math.min(ms, TIMER_MAX));
  }

  end() {
    clearTimeout(this.#timer);
    this.#parent?.removeEventListener("abort", this.#onAbort);
  }
}

// MARK: Streams

const silent = (kind) => new Fault(kind, new HeraldError("nothing was heard of the server"));

/**
 * One connection by one transport, from a cursor until it ends.
 *
 * It is proven once the server has said where it stands: that shows that the transport works, that the filters are allowed,
 * and what became of the cursor. Nothing that it brings counts before.
 */
class Stream {
  #controller = new AbortController();
  #patience;
  #silenceMax;
  #provenAt = 0;
  #heardAt = 0;
  #calls = new Map(); // of a WebSocket: what waits for an answer, by ref
  #refs = 0;

  /**
   * `isKnown`: that this transport works has just been seen. `owner` is told: `onProven(stream, outcome)`, `onEvents`,
   * `onMoved`, `onGap`, `onExpiring`, and `onEnd(stream, fault)`.
   */
  constructor(transport, isKnown, filters, cursor, caller, owner) {
    this.transport = transport;
    this.isKnown = isKnown;
    this.filters = filters;
    this.asked = []; // those of them that the server has not yet said yes to
    this.start = cursor;
    this.cursor = cursor;
    this.caller = caller;
    this.owner = owner;
    this.isProven = false;
    this.isEnded = false;
    this.retryMs = 0; // what the server asks for before another connection
    this.socket = null;
    this.#silenceMax = caller.options.silenceMax;
    this.#patience = new Patience(this.#controller.signal);
  }

  get signal() {
    return this.#patience.signal;
  }

  /** Since when nothing has been heard, in milliseconds. */
  get quietFor() {
    return Date.now() - this.#heardAt;
  }

  /** How long it showed life after it was proven. */
  get lived() {
    return this.isProven ? this.#heardAt - this.#provenAt : 0;
  }

  async run() {
    let fault;
    try {
      // The page may take its time over it; what is timed is the network.
      await this.caller.credentials.get();
      this.allow(this.caller.options.probeTimeout);
      await READERS[this.transport](this, this.caller);
      fault = new Fault("cut", new HeraldError("the connection was closed"));
    } catch (thrown) {
      fault = faultOf(thrown, this.signal);
    }
    if (this.isProven && fault.kind === "blocked") fault = new Fault("cut", fault.error, fault.delay);
    if (!this.isProven && fault.kind === "cut") fault = new Fault("blocked", fault.error, fault.delay);
    this.#finish();
    this.owner.onEnd(this, fault);
  }

  /** Ends it. The owner is told nothing more. */
  close() {
    if (this.isEnded) return;
    this.owner = IGNORED;
    // First, for a patience that has ended hands nothing on.
    this.#controller.abort(new Fault("ended", new HeraldError("closed")));
    this.#finish();
  }

  /** Ends it as one that was lost. */
  giveUp() {
    this.#controller.abort(silent("cut"));
  }

  #finish() {
    this.isEnded = true;
    this.#patience.end();
    for (const call of this.#calls.values()) call.reject(silent("cut"));
    this.#calls.clear();
  }

  // What transports say.

  /** Something may take so long from now on. */
  allow(ms) {
    this.#patience.allow(ms, () => silent(this.isProven ? "cut" : "blocked"));
  }

  /** Something has come, whatever it is. */
  heard() {
    this.#heardAt = Date.now();
    if (this.isProven) this.allow(this.#silenceMax);
  }

  /** The server says how often its heart beats. */
  beats(ms) {
    if (ms > 0) this.#silenceMax = Math.min(this.caller.options.silenceMax, BEATS_MAX * ms);
  }

  /** The server says where "latest" is. */
  begin(cursor) {
    this.start = cursor;
    this.cursor = cursor;
  }

  /** The server says where it stands. It says so of an id only with the outcome: until then it is the id that counts. */
  moved(cursor) {
    if (!isCursor(cursor)) return;
    if (!this.isProven) {
      if (this.start !== "latest") return;
      this.begin(cursor);
      return this.#prove("resumed", null);
    }
    if (!isAhead(cursor, this.cursor)) return;
    this.cursor = cursor;
    this.owner.onMoved(this, cursor);
  }

  /** The server says what became of the cursor. */
  outcome({ resume, ...rest }) {
    const gap = resume === "resumed" ? null : gapOf(rest);
    if (!this.isProven) this.#prove(resume, gap);
    else if (gap) this.owner.onGap(this, gap, resume === "reset");
  }

  events(events) {
    const ahead = events.filter((event) => isAhead(event.id, this.cursor));
    if (!ahead.length || !this.isProven) return;
    this.cursor = ahead.at(-1).id;
    this.owner.onEvents(this, ahead);
  }

  gap(gap) {
    if (this.isProven) this.owner.onGap(this, gapOf(gap), gap.reason === "epoch");
  }

  expiring(address) {
    this.owner.onExpiring(this, address);
  }

  #prove(resume, gap) {
    this.isProven = true;
    this.#provenAt = Date.now();
    this.heard();
    this.owner.onProven(this, resume, gap);
  }

  // What can be asked of a WebSocket.

  get canBeAsked() {
    return this.isProven && !this.isEnded && this.socket?.readyState === 1;
  }

  /** Sends an operation. Gives the answer, or throws its fault; one that is not answered ends the stream. */
  ask(op) {
    const ref = `${(this.#refs += 1)}`;
    const timer = setTimeout(() => this.giveUp(), this.caller.options.probeTimeout);
    const answer = new Promise((resolve, reject) => this.#calls.set(ref, { resolve, reject }));
    this.socket.send(JSON.stringify({ ...op, ref }));
    return answer.finally(() => clearTimeout(timer));
  }

  /** Hands an answer to who asked. Says whether somebody had. */
  answered(message) {
    const call = this.#calls.get(message.ref);
    if (!call) return false;
    this.#calls.delete(message.ref);
    if (message.control === "error") call.reject(faultOfProblem(message));
    else call.resolve(message);
    return true;
  }
}

const IGNORED = {
  onProven() {}, onEvents() {}, onMoved() {}, onGap() {}, onExpiring() {}, onEnd() {},
};

const gapOf = ({ topic, from, to, reason }) => ({ topic, from, to, reason });

/** What a control message of a WebSocket or of an event stream means. */
function control(stream, name, message) {
  switch (name) {
    case "resumed": case "gap": case "reset":
      if (message.resume) stream.outcome(message);
      else stream.gap(message);
      break;
    case "welcome": stream.beats(message.heartbeat_ms); break;
    case "heartbeat": stream.moved(message.cursor); break;
    case "expiring": stream.expiring(message.renew); break;
    case "end":
      stream.moved(message.cursor);
      if (message.type) throw faultOfProblem(message);
      throw new Fault("ended", new HeraldError("the server ended the stream"), message.retry_ms ?? 0);
    default: break; // of a server that is newer than this file
  }
}

async function readWebSocket(stream, caller) {
  const Socket = caller.options.WebSocket ?? globalThis.WebSocket;
  const token = await caller.credentials.get();
  // A browser sends no headers of ours with it. The filters go by message, so that a refusal can be read.
  const url = caller.url("v1/events", token === null ? [] : [["access_token", token]]);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (stream.signal.aborted) throw stream.signal.reason;
  const socket = new Socket(url.href, "herald.v1");
  stream.socket = socket;
  let hasOpened = false;
  try {
    await new Promise((_, reject) => {
      const opening = { op: "subscribe", ref: "open", topics: stream.filters };
      if (stream.start !== "latest") opening.after = stream.start;
      socket.onopen = () => {
        hasOpened = true;
        socket.send(JSON.stringify(opening));
      };
      socket.onmessage = ({ data }) => {
        stream.heard();
        try {
          receive(stream, JSON.parse(data));
        } catch (thrown) {
          reject(thrown);
        }
      };
      socket.onclose = ({ code, reason }) => reject(faultOfClose(code, reason));
      // Not every WebSocket that was refused is closed as well, as Node's is not.
      socket.onerror = () => hasOpened || reject(faultOfClose(1006, ""));
      stream.signal.addEventListener("abort", () => reject(stream.signal.reason));
      if (stream.signal.aborted) reject(stream.signal.reason);
    });
  } catch (thrown) {
    if (!hasOpened && !stream.signal.aborted) await refusedAsPoll(stream, caller);
    throw thrown;
  } finally {
    socket.onopen = socket.onmessage = socket.onclose = null;
    // Not waited for: on a line that is dead the goodbye would be long.
    socket.close(1000);
  }
}

/**
 * Throws what the server says to the same filters where it can be read, for of a handshake that was refused a page is told
 * nothing. Where there is another transport, that is what tells.
 */
async function refusedAsPoll(stream, caller) {
  if (caller.options.transports.length > 1) return;
  stream.allow(caller.options.probeTimeout);
  try {
    await caller.probe(stream.filters, stream.signal);
  } catch (thrown) {
    if (faultOf(thrown).kind !== "blocked") throw thrown;
  }
}

function receive(stream, message) {
  if (!message.control) return stream.events([unpacked(message)]);
  if (message.ref === "open") {
    if (message.control === "error") throw faultOfProblem(message);
    return stream.moved(message.cursor);
  }
  // Before it has subscribed its heart beats at a place that says nothing of the filters.
  if (message.control === "heartbeat" && !stream.isProven) return undefined;
  if (stream.answered(message)) return undefined;
  return control(stream, message.control, message);
}

function faultOfClose(code, reason) {
  const error = new HeraldError(`the WebSocket was closed with ${code}${reason ? ` ${reason}` : ""}`);
  if (code === 1008 && /-token$/.test(reason)) return new Fault("token", error);
  if (code === 1013) return new Fault("later", error);
  if (code === 1001) return new Fault("ended", error);
  return new Fault("cut", error);
}

async function readEventStream(stream, caller) {
  const after = stream.start;
  const response = await caller.send(caller.eventsUrl(stream.filters, { after }), {
    headers: { Accept: "text/event-stream" }, signal: stream.signal,
  });
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    throw new Fault("blocked", new HeraldError("something before the server answered for the event stream"));
  }
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done || stream.isEnded) return;
    stream.heard();
    const events = [];
    for (const block of parser.take(decoder.decode(value, { stream: true }))) {
      if (block.retry !== null) stream.retryMs = block.retry;
      if (block.data !== null && !block.event.startsWith("herald.")) {
        events.push(unpacked(JSON.parse(block.data)));
        continue;
      }
      stream.events(events.splice(0));
      if (block.data !== null) control(stream, block.event.slice("herald.".length), JSON.parse(block.data));
      else if (block.id !== null) stream.moved(block.id);
    }
    stream.events(events);
  }
}

/** Cuts text into the blocks of an event stream (WHATWG HTML §9.2.6). */
class EventParser {
  #rest = "";
  #looked = 0; // so much of the rest is known to have no end of line
  #block = EventParser.#empty();

  static #empty() {
    return { event: "", data: null, id: null, retry: null };
  }

  *take(text) {
    this.#rest += text;
    let from = 0;
    for (;;) {
      const end = this.#rest.indexOf("\n", Math.max(from, this.#looked));
      if (end < 0) break;
      const isCRLF = this.#rest[end - 1] === "\r" && end > from;
      const line = this.#rest.slice(from, isCRLF ? end - 1 : end);
      from = end + 1;
      if (line !== "") {
        this.#field(line);
        continue;
      }
      const block = this.#block;
      this.#block = EventParser.#empty();
      if (block.data !== null || block.id !== null || block.retry !== null) yield block;
    }
    this.#rest = this.#rest.slice(from);
    this.#looked = this.#rest.length;
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#block.data = this.#block.data === null ? value : `${this.#block.data}\n${value}`;
    else if (name === "event" || name === "id") this.#block[name] = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.#block.retry = Number(value);
  }
}

/**
 * Polls, held by the server or not. Only one that the server was to hold shows that such come through: until then it is to
 * hold them for the shortest time, unless it is known. Of "latest" one that is held would not say where it began.
 */
async function readPolls(stream, caller, isHeld) {
  const { longPollWait, shortPollInterval, probeTimeout } = caller.options;
  const longest = Math.max(1, Math.round(longPollWait / 1_000));
  let tag = null;
  for (;;) {
    const after = stream.cursor;
    const isShowing = isHeld && !stream.isProven && !stream.isKnown;
    const isWaiting = isShowing ? after !== "latest" : isHeld && stream.isProven;
    const wait = isShowing ? 1 : longest;
    const began = Date.now();
    stream.allow(probeTimeout + (isWaiting ? 1_000 * wait : 0));
    const answer = await caller.poll(stream.filters, { after, tag, wait: isWaiting ? wait : undefined }, stream.signal);
    if (stream.isEnded) return;
    stream.heard();
    if (isShowing && !isWaiting) {
      stream.begin(answer.next);
      continue;
    }
    if (answer) {
      if (answer.resume) stream.outcome({ ...answer.gap, resume: answer.resume });
      else if (answer.gap) stream.gap(answer.gap);
      if (!stream.isProven) stream.moved(answer.next); // of "latest": before its events, as with any other stream
      stream.events(answer.events);
      stream.moved(answer.next);
    }
    // The same is asked again only if nothing has moved, and then its tag spares the answer.
    tag = answer ? (answer.next === after ? answer.tag : null) : tag;
    if (answer?.isFull) continue;
    const rest = isHeld
      ? (isWaiting && !answer?.events.length && Date.now() - began < UNHELD_MS ? UNHELD_MS : 0)
      : shortPollInterval;
    if (rest) stream.allow(rest + probeTimeout);
    if (rest) await pause(rest, stream.signal);
  }
}

const READERS = {
  websocket: readWebSocket,
  sse: readEventStream,
  longpoll: (stream, caller) => readPolls(stream, caller, true),
  shortpoll: (stream, caller) => readPolls(stream, caller, false),
};

// MARK: Ladder

/**
 * Which transport to try. Steps are the transports, best first.
 *
 * One through which nothing comes is left for the next, one that has worked before only at its second failure: a server
 * that starts anew looks the same as a wall. When none works, it is the network, and after a wait it begins where it last stood.
 */
class Ladder {
  #steps;
  #step = 0;
  #home = 0; // where it last worked
  #worked = new Set();
  #failures = 0;
  #strikes = 0;
  #doublings = 0;

  constructor(steps) {
    this.#steps = steps;
  }

  get transport() {
    return this.#steps[this.#step];
  }

  /** The better ones, best first. */
  get better() {
    return this.#steps.slice(0, this.#step);
  }

  /** By what the time until a better one is tried is to be multiplied. */
  get climbFactor() {
    return 2 ** this.#doublings;
  }

  proven(transport) {
    const step = this.#steps.indexOf(transport);
    if (step < this.#step) this.#doublings = 0;
    this.#step = step;
    this.#home = step;
    this.#worked.add(transport);
    this.#failures = 0;
  }

  /** Nothing came through. Says whether to try on at once. */
  blocked() {
    this.#failures += 1;
    if (this.#worked.has(this.transport) && this.#failures < 2) return false;
    this.#failures = 0;
    this.#step += 1;
    if (this.#step < this.#steps.length) return true;
    this.#step = this.#home;
    return false;
  }

  /** It worked for a while, and was lost. Says whether to try on at once, by another. */
  cut(lived) {
    this.#strikes = lived < SETTLED_MS ? this.#strikes + 1 : 0;
    if (this.#strikes < STRIKES_MAX || this.#step + 1 >= this.#steps.length) return false;
    this.#strikes = 0;
    this.#step += 1;
    return true;
  }

  /** The server itself answered, so what failed before it did was not the transport. */
  reached() {
    this.#step = this.#home;
    this.#failures = 0;
  }

  climbFailed() {
    this.#doublings = Math.min(this.#doublings + 1, CLIMB_DOUBLINGS);
  }

  /** The network is another: what was found out of the last is of no use. */
  forget() {
    this.#worked.clear();
    this.#step = this.#home = this.#failures = this.#strikes = this.#doublings = 0;
  }
}

// MARK: Link

/**
 * The one connection of a tab, or of all tabs: a stream of the filters of all its members.
 *
 * Whoever leads has it. Members are subscriptions, here or in another tab; they are told everything by `tell`, and all hear all.
 * A member has joined once a stream has all its filters from a cursor that it has not got beyond.
 *
 * A stream is replaced by another that has been proven, never before: when filters are added, when a better transport is
 * found, when the network has changed.
 */
class Link {
  #caller;
  #tell;
  #members = new Map(); // by key: { key, tab, filters, cursor, hasJoined }
  #cursor = "latest"; // what the next stream begins at
  #stream = null; // proven
  #candidate = null; // to be proven
  #isClimbing = false; // whether the candidate is there for its transport
  #rung = null; // the better transport that was tried last
  #ladder;
  #backoff;
  #renewals = 0;
  #timers = { open: null, climb: null, change: null };
  #isSifting = false;
  #isClosed = false;

  constructor(caller, tell) {
    this.#caller = caller;
    this.#tell = tell;
    this.#ladder = new Ladder(caller.options.transports);
    this.#backoff = new Backoff(caller.options.backoff);
    this.state = { name: "idle", transport: null, retryAt: null, error: null };
  }

  // What members ask for.

  /** A subscription wants its events. `isNear`: it has just caught up, so it is not sent away again. */
  join({ key, tab, filters, cursor, isNear = false }, gatherMs = GATHER_MS) {
    const member = { key, tab, filters, cursor, hasJoined: false };
    const isFirst = [...this.#members.keys()].every((other) => other === key);
    const known = this.#members.get(key);
    if (known?.hasJoined) known.hasJoined = false;
    if (isFirst && !this.#isBusy && cursor !== "earliest") {
      this.#cursor = cursor;
      this.#members.set(key, member);
      return this.#openIn(gatherMs);
    }
    if (cursor === "latest" && this.#covers(filters) && this.#stream) return this.#seat(member, this.#cursor);
    if (cursor === "latest" && this.#stream?.canBeAsked && !this.#candidate) return this.#add(member);
    if (cursor === "latest" && this.#cursor === "latest" && !this.#stream) {
      this.#members.set(key, member);
      return this.#isBusy ? this.#changeSoon() : this.#openIn(gatherMs);
    }
    const isClose = isSameEpoch(cursor, this.#cursor) && distance(this.#cursor, cursor) <= NEAR;
    if (isNear && !isCursor(this.#cursor)) this.#cursor = cursor;
    if (!isClose && !isNear) {
      this.#members.delete(key);
      if (known) this.#changeSoon();
      return this.#tell({ kind: "catchup", key });
    }
    this.#members.set(key, member);
    return this.#changeSoon();
  }

  leave(key) {
    if (!this.#members.delete(key)) return;
    if (this.#members.size) this.#changeSoon();
    else this.#rest();
  }

  /** A tab is gone, and its subscriptions with it. */
  gone(tab) {
    for (const { key } of [...this.#members.values()].filter((member) => member.tab === tab)) this.leave(key);
  }

  has(key) {
    return this.#members.has(key);
  }

  /** Whether nothing has come for longer than any transport is let be silent: the tab sleeps, and its timers with it. */
  get isDeaf() {
    const { silenceMax, longPollWait } = this.#caller.options;
    return Boolean(this.#stream) && this.#stream.quietFor > silenceMax + longPollWait;
  }

  // What the page notices.

  /** It may be worth trying at once. */
  wake() {
    if (this.#timers.open !== null && this.state.name === "waiting") {
      this.#backoff.reset();
      this.#openIn(0);
    }
  }

  /** The network is another. What is open may be dead without having been told. */
  networkChanged() {
    this.#ladder.forget();
    this.wake();
    if (this.#stream && !this.#candidate) this.#open(this.#ladder.transport);
  }

  /** The machine may have slept, or the page been hidden. */
  check() {
    this.wake();
    const stream = this.#stream;
    if (!stream || this.#candidate) return;
    if (stream.canBeAsked) stream.ask({ op: "ping" }).catch(() => {});
    else if (stream.quietFor > this.#caller.options.probeTimeout) this.#open(stream.transport);
  }

  close() {
    this.#isClosed = true;
    this.#members.clear();
    this.#rest();
  }

  // Streams.

  get #isBusy() {
    return Boolean(this.#stream || this.#candidate || this.#timers.open !== null || this.#isSifting);
  }

  get #filters() {
    return [...new Set([...this.#members.values()].flatMap((member) => member.filters))];
  }

  #covers(filters) {
    const stream = this.#stream;
    return Boolean(stream) && filters.every((each) => stream.filters.includes(each) && !stream.asked.includes(each));
  }

  #openIn(ms) {
    clearTimeout(this.#timers.open);
    this.#timers.open = setTimeout(() => {
      this.#timers.open = null;
      this.#open(this.#ladder.transport);
    }, Math.min(ms, TIMER_MAX));
  }

  /** Opens a stream of all filters, from where nobody has got beyond. It takes the place of the one there is once proven. */
  #open(transport, isClimbing = false) {
    clearTimeout(this.#timers.open);
    this.#timers.open = null;
    if (this.#isClosed || !this.#members.size) return;
    this.#candidate?.close();
    let start = this.#cursor;
    for (const { hasJoined, cursor } of this.#members.values()) {
      if (!hasJoined && isSameEpoch(cursor, start) && isAhead(start, cursor)) start = cursor;
    }
    this.#isClimbing = isClimbing;
    const isKnown = this.#stream?.transport === transport;
    this.#candidate = new Stream(transport, isKnown, this.#filters, start, this.#caller, this);
    if (!this.#stream) this.#say("connecting", { transport });
    this.#candidate.run();
  }

  onProven(stream, resume, gap) {
    const old = this.#stream;
    this.#stream = stream;
    this.#candidate = null;
    old?.close();
    this.#cursor = stream.start;
    this.#renewals = 0;
    this.#ladder.proven(stream.transport);
    this.#climbLater();
    const isReset = resume === "reset";
    for (const member of this.#members.values()) {
      if (member.hasJoined || !this.#covers(member.filters)) continue;
      // A reset tells all alike. Else who stands in another epoch has missed it, and must be told by itself.
      const isOfOther = isCursor(member.cursor) && !isSameEpoch(member.cursor, stream.start) && !isReset;
      const isBehind = isSameEpoch(member.cursor, stream.start) && isAhead(stream.start, member.cursor);
      if (isOfOther) this.#sendAway(member);
      else if (!isBehind) this.#seat(member, stream.start);
    }
    this.#say("live", { transport: stream.transport });
    if (gap) this.onGap(stream, gap, isReset);
    this.#changeSoon();
  }

  onEvents(stream, events) {
    if (stream !== this.#stream) return;
    this.#cursor = stream.cursor;
    this.#tell({ kind: "events", events });
  }

  onMoved(stream, cursor) {
    if (stream !== this.#stream) return;
    this.#cursor = cursor;
    this.#tell({ kind: "moved", cursor });
  }

  onGap(stream, gap, isReset) {
    if (stream === this.#stream) this.#tell({ kind: "gap", gap, isReset });
  }

  /** The right to read is about to end. One that cannot be renewed ends, and then the stream is opened anew. */
  async onExpiring(stream, address) {
    const { credentials, options } = this.#caller;
    const backoff = new Backoff(options.backoff);
    const ending = credentials.current;
    while (!stream.isEnded) {
      try {
        if (!(await credentials.renew(ending, false)) || stream.isEnded) return;
        if (stream.canBeAsked) await stream.ask({ op: "renew", token: credentials.current });
        else if (address) await this.#caller.send(this.#caller.url(address), { method: "POST", signal: stream.signal });
        return;
      } catch (thrown) {
        // What is refused shows when the time is over: the stream says so itself. The rest may pass before.
        const { kind, delay } = faultOf(thrown, stream.signal);
        if (kind === "refused" || kind === "token") return;
        await pause(backoff.next(delay), stream.signal);
      }
    }
  }

  onEnd(stream, fault) {
    const isCandidate = stream === this.#candidate;
    if (isCandidate) this.#candidate = null;
    else if (stream === this.#stream) this.#stream = null;
    else return;
    if (this.#isClosed || !this.#members.size) return;
    if (stream.isProven && stream.lived >= SETTLED_MS) this.#backoff.reset();
    if (isCandidate && this.#stream) return this.#candidateFailed(stream, fault);
    if (this.#candidate) return; // what is to take its place is under way
    this.#decide(stream, fault);
  }

  /** Another stream is still there. */
  #candidateFailed(candidate, fault) {
    if (this.#isClimbing) {
      this.#ladder.climbFailed();
      this.#climbLater();
      if (this.#isIncomplete) this.#changeSoon();
    } else if (fault.kind === "refused" || fault.kind === "token") {
      const waiting = [...this.#members.values()].filter((each) => !each.hasJoined || !this.#covers(each.filters));
      this.#refusal(fault, candidate.filters, waiting);
    } else if (fault.kind === "later") {
      this.#changeLater(fault);
    } else {
      // What was to be had in its stead can't be had now, so it is taken for lost too: all begin at one cursor again.
      const stream = this.#stream;
      this.#stream = null;
      stream.close();
      this.#decide(stream, fault);
    }
  }

  get #isIncomplete() {
    return this.#filters.some((filter) => !this.#stream?.filters.includes(filter))
      || [...this.#members.values()].some((member) => !member.hasJoined);
  }

  #decide(stream, fault) {
    switch (fault.kind) {
      case "blocked":
        if (this.#ladder.blocked()) this.#open(this.#ladder.transport);
        else this.#wait(this.#backoff.next(fault.delay), fault);
        break;
      case "cut": {
        const isLast = !this.#ladder.cut(stream.lived);
        if (isLast) this.#wait(this.#backoff.next(0, stream.retryMs), fault);
        else this.#open(this.#ladder.transport);
        break;
      }
      case "ended":
        this.#wait(this.#backoff.next(fault.delay, stream.retryMs), fault);
        break;
      case "later":
        this.#ladder.reached();
        this.#wait(this.#backoff.next(fault.delay), fault);
        break;
      default:
        this.#ladder.reached();
        this.#refusal(fault, stream.filters, [...this.#members.values()]);
    }
  }

  #wait(ms, fault) {
    this.#say("waiting", { transport: null, retryAt: Date.now() + ms, error: fault.error });
    this.#openIn(ms);
  }

  /**
   * The server said no to these filters: finds out whose they are, and goes on with the others. If some of them are not
   * wanted any more it may have been them, and nobody is refused but by what is said to it alone.
   */
  async #refusal(fault, asked, members) {
    if (this.#isSifting) return;
    this.#isSifting = true;
    const isOutdated = () => asked.some((filter) => !this.#filters.includes(filter));
    try {
      if (fault.kind === "token" && (await this.#renewed())) return;
      const refused = [];
      for (const member of members) {
        const answer = members.length === 1 && !isOutdated() ? fault : await this.#probe(member);
        if (answer) refused.push([member, answer.error]);
      }
      if (!refused.length && !isOutdated()) refused.push(...members.slice(-1).map((member) => [member, fault.error]));
      for (const [{ key, filters }, error] of refused) {
        if (!this.#members.delete(key)) continue;
        this.#tell({ kind: "refused", key, filters, message: error.message, problem: error.problem, status: error.status });
      }
    } catch (thrown) {
      const passing = faultOf(thrown);
      if (this.#stream) this.#changeLater(passing);
      else this.#wait(this.#backoff.next(passing.delay), passing);
    } finally {
      this.#isSifting = false;
      this.#goOn(fault);
    }
  }

  #goOn(fault) {
    if (this.#isClosed || this.#timers.open !== null) return;
    if (!this.#members.size) this.#rest("refused", fault.error);
    else if (!this.#stream && !this.#candidate) this.#open(this.#ladder.transport);
    else if (this.#isIncomplete) this.#changeSoon();
  }

  /** Gets another token, unless several in a row were no good. */
  async #renewed() {
    const { credentials } = this.#caller;
    if (this.#renewals >= RENEWALS_MAX) {
      this.#renewals = 0;
      return false;
    }
    const isRenewed = await credentials.renew(credentials.current, true);
    this.#renewals += 1;
    return isRenewed;
  }

  /** Asks for one member's filters alone. Gives the fault if the server says no to them. */
  async #probe({ filters }) {
    const patience = new Patience(null);
    patience.allow(this.#caller.options.probeTimeout, () => silent("later"));
    try {
      await this.#caller.probe(filters, patience.signal);
      return null;
    } catch (thrown) {
      const fault = faultOf(thrown, patience.signal);
      if (fault.kind === "refused" || fault.kind === "token") return fault;
      throw fault;
    } finally {
      patience.end();
    }
  }

  // Members.

  /** A member is told that all after the cursor comes to it from now on. */
  #seat(member, cursor) {
    member.hasJoined = true;
    this.#members.set(member.key, member);
    this.#tell({ kind: "joined", key: member.key, cursor });
  }

  #sendAway(member) {
    this.#members.delete(member.key);
    this.#tell({ kind: "catchup", key: member.key });
  }

  /** Adds filters to a WebSocket in place. */
  async #add(member) {
    const stream = this.#stream;
    this.#members.set(member.key, member);
    const added = member.filters.filter((filter) => !this.#covers([filter]));
    stream.filters = [...new Set([...stream.filters, ...added])];
    stream.asked.push(...added);
    try {
      const { cursor } = await stream.ask({ op: "subscribe", topics: added });
      if (this.#members.get(member.key) === member && stream === this.#stream) this.#seat(member, cursor);
    } catch (fault) {
      stream.filters = stream.filters.filter((filter) => !added.includes(filter));
      if (fault.kind === "refused" || fault.kind === "token") this.#refusal(fault, added, [member]);
      else if (fault.kind === "later" && stream === this.#stream) this.#changeLater(fault);
    } finally {
      for (const filter of added) stream.asked.splice(stream.asked.indexOf(filter), 1);
    }
  }

  #changeSoon(ms = GATHER_MS) {
    this.#timers.change ??= setTimeout(() => {
      this.#timers.change = null;
      this.#change();
    }, Math.min(ms, TIMER_MAX));
  }

  /** The server can't take the change just now: the stream that there is goes on meanwhile. */
  #changeLater(fault) {
    this.#changeSoon(this.#backoff.next(fault.delay));
  }

  /** Makes the stream fit the members there are now. One that is on its way is waited for: its end, good or bad, comes here. */
  #change() {
    if (this.#isClosed || this.#isSifting || !this.#members.size || this.#timers.open !== null) return undefined;
    if (this.#candidate && !this.#isClimbing) return undefined;
    const stream = this.#stream;
    if (!stream) return this.#openIn(0);
    if (this.#isIncomplete) return this.#open(stream.transport);
    const wanted = this.#filters;
    const spare = stream.filters.filter((filter) => !wanted.includes(filter));
    if (!spare.length || this.#candidate) return undefined;
    if (!stream.canBeAsked) return this.#open(stream.transport);
    stream.filters = wanted;
    for (const topic of spare) stream.ask({ op: "unsubscribe", topic }).catch(() => {});
    return undefined;
  }

  // Time and state.

  #climbLater() {
    clearTimeout(this.#timers.climb);
    this.#timers.climb = null;
    if (!this.#ladder.better.length) return;
    const ms = this.#caller.options.climbAfter * this.#ladder.climbFactor;
    this.#timers.climb = setTimeout(() => this.#climb(), Math.min(ms * (0.75 + Math.random() / 2), TIMER_MAX));
  }

  /** Tries the better transports beside the one in use, from the best down. */
  #climb() {
    if (!this.#stream || this.#candidate || this.#isSifting) return this.#climbLater();
    const better = this.#ladder.better;
    this.#rung = better[(better.indexOf(this.#rung) + 1) % better.length];
    return this.#open(this.#rung, true);
  }

  #rest(name = "idle", error = null) {
    for (const kind of Object.keys(this.#timers)) {
      clearTimeout(this.#timers[kind]);
      this.#timers[kind] = null;
    }
    this.#stream?.close();
    this.#candidate?.close();
    this.#stream = this.#candidate = null;
    this.#cursor = "latest";
    this.#say(name, { error });
  }

  #say(name, { transport = null, retryAt = null, error = null } = {}) {
    // What can be sent to another tab: an error of ours would arrive there without what makes it one.
    const told = error && { message: error.message, problem: error.problem, status: error.status };
    this.state = { name, transport, retryAt, error: told };
    this.#tell({ kind: "state", state: this.state });
  }
}

// MARK: Seat

/**
 * A tab's seat among the tabs of its origin that use the same server.
 *
 * One holds a lock (Web Locks) and leads: it has the link. The others send it what they want by a BroadcastChannel, and hear what it
 * tells all. When it goes, the browser gives the lock to the next, which asks all where they stand, and goes on. One that holds the
 * lock and does not answer, because it is frozen or hangs, has it taken away.
 *
 * Without a name, or where there are no such locks, a seat leads itself alone.
 */
class Seat {
  #receive;
  #makeLink;
  #options;
  #name;
  #tab = randomText();
  #link = null;
  #leader = null; // the tab that leads
  #channel = null;
  #ending = new AbortController(); // of the seat
  #term = null; // of this tab's lead
  #watched = new Set(); // tabs whose end the leader waits for
  #answerTimer = null;
  #helloTimer = null;
  #held = null; // a promise: the lock that says that this tab lives is held

  /** `receive` is given what the leader says; `members` gives what to tell a new one. */
  constructor(name, makeLink, receive, members, options) {
    this.#name = name;
    this.#makeLink = makeLink;
    this.#receive = receive;
    this.#options = options;
    this.members = members;
    if (name === null) this.#link = makeLink((message) => receive(message));
    else this.#share();
  }

  static get canShare() {
    return typeof BroadcastChannel === "function" && Boolean(globalThis.navigator?.locks?.request);
  }

  get role() {
    if (this.#name === null) return "alone";
    return this.#link ? "leader" : "follower";
  }

  /** A text that is no other tab's, to make names from. */
  get tab() {
    return this.#tab;
  }

  /** Tells the leader. What nobody hears is told again once there is one. */
  post(message) {
    if (this.#link) return this.#handle({ ...message, tab: this.#tab });
    // Not before: a leader that waits for a lock that nobody holds yet takes the tab for gone.
    this.#held.then(() => {
      if (this.#ending.signal.aborted) return;
      if (this.#link) return void this.#handle({ ...message, tab: this.#tab });
      this.#channel.postMessage({ ...message, tab: this.#tab, isForLeader: true });
      this.#expectAnswer();
    });
    return undefined;
  }

  wake(how) {
    if (this.#link) this.#link[how]();
    else this.#hello();
  }

  close() {
    this.#ending.abort(new Fault("ended", new HeraldError("closed")));
    if (this.#name !== null && !this.#link) this.#channel.postMessage({ kind: "gone", tab: this.#tab, isForLeader: true });
    this.#stepDown();
    clearInterval(this.#helloTimer);
    clearTimeout(this.#answerTimer);
    this.#channel?.close();
  }

  #share() {
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#heard(data);
    // Held for as long as the tab lives: who gets it knows that the tab is gone.
    const isMine = { signal: this.#ending.signal };
    this.#held = new Promise((resolve) => {
      navigator.locks.request(`${this.#name} ${this.#tab}`, isMine, () => {
        resolve();
        return aborted(this.#ending.signal);
      }).catch(resolve);
    });
    this.#stand();
    this.#helloTimer = setInterval(() => this.#link ?? this.#hello(), HELLO_MS);
    this.#helloTimer.unref?.();
    if (!this.#link) this.#expectAnswer();
  }

  /** Waits for the lock, leads while it has it, and when it is taken away waits again. */
  async #stand(options = { signal: this.#ending.signal }) {
    try {
      await navigator.locks.request(this.#name, options, () => this.#lead());
    } catch {
      // Closed, or taken away.
    }
    if (this.#ending.signal.aborted) return;
    this.#stepDown();
    this.#stand();
    // Who took it may have said so before this tab noticed.
    this.#receive({ kind: "lead" });
  }

  #lead() {
    if (this.#ending.signal.aborted) return undefined;
    this.#term = new AbortController();
    clearTimeout(this.#answerTimer);
    this.#answerTimer = null;
    this.#leader = this.#tab;
    this.#link = this.#makeLink((message) => {
      this.#channel.postMessage({ ...message, leader: this.#tab });
      this.#receive(message);
    });
    this.#channel.postMessage({ kind: "lead", leader: this.#tab });
    this.#receive({ kind: "lead" });
    return aborted(this.#term.signal);
  }

  #stepDown() {
    this.#term?.abort();
    this.#term = null;
    const link = this.#link;
    this.#link = null;
    this.#leader = null;
    this.#watched.clear();
    link?.close();
  }

  #heard(message) {
    if (message.isForLeader) {
      if (!this.#link) return;
      this.#watch(message.tab);
      this.#handle(message);
      if (this.#link.isDeaf) return; // and have the lead taken away
      this.#channel.postMessage({ kind: "yes", tab: message.tab, leader: this.#tab, state: this.#link.state });
      return;
    }
    // Two may lead for a moment, while one has not noticed that it does no more: it is not heard, for its place is behind.
    if (message.kind === "lead") this.#leader = message.leader;
    this.#leader ??= message.leader;
    if (message.leader !== this.#leader || this.#link) return;
    clearTimeout(this.#answerTimer);
    this.#answerTimer = null;
    if (message.kind !== "yes") this.#receive(message);
    else if (message.tab === this.#tab) this.#receive({ kind: "state", state: message.state });
  }

  #handle(message) {
    const link = this.#link;
    const isOther = message.tab !== this.#tab;
    switch (message.kind) {
      case "join": link.join(message, isOther || this.#watched.size ? TAKEOVER_MS : undefined); break;
      case "leave": link.leave(message.key); break;
      case "gone": link.gone(message.tab); break;
      case "hello":
        for (const member of message.members) {
          if (!link.has(member.key)) link.join({ ...member, tab: message.tab }, TAKEOVER_MS);
        }
        break;
      default: break;
    }
  }

  /** The leader waits for the end of a tab, which may not have the time to say good-bye. */
  #watch(tab) {
    if (this.#watched.has(tab)) return;
    this.#watched.add(tab);
    const isTerm = { signal: this.#term.signal };
    navigator.locks.request(`${this.#name} ${tab}`, isTerm, () => {
      this.#watched.delete(tab);
      this.#link?.gone(tab);
    }).catch(() => {});
  }

  /** Makes sure that somebody leads, and that it knows what this tab wants. */
  #hello() {
    this.post({ kind: "hello", members: this.members() });
  }

  /** A leader answers whatever it is told. One that does not is no more. */
  #expectAnswer() {
    if (this.#answerTimer !== null) return;
    // Drawn, so that of many tabs one is first, and the others hear of it.
    const ms = this.#options.probeTimeout * (1 + Math.random());
    this.#answerTimer = setTimeout(() => {
      this.#answerTimer = null;
      if (!this.#link && !this.#ending.signal.aborted) this.#steal();
    }, ms);
  }

  /** Takes the lock. The request that waits for it in turn is left to wait: it is for the time after. */
  async #steal() {
    try {
      await navigator.locks.request(this.#name, { steal: true }, () => this.#lead());
    } catch {
      // Taken away in turn.
    }
    if (this.#ending.signal.aborted) return;
    this.#stepDown();
    this.#receive({ kind: "lead" });
  }
}

const aborted = (signal) => new Promise((resolve) => {
  signal.addEventListener("abort", () => resolve());
  if (signal.aborted) resolve();
});

/** Sixteen bytes by chance, as hexadecimal digits. `crypto.randomUUID` is not there on pages without TLS. */
function randomText() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// MARK: What a page uses

/** Throws what a page's own code threw where an uncaught error goes, so that what comes after it still happens. */
function report(thrown) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(thrown);
  else queueMicrotask(() => { throw thrown; });
}

/** A subscription to all topics that match its filters. Every event comes once, in order. */
export class Subscription extends EventTarget {
  #reader;

  /** Made by `Herald.subscribe`. */
  constructor(reader) {
    super();
    this.#reader = reader;
  }

  get filters() {
    return this.#reader.filters;
  }

  get cursor() {
    return this.#reader.cursor;
  }

  get isLive() {
    return this.#reader.isLive;
  }

  get isClosed() {
    return this.#reader.isClosed;
  }

  close() {
    this.#reader.close();
  }
}

/** What is behind a subscription: where it stands, and what it hands on. */
class Reader {
  #owner;
  #handler;
  #hasJoined = false;
  #ending = new AbortController();

  /** `owner` is told: `onClosed(reader)`, `onCatchingUp`, `onCaughtUp`, and `onRefused(reader, error)` by its polls. */
  constructor(key, filters, handler, cursor, owner) {
    this.key = key;
    this.filters = Object.freeze(filters);
    this.cursor = cursor;
    this.isLive = false;
    this.isClosed = false;
    this.catchingUp = null; // how it does, while it reads up to the present by itself: what can be a state
    this.subscription = new Subscription(this);
    this.#handler = handler;
    this.#owner = owner;
  }

  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isLive = false;
    this.#ending.abort(new Fault("ended", new HeraldError("closed")));
    this.#owner.onClosed(this);
  }

  /** What the leader is to know of it; null while it is not to have any of the stream. */
  get wish() {
    if (this.isClosed || this.catchingUp) return null;
    return { key: this.key, filters: this.filters, cursor: this.cursor };
  }

  /** What came from the link, if it is for all. */
  take(message, isLinkLive) {
    if (this.isClosed || !this.#hasJoined) return;
    switch (message.kind) {
      case "events": for (const event of message.events) this.#event(event); break;
      case "moved": this.#moved(message.cursor); break;
      case "gap": this.#gap(message.gap, message.isReset); break;
      case "state": this.#setLive(isLinkLive); break;
      default: break;
    }
  }

  /** It is to join anew: another leads, or this tab does. */
  unseat() {
    this.#hasJoined = false;
    this.#setLive(false);
  }

  joined(cursor, isLinkLive) {
    if (this.isClosed || this.catchingUp) return;
    this.#hasJoined = true;
    if (!isCursor(this.cursor)) this.cursor = cursor;
    this.#setLive(isLinkLive);
  }

  refused(error) {
    if (this.isClosed) return;
    this.close();
    this.#dispatch("refused", error);
  }

  /** Reads up to the newest event by polls of its own, and then joins. */
  async catchUp(caller) {
    if (this.isClosed || this.catchingUp) return;
    this.unseat();
    this.#says({ name: "connecting" });
    const backoff = new Backoff(caller.options.backoff);
    let renewals = 0;
    for (let isBehind = true; isBehind && !this.isClosed;) {
      const patience = new Patience(this.#ending.signal);
      patience.allow(2 * caller.options.probeTimeout, () => silent("later"));
      let wait = 0;
      try {
        const answer = await caller.poll(this.filters, { after: this.cursor }, patience.signal);
        backoff.reset();
        renewals = 0;
        if (!this.isClosed && answer.gap) this.#gap(answer.gap, answer.resume === "reset");
        for (const event of answer.events) this.#event(event);
        this.#moved(answer.next);
        isBehind = answer.isFull;
      } catch (thrown) {
        const fault = faultOf(thrown, patience.signal);
        try {
          if (fault.kind === "token") renewals += 1;
          wait = await this.#mend(fault, caller, backoff, renewals);
        } catch {
          this.catchingUp = null;
          return this.#owner.onRefused(this, fault.error);
        }
        if (wait) this.#says({ name: "waiting", retryAt: Date.now() + wait, error: fault.error });
      } finally {
        patience.end();
      }
      if (!wait) continue;
      await pause(wait, this.#ending.signal);
      this.#says({ name: "connecting" });
    }
    this.catchingUp = null;
    if (!this.isClosed) this.#owner.onCaughtUp(this);
    return undefined;
  }

  #says(state) {
    this.catchingUp = state;
    if (!this.isClosed) this.#owner.onCatchingUp(this);
  }

  /** How long to wait before another try. Throws if there is none. */
  async #mend(fault, { credentials }, backoff, tries) {
    if (fault.kind === "refused") throw fault;
    if (fault.kind !== "token") return backoff.next(fault.delay);
    try {
      if (tries <= RENEWALS_MAX && (await credentials.renew(credentials.current, true))) return 0;
    } catch (thrown) {
      return backoff.next(faultOf(thrown).delay);
    }
    throw fault;
  }

  #event(event) {
    if (this.isClosed || !isAhead(event.id, this.cursor)) return;
    this.cursor = event.id;
    if (!this.filters.some((filter) => matches(filter, event.topic))) return;
    try {
      this.#handler(event, this.subscription);
    } catch (thrown) {
      report(thrown);
    }
  }

  #moved(cursor) {
    if (!this.isClosed && isAhead(cursor, this.cursor)) this.cursor = cursor;
  }

  /** Tells of a gap once, and only if it concerns it: the stream has the filters of others too, and may begin before its place. */
  #gap(gap, isReset) {
    if (isReset ? isSameEpoch(gap.to, this.cursor) : !isAhead(gap.to, this.cursor)) return;
    if (gap.topic !== "**" && !this.filters.includes(gap.topic)) return;
    this.#dispatch(isReset ? "reset" : "gap", gap);
  }

  #setLive(isLive) {
    if (this.isLive === isLive) return;
    this.isLive = isLive;
    if (isLive) this.#dispatch("live", null);
  }

  #dispatch(name, detail) {
    this.subscription.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A client of one server. One serves a whole page: its subscriptions share one connection. */
export class Herald extends EventTarget {
  #caller;
  #shareName = null;
  #shared = null; // the seat among tabs
  #own = null; // the seat of subscriptions that the tab that leads may not have
  #readers = new Map(); // by key: { reader, seat }
  #states = new Map(); // by seat
  #state = { name: "idle", transport: null, role: "alone", retryAt: null, error: null };
  #count = 0;
  #owner = { // of readers
    onClosed: ({ key }) => this.#left(key),
    onCatchingUp: ({ key }) => this.#showState(this.#readers.get(key)?.seat),
    onCaughtUp: (reader) => this.#join(reader, this.#readers.get(reader.key)?.seat, true),
    onRefused: (reader, error) => this.#refusedAlone(reader, error),
  };
  #ticks = null;
  #lastTick = Date.now();
  #isClosed = false;
  #listeners = [
    ["online", () => this.#wake("networkChanged")],
    ["offline", () => this.#wake("check")],
    ["visibilitychange", () => globalThis.document?.visibilityState === "visible" && this.#wake("check")],
    ["pageshow", (event) => event.persisted && this.#wake("check")],
  ];

  constructor(url, options = {}) {
    super();
    const base = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (!/^https?:$/.test(base.protocol)) throw new TypeError(`the server's address begins with ${base.protocol}`);
    base.search = base.hash = "";
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    const given = { ...DEFAULTS, ...withoutUndefined(options) };
    checkOptions(given);
    const hasWebSocket = given.WebSocket !== null && typeof (given.WebSocket ?? globalThis.WebSocket) === "function";
    given.transports = given.transports.filter((transport) => transport !== "websocket" || hasWebSocket);
    if (!given.transports.length) throw new TypeError("there is no WebSocket here, and no other transport is allowed");
    this.#caller = new Caller(base, given);
    if (given.share && Seat.canShare) this.#shareName = `herald ${base.href} ${given.share}`;
  }

  get url() {
    return new URL(this.#caller.base);
  }

  get state() {
    return this.#state;
  }

  subscribe(filters, handler, { after = "latest", signal } = {}) {
    if (this.#isClosed) throw new HeraldError("this client was closed");
    const list = [...new Set(typeof filters === "string" ? [filters] : filters)];
    if (!list.length || !list.every((filter) => typeof filter === "string" && filter)) {
      throw new TypeError("a subscription needs filters that are texts");
    }
    if (typeof handler !== "function") throw new TypeError("a subscription needs a function that takes its events");
    if (after !== "latest" && after !== "earliest" && !isCursor(after)) throw new TypeError(`${after} is no cursor`);
    const seat = this.#seat();
    const reader = new Reader(`${seat.tab} ${(this.#count += 1)}`, list, handler, after, this.#owner);
    this.#readers.set(reader.key, { reader, seat });
    if (signal?.aborted) reader.close();
    else signal?.addEventListener("abort", () => reader.close(), { once: true });
    queueMicrotask(() => this.#join(reader, seat)); // who asked has to have it first, to hear what is told of it
    return reader.subscription;
  }

  async publish(topic, data, { type, contentType, idempotencyKey = randomText(), retries = 3, signal } = {}) {
    const isBytes = data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob;
    const isText = typeof data === "string";
    const assumed = isText ? "text/plain; charset=utf-8" : isBytes ? "application/octet-stream" : "application/json";
    const body = isText || isBytes ? data : JSON.stringify(data);
    if (body === undefined) throw new TypeError("an event needs data");
    const headers = { "Content-Type": contentType ?? assumed, "Idempotency-Key": idempotencyKey };
    if (type !== undefined) headers["Herald-Type"] = type;
    if (topic.split("/").some((segment) => /^\.\.?$/.test(segment))) {
      throw new TypeError(`${topic} can't stand in an address: . and .. are taken out of it`);
    }
    const path = `v1/events/${encodeURI(topic).replace(/[?#]/g, encodeURIComponent)}`;
    const backoff = new Backoff(this.#caller.options.backoff);
    const { credentials, options } = this.#caller;
    for (let tries = 0, renewals = 0; ; ) {
      const patience = new Patience(signal);
      // The body has to get there in this time too.
      patience.allow(6 * options.probeTimeout, () => silent("blocked"));
      try {
        const response = await this.#caller.send(this.#caller.url(path), {
          method: "POST", headers, body, signal: patience.signal,
        });
        return await response.json();
      } catch (thrown) {
        if (signal?.aborted) throw signal.reason;
        const fault = faultOf(thrown, patience.signal);
        const mayRenew = fault.kind === "token" && (renewals += 1) <= RENEWALS_MAX;
        if (mayRenew && (await renewedOrNot(credentials))) continue;
        if (fault.kind === "token" || fault.kind === "refused" || (tries += 1) > retries) throw fault.error;
        await pause(backoff.next(fault.delay), signal);
        if (signal?.aborted) throw signal.reason;
      } finally {
        patience.end();
      }
    }
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { reader } of [...this.#readers.values()]) reader.close();
    this.#shared?.close();
    this.#own?.close();
    for (const [name, listener] of this.#listeners) removeGlobalListener(name, listener);
    clearInterval(this.#ticks);
    this.#setState({ name: "closed", transport: null, role: this.#state.role, retryAt: null, error: null });
  }

  // Seats.

  #seat() {
    if (!this.#ticks) this.#listen();
    if (this.#shareName === null) return this.#ownSeat();
    this.#shared ??= this.#makeSeat(this.#shareName);
    return this.#shared;
  }

  #ownSeat() {
    this.#own ??= this.#makeSeat(null);
    return this.#own;
  }

  #makeSeat(name) {
    const seat = new Seat(
      name,
      (tell) => new Link(this.#caller, tell),
      (message) => this.#receive(seat, message),
      () => this.#of(seat).map((reader) => reader.wish).filter(Boolean),
      this.#caller.options);
    return seat;
  }

  #of(seat) {
    return [...this.#readers.values()].filter((entry) => entry.seat === seat).map((entry) => entry.reader);
  }

  #join(reader, seat, isNear = false) {
    const wish = reader.wish;
    if (wish) seat.post({ kind: "join", ...wish, isNear });
  }

  #left(key) {
    const entry = this.#readers.get(key);
    this.#readers.delete(key);
    if (!entry || this.#isClosed) return;
    entry.seat.post({ kind: "leave", key });
    this.#showState(entry.seat);
  }

  #receive(seat, message) {
    const isLive = () => this.#states.get(seat)?.name === "live";
    const of = this.#readers.get(message.key);
    switch (message.kind) {
      case "lead":
        for (const reader of this.#of(seat)) {
          reader.unseat();
          this.#join(reader, seat);
        }
        this.#showState(seat);
        break;
      case "joined": if (of?.seat === seat) of.reader.joined(message.cursor, isLive()); break;
      case "catchup": if (of?.seat === seat) of.reader.catchUp(this.#caller); break;
      case "refused": if (of?.seat === seat) this.#refused(of, message); break;
      case "state":
        this.#states.set(seat, message.state);
        for (const reader of this.#of(seat)) reader.take(message, isLive());
        this.#showState(seat);
        break;
      default: for (const reader of this.#of(seat)) reader.take(message, isLive()); break;
    }
  }

  /** Refused by the token of the tab that leads. If that is another, this tab asks for itself. */
  #refused(entry, { message, problem, status }) {
    const { reader, seat } = entry;
    if (seat.role !== "follower") return reader.refused(new HeraldError(message, { problem, status }));
    reader.unseat();
    entry.seat = this.#ownSeat();
    return this.#join(reader, entry.seat);
  }

  /** Its own polls were refused, by the token of this tab. */
  #refusedAlone(reader, error) {
    const seat = this.#readers.get(reader.key)?.seat;
    reader.refused(error);
    if (this.#state.name !== "idle") return;
    this.#states.set(seat, { name: "refused", error });
    this.#showState(seat);
  }

  #showState(seat) {
    // Where there are two seats, the one among the tabs is the one to show.
    if (this.#isClosed || (this.#shared && seat !== this.#shared)) return;
    const ofLink = this.#states.get(seat) ?? { name: "idle" };
    // A link without members is at rest, but those who are not to be members yet may be at work.
    const isAtRest = ofLink.name === "idle" || ofLink.name === "refused";
    const atWork = isAtRest ? this.#of(seat).map((reader) => reader.catchingUp ?? { name: "connecting" }) : [];
    const shown = atWork.find(({ name }) => name === "waiting") ?? atWork[0] ?? ofLink;
    const { name, transport = null, retryAt = null, error = null } = shown;
    const asError = error && (error instanceof HeraldError ? error : new HeraldError(error.message, error));
    this.#setState({ name, transport, role: seat?.role ?? "alone", retryAt, error: asError });
  }

  #setState(state) {
    const old = this.#state;
    this.#state = Object.freeze(state);
    const isSame = ["name", "transport", "role", "retryAt"].every((key) => old[key] === state[key]);
    if (!isSame) this.dispatchEvent(new CustomEvent("state", { detail: this.#state }));
  }

  // What the page and the machine do.

  #listen() {
    for (const [name, listener] of this.#listeners) addGlobalListener(name, listener);
    this.#lastTick = Date.now();
    this.#ticks = setInterval(() => {
      const now = Date.now();
      if (now - this.#lastTick > SLEPT_MS) this.#wake("check");
      this.#lastTick = now;
    }, TICK_MS);
    this.#ticks.unref?.();
  }

  #wake(how) {
    this.#shared?.wake(how);
    this.#own?.wake(how);
  }
}

const globalOf = (name) => (name === "visibilitychange" ? globalThis.document : globalThis);
const addGlobalListener = (name, listener) => globalOf(name)?.addEventListener?.(name, listener);
const removeGlobalListener = (name, listener) => globalOf(name)?.removeEventListener?.(name, listener);

/** Another token, unless there is none to be had. */
async function renewedOrNot(credentials) {
  try {
    return await credentials.renew(credentials.current, true);
  } catch {
    return false;
  }
}

const withoutUndefined = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

function checkOptions(options) {
  for (const name of ["probeTimeout", "silenceMax", "climbAfter", "longPollWait", "shortPollInterval"]) {
    if (!(options[name] > 0)) throw new TypeError(`${name} is to be a number of milliseconds above 0, and is ${options[name]}`);
  }
  const { transports, token, backoff = {} } = options;
  for (const [name, value] of Object.entries({ ...BACKOFF, ...withoutUndefined(backoff) })) {
    if (!(value > 0)) throw new TypeError(`backoff.${name} is to be a number of milliseconds above 0, and is ${value}`);
  }
  if (!Array.isArray(transports) || !transports.length) throw new TypeError("transports is to be a list");
  for (const transport of transports) {
    if (!DEFAULTS.transports.includes(transport)) throw new TypeError(`there is no transport ${transport}`);
  }
  if (token !== undefined && token !== null && typeof token !== "string" && typeof token !== "function") {
    throw new TypeError("token is to be a text or a function");
  }
}
