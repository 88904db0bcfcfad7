"""herald.js with tokens that run out while it reads, that are no good, and that do not allow what it asks for."""

import time

import pytest

from access import secret_file, token
from browser import new_page
from client_pages import TRANSPORTS, ClientPage, Issuer, Press, text_of

LIFE, WARNING = 4, 2
RUNS = 9  # seconds: each token has run out twice by then
# One at the start, and another whenever LIFE - WARNING seconds have passed, or a second less by whole seconds.
ASKED_MAX = 2 + RUNS // (LIFE - WARNING - 1)


@pytest.fixture(scope="module")
def server(servers, tmp_path_factory):
    flags = ["--token-secret-file", secret_file(tmp_path_factory.mktemp("keys")), "--token-warning", f"{WARNING}s"]
    started = servers.start("client-js-tokens", *flags, "--heartbeat", "300ms", "--retain-events", 20_000)
    yield started
    servers.stop(started)


@pytest.fixture
def press(server):
    return Press(server, token(life=3600))


def admissions(server):
    return {event: server.metric("herald_admissions_total", event=event) for event in ("renewed", "expired")}


def test_tokens_run_out_and_nothing_is_lost(page, server, press, topic):
    """Streams are renewed in place; polls come with the next token."""
    before = admissions(server)
    start = press.start()
    with Issuer(lambda name: token(subscribe=[f"{topic}/*"], life=LIFE)) as issuer:
        clients = {}
        for transport in TRANSPORTS:
            options = {"transports": [transport], "share": False, "issuer": issuer.url(transport)}
            clients[transport] = page.opened(transport, **options).subscribe(f"{topic}/*", after=start)
        for client in clients.values():
            client.until_live()
        last = press.run([f"{topic}/a", f"{topic}/b"], 100 * RUNS, 100).finish()
        for transport, client in clients.items():
            client.until_has(last)
            client.demand_whole(press.ledger, start)
        assert all(3 <= issuer.asked[transport] <= ASKED_MAX for transport in TRANSPORTS), issuer.asked
        moved = {event: count - before[event] for event, count in admissions(server).items()}
        assert moved["renewed"] >= 4, moved
        # A stream never ended: each was opened once.
        for transport in ("websocket", "sse"):
            assert [state["name"] for state in clients[transport].states] == ["connecting", "live"], transport
        page.show("tokens run out", {"asked": issuer.asked, "admissions": moved})


def test_whoever_comes_back_with_a_token_that_has_run_out_gets_another(page, proxy, press, topic):
    """It ran out while the network was gone, so nobody could say so."""
    start = press.start()
    with Issuer(lambda name: token(subscribe=[topic], life=LIFE)) as issuer:
        clients = {}
        for name, transports in {**{each: [each] for each in TRANSPORTS}, "all": list(TRANSPORTS)}.items():
            options = {"transports": transports, "share": False, "issuer": issuer.url(name)}
            clients[name] = page.opened(name, **options).subscribe(topic, after=start)
        for client in clients.values():
            client.until_live()
        last = press.publish(*[topic] * 5)
        for client in clients.values():
            client.until_has(last)
        proxy.block("renewal", *TRANSPORTS)
        proxy.cut()
        press.publish(*[topic] * 5)
        time.sleep(LIFE + 0.5)
        proxy.let_pass()
        stuck = {}
        for name, client in clients.items():
            try:
                client.until_live()
                client.until_has(press.publish(topic))
                client.demand_whole(press.ledger, start)
            except AssertionError as error:
                stuck[name] = str(error)[:300]
        assert stuck == {}
        assert all(asked <= 4 for asked in issuer.asked.values()), issuer.asked
        page.show("tokens back late", issuer.asked)


EACH_AND_ALL = [*([each] for each in TRANSPORTS), list(TRANSPORTS)]


