"""herald.js used as nobody should: in a hurry, with handlers that throw, with filters that are none, over reloads."""

import time

import pytest

from browser import new_page
from client_pages import HEARTBEAT, TRANSPORTS, ClientPage, text_of
from helpers import eventually

FILTERS = 200
SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000, "--max-filters-per-connection", FILTERS + 10)


@pytest.fixture
def page(browser, server, proxy):
    eventually(lambda: server.metric("herald_readers") == 0, "those of the last test have gone")
    with new_page(browser, ClientPage) as page:
        page.open(proxy.url)
        yield page


def until_nothing_is_open(server, proxy):
    """Neither the server nor the browser has anything left of what was closed."""
    eventually(lambda: server.metric("herald_readers") == 0, "no reader is left")
    eventually(lambda: server.metric("herald_held_requests") == 0, "no poll is left")
    eventually(lambda: not any(proxy.counts()["open"][each] for each in TRANSPORTS), "no connection is left")


def until_no_requests(proxy):
    """Requests have ceased: none in a time in which several would come."""
    def quiet():
        before = sum(proxy.counts()["requests"].values())
        time.sleep(0.7)
        return sum(proxy.counts()["requests"].values()) == before

    eventually(quiet, "requests cease")


@pytest.mark.parametrize("share", [True, False], ids=["shared", "alone"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_closed_leaves_nothing_behind(page, server, proxy, press, topic, transport, share):
    """Subscriptions first, then the client; and a client with all it has."""
    start = press.start()
    for number in range(3):
        client = page.opened(f"client {number}", transports=[transport], share=share)
        client.subscribe(f"{topic}/a", key="a", after=start).until_live(key="a")
        client.subscribe(f"{topic}/b", key="b", after=start).until_live(key="b")
        if number == 0:
            client.unsubscribe("a")
            client.unsubscribe("b")
            client.until_state("idle")
            until_nothing_is_open(server, proxy)
            client.subscribe(f"{topic}/a", key="again", after=start).until_live(key="again")
        client.close()
        assert client.state["name"] == "closed" and client.state["transport"] is None
        until_nothing_is_open(server, proxy)
    before = client.count(key="a")
    press.publish(f"{topic}/a")
    until_no_requests(proxy)
    assert client.count(key="a") == before
    assert page.uncaught() == []
    page.show(f"closed {transport} {'shared' if share else 'alone'}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_is_closed_while_it_connects_is_gone(page, server, proxy, press, topic, transport):
    start = press.start()
    press.publish(*[topic] * 5)
    for wait in (0, 5, 15, 25, 30, 40, 60):
        client = page.opened(f"after {wait} ms", transports=[transport], share=False)
        client.subscribe(topic, after=start)
        time.sleep(wait / 1000)
        client.close()
        counts = client.count()
        until_nothing_is_open(server, proxy)
        assert client.count() == counts
    # Also while nothing answers.
    proxy.block(way="hold")
    client = page.opened("held", transports=[transport], share=False).subscribe(topic, after=start)
    client.until(lambda: any(proxy.counts()["open"][each] for each in TRANSPORTS), "it has asked")
    client.close()
    eventually(lambda: not any(proxy.counts()["open"][each] for each in TRANSPORTS), "no connection is left")
    until_no_requests(proxy)
    assert page.uncaught() == []


@pytest.mark.parametrize("share", [True, False], ids=["shared", "alone"])
@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
def test_two_hundred_subscriptions_that_come_and_go(page, server, proxy, press, topic, transport, share):
    """Some at once, some while others connect; those that stay get all."""
    start = press.start()
    client = page.opened("client", transports=[transport], share=share)
    client.subscribe(f"{topic}/**", key="stays", after=start)
    stream = press.run([f"{topic}/{number}" for number in range(10)], 100_000, 200)
    page.evaluate(
        "(async () => { const { herald } = runs.get('client');"
        "  window.strays = 0; const live = [];"
        "  for (let number = 0; number < 200; number += 1) {"
        "    const after = ['latest', 'earliest', %s][number %% 3];"
        "    const made = herald.subscribe([`%s/${number %% 10}`, `%s/x/${number}`],"
        "      () => { if (made.isClosed) strays += 1; }, {after});"
        "    live.push(made);"
        "    if (number %% 2) live.splice(number %% live.length, 1)[0].close();"
        "    if (number %% 7 === 0) await new Promise((resolve) => setTimeout(resolve, number %% 40));"
        "  }"
        "  for (const each of live) each.close();"
        "})()" % (text_of(start), topic, topic)
    )
    client.until_live(key="stays")
    client.subscribe(f"{topic}/3", key="last", after=start).until_live(key="last")
    stream.finish(now=True)
    last = press.publish(f"{topic}/3")
    for key in ("stays", "last"):
        client.until_has(last, key=key)
    client.demand_whole(press.ledger, start, key="stays")
    client.demand_whole(press.ledger, start, {f"{topic}/3"}, key="last")
    assert page.evaluate("strays") == 0 and page.uncaught() == []
    eventually(lambda: server.metric("herald_readers") + server.metric("herald_held_requests") <= 2, "one reader")
    eventually(lambda: sum(proxy.counts()["open"][each] for each in TRANSPORTS) <= 1, "one connection")
    page.show(f"come and go {transport} {'shared' if share else 'alone'}", proxy.counts()["requests"])
    client.close()
    until_nothing_is_open(server, proxy)


def test_a_signal_ends_a_subscription(page, server, proxy, press, topic):
    page.evaluate(
        "void (window.herald = new Herald('/', {share: false})); void (window.got = []);"
        "void (window.controller = new AbortController());"
        f"void (window.sub = herald.subscribe({text_of(topic)}, (event) => got.push(event.data.n),"
        " {signal: controller.signal}));"
        f"void (window.never = herald.subscribe({text_of(topic)}, () => got.push('never'),"
        " {signal: AbortSignal.abort()}))"
    )
    page.wait_for("sub.isLive", "it is not live")
    assert page.evaluate("never.isClosed && !never.isLive && !sub.isClosed")
    press.publish(topic)
    page.wait_for("got.length === 1", "the event did not come")
    page.evaluate("controller.abort()")
    assert page.evaluate("sub.isClosed && !sub.isLive")
    press.publish(topic)
    until_nothing_is_open(server, proxy)
    assert page.evaluate("got.length") == 1 and page.evaluate("herald.state.name") == "idle"
    assert page.uncaught() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_that_begins_behind_another_of_the_same_filter_gets_what_lies_between(page, press, topic, transport):
    """The stream has all its filters, and is ahead of it."""
    start = press.start()
    client = page.opened("client", transports=[transport], share=False)
    client.subscribe(topic, key="ahead", after=start).until_live(key="ahead")
    ids = [press.publish(topic) for _ in range(5)]
    client.until_has(ids[-1], key="ahead")
    client.subscribe(topic, key="behind", after=ids[1]).until_live(key="behind")
    client.until_has(press.publish(topic), key="behind")
    client.demand_whole(press.ledger, ids[1], key="behind")
    client.demand_whole(press.ledger, start, key="ahead")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_handler_that_throws_or_closes_does_not_stop_the_others(page, press, topic, transport):
    start = press.start()
    client = page.opened("client", transports=[transport], share=False)
    page.evaluate(
        "(() => { const { herald } = runs.get('client'); window.seen = 0; window.once = 0;"
        f" const after = {text_of(start)}, topic = {text_of(topic)};"
        "  herald.subscribe(topic, () => { seen += 1; throw new Error(`thrown ${seen}`); }, {after});"
        "  herald.subscribe(topic, async () => { throw new Error('rejected'); }, {after}).close();"
        "  herald.subscribe(topic, (event, subscription) => { once += 1; subscription.close(); }, {after});"
        "  herald.addEventListener('state', () => { throw new Error('by a listener'); }); })()"
    )
    client.subscribe(topic, after=start).until_live()
    client.until_has(press.publish(*[topic] * 30))
    client.demand_whole(press.ledger, start)
    page.wait_for("seen === 30", "the handler that throws did not get all")
    assert page.evaluate("once") == 1, "what a handler closes hands on nothing more"
    uncaught = page.uncaught()
    assert sum("thrown" in each for each in uncaught) == 30, uncaught


def test_listeners_are_told_and_may_close(page, press, proxy, topic):
    """A subscription or a client that is closed by what it told of."""
    start = press.start()
    page.evaluate(
        "(() => { const herald = new Herald('/', {share: false}); window.told = [];"
        f" const after = {text_of(start)}, topic = {text_of(topic)};"
        "  const sub = herald.subscribe(topic, () => told.push('event'), {after});"
        "  sub.addEventListener('live', () => { told.push('live'); sub.close(); herald.close(); });"
        "  window.both = [herald, sub]; })()"
    )
    page.wait_for("told.length === 1", "it was not told")
    press.publish(topic)
    until_no_requests(proxy)
    assert page.evaluate("told") == ["live"] and page.evaluate("both[0].state.name") == "closed"
    assert page.evaluate("(() => { try { both[0].subscribe('a', () => {}); } catch (e) { return e.name; } })()")
    page.evaluate("both[0].close(); both[1].close();")
    assert page.uncaught() == []


def test_two_clients_of_a_page(page, server, press, topic):
    """They share a connection as tabs do; those that do not share have their own."""
    start = press.start()
    shared = [page.opened(f"shared {number}").subscribe(topic, after=start) for number in range(2)]
    for client in shared:
        client.until_live()
    assert sorted(client.state["role"] for client in shared) == ["follower", "leader"]
    eventually(lambda: server.metric("herald_readers") == 1, "one reader")
    alone = [page.opened(f"alone {number}", share=False).subscribe(topic, after=start) for number in range(2)]
    for client in alone:
        client.until_live()
    assert [client.state["role"] for client in alone] == ["alone"] * 2
    eventually(lambda: server.metric("herald_readers") == 3, "three readers")
    last = press.publish(*[topic] * 20)
    for client in shared + alone:
        client.until_has(last)
        client.demand_whole(press.ledger, start)
    page.show("two clients of a page")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_filters_that_are_none_are_refused_alone(page, proxy, press, topic, transport):
    start = press.start()
    client = page.opened("client", transports=[transport], share=False)
    client.subscribe(topic, key="good", after=start).until_live(key="good")
    bad = ["no//filter", "a/**/b", "ä", "a b", "/".join("x" * 40), "x" * 200, f"{topic}/?x=1", "a#b", "%", "a/", "/a"]
    for number, text in enumerate(bad):
        client.subscribe(text, key=f"bad {number}")
    client.subscribe([topic, "a//b"], key="mixed", after=start)
    for key in [*(f"bad {number}" for number in range(len(bad))), "mixed"]:
        (refusal,) = client.until_told("refused", key=key)
        assert refusal["name"] == "HeraldError" and refusal["status"] == 400, (key, refusal)
        assert refusal["problem"]["type"] == "/problems/bad-filter", (key, refusal)
    client.until_live(key="good")
    client.until_has(press.publish(*[topic] * 10), key="good")
    client.demand_whole(press.ledger, start, key="good")
    assert page.uncaught() == []
    page.show(f"filters that are none {transport}", proxy.counts()["requests"])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_two_hundred_filters_in_one_subscription(page, press, transport):
    start = press.start()
    topics = [f"{transport}/{number}" for number in range(FILTERS)]
    client = page.opened("client", transports=[transport], share=False).subscribe(topics, after=start).until_live()
    client.until_has(press.publish(*topics))
    assert client.demand_whole(press.ledger, start).received == FILTERS
    page.show(f"many filters {transport}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_more_filters_than_a_connection_may_have_take_nothing_from_those_that_it_has(page, press, transport):
    """The server says so; the subscription that is too much is told, or waits, and the others go on."""
    start = press.start()
    topics = [f"{transport}/{number}" for number in range(FILTERS)]
    client = page.opened("client", transports=[transport], share=False).subscribe(topics, after=start).until_live()
    client.subscribe([f"more/{number}" for number in range(20)], key="too many")
    client.until_has(press.publish(*topics))
    (refusal,) = client.until_told("refused", key="too many")
    assert refusal["problem"]["type"] == "/problems/too-many-filters", refusal
    client.until_live()
    client.until_has(press.publish(*topics))
    client.demand_whole(press.ledger, start)
    assert client.states[-1]["name"] == "live" and client.count("live") == 1, client.states


def test_a_refusal_of_what_is_wanted_no_more_meets_nobody_else(page, proxy, press, topic):
    """It comes for the filters of one that has left, when another that has some of them is waiting."""
    start = press.start()
    patient = {"probeTimeout": 60_000, "silenceMax": 60_000}
    client = page.opened("client", transports=["sse"], share=False, **patient)
    client.subscribe(f"{topic}/stays", key="stays", after=start).until_live(key="stays")
    proxy.freeze()
    accepted = proxy.counts()["accepted"]
    client.subscribe([f"{topic}/{number}" for number in range(FILTERS + 20)], key="too many", after=start)
    client.until(lambda: proxy.counts()["accepted"] > accepted, "it has asked")
    client.unsubscribe("too many")
    client.subscribe(f"{topic}/1", key="other", after=start)
    proxy.thaw()
    client.until_live(key="other")
    last = press.publish(f"{topic}/1")
    client.until_has(last, key="other")
    client.demand_whole(press.ledger, start, {f"{topic}/1"}, key="other")
    assert client.count("refused", key="other") == client.count("refused", key="too many") == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_live_at_once_is_told_to_who_asked(page, press, topic, transport):
    """The stream has its filter already."""
    client = page.opened("client", transports=[transport], share=False)
    client.subscribe(topic).until_live()
    client.subscribe(topic, key="again").until_live(key="again")
    client.until_told("live", key="again")
    client.until_has(press.publish(topic), key="again")


@pytest.mark.parametrize("transport", ["sse", "longpoll"])
def test_a_stream_that_is_on_its_way_is_not_begun_anew(page, server, proxy, press, topic, transport):
    start = press.start()
    page.evaluate("window.asked = 0; const real = fetch; window.fetch = (...it) => { asked += 1; return real(...it); }")
    patient = {"probeTimeout": 60_000, "silenceMax": 60_000}
    client = page.opened("client", transports=[transport], share=False, **patient)
    client.subscribe(f"{topic}/0", after=start).until_live()
    if transport == "longpoll":
        eventually(lambda: server.metric("herald_held_requests") == 1, "a poll is held")
    proxy.freeze()
    before = page.evaluate("asked")
    for number in range(1, 6):
        client.subscribe(f"{topic}/{number}", key=number, after=start)
        page.wait_for(f"asked > {before}", "it has not asked")
        time.sleep(0.1)  # longer than changes are gathered
    assert page.evaluate("asked") == before + 1
    proxy.thaw()
    for number in range(1, 6):
        client.until_live(key=number)
        client.until_has(press.publish(f"{topic}/{number}"), key=number)
    client.demand_whole(press.ledger, start, {f"{topic}/0"})


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_change_that_a_busy_server_puts_off_is_made_when_it_says(page, proxy, press, topic, transport):
    """The stream that there is goes on meanwhile."""
    start = press.start()
    client = page.opened("client", transports=[transport], share=False, backoff={"first": 1, "max": 1})
    client.subscribe(f"{topic}/a", after=start).until_live()
    proxy.block(way="busy", seconds=1, times=1)
    client.subscribe(f"{topic}/b", key="later", after=start)
    client.until(lambda: any(each["way"] == "busy" for each in proxy.log(transport)), "it is put off")
    client.until_has(press.publish(f"{topic}/a"))
    client.until_live(key="later")
    client.until_has(press.publish(f"{topic}/b"), key="later")
    client.demand_whole(press.ledger, start, {f"{topic}/a"})
    client.demand_whole(press.ledger, start, {f"{topic}/b"}, key="later")
    put_off, again = (each["at"] for each in proxy.log(transport)[-2:])
    assert again - put_off >= 0.9
    assert [state["name"] for state in client.states] == ["connecting", "live"] and client.count("live") == 1


def test_what_is_given_wrong_is_an_error_at_once(page):
    for expression in (
        "new Herald('ftp://x')",
        "new Herald('/', {transports: []})",
        "new Herald('/', {transports: ['pigeon']})",
        "new Herald('/', {transports: 'sse'})",
        "new Herald('/', {probeTimeout: 0})",
        "new Herald('/', {silenceMax: NaN})",
        "new Herald('/', {climbAfter: -1})",
        "new Herald('/', {token: 5})",
        "new Herald('/', {backoff: {first: -1}})",
        "new Herald('/', {backoff: {max: 0}})",
        "new Herald('/').subscribe([], () => {})",
        "new Herald('/').subscribe('', () => {})",
        "new Herald('/').subscribe('a')",
        "new Herald('/').subscribe(7, () => {})",
        "new Herald('/').subscribe(['a', null], () => {})",
        "new Herald('/').subscribe('a', () => {}, {after: 'yesterday'})",
    ):
        thrown = page.evaluate(f"(() => {{ try {{ {expression}; return null; }} catch (e) {{ return e.name; }} }})()")
        assert thrown in ("TypeError", "RangeError"), (expression, thrown)


KEEP = """
addEventListener("pagehide", () => {
  const run = runs.get("client");
  sessionStorage.cursor = run.subscriptions.get("main").cursor;
  const before = JSON.parse(sessionStorage.items ?? "[]");
  sessionStorage.items = JSON.stringify([...before, ...run.items.get("main")]);
});
window.isOld = true;
"""


@pytest.mark.parametrize("share", [True, False], ids=["shared", "alone"])
def test_a_page_that_is_loaded_anew_goes_on_from_its_cursor(page, press, topic, share):
    """It keeps the cursor in sessionStorage when it goes; the next begins there."""
    start = cursor = press.start()
    stream = press.run([f"{topic}/a", f"{topic}/b"], 100_000, 200)
    for _ in range(3):
        client = page.opened("client", share=share).subscribe(f"{topic}/*", after=cursor).until_live()
        page.evaluate(KEEP)
        client.until_told("event", 20)
        page.call("Page.reload")
        page.wait_for("!window.isOld && Boolean(globalThis.runs)", "it was not loaded anew")
        cursor = page.evaluate("sessionStorage.cursor")
    client = page.opened("client", share=share).subscribe(f"{topic}/*", after=cursor).until_live()
    client.until_has(stream.finish(now=True))
    page.evaluate("void runs.get('client').items.get('main').unshift(...JSON.parse(sessionStorage.items))")
    client.demand_whole(press.ledger, start)
    page.show(f"loaded anew {'shared' if share else 'alone'}")


def test_a_page_that_is_left_and_comes_back_goes_on(page, proxy, server, press, topic):
    """As it was, if the browser has kept it, and else by what it does when it is loaded."""
    start = press.start()
    client = page.opened("client").subscribe(topic, after=start).until_live()
    page.evaluate(KEEP)
    client.until_has(press.publish(*[topic] * 5))
    page.call("Page.navigate", url=f"{server.url}/healthz")
    page.wait_for("location.pathname === '/healthz'", "the other page did not come")
    eventually(lambda: server.metric("herald_readers") == 0, "it has let go of its connection")
    press.publish(*[topic] * 5)
    page.evaluate("history.back()")
    page.wait_for(f"location.origin === {text_of(proxy.url)} && Boolean(globalThis.runs)", "it did not come back")
    if page.evaluate("Boolean(window.isOld)"):
        client.until_live()
    else:
        client = page.opened("client").subscribe(topic, after=page.evaluate("sessionStorage.cursor")).until_live()
        page.evaluate("void runs.get('client').items.get('main').unshift(...JSON.parse(sessionStorage.items))")
    client.until_has(press.publish(*[topic] * 5))
    client.demand_whole(press.ledger, start)
    page.show("left and came back")


def test_large_events_and_many_come_whole(page, press, server, topic):
    """A megabyte in one, and polls that are cut off by their size."""
    start = press.start()
    clients = [
        page.opened(transport, transports=[transport], share=False, silenceMax=10_000).subscribe(topic, after=start)
        for transport in TRANSPORTS
    ]
    for client in clients:
        client.until_live()
    text = "é" * 200_000
    page.evaluate(
        f"Promise.all(Array.from({{length: 8}}, (_, n) => runs.get('sse').herald.publish({text_of(topic)},"
        f" {{n: `big ${{n}}`, text: {text_of(text)} }})))"
    )
    for client in clients:
        client.until_told("event", 8)
        rows = [item["data"]["n"] for item in client.told("event")]
        assert sorted(rows) == [f"big {number}" for number in range(8)], client.name
        ids = [int(item["id"][9:]) for item in client.told("event")]
        assert ids == sorted(set(ids)), client.name
    page.show("large events")
