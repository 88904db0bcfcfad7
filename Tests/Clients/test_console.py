"""The console page in a real browser: headless Chromium, driven over the DevTools protocol.

Needs Debian's `chromium` and the Python package `websockets`. The fixture `server` gives a running server with `url`.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

TRANSPORTS = ["websocket", "sse", "longpoll", "shortpoll"]
STARTUP_SECONDS = 30
WAIT_SECONDS = 15
CALL_SECONDS = 30

# Loopback never goes by a proxy, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Page:
    """One page of the browser. Collects what went wrong in it: exceptions and console errors."""

    def __init__(self, devtools):
        self._devtools = devtools
        self._calls = 0
        self.errors = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self._calls += 1
        self._devtools.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        deadline = time.monotonic() + CALL_SECONDS
        while True:
            message = json.loads(self._devtools.recv(timeout=max(0.0, deadline - time.monotonic())))
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message):
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "assert"):
                self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait_for(self, expression, what):
        deadline = time.monotonic() + WAIT_SECONDS
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{what}; page errors: {self.errors}; {self.states()}"
            time.sleep(0.05)
        return value

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait_for("document.querySelectorAll('.column').length === 4", "the console did not build its columns")

    def fill(self, test_id, text):
        """Types into a field as a person does, so that the page sees its own input events."""
        self.evaluate(f"(e => {{ e.focus(); e.select(); }})({element(test_id)})")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.press("Delete", 46)
        self.evaluate(f"{element(test_id)}.dispatchEvent(new Event('change'))")

    def press(self, key, code, modifiers=0):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, modifiers=modifiers)

    def click(self, test_id):
        self.evaluate(f"{element(test_id)}.click()")

    def states(self):
        return self.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.column')].map(c => [c.dataset.testid,"
            " `${c.dataset.state}: ${c.querySelector('.note').textContent}`]))"
        )

    def wait_for_rows(self, transport, text, count=1):
        """Waits until the column shows exactly `count` rows that contain the text."""
        rows = (
            f"[...{element('column-' + transport)}.querySelectorAll('.events li')]"
            f".filter(row => row.textContent.includes({json.dumps(text)})).length"
        )
        self.wait_for(f"{rows} >= {count}", f"{transport} did not show {count} × {text!r}")
        assert self.evaluate(rows) == count, f"{transport} shows {text!r} more than {count} times"

    def screenshot(self, name):
        folder = os.environ.get("HERALD_ARTIFACTS")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(folder, f"{name}.png").write_bytes(base64.b64decode(picture["data"]))

    def show_as(self, width, height, scheme):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def element(test_id):
    return f"document.querySelector('[data-testid=\"{test_id}\"]')"


@contextmanager
def chromium():
    """Runs a browser with a profile of its own. Gives the port on which it is driven."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine")
    with tempfile.TemporaryDirectory(prefix="herald-console-", ignore_cleanup_errors=True) as profile:
        arguments = [
            program,
            "--headless=new",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "--no-first-run",
            "--no-default-browser-check",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--mute-audio",
            # Root has no user namespace to put the sandbox into. The only page opened is our own.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        # A session of its own, so that the launcher script and its children end together.
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield _debugging_port(Path(profile, "DevToolsActivePort"), process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _debugging_port(file, process):
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"chromium ended with {process.returncode}"
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= 2:
            return int(lines[0])
        time.sleep(0.05)
    pytest.fail("chromium did not open its debugging port")


@pytest.fixture(scope="module")
def browser():
    with chromium() as port:
        yield port


@pytest.fixture
def page(browser, server):
    request = urllib.request.Request(f"http://127.0.0.1:{browser}/json/new?about:blank", method="PUT")
    with _opener.open(request, timeout=CALL_SECONDS) as answer:
        target = json.load(answer)
    address = target["webSocketDebuggerUrl"]
    # A socket of our own: the client library then looks for no proxy either.
    plain = socket.create_connection(("127.0.0.1", browser), timeout=CALL_SECONDS)
    # A screenshot is one message, larger than the library's default bound.
    with connect(address, sock=plain, max_size=None) as devtools:
        page = Page(devtools)
        page.show_as(1440, 1000, "light")
        page.open(server.url.rstrip("/") + "/")
        yield page
        page.call("Page.close")


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
    with _opener.open(request, timeout=CALL_SECONDS) as answer:
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
