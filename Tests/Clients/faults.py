"""Readers and publishers that are cut, starved and misled, and go on as docs/protocol.md says.

A session is one connection of a reader: it gives items until it fails. A reader opens one after the other, each from
the cursor that it got last, until it has the last event; what it saw is judged by ledger.py.
"""

import json
import threading
import time
import uuid

import h2.exceptions

from helpers import (
    CLOSE,
    HANDSHAKE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Closed,
    EventStream,
    LineStream,
    RawConnection,
    RawWebSocket,
    frame,
    sequence,
)
from http2 import Client, WebSocketStream
from readers import Item, target

# Streams have a heartbeat by this, and a client that hears nothing for three of them comes back.
HEARTBEAT_MS = 200
SILENCE_SECONDS = 3 * HEARTBEAT_MS / 1000
LONG_POLL_SECONDS = 1

CONTROLS = ("welcome", "heartbeat", "resumed", "gap", "reset", "end", "subscribed")


class Refused(Exception):
    """The server cannot now: it said when to come back."""

    def __init__(self, response):
        super().__init__(str(response.status))
        self.after = float(response.headers.get("retry-after", 0))


def expect(response, status):
    if response.status in (408, 429, 503):
        raise Refused(response)
    assert response.status == status, (response.status, response.headers, response.body[:400])


class Wire:
    """How a client's socket behaves: it may send a byte at a time, or read little and now and then."""

    def __init__(self, chance, drips=False, sips=False):
        self.chance, self.drips, self.sips = chance, drips, sips

    @property
    def receive_buffer(self):
        return 4096 if self.sips else None

    def over(self, connection):
        return _Reluctant(connection, self)


class _Reluctant:
    """A socket by a wire's rules; those may change."""

    def __init__(self, connection, wire):
        self._socket, self._wire = connection, wire

    def __getattr__(self, name):
        return getattr(self._socket, name)

    def sendall(self, data):
        if not self._wire.drips:
            self._socket.sendall(data)
            return
        for at in range(len(data)):
            self._socket.sendall(data[at : at + 1])
            if self._wire.chance.random() < 0.02:
                time.sleep(0.001)

    def recv(self, count):
        if self._wire.sips:
            time.sleep(self._wire.chance.random() * 0.01)
            count = self._wire.chance.choice((1, 100, 2000))
        return self._socket.recv(count)


class Session:
    """One connection. `read` gives the items that have come, at least after a while; a heartbeat is one, too."""

    def __init__(self, server, filters, after, wire):
        self.connection = RawConnection(server, wire.receive_buffer)
        self.connection.socket = wire.over(self.connection.socket)
        self.connection.socket.settimeout(SILENCE_SECONDS)
        self.filters, self.after, self.wire = filters, after, wire
        self.begin()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, headers, status):
        """Asks for a stream of events after the cursor."""
        self.connection.request("GET", target(self.filters, after=self.after), headers)
        response = self.connection.read_response(stream=True)
        if response.status != status:
            response.body = self.connection.read_exactly(int(response.headers.get("content-length", 0)))
        expect(response, status)


def item_of_message(message):
    kind = message.get("control", "event")
    assert kind == "event" or kind in CONTROLS, message
    return Item(kind, message)


def items_of_block(block):
    """What a block of SSE says; one that has only `retry` says nothing."""
    fields = dict(each for each in block if each[0] != "data")
    data = "\n".join(value for name, value in block if name == "data")
    if not data:
        return [Item("heartbeat", {"cursor": fields["id"]})] if "id" in fields else []
    body = json.loads(data)
    if fields.get("event", "").startswith("herald."):
        assert "id" not in fields, block
        return [Item(body.get("resume", "gap"), body)]
    assert fields["id"] == body["id"], block
    return [Item("event", body)]


class SSESession(Session):
    def begin(self):
        self.ask({"Accept": "text/event-stream"}, 200)

    def read(self):
        return items_of_block(EventStream.read_block(self.connection))


class LineSession(Session):
    def begin(self):
        self.ask({"Accept": "application/x-ndjson"}, 200)

    def read(self):
        return [item_of_message(LineStream.read_json(self.connection))]


