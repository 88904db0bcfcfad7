"""What is measured: a table of named scenarios, each with its figures of merit and what Herald must reach.

A scenario is one command line of the load generator, run against several servers in turn. Where two ways of running
Herald are compared (a wildcard filter with an exact one, two loops with one), the scenario has variants instead.
"""

from dataclasses import dataclass, field

FLOOR_AND_PEERS = ("floor", "nchan", "nchan2", "herald")
FLOOR_AND_PEER = ("floor", "nchan", "herald")
PEER = ("nchan", "herald")
PEERS = ("nchan", "nchan2", "herald")
HERALD = ("herald",)

GROUPS = ("quick", "full", "scale", "storm")


@dataclass(frozen=True)
class Target:
    """What Herald's median must reach: a bound on the figure itself, or on its ratio to another contestant's."""

    bound: float
    of: str = ""  # a server's or a variant's name; without one the bound is on the figure itself


@dataclass(frozen=True)
class Figure:
    member: str  # of the generator's answer
    title: str
    unit: str
    more_is_better: bool = True
    target: Target | None = None


@dataclass(frozen=True)
class Variant:
    """A way to run Herald or to load it. A scenario's first is what the others are compared with."""

    name: str
    load: dict = field(default_factory=dict)
    herald: dict = field(default_factory=dict)
    both_processors: bool = False
    is_judged: bool = True


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    mode: str  # of the generator
    load: dict  # flags of the generator
    figures: tuple
    group: str = "full"
    servers: tuple = FLOOR_AND_PEERS
    seconds: float = 5
    is_encrypted: bool = False  # the readers come by TLS; what publishes does not
    herald: dict = field(default_factory=dict)  # flags of Herald
    variants: tuple = ()
    topic_count: int = 0  # topics that hold an event before anything is measured
    sizes: tuple = ()  # numbers of readers; the figures are then the slopes over them

    @property
    def reader_count(self):
        """The most connections that one run opens, but for a few."""
        flags = self.load
        asked = [flags.get("subscribers", 0), flags.get("connections", 0), flags.get("live", 0), *self.sizes]
        return max(asked)


def rate(member, unit, target=None):
    return Figure(member, "", f"{unit}/core-s", target=target)


def fanout(name, transport, readers, window, bound, **more):
    """Events fanned out by one publisher; the target is a share of the floor's rate."""
    spoken = {"ws": "WebSocket", "sse": "SSE", "longpoll": "long-poll"}[transport]
    over = " over TLS" if more.get("is_encrypted") else ""
    return Scenario(
        name,
        f"{spoken}{over}, {readers:,} readers, window {window}",
        "fanout",
        {"transport": transport, "subscribers": readers, "window": window, "payload": 128},
        (rate("deliveries_per_core_second", "deliveries", Target(bound, "floor") if bound else None),),
        **more,
    )


def requests(name, mode, title, pipeline, bound, **more):
    payload = {"payload": 128} if mode == "publish" else {}
    return Scenario(
        name,
        f"{title}, 64 connections, {f'{pipeline} pipelined' if pipeline > 1 else 'no pipelining'}",
        mode,
        {"connections": 64, "pipeline": pipeline, **payload},
        (rate("requests_per_core_second", "requests", Target(bound, "floor")),),
        **more,
    )


def latency(name, transport, spoken):
    """At a rate that leaves every server idle most of the time: what an event waits for, not what it queues for."""
    within = Target(1.05, "floor")
    return Scenario(
        name,
        f"{spoken}, 1,000 readers, 20 events/s",
        "fanout",
        {"transport": transport, "subscribers": 1000, "rate": 20, "payload": 128},
        (
            Figure("latency_p50_us", "latency p50", "µs", False, within),
            Figure("latency_p99_us", "latency p99", "µs", False, within),
        ),
        servers=FLOOR_AND_PEER,
        seconds=30,
    )


def idle(transport, spoken, prefix="idle", bound=480, **more):
    """Fifty seconds hold two of Herald's heartbeats a reader."""
    return Scenario(
        f"{prefix}-{transport}",
        f"10,000 idle {spoken}",
        "idle",
        {"transport": transport, "subscribers": 10_000, "settle": 2, "events": 3},
        (
            Figure("user_bytes_per_reader", "server's memory", "B/reader", False, Target(bound) if bound else None),
            Figure("kernel_bytes_per_reader", "kernel's memory", "B/reader", False),
            Figure("idle_cpu_share", "processor time", "of a core", False, Target(0.01)),
            Figure("last_reader_ms", "event at the last reader", "ms", False),
        ),
        **{"servers": FLOOR_AND_PEER, "seconds": 50, **more},
    )


