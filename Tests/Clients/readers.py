"""One way to read events over each of the five transports, with clients from PyPI.

A reader gives items: an event, or the outcome of a resume (`resumed`, `gap`, `reset`), or a gap in mid-stream. It
knows its cursor, with which a reader of any other transport goes on.
"""

import json
import urllib.parse
from dataclasses import dataclass

import httpx
import httpx_sse
from websockets.sync.client import connect

from helpers import PATIENCE, sequence


@dataclass
class Item:
    kind: str  # event, resumed, gap or reset
    body: dict

    @property
    def id(self):
        return self.body["id"]

    @property
    def data(self):
        return self.body["data"]


def target(filters, **parameters):
    """The path and query for these filters; the first stands in the path."""
    first, *others = [filters] if isinstance(filters, str) else filters
    pairs = [("topic", each) for each in others]
    pairs += [(name, value) for name, value in parameters.items() if value is not None]
    query = "?" + urllib.parse.urlencode(pairs, safe="/*") if pairs else ""
    return f"/v1/events/{first}{query}"


def trust_of(server):
    """The TLS context for a server's secure side; None for a server or a proxy that speaks in the clear."""
    return getattr(server, "trust", None)


class Reader:
    """Items in order; `read` waits for the next."""

    def __init__(self, cursor):
        self.cursor = cursor
        self.items = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _note(self, item):
        if item.kind == "event":
            self.cursor = item.id
        elif item.kind in ("gap", "reset") and self.cursor and self._is_ahead(item.body["to"]):
            self.cursor = item.body["to"]
        self.items.append(item)
        return item

    def _is_ahead(self, identifier):
        return identifier[:8] == self.cursor[:8] and sequence(identifier) > sequence(self.cursor)

    def read_event(self):
        while True:
            item = self.read()
            if item.kind == "event":
                return item

    def read_until(self, identifier):
        """Reads up to the event of that id, and gives all items up to there."""
        items = [self.read()]
        while not (items[-1].kind == "event" and sequence(items[-1].id) >= sequence(identifier)):
            items.append(self.read())
        return items


class WebSocketReader(Reader):
    transport = "websocket"

    def __init__(self, server, filters, after=None):
        super().__init__(after)
        self.socket = connect(
            server.ws_url + target(filters, after=after),
            ssl=trust_of(server),
            proxy=None,
            compression=None,
            max_size=None,
            subprotocols=["herald.v1"],
            open_timeout=PATIENCE,
            ping_interval=None,
            max_queue=None,
            legacy=True,
        )
        self.welcome = json.loads(self.socket.recv(PATIENCE))
        assert self.welcome["control"] == "welcome", self.welcome
        if self.cursor is None:
            self.cursor = self.welcome["cursor"]

    def read(self):
        while True:
            message = json.loads(self.socket.recv(PATIENCE))
            kind = message.pop("control", "event")
            if kind in ("event", "resumed", "gap", "reset"):
                return self._note(Item(kind, message))

    def close(self):
        self.socket.close()


class SSEReader(Reader):
    transport = "sse"

    def __init__(self, server, filters, after=None):
        super().__init__(after)
        self._client = httpx.Client(trust_env=False, timeout=PATIENCE, verify=trust_of(server) or True)
        headers = {"Last-Event-ID": after} if after else {}
        self._context = httpx_sse.connect_sse(
            self._client, "GET", server.url + target(filters), headers=headers
        )
        self.source = self._context.__enter__()
        self.source.response.raise_for_status()
        self._events = self.source.iter_sse()

    def read(self):
        while True:
            event = next(self._events)
            if event.data == "":
                # Only an id, as a heartbeat carries it.
                self.cursor = event.id or self.cursor
                continue
            body = json.loads(event.data)
            if event.event in ("herald.resumed", "herald.gap"):
                return self._note(Item(body.get("resume", "gap"), body))
            assert event.id == body["id"], event
            assert event.event == body.get("type", "message"), event
            return self._note(Item("event", body))

    def close(self):
        self._context.__exit__(None, None, None)
        self._client.close()


class NDJSONReader(Reader):
    transport = "ndjson"

    def __init__(self, server, filters, after=None):
        super().__init__(after)
        self._client = httpx.Client(trust_env=False, timeout=PATIENCE, verify=trust_of(server) or True)
        headers = {"Accept": "application/x-ndjson"} | ({"Last-Event-ID": after} if after else {})
        self._context = self._client.stream("GET", server.url + target(filters), headers=headers)
        self.response = self._context.__enter__()
        self.response.raise_for_status()
        self._lines = self.response.iter_lines()
        self.welcome = json.loads(next(self._lines))
        assert self.welcome["control"] == "welcome", self.welcome
        if self.cursor is None:
            self.cursor = self.welcome["cursor"]

    def read(self):
        while True:
            message = json.loads(next(self._lines))
            kind = message.pop("control", "event")
            if kind == "heartbeat":
                self.cursor = message["cursor"]
            if kind in ("event", "resumed", "gap", "reset"):
                return self._note(Item(kind, message))

    def close(self):
        self._context.__exit__(None, None, None)
        self._client.close()


class PollReader(Reader):
    """Long-polls with wait, short-polls without; a short-poll that found nothing is asked again."""

    wait = None

    def __init__(self, server, filters, after=None):
        super().__init__(after or "latest")
        self._url, self._filters = server.url, filters
        self._client = httpx.Client(trust_env=False, timeout=PATIENCE + 60, verify=trust_of(server) or True)
        self._ready = []
        self._is_first = True
        if after is None:
            # `latest` is a position only once the server has named it.
            self._poll(wait=None)

    def _poll(self, wait):
        answer = self._client.get(self._url + target(self._filters, after=self._next(), wait=wait))
        answer.raise_for_status()
        page = answer.json()
        if page["gap"]:
            self._ready.append(Item(page.get("resume", "gap"), page["gap"]))
            assert page["resume"] in ("gap", "reset"), page
        elif self._is_first and page.get("resume"):
            assert page["resume"] == "resumed", page
            self._ready.append(Item("resumed", {"cursor": page["next"]}))
        self._is_first = False
        self._ready += [Item("event", event) for event in page["events"]]
        self._position = page["next"]

    def _next(self):
        return getattr(self, "_position", self.cursor)

    def read(self):
        while not self._ready:
            self._poll(self.wait)
        item = self._note(self._ready.pop(0))
        if not self._ready:
            self.cursor = self._position
        return item

    def close(self):
        self._client.close()


class LongPollReader(PollReader):
    transport = "longpoll"
    wait = 20


class ShortPollReader(PollReader):
    transport = "shortpoll"


READERS = {
    reader.transport: reader
    for reader in (WebSocketReader, SSEReader, NDJSONReader, LongPollReader, ShortPollReader)
}


def open_reader(server, transport, filters, after=None):
    return READERS[transport](server, filters, after)


def assert_ascending(items):
    """No event comes twice or after a later one."""
    sequences = [sequence(item.id) for item in items if item.kind == "event"]
    assert sequences == sorted(set(sequences)), sequences


def assert_whole(items, published):
    """Every published id was delivered, or lies in a gap that was told before a later event."""
    assert_ascending(items)
    delivered = {sequence(item.id) for item in items if item.kind == "event"}
    gaps = [
        (sequence(item.body["from"]), sequence(item.body["to"])) for item in items if item.kind in ("gap", "reset")
    ]
    holes = [
        each
        for each in map(sequence, published)
        if each not in delivered and not any(low <= each <= high for low, high in gaps)
    ]
    assert not holes, (holes[:20], gaps)
