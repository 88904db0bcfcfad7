"""herald.js in several tabs of one browser: they share a connection, and none is left blind when its owner goes."""

import time
from contextlib import ExitStack

import pytest

from blocking_proxy import TRANSPORTS
from browser import new_page
from client_pages import HEARTBEAT, ClientPage, Press
from helpers import PATIENCE, eventually

SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000)
TABS = 8
# A leader that hangs is found out by the others' asking now and then, which takes longer than anything else here.
LONG = 3 * PATIENCE
# So they ask ten times as often as they would.
HASTE = "globalThis.setInterval = ((real) => (what, ms) => real(what, ms / 10))(globalThis.setInterval)"


@pytest.fixture(autouse=True)
def nobody(server):
    """Readers of the last test have gone."""
    eventually(lambda: server.metric("herald_readers") == 0, "those of the last test have gone")


class Tab:
    """A page of the browser with a client, which reads a topic of its own and a common one."""

    def __init__(self, number, browser, proxy, topic, start, options):
        self.number = number
        self._context = new_page(browser, ClientPage)
        self.page = self._context.__enter__()
        self.page.open(proxy.url)
        self.page.evaluate(f"void ({HASTE})")
        self.topics = [f"{topic}/own/{number}", f"{topic}/common"]
        self.client = self.page.opened(f"tab {number}", probeTimeout=1000, **options)
        self.client.subscribe(self.topics, after=start)

    def demand_whole(self, press, start):
        return self.client.demand_whole(press.ledger, start, set(self.topics))

    def close(self):
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)


class Tabs:
    """Tabs of one origin."""

    def __init__(self, stack, browser, proxy, server, topic, count=TABS, **options):
        self.server, self.proxy, self.topic = server, proxy, topic
        self.press = Press(server)
        self.start = self.press.start()
        self.tabs = []
        for number in range(count):
            self.tabs.append(Tab(number, browser, proxy, topic, self.start, options))
            stack.callback(self.tabs[-1].close)
        self.topics = [f"{topic}/common", *(f"{topic}/own/{number}" for number in range(count))]

    def __iter__(self):
        return iter(self.tabs)

    def until_live(self, patience=PATIENCE):
        for tab in self.tabs:
            tab.client.until_live(patience=patience)

    def until_one_stream(self, patience=PATIENCE):
        """The server has one reader, and the browser one connection for events."""
        eventually(lambda: self.server.metric("herald_readers") == 1, "one reader", patience)
        eventually(lambda: sum(self.proxy.counts()["open"][each] for each in TRANSPORTS) == 1, "one connection")
        assert self.server.metric("herald_readers") == 1

    def leader(self):
        """The tab that leads; takes it out of the others."""
        leaders = [tab for tab in self.tabs if tab.client.state["role"] == "leader"]
        assert len(leaders) == 1, [tab.client.state for tab in self.tabs]
        self.tabs.remove(leaders[0])
        return leaders[0]

    def until_another_leads(self, patience=PATIENCE):
        def roles():
            return [tab.client.state["role"] for tab in self.tabs]

        eventually(lambda: sorted(set(roles())) in (["follower", "leader"], ["leader"]), "another leads", patience)
        assert roles().count("leader") == 1

    def demand_whole(self, tabs=None, patience=PATIENCE):
        """Every tab has all that is its own, once and in order."""
        self.press.publish(*self.topics)
        last = self.press.publish(f"{self.topic}/common")
        received = {}
        for tab in tabs or self.tabs:
            tab.client.until_has(last, patience=patience)
            received[tab.client.name] = tab.demand_whole(self.press, self.start).received
            assert tab.page.uncaught() == []
        return received


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
def test_eight_tabs_have_one_connection(stack, browser, proxy, server, topic, transport):
    """More than a browser opens to one server over HTTP/1.1."""
    tabs = Tabs(stack, browser, proxy, server, topic, transports=[transport])
    tabs.until_live()
    tabs.until_one_stream()
    tabs.press.run(tabs.topics, 900, 900).finish()
    received = tabs.demand_whole()
    assert len(received) == TABS
    tabs.until_one_stream()
    assert {tab.client.state["transport"] for tab in tabs} == {transport}
    assert sorted(tab.client.state["role"] for tab in tabs) == ["follower"] * (TABS - 1) + ["leader"]
    # Requests of the other tabs' own work beside it.
    assert tabs.tabs[-1].page.evaluate("fetch('/healthz').then(answer => answer.status)") == 200
    tabs.tabs[0].page.show(f"tabs {transport}", {"received": received, "requests": proxy.counts()["requests"]})


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_when_the_leader_closes_another_leads(stack, browser, proxy, server, topic, transport):
    tabs = Tabs(stack, browser, proxy, server, topic, transports=[transport])
    tabs.until_live()
    stream = tabs.press.run(tabs.topics, 100_000, 400)
    for _ in range(3):
        tabs.leader().close()
        tabs.until_another_leads()
        tabs.until_live()
        tabs.until_one_stream()
    stream.finish(now=True)
    received = tabs.demand_whole()
    assert len(received) == TABS - 3
    tabs.tabs[0].page.show(f"tabs leader closed {transport}", received)


