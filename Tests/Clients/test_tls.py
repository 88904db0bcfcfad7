"""TLS: versions, protocols, every transport, and what goes wrong with a handshake. Certificates have their own file."""

import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from helpers import (
    PATIENCE,
    TRANSPORTS,
    Closed,
    EventStream,
    RawConnection,
    RawWebSocket,
    assert_problem,
    eventually,
    request_bytes,
)
from readers import open_reader
from tls import V12, V13, VERSIONS, connect, exchange, handshakes, until_counted

PROTOCOL_VERSION = 70  # RFC 8446 §6.2: an alert's description


@pytest.fixture(scope="module")
def server(servers, authority, loopback_pair):
    started = servers.start("tls", authority=authority, pairs=[loopback_pair])
    yield started
    servers.stop(started)


@pytest.fixture
def secure(server):
    return server.secure


# Versions and protocols.


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(server, secure, version):
    before = handshakes(server, version=version, outcome="completed")
    with connect(secure, secure.context(version=VERSIONS[version])) as tls:
        assert tls.version() == version
        assert json.loads(exchange(tls)) == {"status": "ok"}
    assert handshakes(server, version=version, outcome="completed") == before + 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("protocol", "spoken"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl(secure, authority, topic, version, protocol, spoken):
    most = version.removeprefix("TLSv")
    arguments = ["--cacert", str(authority.file), f"--tlsv{most}", "--tls-max", most, protocol]
    result = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", *arguments, "-d", "by curl", "-w", "\n%{http_version}",
         f"{secure.url}/v1/events/{topic}"],
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    answer, version_spoken = result.stdout.splitlines()
    assert version_spoken == spoken
    assert json.loads(answer)["topic"] == topic


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2"], "h2"),
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["unknown", "http/1.1"], "http/1.1"),
        ([], None),
    ],
)
def test_alpn(secure, offered, chosen):
    with connect(secure, secure.context(*offered)) as tls:
        assert tls.selected_alpn_protocol() == chosen


def test_alpn_of_only_unknown_protocols_is_refused(server, secure):
    before = handshakes(server, outcome="protocol")
    with pytest.raises(ssl.SSLError) as refusal:
        connect(secure, secure.context("spdy/3", "imap"))
    assert "no application protocol" in str(refusal.value)
    until_counted(server, before, outcome="protocol")


def test_the_oldest_version(server_factory):
    server = server_factory("--tls-min-version", "1.3", tls=True)
    before = handshakes(server, version="none", outcome="version")
    with pytest.raises(ssl.SSLError) as refusal:
        connect(server.secure, server.secure.context(version=V12))
    assert "PROTOCOL_VERSION" in refusal.value.reason
    until_counted(server, before, version="none", outcome="version")
    with connect(server.secure, server.secure.context(version=V13)) as tls:
        exchange(tls)


def test_versions_before_1_2_are_refused(server, secure):
    """A hello of TLS 1.0, which today's OpenSSL no longer sends by itself."""
    body = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x02\xc0\x13" + b"\x01\x00"
    hello = b"\x01" + struct.pack("!I", len(body))[1:] + body
    before = handshakes(server, outcome="version")
    with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
        plain.sendall(b"\x16\x03\x01" + struct.pack("!H", len(hello)) + hello)
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer[:1] == b"\x15" and answer[5:] == bytes([2, PROTOCOL_VERSION]), answer
    until_counted(server, before, outcome="version")


# The transports.


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport(server, secure, topic, transport):
    start = server.publish(topic)["id"]
    with open_reader(secure, transport, topic, after=start) as reader:
        for size in (1, 1000, 70000, 1 << 20):
            published = server.publish(topic, data=json.dumps("x" * (size - 2)), content_type="application/json")
            event = reader.read_event()
            assert event.id == published["id"]
            assert event.data == "x" * (size - 2)


def test_publishing_a_large_body(server, secure, topic):
    body = bytes(range(256)) * 4000
    with httpx.Client(verify=secure.trust, trust_env=False, timeout=PATIENCE) as client:
        answer = client.post(f"{secure.url}/v1/events/{topic}", content=body)
        assert answer.status_code == 201
        page = client.get(f"{secure.url}/v1/events/{topic}").json()
    assert page["events"][0]["id"] == answer.json()["id"]


def test_many_requests_on_one_connection(server, secure, topic):
    """Small answers together make records of many answers."""
    with RawConnection(secure) as connection:
        connection.send(request_bytes("POST", f"/v1/events/{topic}", None, b"x") * 500)
        assert [connection.read_response().status for _ in range(500)] == [201] * 500


# What is no TLS, or not all of it.


