"""HTTP/2 that breaks the rules, or keeps to them to do harm: frames made by hand (CVE-2019-9511 to 9518,
CVE-2023-44487, CVE-2024-27316). In each case the server says why it ends what it ends, another connection's stream is
served meanwhile, and the server's memory stays within a bound."""

import json
import socket
import struct

import pytest

import frames as f
from frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    WINDOW_MAX,
    Frames,
    data,
    frame,
    headers,
    literal,
    ping,
    request,
    rst_stream,
    settings,
    window_update,
)
from helpers import Closed, EventStream, RawConnection, assert_problem, eventually

# What one hostile connection may cost while it lasts, in all of these tests but where a test says otherwise.
MEMORY_BOUND = 24 << 20
GET = request("GET", "/healthz")


@pytest.fixture(scope="module")
def server(servers, authority, loopback_pair):
    started = servers.start("http2-floods", authority=authority, pairs=[loopback_pair])
    started.publish_many([("floods/warm", "x" * 1000)] * 1000)
    yield started
    servers.stop(started)


@pytest.fixture(params=["plain", "tls"])
def side(server, request):
    return server.secure if request.param == "tls" else server


@pytest.fixture(autouse=True)
def serves_on(server, topic):
    """Another connection's stream is open before, and gets an event after; memory is as it was but for the bound."""
    with EventStream(server, f"/v1/events/{topic}-beside") as stream:
        stream.read_block()
        before = server.memory_bytes()
        yield
        published = server.publish(f"{topic}-beside")["id"]
        assert stream.read_event()[1] == published
        grown = server.memory_bytes() - before
        assert grown < MEMORY_BOUND, f"{grown >> 20} MiB more"


def floods(server):
    return server.metric("herald_http2_floods_total")


def ends_with(connection, code):
    """The connection ends, and the server says why; it may be that our own sending cut off its last word."""
    goaway = connection.read_to_end()
    assert goaway is not None and goaway.code == code, goaway
    return goaway


# Floods.


def repeat(connection, make, count):
    """Sends count pieces, a hundred at a time; false when the server has closed before the last."""
    for at in range(0, count, 100):
        if not connection.try_send(*(make(number) for number in range(at, min(at + 100, count)))):
            return False
    return True


