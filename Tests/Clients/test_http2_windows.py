"""Flow control of HTTP/2: a stream, or a connection, whose client makes no room waits, and nothing else does."""

import json

import pytest

from helpers import CLOSE, MEMORY_FACTOR, PING, PONG, EventStream, eventually, frame, sequence
from http2 import Client, WebSocketStream

WINDOW = 65535  # RFC 9113 §6.9.2: a window at first


@pytest.fixture(scope="module")
def server(servers, authority, loopback_pair):
    flags = ["--retain-events", 1000, "--rule", "few/** retain-events=20"]
    started = servers.start("http2-windows", *flags, authority=authority, pairs=[loopback_pair])
    yield started
    servers.stop(started)


@pytest.fixture(params=["plain", "tls"])
def side(server, request):
    return server.secure if request.param == "tls" else server


def ids_of(answer):
    """The ids of the events of an SSE stream's body, in order; not that which says where it began."""
    blocks = [block.split("\n") for block in answer.body.decode().split("\n\n")[:-1]]
    events = [block for block in blocks if any(line.startswith("data: ") for line in block)]
    return [line[4:] for block in events for line in block if line.startswith("id: ")]


def until_event(client, stream, identifier):
    """Reads until the stream has sent all of that event."""
    client.until_text(stream, f"id: {identifier}\n")
    client.until(lambda: client.answers[stream].body.endswith(b"\n\n"))


def read_all(client, stream, published):
    until_event(client, stream, published[-1])
    assert ids_of(client.answers[stream]) == published


def stalled(server):
    return server.metric("herald_readers", transport="sse", state="stalled")


def test_a_stream_without_room_waits_alone(server, side, topic):
    with Client(side) as client, Client(side) as other:
        held = client.open_events(topic)
        client.held.add(held)
        free, elsewhere = client.open_events(topic), other.open_events(topic)
        published = []
        for _ in range(30):
            published += server.publish_many([(topic, "x" * 5000)] * 5)
            until_event(client, free, published[-1])
            until_event(other, elsewhere, published[-1])
            if len(client.answers[held].body) < WINDOW:
                client.open_window(30000)  # the connection's, which is for all of its streams
        read_all(client, free, published)
        read_all(other, elsewhere, published)
        assert len(client.answers[held].body) == WINDOW
        assert stalled(server) >= 1
        assert client.ask("GET", "/healthz").status == 200
        client.release(held)
        read_all(client, held, published)


def test_a_window_of_nothing_at_first(server, side, topic):
    """Heads are no data; the rest comes as there is room, byte by byte."""
    ids = server.publish_many([(topic, "x" * 100)] * 3)
    with Client(side, initial_window=0) as client:
        client.is_holding = True
        events = client.request("GET", f"/v1/events/{topic}?after=earliest", ("accept", "text/event-stream"))
        page = client.request("GET", f"/v1/events/{topic}")
        head = client.ask("HEAD", f"/v1/events/{topic}")
        client.until(lambda: client.answers[page].headers and client.answers[events].headers)
        assert (client.answers[page].body, client.answers[events].body) == (b"", b"")
        length = int(client.answers[page].headers["content-length"])
        assert length == int(head.headers["content-length"])
        for count in range(1, length + 1):
            client.open_window(1, page)
            client.until(lambda count=count: len(client.answers[page].body) == count)
        assert [each["id"] for each in json.loads(client.response(page).body)["events"]] == ids
        client.open_window(WINDOW, events)
        read_all(client, events, ids)


def test_a_window_that_settings_change(server, side, topic):
    """RFC 9113 §6.9.2: a change holds for the streams that are there, and a window may become negative."""
    with Client(side, initial_window=1000) as client:
        stream = client.open_events(topic)
        client.held.add(stream)
        published = server.publish_many([(topic, "x" * 300)] * 20)
        client.until(lambda: len(client.answers[stream].body) == 1000)
        client.set(initial_window_size=100)
        assert client.ask("GET", "/healthz").status == 200
        client.open_window(800, stream)  # still one hundred below nothing
        assert client.ask("GET", "/healthz").status == 200
        assert len(client.answers[stream].body) == 1000
        client.set(initial_window_size=2000)
        client.until(lambda: len(client.answers[stream].body) == 2800)
        client.set(initial_window_size=1 << 20)
        read_all(client, stream, published)


def test_a_connection_without_room_waits_alone(server, side, topic):
    with Client(side, initial_window=1 << 20) as client, Client(side) as other:
        client.is_holding = True
        streams = [client.open_events(topic) for _ in range(3)]
        elsewhere = other.open_events(topic)
        published = []
        while sum(len(each.body) for each in client.answers.values()) < WINDOW:
            published += server.publish_many([(topic, "x" * 5000)] * 3)
            other.until_text(elsewhere, f"id: {published[-1]}\n")
            client.read()
        published += server.publish_many([(topic, "x" * 5000)] * 3)
        read_all(other, elsewhere, published)
        # Heads need no window.
        head = client.request("HEAD", f"/v1/events/{topic}")
        poll = client.request("GET", f"/v1/events/{topic}")
        assert client.response(head).status == 200
        client.until(lambda: client.answers[poll].headers)
        assert client.answers[poll].body == b""
        assert sum(len(each.body) for each in client.answers.values()) == WINDOW
        client.is_holding = False
        client.open_window(WINDOW)
        for each in streams:
            client.release(each)
        for each in streams:
            read_all(client, each, published)
        assert len(json.loads(client.response(poll).body)["events"]) == len(published)