class WebSocketSession(Session):
    """Subscribes by its path, or by a message."""

    def begin(self):
        by_message = self.wire.chance.random() < 0.5
        path = "/v1/events" if by_message else target(self.filters, after=self.after)
        self.connection.request("GET", path, HANDSHAKE)
        response = self.connection.read_response()
        expect(response, 101)
        if by_message:
            command = {"op": "subscribe", "topics": [self.filters], "after": self.after}
            self.connection.send(frame(TEXT, json.dumps(command).encode()))

    def _read_frame(self):
        first, payload = RawWebSocket.read_raw_frame(self.connection)
        return first & 0x0F, payload

    def _send(self, opcode, payload):
        self.connection.send(frame(opcode, payload))

    def read(self):
        opcode, payload = self._read_frame()
        if opcode == PING:
            self._send(PONG, payload)
        if opcode == CLOSE:
            raise Closed(payload)
        return [item_of_message(json.loads(payload))] if opcode == TEXT else []


class PollSession(Session):
    wait = None

    def begin(self):
        self.connection.socket.settimeout(SILENCE_SECONDS + (self.wait or 0))

    def _ask(self, connection):
        connection.request("GET", target(self.filters, after=self.after, wait=self.wait))

    @staticmethod
    def _page(connection):
        response = connection.read_response()
        expect(response, 200)
        page = response.json()
        items = [Item(page["resume"], page["gap"] or {"cursor": page["next"]})] if "resume" in page else []
        return items + [Item("event", event) for event in page["events"]], page["next"]

    def read(self):
        self._ask(self.connection)
        items, self.after = self._page(self.connection)
        if self.wait is None and len(items) < 2:
            time.sleep(self.wire.chance.random() * 0.03)
        return [*items, Item("heartbeat", {"cursor": self.after})]


class LongPollSession(PollSession):
    wait = LONG_POLL_SECONDS


class TwoPolls(PollSession):
    """Asks for the same on two connections at once; orders what came and drops repeats."""

    def begin(self):
        super().begin()
        self.second = RawConnection(self._server)
        self.second.socket.settimeout(SILENCE_SECONDS + (self.wait or 0))

    def __init__(self, server, *arguments):
        self._server = server
        super().__init__(server, *arguments)

    def __exit__(self, *_):
        super().__exit__()
        self.second.close()

    def read(self):
        both = (self.connection, self.second)
        for connection in both:
            self._ask(connection)
        pages = [self._page(connection) for connection in both]
        assert all(items[0].kind == "resumed" for items, _ in pages), pages
        events = {item.id: item for items, _ in pages for item in items if item.kind == "event"}
        ordered = sorted(events.values(), key=lambda item: sequence(item.id))
        self.after = max((after for _, after in pages), key=sequence)
        if self.wait is None and not ordered:
            time.sleep(self.wire.chance.random() * 0.03)
        return [pages[0][0][0], *ordered, Item("heartbeat", {"cursor": self.after})]


class TwoLongPolls(TwoPolls):
    wait = LONG_POLL_SECONDS


class _Tunnel(WebSocketStream):
    """Keeps no more than has not been taken."""

    def _read_exactly(self, count):
        self.client.until(lambda: len(self.answer.body) >= count or self.answer.is_over)
        taken, self.answer.body = self.answer.body[:count], self.answer.body[count:]
        if len(taken) < count:
            raise Closed(self.answer)
        return taken


class HTTP2Session:
    """A stream of a connection of its own."""

    def __init__(self, server, filters, after, wire):
        window = 4096 if wire.sips else None
        self.client = Client(server, window, wire.receive_buffer)
        self.client.socket = wire.over(self.client.socket)
        self.client.socket.settimeout(SILENCE_SECONDS)
        self.begin(target(filters, after=after))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def check(self, answer):
        if not answer.headers:
            raise Closed(answer)
        if answer.status in (429, 503):
            raise Refused(answer)
        assert answer.status == 200, answer


class HTTP2SSESession(HTTP2Session):
    def begin(self, path):
        stream = self.client.request("GET", path, ("accept", "text/event-stream"))
        self.answer = self.client.answers[stream]
        self.client.until(lambda: self.answer.headers or self.answer.is_over)
        self.check(self.answer)

    def read(self):
        self.client.until(lambda: b"\n\n" in self.answer.body or self.answer.is_over)
        block, mark, rest = self.answer.body.partition(b"\n\n")
        if not mark:
            raise Closed(self.answer)
        self.answer.body = rest
        lines = [line.partition(":") for line in block.decode().split("\n") if line]
        return items_of_block([(name, value.removeprefix(" ")) for name, _, value in lines])


