"""herald.js on bad lines: cut at thirty moments drawn by chance, nothing is lost, repeated or out of order.

What is drawn comes from a seed, HERALD_FAULT_SEED, which a failure shows. Each client has a proxy of its own; all read
the same ten thousand events while these are published.
"""

import json
import os
import random
import time
from contextlib import ExitStack

import pytest

from blocking_proxy import BlockingProxy
from browser import new_page
from client_pages import HEARTBEAT, TRANSPORTS, ClientPage, NodePlace, Press, node
from conftest import LOGS
from helpers import PATIENCE, eventually, sequence

SEED = int(os.environ.get("HERALD_FAULT_SEED", "20260102"))
EVENTS, RATE, CUTS = 10_000, 1000, 30
TOPICS = 5
# Half of the doors are shut on who changes between transports, in one of these ways.
SHUT = [{"way": "refuse"}, {"way": "wall"}, {"way": "gateway"}, {"way": "hold"}]
# Of several tabs only one is in front, and the timers of the others would be slow.
BROWSER_FLAGS = ("--disable-background-timer-throttling",)
SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000, "--rule", "tight/** retain-events=20")


@pytest.fixture(scope="module")
def summary(request):
    """Counts by case; told at the end, and written down."""
    counts = {}
    yield counts
    path = LOGS.parent / "client-js-cuts.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": SEED, "cases": counts}, indent=2) + "\n", encoding="utf-8")
    columns = ("published", "received", "lost", "repeated", "gaps", "cuts", "requests")
    lines = [f"{'client':26}" + "".join(f"{name:>11}" for name in columns)]
    lines += [f"{name:26}" + "".join(f"{case[each]:11,}" for each in columns) for name, case in counts.items()]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + "\n".join(lines) + f"   seed {SEED}")


class Lane:
    """A client, the proxy before it, and what is done to it by chance."""

    def __init__(self, name, place, proxy, server, options):
        self.name, self.proxy = name, proxy
        self.chance = random.Random(f"{SEED} {name}")
        url = "/" if isinstance(place, ClientPage) else proxy.url
        self.client = place.opened(name, url, share=False, **options)
        self.changes = "transports" not in options
        self.is_brief = options.get("transports") == ["shortpoll"]
        self.cuts, self.moments = 0, []
        self.awaited = None  # so many cuts the proxy had counted when it was told to cut what comes

    def begin(self, seconds):
        now = time.monotonic()
        self.moments = sorted(now + self.chance.uniform(0.2, seconds) for _ in range(CUTS + 4))

    def step(self):
        """Cuts if it is time. A moment at which nothing was open waits for the next step."""
        if not self.moments or time.monotonic() < self.moments[0]:
            return
        # What was to be cut as it came may have ended otherwise: then what is open now is cut.
        is_cut = self.awaited is not None and self.proxy.counts()["cuts"] > self.awaited
        self.awaited = None
        is_cut = is_cut or self._cut()
        if is_cut:
            self.moments.pop(0)
            self.cuts += 1

    def _cut(self):
        """Says whether a connection was cut."""
        if self.changes:
            if self.chance.random() < 0.4:
                self._shut_doors()
        elif self.is_brief or self.chance.random() < 0.3:
            # What comes next is cut in the middle of its answer's head.
            before = self.proxy.counts()["cuts"]
            self.proxy.block(way="cut", bytes=self.chance.randint(0, 200), times=1)
            cut_now = self.proxy.cut(*TRANSPORTS)
            self.awaited = before + cut_now
            return cut_now > 0
        return self.proxy.cut(*TRANSPORTS, how=self.chance.choice(("reset", "end"))) > 0

    def _shut_doors(self):
        shut = self.chance.sample(TRANSPORTS, self.chance.randint(0, 3))
        self.proxy.let_pass()
        for transport in shut:
            self.proxy.block(transport, **self.chance.choice(SHUT))

    def open_doors(self):
        self.proxy.let_pass()

    def verdict(self, press, start):
        verdict = self.client.judge(press.ledger, start)
        kinds = [item.kind for item in self.client.items()]
        counts = self.proxy.counts()
        return verdict, {
            "published": verdict.published,
            "received": verdict.received,
            "lost": len(verdict.lost),
            "repeated": len(verdict.faults),
            "gaps": kinds.count("gap") + kinds.count("reset"),
            "cuts": self.cuts,
            "connections_cut": counts["cuts"],
            "requests": sum(counts["requests"][each] for each in TRANSPORTS),
            "by_kind": {each: counts["requests"][each] for each in TRANSPORTS},
            "transports": list(dict.fromkeys(s["transport"] for s in self.client.states if s["transport"])),
        }


