"""WebSockets, driven by PyPI's websockets; frames of our own only for what it refuses to send."""

import base64
import json

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    ID,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    TIME,
    RawConnection,
    RawWebSocket,
    eventually,
    foreign_epoch,
    frame,
    sequence,
    unique_topic,
)
from readers import WebSocketReader


class Socket:
    """A WebSocket that speaks in JSON."""

    def __init__(self, server, path="/v1/events", **options):
        self.socket = connect(
            server.ws_url + path, proxy=None, max_size=None, open_timeout=PATIENCE, legacy=True, **options
        )
        self.welcome = self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def receive(self):
        return json.loads(self.socket.recv(PATIENCE))

    def ask(self, **message):
        """Sends a message with a ref and gives its answer; what comes before is dropped."""
        self.send(ref="ask", **message)
        while True:
            answer = self.receive()
            if answer.get("ref") == "ask":
                return answer


def test_welcome_comes_first(server):
    with Socket(server) as socket:
        welcome = socket.welcome
        assert list(welcome) == ["control", "epoch", "cursor", "heartbeat_ms"]
        assert welcome["control"] == "welcome"
        assert ID.match(welcome["cursor"]) and welcome["cursor"].startswith(welcome["epoch"] + "-")
        assert welcome["heartbeat_ms"] == 25000


def test_the_subprotocol_is_chosen_when_offered_and_not_demanded(server):
    with Socket(server, subprotocols=["other", "herald.v1"]) as socket:
        assert socket.socket.subprotocol == "herald.v1"
    with Socket(server, subprotocols=["other"]) as socket:
        assert socket.socket.subprotocol is None
    with Socket(server) as socket:
        assert socket.socket.subprotocol is None


def test_a_filter_in_the_path_subscribes(server, topic):
    with Socket(server, f"/v1/events/{topic}/*?topic={topic}") as socket:
        first = server.publish(topic, {"n": 1}, "application/json")
        second = server.publish(f"{topic}/x", b"text", Herald_Type="t")
        event = socket.receive()
        assert event == {
            "id": first["id"],
            "topic": topic,
            "time": first["time"],
            "datacontenttype": "application/json",
            "data": {"n": 1},
        }
        event = socket.receive()
        assert (event["id"], event["type"], event["data"]) == (second["id"], "t", "text")


def test_subscribe_and_unsubscribe(server, topic):
    other = unique_topic()
    with Socket(server) as socket:
        answer = socket.ask(op="subscribe", topic=topic)
        assert (answer["control"], answer["filters"]) == ("subscribed", [topic])
        assert ID.match(answer["cursor"])
        answer = socket.ask(op="subscribe", topics=[other, f"{other}/**"])
        assert sorted(answer["filters"]) == sorted([topic, other, f"{other}/**"])
        ids = [server.publish(each)["id"] for each in (topic, other, f"{other}/a")]
        assert [socket.receive()["id"] for _ in ids] == ids
        answer = socket.ask(op="unsubscribe", topic=topic)
        assert answer["control"] == "unsubscribed"
        server.publish(topic)
        wanted = server.publish(other)
        assert socket.receive()["id"] == wanted["id"]


def test_a_filter_subscribed_twice_stands_once(server, topic):
    with Socket(server) as socket:
        socket.ask(op="subscribe", topics=[topic, topic])
        answer = socket.ask(op="subscribe", topic=topic)
        assert answer["filters"] == [topic]
        ids = [server.publish(topic)["id"] for _ in range(3)]
        assert [socket.receive()["id"] for _ in ids] == ids


def test_publish(server, topic):
    with Socket(server, f"/v1/events/{topic}") as socket:
        socket.send(op="publish", ref=7, topic=topic, type="t", data={"a": [1]})
        messages = [socket.receive(), socket.receive()]
        (published,) = [each for each in messages if "control" in each]
        (event,) = [each for each in messages if "control" not in each]
        assert list(published) == ["control", "ref", "id", "topic", "time", "receivers"]
        assert (published["control"], published["ref"], published["topic"]) == ("published", 7, topic)
        assert published["receivers"] == 1 and TIME.match(published["time"])
        assert (event["id"], event["type"], event["data"]) == (published["id"], "t", {"a": [1]})
        socket.send(op="publish", topic=topic, data_base64=base64.b64encode(b"\x00").decode())
        messages = [socket.receive(), socket.receive()]
        (event,) = [each for each in messages if "control" not in each]
        assert (event["data_base64"], event["datacontenttype"]) == ("AA==", "application/octet-stream")


def test_ping_is_answered_with_the_cursor(server, topic):
    with Socket(server, f"/v1/events/{topic}") as socket:
        published = server.publish(topic)["id"]
        assert socket.receive()["id"] == published
        answer = socket.ask(op="ping")
        assert answer["control"] == "pong"
        assert sequence(answer["cursor"]) >= sequence(published)


