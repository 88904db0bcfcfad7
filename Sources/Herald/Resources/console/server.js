// Asking the server: addresses, cursors, the token, answers that are not successes, publishing.

// MARK: Cursors

/** Splits "5f3a9c1e-42". Sequences have 64 bits, more than a Number holds, so BigInt. */
export function parseCursor(text) {
  const match = /^([0-9a-f]{8})-(\d{1,20})$/.exec(text ?? "");
  return match && { epoch: match[1], sequence: BigInt(match[2]) };
}

/** Whether a stands before b in the same epoch. Cursors of two epochs have no order. */
export function isBefore(a, b) {
  const [left, right] = [parseCursor(a), parseCursor(b)];
  return Boolean(left && right && left.epoch === right.epoch && left.sequence < right.sequence);
}

// MARK: The token

const TOKEN_KEY = "herald.token";

/** What use makes of the tab's storage; nothing where the browser keeps it from pages. */
function stored(use) {
  try {
    return use(sessionStorage);
  } catch {
    return undefined;
  }
}

/**
 * The token that requests come with, once the server has asked for one. It is in this object, and in the tab's storage
 * only if its owner says so. Fires `needed` when the server asks, and `changed`.
 */
class Access extends EventTarget {
  token = stored((storage) => storage.getItem(TOKEN_KEY)) ?? null;

  set(token, isKept) {
    this.token = token;
    stored((storage) => (token && isKept ? storage.setItem(TOKEN_KEY, token) : storage.removeItem(TOKEN_KEY)));
    this.dispatchEvent(new Event("changed"));
  }

  /** The server has said 401, and why. */
  need(why) {
    this.dispatchEvent(new CustomEvent("needed", { detail: why }));
  }

  get headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }
}

export const access = new Access();

// MARK: Errors

/** The server has said no, and would say so again: trying later is of no use. */
export class Refused extends Error {}

/** The server can't serve just now; it may have said when to come back. */
export class TryLater extends Error {
  constructor(message, afterMs = 0) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** A problem in words. */
export const inWords = (problem) => [problem.title, problem.detail].filter(Boolean).join(": ");

/** Makes an Error of an answer that is not a success, from its problem+json when it has one. */
export async function failure(response) {
  let text = `${response.status} ${response.statusText}`.trim();
  try {
    text = inWords(await response.json()) || text;
  } catch {
    // Not Herald's answer; a proxy's page tells us no more than its status does.
  }
  if (response.status === 401) access.need(text);
  const isPassing = response.status >= 500 || response.status === 408 || response.status === 429;
  if (!isPassing) return new Refused(text);
  return new TryLater(text, 1000 * (Number(response.headers.get("Retry-After")) || 0));
}

// MARK: Requests

/** An address of the server. The page may lie behind a prefix, so all are relative to it. */
export function address(path, parameters = []) {
  const query = new URLSearchParams(parameters).toString();
  return new URL(query ? `${path}?${query}` : path, document.baseURI);
}

/** The address of a WebSocket; a browser's can set no headers, so the token stands in it. */
export function socketAddress(parameters = []) {
  const url = address("v1/events", access.token ? [...parameters, ["access_token", access.token]] : parameters);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** Asks with the token. Throws what went wrong unless the status is a success, or 304. */
export async function ask(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { cache: "no-store", ...options, headers: { ...access.headers, ...options.headers } });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new TryLater("the server does not answer");
  }
  if (!response.ok && response.status !== 304) throw await failure(response);
  return response;
}

/** Turns "latest" into an id. Else what is published between a loss and the first event would be skipped. */
export async function anchored(cursor, filters, signal) {
  if (cursor !== "latest") return cursor;
  const parameters = [...filters.map((filter) => ["topic", filter]), ["after", "latest"], ["max", "1"]];
  return (await (await ask(address("v1/events", parameters), { signal })).json()).next;
}

/** Publishes one event and gives the receipt. The data go as they are. */
export async function publish(topic, data, { type, contentType, signal } = {}) {
  const headers = { "Content-Type": contentType };
  if (type) headers["Herald-Type"] = type;
  const path = topic.split("/").map(encodeURIComponent).join("/");
  const response = await ask(address(`v1/events/${path}`), { method: "POST", headers, body: data, signal });
  return response.json();
}

/** By what protocol the page came: "http/1.1", "h2" or "h3"; empty if the browser does not tell. */
export const protocol = () => performance.getEntriesByType("navigation")[0]?.nextHopProtocol ?? "";

export const isMultiplexed = () => /^h[23]/.test(protocol());

/** Waits, but not past the signal. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) { resolve(); return; }
    const end = () => { clearTimeout(timer); signal?.removeEventListener("abort", end); resolve(); };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}
