"""HTTP/2 frames made by hand, right or wrong, and a connection on which every byte is the test's own.

Nothing here uses an HTTP/2 library to send; what the server's header blocks say is read by `hpack`.
"""

import socket
import struct
from dataclasses import dataclass, field

import hpack

from helpers import Closed, connected

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0x0, 0x1, 0x2, 0x3, 0x4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x5, 0x6, 0x7, 0x8, 0x9

ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 0x1, 0x2, 0x3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL = 0x4, 0x5, 0x6, 0x8

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 0x5, 0x6, 0x7, 0x8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x9, 0xB

WINDOW_MAX = 2**31 - 1


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame; length, if given, is what it claims to be long."""
    size = len(payload) if length is None else length
    return struct.pack("!I", size)[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def settings(**values):
    """A SETTINGS frame; names as the constants, in lower case."""
    return frame(SETTINGS, payload=b"".join(struct.pack("!HI", globals()[n.upper()], v) for n, v in values.items()))


def window_update(increment, stream=0):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack("!I", increment))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, stream=stream, payload=struct.pack("!I", code))


def ping(payload=bytes(8), flags=0):
    return frame(PING, flags, payload=payload)


def data(stream, payload=b"", ends=False):
    return frame(DATA, END_STREAM if ends else 0, stream, payload)


def integer(value, bits, first=0):
    """RFC 7541 §5.1: an integer behind the upper bits of its first byte."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out = bytearray([first | most])
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return integer(len(value), 7) + value


def literal(name, value, indexed=False):
    """RFC 7541 §6.2: a field with a name of its own; indexed puts it into the dynamic table."""
    return (b"\x40" if indexed else b"\x00") + text(name) + text(value)


def indexed(index):
    """RFC 7541 §6.1; 62 is the newest field of the dynamic table."""
    return integer(index, 7, 0x80)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def request(method, path, *fields, authority="herald.test", scheme="http"):
    """The fields of a request, pseudo-headers first."""
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *fields]


def headers(stream, fields, ends=True, end_headers=True):
    """A HEADERS frame of (name, value) pairs or of a header block's bytes."""
    payload = fields if isinstance(fields, bytes) else block(fields)
    return frame(HEADERS, (END_STREAM if ends else 0) | (END_HEADERS if end_headers else 0), stream, payload)


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends(self):
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self):
        """Of RST_STREAM and GOAWAY."""
        return struct.unpack("!I", self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])[0]

    @property
    def last_stream(self):
        """Of GOAWAY."""
        return struct.unpack("!I", self.payload[:4])[0]


@dataclass
class Stream:
    """What the server has sent on one."""

    headers: dict = field(default_factory=dict)
    interim: list = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int = None

    @property
    def status(self):
        return int(self.headers[":status"]) if self.headers else None

    @property
    def is_over(self):
        return self.ended or self.reset is not None


class Frames:
    """A connection of HTTP/2. What comes is noted by stream; windows are given back only by the test.

    PINGs and SETTINGS are acknowledged unless is_polite is false.
    """

    def __init__(self, server, hello=None, receive_buffer=None, is_polite=True):
        self.socket = connected(server, receive_buffer, "h2")
        self.is_polite = is_polite
        self.buffer = b""
        self.streams = {}
        self.goaway = None
        self.settings = {}
        self.pongs = []
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._block = b""
        self.send(PREFACE + settings() if hello is None else hello)

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

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def try_send(self, *frames):
        """Sends, though the server may have closed already; false when it has."""
        try:
            self.send(*frames)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _fill(self):
        try:
            received = self.socket.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            raise Closed(f"closed after {self.buffer[:200]!r}, GOAWAY {self.goaway}")
        self.buffer += received

    def _read_exactly(self, count):
        while len(self.buffer) < count:
            self._fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_frame(self):
        """The next frame, noted."""
        head = self._read_exactly(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack("!BBI", head[3:])
        received = Frame(kind, flags, stream, self._read_exactly(size))
        self._note(received)
        return received

    def _note(self, received):
        stream = self.streams.setdefault(received.stream, Stream()) if received.stream else None
        if received.kind in (HEADERS, CONTINUATION):
            self._note_fields(stream, received)
        elif received.kind == DATA:
            stream.body += received.payload
        elif received.kind == RST_STREAM:
            stream.reset = received.code
        elif received.kind == GOAWAY:
            self.goaway = received
        elif received.kind == SETTINGS and not received.flags & ACK:
            self.settings.update(struct.iter_unpack("!HI", received.payload))
            if self.is_polite:
                self.try_send(frame(SETTINGS, ACK))
        elif received.kind == PING and received.flags & ACK:
            self.pongs.append(received.payload)
        elif received.kind == PING and self.is_polite:
            self.try_send(ping(received.payload, ACK))
        if received.ends:
            stream.ended = True

    def _note_fields(self, stream, received):
        self._block += received.payload
        if received.flags & END_HEADERS:
            fields = dict(self._decoder.decode(self._block))
            self._block = b""
            if fields[":status"].startswith("1"):
                stream.interim.append(int(fields[":status"]))
            else:
                stream.headers = fields

    def until(self, check):
        """Reads frames until check gives something true, and gives that."""
        while not (result := check()):
            self.read_frame()
        return result

    def response(self, stream):
        """The stream when its answer is whole, or was cut."""
        self.until(lambda: stream in self.streams and self.streams[stream].is_over)
        return self.streams[stream]

    def ask(self, stream, *arguments, **named):
        """Asks without a body, and gives the whole answer."""
        self.send(headers(stream, request(*arguments, **named)))
        return self.response(stream)

    def open_events(self, stream, topic):
        """Begins an SSE stream, and waits until the server has taken it."""
        self.send(headers(stream, request("GET", f"/v1/events/{topic}", ("accept", "text/event-stream"))))
        self.until(lambda: stream in self.streams and self.streams[stream].body)
        assert self.streams[stream].status == 200

    def until_text(self, stream, wanted):
        """Reads until the stream has sent this."""
        wanted = wanted.encode() if isinstance(wanted, str) else wanted
        self.until(lambda: wanted in self.streams[stream].body)

    def sync(self, mark):
        """A PING's answer: what was sent before has been handled."""
        self.send(ping(mark))
        self.until(lambda: mark in self.pongs)

    def read_to_end(self):
        """All that comes until the server closes."""
        try:
            while True:
                self.read_frame()
        except Closed:
            return self.goaway
