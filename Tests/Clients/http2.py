"""An HTTP/2 client over the `h2` library, which is strict about what a server may send."""

import struct

import h2.config
import h2.connection
import h2.events
import h2.settings

from frames import Stream
from helpers import CLOSE, PING, PONG, TEXT, Closed, add_field, connected, frame

Codes = h2.settings.SettingCodes


class Client:
    """A connection. Room for data is given back at once but for streams in `held`; for all while `is_holding`."""

    def __init__(self, server, initial_window=None, receive_buffer=None):
        self.socket = connected(server, receive_buffer, "h2")
        self.scheme = server.url.partition(":")[0]
        self.authority = f"{server.host}:{server.port}"
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        if initial_window is not None:
            self.connection.local_settings[Codes.INITIAL_WINDOW_SIZE] = initial_window
            self.connection.local_settings.acknowledge()
        self.connection.initiate_connection()
        self.answers, self.held, self.withheld = {}, set(), {}
        self.is_holding, self.goaway, self.is_settled = False, None, False
        self._flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def _flush(self):
        data = self.connection.data_to_send()
        if data:
            self.socket.sendall(data)

    # What a client sends.

    def request(self, method, path, *fields, body=None, ends=True, protocol=None):
        """Sends a request and gives its stream. ends: nothing follows the body."""
        stream = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", self.scheme), (":path", path), (":authority", self.authority)]
        if protocol:
            pseudo.append((":protocol", protocol))
        self.answers[stream] = Stream()
        self.connection.send_headers(stream, [*pseudo, *fields], end_stream=ends and body is None)
        self._flush()
        if body is not None:
            self.send(stream, body, ends)
        return stream

    def send(self, stream, data, ends=False):
        """Sends DATA as there is room; false if the server has ended the stream before all was sent."""
        answer = self.answers[stream]
        while data and not answer.is_over:
            room = min(
                self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size, len(data)
            )
            if room == 0:
                self.read()
                continue
            self.connection.send_data(stream, data[:room])
            data = data[room:]
            self._flush()
        if ends and not answer.is_over:
            self.connection.end_stream(stream)
            self._flush()
        return not data

    def trailers(self, stream, *fields):
        self.connection.send_headers(stream, fields, end_stream=True)
        self._flush()

    def cancel(self, stream, code=8):
        self.connection.reset_stream(stream, code)
        self._flush()

    def open_window(self, size, stream=None):
        self.connection.increment_flow_control_window(size, stream)
        self._flush()

    def release(self, stream):
        """Gives back the room of what a held stream has received, and goes on doing so."""
        self.held.discard(stream)
        count = self.withheld.pop(stream, 0)
        if count and not self.answers[stream].is_over:
            self.connection.acknowledge_received_data(count, stream)
        self._flush()

    def set(self, **values):
        """Changes settings; names as the codes', in lower case."""
        self.connection.update_settings({Codes[name.upper()]: value for name, value in values.items()})
        self._flush()

    # What comes.

    def read(self):
        """Takes what has come, at least something."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(f"the connection is closed, GOAWAY {self.goaway}")
        for event in self.connection.receive_data(data):
            self._note(event)
        self._flush()

    def _note(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.ResponseReceived():
                for name, value in event.headers:
                    add_field(answer.headers, name, value)
            case h2.events.InformationalResponseReceived():
                answer.interim.append(int(dict(event.headers)[":status"]))
            case h2.events.DataReceived():
                answer.body += event.data
                self._give_back(event.stream_id, event.flow_controlled_length)
            case h2.events.StreamEnded():
                answer.ended = True
            case h2.events.StreamReset():
                answer.reset = event.error_code
            case h2.events.ConnectionTerminated():
                self.goaway = event
            case h2.events.RemoteSettingsChanged():
                self.is_settled = True

    def _give_back(self, stream, count):
        if count == 0:
            return
        if self.is_holding or stream in self.held:
            self.withheld[stream] = self.withheld.get(stream, 0) + count
        else:
            self.connection.acknowledge_received_data(count, stream)

    def until(self, check):
        while not (result := check()):
            self.read()
        return result

    def response(self, stream):
        """The answer when it is whole, or was cut."""
        self.until(lambda: self.answers[stream].is_over)
        return self.answers[stream]

    def ask(self, method, path, *fields, body=None):
        return self.response(self.request(method, path, *fields, body=body))

    def until_text(self, stream, wanted):
        wanted = wanted.encode() if isinstance(wanted, str) else wanted
        self.until(lambda: wanted in self.answers[stream].body)

    def open_events(self, topic, *fields):
        """Begins an SSE stream, and waits until the server has taken it."""
        stream = self.request("GET", f"/v1/events/{topic}", ("accept", "text/event-stream"), *fields)
        self.until(lambda: self.answers[stream].headers)
        assert self.answers[stream].status == 200, self.answers[stream]
        return stream

    def read_to_end(self):
        try:
            while True:
                self.read()
        except Closed:
            return self.goaway


class WebSocketStream:
    """A WebSocket by RFC 8441 on a stream of a client."""

    def __init__(self, client, path, *fields):
        self.client = client
        client.until(lambda: client.is_settled)
        assert client.connection.remote_settings.enable_connect_protocol == 1
        self.stream = client.request(
            "CONNECT", path, ("sec-websocket-version", "13"), *fields, ends=False, protocol="websocket"
        )
        self.answer = client.answers[self.stream]
        client.until(lambda: self.answer.headers or self.answer.is_over)
        self._taken = 0

    def send(self, opcode, payload=b""):
        self.client.send(self.stream, frame(opcode, payload))

    def _read_exactly(self, count):
        self.client.until(lambda: len(self.answer.body) - self._taken >= count or self.answer.is_over)
        taken = self.answer.body[self._taken : self._taken + count]
        if len(taken) < count:
            raise Closed(self.answer)
        self._taken += count
        return taken

    def read_frame(self):
        first, second = self._read_exactly(2)
        assert not second & 0x80, "a server's frames are not masked"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._read_exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read_exactly(8))
        return first & 0x0F, self._read_exactly(size)

    def read(self, *opcodes):
        """The payload of the next frame of these kinds; pings are answered."""
        while True:
            opcode, payload = self.read_frame()
            if opcode in opcodes:
                return payload
            if opcode == PING:
                self.send(PONG, payload)
            assert opcode != CLOSE, payload

    def read_text(self):
        return self.read(TEXT)
