"""Each transport under each fault: whatever happens to a reader, nothing is lost in silence.

Readers are those of faults.py, judged by ledger.py. What they draw comes from a seed, HERALD_FAULT_SEED, which a
failure shows; HERALD_FAULT_ROUNDS repeats each case with other draws.
"""

import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from conftest import LOGS
from faults import HEARTBEAT_MS, TRANSPORTS, TWICE, FaultPublisher, FaultReader, Wire
from helpers import RawConnection, epoch, eventually, unique_topic
from ledger import Ledger, Verdict, judge
from readers import Item
from relay import Relay

SEED = int(os.environ.get("HERALD_FAULT_SEED", "20260102"))
ROUNDS = int(os.environ.get("HERALD_FAULT_ROUNDS", "1"))
STREAMS = [each for each in TRANSPORTS if not each.endswith("poll")]

COMMON = ("--loops", 2, "--heartbeat", f"{HEARTBEAT_MS}ms", "--drain-timeout", "300ms")
ROOMY = (*COMMON, "--retain-events", 100_000)
TIGHT = (*COMMON, "--retain-events", 20)
BOUNDED = (*COMMON, "--retain-events", 100_000, "--retain-bytes", "384KiB", "--memory-limit", "1MiB")
SMALL_FILES = 64
AGE_SECONDS = 3600  # of --retain-age, as it is by default


@pytest.fixture(scope="module")
def started(servers):
    """Servers that several cases share, by their flags."""
    made = {}

    def find(name, flags):
        if name not in made:
            made[name] = servers.start(f"faults-{name}", *flags)
        return made[name]

    yield find
    servers.stop(*made.values())


@pytest.fixture(scope="module")
def summary(request):
    """Counts by fault and transport; the sums are told at the end, and written down."""
    counts = {}
    yield counts
    path = LOGS.parent / "faults.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": SEED, "rounds": ROUNDS, "cases": counts}, indent=2) + "\n", encoding="utf-8")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + "\n".join(table(counts)))


def table(counts):
    """A line for each fault, over its transports, and one for all."""
    columns = ("published", "received", "covered", "doubtful", "lost", "sessions")
    yield f"{'fault':31}" + "".join(f"{name:>11}" for name in columns)
    total = dict.fromkeys(columns, 0)
    for fault, cases in counts.items():
        sums = {name: sum(case[name] for case in cases.values()) for name in columns}
        total = {name: total[name] + sums[name] for name in columns}
        yield f"{fault:31}" + "".join(f"{sums[name]:11,}" for name in columns)
    yield f"{'all':31}" + "".join(f"{total[name]:11,}" for name in columns) + f"   seed {SEED}"


class Scene:
    """One case: a server, a publisher, readers of its topics, and what becomes of them."""

    def __init__(self, case, server, chance, reasons=()):
        self.fault, self.transport, self.counts = case
        self.server, self.chance, self.reasons = server, chance, reasons
        self.ledger = Ledger()
        prefix = unique_topic("faults")
        self.filter, self.topics = f"{prefix}/*", [f"{prefix}/{number}" for number in range(3)]
        self.start = self.begin_epoch()
        self.wire = Wire(chance)
        self.publisher, self.readers = None, []

    def begin_epoch(self):
        """Tells the ledger of the server's epoch; gives the newest id."""
        cursor = self.server.poll(self.topics[0], after="latest")["next"]
        self.ledger.begin_epoch(cursor)
        return cursor

    def publish(self, find_server=None, **named):
        chance = random.Random(self.chance.random())
        find_server = find_server or (lambda: self.server)
        self.publisher = FaultPublisher(self.ledger, find_server, self.topics, chance, **named)
        self.publisher.start()

    def read(self, server, **named):
        reader = FaultReader(self.ledger, server, self.transport, self.filter, self.start, self.wire, **named)
        self.readers.append(reader)
        reader.start()
        return reader

    def meanwhile(self, act, low, high):
        """Acts now and then until the publisher is done, and at least once while all read."""
        eventually(lambda: all(reader.opened or reader.error for reader in self.readers), "all readers read")
        while not self.publisher.is_over.is_set():
            time.sleep(self.chance.uniform(low, high))
            act()
            self.publisher.may_end.set()

    def end(self):
        """Waits for all, and demands that nothing is missing."""
        self.publisher.may_end.set()
        self.publisher.finish()
        for reader in self.readers:
            reader.finish()
        for reader in self.readers:
            self.demand(reader.items, len(reader.opened))

    def demand(self, items, sessions=0):
        verdict = judge(items, self.ledger, self.start, self.reasons)
        self.note(verdict, sessions)
        verdict.demand_whole()
        return verdict

    def note(self, verdict, sessions):
        case = self.counts.setdefault(self.fault, {}).setdefault(self.transport, {})
        found = {
            "published": verdict.published,
            "received": verdict.received,
            "covered": verdict.covered,
            "doubtful": verdict.doubtful,
            "lost": len(verdict.lost),
            "sessions": sessions,
        }
        for name, count in found.items():
            case[name] = case.get(name, 0) + count