@pytest.mark.parametrize("data", [request_bytes("GET", "/healthz"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 100])
def test_no_tls_on_the_port_of_tls(server, secure, data):
    before = handshakes(server, outcome="plain_text")
    plain = type("Plain", (), {"host": secure.host, "port": secure.port})
    with RawConnection(plain) as connection:
        connection.send(data)
        assert_problem(connection.read_response(), 400, "tls-required", "https://")
        assert connection.read_to_end() == b""
    assert handshakes(server, outcome="plain_text") == before + 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff",
        b"\x16\x03\x01\xff\xff" + b"x" * 70000,
        b"\x16\x03\x01\x00\x00" * 50,
        b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(16380),
        b"\x16\x16\x16\x16\x16\x16\x16",
        b"\x16GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_noise_that_begins_like_tls_ends(server, secure, data):
    with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
        try:
            plain.sendall(data)
            while plain.recv(4096):
                pass
        except ConnectionError:
            pass
    with RawConnection(secure) as connection:
        assert connection.exchange("GET", "/healthz").status == 200


def test_noise_after_the_handshake_ends(server, secure):
    with connect(secure, secure.context()) as tls, socket.socket(fileno=tls.detach()) as plain:
        plain.settimeout(PATIENCE)
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        try:
            while plain.recv(4096):
                pass
        except ConnectionError:
            pass


def hello_of(secure, context=None):
    """A client's first flight, and the object that goes on with it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = (context or secure.context()).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


@pytest.mark.parametrize("sent", [0, 1, 100])
def test_a_handshake_that_never_ends(server_factory, sent):
    server = server_factory("--request-timeout", "300ms", tls=True)
    _, _, outgoing = hello_of(server.secure)
    with socket.create_connection((server.secure.host, server.secure.port), PATIENCE) as plain:
        plain.sendall(outgoing.read()[:sent])
        assert plain.recv(4096) == b""
    until_counted(server, 0, version="none", outcome="timeout")


def test_a_client_that_leaves_in_the_handshake(server, secure):
    before = handshakes(server, outcome="left")
    _, _, outgoing = hello_of(secure)
    with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
        plain.sendall(outgoing.read()[:50])
    until_counted(server, before, outcome="left")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_does_not_trust_the_certificate(server, secure, version):
    before = handshakes(server, outcome="refused")
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = VERSIONS[version]
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(secure, context)
    until_counted(server, before, outcome="refused")


def leave_by_reset(server, secure, context):
    """A client goes on with its handshake as far as it can and leaves, while the server does not look."""
    tls, incoming, outgoing = hello_of(secure, context)
    with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
        plain.sendall(outgoing.read())
        said = b""
        while not said:
            incoming.write(plain.recv(65536))
            with server.suspended():
                with suppress(ssl.SSLWantReadError, ssl.SSLCertVerificationError):
                    tls.do_handshake()
                if said := outgoing.read():
                    plain.sendall(said)
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    plain.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_why_a_client_left_is_heard_although_it_left_by_a_reset(server, secure, version):
    before = handshakes(server, outcome="refused")
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = VERSIONS[version]
    leave_by_reset(server, secure, context)
    until_counted(server, before, outcome="refused")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_whose_client_has_reset_is_counted_once(server, secure, version):
    """What it said would have gone on, but the answer reaches nobody."""
    before, connections = handshakes(server), server.metric("herald_connections")
    leave_by_reset(server, secure, secure.context(version=VERSIONS[version]))
    until_counted(server, before)
    eventually(lambda: server.metric("herald_connections") == connections, "it has gone")
    with connect(secure, secure.context(version=VERSIONS[version])) as tls:
        assert json.loads(exchange(tls)) == {"status": "ok"}
    assert handshakes(server) == before + 2


@pytest.mark.parametrize("version", VERSIONS)
def test_one_byte_at_a_time(secure, version):
    """Records of the handshake and of a request come in pieces of one byte."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = secure.context(version=VERSIONS[version]).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def step(action):
            while True:
                try:
                    result = action()
                except ssl.SSLWantReadError:
                    result = None
                for byte in outgoing.read():
                    plain.sendall(bytes([byte]))
                if result is not None:
                    return result
                received = plain.recv(65536)
                assert received, "the server does not close"
                incoming.write(received)

        step(lambda: tls.do_handshake() or True)
        step(lambda: tls.write(request_bytes("GET", "/healthz")))
        answer = step(lambda: tls.read(65536))
    assert b'{"status":"ok"}' in answer


def test_half_a_record_and_then_the_rest(secure, topic):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = secure.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            plain.sendall(outgoing.read())
            if not done:
                incoming.write(plain.recv(65536))
        for _ in range(3):
            tls.write(request_bytes("POST", f"/v1/events/{topic}", None, b"x" * 15000))
            record = outgoing.read()
            half = len(record) // 2
            plain.sendall(record[:half])
            time.sleep(0.05)
            plain.sendall(record[half:])
            answer = b""
            while b"receivers" not in answer:
                incoming.write(plain.recv(65536))
                try:
                    answer += tls.read(65536)
                except ssl.SSLWantReadError:
                    pass
            assert b" 201 " in answer


def test_stalled_readers_cost_little_memory(server_factory, topic):
    """What a reader has not taken is sealed for it once: some records each, not the events behind them."""
    server = server_factory("--retain-events", 20, tls=True)

    def publish(megabytes):
        for _ in range(megabytes * 2):
            server.publish_many([(topic, "x" * 16000)] * 32)

    publish(64)  # the window of live events is full then
    readers = [EventStream(server.secure, f"/v1/events/{topic}", receive_buffer=8192) for _ in range(20)]
    before = server.memory_bytes()
    publish(32)
    assert server.metric("herald_readers", transport="sse", state="stalled") == 20
    assert server.memory_bytes() - before < 64 << 20, "20 readers did not take 32 MB each"
    for reader in readers:
        reader.close()


def test_many_handshakes_one_at_a_time(server_factory):
    server = server_factory("--tls-handshakes", 1, "--loops", 1, tls=True)
    context = server.secure.context()

    def ask(_):
        with connect(server.secure, context) as tls:
            return json.loads(exchange(tls))["status"]

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, range(200))) == ["ok"] * 200
    assert handshakes(server, outcome="completed") == 200