@pytest.mark.parametrize("transports", EACH_AND_ALL, ids=[*TRANSPORTS, "all"])
def test_tokens_that_are_never_good_end_in_a_refusal(page, proxy, press, topic, transports):
    with Issuer(lambda name: token(subscribe=[topic], life=-60)) as issuer:
        client = page.opened("client", transports=transports, issuer=issuer.url("bad")).subscribe(topic)
        (refusal,) = client.until_told("refused")
        assert refusal["name"] == "HeraldError" and refusal["status"] == 401
        assert refusal["problem"]["type"] == "/problems/expired-token" and refusal["problem"]["status"] == 401
        state = client.until_state("refused")
        assert state["error"]["problem"]["status"] == 401
        assert 1 <= issuer.asked["bad"] <= 4, issuer.asked
        requests = sum(proxy.counts()["requests"][each] for each in TRANSPORTS)
        assert requests <= 12, proxy.counts()
        # It has ended: it asks for nothing more.
        time.sleep(1)
        assert sum(proxy.counts()["requests"][each] for each in TRANSPORTS) == requests
        assert client.count() == 0 and client.count("refused") == 1
        page.show(f"tokens never good {len(transports)} {transports[-1]}", issuer.asked)


def test_whoever_begins_in_the_past_is_refused_as_others_are(page, topic):
    """It reads up to the present by polls of its own first."""
    client = page.opened("client", token=token(subscribe=["other/x"], life=600)).subscribe(topic, after="earliest")
    (refusal,) = client.until_told("refused")
    assert refusal["problem"]["type"] == "/problems/forbidden", refusal
    state = client.until_state("refused")
    assert state["error"]["status"] == 403
    page.show("tokens refused in the past")


def test_a_token_that_is_a_text_and_runs_out_ends_in_a_refusal(page, press, topic):
    start = press.start()
    clients = {}
    for transport in TRANSPORTS:
        options = {"transports": [transport], "share": False, "token": token(subscribe=[topic], life=LIFE)}
        clients[transport] = page.opened(transport, **options).subscribe(topic, after=start).until_live()
    last = press.publish(*[topic] * 10)
    for transport, client in clients.items():
        client.until_has(last)
        (refusal,) = client.until_told("refused")
        assert refusal["problem"]["type"] == "/problems/expired-token", (transport, refusal)
        client.until_state("refused")
    page.show("tokens text")