@pytest.mark.parametrize("ref", ["", "r", "r" * 64, 0, -5, 2**53, '"quoted" \\ \u2028'])
def test_a_ref_is_echoed(server, ref):
    with Socket(server) as socket:
        socket.send(op="ping", ref=ref)
        assert socket.receive()["ref"] == ref


def test_websocket_pings_are_answered(server):
    with Socket(server) as socket:
        assert socket.socket.ping(b"payload").wait(PATIENCE)


def test_a_client_that_offers_compression_is_served(server, topic):
    with Socket(server, f"/v1/events/{topic}", compression="deflate") as socket:
        server.publish(topic, "x" * 5000)
        assert socket.receive()["data"] == "x" * 5000


def test_after_resumes(server, topic):
    published = [server.publish(topic)["id"] for _ in range(6)]
    with Socket(server, f"/v1/events/{topic}?after={published[2]}") as socket:
        assert socket.receive() == {"control": "resumed", "resume": "resumed", "cursor": published[2]}
        assert [socket.receive()["id"] for _ in range(3)] == published[3:]


def test_the_first_subscribe_may_resume_and_a_later_one_may_not(server, topic):
    published = [server.publish(topic)["id"] for _ in range(4)]
    with Socket(server) as socket:
        socket.send(op="subscribe", ref=1, topic=topic, after=published[1])
        messages = [socket.receive() for _ in range(4)]
        controls = {each["control"]: each for each in messages if "control" in each}
        assert set(controls) == {"subscribed", "resumed"}
        assert [each["id"] for each in messages if "control" not in each] == published[2:]
        answer = socket.ask(op="subscribe", topic=f"{topic}/x", after=published[0])
        assert (answer["control"], answer["status"]) == ("error", 400)
        assert "after" in answer["detail"]
        assert socket.ask(op="ping")["control"] == "pong"


def test_a_gap_and_a_reset(server_factory, topic):
    server = server_factory("--retain-events", 3)
    published = [server.publish(topic)["id"] for _ in range(10)]
    with WebSocketReader(server, topic, after=published[0]) as reader:
        gap = reader.read()
        assert (gap.kind, gap.body["resume"], gap.body["reason"]) == ("gap", "gap", "evicted")
        assert (gap.body["from"], gap.body["to"]) == (published[1], published[6])
        assert [item.id for item in reader.read_until(published[-1])] == published[7:]
    with WebSocketReader(server, topic, after=f"{foreign_epoch(published[0])}-3") as reader:
        reset = reader.read()
        assert (reset.kind, reset.body["resume"], reset.body["reason"]) == ("reset", "reset", "epoch")
        assert [item.id for item in reader.read_until(published[-1])] == published[7:]


def test_raw_sends_text_or_binary_frames_of_data_alone(server, topic):
    with connect(f"{server.ws_url}/v1/events/{topic}?format=raw", proxy=None, open_timeout=PATIENCE) as socket:
        server.publish(topic, b"text")
        server.publish(topic, b'{"a": 1}', "application/json")
        server.publish(topic, b"\xff\x00", "image/png")
        assert [socket.recv(PATIENCE) for _ in range(3)] == ["text", '{"a": 1}', b"\xff\x00"]


def test_heartbeats_move_the_cursor_of_a_quiet_connection(server_factory, topic):
    server = server_factory("--heartbeat", "200ms")
    with RawWebSocket(server, f"/v1/events/{topic}") as socket:
        socket.read_json()
        elsewhere = server.publish(unique_topic())["id"]
        seen = set()

        def moved():
            opcode, payload = socket.read_frame()
            seen.add(opcode)
            if opcode == PING:
                socket.send(frame(PONG, payload))
                return False
            message = json.loads(payload)
            assert message["control"] == "heartbeat"
            return sequence(message["cursor"]) >= sequence(elsewhere) and PING in seen

        eventually(moved, "a heartbeat with the other topic's cursor, and a ping", interval=0)


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        "7",
        "{}",
        '{"op": "dance"}',
        '{"op": 1}',
        '{"op": "subscribe"}',
        '{"op": "subscribe", "topics": []}',
        '{"op": "subscribe", "topics": [1]}',
        '{"op": "subscribe", "topic": "a//b"}',
        '{"op": "subscribe", "topic": "a/**/b"}',
        '{"op": "subscribe", "topic": "a", "after": "never"}',
        '{"op": "subscribe", "topic": "a", "colour": "red"}',
        '{"op": "publish", "topic": "a"}',
        '{"op": "publish", "topic": "a/*", "data": 1}',
        '{"op": "publish", "topic": "~a", "data": 1}',
        '{"op": "publish", "topic": "a", "data": 1, "type": "a b"}',
        '{"op": "publish", "topic": "a", "data": 1, "type": "herald.gap"}',
        '{"op": "publish", "topic": "a", "data_base64": "?"}',
        '{"op": "ping", "ref": {}}',
        '{"op": "ping", "ref": 1.5}',
        '{"op": "ping", "ref": "%s"}' % ("r" * 65),
    ],
)
def test_a_message_that_is_wrong_gets_an_error_and_keeps_the_connection(server, message):
    with Socket(server) as socket:
        socket.socket.send(message)
        error = socket.receive()
        assert error["control"] == "error", error
        assert 400 <= error["status"] < 500
        assert error["type"].startswith("/problems/") and error["title"] and error["detail"]
        assert socket.ask(op="ping")["control"] == "pong"


