// What six connections do: over HTTP/1.1 a browser opens six to a host, and each event stream keeps one. The rest wait,
// and so does a publish. Beside it the same over one WebSocket, which is not among the six.

import { byId, counted, milliseconds, node, write } from "./dom.js";
import { access, address, inWords, isMultiplexed, publish, socketAddress } from "./server.js";

const STREAMS = 8;
const SHOW_MS = 200;
const SETTLE_MS = 700; // for those streams to open that can
const CLOSE_AFTER_MS = 60_000; // nothing else of this host gets through meanwhile, in other tabs either

export class Limit {
  #run = null;

  constructor({ topic, onRoomNeeded }) {
    this.topic = topic;
    this.onRoomNeeded = onRoomNeeded;
    byId("limit-open").addEventListener("click", () => (this.isOpen ? this.close() : this.#open()));
    byId("limit-one").addEventListener("click", () => this.#closeOne());
    const rows = (id, noun) => Array.from({ length: STREAMS }, (_, index) => {
      const parts = [node("span", "dot"), node("span", "", `${noun} ${index + 1}`), node("span", "limit-state")];
      const row = node("li", "", undefined, ...parts);
      byId(id).append(row);
      return row;
    });
    this.rows = { streams: rows("limit-streams", "Stream"), subscriptions: rows("limit-subscriptions", "Filter") };
    this.#show();
  }

  get isOpen() { return this.#run !== null && !this.#run.isClosed; }

  /** Closes whatever is open. What was seen stays to be read. */
  close() {
    if (!this.isOpen) return;
    const run = this.#run;
    clearInterval(run.timer);
    clearTimeout(run.end);
    run.before = countStates(run.streams.map((stream) => streamState(stream, performance.now())));
    run.isClosed = true;
    for (const { source } of run.streams) source.close();
    run.socket.close(1000);
    run.abort.abort();
    this.#show();
    this.#showButtons();
  }

  #open() {
    this.onRoomNeeded(); // the lab's own readers would take some of the six
    const topic = this.topic();
    const now = performance.now();
    const run = {
      topic, at: now, abort: new AbortController(), post: null, batch: null, heard: new Set(),
      streams: Array.from({ length: STREAMS }, (_, index) => this.#stream(`${topic}/${index + 1}`)),
      timer: setInterval(() => this.#show(), SHOW_MS),
      end: setTimeout(() => this.close(), CLOSE_AFTER_MS),
    };
    this.#run = run;
    this.#subscribe(run);
    setTimeout(() => this.#post(run), SETTLE_MS);
    this.#show();
    this.#showButtons();
  }

  #stream(filter) {
    const parameters = [["topic", filter], ["after", "latest"]];
    // EventSource can set no headers: a token has to stand in its address.
    if (access.token) parameters.push(["access_token", access.token]);
    const source = new EventSource(address("v1/events", parameters));
    const stream = { source, at: performance.now(), openAt: null, events: 0 };
    source.onopen = () => { stream.openAt ??= performance.now(); };
    source.onmessage = () => { stream.events += 1; };
    return stream;
  }

  #closeOne() {
    const open = this.#run?.streams.find(({ source }) => source.readyState === EventSource.OPEN);
    open?.source.close();
    this.#show();
  }

  /** The same subscriptions on one socket, and a publish to each through it. */
  #subscribe(run) {
    const socket = new WebSocket(socketAddress(), "herald.v1");
    run.socket = socket;
    const filters = Array.from({ length: STREAMS }, (_, index) => `${run.topic}/${index + 1}`);
    socket.onopen = () => socket.send(JSON.stringify({ op: "subscribe", topics: filters }));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.control === "subscribed") {
        run.isSubscribed = true;
        setTimeout(() => this.#publishAll(run, filters), SETTLE_MS);
      } else if (message.control === "error") run.fault = inWords(message);
      else if (message.id) {
        run.heard.add(message.topic);
        if (run.heard.size === STREAMS) run.batch.ms = performance.now() - run.batch.at;
      }
    };
    socket.onclose = ({ code }) => { if (code !== 1000) run.fault ??= `The WebSocket was closed, ${code}.`; };
  }

  #publishAll(run, filters) {
    if (run.isClosed || run.socket.readyState !== WebSocket.OPEN) return;
    run.batch = { at: performance.now(), ms: null };
    for (const topic of filters) run.socket.send(JSON.stringify({ op: "publish", topic, data: "by the WebSocket" }));
  }

  /** A publish as any page would do it. */
  async #post(run) {
    if (run.isClosed) return;
    run.post = { at: performance.now(), ms: null, fault: "" };
    try {
      await publish(`${run.topic}/post`, "by POST", { contentType: "text/plain", signal: run.abort.signal });
      run.post.ms = performance.now() - run.post.at;
    } catch (error) {
      run.post.fault = run.abort.signal.aborted ? "It was never sent." : error.message;
    }
    this.#show();
  }

