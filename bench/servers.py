"""The servers that are compared: how each is started, where it is published to and subscribed to, and how it is ended.

All keep the last 1,000 events of a topic in memory and write no log: they pay for what they promise alike. The floor
keeps and promises nothing, and speaks no TLS; who does is given a second port for it, with the same certificate.
"""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 20
STOP_SECONDS = 15
RETAINED = 1000
BATCH_COUNT_MAX = 1000
# Descriptors that a server or the generator needs besides those of its readers.
SPARE_DESCRIPTORS = 1000

NCHAN_CONFIGURATION = """
load_module {module};
daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 128k;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 1g;
    server {{
        listen 127.0.0.1:{port} backlog=4096{spread};
        {tls}
        location = /sub {{
            nchan_subscriber websocket eventsource longpoll;
            nchan_subscriber_first_message newest;
            nchan_channel_id $arg_id;
        }}
        location = /poll {{
            nchan_subscriber interval-poll;
            nchan_subscriber_first_message newest;
            nchan_channel_id $arg_id;
        }}
        location = /pub {{
            nchan_publisher http;
            nchan_channel_id $arg_id;
            nchan_message_buffer_length {retained};
            nchan_message_timeout 1h;
        }}
    }}
}}
"""


# With nginx's own ssl_buffer_size, which is 16k: a record holds what one write has, up to that.
NCHAN_TLS = """listen 127.0.0.1:{port} ssl backlog=4096{spread};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;"""


class Failed(Exception):
    """A measurement that cannot be made, or whose numbers must not be shown."""


@dataclass(frozen=True)
class Place:
    """Where one server runs, for one measurement."""

    folder: Path
    port: int
    tls_port: int = 0  # 0: it needs none
    certificate: str = ""
    key: str = ""


def existing(program, advice):
    found = shutil.which(program)
    if not found:
        raise Failed(f"{program} is no program; {advice}")
    return os.path.abspath(found)


class Floor:
    """The smallest program that answers the same requests with the same bytes: bench/floor."""

    name = "floor"
    title = "Floor"
    dialect = "floor"

    def __init__(self, options):
        self.program = options.floor

    def command(self, place, _scenario, _variant):
        # Herald and nginx turn off Nagle's algorithm as well.
        return [self.program, "--port", str(place.port), "--nodelay"]

    def load_flags(self, _mode):
        return {}

    def is_on_both(self, _variant):
        return False

    def version(self):
        return "bench/floor of this checkout"


class Herald:
    name = "herald"
    title = "Herald"
    dialect = "herald"

    def __init__(self, options):
        self.program = existing(options.herald, "`make build` builds it; --herald names another")
        self.more = shlex.split(options.herald_args)

    def command(self, place, scenario, variant):
        flags = {"listen": f"127.0.0.1:{place.port}", "loops": 1, "retain-events": RETAINED, "log-level": "error"}
        if place.tls_port:
            flags |= {"tls-listen": f"127.0.0.1:{place.tls_port}", "tls-certificate": place.certificate}
            flags |= {"tls-key": place.key}
        flags |= scenario.herald | (variant.herald if variant else {})
        listed = [f"--{name}={value}" for name, value in flags.items()]
        return [self.program, "serve", *listed, *self.more]

    def load_flags(self, _mode):
        return {}  # the generator's own paths are Herald's

    def is_on_both(self, variant):
        return bool(variant and variant.both_processors)

    def version(self):
        found = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False)
        return found.stdout.strip() or "of unknown version"