@pytest.fixture(params=range(ROUNDS))
def scene(request, summary):
    """Makes the case's scene, from the case's own seed."""
    fault = request.function.__name__.removeprefix("test_").replace("_", " ")
    transport = request.getfixturevalue("transport")
    seed = f"{SEED}/{request.node.name}/{request.param}"
    print(f"HERALD_FAULT_SEED={SEED}")

    def make(server, reasons=()):
        return Scene((fault, transport, summary), server, random.Random(seed), reasons)

    return make


every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
every_stream = pytest.mark.parametrize("transport", STREAMS)


# The network.


@every_transport
def test_connections_are_reset(scene, started, transport):
    case = scene(started("roomy", ROOMY))
    with Relay(case.server) as relay:
        case.publish(lambda: relay)
        reader = case.read(relay)
        case.meanwhile(relay.cut, 0.01, 0.15)
        case.end()
    assert len(reader.opened) > 1, "the reader was cut"


@every_transport
def test_the_peer_goes_silently(scene, started, transport):
    case = scene(started("roomy", ROOMY))
    with Relay(case.server) as relay:
        case.publish(pace=0.01)
        reader = case.read(relay)
        case.meanwhile(relay.freeze, 0.2, 0.6)
        case.end()
    assert len(reader.opened) > 1, "the reader noticed that nothing came"


@every_transport
def test_slow_reading(scene, started, transport):
    """More is published than sockets hold; all of it is kept."""
    case = scene(started("roomy", ROOMY))
    slow_reading(case)


@every_transport
def test_slow_reading_is_overtaken(scene, started, transport):
    case = scene(started("tight", TIGHT), reasons=("evicted",))
    slow_reading(case)
    if transport in STREAMS:
        assert case.counts[case.fault][transport]["covered"] > 0, "the ring went past the reader"


def slow_reading(case):
    stalls = case.server.metric("herald_stalls_total")
    case.wire.sips = True
    case.read(case.server, strays=0)
    case.publish(count=700, size=(12_000, 16_000), pace=0)
    eventually(lambda: case.publisher.number >= 700 or case.publisher.error, "all but the last is published")
    case.wire.sips = False
    case.end()
    if case.transport in STREAMS:
        assert case.server.metric("herald_stalls_total") > stalls, "the reader stalled"


@every_transport
def test_slow_sending(scene, started, transport):
    """Requests, and frames of WebSockets, come a byte at a time, from readers and publishers."""
    case = scene(started("roomy", ROOMY))
    case.wire.drips = True
    with Relay(case.server) as relay:
        case.publish(count=60, drips=True)
        reader = case.read(relay)
        case.meanwhile(relay.cut, 0.2, 0.4)
        case.end()
    assert len(reader.opened) > 1


