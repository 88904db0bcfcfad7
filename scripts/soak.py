#!/usr/bin/env python3
"""Churns all transports of a release server for a while, and demands that nothing was lost and nothing has grown.

Readers come by WebSocket, SSE, NDJSON, long-poll and short-poll, over HTTP/1.1 and HTTP/2, plain and by TLS, compressed
and not. They are cut, stall, go away for a while, and resume by their cursors, now by this transport, now by that. What
each of them got is judged against what was published: each event came once, in order, or lies in a gap. What the server
keeps is at its bound from the beginning. After the warm-up, and at the end, all clients leave, and the server's memory
and descriptors are looked at. The status is 1 if an event was lost or repeated, if resident memory has grown by more
than 5 % since the warm-up, or if there are more descriptors than at the start. In less than three minutes the warm-up
is too short to tell growth.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import zlib
from array import array
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests" / "Clients"))

import faults  # noqa: E402
from certificates import Authority  # noqa: E402
from conftest import Server  # noqa: E402
from helpers import HANDSHAKE, Closed, RawWebSocket, epoch, eventually, sequence  # noqa: E402
from ledger import Ledger, judge  # noqa: E402
from readers import Item  # noqa: E402
from relay import Relay  # noqa: E402

GROWTH_MAX = 0.05
# So little that the traffic puts new events in the place of all of them within a minute or so: events to which nobody
# has listened have no frames, and memory grows until all have been replaced by such as have.
RETAINED_BYTES = 8 << 20
GROUP_COUNT = 4
TOPICS = [f"soak/{group}/{number}" for group in range(GROUP_COUNT) for number in range(8)]
# The last group keeps so little that who stays away is told of a gap.
FLAGS = (
    "--loops", 2, "--heartbeat", f"{faults.HEARTBEAT_MS}ms", "--retain-events", 100_000, "--retain-bytes", "1MiB",
    "--memory-limit", RETAINED_BYTES, "--idempotency-keys", 1000, "--log-level", "warning",
    "--rule", f"soak/{GROUP_COUNT - 1}/* retain-events=10",
)  # fmt: skip
SIZES = (20, 2500)  # of an event's data, bytes
# What is compared has to have been made by the same traffic: sessions that last longer stall and catch up more often.
WARM_UP_SHARE, WARM_UP_SECONDS_MAX = 0.4, 480
SAMPLE_SECONDS = 5
REST_SECONDS = 6


# Sessions that ask for compression.


class ZippedSSESession(faults.SSESession):
    """One gzip member, of which each event can be inflated as it comes."""

    def begin(self):
        self.ask({"Accept": "text/event-stream", "Accept-Encoding": "gzip"}, 200)
        self.text, self.inflater = b"", zlib.decompressobj(31)
        self._inflate(self.connection.buffer)
        self.connection.buffer = b""

    def _inflate(self, data):
        self.text += self.inflater.decompress(data)

    def read(self):
        while b"\n\n" not in self.text:
            data = self.connection.socket.recv(65536)
            if not data:
                raise Closed("the stream ended")
            self._inflate(data)
        block, _, self.text = self.text.partition(b"\n\n")
        lines = [line.partition(":") for line in block.decode().split("\n") if line]
        return faults.items_of_block([(name, value.removeprefix(" ")) for name, _, value in lines])


class DeflatedWebSocketSession(faults.WebSocketSession):
    """permessage-deflate, each message by itself."""

    def begin(self):
        path = faults.target(self.filters, after=self.after)
        self.connection.request("GET", path, {**HANDSHAKE, "Sec-WebSocket-Extensions": "permessage-deflate"})
        response = self.connection.read_response()
        faults.expect(response, 101)
        assert "permessage-deflate" in response.headers["sec-websocket-extensions"], response

    def _read_frame(self):
        first, payload = RawWebSocket.read_raw_frame(self.connection)
        if first & 0x40:
            payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
        return first & 0x0F, payload


KINDS = {**faults.SESSIONS, "sse-gzip": ZippedSSESession, "websocket-deflate": DeflatedWebSocketSession}


# Who reads and who publishes.


class SoakReader(faults.FaultReader):
    """Comes by any of the relays; at times reads little, or not at all for a while, or stays away. Keeps of an event
    what it takes to judge it."""

    def __init__(self, traffic, number, filters, topics, start):
        chance = random.Random(f"{traffic.seed}/{number}")
        transport = list(KINDS)[number % len(KINDS)]
        wire = faults.Wire(chance)
        super().__init__(
            traffic.ledger, None, transport, filters, start, wire, kinds=KINDS, patience=traffic.seconds + 120
        )
        self.traffic, self.topics, self.start_cursor = traffic, topics, start
        self.sequences, self.numbers, self.places, self.gaps = array("Q"), array("Q"), array("B"), []
        self.stalls = self.rests = 0

    def _go_on(self):
        chance = self.wire.chance
        is_quiet = self.traffic.is_ending.is_set()
        if not is_quiet and chance.random() < 0.1:
            self.rests += 1
            time.sleep(chance.uniform(0, 4))
        self.server = chance.choice(self.traffic.relays)
        self.wire.sips = not is_quiet and chance.random() < 0.15
        super()._go_on()

    def _note(self, item):
        super()._note(item)
        self.items.clear()
        if item.kind == "event":
            self.sequences.append(sequence(item.id))
            self.numbers.append(item.data["n"])
            self.places.append(TOPICS.index(item.body["topic"]))
        elif item.kind in ("gap", "reset"):
            self.gaps.append((len(self.sequences), item))
        if self.traffic.is_ending.is_set():
            self.wire.sips = False
        elif self.wire.chance.random() < 0.002:
            self.stalls += 1
            time.sleep(self.wire.chance.uniform(0.5, 3))

    def seen(self):
        """The items, in the order in which they came."""
        name, gaps = epoch(self.start_cursor), iter([*self.gaps, (None, None)])
        at, gap = next(gaps)
        for index in range(len(self.sequences) + 1):
            while at == index:
                yield gap
                at, gap = next(gaps)
            if index < len(self.sequences):
                body = {"id": f"{name}-{self.sequences[index]}", "topic": TOPICS[self.places[index]]}
                yield Item("event", {**body, "data": {"n": self.numbers[index]}})


class Traffic:
    """Readers and a publisher for some time; what became of it."""

    def __init__(self, server, options, seconds, name):
        self.server, self.seconds, self.seed = server, seconds, f"{options.seed}/{name}"
        self.chance = random.Random(self.seed)
        self.is_ending = threading.Event()
        self.ledger = Ledger()
        self.relays = [Relay(side) for side in (server, server.secure) for _ in range(2)]
        start = server.poll(TOPICS[0], after="latest")["next"]
        self.ledger.begin_epoch(start)
        self.cuts = 0
        self.publisher = faults.FaultPublisher(
            self.ledger, lambda: server, TOPICS, self.chance, count=sys.maxsize, size=SIZES, pace=options.pace
        )
        self.readers = [SoakReader(self, number, *self._filters(number), start) for number in range(options.readers)]
        self.start = start

    @staticmethod
    def _filters(number):
        """A group by a wildcard, or a topic; and the topics that it matches."""
        group = f"soak/{number % GROUP_COUNT}"
        if number % 3:
            return f"{group}/*", {each for each in TOPICS if each.startswith(group)}
        topic = TOPICS[number % len(TOPICS)]
        return topic, {topic}

    def run(self):
        for thread in (self.publisher, *self.readers):
            thread.start()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            time.sleep(self.chance.uniform(0.3, 2.5))
            self._disturb()
            self._demand_no_error()
        self.is_ending.set()
        self.publisher.count = 0
        self.publisher.may_end.set()
        self.publisher.finish()
        for reader in self.readers:
            reader.finish()
        for relay in self.relays:
            relay.close()

    def _disturb(self):
        relay = self.chance.choice(self.relays)
        self.cuts += 1
        if self.chance.random() < 0.2:
            relay.freeze()
        else:
            relay.cut()
            relay.bury()

    def _demand_no_error(self):
        for thread in (self.publisher, *self.readers):
            if thread.error is not None:
                raise thread.error

    def result(self):
        verdicts = [
            judge(reader.seen(), self.ledger, self.start, ("evicted",), reader.topics) for reader in self.readers
        ]
        faulty = [fault for verdict in verdicts for fault in verdict.faults]
        opened = [transport for reader in self.readers for transport in reader.opened]
        return {
            "published": len(self.ledger.events),
            "due": sum(verdict.published for verdict in verdicts),
            "received": sum(verdict.received for verdict in verdicts),
            "covered_by_gaps": sum(verdict.covered for verdict in verdicts),
            "lost": sum(len(verdict.lost) for verdict in verdicts),
            "repeated": sum("twice" in fault for fault in faulty),
            "other_faults": [fault for fault in faulty if "twice" not in fault],
            "sessions": {kind: opened.count(kind) for kind in KINDS},
            "cuts": self.cuts,
            "stalls": sum(reader.stalls for reader in self.readers),
            "rests": sum(reader.rests for reader in self.readers),
        }


# What the server uses.


class Watcher(threading.Thread):
    """Samples the server's resident memory and descriptors until it is told to end."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.samples, self.begin = server, [], time.monotonic()
        self.is_over = threading.Event()

    def sample(self):
        return {
            "seconds": round(time.monotonic() - self.begin, 1),
            "rss": self.server.memory_bytes(),
            "descriptors": len(os.listdir(f"/proc/{self.server.pid}/fd")),
        }

    def run(self):
        while not self.is_over.wait(SAMPLE_SECONDS):
            self.samples.append(self.sample())