  // What is shown

  #show() {
    const run = this.#run;
    const now = performance.now();
    const states = { streams: [], subscriptions: [] };
    for (let index = 0; index < STREAMS; index += 1) {
      states.streams.push(streamState(run?.streams[index], now));
      const hasHeard = run?.heard.has(`${run.topic}/${index + 1}`);
      const subscription = run?.isClosed ? ["idle", "closed"] : ["open", hasHeard ? "open, got 1 event" : "open"];
      states.subscriptions.push(run?.isSubscribed ? subscription : ["idle", ""]);
    }
    for (const [name, rows] of Object.entries(this.rows)) {
      rows.forEach((row, index) => {
        [row.dataset.state] = states[name][index];
        write(row.lastElementChild, states[name][index][1]);
      });
    }
    write(byId("limit-post"), !run?.post ? "" : run.post.fault || (run.post.ms === null
      ? `A publish by POST has been waiting for ${milliseconds(now - run.post.at)}.`
      : `A publish by POST was answered after ${milliseconds(run.post.ms)}.`));
    byId("limit-post").dataset.state = !run?.post ? "idle" : run.post.ms === null ? "waiting" : "done";
    write(byId("limit-batch"), run?.fault ?? (run?.batch?.ms == null ? ""
      : `${STREAMS} publishes through it, and their events back, took ${milliseconds(run.batch.ms)}.`));
    this.#showVerdict(states.streams, run, now);
  }

  #showVerdict(states, run, now) {
    const verdict = byId("limit-verdict");
    const counts = countStates(states);
    Object.assign(verdict.dataset, counts);
    if (!run) {
      write(verdict, isMultiplexed()
        ? "This page came by HTTP/2, where all streams share one connection: the limit of six does not bite."
        : "The lab and the live tail are stopped first: they would take some of the six.");
      return;
    }
    if (run.isClosed) {
      write(verdict, `Closed. ${run.before.open} of ${STREAMS} streams were open, ${run.before.waiting} waited.`);
      return;
    }
    const left = Math.max(0, Math.ceil((run.at + CLOSE_AFTER_MS - now) / 1000));
    const isShared = isMultiplexed() && !counts.waiting;
    const why = isShared ? "over HTTP/2 they share one connection" : `${counts.waiting} wait for a connection`;
    write(verdict, `${counts.open} of ${STREAMS} streams are open, ${why}. Closes by itself in ${left} s.`);
  }

  #showButtons() {
    write(byId("limit-open"), this.isOpen ? "Close all" : `Open ${STREAMS} streams`);
    byId("limit-open").classList.toggle("primary", !this.isOpen);
    byId("limit-one").disabled = !this.isOpen;
  }
}

function countStates(states) {
  const [open, waiting] = ["open", "waiting"].map((name) => states.filter(([state]) => state === name).length);
  return { open, waiting };
}

function streamState(stream, now) {
  if (!stream) return ["idle", ""];
  const { source, at, openAt, events } = stream;
  if (source.readyState === EventSource.CLOSED) return ["idle", "closed"];
  if (source.readyState === EventSource.CONNECTING) return ["waiting", `waiting, ${milliseconds(now - at)}`];
  return ["open", events ? `open, got ${counted(events, "event")}` : `open after ${milliseconds(openAt - at)}`];
}