@every_transport
def test_twice_at_once(scene, started, transport):
    """Two polls of one cursor; of streams, two connections. What both saw is one whole, as is what each saw."""
    case = scene(started("roomy", ROOMY))
    case.publish()
    if transport in TWICE:
        case.read(case.server, strays=0, kinds={transport: TWICE[transport]})
        case.end()
        return
    with Relay(case.server) as relay:
        for server in (relay, case.server):
            case.read(server)
        case.meanwhile(relay.cut, 0.05, 0.2)
        case.end()
    events = {item.id: item for reader in case.readers for item in reader.items}
    case.demand([events[each] for each in sorted(events, key=case.ledger.place)])


# The server.


@every_transport
def test_the_server_starts_anew(scene, servers, transport):
    """By SIGKILL and by SIGTERM, in a drawn order. Each start has an epoch of its own, which is a reset."""
    case = scene(servers.start(f"faults-restart-{transport}", *ROOMY), reasons=("epoch",))
    try:
        with Relay(case.server) as relay:
            case.publish(count=300, pace=0.01)
            case.read(relay)
            ends = [signal.SIGKILL, signal.SIGTERM]
            case.chance.shuffle(ends)
            for end in ends:
                time.sleep(case.chance.uniform(0.1, 0.4))
                restart(case, servers, relay, end)
            case.end()
        resets = [item for item in case.readers[0].items if item.kind == "reset"]
        assert 1 <= len(resets) <= len(ends), resets
    finally:
        servers.stop(case.server)


def restart(case, servers, relay, end):
    before = case.server
    relay.lead_to(None)
    if end == signal.SIGKILL:
        before.process.kill()
        before.process.wait()
        before.stopped = True
    servers.stop(before)
    after = servers.start(f"faults-restart-{case.transport}", *ROOMY)
    case.server = after
    case.begin_epoch()
    relay.lead_to(after)


@every_transport
def test_no_descriptors_are_left(scene, servers, transport):
    """Others hold them all while the reader has to come back; then they let go."""

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (SMALL_FILES, SMALL_FILES))

    case = scene(servers.start(f"faults-descriptors-{transport}", *ROOMY, preexec_fn=few))
    try:
        with Relay(case.server) as relay:
            case.publish(count=250)
            reader = case.read(relay)
            eventually(lambda: case.readers[0].items, "the reader reads")
            hogs = [RawConnection(case.server) for _ in range(2 * SMALL_FILES)]

            def has_failed():
                return case.server.metric("herald_accept_failures_total", reason="descriptors") > 0

            eventually(has_failed, "the server runs out of descriptors")
            relay.cut()
            time.sleep(case.chance.uniform(0.1, 0.5))
            for hog in hogs:
                hog.close()
            case.end()
        assert len(reader.opened) > 1
    finally:
        servers.stop(case.server)


@every_transport
def test_memory_is_full(scene, started, transport):
    """Readers that are away while more is published than may be kept are told of it; what is refused is nowhere."""
    case = scene(started("bounded", BOUNDED), reasons=("evicted",))
    evicted = case.server.metric("herald_events_evicted_total")
    with Relay(case.server) as relay:
        case.publish(count=500, size=(4_000, 9_000), pace=0.002, too_large=500_000)
        case.read(relay)
        case.meanwhile(lambda: stay_away(case, relay), 0.02, 0.1)
        case.end()
    assert case.server.metric("herald_events_evicted_total") > evicted
    assert case.server.metric("herald_retained_bytes") <= 1 << 20


def stay_away(case, relay):
    relay.lead_to(None)
    relay.cut()
    time.sleep(case.chance.uniform(0.05, 0.4))
    relay.lead_to(case.server)


# The clock.