def fill(server, chance):
    """Publishes events like those of the traffic until the server keeps all that it may, and has let go of as many."""
    while True:
        for _ in range(20):
            sizes = [chance.randint(*SIZES) for _ in range(200)]
            server.publish_many([(chance.choice(TOPICS), {"n": 0, "pad": "x" * size}) for size in sizes])
        if server.metric("herald_events_evicted_total", reason="memory") > server.metric("herald_retained_events"):
            return


def at_rest(server, watcher):
    """What the server uses when all clients have gone and it has had time to notice."""
    eventually(lambda: server.metric("herald_connections") <= 1, "all clients have gone", patience=60)
    time.sleep(REST_SECONDS)
    return watcher.sample()


def soak(options, server):
    watcher = Watcher(server)
    total = options.minutes * 60
    server.metric("herald_connections")
    parts, rests = {}, {"start": watcher.sample()}
    fill(server, random.Random(options.seed))
    watcher.start()
    warm_up = min(total * WARM_UP_SHARE, WARM_UP_SECONDS_MAX)
    for name, seconds in (("warm-up", warm_up), ("measured", total - warm_up)):
        traffic = Traffic(server, options, seconds, name)
        traffic.run()
        parts[name] = traffic.result()
        rests[name] = at_rest(server, watcher)
        server.check()
        tell(name, parts[name], rests[name])
    watcher.is_over.set()
    return {"minutes": options.minutes, "seed": options.seed, "parts": parts, "at_rest": rests,
            "samples": watcher.samples}