def run_lanes(lanes, press, topic, summary):
    start = press.start()
    for lane in lanes:
        lane.client.subscribe(f"{topic}/*", after=start)
    for lane in lanes:
        lane.client.until_live()
    stream = press.run([f"{topic}/{number}" for number in range(TOPICS)], EVENTS, RATE, batch=40)
    for lane in lanes:
        lane.begin(0.9 * EVENTS / RATE)
    deadline = time.monotonic() + 4 * PATIENCE
    while (stream.is_alive() or any(lane.moments for lane in lanes)) and time.monotonic() < deadline:
        for lane in lanes:
            lane.step()
        time.sleep(0.005)
    for lane in lanes:
        lane.open_doors()
    last = stream.finish()
    for lane in lanes:
        lane.client.until_has(last, patience=2 * PATIENCE)
    last = press.publish(*[f"{topic}/{number}" for number in range(TOPICS)])
    verdicts = []
    for lane in lanes:
        lane.client.until_has(last)
        verdict, counts = lane.verdict(press, start)
        summary[lane.name] = counts
        verdicts.append((lane, verdict, counts))
    for lane, verdict, counts in verdicts:
        assert not verdict.faults and not verdict.lost, (lane.name, SEED, verdict.faults[:5], verdict.lost[:5], counts)
        assert counts["received"] == counts["published"] == EVENTS + TOPICS, (lane.name, counts)
        assert counts["gaps"] == 0 and min(counts["cuts"], counts["connections_cut"]) >= CUTS, (lane.name, counts)


def test_pages_that_are_cut_at_thirty_moments_lose_and_repeat_nothing(browser, server, topic, summary):
    options = {transport: {"transports": [transport]} for transport in TRANSPORTS}
    options["changing"] = {"climbAfter": 400, "probeTimeout": 500}
    with ExitStack() as stack:
        lanes, pages = [], []
        for name, each in options.items():
            proxy = stack.enter_context(BlockingProxy(server))
            page = stack.enter_context(new_page(browser, ClientPage))
            page.open(proxy.url)
            pages.append(page)
            lanes.append(Lane(f"page {name}", page, proxy, server, each))
        run_lanes(lanes, Press(server), topic, summary)
        for page, lane in zip(pages, lanes, strict=True):
            page.show(f"cuts {lane.name}", summary[lane.name])
            assert page.uncaught() == []
        assert len(summary["page changing"]["transports"]) > 1, "it changed between transports"


def test_node_that_is_cut_at_thirty_moments_loses_and_repeats_nothing(server, module, topic, summary):
    options = {
        "sse": {"transports": ["sse"]},
        "longpoll": {"transports": ["longpoll"]},
        "websocket": {"transports": ["websocket"]},
    }
    with ExitStack() as stack:
        lanes = []
        place = stack.enter_context(NodePlace(node(), module))
        for name, each in options.items():
            proxy = stack.enter_context(BlockingProxy(server))
            lanes.append(Lane(f"node {name}", place, proxy, server, each))
        run_lanes(lanes, Press(server), topic, summary)
        assert place.uncaught() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_no_longer_kept_is_told_as_a_gap(browser, server, topic, transport, summary):
    """While it is kept out, five times as many events come as are retained."""
    topic = f"tight/{topic}"
    topics = [f"{topic}/a", f"{topic}/b"]
    press = Press(server)
    with BlockingProxy(server) as proxy, new_page(browser, ClientPage) as page:
        page.open(proxy.url)
        start = press.start()
        client = page.opened("client", transports=[transport], share=False)
        client.subscribe(f"{topic}/*", after=start).until_live()
        client.until_has(press.publish(*topics * 5))
        proxy.block()
        proxy.cut()
        client.until(lambda: client.state["name"] != "live", "it is cut off")
        for _ in range(10):
            press.publish(*topics * 10)
        proxy.let_pass()
        client.until_has(press.ledger.last)
        client.until_has(press.publish(*topics))
        verdict = client.judge(press.ledger, start, reasons={"evicted"})
        verdict.demand_whole()
        assert verdict.covered == 160 and verdict.received == verdict.published - 160
        (gap,) = client.told("gap")
        assert gap["topic"] == f"{topic}/*" and gap["reason"] == "evicted", gap
        assert client.told("reset") == []
        summary[f"gap {transport}"] = {
            "published": verdict.published,
            "received": verdict.received,
            "lost": 0,
            "repeated": 0,
            "gaps": 1,
            "cuts": 1,
            "requests": sum(proxy.counts()["requests"][each] for each in TRANSPORTS),
        }
        page.show(f"gap {transport}", {"covered by the gap": verdict.covered})


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_connection_that_went_dead_is_noticed(browser, server, topic, transport):
    """Half-open: no byte comes, and nobody says so. Again and again, while events are published."""
    press = Press(server)
    with BlockingProxy(server) as proxy, new_page(browser, ClientPage) as page:
        page.open(proxy.url)
        start = press.start()
        client = page.opened("client", transports=[transport], share=False, silenceMax=900, probeTimeout=900)
        client.subscribe(f"{topic}/*", after=start).until_live()
        stream = press.run([f"{topic}/a", f"{topic}/b"], 100_000, 200)
        for _ in range(2):
            eventually(lambda: proxy.stall(*TRANSPORTS), "something is open")
            after = sequence(press.publish(f"{topic}/a"))
            client.until(lambda after=after: sequence(client.cursor()) >= after, "it goes on")
        client.until_has(stream.finish(now=True))
        client.until_has(press.publish(f"{topic}/a"))
        client.demand_whole(press.ledger, start)
        page.show(f"half-open {transport}", proxy.counts())
