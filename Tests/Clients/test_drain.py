"""SIGTERM and SIGINT: everybody is told, nothing is cut short, and the exit code is 0."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers import (
    CLOSE,
    PATIENCE,
    TEXT,
    Closed,
    EventStream,
    LineStream,
    RawConnection,
    RawWebSocket,
    eventually,
    frame,
    request_bytes,
    sequence,
)

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_idle_server_exits_at_once(server_factory, number):
    server = server_factory("--drain-timeout", "1h")
    server.client.close()
    server.signal(number)
    assert server.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_every_kind_of_connection_is_told(server_factory, topic, number):
    server = server_factory("--drain-timeout", "20s")
    cursor = server.publish(topic)["id"]
    target = f"/v1/events/{topic}"
    stream, socket = EventStream(server, target), RawWebSocket(server, target)
    lines = LineStream(server, target)
    stream.read_block()
    assert lines.read_json()["control"] == "welcome"
    assert socket.read_json()["control"] == "welcome"
    with RawConnection(server) as poll, RawConnection(server) as idle:
        poll.request("GET", f"{target}?after={cursor}&wait=300")
        assert idle.exchange("GET", "/healthz").status == 200
        eventually(lambda: server.metric("herald_held_requests") == 1, "the poll is held")
        server.client.close()
        server.signal(number)

        opcode, payload = socket.read_frame()
        while opcode == TEXT:
            opcode, payload = socket.read_frame()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1001)
        socket.send(frame(CLOSE, payload[:2]))
        assert socket.read_to_end() == b""

        rest = stream.read_to_end().decode()
        assert rest.split("\n\n")[-2].startswith("retry: "), rest

        end = json.loads(lines.read_to_end().splitlines()[-1])
        assert end["control"] == "end" and sequence(end["cursor"]) >= sequence(cursor)
        assert 2000 <= end["retry_ms"] <= 4000

        answer = poll.read_response()
        assert answer.status == 200
        page = answer.json()
        assert page["events"] == [] and page["next"]
        assert poll.read_to_end() == b""

        assert idle.read_to_end() == b""
    assert server.wait() == 0
    stream.close()
    socket.close()


def test_readyz_says_draining_while_connections_are_left(server_factory, topic):
    server = server_factory("--drain-timeout", "20s")
    with RawConnection(server) as slow, RawConnection(server) as busy:
        assert busy.exchange("GET", "/readyz").json()["status"] == "ready"
        # A request under way keeps its connection; the socket's own answers are then read one after the other.
        slow.send(request_bytes("POST", f"/v1/events/{topic}", {"Content-Length": "10"}) + b"half")
        busy.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
        eventually(lambda: server.metric("herald_connections") >= 2, "both are there")
        server.client.close()
        server.signal(signal.SIGTERM)
        eventually(lambda: is_draining(server), "new connections are refused, or told that it drains")
        busy.send(b"\r\n")
        answer = busy.read_response()
        assert (answer.status, answer.json()["status"]) == (503, "draining")
        assert answer.headers["connection"].lower() == "close"
        assert "retry-after" in answer.headers
        slow.send(b" a whole")
        response = slow.read_response()
        assert response.status in (201, 503)
        assert slow.read_to_end() == b""
    assert server.wait() == 0


def is_draining(server):
    try:
        with RawConnection(server) as connection:
            return connection.exchange("GET", "/readyz").status == 503
    except (OSError, Closed):
        return True


def test_pipelined_requests_that_were_received_are_answered(server_factory, topic):
    server = server_factory("--drain-timeout", "20s")
    with RawConnection(server) as connection:
        connection.send(request_bytes("POST", f"/v1/events/{topic}", None, b"x") * 100)
        assert connection.read_response().status == 201
        server.client.close()
        server.signal(signal.SIGTERM)
        statuses = []
        try:
            while True:
                statuses.append(connection.read_response().status)
        except Closed:
            pass
    assert set(statuses) <= {201, 503}
    assert server.wait() == 0


def test_connections_that_do_not_leave_are_ended_at_the_drain_timeout(server_factory, topic):
    server = server_factory("--drain-timeout", "1s", "--request-timeout", "1h")
    with RawWebSocket(server, f"/v1/events/{topic}") as socket, RawConnection(server) as half:
        half.send(b"GET /healthz HTTP/1.1\r\n")
        eventually(lambda: server.metric("herald_connections") >= 2, "both are there")
        server.client.close()
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        while socket.read_frame()[0] != CLOSE:
            pass
        assert server.wait() == 0
        assert time.monotonic() - begun < PATIENCE


def test_a_stalled_reader_does_not_hold_up_the_drain(server_factory, topic):
    server = server_factory("--drain-timeout", "1s", "--retain-events", 10)
    stream = EventStream(server, f"/v1/events/{topic}", receive_buffer=4096)
    for _ in range(40):
        server.publish_many([(topic, "x" * 16000)] * 20)
    server.client.close()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    stream.close()


def test_a_second_signal_does_no_harm(server_factory, topic):
    server = server_factory("--drain-timeout", "1s")
    with RawWebSocket(server, f"/v1/events/{topic}"):
        server.client.close()
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGTERM)
        assert server.wait() in (0, 143, -signal.SIGTERM)


def test_publishers_at_work_lose_nothing_that_was_answered(server_factory, topic):
    """All that was answered 201 before the end was in the log: a live reader got it."""
    server = server_factory("--drain-timeout", "10s")
    server.publish(topic)
    stream = EventStream(server, f"/v1/events/{topic}")
    stream.read_block()
    answered = []

    def publish():
        try:
            with RawConnection(server) as connection:
                while True:
                    response = connection.exchange("POST", f"/v1/events/{topic}", None, b"x")
                    if response.status != 201:
                        return
                    answered.append(response.json()["id"])
        except (OSError, Closed):
            pass

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(publish)
        eventually(lambda: len(answered) > 200, "publishers are at work")
        server.client.close()
        server.signal(signal.SIGTERM)
    received = stream.read_to_end().decode()
    stream.close()
    assert server.wait() == 0
    # What was published after the stream had been told to go is no longer delivered to it.
    seen = {line[4:] for line in received.split("\n") if line.startswith("id: ")}
    assert len(seen & set(answered)) > 200
