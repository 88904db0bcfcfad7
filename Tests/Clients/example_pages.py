"""An example that runs, started by its own command, and windows of browsers that look at its pages."""

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from browser import Page, chromium, new_page
from conftest import BINARY, LOGS, REPORT, ROOT, herald_environment
from helpers import PATIENCE, eventually

EXAMPLES = ROOT / "examples"
FREE_PORTS = ("--port", 0, "--herald-port", 0)
# What a browser writes of its own accord when a server is not reached.
UNREACHED = re.compile(r"net::ERR_|WebSocket connection to ")


class Example:
    """What `make example-NAME` runs. A relay takes it for a server: for its Herald."""

    trust = None
    host = "127.0.0.1"

    def __init__(self, name, folder, flags=FREE_PORTS):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.folder = Path(folder, "temporary")
        self.folder.mkdir()
        self._output, self._log = Path(folder, "output"), LOGS / f"example-{Path(folder).name}.log"
        command = [sys.executable, EXAMPLES / "run.py", name, "--herald", BINARY, *flags]
        environment = herald_environment({"TMPDIR": str(self.folder), "HERALD_LISTEN": "what the examples do not mind"})
        with self._output.open("w") as output, self._log.open("w") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=environment
            )
        eventually(lambda: "Ctrl-C" in self.output or self.process.poll() is not None, f"{name} has started")
        assert self.process.poll() is None, self.output + self._log.read_text()
        # What it has printed: addresses by their names.
        self.links = dict(re.findall(r"^(\S+): (http://\S+)", self.output, re.MULTILINE))
        self.url = self.links["Herald"].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE)

    @property
    def output(self):
        return self._output.read_text()

    def publish(self, topic, *data):
        lines = "".join(json.dumps({"topic": topic, "data": each}) + "\n" for each in data)
        answer = self.client.post("/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 201, answer.text

    def metric(self, name, **labels):
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def stop(self):
        """As Ctrl-C does. Nothing may be left behind."""
        self.client.close()
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        log = self._log.read_text()
        assert code == 0 and not REPORT.search(log) and "Traceback" not in log, (code, log)
        assert list(self.folder.iterdir()) == [], "its temporary folder is still there"


@contextmanager
def running(name, folder, *flags):
    example = Example(name, folder, flags or FREE_PORTS)
    try:
        yield example
    finally:
        example.stop()


class Window(Page):
    """A page of an example. Collects what it sends by WebSockets, too."""

    def __init__(self, devtools):
        self.sent = []
        super().__init__(devtools)

    def _note(self, message):
        super()._note(message)
        if message.get("method") == "Network.webSocketFrameSent":
            self.sent.append(message["params"]["response"]["payloadData"])

    def open(self, url):
        # By way of another document: else an address that differs by its fragment alone would load nothing.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait_for("document.querySelector('#state')?.dataset.name", "the page did not start")

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText")

    def texts(self, selector):
        return self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText)")

    def until_text(self, selector, text):
        """Waits until an element has this text somewhere."""
        has_it = f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})"
        self.wait_for(has_it, f"{selector} does not say {text!r} but {self.text(selector)!r}")

    def until_state(self, name):
        eventually(lambda: self.evaluate("document.querySelector('#state').dataset.name") == name, name)

    def type(self, selector, text):
        self.evaluate(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def enter(self):
        """Presses Enter in the field that has the focus, which sends its form."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", text="\r", windowsVirtualKeyCode=13)
        self.call("Input.dispatchKeyEvent", type="keyUp", key="Enter", windowsVirtualKeyCode=13)

    def states(self):
        return self.evaluate("document.body?.innerText.slice(0, 600)")

    def show_to_all(self, name):
        """Pictures of it in light, in dark and on a phone, where it has to have room."""
        for suffix, width, scheme in (("", 1100, "light"), ("-dark", 1100, "dark"), ("-phone", 390, "light")):
            self.show_as(width, 800, scheme)
            assert self.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
            self.screenshot(f"example-{name}{suffix}")
        self.show_as(1100, 800, "light")

    def demand_good_form(self):
        """What everybody needs: a language, a title, one heading, and names of what can be used."""
        assert self.evaluate("document.documentElement.lang && document.title")
        assert len(self.texts("h1")) == 1
        nameless = "e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)"
        controls = "[...document.querySelectorAll('input, button')]"
        assert self.evaluate(f"{controls}.filter({nameless}).map(e => e.outerHTML)") == []
        assert self.evaluate("document.querySelector('#state').getAttribute('role')") == "status"

    def demand_no_errors(self, but_cut=False):
        errors = [error for error in self.errors if not (but_cut and UNREACHED.search(error))]
        assert errors == [], errors


@contextmanager
def browser_behind(relay, example):
    """A browser for which Herald's address leads to a relay."""
    with chromium(f"--host-resolver-rules=MAP 127.0.0.1:{example.port} 127.0.0.1:{relay.port}") as port:
        yield port


@contextmanager
def window(browser, url):
    with new_page(browser, Window) as page:
        page.show_as(1100, 800, "light")
        page.open(url)
        yield page