FLOODS = {
    "reset": lambda number: headers(2 * number + 1, GET, ends=False) + rst_stream(2 * number + 1),
    "settings": lambda number: settings(initial_window_size=number),
    "empty settings": lambda number: settings(),
    "ping": lambda number: ping(struct.pack("!Q", number)),
    "unasked pong": lambda number: ping(struct.pack("!Q", number), f.ACK),
    "priority": lambda number: frame(f.PRIORITY, stream=2 * number + 1, payload=b"\x00\x00\x00\x00\x10"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_that_only_make_work(server, side, kind):
    before = floods(server)
    with Frames(side, is_polite=False) as connection:
        repeat(connection, FLOODS[kind], 30000)
        goaway = connection.read_to_end()
    eventually(lambda: floods(server) == before + 1, "it is counted")
    # Whoever goes on sending to a closed socket may lose what was said last.
    assert goaway is None or goaway.code in (ENHANCE_YOUR_CALM, 2), goaway


@pytest.mark.parametrize(
    "piece",
    [data(1), frame(f.DATA, f.PADDED, 1, b"\x05" + bytes(5))],
    ids=["empty", "only padding"],
)
def test_a_flood_of_empty_data(server, side, topic, piece):
    before = floods(server)
    with Frames(side, is_polite=False) as connection:
        connection.send(headers(1, request("POST", f"/v1/events/{topic}"), ends=False))
        repeat(connection, lambda _: piece, 30000)
        connection.read_to_end()
    eventually(lambda: floods(server) == before + 1, "it is counted")
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


def test_what_is_within_the_allowance_is_no_flood(server_factory):
    server = server_factory("--http2-frame-allowance", 50)
    with Frames(server) as connection:
        for number in range(40):
            connection.sync(struct.pack("!Q", number))
        assert connection.ask(1, "GET", "/healthz").status == 200
        for number in range(40, 100):
            if not connection.try_send(ping(struct.pack("!Q", number))):
                break
        ends_with(connection, ENHANCE_YOUR_CALM)
    assert floods(server) == 1


def test_a_flood_of_continuations(server, side):
    """A header block that never ends (CVE-2024-27316)."""
    before = floods(server)
    with Frames(side, is_polite=False) as connection:
        connection.send(headers(1, GET, ends=False, end_headers=False))
        piece = frame(f.CONTINUATION, 0, 1, literal("x-filler", "y" * 4000))
        for _ in range(10000):
            if not connection.try_send(piece):
                break
        connection.read_to_end()
    eventually(lambda: floods(server) == before + 1, "it is counted")


def test_a_few_continuations_are_no_flood(side):
    pieces = [literal(f"x-{number}", "y" * 100) for number in range(5)]
    with Frames(side) as connection:
        connection.send(headers(1, GET, end_headers=False))
        for piece in pieces:
            connection.send(frame(f.CONTINUATION, 0, 1, piece))
        connection.send(frame(f.CONTINUATION, f.END_HEADERS, 1))
        assert connection.response(1).status == 200
        connection.send(headers(3, GET, end_headers=False))
        for _ in range(9):
            connection.send(frame(f.CONTINUATION, 0, 3, pieces[0]))
        ends_with(connection, ENHANCE_YOUR_CALM)


def test_a_header_block_that_is_left_open(server_factory):
    """Silence in the middle of a header block ends like an unfinished request."""
    server = server_factory("--request-timeout", "300ms", "--idle-timeout", "500ms")
    with Frames(server) as connection:
        connection.send(headers(1, GET, ends=False, end_headers=False))
        connection.read_to_end()
    eventually(lambda: server.metric("herald_http2_streams") == 0, "the stream has gone")


def test_other_frames_inside_a_header_block(side):
    with Frames(side) as connection:
        connection.send(headers(1, GET, end_headers=False), ping())
        ends_with(connection, PROTOCOL_ERROR)


def test_windows_of_one_byte_at_a_time(server, side, topic):
    """CVE-2019-9511: an answer in pieces of one byte costs the client a frame each, and is whole in the end."""
    server.publish_many([(topic, "x" * 100)] * 10)
    with Frames(side, hello=f.PREFACE + settings(initial_window_size=0)) as connection:
        connection.send(headers(1, request("GET", f"/v1/events/{topic}")))
        for _ in range(4000):
            connection.send(window_update(1, 1))
        assert len(json.loads(connection.response(1).body)["events"]) == 10


def test_a_client_that_never_reads_what_it_asks_for(server, side, topic):
    """Answers of 1 MB each to streams whose windows are open, over a socket that is not read."""
    server.publish_many([(topic, "x" * 10_000)] * 100)
    with Frames(
        side, hello=f.PREFACE + settings(initial_window_size=WINDOW_MAX) + window_update(WINDOW_MAX - 65535),
        receive_buffer=8192,
    ) as connection:  # fmt: skip
        connection.socket.settimeout(0.5)
        try:
            for number in range(5000):
                connection.send(headers(2 * number + 1, request("GET", f"/v1/events/{topic}")))
        except (TimeoutError, OSError):
            pass
        server.publish(topic)


def test_a_client_that_makes_no_room_for_what_it_asks_for(server_factory, topic):
    """What is answered and has no window is kept: streams times the largest page, which is a connection's bound."""
    server = server_factory("--max-http2-streams", 20)
    server.publish_many([(topic, "x" * 10_000)] * 100)
    server.client.get(f"/v1/events/{topic}")
    before = server.memory_bytes()
    with Frames(server, hello=f.PREFACE + settings(initial_window_size=0)) as connection:
        connection.send(*(headers(2 * number + 1, request("GET", f"/v1/events/{topic}")) for number in range(20)))
        connection.until(lambda: len([each for each in connection.streams.values() if each.headers]) == 20)
        assert server.memory_bytes() - before < 20 * (2 << 20)
    eventually(lambda: server.metric("herald_http2_streams") == 0, "the streams have gone")


def test_a_client_that_leaves_its_windows_shut_and_asks_again(server, side, topic):
    """Asks, resets, asks: what was made for a stream goes with it."""
    server.publish_many([(topic, "x" * 10_000)] * 100)
    with Frames(side, hello=f.PREFACE + settings(initial_window_size=0)) as connection:
        for number in range(400):
            stream = 2 * number + 1
            connection.send(headers(stream, request("GET", f"/v1/events/{topic}")))
            connection.until(lambda stream=stream: stream in connection.streams)
            connection.send(rst_stream(stream))
        connection.sync(b"all gone")


# Header blocks.


def bomb(fields):
    """RFC 7541: one field of 4,000 bytes into the table, and then references to it, a byte each."""
    return f.block(GET) + literal("x-bomb", "y" * 3900, indexed=True) + f.indexed(62) * fields


@pytest.mark.parametrize("fields", [100, 12_000])
def test_an_hpack_bomb(server, side, fields):
    with Frames(side) as connection:
        for number in range(20):
            stream = 2 * number + 1
            connection.send(headers(stream, bomb(fields)))
            assert_problem(connection.response(stream), 431, "head-too-large")
        assert connection.ask(101, "GET", "/healthz").status == 200, "the connection goes on"


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        f.indexed(200),
        b"\x80",
        b"\x00\x7f\xff\xff\xff\xff\x0f",
        b"\x00\x85\xff\xff\xff\xff\xff\x00",
        b"\x3f\xff\xff\xff\x7f",
        b"\x00\x05ab",
    ],
)
def test_a_header_block_that_is_no_hpack(side, payload):
    with Frames(side) as connection:
        connection.send(headers(1, f.block(GET) + payload))
        ends_with(connection, COMPRESSION_ERROR)