def test_when_the_leaders_client_or_page_goes_another_leads(stack, browser, proxy, server, topic):
    tabs = Tabs(stack, browser, proxy, server, topic, count=4)
    tabs.until_live()
    stream = tabs.press.run(tabs.topics, 100_000, 400)
    closed = tabs.leader()
    closed.client.close()
    tabs.until_another_leads()
    gone = tabs.leader()
    gone.page.open(proxy.url)  # anew, without a client
    tabs.until_another_leads()
    tabs.until_live()
    tabs.until_one_stream()
    stream.finish(now=True)
    assert len(tabs.demand_whole()) == 2
    tabs.tabs[0].page.show("tabs client closed")


def test_when_the_leader_crashes_another_leads(stack, browser, proxy, server, topic):
    tabs = Tabs(stack, browser, proxy, server, topic, count=4)
    tabs.until_live()
    stream = tabs.press.run(tabs.topics, 100_000, 400)
    tabs.leader().page.tell("Page.crash")
    tabs.until_another_leads(LONG)
    tabs.until_live(LONG)
    stream.finish(now=True)
    assert len(tabs.demand_whole()) == 3
    tabs.until_one_stream()
    tabs.tabs[0].page.show("tabs leader crashed")


def test_when_the_leader_hangs_the_others_are_not_left_blind(stack, browser, proxy, server, topic):
    """It stands in a debugger, with the connection and the lock; and then goes on, and is one of the others."""
    tabs = Tabs(stack, browser, proxy, server, topic, count=4)
    tabs.until_live()
    tabs.press.run(tabs.topics, 100, 400).finish()
    leader = tabs.leader()
    leader.page.call("Debugger.enable")
    leader.page.tell("Debugger.pause")
    stream = tabs.press.run(tabs.topics, 100_000, 50)
    began = time.monotonic()
    tabs.until_another_leads(LONG)
    took = time.monotonic() - began
    tabs.until_live(LONG)
    stream.finish(now=True)
    received = tabs.demand_whole()
    leader.page.call("Debugger.resume")
    leader.page.call("Debugger.disable")
    tabs.tabs.append(leader)
    received |= tabs.demand_whole(patience=LONG)
    tabs.until_another_leads(LONG)
    tabs.until_one_stream(LONG)
    tabs.tabs[0].page.show("tabs leader hangs", {"received": received, "seconds until another led": round(took, 1)})


def test_a_frozen_leader_goes_on_as_one_of_the_others(stack, browser, proxy, server, topic):
    """As browsers do with tabs that were long in the background."""
    tabs = Tabs(stack, browser, proxy, server, topic, count=3)
    tabs.until_live()
    leader = tabs.leader()
    leader.page.call("Page.setWebLifecycleState", state="frozen")
    tabs.press.run(tabs.topics, 300, 300).finish()

    def another_leads():
        for tab in tabs:
            tab.page.evaluate("window.dispatchEvent(new Event('online'))")  # they ask at once, and not now and then
        return any(tab.client.state["role"] == "leader" for tab in tabs)

    eventually(another_leads, "another leads", LONG, interval=1)
    tabs.until_live(LONG)
    tabs.demand_whole(patience=LONG)
    leader.page.call("Page.setWebLifecycleState", state="active")
    tabs.tabs.append(leader)
    received = tabs.demand_whole(patience=LONG)
    tabs.until_one_stream(LONG)
    tabs.tabs[0].page.show("tabs leader frozen", received)