def scale(transport, spoken):
    return Scenario(
        f"scale-{transport}",
        f"5,000, 10,000 and 15,000 {spoken}, each more",
        "idle",
        {"transport": transport, "settle": 2, "events": 5},
        (
            Figure("user_bytes_per_reader", "server's memory", "B/reader", False),
            Figure("kernel_bytes_per_reader", "kernel's memory", "B/reader", False),
            Figure("idle_cpu_us_per_reader_second", "processor time when idle", "µs/reader-s", False),
            Figure("last_reader_us_per_reader", "event at the last reader", "µs/reader", False),
        ),
        group="scale",
        servers=FLOOR_AND_PEER,
        seconds=25,
        sizes=(5_000, 10_000, 15_000),
    )


def catchup(transport, spoken):
    """One reader that begins anew whenever it has come to the end, beside the live readers of the latency rows."""
    return Scenario(
        f"catchup-{transport}",
        f"catch-up over 100,000 events, {spoken}",
        "catchup",
        {"transport": transport, "events": 100_000, "payload": 128, "live": 1000, "rate": 20},
        (
            rate("catchup_events_per_core_second", "events", Target(1e6)),
            Figure("live_p99_ratio", "live readers' p99, during ÷ before", "×", False, Target(1.10)),
        ),
        servers=HERALD,
        seconds=15,
        herald={"retain-events": 200_000, "retain-bytes": "512MiB"},
    )


def storm(transport, spoken, is_encrypted=False):
    """All but a few readers are cut off at once and come back; the few get events before and meanwhile."""
    return Scenario(
        f"storm-{'tls-' if is_encrypted else ''}{transport}",
        f"15,000 {spoken}{' over TLS' if is_encrypted else ''} cut and back, 100 live",
        "storm",
        {"transport": transport, "subscribers": 15_000, "live": 100, "rate": 100, "payload": 128},
        (
            Figure("all_back_s", "until all are back", "s", False),
            Figure("core_us_per_return", "processor time", "µs/reader", False),
            Figure("live_before_p50_us", "live p50 before", "µs", False),
            Figure("live_before_p99_us", "live p99 before", "µs", False),
            Figure("live_before_max_us", "live longest before", "µs", False),
            Figure("live_during_p50_us", "live p50 meanwhile", "µs", False),
            Figure("live_during_p99_us", "live p99 meanwhile", "µs", False),
            Figure("live_during_max_us", "live longest meanwhile", "µs", False),
        ),
        group="storm",
        servers=HERALD,
        seconds=10,
        is_encrypted=is_encrypted,
    )


def compression(name, transport, spoken, coding):
    """Readers that ask for compression, and readers that do not, of the same events: what it costs, what it saves."""
    return Scenario(
        name,
        f"JSON of 1 KiB to 1,000 {spoken}, window 16",
        "fanout",
        {"transport": transport, "subscribers": 1000, "window": 16, "payload": 1024, "body": "json"},
        (
            Figure("core_us_per_delivery", "processor time", "µs/delivery", False),
            Figure("bytes_per_delivery", "on the wire", "B/delivery", False),
        ),
        servers=HERALD,
        variants=(Variant("plain"), Variant(coding, {"compress": "yes"})),
    )


def churn(transport, spoken):
    return Scenario(
        f"churn-{transport}",
        f"{spoken} opened and closed, 64 at a time",
        "churn",
        {"transport": transport, "connections": 64},
        (rate("cycles_per_core_second", "connections"),),
        servers=FLOOR_AND_PEER,
    )


def loops(window):
    """At most 10 % more processor time for a delivery is at least 1 ÷ 1.1 of the deliveries in a core second."""
    one = Variant("1 loop", both_processors=True)
    two = Variant("2 loops", herald={"loops": 2}, both_processors=True)
    return Scenario(
        f"loops-w{window}",
        f"WebSocket, 1,000 readers, window {window}, loops",
        "fanout",
        {"transport": "ws", "subscribers": 1000, "window": window, "payload": 128},
        (rate("deliveries_per_core_second", "deliveries", Target(1 / 1.1, "1 loop")),),
        servers=HERALD,
        variants=(one, two),
    )