def test_a_stream_that_the_ring_overtakes_is_told(server, side, topic):
    """A window that stays shut is a slow reader like any other: a gap, and then what is kept."""
    topic = f"few/{topic}"
    with Client(side) as client:
        stream = client.open_events(topic)
        client.held.add(stream)
        published = []
        for _ in range(10):
            published += server.publish_many([(topic, "x" * 5000)] * 10)
        client.until(lambda: len(client.answers[stream].body) == WINDOW)
        client.open_window(1 << 20)
        client.release(stream)
        until_event(client, stream, published[-1])
        answer = client.answers[stream]
        delivered = [each for each in ids_of(answer) if each in published]
        gaps = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith('data: {"topic"')]
        gaps = [each for each in gaps if each.get("reason") == "evicted"]
        assert delivered[-20:] == published[-20:] and gaps
        numbers = list(map(sequence, delivered))
        assert numbers == sorted(set(numbers))
        ranges = [(sequence(each["from"]), sequence(each["to"])) for each in gaps]
        for each in map(sequence, published):
            assert each in numbers or any(low <= each <= high for low, high in ranges), each


def test_a_websocket_without_room(server, side, topic):
    """A ping's answer waits for room as everything does, and both come when there is some."""
    with Client(side) as client:
        websocket = WebSocketStream(client, f"/v1/events/{topic}")
        websocket.read_text()
        client.held.add(websocket.stream)
        published = server.publish_many([(topic, "x" * 10000)] * 20)
        client.until(lambda: len(websocket.answer.body) >= WINDOW - 200)
        websocket.send(PING, b"behind")
        client.open_window(1 << 20)
        client.release(websocket.stream)
        seen, pongs = [], 0
        while len(seen) < len(published) or not pongs:
            opcode, payload = websocket.read_frame()
            assert opcode != CLOSE
            if opcode == PONG:
                pongs += 1
            elif b'"id"' in payload:
                seen.append(json.loads(payload)["id"])
        assert seen == published


def test_a_stream_without_progress_ends_after_the_write_timeout(server_factory, topic):
    server = server_factory("--write-timeout", "500ms", "--heartbeat", "200ms")
    with Client(server) as client:
        held, free = client.open_events(topic), client.open_events(topic)
        client.held.add(held)
        server.publish_many([(topic, "x" * 5000)] * 20)
        client.open_window(1 << 20)
        assert client.response(held).reset == 0xB, "ENHANCE_YOUR_CALM"
        published = server.publish(topic)
        assert published["receivers"] == 1
        client.until_text(free, published["id"])


def test_an_answer_without_progress_ends_after_the_write_timeout(server_factory, topic):
    server = server_factory("--write-timeout", "500ms")
    server.publish_many([(topic, "x" * 5000)] * 20)
    with Client(server, initial_window=10) as client:
        client.is_holding = True
        page = client.request("GET", f"/v1/events/{topic}")
        answer = client.response(page)
        assert (answer.status, len(answer.body), answer.ended) == (200, 10, False)
        assert client.ask("HEAD", "/healthz").status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_a_socket_that_is_not_read(server_factory, topic, tls):
    """Beyond the windows there is the socket: what it does not take waits in the log, and all comes in the end."""
    server = server_factory("--retain-events", 10000, "--memory-limit", "1GiB", tls=True)
    with Client(server.secure if tls else server, initial_window=1 << 30, receive_buffer=8192) as client:
        client.open_window((1 << 31) - 1 - WINDOW)
        streams = [client.open_events(topic) for _ in range(3)]
        with EventStream(server, f"/v1/events/{topic}") as other:
            other.read_block()
            published = []
            while stalled(server) < 3:
                published += server.publish_many([(topic, "x" * 16000)] * 20)
                while other.read_event()[1] != published[-1]:
                    pass
            before = server.memory_bytes()
            for _ in range(20):
                published += server.publish_many([(topic, "x" * 16000)] * 20)
            assert server.memory_bytes() - before < MEMORY_FACTOR * (30 << 20), "6 MB were published"
        for each in streams:
            read_all(client, each, published)


def test_many_bodies_at_once(server, side, topic):
    """Bodies take turns: each has a window of its own, and the connection's is given back."""
    with Client(side) as client:
        streams = [client.request("POST", f"/v1/events/{topic}", ends=False) for _ in range(20)]
        for _ in range(10):
            for each in streams:
                client.send(each, b"x" * 20_000)
        for each in streams:
            client.send(each, b"", ends=True)
        assert {client.response(each).status for each in streams} == {201}


def test_a_websocket_that_sends_without_reading(server_factory):
    """What is echoed and not taken is bounded: the server gives no more room for what would be echoed."""
    server = server_factory("--echo-path", "/echo")
    with Client(server) as client:
        websocket = WebSocketStream(client, "/echo")
        client.held.add(websocket.stream)
        client.open_window(1 << 20)
        message = frame(0x2, b"x" * 10_000)
        sent = 0
        while client.connection.local_flow_control_window(websocket.stream) >= len(message):
            client.send(websocket.stream, message)
            sent += 1
            client.ask("GET", "/healthz")
            assert sent < 1000, "the server gives room without end"
        eventually(lambda: server.metric("herald_http2_streams") == 1, "only the WebSocket is left")
        client.release(websocket.stream)
        for _ in range(sent):
            assert websocket.read(0x2) == b"x" * 10_000