def test_what_one_tab_adds_or_ends_changes_nothing_for_the_others(stack, browser, proxy, server, topic):
    tabs = Tabs(stack, browser, proxy, server, topic, count=3)
    tabs.until_live()
    eventually(lambda: server.metric("herald_subscriptions") == 4, "three of their own and a common one")
    stream = tabs.press.run([*tabs.topics, f"{topic}/more"], 100_000, 400)
    for tab in tabs:
        tab.start = tabs.press.publish(f"{topic}/common")
        tab.client.subscribe(f"{topic}/more", key="more", after=tab.start)
        tab.client.until_live(key="more")
    for tab in tabs:
        tab.client.unsubscribe("more")
    eventually(lambda: server.metric("herald_subscriptions") == 4, "nobody reads more")
    for tab in tabs:
        tab.client.subscribe(f"{topic}/more", key="again", after=tab.start)
        tab.client.until_live(key="again")
    stream.finish(now=True)
    last = tabs.press.publish(f"{topic}/more")
    for tab in tabs:
        tab.client.until_has(last, key="again")
        tab.client.demand_whole(tabs.press.ledger, tab.start, {f"{topic}/more"}, key="again")
    received = tabs.demand_whole()
    tabs.until_one_stream()
    tabs.tabs[0].page.show("tabs change filters", received)


def test_tabs_of_different_users_have_connections_of_their_own(stack, browser, proxy, server, topic):
    both = [Tabs(stack, browser, proxy, server, f"{topic}/{user}", count=2, share=user) for user in ("ann", "bob")]
    for tabs in both:
        tabs.until_live()
    eventually(lambda: server.metric("herald_readers") == 2, "two readers")
    for tabs in both:
        tabs.demand_whole()
        assert sorted(tab.client.state["role"] for tab in tabs) == ["follower", "leader"]
    both[0].tabs[0].page.show("tabs of two users")


def test_a_tab_that_comes_later_gets_what_it_asks_for(stack, browser, proxy, server, topic):
    """The others are far ahead; it starts in the past, with the oldest, or now."""
    tabs = Tabs(stack, browser, proxy, server, topic, count=2)
    tabs.until_live()
    stream = tabs.press.run(tabs.topics, 3000, 3000)
    stream.finish()
    stream = tabs.press.run(tabs.topics, 100_000, 300)
    late = Tab(9, browser, proxy, topic, tabs.start, {})
    stack.callback(late.close)
    late.client.subscribe(f"{topic}/common", key="earliest", after="earliest")
    late.client.subscribe(f"{topic}/common", key="latest")
    for key in ("main", "earliest", "latest"):
        late.client.until_live(key=key)
    stream.finish(now=True)
    last = tabs.press.publish(f"{topic}/common")
    for key in ("main", "earliest", "latest"):
        late.client.until_has(last, key=key)
    common = {f"{topic}/common"}
    late.client.demand_whole(tabs.press.ledger, tabs.start, common, key="earliest")
    late.client.demand_whole(tabs.press.ledger, tabs.start, {*common, f"{topic}/own/9"})
    first = next(item.id for item in late.client.items("latest") if item.kind == "event")
    before = [each for _, each in tabs.press.ledger.after(tabs.start, common)]
    late.client.demand_whole(tabs.press.ledger, before[before.index(first) - 1], common, key="latest")
    tabs.demand_whole()
    tabs.until_one_stream()
    late.page.show("tabs a late one")


def test_a_network_that_goes_and_comes_back_is_the_same_for_all(stack, browser, proxy, server, topic):
    tabs = Tabs(stack, browser, proxy, server, topic, count=3)
    tabs.until_live()
    stream = tabs.press.run(tabs.topics, 1500, 300)
    for _ in range(6):
        proxy.cut(*TRANSPORTS)
        time.sleep(0.3)
    proxy.block()
    proxy.cut()
    for tab in tabs:
        tab.client.until(lambda tab=tab: tab.client.state["name"] == "waiting", "it knows that it is cut off")
    proxy.let_pass()
    stream.finish()
    tabs.until_live()
    received = tabs.demand_whole()
    tabs.until_one_stream()
    tabs.tabs[0].page.show("tabs cut", received)
