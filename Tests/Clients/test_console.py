"""The console page in a real browser: overview, publish, live tail, and the token. The lab has tests of its own.

Needs Debian's `chromium` and the Python package `websockets`.
"""

import json
import threading

import pytest

from access import secret_file, token
from browser import element
from console_page import AREAS, console
from helpers import unique_topic

MARKUP = '<img src=x onerror="window.broken = true"><b>bold</b>'
TABS_MAX = 300  # each topic that the overview shows is a link


@pytest.fixture
def page(browser, server):
    with console(browser, server.url) as page:
        yield page


def publish(page, topic, data, event_type="", content_type="application/json"):
    page.go("publish")
    page.fill("publish-topic", topic)
    page.fill("publish-type", event_type)
    page.fill("publish-content-type", content_type)
    page.fill("publish-data", data if isinstance(data, str) else json.dumps(data))
    page.click("publish-send")


class Feed:
    """Publishes to a topic, steadily, until it is left."""

    def __init__(self, server, topic):
        self.server, self.topic, self.ended = server, topic, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ended.wait(0.05):
            self.server.publish(self.topic, {"status": "paid"}, "application/json")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


# Overview.


def cell(topic, column):
    return f"document.querySelector('[data-topic=\"{topic}\"] .col-{column}')?.textContent"


def test_the_rates_of_topics_and_of_the_server_move(page, server, topic):
    with Feed(server, topic):
        page.wait_for(f"Number({cell(topic, 'rate')}) > 1", "the topic has no rate")
        page.wait_for(f"/^[\\d.]+ (B|KiB)$/.test({cell(topic, 'bytes')})", "the topic has no bytes a second")
        page.wait_for(f"Number({element('tile-published')}.querySelector('.tile-number').textContent) > 1", "no rate")
        page.wait_for(
            f"document.querySelectorAll('[data-topic=\"{topic}\"] path')[1].getAttribute('d').includes('L')",
            "the rate is not drawn",
        )
    page.wait_for(f"{cell(topic, 'rate')} === '0'", "the rate does not end")
    state = server.client.get(f"/v1/topics/{topic}").json()
    assert page.evaluate(cell(topic, "published")).replace(",", "") == str(state["published"])
    assert page.evaluate(cell(topic, "head")) == state["head"].split("-")[1]
    assert page.evaluate(cell(topic, "floor")) == state["floor"].split("-")[1]
    assert page.errors == []


def test_readers_are_told_by_transport_and_state(page, server, topic):
    server.publish(topic)
    page.go("tail")
    page.start_tail(topic)
    server.until_readers(topic, transport="websocket")
    page.go("overview")
    page.wait_for(f"{cell(topic, 'readers')} === '11 WS'", "the topic has no reader")
    live = f"{element('readers')}.querySelector('tbody tr .live').textContent"
    page.wait_for(f"Number({live}) >= 1", "no WebSocket is live")
    assert page.errors == []


def test_topics_are_searched_sorted_and_bounded(page, server, topic):
    server.publish_many([(f"{topic}/{number:03}", "x" * number) for number in range(250)])
    rows = "[...document.querySelectorAll('#topics tbody tr')].map(row => row.dataset.topic)"
    page.fill("topic-search", f"{topic}/")
    page.evaluate(f"{element('topic-search')}.dispatchEvent(new Event('input'))")
    page.wait_for_text("topics-count", "^200 of 250 topics shown$")
    assert page.evaluate(rows) == [f"{topic}/{number:03}" for number in range(200)]
    page.evaluate("document.querySelector('#topics [data-sort=size]').click()")
    assert page.evaluate(rows)[0] == f"{topic}/249"
    assert page.evaluate("document.querySelector('#topics [data-sort=size]').parentElement.ariaSort") == "descending"
    page.evaluate("document.querySelector('#topics [data-sort=size]').click()")
    assert page.evaluate(rows)[0] == f"{topic}/000"
    page.fill("topic-search", "no such topic")
    page.evaluate(f"{element('topic-search')}.dispatchEvent(new Event('input'))")
    assert page.evaluate(rows) == []
    assert page.errors == []