class HTTP2WebSocketSession(HTTP2Session):
    def begin(self, path):
        self.tunnel = _Tunnel(self.client, path)
        self.check(self.tunnel.answer)

    def read(self):
        opcode, payload = self.tunnel.read_frame()
        if opcode == PING:
            self.tunnel.send(PONG, payload)
        if opcode == CLOSE:
            raise Closed(payload)
        return [item_of_message(json.loads(payload))] if opcode == TEXT else []


SESSIONS = {
    "websocket": WebSocketSession,
    "sse": SSESession,
    "ndjson": LineSession,
    "longpoll": LongPollSession,
    "shortpoll": PollSession,
    "sse-http2": HTTP2SSESession,
    "websocket-http2": HTTP2WebSocketSession,
}
TRANSPORTS = list(SESSIONS)
TWICE = {"longpoll": TwoLongPolls, "shortpoll": TwoPolls}
FAILURES = (OSError, Closed, h2.exceptions.ProtocolError)


class FaultReader(threading.Thread):
    """Reads from start until it has the last event, over as many sessions as it takes."""

    def __init__(
        self, ledger, server, transport, filters, start, wire, *, strays=0.3, kinds=None, patience=2 * PATIENCE
    ):
        super().__init__(daemon=True)
        self.ledger, self.server, self.transport, self.filters = ledger, server, transport, filters
        self.cursor, self.wire, self.strays = start, wire, strays
        self.kinds = {**SESSIONS, **(kinds or {})}
        self.items, self.opened, self.error = [], [], None
        self.is_awaited = True  # an outcome must come before an event
        self.deadline = time.monotonic() + patience

    def run(self):
        try:
            while not self._has_all():
                assert time.monotonic() < self.deadline, f"not at the end: {self.cursor} of {self.ledger.last}"
                self._go_on()
        except Exception as error:  # noqa: BLE001 - told to the test that waits
            self.error = error

    def _has_all(self):
        last = self.ledger.last
        return last is not None and self.ledger.place(self.cursor) >= self.ledger.place(last)

    def _choose(self):
        chance = self.wire.chance
        strays = self.opened and chance.random() < self.strays
        return chance.choice(list(self.kinds)) if strays else self.transport

    def _go_on(self):
        transport = self._choose()
        self.is_awaited = True
        try:
            with self.kinds[transport](self.server, self.filters, self.cursor, self.wire) as session:
                self.opened.append(transport)
                while not self._has_all():
                    assert time.monotonic() < self.deadline, f"not at the end: {self.cursor} of {self.ledger.last}"
                    for item in session.read():
                        self._note(item)
        except Refused as refusal:
            time.sleep(min(refusal.after, 1))
        except FAILURES:
            time.sleep(self.wire.chance.random() * 0.05)

    def _note(self, item):
        if item.kind in ("resumed", "gap", "reset"):
            self.is_awaited = False
        if item.kind == "event":
            assert not self.is_awaited, f"an event came, and nothing said what became of {self.cursor}"
            self.cursor = item.id
        elif "cursor" in item.body and not self.is_awaited:
            # Until the outcome is there, a WebSocket that subscribes by a message stands elsewhere.
            self.cursor = item.body["cursor"]
        if item.kind in ("event", "gap", "reset"):
            self.items.append(item)

    def finish(self):
        self.join(3 * PATIENCE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), "the reader did not end"


