"""What happens to a reader that the ring overtakes, by the rule of its topic."""

import json

import pytest

from helpers import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    TRANSPORTS,
    EventStream,
    LineStream,
    RawWebSocket,
    eventually,
    frame,
    sequence,
)
from readers import open_reader

BIG = "x" * 16000
RULES = [
    "--retain-events", 20,
    "--rule", "gap/** slow-reader=gap",
    "--rule", "disconnect/** slow-reader=disconnect",
    "--rule", "latest/** slow-reader=latest",
]


# Also behind TLS, where a reader stalls with records that were sealed for it.
STREAMS = ["sse", "ndjson", "websocket", "sse over TLS", "ndjson over TLS", "websocket over TLS"]


@pytest.fixture(scope="module")
def server(servers, authority, loopback_pair):
    started = servers.start("slow-readers", *RULES, authority=authority, pairs=[loopback_pair])
    yield started
    servers.stop(started)


def stall(server, topic, open_stalled):
    """Opens a reader that reads nothing, and publishes until the ring has gone by it. Gives it and the ids."""
    reader = open_stalled()
    published = []

    def passed():
        published.extend(server.publish_many([(topic, BIG)] * 20))
        assert len(published) < 20000, "the reader never stalled"
        return server.metric("herald_stalls_total") > before

    before = server.metric("herald_stalls_total")
    eventually(passed, "the reader stalls", interval=0)
    for _ in range(5):
        published.extend(server.publish_many([(topic, BIG)] * 20))
    return reader, published


def raw_reader(server, topic, transport):
    target = f"/v1/events/{topic}"
    kind = {"sse": EventStream, "ndjson": LineStream, "websocket": RawWebSocket}[transport.split()[0]]
    side = server.secure if transport.endswith("TLS") else server
    return lambda: kind(side, target, receive_buffer=8192)


def read_messages(reader, transport, last):
    """All events and gaps up to the last id."""
    messages = []
    while not messages or messages[-1].get("id") != last:
        if transport.startswith("sse"):
            kind, _, data = reader.read_event()
            message = json.loads(data)
            messages.append({"control": kind, **message} if kind == "herald.gap" else message)
        else:
            messages.append(reader.read_json())
    return messages


@pytest.mark.parametrize("transport", STREAMS)
def test_policy_gap_goes_on_from_the_oldest_event_kept(server, topic, transport):
    topic = f"gap/{topic}"
    reader, published = stall(server, topic, raw_reader(server, topic, transport))
    with reader:
        messages = read_messages(reader, transport, published[-1])
    gaps = [each for each in messages if "reason" in each]
    assert gaps and {each["reason"] for each in gaps} == {"evicted"}
    delivered = [each["id"] for each in messages if "id" in each]
    assert delivered[-20:] == published[-20:]
    assert_holes_are_told(delivered, gaps, published)


@pytest.mark.parametrize("transport", STREAMS)
def test_policy_latest_skips_to_the_newest_event(server, topic, transport):
    topic = f"latest/{topic}"
    reader, published = stall(server, topic, raw_reader(server, topic, transport))
    with reader:
        messages = read_messages(reader, transport, published[-1])
    gaps = [each for each in messages if "reason" in each]
    assert gaps and gaps[-1]["reason"] == "conflated"
    delivered = [each["id"] for each in messages if "id" in each]
    assert delivered[-1] == published[-1]
    assert len(set(delivered) & set(published[-20:])) < 20, "events before the newest were skipped"
    assert_holes_are_told(delivered, gaps, published)


@pytest.mark.parametrize("transport", STREAMS)
def test_policy_disconnect_ends_the_connection(server, topic, transport):
    topic = f"disconnect/{topic}"
    reader, published = stall(server, topic, raw_reader(server, topic, transport))
    with reader:
        if not transport.startswith("websocket"):
            rest = reader.read_to_end()
            assert published[-1].encode() not in rest
            if transport.startswith("ndjson"):
                assert json.loads(rest.splitlines()[-1])["control"] == "end"
        else:
            codes = []
            while not codes:
                opcode, payload = reader.read_frame()
                if opcode == CLOSE:
                    codes.append(int.from_bytes(payload[:2], "big"))
                    assert payload[2:] == b"slow reader"
                else:
                    assert opcode in (TEXT, PING)
            assert codes == [1008]
    assert server.publish(topic)["receivers"] == 0


def assert_holes_are_told(delivered, gaps, published):
    numbers = [sequence(each) for each in delivered]
    assert numbers == sorted(set(numbers))
    ranges = [(sequence(each["from"]), sequence(each["to"])) for each in gaps]
    for each in map(sequence, published):
        assert each in numbers or any(low <= each <= high for low, high in ranges), (each, ranges)


def test_a_reader_without_progress_is_closed_after_the_write_timeout(server_factory, topic):
    server = server_factory("--retain-events", 20, "--write-timeout", "1s")
    topic = f"gap/{topic}"
    reader, _ = stall(server, topic, raw_reader(server, topic, "sse"))
    eventually(lambda: server.publish(topic)["receivers"] == 0, "the stalled reader is gone")
    reader.close()


def test_a_healthy_reader_behind_a_full_socket_is_not_taken_for_dead(server_factory, topic):
    """A client that reads slowly but steadily stays connected, and its pings are answered."""
    server = server_factory("--retain-events", 20, "--heartbeat", "200ms")
    reader, published = stall(server, topic, raw_reader(server, topic, "websocket"))
    with reader:
        reader.send(frame(PING, b"alive"))
        seen = []
        while (PONG, b"alive") not in seen:
            opcode, payload = reader.read_frame()
            assert opcode != CLOSE, payload
            if opcode == PING:
                reader.send(frame(PONG, payload))
            seen.append((opcode, payload))
        assert published


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reader_that_keeps_up_never_sees_a_policy(server, topic, transport):
    for policy in ("gap", "latest", "disconnect"):
        name = f"{policy}/{topic}"
        start = server.publish(name)["id"]
        with open_reader(server, transport, name, after=start) as reader:
            for _ in range(30):
                published = server.publish_many([(name, "x")] * 10)
                assert [reader.read_event().id for _ in published] == published
        assert {item.kind for item in reader.items} <= {"event", "resumed"}