SCENARIOS = (
    fanout("ws-w1", "ws", 1000, 1, 0.95, group="quick"),
    fanout("ws-w16", "ws", 1000, 16, 0.90, group="quick"),
    fanout("ws-10k-w16", "ws", 10_000, 16, 0.90, servers=FLOOR_AND_PEER),
    # One write for each of as many readers as `topics` has: what no server can do with less.
    fanout("ws-5k-w1", "ws", 5000, 1, None, servers=FLOOR_AND_PEER),
    fanout("sse-w1", "sse", 1000, 1, None, servers=FLOOR_AND_PEER),
    fanout("sse-w16", "sse", 1000, 16, 0.90, group="quick"),
    fanout("sse-10k-w16", "sse", 10_000, 16, 0.90, servers=FLOOR_AND_PEER),
    fanout("longpoll-w1", "longpoll", 1000, 1, 0.85, group="quick", servers=FLOOR_AND_PEER),
    fanout("longpoll-w16", "longpoll", 1000, 16, 0.75, group="quick", servers=FLOOR_AND_PEER),
    requests("publish", "publish", "publish", 1, 0.85, group="quick", servers=FLOOR_AND_PEER),
    requests("publish-p16", "publish", "publish", 16, 0.50, group="quick"),
    requests("poll-p16", "poll", "empty short-poll", 16, 0.60, group="quick", servers=FLOOR_AND_PEER),
    Scenario(
        "topics",
        "WebSocket, 5,000 readers on 500 topics, window 500",
        "fanout",
        {"transport": "ws", "subscribers": 5000, "topics": 500, "window": 500, "payload": 128},
        (rate("deliveries_per_core_second", "deliveries", Target(2, "nchan")),),
        servers=PEERS,
    ),
    # Few readers, so that what the server does once an event weighs: with 1,000 a match could cost ten times as much
    # and not be seen.
    Scenario(
        "wildcard",
        "100,000 topics, 100 WebSocket readers, window 16, by filter",
        "fanout",
        {
            "transport": "ws",
            "subscribers": 100,
            "window": 16,
            "payload": 128,
            "publish-path": "/v1/events/bench/0",
        },
        (rate("deliveries_per_core_second", "deliveries", Target(0.95, "exact")),),
        servers=HERALD,
        herald={"max-topics": 200_000},
        variants=(
            Variant("exact", {"subscribe-path": "/v1/events/bench/0"}),
            Variant("wildcard", {"subscribe-path": "/v1/events/bench/*"}),
            # What it costs to publish to each of them in turn, whoever reads: for the eye only.
            Variant(
                "wildcard, all topics",
                {"subscribe-path": "/v1/events/bench/*", "publish-path": "/v1/events/bench/%u", "topics": 100_000},
                is_judged=False,
            ),
        ),
        topic_count=100_000,
    ),
    latency("latency-ws", "ws", "WebSocket"),
    latency("latency-sse", "sse", "SSE"),
    idle("ws", "WebSockets"),
    idle("sse", "SSE streams"),
    idle("longpoll", "held long-polls"),
    # The floor speaks no TLS.
    fanout("tls-ws-w1", "ws", 1000, 1, None, servers=PEER, is_encrypted=True),
    fanout("tls-ws-w16", "ws", 1000, 16, None, servers=PEER, is_encrypted=True),
    fanout("tls-sse-w16", "sse", 1000, 16, None, servers=PEER, is_encrypted=True),
    idle("ws", "WebSockets over TLS", "idle-tls", None, servers=PEER, is_encrypted=True),
    catchup("ws", "WebSocket"),
    catchup("sse", "SSE"),
    loops(1),
    loops(16),
    compression("deflate-ws", "ws", "WebSockets", "deflate"),
    compression("gzip-sse", "sse", "SSE streams", "gzip"),
    churn("ws", "WebSockets"),
    churn("sse", "SSE streams"),
    scale("ws", "WebSockets"),
    scale("sse", "SSE streams"),
    scale("longpoll", "held long-polls"),
    storm("ws", "WebSockets"),
    storm("sse", "SSE streams"),
    storm("ws", "WebSockets", is_encrypted=True),
    storm("sse", "SSE streams", is_encrypted=True),
)


def chosen(names, groups):
    """The scenarios of these names, or without names those of the groups; `full` has all of `quick`."""
    if names:
        return [scenario for scenario in SCENARIOS if scenario.name in names]
    wanted = set(groups) | ({"quick"} if "full" in groups else set())
    return [scenario for scenario in SCENARIOS if scenario.group in wanted]


def slope(points):
    """Of the straight line with the least squares through points (x, y)."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def slopes(results):
    """One result of several sizes: what each reader more costs, with the faults of all."""
    last = results[-1]
    totals = {
        "user_bytes_per_reader": lambda item: item["user_bytes_per_reader"] * item["subscribers"],
        "kernel_bytes_per_reader": lambda item: item["kernel_bytes_per_reader"] * item["subscribers"],
        "idle_cpu_us_per_reader_second": lambda item: item["idle_cpu_share"] * 1e6,
        "last_reader_us_per_reader": lambda item: item["last_reader_ms"] * 1e3,
    }
    merged = {
        name: slope([(item["subscribers"], total(item)) for item in results]) for name, total in totals.items()
    }
    for name in ("lost", "repeated", "disordered", "stalls"):
        merged[name] = sum(item.get(name, 0) for item in results)
    merged["saturated"] = any(item.get("saturated", False) for item in results)
    merged["generator_cpu_share"] = last.get("generator_cpu_share")
    merged["generator_wait_share"] = last.get("generator_wait_share")
    return merged