def test_an_error_carries_the_ref(server):
    with Socket(server) as socket:
        assert socket.ask(op="subscribe", topic="a//b")["control"] == "error"


def test_unsubscribing_what_is_not_subscribed_keeps_the_connection(server, topic):
    with Socket(server) as socket:
        assert socket.ask(op="unsubscribe", topic=topic)["control"] in ("error", "unsubscribed")
        assert socket.ask(op="ping")["control"] == "pong"


def test_messages_sent_at_once_are_answered_in_order(server, topic):
    with Socket(server) as socket:
        for ref in range(200):
            socket.send(op="ping", ref=ref)
        assert [socket.receive()["ref"] for _ in range(200)] == list(range(200))


def test_a_close_is_answered_in_kind(server):
    for code in (1000, 1001, 3000, 4999):
        socket = Socket(server).socket
        socket.close(code)
        assert socket.close_code == code


INVALID_UTF8 = b"\xce\xba\xed\xa0\x80"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(TEXT, b"{}", reserved=4), 1002),
        (frame(TEXT, b"{}", reserved=1), 1002),
        (frame(0x3, b""), 1002),
        (frame(0xB, b""), 1002),
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (frame(CLOSE, (2999).to_bytes(2, "big")), 1002),
        (frame(CLOSE, (1000).to_bytes(2, "big") + INVALID_UTF8), 1007),
        (frame(TEXT, INVALID_UTF8), 1007),
        (frame(TEXT, INVALID_UTF8[:3], fin=False) + frame(CONTINUATION, INVALID_UTF8[3:]), 1007),
        (frame(TEXT, b"", length=(1 << 20) + 1), 1009),
        (frame(TEXT, b"", length=1 << 63), 1002),
        (frame(BINARY, b"x" * (1 << 19), fin=False) + frame(CONTINUATION, b"x" * ((1 << 19) + 1)), 1009),
    ],
)
def test_a_protocol_error_closes_with_its_code(server, topic, frames, code):
    with RawWebSocket(server, f"/v1/events/{topic}") as socket:
        socket.try_send(frames)
        answered = socket.read_close_code()
        assert answered == code or (code == 1002 and answered == 1009 and frames[1] & 0x7F == 127)
    assert server.publish(topic)["id"]


def test_frames_arrive_byte_by_byte_and_in_fragments(server):
    with RawWebSocket(server, "/v1/events") as socket:
        socket.read_json()
        message = json.dumps({"op": "ping", "ref": "ü" * 32}).encode()
        whole = (
            frame(TEXT, message[:20], fin=False)
            + frame(PING, b"between")
            + frame(CONTINUATION, message[20:21], fin=False)
            + frame(CONTINUATION, b"", fin=False)
            + frame(CONTINUATION, message[21:])
        )
        for index in range(len(whole)):
            socket.send(whole[index:index + 1])
        assert socket.read_frame() == (PONG, b"between")
        assert socket.read_json()["ref"] == "ü" * 32


def test_frames_may_follow_the_handshake_in_one_packet(server, topic):
    with RawConnection(server) as connection:
        lines = [f"GET /v1/events/{topic} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in HANDSHAKE.items())]
        connection.send("\r\n".join([*lines, "", ""]).encode() + frame(TEXT, b'{"op":"ping","ref":1}'))
        response = connection.read_response()
        assert response.status == 101
        assert response.headers["sec-websocket-accept"] == "Bz3qJYTGdOe8gUSpLosEdiLKDrk="
        eventually(lambda: b"pong" in connection.buffer or connection._fill(), "the pong", interval=0)


def test_a_connection_that_vanishes_is_forgotten(server, topic):
    server.publish(topic)
    socket = RawWebSocket(server, f"/v1/events/{topic}")
    server.until_readers(topic, 1, "websocket")
    socket.reset()
    eventually(
        lambda: server.client.get(f"/v1/topics/{topic}").json()["subscribers"]["websocket"] == 0,
        "the reader is gone",
    )


def test_after_a_protocol_error_nothing_more_is_delivered(server, topic):
    with Socket(server, f"/v1/events/{topic}") as socket:
        socket.socket.socket.sendall(frame(0x3))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.receive()
        assert closed.value.rcvd.code == 1002
