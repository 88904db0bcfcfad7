"""Pages of another origin in a real browser: what they may do when they are allowed, and when they are not."""

import json

import pytest

from browser import new_page
from helpers import eventually

BROWSER_FLAGS = ("--ignore-certificate-errors",)

COLLECT = """
window.got = {};
const note = (name, value) => { (window.got[name] ??= []).push(value); };
const api = %(api)s, topic = %(topic)s, path = `${api}/v1/events/${topic}`;
const source = new EventSource(path);
source.onopen = () => note("sse", "open");
source.onmessage = event => note("sse", event.data);
source.onerror = () => note("sse", `error ${source.readyState}`);
const socket = new WebSocket(path.replace("http", "ws"), "herald.v1");
socket.onopen = () => note("socket", "open");
socket.onmessage = event => note("socket", event.data);
socket.onclose = event => note("socket", `closed ${event.code}`);
const controller = new AbortController();
const poll = async () => {
  const first = await fetch(`${path}?after=latest`, {headers: {"If-None-Match": "none"}, signal: controller.signal});
  const cursor = first.headers.get("Herald-Cursor");
  note("poll", `from ${cursor}`);
  const answer = await fetch(`${path}?after=${cursor}&wait=20`, {signal: controller.signal});
  note("poll", await answer.text());
};
void poll().catch(error => note("poll", `failed ${error.name}`));
"""

PUBLISH = """
fetch(`${%(api)s}/v1/events/${%(topic)s}`, {
  method: "POST", mode: %(mode)s, credentials: %(credentials)s,
  headers: %(mode)s === "cors" ? {"Content-Type": "application/json", "Idempotency-Key": %(key)s} : {},
  body: JSON.stringify(%(data)s),
}).then(async answer => [answer.type, answer.status, answer.status ? await answer.text() : ""],
        error => [error.name, 0, ""])
"""


@pytest.fixture
def page(browser, elsewhere):
    with new_page(browser) as page:
        page.call("Page.navigate", url=elsewhere)
        page.wait_for(f"location.origin === {json.dumps(elsewhere)} && document.title === 'elsewhere'", "no page")
        yield page


def texts(**values):
    return {name: json.dumps(value) for name, value in values.items()}


def publish(page, api, topic, data, mode="cors", credentials="same-origin"):
    return page.evaluate(
        PUBLISH % texts(api=api, topic=topic, data=data, mode=mode, credentials=credentials, key=f"{topic}-{data}")
    )


def events_in(server, topic):
    answer = server.client.get(f"/v1/events/{topic}")
    return [event["data"] for event in answer.json()["events"]]


@pytest.fixture(params=["http", "https"])
def allowing(request, server_factory, elsewhere):
    """A server that allows the site, and its address: https with HTTP/2."""
    server = server_factory(
        "--allowed-origins", elsewhere, "--allow-credentials", "--compression-min", "0", tls=request.param == "https"
    )
    return server, server.secure.url if server.secure else server.url


def test_an_allowed_page_publishes_and_receives_by_every_transport(page, allowing, topic):
    server, api = allowing
    server.publish(topic, "before")
    page.evaluate(COLLECT % texts(api=api, topic=topic))
    page.wait_for("window.got.sse?.[0] === 'open' && window.got.socket?.[0] === 'open'", "the streams did not open")
    page.wait_for("window.got.poll?.[0]?.startsWith('from ') && !window.got.poll[0].endsWith('null')", "no cursor")
    eventually(lambda: server.metric("herald_held_requests") == 1, "the poll is held")
    kind, status, body = publish(page, api, topic, "by the page", credentials="include")
    assert (kind, status) == ("cors", 201) and json.loads(body)["receivers"] == 3
    for name in ("sse", "socket", "poll"):
        page.wait_for(f"window.got.{name}.some(text => text.includes('by the page'))", f"{name} did not get the event")
    assert events_in(server, topic) == ["before", "by the page"]


def test_a_page_that_is_not_allowed_can_do_nothing(page, server_factory, elsewhere, topic):
    server = server_factory("--allowed-origins", "https://app.example")
    page.evaluate(COLLECT % texts(api=server.url, topic=topic))
    page.wait_for("window.got.sse?.[0] === 'error 2'", "the stream was not refused")
    page.wait_for("window.got.socket?.[0] === 'closed 1006'", "the WebSocket was not refused")
    page.wait_for("window.got.poll?.[0] === 'failed TypeError'", "the poll was not refused")
    assert publish(page, server.url, topic, "by fetch")[:2] == ["TypeError", 0]
    # Browsers send this without asking, and keep the answer from the page.
    assert publish(page, server.url, topic, "without asking", mode="no-cors") == ["opaque", 0, ""]
    refused = server.metric("herald_publish_refused_total", reason="forbidden_origin")
    assert refused == 1, "the publish that needs no leave was refused by us, the other by the browser"
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


def test_a_page_of_the_server_itself_is_served_without_a_setting(browser, server, topic):
    with new_page(browser) as page:
        page.open(server.url + "/")
        page.evaluate(COLLECT % texts(api=server.url, topic=topic))
        page.wait_for("window.got.sse?.[0] === 'open' && window.got.socket?.[0] === 'open'", "the streams did not open")
        assert publish(page, server.url, topic, "our own")[:2] == ["basic", 201]
        page.wait_for("window.got.socket.some(text => text.includes('our own'))", "the event did not come")