def test_a_callback_that_fails_is_asked_again(page, press, topic):
    """Its own server is away for a moment."""
    text = token(subscribe=[topic], life=600)
    page.evaluate(
        f"window.asked = 0; window.flaky = () => {{ asked += 1; if (asked < 3) throw new Error('no luck');"
        f" return Promise.resolve({text_of(text)}); }}"
    )
    page.evaluate(
        "void (window.herald = new Herald('/', {share: false, token: flaky, backoff: {first: 20, max: 50}}));"
        "void (window.got = []);"
        f"void (window.sub = herald.subscribe({text_of(topic)}, event => got.push(event.data.n)))"
    )
    page.wait_for("sub.isLive", "it is not live")
    press.publish(topic)
    page.wait_for("got.length === 1", "the event did not come")
    assert page.evaluate("asked") == 3
    page.evaluate("herald.close()")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_filter_that_is_not_allowed_is_told_to_its_subscription_alone(page, server, press, topic, transport):
    start = press.start()
    options = {"transports": [transport], "share": False, "token": token(subscribe=[f"{topic}/*"], life=600)}
    client = page.opened("client", **options)
    client.subscribe(f"{topic}/*", key="first", after=start).until_live(key="first")
    stream = press.run([f"{topic}/a", f"{topic}/b"], 100_000, 200)
    client.subscribe("foreign/**", key="foreign")
    (refusal,) = client.until_told("refused", key="foreign")
    assert refusal["status"] == 403 and refusal["problem"]["type"] == "/problems/forbidden", refusal
    client.subscribe(["other/x", f"{topic}/a"], key="mixed", after=start)
    client.until_told("refused", key="mixed")
    client.subscribe(f"{topic}/b", key="last", after=start).until_live(key="last")
    last = stream.finish(now=True)
    last = press.publish(f"{topic}/b")
    client.until_has(last, key="first")
    client.until_has(last, key="last")
    client.demand_whole(press.ledger, start, key="first")
    client.demand_whole(press.ledger, start, {f"{topic}/b"}, key="last")
    assert client.count(key="foreign") == client.count(key="mixed") == 0
    assert client.count("refused", key="first") == client.count("refused", key="last") == 0
    page.show(f"tokens foreign filter {transport}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_several_begin_at_once_and_one_is_not_allowed(page, press, topic, transport):
    start = press.start()
    options = {"transports": [transport], "share": False, "token": token(subscribe=[f"{topic}/*"], life=600)}
    client = page.opened("client", **options)
    client.subscribe(f"{topic}/a", key="a", after=start)
    client.subscribe("foreign/**", key="foreign", after=start)
    client.subscribe(f"{topic}/b", key="b", after=start)
    (refusal,) = client.until_told("refused", key="foreign")
    assert refusal["problem"]["type"] == "/problems/forbidden"
    for key in "ab":
        client.until_live(key=key)
    press.publish(*[f"{topic}/a", f"{topic}/b"] * 20)
    for key in "ab":
        client.until(lambda key=key: client.count(key=key) == 20, "all has come")
        client.demand_whole(press.ledger, start, {f"{topic}/{key}"}, key=key)
    page.show(f"tokens one of three {transport}")


def test_what_the_leading_tab_may_not_another_may(browser, proxy, press, server, topic):
    """Two tabs, one connection, two users: each has what its token allows, and is refused what it does not."""
    start = press.start()
    with new_page(browser, ClientPage) as first, new_page(browser, ClientPage) as second:
        clients = {}
        for name, page in (("ann", first), ("bob", second)):
            page.open(proxy.url)
            options = {"token": token(sub=name, subscribe=[f"{topic}/{name}", f"{topic}/all"], life=600)}
            clients[name] = page.opened(name, **options).subscribe(f"{topic}/all", after=start)
            clients[name].until_live()
        assert {client.state["role"] for client in clients.values()} == {"leader", "follower"}
        for name, client in clients.items():
            client.subscribe(f"{topic}/{name}", key="own", after=start)
            client.subscribe("foreign/x", key="foreign")
        for client in clients.values():
            (refusal,) = client.until_told("refused", key="foreign")
            assert refusal["problem"]["type"] == "/problems/forbidden"
            client.until_live(key="own")
            client.until_live()
        press.publish(*[f"{topic}/{name}" for name in ("ann", "bob", "all")] * 10)
        for name, client in clients.items():
            client.until(lambda client=client: client.count(key="own") == 10, "its own")
            client.until(lambda client=client: client.count() == 10, "what is for all")
            client.demand_whole(press.ledger, start, {f"{topic}/{name}"}, key="own")
            client.demand_whole(press.ledger, start, {f"{topic}/all"})
        first.show("tokens two tabs")


def test_what_several_may_not_is_refused_to_them_alone(page, proxy, press, topic):
    """They ask for the same, the second before the first is answered; another asks for what it may have."""
    start = press.start()
    patient = {"probeTimeout": 60_000, "silenceMax": 60_000, "transports": ["websocket"], "share": False}
    client = page.opened("client", token=token(subscribe=[f"{topic}/*"]), **patient)
    client.subscribe(f"{topic}/all", after=start).until_live()
    proxy.freeze()
    client.subscribe("foreign/x", key="first")
    client.subscribe("foreign/x", key="second")
    client.subscribe(f"{topic}/own", key="own", after=start)
    proxy.thaw()
    for key in ("first", "second"):
        (refusal,) = client.until_told("refused", key=key)
        assert refusal["problem"]["type"] == "/problems/forbidden"
        assert client.count("live", key=key) == 0
    client.until_live(key="own")
    client.until_has(press.publish(f"{topic}/own"), key="own")
    assert client.count("refused", key="own") == 0


def test_tokens_of_tabs_are_renewed_by_whoever_leads(browser, proxy, press, topic):
    start = press.start()
    with Issuer(lambda name: token(subscribe=[f"{topic}/*"], life=LIFE)) as issuer:
        with new_page(browser, ClientPage) as first, new_page(browser, ClientPage) as second:
            clients = []
            for page in (first, second):
                page.open(proxy.url)
                options = {"issuer": issuer.url("tabs"), "transports": ["websocket"]}
                clients.append(page.opened("tab", **options).subscribe(f"{topic}/*", after=start).until_live())
            last = press.run([f"{topic}/a"], 100 * (LIFE + 2), 100).finish()
            for client in clients:
                client.until_has(last)
                client.demand_whole(press.ledger, start)
            assert issuer.asked["tabs"] <= 2 + ASKED_MAX
            first.show("tokens renewed for tabs", issuer.asked)