# Frames that may not be.


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (data(0, b"x"), PROTOCOL_ERROR),
        (data(1, b"x"), PROTOCOL_ERROR),
        (headers(0, GET), PROTOCOL_ERROR),
        (headers(2, GET), PROTOCOL_ERROR),
        (rst_stream(1), PROTOCOL_ERROR),
        (rst_stream(0), PROTOCOL_ERROR),
        (window_update(1, 1), PROTOCOL_ERROR),
        (window_update(0), PROTOCOL_ERROR),
        (window_update(WINDOW_MAX), FLOW_CONTROL_ERROR),
        (frame(f.CONTINUATION, f.END_HEADERS, 1, f.block(GET)), PROTOCOL_ERROR),
        (frame(f.PUSH_PROMISE, f.END_HEADERS, 1, bytes(4) + f.block(GET)), PROTOCOL_ERROR),
        (frame(f.SETTINGS, payload=bytes(5)), FRAME_SIZE_ERROR),
        (frame(f.SETTINGS, f.ACK, payload=bytes(6)), FRAME_SIZE_ERROR),
        (frame(f.SETTINGS, stream=1), PROTOCOL_ERROR),
        (settings(enable_push=2), PROTOCOL_ERROR),
        (settings(initial_window_size=1 << 31), FLOW_CONTROL_ERROR),
        (settings(max_frame_size=100), PROTOCOL_ERROR),
        (ping(bytes(7)), FRAME_SIZE_ERROR),
        (frame(f.PING, stream=1, payload=bytes(8)), PROTOCOL_ERROR),
        (frame(f.PRIORITY, stream=1, payload=bytes(4)), FRAME_SIZE_ERROR),
        (frame(f.WINDOW_UPDATE, payload=bytes(3)), FRAME_SIZE_ERROR),
        (frame(f.RST_STREAM, stream=1, payload=bytes(3)), FRAME_SIZE_ERROR),
        (frame(f.HEADERS, f.END_HEADERS, 1, bytes(16385)), FRAME_SIZE_ERROR),
        (frame(0xBB, length=1 << 20), FRAME_SIZE_ERROR),
        (frame(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\xff" + f.block(GET)), PROTOCOL_ERROR),
        (headers(1, GET, ends=False) + frame(f.DATA, f.PADDED, 1, b"\x09abc"), PROTOCOL_ERROR),
    ],
)
def test_a_frame_that_ends_the_connection(side, sent, code):
    with Frames(side) as connection:
        connection.try_send(sent)
        goaway = connection.read_to_end()
        assert goaway.code == code, goaway