def test_a_page_that_is_hidden_or_shows_something_else_does_not_read(page):
    readings = "performance.getEntriesByType('resource').filter(each => each.name.endsWith('/metrics')).length"
    page.wait_for(f"{readings} >= 2", "the overview is not read")
    page.go("publish")
    assert_rests(page, readings)
    page.go("overview")
    before = page.evaluate(readings)
    page.wait_for(f"{readings} > {before}", "the overview is not read again")
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.isHidden, configurable: true})")
    page.evaluate("window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    assert_rests(page, readings)
    before = page.evaluate(readings)
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for(f"{readings} > {before}", "the overview is not read again")


def assert_rests(page, readings):
    """No reading begins in the time of two; one that was under way may end."""
    page.evaluate("new Promise(done => setTimeout(done, 1000))")
    before = page.evaluate(readings)
    page.evaluate("new Promise(done => setTimeout(done, 4500))")
    assert page.evaluate(readings) == before


def test_a_server_that_does_not_answer_is_said_to(page, server_factory, browser):
    server = server_factory()
    with console(browser, server.url) as page:
        page.wait_for("document.getElementById('fact-uptime').textContent !== '–'", "the overview is not read")
        server.stop()
        page.wait_for_text("overview-trouble", "does not answer")
        assert page.evaluate(f"!{element('overview-trouble')}.hidden")


# Publish and live tail.


def test_an_event_published_by_the_form_is_receipted_and_shown_once(page, topic):
    page.go("tail")
    page.start_tail(topic)
    publish(page, topic, {"note": "hello"}, "order.created")
    words = "^Published as ([0-9a-f]{8}-\\d+), to 1 receiver, in [\\d.]+ m?s\\.$"
    receipt = page.wait_for_text("publish-result", words)
    page.go("tail")
    page.wait_for_rows("hello")
    assert page.evaluate("document.querySelector('#tail-rows .event').dataset.id") == receipt[1]
    assert page.evaluate("document.querySelector('#tail-rows .type').textContent") == "order.created"
    assert receipt[1] in page.text("receipts")
    assert page.errors == []


def test_what_the_form_publishes_in_vain_is_told_in_words(page):
    publish(page, "no//topic", {})
    page.wait_for_text("publish-result", "no//topic.*segment 2 is empty")
    publish(page, "orders/42", {}, event_type="herald.mine")
    page.wait_for_text("publish-result", "header|type")


def test_events_of_any_type_are_shown(page, server, topic):
    page.go("tail")
    page.start_tail(topic)
    for event_type in ("never-seen", "error", "open", "message"):
        server.publish(topic, f"of type {event_type}", **{"Herald-Type": event_type})
    server.publish(topic, "without a type")
    for text in ("of type never-seen", "of type error", "of type open", "of type message", "without a type"):
        page.wait_for_rows(text)
    assert page.errors == []


def test_a_pause_keeps_the_place(page, server, topic):
    page.go("tail")
    page.start_tail(topic)
    seen = server.publish(topic, "before")["id"]
    page.wait_for_rows("before")
    page.click("tail-start")
    page.wait_for(f"{element('tail-state')}.dataset.state === 'paused'", "the tail did not pause")
    assert page.evaluate(f"{element('tail-after')}.value") == seen
    server.publish(topic, "while nobody looked")
    page.click("tail-start")
    page.wait_for_rows("while nobody looked")
    page.wait_for_rows("before")
    assert "Going on from" in page.text("tail-rows")
    assert page.errors == []


def test_a_cursor_of_another_epoch_is_shown_as_a_reset(page, server, topic):
    server.publish(topic, "still kept")
    page.go("tail")
    page.start_tail(topic, after="00000000-7")
    page.wait_for_rows("still kept")
    assert page.evaluate("document.querySelector('#tail-rows .mark.reset[data-reason=epoch]').textContent").startswith(
        page.evaluate("document.querySelector('#tail-rows .mark.reset time').textContent") + f"Reset in {topic}"
    )
    page.screenshot("console-tail-reset")
    assert page.errors == []


def test_what_is_no_longer_kept_is_shown_as_a_gap(page, server_factory, browser, topic):
    server = server_factory("--retain-events", "2")
    first = server.publish(topic, "event 0")["id"]
    for number in range(1, 6):
        server.publish(topic, f"event {number}")
    with console(browser, server.url, "tail") as page:
        page.start_tail(topic, after=first)
        page.wait_for_rows("event 5")
        page.wait_for_rows("event 3", count=0)
        assert "no longer kept" in page.evaluate("document.querySelector('#tail-rows .mark.gap').textContent")
        assert page.errors == []


def test_a_loss_is_told_once_and_the_tail_comes_back(browser, server_factory, topic):
    server = server_factory()
    with console(browser, server.url, "tail") as page:
        page.start_tail(topic)
        server.stop()
        page.wait_for(f"{element('tail-state')}.dataset.state === 'waiting'", "the loss is not shown")
        way = f"/tries again in/.test({element('tail-way')}.textContent)"
        page.wait_for(way, "it does not say when it tries again")
        again = server_factory("--listen", f"127.0.0.1:{server.port}")
        again.publish(topic, "after the restart")
        page.wait_for_rows("after the restart")
        marks = page.evaluate("[...document.querySelectorAll('#tail-rows .mark')].map(row => row.className)")
        assert marks.count("mark note") == 1 and "mark reset" in marks, marks


def test_a_refused_filter_is_named(page):
    page.go("tail")
    page.fill("tail-filter", "no//filter")
    page.click("tail-start")
    page.wait_for(f"{element('tail-state')}.dataset.state === 'refused'", "the filter was not refused")
    assert "no//filter" in page.evaluate("document.querySelector('#tail-rows .mark.refused').textContent")


def test_an_event_is_shown_in_full_searched_for_and_copied(page, server, topic):
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
    page.go("tail")
    page.start_tail(topic)
    ids = [server.publish(topic, {"name": name}, "application/json")["id"] for name in ("ada", "grace", "edsger")]
    page.wait_for_rows("edsger")
    page.evaluate(f"{element('tail-rows')}.focus()")
    for _ in range(2):
        page.press("ArrowDown", 40)
    assert page.text("detail-id") == ids[1]
    assert json.loads(page.text("detail-data")) == {"name": "grace"}
    page.click("tail-copy-id")
    page.wait_for(f"window.copied === {json.dumps(ids[1])}", "the id was not copied")
    page.click("tail-copy-data")
    page.wait_for("window.copied === '{\"name\":\"grace\"}'", "the data were not copied")
    page.wait_for_text("tail-copied", "copied")
    page.fill("tail-search", "ADA")
    page.evaluate(f"{element('tail-search')}.dispatchEvent(new Event('input'))")
    shown = "[...document.querySelectorAll('#tail-rows .event')].filter(row => !row.hidden).map(row => row.dataset.id)"
    assert page.evaluate(shown) == [ids[0]]
    page.wait_for_text("tail-count", "1 of the last 3 found")
    assert page.errors == []


def test_the_rows_are_bounded(page, server, topic):
    page.go("tail")
    page.start_tail(topic)
    for _ in range(3):
        server.publish_many([(topic, "many") for _ in range(300)])
    page.wait_for_text("tail-count", "^900 events, the last \\d+ shown$")
    assert page.evaluate("document.querySelectorAll('#tail-rows li').length") <= 500
    assert page.errors == []


def test_data_are_shown_as_text_and_never_as_markup(page, server, topic):
    page.go("tail")
    page.start_tail(topic)
    publish(page, topic, MARKUP, event_type="<b>type</b>", content_type="text/plain")
    publish(page, topic + MARKUP, MARKUP)
    page.wait_for_text("receipts", "img src=x")
    page.go("tail")
    server.publish(topic, MARKUP)
    server.publish(topic, {"data": MARKUP}, "application/json")
    page.wait_for("document.querySelectorAll('#tail-rows .event').length >= 2", "the events did not come")
    page.evaluate("document.querySelector('#tail-rows .event').click()")
    assert "onerror" in page.text("detail-data")
    assert page.evaluate("document.querySelectorAll('main img, main b').length") == 0
    assert page.evaluate("window.broken === undefined")


def test_an_address_leads_to_an_area_and_what_is_in_it(browser, server, topic):
    first = server.publish(topic, "first")["id"]
    server.publish(topic, "second")
    with console(browser, server.url, f"tail?filter={topic}&after={first}") as page:
        page.wait_for_rows("second")
        page.wait_for_rows("first", count=0)
        assert page.evaluate("document.title") == "Live tail · Herald"
        page.go(f"publish?topic={topic}")
        assert page.evaluate(f"{element('publish-topic')}.value") == topic
        page.evaluate("history.back()")
        page.wait_for("!document.getElementById('tail').hidden", "the way back does not lead there")
        assert page.errors == []


# For everybody.


def test_the_keyboard_alone_goes_everywhere_and_publishes(page, topic):
    reached = {}
    for area in AREAS:
        tab_to(page, f"go-{area}")
        page.press("Enter", 13)
        page.wait_for(f"!document.getElementById('{area}').hidden", f"{area} is not shown")
        reached[area] = tab_round(page)
    assert {"topic-search", "go-lab"} <= reached["overview"]
    fields = {f"publish-{each}" for each in ("topic", "type", "content-type", "data", "send")}
    assert fields <= reached["publish"]
    assert {f"tail-{each}" for each in ("filter", "after", "start", "search", "clear", "rows")} <= reached["tail"]
    controls = {f"lab-{each}" for each in ("topic", "rate", "size", "interval", "wait", "start", "clear")}
    assert controls | {"limit-open"} <= reached["lab"]

    page.go("publish")
    page.fill("publish-topic", topic)
    page.fill("publish-data", '"typed"')
    page.evaluate(f"{element('publish-data')}.focus()")
    page.press("Enter", 13, modifiers=2)
    page.wait_for_text("publish-result", "^Published as")
    assert page.errors == []


def press_tab(page):
    page.press("Tab", 9)
    return page.evaluate("document.activeElement.dataset.testid ?? document.activeElement.tagName")


def tab_to(page, test_id):
    for _ in range(TABS_MAX):
        if press_tab(page) == test_id:
            return
    pytest.fail(f"{test_id} is not reached by Tab")


def tab_round(page):
    """All that Tab reaches, from the first to that again; each shows that it has the focus."""
    reached = {press_tab(page)}
    page.evaluate("window.first = document.activeElement; 0")
    for _ in range(TABS_MAX):
        reached.add(press_tab(page))
        if page.evaluate("document.activeElement === window.first"):
            return reached
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    pytest.fail("Tab does not come round")


def test_each_area_is_legible_in_light_in_dark_and_on_a_phone(page, server):
    topic = unique_topic("orders")
    with Feed(server, f"{topic}/a"), Feed(server, f"{topic}/b/c"):
        page.wait_for(f"Number({cell(topic + '/a', 'rate')}) > 1", "the topic has no rate")
        page.show_in_all_looks("overview")
        publish(page, topic, {"amount": 12.5})
        page.wait_for_text("publish-result", "^Published as")
        page.show_in_all_looks("publish")
        page.go("tail")
        page.start_tail(f"{topic}/**", after="earliest")
        page.wait_for("document.querySelectorAll('#tail-rows .event').length > 10", "no events")
        page.evaluate("document.querySelectorAll('#tail-rows .event')[4].click()")
        page.show_in_all_looks("tail")
        page.go("overview")
    page.show_in_all_looks("overview-with-readers")
    assert page.errors == []


def test_nothing_jumps_while_numbers_change(page, server, topic):
    server.publish_many([(f"{topic}/{number}", "x") for number in range(20)])
    page.wait_for(f"{cell(f'{topic}/19', 'published')} === '1'", "the topics are not shown")
    page.evaluate(
        "window.shift = 0; new PerformanceObserver(list => { for (const each of list.getEntries())"
        " window.shift += each.value; }).observe({type: 'layout-shift'})"
    )
    with Feed(server, f"{topic}/7"):
        for count in (20, 60, 100):
            page.wait_for(f"Number({cell(f'{topic}/7', 'published')}) > {count}", "the numbers do not change")
    assert page.evaluate("window.shift") < 0.01


def test_who_wants_stillness_has_it(page, server, topic):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.go("tail")
    page.start_tail(topic)
    server.publish(topic, "still")
    page.wait_for_rows("still")
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.evaluate("getComputedStyle(document.querySelector('#tail-rows .event')).animationName") == "none"


# The token.


@pytest.fixture
def guarded(server_factory, tmp_path):
    return server_factory("--token-secret-file", secret_file(tmp_path))


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_server_that_asks_is_given_a_token(browser, guarded, topic, is_kept):
    mine = token()
    published = "Number(document.querySelector('#fact-requests').textContent)"
    guarded.client.post(f"/v1/events/{topic}", content=b"x", headers={"Authorization": f"Bearer {mine}"})
    with console(browser, guarded.url) as page:
        page.wait_for(f"!{element('access')}.hidden", "the page does not ask for a token")
        assert "token" in page.text("access-why").lower()
        page.screenshot("console-access")
        # Who does not want to is not asked again and again.
        page.evaluate("document.getElementById('access-close').click()")
        page.wait_for(f"{published} > 0", "the rest is not shown")
        page.evaluate("new Promise(done => setTimeout(done, 4500))")
        assert page.evaluate(f"{element('access')}.hidden")
        page.go("publish")
        page.go("overview")
        page.wait_for(f"!{element('access')}.hidden", "the page does not ask for a token")

        page.fill("access-token", mine)
        if is_kept:
            page.click("access-keep")
        page.click("access-use")
        page.wait_for(f"{cell(topic, 'published')} === '1'", "the topics are not shown")
        assert page.evaluate(f"{element('access')}.hidden && !{element('access-forget')}.hidden")

        page.go("tail")
        page.start_tail(topic)
        publish(page, topic, "with a token", content_type="text/plain")
        page.wait_for_text("publish-result", "^Published as .* to 1 receiver")
        page.go("tail")
        page.wait_for_rows("with a token")

        assert mine not in page.evaluate("location.href + document.cookie + JSON.stringify(localStorage)")
        assert page.evaluate("JSON.stringify(sessionStorage)").count(mine) == int(is_kept)
        page.reload()
        page.go("overview")
        asked = f"{element('access')}.hidden === {str(is_kept).lower()}"
        page.wait_for(asked, "the token was not kept as it should")
        if is_kept:
            page.wait_for(f"{cell(topic, 'published')} === '2'", "the topics are not shown")
            page.click("access-forget")
            assert page.evaluate("JSON.stringify(sessionStorage)").count(mine) == 0
            page.wait_for(f"!{element('access')}.hidden", "the page does not ask for a token")


def test_a_token_that_is_refused_is_told_why(browser, guarded):
    with console(browser, guarded.url) as page:
        page.wait_for(f"!{element('access')}.hidden", "the page does not ask for a token")
        page.fill("access-token", token(life=-10))
        page.click("access-use")
        page.wait_for(f"!{element('access')}.hidden", "the page does not ask again")
        page.wait_for_text("access-why", "expired")


def test_a_server_that_does_not_ask_is_not_told(page):
    page.wait_for("document.getElementById('fact-uptime').textContent !== '–'", "the overview is not read")
    assert page.evaluate(f"{element('access')}.hidden && {element('access-forget')}.hidden")