class FaultPublisher(threading.Thread):
    """Publishes numbered events in ways that it draws, and notes what it was answered. The last event of all is not
    published before it may, and then until it was answered."""

    def __init__(self, ledger, find_server, topics, chance, *, count=150, size=(10, 600), pace=0.006, drips=False,
                 too_large=0):
        super().__init__(daemon=True)
        self.ledger, self.find_server, self.topics, self.chance = ledger, find_server, topics, chance
        self.count, self.size, self.pace, self.too_large = count, size, pace, too_large
        self.wire = Wire(chance, drips=drips)
        self.error, self.number = None, 0
        self.may_end, self.is_over = threading.Event(), threading.Event()
        self._connection = self._socket = None

    def run(self):
        try:
            while self.number < self.count:
                self._publish(self.chance.choice((self._post, self._post, self._retry, self._batch, self._command)))
                if self.chance.random() < 0.5:
                    time.sleep(self.chance.random() * 2 * self.pace)
            if self.too_large:
                self._publish(self._excess)
            assert self.may_end.wait(3 * PATIENCE), "nobody let the publisher end"
            self.ledger.last = self._until_answered(*self._next())
        except Exception as error:  # noqa: BLE001 - told to the test that waits
            self.error = error
        finally:
            self._hang_up()
            self.is_over.set()

    def finish(self):
        self.join(3 * PATIENCE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), "the publisher did not end"

    def _publish(self, way):
        try:
            way()
        except FAILURES:
            self._hang_up()
            time.sleep(0.005)

    def _hang_up(self):
        for each in (self._connection, self._socket):
            if each is not None:
                each.close()
        self._connection = self._socket = None

    def _next(self):
        """A topic and an event's data; doubtful until it is answered."""
        number, self.number = self.number, self.number + 1
        topic = self.chance.choice(self.topics)
        self.ledger.doubt(number, topic)
        return topic, {"n": number, "pad": "x" * self.chance.randint(*self.size)}

    def _open(self):
        if self._connection is None:
            self._connection = RawConnection(self.find_server())
            self._connection.socket.settimeout(PATIENCE / 10)
            self._connection.socket = self.wire.over(self._connection.socket)
        return self._connection

    def _ask(self, path, headers, body):
        return self._open().exchange("POST", path, headers, body)

    def _send(self, topic, data, headers):
        headers = {"Content-Type": "application/json", **headers}
        response = self._ask(f"/v1/events/{topic}", headers, json.dumps(data).encode())
        if response.status not in (200, 201):
            expect(response, 201)
        identifier = response.json()["id"]
        self.ledger.confirm(identifier, topic, data["n"])
        return identifier

    def _post(self):
        self._send(*self._next(), {})

    def _until_answered(self, topic, data):
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        deadline, first = time.monotonic() + PATIENCE, self.find_server()
        while True:
            try:
                identifier = self._send(topic, data, headers)
                if self.find_server() is not first:
                    # Keys are not remembered over a restart.
                    self.ledger.doubt(data["n"], topic)
                return identifier
            except (*FAILURES, Refused):
                assert time.monotonic() < deadline, "an event cannot be published"
                self._hang_up()
                time.sleep(0.01)

    def _retry(self):
        self._until_answered(*self._next())

    def _batch(self):
        events = [self._next() for _ in range(self.chance.randint(2, 12))]
        lines = "\n".join(json.dumps({"topic": topic, "data": data}) for topic, data in events)
        response = self._ask("/v1/events", {"Content-Type": "application/x-ndjson"}, lines.encode())
        expect(response, 201)
        for (topic, data), answer in zip(events, response.json()["events"], strict=True):
            assert answer["topic"] == topic, answer
            self.ledger.confirm(answer["id"], topic, data["n"])

    def _command(self):
        if self._socket is None:
            self._socket = RawWebSocket(self.find_server(), "/v1/events")
            self._socket.socket.settimeout(PATIENCE / 10)
            self._socket.socket = self.wire.over(self._socket.socket)
        topic, data = self._next()
        self._socket.send_json({"op": "publish", "ref": data["n"], "topic": topic, "data": data})
        answer = self._socket.read_json()
        while answer["control"] not in ("published", "error"):
            answer = self._socket.read_json()
        assert answer["control"] == "published" and answer["ref"] == data["n"], answer
        self.ledger.confirm(answer["id"], topic, data["n"])

    def _excess(self):
        """More than a topic may keep: it is refused, and nobody gets it."""
        topic, data = self._next()
        data["pad"] = "x" * self.too_large
        headers = {"Content-Type": "application/json"}
        response = self._ask(f"/v1/events/{topic}", headers, json.dumps(data).encode())
        assert response.status in (413, 503), response
        self.ledger.refuse(data["n"])
