// The lab's publisher: events at a steady rate, each with its number and the time at which it was sent.
//
// It publishes through a WebSocket of its own, so as not to compete with the readers for the browser's connections;
// where WebSockets do not get through, by POST. While the page is hidden it rests: browsers then slow its timers down.

import { randomName } from "./dom.js";
import { TryLater, access, inWords, parseCursor, pause, publish, socketAddress } from "./server.js";

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 8000;
const OPEN_WITHIN_MS = 3000;
const PENDING_MAX = 1000; // publishes without an answer; then it waits for answers
const FILLING = "abcdefghijklmnopqrstuvwxyz0123456789";

/** Text that compresses about as badly as what people send: of letters alone deflate would leave nothing. */
function filling(length) {
  let text = "";
  while (text.length < length) text += FILLING[Math.floor(Math.random() * FILLING.length)];
  return text;
}

/** Tells its listener of `confirmed({number, epoch, sequence, sentAt})` and `changed()`. */
export class Publisher {
  run = randomName(); // whose events these are: others may publish to the topic, too
  number = 0;
  confirmed = 0;
  way = ""; // "WebSocket" or "POST"
  note = "";
  settings = { rate: 2, size: 100 };
  #abort = null;
  #pending = new Map(); // number: when it was sent

  constructor(listener) { this.listener = listener; }

  get isRunning() { return this.#abort !== null; }

  start(topic) {
    this.stop();
    this.topic = topic;
    this.#abort = new AbortController();
    this.#keepPublishing(this.#abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.#pending.clear();
    this.#tell("");
  }

  async #keepPublishing(signal) {
    let attempts = 0;
    while (!signal.aborted) {
      const before = this.confirmed;
      try {
        const socket = await this.#open(signal);
        await (socket ? this.#publishBy(socket, signal) : this.#publishByPost(signal));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof TryLater)) {
          this.stop();
          this.#tell(`Publishing was refused. ${error.message}`);
          return;
        }
        if (this.confirmed > before) attempts = 0;
        const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts++);
        this.#pending.clear(); // whether these were published is not known: nobody is to expect them
        this.#tell(`Publishing is interrupted: ${error.message}.`);
        await pause(Math.max(error.afterMs, ceiling / 2 + (Math.random() * ceiling) / 2), signal);
      }
    }
  }

  /** Opens a WebSocket. Gives null if none gets through. */
  #open(signal) {
    return new Promise((resolve) => {
      const socket = new WebSocket(socketAddress(), "herald.v1");
      const give = (result) => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
        if (!result) abandon(socket);
        resolve(result);
      };
      const timer = setTimeout(() => give(null), OPEN_WITHIN_MS);
      socket.onopen = () => give(socket);
      socket.onclose = () => give(null);
      signal.addEventListener("abort", () => give(null), { once: true });
    });
  }

  async #publishBy(socket, signal) {
    this.way = "WebSocket";
    let failure = null;
    const closed = new Promise((resolve) => { socket.onclose = resolve; });
    closed.then(({ code, reason }) => { failure ??= new TryLater(`closed, ${code} ${reason}`.trim()); });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.control === "published") this.#confirm(message.ref, message.id);
      else if (message.control === "error") failure = this.#refusal(message) ?? failure;
    };
    try {
      await this.#beat(signal, () => {
        if (failure) throw failure;
        const event = this.#next();
        socket.send(JSON.stringify({ op: "publish", ref: event.n, topic: this.topic, data: event }));
      });
    } finally {
      socket.onmessage = null;
      abandon(socket);
    }
  }

  /** What an `error` means: null if only this event was not published, and later ones may be. */
  #refusal(message) {
    this.#pending.delete(message.ref);
    if (message.status === 401) access.need(inWords(message));
    if (message.status !== 429 && message.status < 500) return new Error(inWords(message));
    this.#tell(`Some events were not published: ${inWords(message)}.`);
    return null;
  }

  async #publishByPost(signal) {
    this.way = "POST";
    let failure = null;
    await this.#beat(signal, () => {
      if (failure) throw failure;
      const event = this.#next();
      publish(this.topic, JSON.stringify(event), { contentType: "application/json", signal })
        .then((receipt) => this.#confirm(event.n, receipt.id), (error) => { failure = error; });
    });
  }

  /** Calls send at the rate set, a little unevenly: else events would march in step with a poll's interval. */
  async #beat(signal, send) {
    let due = performance.now();
    while (!signal.aborted) {
      if (!document.hidden && this.#pending.size < PENDING_MAX) send();
      const interval = 1000 / this.settings.rate;
      due = Math.max(due, performance.now() - interval) + interval * (0.5 + Math.random());
      await this.#until(due, interval, signal);
    }
  }

  /** Waits; a rate that is changed meanwhile counts at once. */
  async #until(due, interval, signal) {
    while (performance.now() < due && !signal.aborted && interval === 1000 / this.settings.rate) {
      await pause(Math.min(250, due - performance.now()), signal);
    }
  }

  #next() {
    this.number += 1;
    const event = { run: this.run, n: this.number, sent: performance.now(), pad: "" };
    event.pad = filling(Math.max(0, this.settings.size - JSON.stringify(event).length));
    event.sent = performance.now();
    this.#pending.set(event.n, event.sent);
    return event;
  }

  #confirm(number, id) {
    const sentAt = this.#pending.get(number);
    if (sentAt === undefined) return;
    this.#pending.delete(number);
    this.confirmed += 1;
    this.listener.confirmed({ number, ...parseCursor(id), sentAt });
  }

  #tell(note) {
    this.note = note;
    this.listener.changed();
  }
}

/** Closes a socket; one that is not open yet as soon as it is: to close it before is an error in the browser's log. */
function abandon(socket) {
  if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(1000);
  else socket.close(1000);
}
