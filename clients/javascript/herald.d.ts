// Types of herald.js. Durations are in milliseconds throughout.

/** How events come, from the one that costs least to the one that always works. */
export type Transport = "websocket" | "sse" | "longpoll" | "shortpoll";

/** An event as the server has it. `Data` is what its publisher sent: parsed JSON, a text, or bytes. */
export interface HeraldEvent<Data = unknown> {
  /** `<epoch>-<sequence>`; also a cursor: everything after this event. */
  readonly id: string;
  readonly topic: string;
  /** Missing if the publisher gave none. */
  readonly type?: string;
  /** When the server took it, RFC 3339 in UTC. */
  readonly time: string;
  readonly datacontenttype: string;
  /** Bytes that are neither JSON nor text are a `Uint8Array`. */
  readonly data: Data;
}

/** What may be missing. It may say more than was lost, never less. */
export interface Gap {
  /** The filter concerned, or `**` if there are several. */
  readonly topic: string;
  /** The first id that may be missing; after a reset, the cursor that was given. */
  readonly from: string;
  /** The last one. */
  readonly to: string;
  /** No longer kept; left out for a slow reader by the server's rules; or the server has begun anew. */
  readonly reason: "evicted" | "conflated" | "epoch";
}

/** An error as the server tells it (RFC 9457). */
export interface Problem {
  /** Stable, e.g. `/problems/bad-filter`. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly [member: string]: unknown;
}

/** What the server refused, or what kept it from being asked. */
export class HeraldError extends Error {
  /** The server's own words; null if it said nothing that was one. */
  readonly problem: Problem | null;
  /** The answer's status; 0 if there was none. */
  readonly status: number;
}

/**
 * A token or API key, or what gives one. A function is called when one is first needed, and again when the server says
 * that the last has expired or is about to. It gives null if there is none, and what it throws is an outage, after which it
 * is asked again.
 */
export type Token = string | (() => string | null | Promise<string | null>);

export interface HeraldOptions {
  token?: Token;
  /** Those that may be used, best first. Default: all four. */
  transports?: readonly Transport[];
  /**
   * Whether tabs of one origin share one connection. Tabs share with those that have the same server and the same
   * text here; `true` is a text too. Give each user another, e.g. their id, if tabs may belong to several. Default: `true`
   * in pages and their workers; elsewhere `false`, since there not all code with the same locks need have the same user.
   */
  share?: boolean | string;
  /** How long a transport has to show that bytes come through. Default: 5,000. */
  probeTimeout?: number;
  /**
   * After how long without a sign of life a stream is given up: half as much again as three of the server's heartbeats
   * unless it is less. Default: 75,000. On a WebSocket the server says how often its heart beats, and three beats are it.
   */
  silenceMax?: number;
  /** When a better transport is tried again; doubles with each try that fails, up to sixteen times this. Default: 15,000. */
  climbAfter?: number;
  /** Bounds of the wait before another try, which doubles and is drawn anew each time; above 0. Default: 500 and 30,000. */
  backoff?: { first?: number; max?: number };
  /** How long the server may hold a poll. Default: 25,000. */
  longPollWait?: number;
  /** The time between two short polls. Default: 2,000. */
  shortPollInterval?: number;
  /** For a server of another origin that knows its users by a cookie: `include`. */
  credentials?: RequestCredentials;
  /** What to use instead of the global `fetch` and `WebSocket`. Without a WebSocket that transport is left out. */
  fetch?: typeof fetch;
  WebSocket?: typeof WebSocket | null;
}

/** What the connection is doing. */
export interface HeraldState {
  /**
   * `idle`: no subscription. `connecting`: also while all there are read up to the present. `waiting`: will try again at
   * `retryAt`. `refused`: the server said no to all there is.
   */
  readonly name: "idle" | "connecting" | "live" | "waiting" | "refused" | "closed";
  /** The one in use or being tried; null if there is none. */
  readonly transport: Transport | null;
  /** Whether this tab has the connection, for itself (`alone`) or others too (`leader`), or gets events from one that has. */
  readonly role: "alone" | "leader" | "follower";
  /** Date.now() of the next try, while waiting. */
  readonly retryAt: number | null;
  /** Why it is not live. */
  readonly error: HeraldError | null;
}

export interface SubscribeOptions {
  /**
   * Where to start: after an event's id, with the oldest that is kept (`earliest`), or with the next (`latest`, the
   * default). A cursor of a server that has begun anew since gives a `reset`, and then all that is kept.
   */
  after?: string | "earliest" | "latest";
  /** Ends the subscription. */
  signal?: AbortSignal;
}

export interface PublishOptions {
  /** The event's type. */
  type?: string;
  /** Default: `text/plain; charset=utf-8` for a text, `application/octet-stream` for bytes, else `application/json`. */
  contentType?: string;
  /** Names the event for the server, which publishes it once whatever is repeated. Default: one that is drawn. */
  idempotencyKey?: string;
  /** How often a publish that was not answered, or with "later", is tried again. Default: 3. */
  retries?: number;
  signal?: AbortSignal;
}

/** What became of a publish. */
export interface Receipt {
  readonly id: string;
  readonly topic: string;
  readonly time: string;
  /** Live readers whose filters matched. */
  readonly receivers: number;
}

interface HeraldEvents {
  /** The state has changed. */
  state: CustomEvent<HeraldState>;
}

interface SubscriptionEvents {
  /** From now on events come as they are published. Once after each start or loss of connection. */
  live: CustomEvent<null>;
  /** Some events are no longer kept: read your state anew from its source. */
  gap: CustomEvent<Gap>;
  /** The server has begun anew and what came before is not known: the same. */
  reset: CustomEvent<Gap>;
  /** The server said no, and would again. The subscription has ended. */
  refused: CustomEvent<HeraldError>;
}

/** A subscription to all topics that match its filters. Every event comes once, in order. */
export class Subscription extends EventTarget {
  readonly filters: readonly string[];
  /** Where it stands: `after` of another subscription that is to go on from here, in another page or on another day. */
  readonly cursor: string;
  /** Whether events come as they are published just now. */
  readonly isLive: boolean;
  readonly isClosed: boolean;
  /** Ends it. No event is handed on after this. */
  close(): void;
  addEventListener<Name extends keyof SubscriptionEvents>(
    name: Name, listener: (event: SubscriptionEvents[Name]) => void, options?: boolean | AddEventListenerOptions): void;
}

/** A client of one server. One serves a whole page: its subscriptions share one connection. */
export class Herald extends EventTarget {
  /** `url`: where the server is, e.g. `https://events.example.com`; in a page also relative to it. */
  constructor(url: string | URL, options?: HeraldOptions);
  readonly url: URL;
  readonly state: HeraldState;
  /**
   * Calls `handler` for each event from now on, or from `after`, until the subscription is closed. Reconnects and goes on
   * by itself. What the handler throws is reported as an uncaught error, and the next event comes all the same.
   * Nothing is told of the subscription before it is returned.
   */
  subscribe<Data = unknown>(
    filters: string | readonly string[],
    handler: (event: HeraldEvent<Data>, subscription: Subscription) => void,
    options?: SubscribeOptions): Subscription;
  /**
   * Publishes one event. A text and bytes are sent as they are, everything else as JSON. Tries again with the same
   * idempotency key when it was not answered or the server said "later". Throws `HeraldError`.
   */
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<Receipt>;
  /** Ends all subscriptions and the connection. */
  close(): void;
  addEventListener<Name extends keyof HeraldEvents>(
    name: Name, listener: (event: HeraldEvents[Name]) => void, options?: boolean | AddEventListenerOptions): void;
}
