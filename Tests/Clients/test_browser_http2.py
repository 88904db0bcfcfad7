"""A browser over HTTP/2: as many streams as it likes on one connection, and WebSockets among them (RFC 8441)."""

import json

import pytest

from browser import chromium, new_page
from helpers import eventually

STREAMS = 100

OPEN_ALL = """
window.streams = [];
window.got = new Array(%(count)d).fill(0);
for (let i = 0; i < %(count)d; i++) {
  const stream = new EventSource(`/v1/events/%(topic)s?after=latest&n=${i}`.replace(/&n=.*/, ""));
  stream.onmessage = () => { window.got[i]++; };
  window.streams.push(stream);
}
"""
OPEN_COUNT = "window.streams.filter(stream => stream.readyState === 1).length"
GOT_ONCE = "window.got.filter(count => count === 1).length"


@pytest.fixture
def secure(server_factory):
    """A server, and the address of its TLS port."""
    server = server_factory(tls=True)
    return server, server.secure.url


@pytest.fixture
def net_log(tmp_path):
    return tmp_path / "net-log.json"


@pytest.fixture
def browser(net_log):
    with chromium("--ignore-certificate-errors", f"--log-net-log={net_log}") as port:
        yield port


def metric(server, name):
    lines = server.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[-1])


def open_streams(page, url, topic, count):
    page.call("Page.navigate", url=url + "/")
    page.wait_for("document.body?.dataset.ready === 'true'", "the console is not there")
    page.evaluate(OPEN_ALL % {"topic": topic, "count": count})


def test_a_hundred_streams_share_one_connection(secure, browser, topic):
    server, url = secure
    with new_page(browser) as page:
        open_streams(page, url, topic, STREAMS)
        page.wait_for(f"{OPEN_COUNT} === {STREAMS}", "not all streams are open")
        streams = [each["response"] for each in page.responses if each["type"] == "EventSource"]
        assert len(streams) == STREAMS and {each["protocol"] for each in streams} == {"h2"}
        assert len({each["connectionId"] for each in streams}) == 1
        assert server.client.post(f"/v1/events/{topic}", content=b"to all").json()["receivers"] == STREAMS
        page.wait_for(f"{GOT_ONCE} === {STREAMS}", "not all streams got the event once")
        # Requests go on beside the streams.
        assert page.evaluate("fetch('/healthz').then(answer => answer.status)") == 200
        assert metric(server, 'herald_protocol_connections{protocol="http/1.1",tls="true"}') == 0


def test_over_http_1_there_are_six(server, browser, topic):
    with new_page(browser) as page:
        open_streams(page, server.url, topic, STREAMS)
        page.wait_for(f"{OPEN_COUNT} === 6", "six streams are not open")
        receivers = server.client.post(f"/v1/events/{topic}", content=b"to six").json()["receivers"]
        page.wait_for(f"{GOT_ONCE} === 6", "six streams did not get the event")
        assert receivers == 6 and page.evaluate(OPEN_COUNT) == 6


def log_events(path):
    """The browser's network log, a line an event; a browser that was ended may have left the last one unfinished."""
    events, names = [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(line.rstrip().removesuffix(",").removesuffix("],"))
        except json.JSONDecodeError:
            value = None
            if line.startswith('{"constants":'):
                types = json.loads(line.rstrip().removesuffix(",") + "}")["constants"]["logEventTypes"]
                names = {number: name for name, number in types.items()}
        if isinstance(value, dict) and "type" in value:
            events.append((names[value["type"]], value.get("params", {})))
    return events


def test_a_websocket_is_a_stream_too(secure, net_log, topic):
    server, url = secure
    with chromium("--ignore-certificate-errors", f"--log-net-log={net_log}") as port, new_page(port) as page:
        page.call("Page.navigate", url=url + "/")
        page.wait_for("document.body?.dataset.ready === 'true'", "the console is not there")
        page.evaluate(
            f"window.got = []; const socket = new WebSocket(location.origin.replace('https', 'wss') +"
            f" '/v1/events/{topic}', 'herald.v1'); socket.onmessage = event => window.got.push(event.data);"
            f" socket.onopen = () => {{ window.chosen = socket.protocol; }}"
        )
        page.wait_for("window.chosen === 'herald.v1'", "the WebSocket did not open")
        server.client.post(f"/v1/events/{topic}", json="through the stream")
        page.wait_for("window.got.some(text => text.includes('through the stream'))", "the event did not come")
        assert metric(server, 'herald_protocol_connections{protocol="http/1.1",tls="true"}') == 0
    events = eventually(lambda: log_events(net_log), "the browser's network log")
    sent = [params["headers"] for name, params in events if name == "HTTP2_SESSION_SEND_HEADERS"]
    assert any(":protocol: websocket" in headers and ":method: CONNECT" in headers for headers in sent), sent
