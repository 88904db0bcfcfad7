"""Servers that ask who their clients are, and the doors by which these come in."""

import json
import time

import tokens
from helpers import HANDSHAKE, EventStream, LineStream, RawConnection, RawWebSocket

SECRET = b"a secret of more than thirty-two bytes, and of no use"
ORIGIN = {"Host": "herald.test", "Origin": "http://herald.test"}


def claims(publish=("**",), subscribe=("**",), manage=(), life=600, **more):
    """Claims of a token; those that are None are left out."""
    now = time.time()
    all_of_them = {
        "sub": "alice",
        "iat": int(now),
        "exp": int(now) + life,
        "herald": {"publish": list(publish), "subscribe": list(subscribe), "manage": list(manage)},
        **more,
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


def token(key=SECRET, algorithm="HS256", header=None, **of_claims):
    return tokens.encode(claims(**of_claims), key, algorithm, **(header or {}))


def secret_file(folder, secret=SECRET):
    path = folder / "secret"
    path.write_bytes(secret)
    return path


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


class Door:
    """A way to come in: a request, and the status of whoever gets in."""

    def __init__(self, name, success, method="GET", headers=None, query="", body=None):
        self.name, self.success, self.method, self.query, self.body = name, success, method, query, body
        self.headers = headers or {}

    def __repr__(self):
        return self.name

    def knock(self, server, topic, text=None, place="header", headers=None):
        """The answer to who comes with a token at a place, or without."""
        sent = {**self.headers, **(headers or {})}
        query = [self.query] if self.query else []
        if text is not None and place == "header":
            sent.update(bearer(text))
        elif text is not None and place == "query":
            query.append(f"access_token={text}")
        elif text is not None:
            sent.update({"Cookie": f"other=1; herald_token={text}; last=2", **ORIGIN})
        target = f"/v1/events/{topic}" + ("?" + "&".join(query) if query else "")
        with RawConnection(server) as connection:
            connection.request(self.method, target, sent, self.body)
            answer = connection.read_response(stream=True)
            if answer.status != self.success:
                answer.body = connection.read_exactly(int(answer.headers["content-length"]))
            return answer


PUBLISH = Door("publish", 201, "POST", {"Content-Type": "text/plain"}, body=b"hello")
WEBSOCKET = Door("websocket", 101, headers=HANDSHAKE)
SSE = Door("sse", 200, headers={"Accept": "text/event-stream"})
NDJSON = Door("ndjson", 200, headers={"Accept": "application/x-ndjson"})
LONG_POLL = Door("longpoll", 200, query="wait=1")
SHORT_POLL = Door("shortpoll", 200)
READERS = [WEBSOCKET, SSE, NDJSON, LONG_POLL, SHORT_POLL]
DOORS = [PUBLISH, *READERS]


class Stream:
    """A stream of any of the three kinds, of which what is said besides events is told from events."""

    def __init__(self, kind, server, target, text=None):
        self.kind = kind
        openers = {"websocket": RawWebSocket, "sse": EventStream, "ndjson": LineStream}
        self.connection = openers[kind](server, target, bearer(text) if text else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def read(self):
        """What comes next that is no heartbeat: (name, members), the name of an event being `event`."""
        while True:
            if self.kind == "sse":
                name, _, data = self.connection.read_event()
                name, said = (name or "event").removeprefix("herald."), json.loads(data)
            else:
                said = self.connection.read_json()
                name = said.get("control", "event")
            if name not in ("heartbeat", "welcome", "resumed"):
                return name, said

    def read_end(self):
        """Reads the end: its problem, and the code and the reason of a WebSocket's close frame."""
        name, said = self.read()
        assert name == "end", (name, said)
        code = self.connection.read_close_code() if self.kind == "websocket" else None
        if code is None:
            assert self.connection.read_to_end() == b""
        return said, code