class Clock:
    """A server's wall clock, and a hand to set it."""

    def __init__(self, folder):
        compiler = next(filter(None, map(shutil.which, ("clang", "cc", "gcc"))), None)
        if compiler is None:
            pytest.skip("no C compiler for the clock that can be set")
        library, path = folder / "clock_shim.so", folder / "offset"
        source = Path(__file__).with_name("clock_shim.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(path)}

    def set(self, seconds):
        self._page[:8] = struct.pack("=q", seconds)


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def stepped(servers, clock):
    """A server whose clock can be set."""
    server = servers.start("faults-clock", *ROOMY, env=clock.environment)
    yield server
    servers.stop(server)


def hour_of(server):
    """The server's clock in hours since 1970, as it stamps events."""
    stamp = server.publish(unique_topic("clock"))["time"]
    return int(subprocess.run(["date", "-d", stamp, "+%s"], capture_output=True, check=True, text=True).stdout) // 3600


@every_transport
def test_the_clock_steps(scene, stepped, clock, transport):
    """Forth and back by less than events are kept for: nothing goes."""
    case = scene(stepped)
    with Relay(case.server) as relay:
        case.publish(pace=0.01)
        case.read(relay)

        def step():
            clock.set(case.chance.randint(-AGE_SECONDS // 3, AGE_SECONDS // 3))
            relay.cut()

        case.meanwhile(step, 0.05, 0.2)
        case.end()
    clock.set(0)


@every_transport
def test_the_clock_steps_beyond_the_age(scene, stepped, clock, transport):
    """What is then too old goes, and readers are told; ids ascend, and what is published next is kept."""
    case = scene(stepped, reasons=("evicted",))
    hour = hour_of(case.server)
    with Relay(case.server) as relay:
        case.publish(pace=0.01)
        until_aged(case, clock)
        case.read(relay)

        def step():
            clock.set(case.chance.choice((-30 * 86400, -3 * AGE_SECONDS, 0, 3 * AGE_SECONDS, 400 * 86400)))
            relay.cut()

        case.meanwhile(step, 0.05, 0.2)
        case.end()
    assert case.counts[case.fault][transport]["covered"] > 0, "what went by its age lies in a gap"
    clock.set(400 * 86400)
    assert hour_of(case.server) - hour in (400 * 24, 400 * 24 + 1), "the clock was set"
    page = case.server.publish(case.topics[0], json.dumps({"n": -1}), "application/json")
    assert case.server.poll(case.topics[0])["events"][-1]["id"] == page["id"]
    clock.set(0)


def until_aged(case, clock):
    """Events are published, and then are too old."""
    eventually(lambda: len(case.ledger.events) > 5, "some are published")
    newest = case.ledger.after(case.start)[-1][1]
    clock.set(2 * AGE_SECONDS)

    def has_gone():
        kept = case.server.poll(case.filter, max=1)["events"]
        return not kept or case.ledger.place(kept[0]["id"]) > case.ledger.place(newest)

    eventually(has_gone, "events go by their age")


# The judge.


@pytest.fixture
def history():
    """A ledger of ten events on two topics, and items of all of them, by their numbers."""
    ledger = Ledger()
    ledger.begin_epoch("0000000a-0")
    ledger.begin_epoch("0000000b-0")
    for number in range(1, 11):
        ledger.confirm(f"0000000a-{number}", f"t/{number % 2}", number)
    ledger.confirm("0000000b-4", "t/0", 11)
    return ledger


def event(number, name="a", topic=None, n=None):
    body = {"id": f"0000000{name}-{number}", "topic": topic or f"t/{number % 2}", "data": {"n": n or number}}
    return Item("event", body)


def gap(first, last, reason="evicted", kind="gap", names="aa"):
    return Item(kind, {"from": f"0000000{names[0]}-{first}", "to": f"0000000{names[1]}-{last}", "reason": reason})


def events(*numbers):
    return [event(number) for number in numbers]


NEXT = event(4, "b", n=11)
RESET = gap(10, 3, "epoch", "reset", "ab")
WHOLE = {
    "all": [*events(*range(1, 11)), RESET, NEXT],
    "a gap": [*events(1, 2), gap(3, 5), *events(6, 7, 8, 9, 10), RESET, NEXT],
    "a gap larger than the loss": [*events(1, 2), gap(3, 5), *events(5, 6, 7, 8, 9, 10), RESET, NEXT],
    "a reset that covers": [*events(1, 2), gap(2, 3, "epoch", "reset", "ab"), NEXT],
    "nothing but a reset": [gap(0, 4, "epoch", "reset", "ab")],
}
BROKEN = {
    "nothing": [],
    "a hole": [*events(1, 2, 4, 5, 6, 7, 8, 9, 10), RESET, NEXT],
    "a hole at the start": [*events(*range(2, 11)), RESET, NEXT],
    "a hole at the end": [*events(*range(1, 10)), RESET, NEXT],
    "the last": [*events(*range(1, 11)), RESET],
    "a repeat": [*events(1, 2, 2, *range(3, 11)), RESET, NEXT],
    "a repeat later": [*events(*range(1, 11), 3), RESET, NEXT],
    "an order": [*events(1, 3, 2, *range(4, 11)), RESET, NEXT],
    "an order of one topic": [*events(1, 2, 5, 4, 3, *range(6, 11)), RESET, NEXT],
    "a gap that is too short": [*events(1, 2), gap(3, 4), *events(6, 7, 8, 9, 10), RESET, NEXT],
    "a gap that begins too late": [*events(1, 2), gap(4, 5), *events(6, 7, 8, 9, 10), RESET, NEXT],
    "a gap that comes too late": [*events(1, 2, 6), gap(3, 5), *events(7, 8, 9, 10), RESET, NEXT],
    "a gap without the right reason": [*events(1, 2), gap(3, 5, "other"), *events(6, 7, 8, 9, 10), RESET, NEXT],
    "a gap that ends before it begins": [*events(1, 2), gap(5, 3), *events(*range(3, 11)), RESET, NEXT],
    "what was not published": [*events(*range(1, 12)), RESET, NEXT],
    "another topic": [event(1, topic="t/0"), *events(*range(2, 11)), RESET, NEXT],
    "other data": [event(1, n=2), *events(*range(2, 11)), RESET, NEXT],
    "another epoch without a reset": [*events(1, 2), NEXT],
    "an epoch that comes back": [*events(*range(1, 10)), RESET, NEXT, event(10)],
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_judge_lets_pass(history, name):
    verdict = judge(WHOLE[name], history, "0000000a-0", ("evicted", "epoch"))
    verdict.demand_whole()
    assert verdict.received + verdict.covered == verdict.published == 11


@pytest.mark.parametrize("name", BROKEN)
def test_the_judge_refuses(history, name):
    verdict = judge(BROKEN[name], history, "0000000a-0", ("evicted", "epoch"))
    with pytest.raises(AssertionError):
        verdict.demand_whole()


def test_the_judge_of_what_was_not_answered(history):
    history.doubt(12, "t/0")
    once = [event(12, n=12)]
    items = [*events(*range(1, 11)), *once, RESET, NEXT]
    assert judge(items, history, "0000000a-0", ("epoch",)).faults == []
    assert judge([*events(*range(1, 11)), RESET, NEXT], history, "0000000a-0", ("epoch",)) == Verdict(11, 11)
    twice = [*events(*range(1, 11)), *once, event(13, topic="t/0", n=12), RESET, NEXT]
    assert judge(twice, history, "0000000a-0", ("epoch",)).faults
    history.refuse(12)
    assert judge(items, history, "0000000a-0", ("epoch",)).faults


def test_the_judge_begins_at_the_start(history):
    items = [*events(8, 9, 10), RESET, NEXT]
    judge(items, history, "0000000a-7", ("epoch",)).demand_whole()
    assert judge(items, history, "0000000a-6", ("epoch",)).lost == ["0000000a-7"]
    assert epoch("0000000a-7") == "0000000a"
