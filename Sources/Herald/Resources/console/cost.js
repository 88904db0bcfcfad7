// What reading costs on the wire, as far as a page can know it.
//
// Measured: bodies of answers, as the browser says how long they were when they came (PerformanceResourceTiming), and
// the bytes read from streams. Counted by the standard: WebSocket frames, for which browsers tell nothing. Estimated:
// heads of requests and answers, as HTTP/1.1 writes them. Not counted: TLS, TCP, and pings, which browsers hide.

const encoder = new TextEncoder();

export const lengthOf = (text) => encoder.encode(text).length;

/** Bytes of a frame with such a payload (RFC 6455, section 5.2); what a browser sends is masked. */
export function frameLength(payloadLength, isMasked) {
  const extended = payloadLength < 126 ? 0 : payloadLength < 65_536 ? 2 : 8;
  return 2 + extended + (isMasked ? 4 : 0) + payloadLength;
}

// What a browser adds to each request of its own. Cookies are left out: a page can't see those that matter.
const ADDED_BY_BROWSERS = [
  `Host: ${location.host}`, "Connection: keep-alive", `User-Agent: ${navigator.userAgent}`, "Accept: */*",
  "Accept-Encoding: gzip, deflate, br, zstd", `Accept-Language: ${navigator.languages.join()}`,
  "Cache-Control: no-cache", "Pragma: no-cache",
  "Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin",
];

const headLength = (lines) => lines.reduce((sum, line) => sum + lengthOf(line) + 2, 2);

/** About how long the head of a request is. */
export function requestHeadLength(method, url, headers) {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return headLength([`${method} ${url.pathname}${url.search} HTTP/1.1`, ...ADDED_BY_BROWSERS, ...fields]);
}

/** About how long the head of an answer was: our own server's headers are all there to be seen. */
export function answerHeadLength(response) {
  const fields = [...response.headers].map(([name, value]) => `${name}: ${value}`);
  return headLength([`HTTP/1.1 ${response.status} ${response.statusText}`, ...fields]);
}

// The handshake's key, version, extensions; and the answer's accept, whose length the standard fixes.
const SOCKET_REQUEST = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: herald.v1",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"];
const SOCKET_ANSWER = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
  "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Sec-WebSocket-Protocol: herald.v1"];

export const socketRequestLength = (url) =>
  headLength([`GET ${url.pathname}${url.search} HTTP/1.1`, ...ADDED_BY_BROWSERS, ...SOCKET_REQUEST]);

export const socketAnswerLength = (extensions) =>
  headLength(extensions ? [...SOCKET_ANSWER, `Sec-WebSocket-Extensions: ${extensions}`] : SOCKET_ANSWER);

/** What one reader has cost. */
export class Cost {
  constructor() {
    this.open = 0; // requests and sockets that are open now
    this.clear();
  }

  /** Begins anew; what is open stays open. */
  clear() {
    this.requests = 0;
    this.answers = 0; // to polls
    this.emptyAnswers = 0; // 200 without events
    this.unchangedAnswers = 0; // 304
    this.received = 0; // bytes of bodies and frames
    this.receivedHeads = 0;
    this.sent = 0; // bytes of heads
  }

  began(headBytes) {
    this.requests += 1;
    this.open += 1;
    this.sent += headBytes;
  }

  ended() { this.open -= 1; }

  get empty() { return this.emptyAnswers + this.unchangedAnswers; }
}