def test_the_reason_is_counted(server):
    before = server.metric("herald_connections_closed_total", reason="protocol")
    with Frames(server) as connection:
        connection.send(data(0, b"x"))
        ends_with(connection, PROTOCOL_ERROR)
    eventually(
        lambda: server.metric("herald_connections_closed_total", reason="protocol") == before + 1, "it is counted"
    )


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (window_update(0, 1), PROTOCOL_ERROR),
        (window_update(WINDOW_MAX, 1), FLOW_CONTROL_ERROR),
        (frame(f.PRIORITY, stream=1, payload=b"\x00\x00\x00\x01\x10"), PROTOCOL_ERROR),
    ],
)
def test_a_frame_that_ends_its_stream(server, side, topic, sent, code):
    """Or the connection, as RFC 9113 allows for any error of a stream."""
    with Frames(side) as connection:
        connection.send(headers(1, request("POST", f"/v1/events/{topic}"), ends=False), sent)
        try:
            answer = connection.response(1)
        except Closed:
            assert connection.goaway.code == code
        else:
            assert answer.reset == code or (answer.status == 201 and sent[3] == f.PRIORITY), answer
            assert connection.ask(3, "GET", "/healthz").status == 200


def test_an_error_of_one_reader_while_another_is_served(server, side, topic):
    """A stream's fault, and an event for it and others, in one piece: those that are whole get it once."""
    with Frames(side) as connection:
        for stream in (1, 3, 5, 7):
            connection.open_events(stream, topic)
        publish = headers(9, request("POST", f"/v1/events/{topic}"), ends=False) + data(9, b"x", ends=True)
        connection.send(window_update(WINDOW_MAX, 3) + window_update(WINDOW_MAX, 5) + publish)
        published = json.loads(connection.response(9).body)["id"]
        for stream in (1, 7):
            connection.until_text(stream, f"id: {published}\n")
        connection.sync(b"is alive")
        assert connection.streams[3].reset == connection.streams[5].reset == FLOW_CONTROL_ERROR
        for stream in (1, 7):
            assert connection.streams[stream].body.count(b"id: " + published.encode()) == 1
        assert server.publish(topic)["receivers"] == 2


def test_data_behind_the_end_of_a_stream(side, topic):
    with Frames(side) as connection:
        connection.open_events(1, topic)
        connection.send(data(1, b"more"))
        try:
            connection.until(lambda: connection.streams[1].reset is not None)
            assert connection.streams[1].reset == STREAM_CLOSED
        except Closed:
            assert connection.goaway.code == STREAM_CLOSED


def test_a_stream_older_than_others_is_passed_over(side):
    """It cannot be told from one that is closed already; nothing is done for it."""
    with Frames(side) as connection:
        assert connection.ask(5, "GET", "/healthz").status == 200
        connection.send(headers(3, GET))
        assert connection.ask(7, "GET", "/healthz").status == 200
        assert 3 not in connection.streams


def test_a_client_that_goes_away(side, topic):
    """Its streams come to their end, and then so does the connection."""
    with Frames(side) as connection:
        connection.open_events(1, topic)
        connection.send(frame(f.GOAWAY, payload=bytes(8)), ping(b"goes on!"))
        connection.until(lambda: b"goes on!" in connection.pongs)
        connection.send(rst_stream(1))
        assert connection.read_to_end() is None


def test_frames_that_are_not_known_are_passed_over(side):
    with Frames(side) as connection:
        connection.send(frame(0xBB, 0xFF, 0, b"?" * 100), frame(0xBC, 0, 7, b"?"), settings())
        connection.send(frame(f.SETTINGS, payload=b"\xab\xcd\x00\x00\x00\x01"))
        assert connection.ask(1, "GET", "/healthz").status == 200


