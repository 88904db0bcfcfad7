"""Fixtures: a running server, made anew per module or with a test's own flags, watched for crashes and reports."""

import json
import os
import re
import resource
import signal
import ssl
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from blocking_proxy import BlockingProxy
from browser import chromium, elsewhere_site, new_page
from certificates import Authority
from client_pages import ClientPage, Press
from helpers import PATIENCE, eventually, unique_topic

ROOT = Path(__file__).resolve().parents[2]
BINARY = (ROOT / os.environ.get("HERALD_BINARY", ".build/release/herald")).resolve()
LOGS = Path(os.environ.get("HERALD_ARTIFACTS", ROOT / "artifacts")) / "logs"
ADDRESS = r"([^\s:]+|\[[^\]]+\]):(\d+)"
READY = re.compile(rf"^herald: listening on http://{ADDRESS}(?: and https://{ADDRESS})?$")

# What a sanitizer, the C library or the Swift runtime writes when the program did something it must not.
REPORT = re.compile(
    r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Fatal error|"
    r"Program crashed|Assertion .* failed|invariant broken|double free|corrupted size"
)
# The signals by which a program ends itself.
CRASHES = {
    -number
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)
}
# Swift's runtime then writes where it was. The sanitizers' builds have reports of their own.
WITH_BACKTRACE = {"SWIFT_BACKTRACE": "enable=yes,color=no,interactive=no,warnings=suppressed"}
BACKTRACE = {} if "HERALD_BINARY" in os.environ else WITH_BACKTRACE


def herald_environment(extra=None):
    """The environment without what would set up the program or send loopback through a proxy."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("HERALD_") and not key.lower().endswith("_proxy")
    }
    return {**BACKTRACE, **kept, **(extra or {})}


class SecureSide:
    """A server by its TLS port: clients take it for a server."""

    def __init__(self, host, port, authority):
        self.host, self.port, self.authority = host.strip("[]"), int(port), authority
        self.url, self.ws_url = f"https://{host}:{port}", f"wss://{host}:{port}"

    @property
    def trust(self):
        return self.context()

    def context(self, *alpn, version=None, pair=None):
        """What a client needs: whom it trusts, what it speaks (all versions, or this one), who it is."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


