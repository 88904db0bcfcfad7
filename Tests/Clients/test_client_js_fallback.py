"""herald.js behind firewalls and proxies: it ends up on the best transport that works there, and climbs when it may."""

import itertools

import pytest

from client_pages import HEARTBEAT, TRANSPORTS

SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 10_000)
BLOCKED = {
    "refused": dict.fromkeys(TRANSPORTS, {"way": "refuse"}),
    "firewall-page": dict.fromkeys(TRANSPORTS, {"way": "wall"}),
    "bad-gateway": dict.fromkeys(TRANSPORTS, {"way": "gateway"}),
    # A stream never is whole, so it is held back for ever. Of a poll nothing may come either.
    "buffered": {
        "websocket": {"way": "buffer"},
        "sse": {"way": "buffer"},
        "longpoll": {"way": "hold"},
    },
}
# Where nothing is said, it is by this time that a client goes on.
IMPATIENT = {"refused": {}, "firewall-page": {}, "bad-gateway": {}, "buffered": {"probeTimeout": 800}}


def tried(client):
    """The transports of a client's states, in the order in which they first were there."""
    return list(dict.fromkeys(state["transport"] for state in client.states if state["transport"]))


def kinds_asked(proxy):
    """The kinds of requests that came for events, in the order of the first of each. Of "latest" a long-poll begins
    with one that is not held, so of short-polls it does not say when they began."""
    kinds = dict.fromkeys(each["kind"] for each in proxy.log())
    return [kind for kind in kinds if kind != "shortpoll"]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("way", BLOCKED)
def test_a_client_falls_back_in_order_and_gets_all(page, proxy, press, topic, way, count):
    for transport in TRANSPORTS[:count]:
        proxy.block(transport, **BLOCKED[way][transport])
    start = press.start()
    topics = [f"{topic}/a", f"{topic}/b/c"]
    press.publish(*topics * 3)
    client = page.opened("client", **IMPATIENT[way]).subscribe(f"{topic}/**", after=start)
    stream = press.run(topics, 80, 200)
    client.until_live(TRANSPORTS[count])
    client.until_has(stream.finish())
    client.until_has(press.publish(*topics))
    verdict = client.demand_whole(press.ledger, start)
    assert verdict.received == 88
    assert tried(client) == list(TRANSPORTS[: count + 1])
    expected = [each for each in TRANSPORTS[: count + 1] if each != "shortpoll"]
    assert kinds_asked(proxy) == expected
    page.show(f"fallback {way} {count}", {"requests": proxy.counts()["requests"], "received": verdict.received})


def test_without_obstacles_it_is_a_websocket_and_nothing_else(page, proxy, press, topic):
    start = press.start()
    client = page.opened("client").subscribe(topic, after=start).until_live("websocket")
    client.until_has(press.publish(*[topic] * 20))
    client.demand_whole(press.ledger, start)
    requests = proxy.counts()["requests"]
    assert (requests["websocket"], requests["sse"], requests["longpoll"], requests["shortpoll"]) == (1, 0, 0, 0)
    page.show("fallback not needed", requests)


def test_where_answers_come_only_whole_long_polls_do(page, proxy, press, topic):
    """All that a proxy lets through is what has ended."""
    proxy.block(way="buffer")
    start = press.start()
    client = page.opened("client", probeTimeout=800).subscribe(topic, after=start).until_live("longpoll")
    stream = press.run([topic], 200, 200)
    client.until_has(stream.finish())
    client.demand_whole(press.ledger, start)
    assert client.state["transport"] == "longpoll" and proxy.counts()["requests"]["longpoll"] > 1
    page.show("fallback whole answers")


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_stream_that_comes_to_a_halt_is_left_for_the_next(page, proxy, press, topic, transport):
    """The first bytes come through, and then no more: a buffer that is flushed once, or a line that died."""
    after = TRANSPORTS[TRANSPORTS.index(transport) + 1]
    for each in TRANSPORTS[: TRANSPORTS.index(transport)]:
        proxy.block(each)
    proxy.block(transport, way="hold", bytes=900)
    start = press.start()
    client = page.opened("client", silenceMax=800).subscribe(topic, after=start)
    stream = press.run([topic], 100_000, 60)
    client.until_live(after, patience=60)
    client.until_has(stream.finish(now=True))
    client.demand_whole(press.ledger, start)
    page.show(f"fallback halt {transport}", proxy.counts()["requests"])


def test_where_each_request_is_cut_after_a_time_nothing_is_lost(page, proxy, press, topic):
    proxy.block(way="limit", seconds=0.7)
    start = press.start()
    client = page.opened("client").subscribe(f"{topic}/*", after=start)
    last = press.run([f"{topic}/a", f"{topic}/b"], 700, 200).finish()
    client.until_has(last)
    client.demand_whole(press.ledger, start)
    page.show("fallback limit", proxy.counts()["requests"])


