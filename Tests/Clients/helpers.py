"""What the tests share: waiting for conditions, raw sockets, a proxy that can be cut."""

import base64
import json
import os
import re
import select
import socket
import ssl
import struct
import threading
import time
import uuid
from dataclasses import dataclass, field

# How long a condition may take before a test gives up. Never what a test measures: a run under a sanitizer, or on a
# busy machine, only takes longer.
PATIENCE = 30.0 * float(os.environ.get("HERALD_TEST_PATIENCE", "1"))
# What a byte of the server's costs, at most: those who are patient run it under a sanitizer, which keeps shadows.
MEMORY_FACTOR = 1 if PATIENCE == 30.0 else 3

TRANSPORTS = ["websocket", "sse", "ndjson", "longpoll", "shortpoll"]
ID = re.compile(r"^[0-9a-f]{8}-(0|[1-9][0-9]*)$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def eventually(check, what, patience=PATIENCE, interval=0.02):
    """Waits until check gives something true, and gives that."""
    deadline = time.monotonic() + patience
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:.0f} s: {what}")
        time.sleep(interval)


def unique_topic(hint="t"):
    return f"{hint}/{uuid.uuid4().hex[:12]}"


def sequence(identifier):
    """The sequence in an event id."""
    assert ID.match(identifier), identifier
    return int(identifier.split("-")[1])


def epoch(identifier):
    assert ID.match(identifier), identifier
    return identifier.split("-")[0]


def foreign_epoch(identifier):
    """An epoch that is not the one of this id."""
    return f"{int(epoch(identifier), 16) ^ 1:08x}"


def assert_problem(response, status, slug, *named):
    """The answer is an RFC 9457 problem of this status and type whose detail names what was wrong."""
    headers = {key.lower(): value for key, value in dict(response.headers).items()}
    status_code = getattr(response, "status_code", None) or response.status
    body = response.content if hasattr(response, "content") else response.body
    assert status_code == status, (status_code, body[:400])
    assert headers["content-type"].split(";")[0] == "application/problem+json", headers
    problem = json.loads(body)
    slugs = (slug,) if isinstance(slug, str) else slug
    assert problem["type"] in [f"/problems/{each}" for each in slugs], problem
    assert problem["status"] == status, problem
    assert problem["title"] and problem["detail"], problem
    for text in named:
        assert text in problem["detail"], (text, problem)
    if status in (429, 503):
        assert int(headers["retry-after"]) >= 0, headers
    return problem


@dataclass
class Response:
    version: str
    status: int
    reason: str
    headers: dict
    body: bytes = b""
    interim: list = field(default_factory=list)

    def json(self):
        return json.loads(self.body)


class Closed(Exception):
    """The peer closed the connection where more was to come."""