def client_hello(context):
    """A client's first flight."""
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


@pytest.mark.parametrize("bound", [1, 4])
def test_no_more_handshakes_than_the_bound_go_before_what_else_there_is_to_do(server_factory, bound):
    server = server_factory("--tls-handshakes", bound, "--loops", 1, tls=True)
    opened = server.metric("herald_connections_accepted_total")
    hello = client_hello(server.secure.context())
    plain = socket.create_connection((server.host, server.port), PATIENCE)
    handshaking = [socket.create_connection((server.secure.host, server.secure.port), PATIENCE) for _ in range(12)]
    eventually(lambda: server.metric("herald_connections_accepted_total") >= opened + 13, "all are accepted")
    # All is there before the server goes on, the handshakes first: one turn of the loop finds all of it.
    with server.suspended():
        for each in handshaking:
            each.sendall(hello)
        plain.sendall(request_bytes("GET", "/healthz"))
        # The kernel's list of what is ready keeps the order in which answers come.
        order = select.epoll()
        for each in [plain, *handshaking]:
            order.register(each, select.EPOLLIN | select.EPOLLET)
    eventually(lambda: len(select.select([plain, *handshaking], [], [], 0)[0]) == 13, "all are answered")
    answered = [descriptor for descriptor, _ in order.poll(0)]
    order.close()
    assert answered.index(plain.fileno()) <= bound
    for each in [plain, *handshaking]:
        each.close()


