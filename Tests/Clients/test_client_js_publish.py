"""herald.js publishes: what is sent is what comes, once, however often the answer was lost."""

import base64

import pytest

from access import bearer, secret_file, token
from blocking_proxy import BlockingProxy
from browser import new_page
from client_pages import ClientPage, Issuer, text_of

QUICK = "{share: false, probeTimeout: 1000, backoff: {first: 20, max: 100}}"


@pytest.fixture
def page(page):
    page.evaluate(f"void (window.herald = new Herald('/', {QUICK}))")
    return page


def published(page, topic, data, options="{}"):
    """The receipt, or the error that was thrown."""
    return page.evaluate(
        f"herald.publish({text_of(topic)}, {data}, {options}).then(receipt => ({{receipt}}),"
        " error => ({name: error.name, isHeraldError: error instanceof HeraldError, status: error.status,"
        " problem: error.problem, message: error.message}))"
    )


def events_of(server, topic, **headers):
    answer = server.client.get(f"/v1/events/{topic}", headers=headers)
    return answer.raise_for_status().json()["events"]


KINDS = {
    "text": ("'grüße, 世界 🎈'", "text/plain; charset=utf-8", "grüße, 世界 🎈"),
    "empty": ("''", "text/plain; charset=utf-8", ""),
    "object": ("{a: [1, 2, {b: null}]}", "application/json", {"a": [1, 2, {"b": None}]}),
    "number": ("12.5", "application/json", 12.5),
    "null": ("null", "application/json", None),
    "false": ("false", "application/json", False),
    "bytes": ("new Uint8Array([0, 255, 1, 128])", "application/octet-stream", bytes([0, 255, 1, 128])),
    "buffer": ("new Uint8Array([9, 0, 200]).buffer", "application/octet-stream", bytes([9, 0, 200])),
    "view": ("new Uint8Array([1, 2, 3, 200, 5]).subarray(1, 4)", "application/octet-stream", bytes([2, 3, 200])),
    "blob": ("new Blob([new Uint8Array([7, 250])])", "application/octet-stream", bytes([7, 250])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_comes_as_it_was(page, server, topic, kind):
    script, content_type, expected = KINDS[kind]
    receipt = published(page, topic, script, "{type: 'test.kind'}")["receipt"]
    (event,) = events_of(server, topic)
    data = base64.b64decode(event["data_base64"]) if isinstance(expected, bytes) else event["data"]
    assert data == expected and event["type"] == "test.kind"
    assert event["datacontenttype"].replace(" ", "") == content_type.replace(" ", "")
    assert receipt == {"id": event["id"], "topic": topic, "time": event["time"], "receivers": 0}


def test_a_page_gets_what_it_publishes(page, topic):
    """By each transport, with bytes as bytes."""
    page.evaluate(
        "void (window.got = {}); for (const transport of ['websocket', 'sse', 'longpoll', 'shortpoll']) {"
        " const client = new Herald('/', {share: false, transports: [transport], shortPollInterval: 100});"
        f" got[transport] = []; got[transport].sub = client.subscribe({text_of(topic)}, event => {{"
        " const {data} = event; got[transport].push(data instanceof Uint8Array ? `bytes ${[...data]}` :"
        " JSON.stringify([event.type ?? null, event.topic, data])); }, {after: 'earliest'}); }"
    )
    page.wait_for("Object.values(got).every(each => each.sub.isLive)", "not all are live")
    published(page, topic, "new Uint8Array([1, 2, 255])")
    published(page, topic, "{a: 1}", "{type: 'herald-like.type'}")
    published(page, topic, "'one\\ntwo\\r\\nthree'")
    page.wait_for("Object.values(got).every(each => each.length === 3)", "not all have come")
    rows = page.evaluate("Object.values(got).map(each => [...each])")
    expected = [
        "bytes 1,2,255",
        f'["herald-like.type","{topic}",{{"a":1}}]',
        f'[null,"{topic}","one\\ntwo\\r\\nthree"]',
    ]
    assert rows == [expected] * 4
    page.show("publish and receive")


def test_a_content_type_may_be_given(page, server, topic):
    published(page, topic, "'<a/>'", "{contentType: 'application/xml'}")
    (event,) = events_of(server, topic)
    assert event["datacontenttype"] == "application/xml"


def test_what_was_not_answered_is_sent_again_and_published_once(page, proxy, server, topic):
    proxy.block("publish", way="cut", times=3)
    receipt = published(page, topic, "'once'")["receipt"]
    requests = proxy.log("publish")
    assert [each["way"] for each in requests] == ["cut", "cut", "cut", "pass"]
    assert len({each["key"] for each in requests}) == 1 and requests[0]["key"]
    (event,) = events_of(server, topic)
    assert event["id"] == receipt["id"] and event["data"] == "once"
    # Another has another key.
    published(page, topic, "'once'")
    assert proxy.log("publish")[-1]["key"] != requests[0]["key"] and len(events_of(server, topic)) == 2


@pytest.mark.parametrize("way", ["cut", "refuse", "gateway", "wall", "busy", "hold"])
def test_it_gives_up_after_so_many_tries(page, proxy, server, topic, way):
    page.evaluate(f"void (window.herald = new Herald('/', {QUICK.replace('1000', '100')}))")
    proxy.block("publish", way=way)
    error = published(page, topic, "'x'", "{retries: 1}")
    assert error["isHeraldError"] and error["name"] == "HeraldError" and error["problem"] is None
    assert error["status"] == {"gateway": 502, "wall": 403, "busy": 503}.get(way, 0)
    assert len(proxy.log("publish")) == 2
    assert len({each["key"] for each in proxy.log("publish")}) == 1


def test_it_waits_as_long_as_it_is_told(page, proxy, server, topic):
    proxy.block("publish", way="busy", seconds=1, times=1)
    assert published(page, topic, "'x'")["receipt"]
    first, second = (each["at"] for each in proxy.log("publish"))
    assert second - first >= 0.9 and len(events_of(server, topic)) == 1


def test_a_key_may_be_given(page, proxy, server, topic):
    receipts = [published(page, topic, "'x'", "{idempotencyKey: 'mine-1'}")["receipt"] for _ in range(2)]
    assert receipts[0]["id"] == receipts[1]["id"] and len(events_of(server, topic)) == 1
    assert [each["key"] for each in proxy.log("publish")] == ["mine-1"] * 2


@pytest.mark.parametrize("bad", ["~server/own", "a//b", "a/*", "ä/ö"])
def test_a_topic_that_is_none_is_refused_in_the_servers_words(page, proxy, bad):
    error = published(page, bad, "'x'")
    assert error["isHeraldError"] and error["problem"]["type"].startswith("/problems/"), error
    assert error["status"] == error["problem"]["status"] and error["status"] in (400, 403, 422), error
    assert len(proxy.log("publish")) == 1, "what is refused is not repeated"


@pytest.mark.parametrize("bad", ["a/../b", "a/./b", "..", ""])
def test_a_topic_that_an_address_would_change_is_not_sent_elsewhere(page, proxy, server, bad):
    before = server.metric("herald_events_published_total")
    error = published(page, bad, "'x'")
    assert "receipt" not in error, error
    assert server.metric("herald_events_published_total") == before


@pytest.mark.parametrize("topic_text", ["a?b", "a#b", "a%2Fb", "a%b", "a b", "a\\b"])
def test_what_is_special_in_an_address_stays_in_the_topic(page, proxy, server, topic_text):
    """No topic has it, so the server says no; an event in another topic would be worse."""
    before = server.metric("herald_events_published_total")
    error = published(page, topic_text, "'x'")
    assert error.get("status") in (400, 404, 422), error
    assert server.metric("herald_events_published_total") == before


def test_data_that_is_no_json_is_refused_before_it_is_sent(page, proxy, topic):
    for data in ("undefined", "() => 1", "Symbol()", "10n", "(() => { const a = {}; a.a = a; return a; })()"):
        assert "receipt" not in published(page, topic, data), data
    assert proxy.log("publish") == []


def test_it_can_be_called_off(page, proxy, topic):
    proxy.block("publish", way="hold")
    error = page.evaluate(
        "(async () => { const controller = new AbortController();"
        f" const sent = herald.publish({text_of(topic)}, 'x', {{signal: controller.signal}});"
        " setTimeout(() => controller.abort(), 200); try { await sent; } catch (error) { return error.name; } })()"
    )
    assert error == "AbortError"
    already = page.evaluate(
        f"herald.publish({text_of(topic)}, 'x', {{signal: AbortSignal.abort()}}).then(() => 'sent', e => e.name)"
    )
    assert already == "AbortError"


def test_a_token_that_has_run_out_is_replaced_and_one_that_does_not_allow_is_not(browser, server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path))
    lives = iter([-60, 600, 600])
    with (
        Issuer(lambda name: token(publish=["mine/*"], subscribe=["mine/*"], life=next(lives))) as issuer,
        BlockingProxy(server) as proxy,
        new_page(browser, ClientPage) as page,
    ):
        page.open(proxy.url)
        page.evaluate(
            f"void (window.herald = new Herald('/', {{share: false,"
            f" token: async () => (await fetch({text_of(issuer.url('p'))})).text()}}))"
        )
        assert published(page, "mine/1", "'x'")["receipt"]["topic"] == "mine/1"
        assert issuer.asked["p"] == 2
        error = published(page, "other/1", "'x'")
        assert error["problem"]["type"] == "/problems/forbidden" and error["status"] == 403
        assert issuer.asked["p"] == 2 and len(proxy.log("publish")) == 3
        assert len(events_of(server, "mine/1", **bearer(token()))) == 1


def test_many_at_once_all_arrive_once(page, proxy, server, topic):
    proxy.block("publish", way="cut", times=20)
    receipts = page.evaluate(
        f"Promise.all(Array.from({{length: 60}}, (_, n) => herald.publish({text_of(topic)}, {{n}}, {{retries: 10}})))"
    )
    events = events_of(server, topic)
    assert sorted(event["data"]["n"] for event in events) == list(range(60))
    assert {receipt["id"] for receipt in receipts} == {event["id"] for event in events}