class Nchan:
    name = "nchan"
    title = "Nchan"
    dialect = "nchan"
    workers = 1

    def __init__(self, _options):
        self.program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if not self.program:
            raise Failed("no nginx here; Debian's packages are nginx-light and libnginx-mod-nchan")
        build = subprocess.run([self.program, "-V"], capture_output=True, text=True, check=True).stderr
        modules = re.search(r"--modules-path=(\S+)", build)
        self.module = Path(modules[1] if modules else "modules") / "ngx_nchan_module.so"

    def command(self, place, scenario, _variant):
        connections = scenario.reader_count + SPARE_DESCRIPTORS
        configuration = place.folder / "nginx.conf"
        # Without it one of two workers may take nearly all connections.
        spread = " reuseport" if self.workers > 1 else ""
        tls = NCHAN_TLS.format(port=place.tls_port, spread=spread, certificate=place.certificate, key=place.key)
        text = NCHAN_CONFIGURATION.format(
            module=self.module,
            # The worker keeps the master's user: it need not be able to read the folder otherwise.
            user="user root;" if os.geteuid() == 0 else "",
            workers=self.workers,
            descriptors=connections + SPARE_DESCRIPTORS,
            connections=connections,
            folder=place.folder,
            port=place.port,
            spread=spread,
            tls=tls if place.tls_port else "",
            retained=RETAINED,
        )
        configuration.write_text(text, encoding="utf-8")
        return [self.program, "-c", str(configuration)]

    def load_flags(self, mode):
        subscribe = {"subscribe-path": "/sub?id=%u"}
        publish = {"publish-path": "/pub?id=%u"}
        of_mode = {
            "fanout": subscribe | publish,
            "publish": publish,
            "poll": {"poll-path": "/poll?id=%u"},
            "churn": subscribe,
            "idle": subscribe | publish,
        }
        return of_mode[mode]

    def is_on_both(self, _variant):
        return self.workers > 1

    def version(self):
        text = subprocess.run([self.program, "-v"], capture_output=True, text=True, check=True).stderr
        found = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"], capture_output=True, text=True, check=False
        )
        return f"{text.strip().removeprefix('nginx version: ')}, Nchan {found.stdout or 'of unknown version'}"


class NchanTwice(Nchan):
    name = "nchan2"
    title = "Nchan, 2 workers"
    workers = 2


KNOWN = {server.name: server for server in (Floor, Nchan, NchanTwice, Herald)}


def free_ports(count):
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def pinned(processors):
    """What a child does before it becomes its program: all its threads and children then stay there."""
    return lambda: os.sched_setaffinity(0, processors)


def make_certificate(folder):
    """A key on P-256 and a certificate that it signed itself; gives what a place says of them."""
    certificate, key = (str(Path(folder) / name) for name in ("certificate.pem", "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    try:
        done = subprocess.run(
            [*command, "-out", certificate, "-keyout", key], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Failed("no openssl here, which makes the certificate; Debian's package is openssl") from None
    if done.returncode != 0:
        raise Failed(f"openssl made no certificate: {done.stderr.strip()[-200:]}")
    return {"certificate": certificate, "key": key}


def first_line(path):
    return Path(path).read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0]


def wait_until_open(port, process, name):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"{name} ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed(f"{name} did not listen within {START_SECONDS} s")


def stop(process):
    """Asks for an end, then enforces it, of the whole group: a master that is killed leaves its workers."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running(server, scenario, variant, processors, certificate):
    """A server of its own for one measurement; gives its place and its process's id."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ports = free_ports(2 if scenario.is_encrypted else 1)
        place = Place(folder, *ports, **(certificate if scenario.is_encrypted else {}))
        complaints = folder / "complaints"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HERALD_")}
        with open(complaints, "wb") as errors:
            process = subprocess.Popen(
                server.command(place, scenario, variant),
                preexec_fn=pinned(processors),
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
            )
        try:
            for port in filter(None, (place.port, place.tls_port)):
                wait_until_open(port, process, server.name)
            yield place, process.pid
        except Failed as failure:
            said = first_line(complaints)
            raise Failed(f"{failure}; {server.name} said: {said}" if said else str(failure)) from None
        finally:
            stop(process)


def make_topics(port, count):
    """Gives each of Herald's topics bench/0, bench/1, … an event."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for first in range(0, count, BATCH_COUNT_MAX):
        numbers = range(first, min(first + BATCH_COUNT_MAX, count))
        events = "\n".join(json.dumps({"topic": f"bench/{number}", "data": "made"}) for number in numbers)
        connection.request("POST", "/v1/events", events, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 201:
            raise Failed(f"making topics was answered by {answer.status}: {body[:200].decode(errors='replace')}")
    connection.close()