class Server:
    """A running `herald serve`. With an authority it serves TLS, too: `secure`."""

    trust = None

    def __init__(self, name, flags=(), config=None, env=None, preexec_fn=None, authority=None, pairs=()):
        LOGS.mkdir(parents=True, exist_ok=True)
        handle, log = tempfile.mkstemp(prefix=re.sub(r"[^\w.-]+", "_", name)[:80] + "-", suffix=".log", dir=LOGS)
        self.log_path = Path(log)
        self.flags = ["--listen", "127.0.0.1:0", *map(str, flags)]
        if authority is not None:
            self.flags += ["--tls-listen", "127.0.0.1:0"]
            for pair in pairs:
                self.flags += ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
        if config is not None:
            text = config if isinstance(config, str) else yaml.safe_dump(config)
            path = self.log_path.with_suffix(".yaml")
            path.write_text(text, encoding="utf-8")
            self.flags += ["--config", str(path)]
        self.stopped = False
        self._checked = 0
        self.process = subprocess.Popen(
            [str(BINARY), "serve", *self.flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=handle,
            env=herald_environment(env),
            preexec_fn=preexec_fn,
            text=True,
        )
        os.close(handle)
        self._await_ready(authority)
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE)

    def _await_ready(self, authority):
        lines, ready = [], threading.Event()

        def read():
            for line in self.process.stdout:
                lines.append(line.rstrip("\n"))
                if READY.match(lines[-1]):
                    ready.set()
            ready.set()

        threading.Thread(target=read, daemon=True).start()
        ready.wait(PATIENCE)
        match = READY.match(lines[-1]) if lines else None
        if not match:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"herald serve was not ready; it printed {lines}\n{self.log()}")
        self.host, self.port = match[1].strip("[]"), int(match[2])
        self.url = f"http://{match[1]}:{self.port}"
        self.ws_url = f"ws://{match[1]}:{self.port}"
        # A test may also give the flags of TLS itself.
        assert match[3] is not None or authority is None, lines
        self.secure = SecureSide(match[3], match[4], authority) if authority else None
        self.stdout_lines = lines

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def check(self):
        """Fails if the program ended by itself or wrote a report since the last check."""
        text = self.log()
        new, self._checked = text[self._checked:], len(text)
        report = REPORT.search(new)
        assert not report, f"herald wrote a report ({self.log_path}):\n{new[report.start():][:6000]}"
        if not self.stopped:
            assert self.process.poll() is None, f"herald ended with {self.process.returncode}:\n{new[-4000:]}"

    def signal(self, number):
        self.process.send_signal(number)

    @contextmanager
    def suspended(self):
        """What comes meanwhile is all there when the server goes on."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def wait(self, patience=PATIENCE):
        code = self.process.wait(patience)
        self.stopped = True
        assert code not in CRASHES, f"herald ended itself by signal {-code}:\n{self.log()[-8000:]}"
        return code

    def stop(self):
        """SIGTERM; the program drains and must exit with 0."""
        if self.stopped:
            return
        self.client.close()
        self.signal(signal.SIGTERM)
        try:
            code = self.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.stopped = True
            self.process.wait()
            raise AssertionError(f"herald did not exit after SIGTERM:\n{self.log()[-4000:]}") from None
        self.check()
        assert code == 0, f"herald exited with {code} after SIGTERM:\n{self.log()[-4000:]}"

    # What most tests do.

    def publish(self, topic, data=b"x", content_type="text/plain", **headers):
        """Publishes one event and gives the answer's object."""
        body = data if isinstance(data, (bytes, str)) else json.dumps(data)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.post(
            f"/v1/events/{topic}", content=body, headers={"Content-Type": content_type, **names}
        )
        assert answer.status_code in (200, 201), (answer.status_code, answer.text)
        return answer.json()

    def publish_many(self, items):
        """Publishes a batch of (topic, data) and gives the events' ids."""
        lines = "\n".join(json.dumps({"topic": topic, "data": data}) for topic, data in items)
        answer = self.client.post(
            "/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.status_code == 201, (answer.status_code, answer.text)
        return [event["id"] for event in answer.json()["events"]]

    def poll(self, topic, **parameters):
        answer = self.client.get(f"/v1/events/{topic}", params=parameters)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.json()

    def head_cursor(self):
        """The newest id: of an event published to a topic of its own."""
        return self.publish(unique_topic("head"))["id"]

    def metrics_text(self):
        answer = self.client.get("/metrics")
        assert answer.status_code == 200
        return answer.text

    def samples(self):
        """All samples of a scrape: {(name, (label, value)...): value}."""
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.metrics_text())
            for sample in family.samples
        }

    def metric(self, name, **labels):
        """The sum of the samples of that name that have these labels."""
        return sum(
            value
            for (sample, *pairs), value in self.samples().items()
            if sample == name and labels.items() <= dict(pairs).items()
        )

    def until_readers(self, topic, count=1, transport=None):
        """Waits until so many live readers match the topic, which must exist."""

        def enough():
            answer = self.client.get(f"/v1/topics/{topic}")
            if answer.status_code != 200:
                return False
            readers = answer.json()["subscribers"]
            return (readers[transport] if transport else sum(readers.values())) >= count

        return eventually(enough, f"{count} readers of {topic}")

    def memory_bytes(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


class Servers:
    """The servers that are up; whoever ends a test asks them all for trouble."""

    def __init__(self):
        self.running = []

    def start(self, name, *flags, **named):
        server = Server(name, flags, **named)
        self.running.append(server)
        return server

    def check(self):
        for server in self.running:
            server.check()

    def stop(self, *servers):
        """Stops all of them, then says what went wrong with any."""
        troubles = []
        for server in servers:
            self.running.remove(server)
            try:
                server.stop()
            except AssertionError as trouble:
                troubles.append(str(trouble))
            finally:
                if server.process.poll() is None:
                    server.process.kill()
        assert not troubles, "\n".join(troubles)


@pytest.fixture(scope="session")
def servers():
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is missing; run `make build`", returncode=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = Servers()
    yield started
    started.stop(*started.running)


@pytest.fixture(scope="module")
def server(request, servers):
    """A server on a port of its own for all tests of a module, with its SERVER_FLAGS or with the default settings."""
    started = servers.start(request.module.__name__, *getattr(request.module, "SERVER_FLAGS", ()))
    yield started
    servers.stop(started)


@pytest.fixture(scope="module")
def browser(request):
    """A headless Chromium for all tests of a module, with its BROWSER_FLAGS: the port that drives it."""
    with chromium(*getattr(request.module, "BROWSER_FLAGS", ())) as port:
        yield port


@pytest.fixture(scope="module")
def elsewhere():
    """The origin of a site that is not the server."""
    with elsewhere_site() as url:
        yield url


# What tests of herald.js have in common.


@pytest.fixture
def proxy(server):
    """What may stand between a client and the server."""
    with BlockingProxy(server) as proxy:
        yield proxy


@pytest.fixture
def page(browser, proxy):
    """A page that has herald.js, behind the proxy. What has other pages makes them itself."""
    with new_page(browser, ClientPage) as page:
        page.open(proxy.url)
        yield page
        assert page.uncaught() == []


@pytest.fixture
def press(server):
    """Who publishes, and knows what was published."""
    return Press(server)


@pytest.fixture(scope="module")
def module(server, tmp_path_factory):
    """herald.js as it is served, in a file."""
    path = tmp_path_factory.mktemp("module") / "herald.mjs"
    path.write_text(server.client.get("/herald.js").raise_for_status().text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who signs the certificates of servers with TLS."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def loopback_pair(authority):
    """The certificate of servers to which it does not matter."""
    return authority.issue("loopback")


@pytest.fixture
def server_factory(request, servers):
    """Starts servers with a test's own flags; they end with the test. tls: serves TLS, too, with the loopback's
    certificate or, if pairs are given, with those."""
    mine = []

    def start(*flags, tls=False, **named):
        if tls or "pairs" in named:
            named["authority"] = request.getfixturevalue("authority")
            named.setdefault("pairs", [request.getfixturevalue("loopback_pair")])
        mine.append(servers.start(request.node.name, *flags, **named))
        return mine[-1]

    yield start
    servers.stop(*mine)


@pytest.fixture(autouse=True)
def watch(servers):
    """Blames a crash or a sanitizer's report on the test in which it happened."""
    yield
    servers.check()


@pytest.fixture
def topic(request):
    """A topic that no other test uses."""
    return unique_topic(re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name)[:60])