# Beginnings.


@pytest.mark.parametrize(
    "hello",
    [
        f.PREFACE[:-1] + b"x",
        f.PREFACE + headers(1, GET),
        f.PREFACE + ping(),
        f.PREFACE + b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ],
)
def test_a_wrong_beginning_ends(side, hello):
    with Frames(side, hello=hello) as connection:
        connection.try_send(bytes(40))
        connection.socket.settimeout(30)
        received = connection.buffer
        try:
            while chunk := connection.socket.recv(65536):
                received += chunk
        except OSError:
            pass
    assert b"200" not in received


@pytest.mark.parametrize("length", [1, 10, 18, 23])
def test_half_a_beginning_and_silence(server_factory, length):
    server = server_factory("--request-timeout", "300ms", "--idle-timeout", "500ms", tls=True)
    for side in (server, server.secure):
        with Frames(side, hello=f.PREFACE[:length]) as connection:
            while connection.socket.recv(4096):
                pass
    with Frames(server, hello=f.PREFACE) as connection:
        connection.read_to_end()


def test_a_beginning_in_pieces(server):
    with Frames(server, hello=b"") as connection:
        for byte in f.PREFACE + settings(initial_window_size=100):
            connection.send(bytes([byte]))
        assert connection.ask(1, "GET", "/healthz").status == 200


def test_streams_beyond_the_bound_before_it_is_known(server_factory, topic):
    """The first flight may open more streams than it could know of; those are refused alone."""
    server = server_factory("--max-http2-streams", 3)
    with Frames(server, is_polite=False) as connection:
        wanted = request("GET", f"/v1/events/{topic}", ("accept", "text/event-stream"))
        connection.send(*(headers(stream, wanted) for stream in (1, 3, 5, 7, 9)))
        for stream in (7, 9):
            assert connection.response(stream).reset == REFUSED_STREAM
        for stream in (1, 3, 5):
            connection.until(lambda stream=stream: stream in connection.streams and connection.streams[stream].body)
        assert connection.settings[f.MAX_CONCURRENT_STREAMS] == 3


def test_a_connection_that_breaks_under_a_fan_out(server, side, topic):
    """All of its readers go at once, in the middle of an event's way to them; others get the event once."""
    hello = f.PREFACE + settings(initial_window_size=WINDOW_MAX) + window_update(1 << 30)
    wanted = request("GET", f"/v1/events/{topic}", ("accept", "text/event-stream"))
    server.publish(topic)
    with EventStream(server, f"/v1/events/{topic}") as first:
        first.read_block()
        for _ in range(15):
            connection = Frames(side, hello=hello, receive_buffer=8 << 20)
            connection.send(*(headers(2 * number + 1, wanted) for number in range(250)))
            server.until_readers(topic, 251)
            with EventStream(server, f"/v1/events/{topic}") as last, socket.create_connection(
                (server.host, server.port)
            ) as publisher:
                last.read_block()
                body = b"x" * 5000
                publisher.sendall(
                    f"POST /v1/events/{topic} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode() + body
                )
                connection.socket.recv(1000)
                connection.reset()
                assert first.read_event()[2] and last.read_event()[2]
                eventually(lambda: server.publish(topic)["receivers"] == 2, "the readers have gone")
                marks = [server.publish(topic, data="mark")["id"] for _ in range(2)]
                for stream in (first, last):
                    seen = []
                    while marks[-1] not in seen:
                        seen.append(stream.read_event()[1])
                    assert len(seen) == len(set(seen))


def test_connections_that_leave_at_every_moment(server, side, topic):
    whole = f.PREFACE + settings() + headers(1, request("POST", f"/v1/events/{topic}"), ends=False)
    whole += data(1, b"body", ends=True) + headers(3, request("GET", f"/v1/events/{topic}?wait=9&after=latest"))
    for end in range(0, len(whole) + 1, 11):
        Frames(side, hello=whole[:end]).reset()
    with RawConnection(server) as connection:
        assert connection.exchange("GET", "/healthz").status == 200