@pytest.mark.parametrize("way", ["refused", "firewall-page", "buffered"])
def test_it_climbs_back_when_it_may(page, proxy, press, topic, way):
    for transport in TRANSPORTS[:3]:
        proxy.block(transport, **BLOCKED[way][transport])
    start = press.start()
    topics = [f"{topic}/a", f"{topic}/b"]
    client = page.opened("client", climbAfter=200, **IMPATIENT[way]).subscribe(f"{topic}/*", after=start)
    stream = press.run(topics, 100_000, 200)
    client.until_live("shortpoll", patience=60)
    proxy.let_pass()
    client.until_live("websocket", patience=60)
    last = stream.finish(now=True)
    client.until_has(last)
    client.until_has(press.publish(*topics))
    verdict = client.demand_whole(press.ledger, start)
    # Nothing of what it had before is left.
    client.until(lambda: sum(proxy.counts()["open"][each] for each in TRANSPORTS) == 1, "one connection")
    assert proxy.counts()["open"]["websocket"] == 1
    page.show(f"climb {way}", {"requests": proxy.counts()["requests"], "received": verdict.received})


def test_a_climb_that_fails_costs_nothing(page, proxy, press, server, topic):
    """What is tried again and again beside the one that works, and may not."""
    proxy.block("websocket", way="hold")
    proxy.block("sse", way="wall")
    start = press.start()
    client = page.opened("client", climbAfter=100, probeTimeout=300).subscribe(topic, after=start)
    client.until_live("longpoll")
    before = proxy.counts()["requests"]
    stream = press.run([topic], 100_000, 150)
    client.until(lambda: proxy.counts()["requests"]["websocket"] > before["websocket"] + 1, "it is tried again")
    client.until_has(stream.finish(now=True))
    client.demand_whole(press.ledger, start)
    assert client.state["transport"] == "longpoll"
    # Tries that came to nothing were ended.
    client.until(lambda: proxy.counts()["open"]["websocket"] <= 1, "no connection is left over")
    page.show("climb in vain", proxy.counts()["requests"])


def test_it_does_not_climb_to_polls_that_are_never_answered_when_they_are_held(page, proxy, press, topic):
    """Those that are not held come through, and say nothing of the others."""
    proxy.block("longpoll", way="hold")
    start = press.start()
    polls = ["longpoll", "shortpoll"]
    client = page.opened("client", transports=polls, climbAfter=100, probeTimeout=500).subscribe(topic, after=start)
    stream = press.run([topic], 100_000, 100)
    client.until_live("shortpoll", patience=60)
    seen, tried = len(client.states), proxy.counts()["requests"]["longpoll"]
    client.until(lambda: proxy.counts()["requests"]["longpoll"] >= tried + 2, "long-polls are tried again")
    client.until_has(stream.finish(now=True))
    client.demand_whole(press.ledger, start)
    page.show("climb to held polls", proxy.counts()["requests"])
    assert [state["name"] for state in client.states[seen:]].count("waiting") == 0, client.states[seen:]


@pytest.mark.parametrize("way", ["refuse", "wall", "hold"])
def test_where_nothing_passes_it_waits_and_says_why(page, proxy, press, topic, way):
    proxy.block(way=way)
    start = press.start()
    client = page.opened("client", probeTimeout=400).subscribe(topic, after=start)
    state = client.until_state("waiting")
    assert state["error"]["name"] == "HeraldError" and state["error"]["message"] and state["retryAt"] > 0
    assert state["error"]["problem"] is None
    press.publish(*[topic] * 30)
    client.until(lambda: all(proxy.counts()["requests"][each] for each in ("websocket", "sse")), "all are tried")
    assert client.count() == 0
    proxy.let_pass()
    client.until_live()
    client.until_has(press.publish(topic))
    client.demand_whole(press.ledger, start)
    assert client.state["error"] is None and client.state["retryAt"] is None
    page.show(f"nothing passes {way}", proxy.counts()["requests"])


def test_subscriptions_that_wait_for_a_connection_do_not_ask_in_a_hurry(page, proxy, press, topic):
    """One starts now and one in the past, while it is being found out which transport works."""
    proxy.block("websocket", "sse", way="hold")
    start = press.start()
    client = page.opened("client", probeTimeout=1000).subscribe(f"{topic}/now", key="now")
    client.subscribe(f"{topic}/past", key="past", after=start)
    client.until_live(key="past")
    client.until_live(key="now")
    press.publish(*[f"{topic}/now", f"{topic}/past"] * 10)
    last = press.publish(f"{topic}/now")
    client.until_has(last, key="now")
    client.demand_whole(press.ledger, start, {f"{topic}/now"}, key="now")
    client.until(lambda: client.count(key="past") == 10, "all of the past")
    client.demand_whole(press.ledger, start, {f"{topic}/past"}, key="past")
    assert proxy.counts()["requests"]["shortpoll"] < 40, proxy.counts()["requests"]
    page.show("nobody is in a hurry", proxy.counts()["requests"])


def test_transports_may_be_left_out(page, proxy, press, topic):
    start = press.start()
    lists = [list(each) for each in itertools.permutations(("sse", "longpoll", "shortpoll"), 2)] + [["websocket"]]
    clients = [
        page.opened("-".join(each), transports=each, share=False).subscribe(topic, after=start) for each in lists
    ]
    for client, transports in zip(clients, lists, strict=True):
        client.until_live(transports[0])
    last = press.publish(*[topic] * 10)
    for client in clients:
        client.until_has(last)
        client.demand_whole(press.ledger, start)
    page.show("fallback other orders")
