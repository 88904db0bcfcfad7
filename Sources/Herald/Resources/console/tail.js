// The live tail: what is published, as it is, by herald.js, which chooses the transport and comes back by itself.
//
// Pausing keeps the place, not the connection: nothing is held in the page meanwhile, and going on reads from there.

import { Herald } from "../herald.js";
import { byId, copy, count, counted, milliseconds, node, timeOfDay, words, write } from "./dom.js";
import { access } from "./server.js";

const ROWS_MAX = 500;
const KEPT_MAX = 20_000_000; // characters of data of all rows together
const SEARCHED_MAX = 20_000; // of each, that a search looks into
const PREVIEW_MAX = 300; // characters of data in a row
const DETAIL_MAX = 200_000; // and beside it
const TRANSPORT_NAMES = {
  websocket: "WebSocket", sse: "Server-Sent Events", longpoll: "long-poll", shortpoll: "short-poll",
};
const REASONS = {
  evicted: "no longer kept", epoch: "the server has begun anew", conflated: "left out because this reader was slow",
};

/** An event's data as text: JSON in full, bytes by their number and first values. */
function textOf(event, indent) {
  if (event.data instanceof Uint8Array) {
    const shown = [...event.data.slice(0, 64)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return `${counted(event.data.length, "byte")}: ${shown}${event.data.length > 64 ? " …" : ""}`;
  }
  return typeof event.data === "string" ? event.data : JSON.stringify(event.data, null, indent) ?? "";
}

const shortened = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

/** A row that is no event, but says what became of them. */
function markRow(kind, text) {
  const time = node("time", "", timeOfDay(new Date(), true));
  const row = node("li", `mark ${kind}`, undefined, time, node("span", "", text));
  row.setAttribute("role", "option"); // a list to choose from has nothing else
  row.setAttribute("aria-disabled", "true");
  return row;
}

export class Tail {
  title = "Live tail";
  #herald = null;
  #subscription = null;
  #cursor = null; // where it was paused
  #pending = []; // rows of the next frame
  #rows = new Map(); // element: {event, text to search in, length of its data}
  #kept = 0; // characters of data in the rows
  #selected = null; // a row
  #chosen = null; // what it shows, also after the row has gone
  #received = 0;
  #transport = null;
  #isLossTold = false;

  constructor({ onChange }) {
    this.onChange = onChange;
    this.list = byId("tail-rows");
    byId("tail-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.isRunning) this.pause();
      else this.start();
    });
    for (const id of ["tail-filter", "tail-after"]) byId(id).addEventListener("input", () => this.#forgetPlace());
    byId("tail-clear").addEventListener("click", () => this.#clear());
    byId("tail-search").addEventListener("input", () => this.#search());
    byId("tail-copy-id").addEventListener("click", () => this.#copy("id", ({ event }) => event.id));
    byId("tail-copy-data").addEventListener("click", () => this.#copy("data", ({ event }) => textOf(event)));
    byId("tail-from-here").addEventListener("click", () => this.#readFrom(this.#chosen.event.id));
    this.list.addEventListener("click", ({ target }) => this.#select(target.closest(".event")));
    this.list.addEventListener("keydown", (event) => this.#key(event));
    access.addEventListener("changed", () => this.#useToken());
    this.#showState();
    this.#showButtons();
    this.#showDetail();
  }

  get isRunning() { return this.#subscription !== null; }

  // As an area of the page

  show({ filter, after } = {}) {
    if (!filter) return;
    byId("tail-filter").value = filter;
    byId("tail-after").value = after ?? "latest";
    this.#end();
    this.#clear();
    this.start();
  }

  hide() {}

  // Reading

  start() {
    if (!byId("tail-form").reportValidity()) return;
    const after = this.#cursor ?? (byId("tail-after").value.trim() || "latest");
    const isResumed = this.#cursor !== null;
    this.#end();
    this.#herald ??= this.#connect();
    let subscription;
    try {
      subscription = this.#herald.subscribe(words(byId("tail-filter").value), (event) => this.#take(event), { after });
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#subscription = subscription;
    subscription.addEventListener("live", () => this.#mark("live", "Live from here on."));
    subscription.addEventListener("gap", ({ detail }) => this.#markGap("Gap", detail));
    subscription.addEventListener("reset", ({ detail }) => this.#markGap("Reset", detail));
    subscription.addEventListener("refused", ({ detail }) => {
      if (this.#subscription === subscription) this.#refuse(detail);
    });
    if (isResumed) this.#mark("note", `Going on from ${after}.`);
    this.#showState();
    this.#showButtons();
  }

  pause() {
    if (!this.isRunning) return;
    this.#cursor = this.#subscription.cursor;
    this.#end();
    byId("tail-after").value = this.#cursor;
    this.#mark("note", `Paused at ${this.#cursor}.`);
    this.#showState();
    this.#showButtons();
  }

  #connect() {
    const herald = new Herald(new URL(".", document.baseURI), access.token
      ? { token: access.token, share: false } // other tabs may have another token
      : { share: "console" });
    herald.addEventListener("state", ({ detail }) => {
      if (herald === this.#herald) this.#follow(detail);
    });
    return herald;
  }

  #end() {
    this.#subscription?.close();
    this.#subscription = null;
  }

  #refuse(error) {
    this.#end();
    if (error.status === 401) access.need(error.message);
    this.#mark("refused", `Refused. ${error.problem?.detail ?? error.message}`);
    this.#showState({ name: "refused", error });
    this.#showButtons();
  }

  /** Whoever writes where to begin does not go on from the pause. */
  #forgetPlace() {
    this.#cursor = null;
    this.#showState();
    this.#showButtons();
  }

  #readFrom(cursor) {
    byId("tail-after").value = cursor;
    this.#cursor = null;
    this.#end();
    this.start();
  }

  /** With another token from the same place. */
  #useToken() {
    const wasRunning = this.isRunning;
    if (wasRunning) this.#cursor = this.#subscription.cursor;
    this.#end();
    this.#herald?.close();
    this.#herald = null;
    if (wasRunning) this.start();
  }

  #follow(state) {
    if (state.name === "live") {
      if (this.#transport && state.transport !== this.#transport) {
        this.#mark("note", `Now by ${TRANSPORT_NAMES[state.transport]}.`);
      }
      this.#transport = state.transport;
      this.#isLossTold = false;
    } else if (state.name === "waiting" && this.isRunning && !this.#isLossTold) {
      this.#mark("note", `Not connected: ${state.error?.message ?? "the connection was lost"}. Tries again.`);
      this.#isLossTold = true; // once, however often it is tried
    }
    this.#showState(state);
  }

  // What came

  #take(event) {
    this.#received += 1;
    this.#push(() => this.#eventRow(event));
  }

  #mark(kind, text) {
    this.#push(() => markRow(kind, text));
  }

  #markGap(what, { topic, from, to, reason }) {
    const kind = reason === "conflated" ? "stall" : what.toLowerCase();
    this.#push(() => {
      const row = markRow(kind, `${what} in ${topic}: ${REASONS[reason] ?? reason}, ${from} to ${to}.`);
      row.dataset.reason = reason;
      return row;
    });
  }

  /** Keeps a row for the next frame: a burst is then laid out once, and a hidden tab keeps no more than it shows. */
  #push(makeRow) {
    if (this.#pending.length === 0) requestAnimationFrame(() => this.#render());
    this.#pending.push(makeRow);
    if (this.#pending.length > ROWS_MAX) this.#pending.shift();
  }

  #render() {
    this.list.prepend(...this.#pending.reverse().map((make) => make()));
    this.#pending = [];
    while (this.list.childElementCount > ROWS_MAX || (this.#kept > KEPT_MAX && this.list.childElementCount > 1)) {
      const oldest = this.list.lastElementChild;
      this.#kept -= this.#rows.get(oldest)?.length ?? 0;
      this.#rows.delete(oldest);
      oldest.remove();
    }
    this.#showCount();
  }

  #eventRow(event) {
    const text = textOf(event);
    const time = node("time", "", timeOfDay(new Date(event.time), true));
    time.dateTime = event.time;
    const preview = shortened(text.slice(0, 4 * PREVIEW_MAX).replace(/\s+/g, " "), PREVIEW_MAX);
    const row = node("li", "event", undefined, time, node("span", "topic", event.topic),
      node("span", "type", event.type ?? ""), node("span", "data", preview));
    row.id = `row-${event.id}`;
    row.dataset.id = event.id;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", "false");
    const searched = `${event.id} ${event.topic} ${event.type ?? ""} ${text.slice(0, SEARCHED_MAX)}`.toLowerCase();
    const entry = { event, text: searched, length: text.length };
    this.#rows.set(row, entry);
    this.#kept += text.length;
    row.hidden = !this.#isFound(entry);
    return row;
  }

  // Search

  #isFound({ text }) {
    return text.includes(byId("tail-search").value.trim().toLowerCase());
  }

  #search() {
    for (const [row, entry] of this.#rows) row.hidden = !this.#isFound(entry);
    this.#showCount();
  }

  // Selection

  #select(row) {
    if (!row) return;
    this.#selected?.setAttribute("aria-selected", "false");
    this.#selected = row;
    this.#chosen = this.#rows.get(row);
    row.setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", row.id);
    this.#bringIntoView(row);
    this.#showDetail();
  }

  /** Scrolls the list, and not the page as scrollIntoView would. */
  #bringIntoView(row) {
    const [outer, inner] = [this.list.getBoundingClientRect(), row.getBoundingClientRect()];
    if (inner.top < outer.top) this.list.scrollTop -= outer.top - inner.top;
    else if (inner.bottom > outer.bottom) this.list.scrollTop += inner.bottom - outer.bottom;
  }

  #key(event) {
    const rows = [...this.list.querySelectorAll(".event:not([hidden])")];
    const at = rows.indexOf(this.#selected);
    const to = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || !rows.length) return;
    event.preventDefault();
    this.#select(rows[Math.min(to, rows.length - 1)]);
  }

  #showDetail() {
    const entry = this.#chosen;
    byId("tail-detail").hidden = !entry;
    byId("tail-detail-empty").hidden = Boolean(entry);
    write(byId("tail-copied"), "");
    if (!entry) return;
    const { event } = entry;
    write(byId("detail-id"), event.id);
    write(byId("detail-topic"), event.topic);
    write(byId("detail-type"), event.type ?? "–");
    write(byId("detail-time"), event.time);
    write(byId("detail-content-type"), event.datacontenttype);
    write(byId("detail-data"), shortened(textOf(event, 2), DETAIL_MAX));
    byId("tail-publish-like").href = `#publish?${new URLSearchParams({ topic: event.topic })}`;
  }

  async #copy(what, of) {
    const isCopied = await copy(of(this.#chosen));
    write(byId("tail-copied"), isCopied ? `The ${what} is copied.` : "This browser lets the page copy nothing.");
  }

  // What is shown

  #clear() {
    this.#pending = [];
    this.#rows.clear();
    this.#kept = 0;
    this.#selected = null;
    this.#chosen = null;
    this.#received = 0;
    this.list.removeAttribute("aria-activedescendant");
    this.list.replaceChildren();
    this.#showCount();
    this.#showDetail();
  }

  #showCount() {
    const shown = [...this.#rows.keys()].filter((row) => !row.hidden).length;
    const isSearched = byId("tail-search").value.trim() !== "";
    const found = isSearched ? `${count(shown)} of the last ${count(this.#rows.size)} found`
      : this.#received > this.#rows.size ? `the last ${count(this.#rows.size)} shown` : "";
    const total = this.#received ? counted(this.#received, "event") : "";
    write(byId("tail-count"), [total, found].filter(Boolean).join(", "));
    byId("tail-empty").hidden = this.list.childElementCount > 0;
  }

  #showState(state = this.#herald?.state) {
    const isOpen = this.isRunning || state?.name === "refused";
    const name = isOpen ? state?.name ?? "idle" : this.#cursor ? "paused" : "idle";
    const element = byId("tail-state");
    element.dataset.state = name;
    write(element.querySelector(".state-name"), name);
    write(byId("tail-way"), isOpen ? wayOf(state) : "");
    write(byId("tail-empty"), this.isRunning ? "Waiting for events." : "Choose a filter and start.");
    this.onChange(this.isRunning);
  }

  #showButtons() {
    const button = byId("tail-start");
    write(button, this.isRunning ? "Pause" : this.#cursor ? "Go on" : "Start");
    button.classList.toggle("primary", !this.isRunning);
  }
}

/** How it is connected, in words. */
function wayOf(state) {
  if (!state) return "";
  const by = state.transport ? `by ${TRANSPORT_NAMES[state.transport]}` : "";
  const role = state.role === "follower" ? "through another tab" : "";
  const retry = state.retryAt ? `tries again in ${milliseconds(Math.max(0, state.retryAt - Date.now()))}` : "";
  return [by, role, retry, state.error?.message].filter(Boolean).join(", ");
}
