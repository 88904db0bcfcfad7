"""Headless Chromium, driven over the DevTools protocol."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.sync.client import connect

STARTUP_SECONDS = 30
WAIT_SECONDS = 15
CALL_SECONDS = 30

# Loopback never goes by a proxy, whatever the environment says.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Page:
    """One page of the browser. Collects what went wrong in it: exceptions and console errors."""

    def __init__(self, devtools):
        self._devtools = devtools
        self._calls = 0
        self.errors = []
        self.responses = []  # of Network.responseReceived
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
            case "Network.responseReceived":
                self.responses.append(parameters)
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
        self.wait_for("document.body?.dataset.ready === 'true'", "the console did not begin")

    def reload(self):
        self.evaluate("document.body.dataset.ready = ''")
        self.call("Page.reload")
        self.wait_for("document.body?.dataset.ready === 'true'", "the console did not begin again")

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
        """What the parts of the page that have a state say of it, for whoever reads a failure."""
        return self.evaluate(
            "[...document.querySelectorAll('[data-testid][data-state]')]"
            ".map(e => `${e.dataset.testid}: ${e.dataset.state} ${e.querySelector('.note')?.textContent ?? ''}`)"
        )

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
def chromium(*flags):
    """Runs a browser with a profile of its own and more flags. Gives the port on which it is driven."""
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
            *flags,
            "about:blank",
        ]
        # A session of its own, so that the launcher script and its children end together.
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield _debugging_port(Path(profile, "DevToolsActivePort"), process)
        finally:
            # Nothing of it is kept, so it need not take its time to end in good order.
            os.killpg(process.pid, signal.SIGKILL)
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


@contextmanager
def new_page(port, kind=Page):
    """A page of the browser that is driven on port."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
    with OPENER.open(request, timeout=CALL_SECONDS) as answer:
        target = json.load(answer)
    # A socket of our own: the client library then looks for no proxy either.
    plain = socket.create_connection(("127.0.0.1", port), timeout=CALL_SECONDS)
    # A screenshot is one message, larger than the library's default bound. What the page tells of itself piles up while
    # a test does something else, and must not keep the library from its own work meanwhile.
    address = target["webSocketDebuggerUrl"]
    with connect(address, sock=plain, max_size=None, max_queue=None, ping_interval=None) as devtools:
        page = kind(devtools)
        yield page
        page.call("Page.close")


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>elsewhere</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def elsewhere_site():
    """The origin of a site that has nothing but an empty page at each address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