def tell(name, part, rest):
    print(f"{name}: {part['published']:,} events; {part['due']:,} deliveries due: {part['received']:,} received, "
          f"{part['covered_by_gaps']:,} covered by gaps, {part['lost']} lost, {part['repeated']} repeated")
    print(f"  {sum(part['sessions'].values()):,} sessions, {part['cuts']} times cut, {part['stalls']} stalls, "
          f"{part['rests']} rests; " + ", ".join(f"{kind} {count:,}" for kind, count in part["sessions"].items()))
    print(f"  at rest: {rest['rss'] / 2**20:.1f} MiB resident, {rest['descriptors']} descriptors", flush=True)


def troubles(report):
    """What must not be, in words."""
    rests = report["at_rest"]
    growth = rests["measured"]["rss"] / rests["warm-up"]["rss"] - 1
    report["growth"] = growth
    if growth > GROWTH_MAX:
        yield f"resident memory grew by {growth:.1%} since the warm-up; {GROWTH_MAX:.0%} may be"
    if rests["measured"]["descriptors"] > rests["start"]["descriptors"]:
        yield f"{rests['measured']['descriptors']} descriptors are open, {rests['start']['descriptors']} at the start"
    for name, part in report["parts"].items():
        if part["received"] == 0 or min(part["sessions"].values()) == 0:
            yield f"{name}: not all transports were used"
        if part["lost"] or part["repeated"] or part["other_faults"]:
            yield f"{name}: {part['lost']} lost, {part['repeated']} repeated, {part['other_faults'][:5]}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=20, help="how long clients come and go, warm-up included")
    parser.add_argument("--readers", type=int, default=27, help="readers at a time")
    parser.add_argument("--pace", type=float, default=0.03, help="seconds between two publishes, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="where to write the report, with all samples")
    options = parser.parse_args()
    if options.minutes <= 0 or options.readers < len(KINDS) or options.pace < 0:
        parser.error(f"--minutes: more than 0; --readers: at least {len(KINDS)}; --pace: not below 0")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak.py: ended by a signal"))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        authority = Authority(folder)
        server = Server("soak", FLAGS, authority=authority, pairs=[authority.issue("loopback")])
        try:
            report = soak(options, server)
        finally:
            server.stop()
    report["troubles"] = list(troubles(report))
    if options.json:
        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    peak = max(each["rss"] for each in report["samples"])
    print(f"resident: {report['growth']:+.1%} since the warm-up, {peak / 2**20:.1f} MiB at the most")
    for trouble in report["troubles"]:
        print(f"soak.py: {trouble}", file=sys.stderr)
    print("soak: " + ("FAILED" if report["troubles"] else "passed"))
    return 1 if report["troubles"] else 0


if __name__ == "__main__":
    sys.exit(main())