def connected(server, receive_buffer=None, alpn=None):
    """A socket to the server; by TLS if it is a server's secure side. Without ALPN an end without TLS's goodbye is an
    error; HTTP/2 says goodbye itself."""
    plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.settimeout(PATIENCE)
    plain.connect((server.host, server.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trust = getattr(server, "trust", None)
    if trust is None:
        return plain
    if alpn is not None:
        trust.set_alpn_protocols([alpn])
    return trust.wrap_socket(plain, server_hostname=server.host, suppress_ragged_eofs=alpn is not None)


def add_field(headers, name, value):
    """Adds a field of an answer; one that comes again is a list (RFC 9110 §5.3)."""
    headers[name] = f"{headers[name]}, {value}" if name in headers else value


class RawConnection:
    """A socket to the server on which every byte is the test's own; reads HTTP/1 answers. To a server's secure side
    it speaks TLS; is_cut then says that the server's end came without a close_notify."""

    def __init__(self, server, receive_buffer=None):
        self.socket = connected(server, receive_buffer)
        self.buffer = b""
        self.is_cut = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def try_send(self, data):
        """Sends, though the server may have answered and closed already."""
        try:
            self.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def request(self, method, target, headers=None, body=None, version="HTTP/1.1"):
        self.send(request_bytes(method, target, headers, body, version))

    def exchange(self, method, target, headers=None, body=None):
        self.request(method, target, headers, body)
        return self.read_response(head=method == "HEAD")

    def _fill(self):
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
            self.is_cut = True
        if not data:
            raise Closed(f"closed after {self.buffer[:200]!r}")
        self.buffer += data

    def read_exactly(self, count):
        while len(self.buffer) < count:
            self._fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_until(self, mark):
        while mark not in self.buffer:
            self._fill()
        data, _, self.buffer = self.buffer.partition(mark)
        return data + mark

    def read_to_end(self):
        """All that comes until the server closes."""
        try:
            while True:
                self._fill()
        except Closed:
            data, self.buffer = self.buffer, b""
            return data

    def is_silent(self, seconds=0.2):
        """Nothing came and nothing was closed for so long. Can only miss a fault, not invent one."""
        pending = self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0
        return not self.buffer and not pending and not select.select([self.socket], [], [], seconds)[0]

    def read_head(self):
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        lines = head.split("\r\n")
        version, status, reason = (lines[0] + " ").split(" ", 2)
        headers = {}
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(":")
            add_field(headers, name.lower(), value.strip())
        return Response(version, int(status), reason.strip(), headers)

    def read_response(self, head=False, stream=False):
        """One answer. Of a stream only the head is read."""
        interim = []
        response = self.read_head()
        while 100 <= response.status < 200 and response.status != 101:
            interim.append(response.status)
            response = self.read_head()
        response.interim = interim
        if head or stream or response.status in (101, 204, 304):
            return response
        if response.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
                response.body += self.read_exactly(size)
                self.read_exactly(2)
            self.read_until(b"\r\n")
        elif "content-length" in response.headers:
            response.body = self.read_exactly(int(response.headers["content-length"]))
        else:
            response.body = self.read_to_end()
        return response


def request_bytes(method, target, headers=None, body=None, version="HTTP/1.1"):
    lines = [f"{method} {target} {version}"]
    headers = dict(headers or {})
    if version == "HTTP/1.1" and "Host" not in headers:
        lines.append("Host: herald.test")
    if body is not None and not {"Content-Length", "Transfer-Encoding"} & set(headers):
        headers["Content-Length"] = str(len(body))
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": base64.b64encode(bytes(range(16))).decode(),
    "Sec-WebSocket-Version": "13",
}

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, length=None):
    """A WebSocket frame as a client sends it, or one that breaks a rule."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    flag = 0x80 if masked else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = b"\x11\x22\x33\x44"
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class RawWebSocket(RawConnection):
    """A WebSocket on which every frame is the test's own."""

    def __init__(self, server, target, headers=None, receive_buffer=None):
        super().__init__(server, receive_buffer)
        self.request("GET", target, {**HANDSHAKE, **(headers or {})})
        self.response = self.read_response()
        assert self.response.status == 101, self.response

    def send_json(self, message):
        self.send(frame(TEXT, json.dumps(message).encode()))

    def read_frame(self):
        first, payload = self.read_raw_frame()
        assert not first & 0x70, "no reserved bit is set"
        return first & 0x0F, payload

    def read_raw_frame(self):
        """The first byte of a frame's head, and its payload."""
        first, second = self.read_exactly(2)
        assert not second & 0x80, "a server's frames are not masked"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.read_exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.read_exactly(8))
        return first, self.read_exactly(size)

    def read_json(self):
        while True:
            opcode, payload = self.read_frame()
            if opcode == PING:
                self.send(frame(PONG, payload))
            if opcode == TEXT:
                return json.loads(payload)

    def read_close_code(self):
        """Reads on to the close frame; the server then closes the connection."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == CLOSE:
                self.try_send(frame(CLOSE, payload[:2]))
                self.read_to_end()
                return struct.unpack("!H", payload[:2])[0] if payload else 1005


class EventStream(RawConnection):
    """An SSE stream read from a raw socket, so that a test may also leave it unread."""

    def __init__(self, server, target, headers=None, receive_buffer=None):
        super().__init__(server, receive_buffer)
        self.request("GET", target, {"Accept": "text/event-stream", **(headers or {})})
        self.response = self.read_response(stream=True)
        assert self.response.status == 200, (self.response, self.buffer)

    def read_block(self):
        """The next block as a list of (field, value); comments have the field ''."""
        block = self.read_until(b"\n\n").decode()
        fields = []
        for line in filter(None, block.split("\n")):
            name, _, value = line.partition(":")
            fields.append((name, value.removeprefix(" ")))
        return fields

    def read_event(self):
        """The next block that has data, as (event type or None, id or None, data)."""
        while True:
            block = self.read_block()
            data = [value for name, value in block if name == "data"]
            if data:
                fields = dict(block)
                return fields.get("event"), fields.get("id"), "\n".join(data)


class LineStream(RawConnection):
    """An NDJSON stream read from a raw socket, so that a test may also leave it unread."""

    def __init__(self, server, target, headers=None, receive_buffer=None):
        super().__init__(server, receive_buffer)
        self.request("GET", target, {"Accept": "application/x-ndjson", **(headers or {})})
        self.response = self.read_response(stream=True)
        assert self.response.status == 200, (self.response, self.buffer)

    def read_json(self):
        """The next line, which is an event or a control message."""
        return json.loads(self.read_until(b"\n"))


class Proxy:
    """A TCP proxy to the server whose connections can be cut by RST."""

    def __init__(self, server):
        self._target = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.url = f"http://{self.host}:{self.port}"
        self.accepted = 0
        self._pairs = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._target, timeout=PATIENCE)
            except OSError:
                client.close()
                continue
            upstream.settimeout(None)
            with self._lock:
                self._pairs.append((client, upstream))
                self.accepted += 1
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        """Ends all connections at once."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                try:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                each.close()

    def close(self):
        self._listener.close()
        self.cut()
