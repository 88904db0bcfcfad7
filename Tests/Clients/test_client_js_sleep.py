"""herald.js after a laptop's sleep: no byte moved for longer than a stream may be silent, and events were published.

The network sleeps by a proxy that is stopped (SIGSTOP), or that moves no bytes; the page by being frozen.
"""

import time

from client_pages import HEARTBEAT, TRANSPORTS, Press
from helpers import eventually

SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000)
SLEEPY = {"silenceMax": 900, "probeTimeout": 700}
# What sleeps is left alone for longer than SLEEPY's times. Nothing is decided by it.
SLEEP_SECONDS = 2
NEVER = {"first": 10_000_000, "max": 10_000_000}


class Sleepers:
    """A client for each transport in one page, and one that has them all."""

    def __init__(self, page, server, topic, **options):
        self.press, self.page = Press(server), page
        self.start = self.press.start()
        self.topics = [f"{topic}/a", f"{topic}/b"]
        lists = {transport: [transport] for transport in TRANSPORTS} | {"all": TRANSPORTS}
        self.clients = []
        for name, transports in lists.items():
            more = {**SLEEPY, **options, "transports": transports, "share": False}
            self.clients.append(page.opened(name, **more).subscribe(f"{topic}/*", after=self.start))
        for client in self.clients:
            client.until_live()
        self.wait_for(self.press.publish(*self.topics * 5))

    def wait_for(self, identifier):
        for client in self.clients:
            client.until_has(identifier)

    def meanwhile(self):
        """What is published while they sleep."""
        deadline = time.monotonic() + SLEEP_SECONDS
        while time.monotonic() < deadline:
            self.press.publish(*self.topics * 5)
            time.sleep(0.05)

    def demand_whole(self, title):
        """All that was published, during the sleep and after it, came once and in order."""
        self.wait_for(self.press.ledger.last)
        self.wait_for(self.press.publish(*self.topics))
        received = {}
        for client in self.clients:
            received[client.name] = client.demand_whole(self.press.ledger, self.start).received
        self.page.show(title, received)


def test_a_network_that_was_stopped_goes_on(page, proxy, server, topic):
    sleepers = Sleepers(page, server, topic)
    proxy.stop()
    sleepers.meanwhile()
    for client in sleepers.clients:
        assert client.states[-1]["name"] != "idle"
    proxy.go_on()
    sleepers.demand_whole("sleep SIGSTOP")


def test_a_network_that_was_frozen_goes_on(page, proxy, server, topic):
    sleepers = Sleepers(page, server, topic)
    proxy.freeze()
    for client in sleepers.clients:
        client.until(lambda client=client: client.state["name"] != "live", "it has noticed")
    sleepers.meanwhile()
    proxy.thaw()
    sleepers.demand_whole("sleep frozen")


def test_what_was_open_when_it_fell_asleep_may_never_come_back(page, proxy, server, topic):
    """A router has forgotten the connections: they are dead, and only new ones work."""
    sleepers = Sleepers(page, server, topic)
    proxy.stall()
    sleepers.meanwhile()
    sleepers.demand_whole("sleep forgotten connections")


def test_a_page_that_was_frozen_goes_on(page, proxy, server, topic):
    sleepers = Sleepers(page, server, topic)
    page.call("Page.setWebLifecycleState", state="frozen")
    sleepers.meanwhile()
    proxy.cut()
    page.call("Page.setWebLifecycleState", state="active")
    sleepers.demand_whole("sleep page")


def test_when_it_is_online_again_it_does_not_wait_for_its_turn(page, proxy, server, topic):
    """Its next try would be hours away."""
    sleepers = Sleepers(page, server, topic, backoff=NEVER)
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.call("Network.emulateNetworkConditions", offline=True, **offline)
    proxy.block()
    proxy.cut()
    for client in sleepers.clients:
        client.until_state("waiting")
    sleepers.meanwhile()
    proxy.let_pass()
    page.call("Network.emulateNetworkConditions", offline=False, **offline)
    for client in sleepers.clients:
        client.until_live()
    sleepers.demand_whole("sleep online")


def test_when_the_network_changes_under_a_dead_stream_it_goes_on_at_once(page, proxy, server, topic):
    """Silence would be noticed hours later."""
    sleepers = Sleepers(page, server, topic, silenceMax=10_000_000, longPollWait=1000)
    proxy.stall()
    sleepers.meanwhile()
    page.evaluate("window.dispatchEvent(new Event('offline')); window.dispatchEvent(new Event('online'))")
    sleepers.demand_whole("sleep network changes")


def test_when_it_is_looked_at_again_it_looks_whether_all_is_well(page, proxy, server, topic):
    sleepers = Sleepers(page, server, topic, silenceMax=10_000_000, backoff=NEVER, longPollWait=1000)
    hide = (
        "Object.defineProperty(document, 'visibilityState', {configurable: true, value: '%s'});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.evaluate(hide % "hidden")
    streams = [client for client in sleepers.clients if client.name in ("websocket", "sse", "all")]
    proxy.stall("websocket", "sse")
    sleepers.meanwhile()

    def looked_at():
        page.evaluate(hide % "visible")
        return all(client.count() > 10 for client in streams)

    # One that was not answered is lost, and waits for its turn; whoever looks again has it tried at once.
    eventually(looked_at, "they have gone on", interval=1)
    sleepers.demand_whole("sleep visible")


def test_many_short_sleeps_lose_nothing(page, proxy, server, topic):
    sleepers = Sleepers(page, server, topic)
    stream = sleepers.press.run(sleepers.topics, 900, 250)
    while stream.is_alive():
        proxy.stop()
        time.sleep(0.7)
        proxy.go_on()
        time.sleep(0.5)
    stream.finish()
    sleepers.demand_whole("sleep many times")
