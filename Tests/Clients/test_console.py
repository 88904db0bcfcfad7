"""The console page in a real browser: headless Chromium, driven over the DevTools protocol.

Needs Debian's `chromium` and the Python package `websockets`. The fixture `server` gives a running server with `url`.
"""

import json
import urllib.request
import uuid

import pytest

from browser import CALL_SECONDS, OPENER, chromium, element, new_page

TRANSPORTS = ["websocket", "sse", "longpoll", "shortpoll"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as port:
        yield port


@pytest.fixture
def page(browser, server):
    with new_page(browser) as page:
        page.show_as(1440, 1000, "light")
        page.open(server.url.rstrip("/") + "/")
        yield page


@pytest.fixture
def topic():
    """A topic that no other test uses."""
    return f"console/{uuid.uuid4().hex[:12]}"


def start_all(page, topic):
    page.fill("filter", topic)
    page.click("start")
    for transport in TRANSPORTS:
        page.wait_for(f"{element('column-' + transport)}.dataset.state === 'live'", f"{transport} is not live")


def publish(page, topic, data, event_type=""):
    page.fill("publish-topic", topic)
    page.fill("publish-type", event_type)
    page.fill("publish-data", json.dumps(data))
    page.click("publish-send")


def publish_from_elsewhere(server, topic, data, event_type=None):
    request = urllib.request.Request(
        f"{server.url.rstrip('/')}/v1/events/{topic}",
        data=json.dumps(data).encode(),
        headers={"Content-Type": "application/json"} | ({"Herald-Type": event_type} if event_type else {}),
    )
    with OPENER.open(request, timeout=CALL_SECONDS) as answer:
        assert answer.status == 201


def test_a_message_published_through_the_form_arrives_in_all_four_columns(page, topic):
    start_all(page, topic)
    data = {"note": f"hello {uuid.uuid4().hex}"}
    publish(page, topic, data, "order.created")
    for transport in TRANSPORTS:
        page.wait_for_rows(transport, data["note"])
        page.wait_for(
            f"/^\\d+ ms$/.test({element('column-' + transport)}.querySelector('.latency').textContent)",
            f"{transport} shows no latency",
        )
    page.screenshot("console-light")
    page.show_as(1440, 1000, "dark")
    page.screenshot("console-dark")
    page.show_as(390, 844, "light")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than a phone"
    page.screenshot("console-phone")
    assert page.errors == []


def test_an_event_of_an_unknown_type_is_not_lost_to_event_source(page, server, topic):
    start_all(page, topic)
    publish_from_elsewhere(server, topic, "first of its type", f"type-{uuid.uuid4().hex[:8]}")
    publish_from_elsewhere(server, topic, "named as the browser's own event", "error")
    publish_from_elsewhere(server, topic, "without a type")
    for transport in TRANSPORTS:
        for text in ("first of its type", "named as the browser's own event", "without a type"):
            page.wait_for_rows(transport, text)
    assert page.errors == []


def test_event_source_reads_again_what_it_let_pass_before_it_knew_the_type(page, server, topic):
    page.fill("filter", topic)
    page.click("toggle-sse")
    page.wait_for(f"{element('column-sse')}.dataset.state === 'live'", "sse is not live")
    start = page.wait_for(
        f"{element('column-sse')}.querySelector('.cursor').textContent.match(/^[0-9a-f]{{8}}-\\d+$/)?.[0]",
        "sse has no cursor",
    )
    publish_from_elsewhere(server, topic, "let pass", f"type-{uuid.uuid4().hex[:8]}")
    publish_from_elsewhere(server, topic, "without a type")
    page.wait_for_rows("sse", "without a type")
    page.wait_for_rows("sse", "let pass", count=0)

    page.fill("cursor", start)
    page.click("toggle-shortpoll")  # shows the page what types there are
    for transport in ("shortpoll", "sse"):
        page.wait_for_rows(transport, "let pass")
        page.wait_for_rows(transport, "without a type")
    assert page.errors == []


def test_another_transport_goes_on_from_where_one_was_stopped(page, server, topic):
    start_all(page, topic)
    publish_from_elsewhere(server, topic, "seen by all")
    for transport in TRANSPORTS:
        page.wait_for_rows(transport, "seen by all")
    page.click("start")  # stops all
    page.click("clear")
    cursor = page.evaluate(f"{element('cursor')}.value")
    assert cursor and cursor not in ("latest", "earliest")

    publish_from_elsewhere(server, topic, "while nobody looked")
    for transport in TRANSPORTS:
        page.fill("cursor", cursor)
        page.click(f"toggle-{transport}")
        page.wait_for_rows(transport, "while nobody looked")
        page.wait_for_rows(transport, "seen by all", count=0)
        page.click(f"toggle-{transport}")
        page.wait_for(f"{element('column-' + transport)}.dataset.state === 'idle'", f"{transport} did not stop")
    assert page.errors == []


def test_a_cursor_of_another_epoch_is_shown_as_a_reset(page, server, topic):
    publish_from_elsewhere(server, topic, "still kept")
    page.fill("filter", topic)
    page.fill("cursor", "00000000-7")
    page.click("start")
    for transport in TRANSPORTS:
        page.wait_for_rows(transport, "still kept")
        page.wait_for(
            f"{element('column-' + transport)}.querySelector('.events li.gap[data-reason=epoch]') !== null",
            f"{transport} shows no reset",
        )
    page.screenshot("console-reset")
    assert page.errors == []


def test_data_is_shown_as_text_and_never_as_markup(page, topic):
    start_all(page, topic)
    markup = '<img src=x onerror="window.broken = true"><b>bold</b>'
    publish(page, topic, markup)
    for transport in TRANSPORTS:
        page.wait_for_rows(transport, "onerror")
    assert page.evaluate("document.querySelectorAll('.events img, .events b').length") == 0
    assert page.evaluate("window.broken === undefined")
    assert page.errors == []


def test_a_refused_filter_names_the_reason_and_does_not_try_again(page):
    page.fill("filter", "no//filter")
    page.click("start")
    for transport in TRANSPORTS:
        page.wait_for(f"{element('column-' + transport)}.dataset.state === 'refused'", f"{transport} was not refused")
        assert page.evaluate(f"{element('column-' + transport)}.querySelector('.note').textContent.length > 0")


def test_the_keyboard_alone_publishes_and_reaches_every_control(page, topic):
    start_all(page, topic)
    page.fill("publish-topic", topic)
    page.fill("publish-data", '"typed"')
    page.evaluate(f"{element('publish-data')}.focus()")
    page.press("Enter", 13, modifiers=2)
    page.wait_for_rows("websocket", "typed")
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.press("Tab", 9)
        reached.add(page.evaluate("document.activeElement.dataset.testid || document.activeElement.className"))
    assert {"publish-send", "filter", "start", "events"} | {f"toggle-{t}" for t in TRANSPORTS} <= reached
    assert page.errors == []