def processor_seconds(server):
    """What the server has used."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_handshakes_that_wait_cost_nothing(server_factory):
    """However many wait, each costs what it costs alone: they are not looked at in each turn."""
    flags = ("--tls-handshakes", 1, "--loops", 1, "--request-timeout", "10m")
    server = server_factory(*flags, tls=True)
    hello = client_hello(server.secure.context())

    def cost(count, at_once):
        """Processor time for the first flights of so many handshakes, of each."""
        before = processor_seconds(server)
        for _ in range(0, count, at_once):
            sockets = [socket.create_connection((server.secure.host, server.secure.port), PATIENCE)
                       for _ in range(at_once)]  # fmt: skip
            with server.suspended():
                for each in sockets:
                    each.sendall(hello)
            for each in sockets:
                assert each.recv(1) == b"\x16", "a ServerHello"
            for each in sockets:
                each.close()
        return (processor_seconds(server) - before) / count

    alone = cost(1000, 10)
    assert cost(3000, 3000) < 3 * alone


def test_many_handshakes_at_once_are_all_over(server_factory):
    """Each wait is as long as the line; what has begun goes first."""
    server = server_factory("--tls-handshakes", 1, "--loops", 1, tls=True)
    context = server.secure.context()
    plain = [socket.create_connection((server.secure.host, server.secure.port), PATIENCE) for _ in range(1500)]
    waiting = [context.wrap_socket(each, server_hostname="localhost", do_handshake_on_connect=False) for each in plain]
    for each in waiting:
        each.setblocking(False)
    rest = waiting
    deadline = time.monotonic() + PATIENCE
    while rest:
        assert time.monotonic() < deadline, f"{len(rest)} handshakes are not over"
        rest = [each for each in rest if not is_shaken(each)]
    # The client has the last word of a handshake, and the server may have yet to read it.
    eventually(lambda: handshakes(server, outcome="completed") == 1500, "the server has seen the end of all")
    for each in waiting:
        each.close()


def is_shaken(tls):
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


# Ends.


def test_an_orderly_end_is_said_in_tls(secure, topic):
    with RawConnection(secure) as connection:
        connection.request("GET", "/healthz", {"Connection": "close"})
        assert connection.read_response().status == 200
        assert connection.read_to_end() == b"" and not connection.is_cut
    with RawConnection(secure) as connection:
        connection.send(b"GET healthz HTTP/1.1\r\n\r\n")
        assert connection.read_response().status == 400
        assert connection.read_to_end() == b"" and not connection.is_cut


def test_a_client_that_says_goodbye_is_let_go(server, secure):
    before = server.metric("herald_connections_closed_total", reason="peer")
    tls = connect(secure, secure.context())
    tls.settimeout(PATIENCE)
    plain = tls.unwrap()
    assert plain.recv(1) == b""
    plain.close()
    eventually(
        lambda: server.metric("herald_connections_closed_total", reason="peer") > before, "ended by the peer"
    )


def test_drain(server_factory, topic):
    server = server_factory("--drain-timeout", "20s", tls=True)
    cursor = server.publish(topic)["id"]
    target = f"/v1/events/{topic}"
    stream, websocket = EventStream(server.secure, target), RawWebSocket(server.secure, target)
    stream.read_block()
    assert websocket.read_json()["control"] == "welcome"
    with RawConnection(server.secure) as poll, RawConnection(server.secure) as idle:
        poll.request("GET", f"{target}?after={cursor}&wait=300")
        assert idle.exchange("GET", "/healthz").status == 200
        eventually(lambda: server.metric("herald_held_requests") == 1, "the poll is held")
        server.client.close()
        server.signal(signal.SIGTERM)
        assert websocket.read_close_code() == 1001
        assert stream.read_to_end().decode().split("\n\n")[-2].startswith("retry: ")
        assert poll.read_response().json()["events"] == []
        assert poll.read_to_end() == b"" and idle.read_to_end() == b""
        assert not any(each.is_cut for each in (stream, websocket, poll, idle))
    stream.close()
    websocket.close()
    assert server.wait() == 0


def test_a_handshake_does_not_hold_up_the_drain(server_factory):
    server = server_factory("--drain-timeout", "1s", "--request-timeout", "1h", tls=True)
    with socket.create_connection((server.secure.host, server.secure.port), PATIENCE):
        eventually(lambda: server.metric("herald_connections") >= 2, "it is there")
        server.client.close()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_connections_beyond_the_bound_are_told(server_factory):
    server = server_factory("--max-connections", 3, tls=True)
    held = [connect(server.secure, server.secure.context()) for _ in range(2)]
    # One of the three is the test's own client, if it has asked yet.
    server.client.get("/healthz")
    with RawConnection(server.secure) as one_too_many:
        try:
            one_too_many.request("GET", "/healthz")
        except ConnectionError:
            pass
        assert_problem(one_too_many.read_response(), 503, "too-many-connections")
    for each in held:
        each.close()


def test_connections_that_leave_at_every_moment(server, secure):
    tls, incoming, outgoing = hello_of(secure)
    hello = outgoing.read()
    for end in range(0, len(hello) + 1, 37):
        with socket.create_connection((secure.host, secure.port), PATIENCE) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.sendall(hello[:end])
    with RawConnection(secure) as connection:
        assert connection.exchange("GET", "/healthz").status == 200


def test_metrics_of_protocols(server_factory):
    server = server_factory(tls=True)

    def count(protocol, tls):
        return server.metric("herald_protocol_connections", protocol=protocol, tls=tls)

    with connect(server.secure, server.secure.context("http/1.1")), connect(server.secure, server.secure.context("h2")):
        eventually(lambda: (count("http/1.1", "true"), count("h2", "true")) == (1, 1), "one of each")
        assert (count("http/1.1", "false"), count("h2", "false")) == (1, 0)
    eventually(lambda: (count("http/1.1", "true"), count("h2", "true")) == (0, 0), "both have gone")
    with pytest.raises(Closed), RawConnection(server) as connection:
        connection.send(b"\x16\x03\x01\x02\x00")
        connection.read_until(b"HTTP")
