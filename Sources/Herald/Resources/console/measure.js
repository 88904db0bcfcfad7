// What became of the lab's events on one transport: how late they came, whether all came, and what a cut did.
//
// That nothing was lost is not taken on trust. Each publish that was confirmed has a sequence. Once a reader's cursor
// has passed it, the event must have come: else it was lost, or a gap has said so.

import { Buckets, Timeline } from "./draw.js";
import { parseCursor } from "./server.js";

const RECENT_MAX = 2000; // latencies of which the median is told
const EXPECTED_MAX = 50_000; // events not yet held against the cursor; older ones are then left unchecked
const DOTS_MAX = 4000;
const NOTHING = { lost: 0, repeated: 0, told: 0 };

export class Measure {
  constructor() { this.clear(0); }

  /** Begins anew, with the events whose number is greater: of the others some have come, and some will. */
  clear(number) {
    this.after = number;
    this.buckets = new Buckets();
    this.recent = []; // latencies of events that came live, a ring
    this.events = 0;
    this.repeated = 0;
    this.lost = 0;
    this.told = 0; // events that a gap told of
    this.checked = 0;
    this.gaps = [];
    this.dots = [];
    this.asks = [];
    // A cut that is not over stays.
    this.cut = this.cut?.backAt === null ? { ...this.cut, late: 0, latest: 0, before: NOTHING } : null; // the last one
    this.cuts = this.cut ? [{ from: this.cut.at, to: null }] : []; // as drawn
    this.expected = [];
    this.received = new Set(); // numbers that came, until they have been checked
    this.last = null; // the cursor of the event that came last
  }

  /** An event was published, so it has to come. */
  expect(entry) {
    if (entry.number <= this.after) return;
    this.expected.push(entry);
    if (this.expected.length > EXPECTED_MAX) this.expected.shift();
  }

  /** An event of the lab's came; now: performance.now(). */
  take(event, now) {
    const place = parseCursor(event.id);
    if (this.last?.epoch === place.epoch && place.sequence <= this.last.sequence) {
      this.repeated += 1;
      return;
    }
    this.last = place;
    const { n, sent } = event.data;
    if (n <= this.after) return;
    const ms = now - sent;
    // Sent while nothing could come: how late it is says how long the line was cut, not what the transport can do.
    const isLate = this.cut !== null && sent < (this.cut.backAt ?? Infinity);
    this.events += 1;
    this.received.add(n);
    if (isLate) {
      this.cut.late += 1;
      this.cut.latest = Math.max(this.cut.latest, ms);
    } else if (!document.hidden) {
      this.buckets.add(ms);
      this.recent[(this.buckets.total - 1) % RECENT_MAX] = ms;
    }
    this.dots.push({ at: now, ms, isLate });
    if (this.dots.length > DOTS_MAX) this.dots.shift();
  }

  answered(isEmpty, now) {
    this.asks.push({ at: now, isEmpty });
    if (this.asks.length > DOTS_MAX) this.asks.shift();
  }

  gap(gap) {
    this.gaps.push(gap);
    const epoch = gap.reason === "epoch" && parseCursor(gap.cursor)?.epoch;
    if (!epoch) return;
    // The server has begun anew, and has said so: what it had before will not come.
    const before = this.expected.filter((entry) => entry.epoch !== epoch);
    this.expected = this.expected.filter((entry) => entry.epoch === epoch);
    this.checked += before.length;
    this.told += before.filter(({ number }) => !this.received.delete(number)).length;
  }

  /** The line was cut, for so many seconds. */
  cutFor(seconds, now) {
    this.cut = {
      at: now, seconds, backAt: null, late: 0, latest: 0,
      before: { lost: this.lost, repeated: this.repeated, told: this.told },
    };
    const past = this.cuts.map(({ from, to }) => ({ from, to: to ?? now }));
    this.cuts = [...past.filter(({ to }) => now - to < Timeline.WINDOW_MS), { from: now, to: null }];
  }

  /** The reader is connected again. */
  back(now) {
    if (!this.cut || this.cut.backAt !== null) return;
    this.cut.backAt = now;
    this.cuts.at(-1).to = now;
  }

  /** Holds what was published against what came up to the cursor. */
  check(cursor) {
    const place = parseCursor(cursor);
    const isPassed = (entry) => entry?.epoch === place?.epoch && entry?.sequence <= place?.sequence;
    let index = 0;
    for (; place && isPassed(this.expected[index]); index += 1) {
      const { number, sequence } = this.expected[index];
      this.checked += 1;
      if (this.received.delete(number)) continue;
      if (this.#isTold(sequence)) this.told += 1;
      else this.lost += 1;
    }
    if (index) this.expected.splice(0, index);
    this.#forget(performance.now());
  }

  /** Whether all that was published before the reader was back has been checked. */
  get isCutSettled() {
    return this.cut?.backAt != null && !this.expected.some(({ sentAt }) => sentAt < this.cut.backAt);
  }

  /** The latency that such a share of the recent events did not exceed; null if there were none. */
  percentiles(shares) {
    if (!this.recent.length) return shares.map(() => null);
    const sorted = this.recent.toSorted((a, b) => a - b);
    return shares.map((share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]);
  }

  #isTold(sequence) {
    return this.gaps.some((gap) => {
      if (gap.reason === "epoch") return false; // met when it came
      return parseCursor(gap.from).sequence <= sequence && sequence <= parseCursor(gap.to).sequence;
    });
  }

  #forget(now) {
    const isPast = ({ at }) => now - at > Timeline.WINDOW_MS;
    for (const list of [this.dots, this.asks]) {
      const first = list.findIndex((each) => !isPast(each));
      if (first > 0) list.splice(0, first);
      else if (first < 0) list.length = 0;
    }
    if (this.gaps.length > 100) this.gaps.splice(0, this.gaps.length - 100);
  }
}
