"""permessage-deflate (RFC 7692), by the client of `websockets` and byte by byte."""

import asyncio
import json
import os
import zlib

import aiohttp
import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from helpers import (
    BINARY,
    CONTINUATION,
    HANDSHAKE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    RawConnection,
    RawWebSocket,
    assert_problem,
    eventually,
    frame,
    unique_topic,
)

LONG = {"text": "the same words again and " * 40, "list": list(range(100))}
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
RSV1 = 4


@pytest.fixture(scope="module")
def server(servers):
    started = servers.start("compression", "--echo-path", "/echo")
    yield started
    servers.stop(started)


def offer(value):
    return {"Sec-WebSocket-Extensions": value}


def deflate(data, bits=15):
    """A message's payload (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(wbits=-bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(payload, bits=15):
    """The message of one payload, by itself."""
    return zlib.decompressobj(wbits=-bits).decompress(payload + b"\0\0\xff\xff")


def open_client(server, path, **options):
    return connect(
        server.ws_url + path, proxy=None, max_size=None, open_timeout=PATIENCE, ping_interval=None, **options
    )


# --- The handshake ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; server_max_window_bits=15", ANSWER + "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", ANSWER),
        ("permessage-deflate; unknown, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits=10", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; unknown", None),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_the_first_offer_that_can_be_kept_to_is_answered(server, topic, offers, answer):
    with RawWebSocket(server, f"/v1/events/{topic}", offer(offers)) as socket:
        assert socket.response.headers.get("sec-websocket-extensions") == answer


def test_a_socket_without_an_offer_is_never_sent_a_compressed_message(server, topic):
    with RawWebSocket(server, f"/v1/events/{topic}") as socket:
        assert "sec-websocket-extensions" not in socket.response.headers
        socket.read_json()
        server.publish(topic, LONG, "application/json")
        assert socket.read_json()["data"] == LONG


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_an_echo_keeps_to_the_window_that_was_asked_for(server, bits):
    with RawWebSocket(server, "/echo", offer(f"permessage-deflate; server_max_window_bits={bits}")) as socket:
        assert socket.response.headers["sec-websocket-extensions"] == f"{ANSWER}; server_max_window_bits={bits}"
        message = os.urandom(300) + b"x" * 2000 + os.urandom(300)
        message = message * 3
        socket.send(frame(BINARY, deflate(message), reserved=RSV1))
        first, payload = socket.read_raw_frame()
        assert first == 0xC2 and inflate(payload, bits) == message


def test_offers_on_several_lines_are_one_list(server, topic):
    lines = ["GET /v1/events/x HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in HANDSHAKE.items())]
    lines += ["Sec-WebSocket-Extensions: permessage-deflate; unknown", "sec-websocket-extensions: permessage-deflate"]
    with RawConnection(server) as connection:
        connection.send("\r\n".join([*lines, "", ""]))
        assert connection.read_response().headers["sec-websocket-extensions"] == ANSWER


@pytest.mark.parametrize("offers", ["permessage-deflate;", "a b", "permessage-deflate; a=", 'permessage-deflate; a="'])
def test_what_is_no_list_of_extensions_fails_the_handshake(server, topic, offers):
    with RawConnection(server) as connection:
        answer = connection.exchange("GET", f"/v1/events/{topic}", {**HANDSHAKE, **offer(offers)})
        assert_problem(answer, 400, "bad-handshake", "Sec-WebSocket-Extensions")


# --- What is sent ----------------------------------------------------------------------------------------------------


def test_each_event_is_compressed_by_itself_and_shorter_ones_are_not(server, topic):
    with RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as socket:
        assert socket.read_json()["control"] == "welcome"
        for _ in range(3):
            server.publish(topic, LONG, "application/json")
            first, payload = socket.read_raw_frame()
            assert first == 0xC1
            assert json.loads(inflate(payload))["data"] == LONG
            assert len(payload) < len(json.dumps(LONG)) // 2
        server.publish(topic, b"short")
        assert socket.read_json()["data"] == "short"


def test_what_does_not_shrink_is_sent_as_it_is(server, topic):
    with RawWebSocket(server, f"/v1/events/{topic}?format=raw", offer("permessage-deflate")) as socket:
        noise = os.urandom(5000)
        server.publish(topic, noise, "image/png")
        assert socket.read_raw_frame() == (0x82, noise)
        server.publish(topic, b"a" * 5000, "image/png")
        first, payload = socket.read_raw_frame()
        assert (first, inflate(payload)) == (0xC2, b"a" * 5000)


def test_the_least_length_is_configured_to_the_byte(server_factory, topic):
    for least, first in ((1000, 0x81), (999, 0xC1)):
        server = server_factory("--compression-min", least)
        with RawWebSocket(server, f"/v1/events/{topic}?format=raw", offer("permessage-deflate")) as socket:
            server.publish(topic, b"a" * 999)
            assert socket.read_raw_frame()[0] == first


@pytest.mark.parametrize("way", [("--no-compression",), ("--compression-min", "1GiB")])
def test_compression_can_be_turned_off(server_factory, topic, way):
    server = server_factory(*way)
    with RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as socket:
        assert ("sec-websocket-extensions" in socket.response.headers) == (way[0] != "--no-compression")
        socket.read_json()
        server.publish(topic, LONG, "application/json")
        assert socket.read_json()["data"] == LONG


def test_a_compressed_message_is_refused_where_compression_was_turned_off(server_factory, topic):
    server = server_factory("--no-compression")
    with RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as socket:
        socket.send(frame(TEXT, deflate(b'{"op":"ping"}'), reserved=RSV1))
        assert socket.read_close_code() == 1002


@pytest.mark.parametrize("parameters", [{}, {"server_no_context_takeover": True}, {"client_max_window_bits": 9}])
def test_websockets_reads_what_is_live_and_what_is_replayed(server, topic, parameters):
    factory = ClientPerMessageDeflateFactory(**{"client_max_window_bits": True, **parameters})
    kept = [server.publish(topic, {**LONG, "n": n}, "application/json")["id"] for n in range(50)]
    path = f"/v1/events/{topic}?after=earliest"
    with open_client(server, path, compression=None, extensions=[factory]) as socket:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        assert json.loads(socket.recv(PATIENCE))["control"] == "welcome"
        replayed = [json.loads(socket.recv(PATIENCE)) for _ in kept]
        live = [server.publish(topic, {**LONG, "n": n}, "application/json")["id"] for n in range(50, 100)]
        events = replayed + [json.loads(socket.recv(PATIENCE)) for _ in live]
        socket.send(json.dumps({"op": "subscribe", "ref": "r" * 60, "topics": [unique_topic() for _ in range(40)]}))
        answer = json.loads(socket.recv(PATIENCE))
    assert [event["id"] for event in events] == kept + live
    assert [event["data"]["n"] for event in events] == list(range(100))
    assert answer["control"] == "subscribed" and len(answer["filters"]) == 41


def test_aiohttp_reads_and_publishes_compressed(server, topic):
    async def run():
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(f"{server.url}/v1/events/{topic}", compress=15) as socket,
        ):
            assert socket.compress, "the offer was taken"
            await socket.receive_json()
            await socket.send_json({"op": "publish", "topic": topic, "data": LONG})
            messages = [await socket.receive_json() for _ in range(2)]
        return next(message for message in messages if "id" in message and "control" not in message)

    assert asyncio.run(run())["data"] == LONG


def test_readers_with_and_without_compression_get_the_same(server, topic):
    with (
        RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as one,
        RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as two,
        RawWebSocket(server, f"/v1/events/{topic}") as plain,
    ):
        for socket in (one, two, plain):
            socket.read_json()
        server.publish(topic, LONG, "application/json")
        compressed = one.read_raw_frame()
        assert two.read_raw_frame() == compressed, "the bytes are shared"
        assert inflate(compressed[1]) == plain.read_frame()[1]


# --- What is received ------------------------------------------------------------------------------------------------


@pytest.fixture
def socket(server):
    with RawWebSocket(server, "/echo", offer("permessage-deflate")) as opened:
        yield opened


def test_a_message_may_be_compressed_and_in_fragments(socket):
    message = json.dumps(LONG).encode()
    payload = deflate(message)
    socket.send(frame(TEXT, payload[:10], fin=False, reserved=RSV1))
    socket.send(frame(PING, b"between"))
    socket.send(frame(CONTINUATION, payload[10:20], fin=False) + frame(CONTINUATION, payload[20:]))
    assert socket.read_frame() == (PONG, b"between")
    first, echo = socket.read_raw_frame()
    assert (first, inflate(echo)) == (0xC1, message)
    socket.send(frame(TEXT, b"plain"))
    assert socket.read_frame() == (TEXT, b"plain")


@pytest.mark.parametrize("length", [0, 1, 100, 200_000])
def test_an_echo_is_compressed_as_its_message_was(socket, length):
    message = os.urandom(length)
    socket.send(frame(BINARY, deflate(message), reserved=RSV1) + frame(BINARY, message))
    first, payload = socket.read_raw_frame()
    assert (first, inflate(payload)) == (0xC2, message)
    assert socket.read_raw_frame() == (0x82, message)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(PING, b"x", reserved=RSV1), 1002),
        (frame(TEXT, deflate(b"x"), fin=False, reserved=RSV1) + frame(CONTINUATION, b"", reserved=RSV1), 1002),
        (frame(TEXT, deflate(b"x"), reserved=2), 1002),
        (frame(TEXT, b"\xff\xff\xff\xff", reserved=RSV1), 1007),
        (frame(TEXT, deflate(b"x" * 100)[:-3], reserved=RSV1), 1007),
        (frame(TEXT, deflate(b"\xff"), reserved=RSV1), 1007),
        (frame(BINARY, deflate(b"x" * (1 << 20) + b"x"), reserved=RSV1), 1009),
    ],
)
def test_what_breaks_the_rules_is_told_by_the_close_code(socket, data, code):
    socket.send(data)
    assert socket.read_close_code() == code


def test_a_message_of_the_largest_length_passes_however_it_was_compressed(socket):
    for message in (b"x" * (1 << 20), os.urandom(1 << 20)):
        socket.send(frame(BINARY, deflate(message), reserved=RSV1))
        first, echo = socket.read_raw_frame()
        assert (inflate(echo) if first & 0x40 else echo) == message


def test_bombs_cost_no_memory(server):
    bomb = frame(BINARY, deflate(b"\0" * (64 << 20)), reserved=RSV1)
    before = server.memory_bytes()
    for _ in range(20):
        with RawWebSocket(server, "/echo", offer("permessage-deflate")) as socket:
            socket.send(bomb)
            assert socket.read_close_code() == 1009
    assert server.memory_bytes() - before < 16 << 20


# --- What it saves ---------------------------------------------------------------------------------------------------


def test_the_bytes_before_and_after_are_counted_by_delivery(server, topic):
    def counted(way):
        return server.metric(f"herald_compression_{way}_bytes_total", transport="websocket")

    sent = {way: counted(way) for way in ("input", "output")}
    with (
        RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as one,
        RawWebSocket(server, f"/v1/events/{topic}", offer("permessage-deflate")) as two,
        RawWebSocket(server, f"/v1/events/{topic}") as plain,
    ):
        for socket in (one, two, plain):
            socket.read_json()
        overhead = server.metric("herald_delivered_overhead_bytes_total", transport="websocket")
        server.publish(topic, LONG, "application/json")
        lengths = [len(socket.read_raw_frame()[1]) for socket in (one, two, plain)]
        eventually(lambda: counted("input") > sent["input"], "the deliveries are counted")
        eventually(lambda: counted("output") - sent["output"] == lengths[0] + lengths[1] + 2 * 4, "two frames' bytes")
        assert counted("input") - sent["input"] == 2 * (lengths[2] + 4), "as they would have been"
        data = len(json.dumps(LONG))
        now = server.metric("herald_delivered_overhead_bytes_total", transport="websocket")
        assert now - overhead == 3 * (lengths[2] + 4 - data), "overhead is that of what is compressed"
