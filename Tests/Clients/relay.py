"""A TCP proxy on one thread whose connections can be reset, or left half-open, and whose target can change."""

import queue
import selectors
import socket
import struct
import threading

from helpers import PATIENCE

# A side that has so much to send is not read for: what reads slowly slows what writes.
PENDING_MAX = 1 << 18


def end_by_reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class _Side:
    """One of a connection's two sockets, with what has to be sent on it."""

    def __init__(self, connection):
        self.socket = connection
        self.pending = bytearray()
        self.has_ended = False  # nothing more comes from it
        self.peer = None


class Relay:
    """Clients take it for a server, or for its secure side if it leads there. All that is asked of it is done when the
    call returns."""

    def __init__(self, server):
        self._server, self._target = server, (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.host, self.port = self._listener.getsockname()
        self.url = f"{server.url.partition(':')[0]}://{self.host}:{self.port}"
        self.accepted = 0
        self._sides, self._frozen = set(), set()
        self._orders = queue.SimpleQueue()
        self._bell, self._ear = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def trust(self):
        return self._server.trust

    # What may be asked of it.

    def cut(self):
        """Ends all connections by RST, on both sides."""
        self._order(self._cut)

    def freeze(self):
        """Forwards nothing more on the connections that there are, and closes none of them."""
        self._order(self._freeze)

    def bury(self):
        """Ends by RST what was left half-open."""
        self._order(self._bury)

    def lead_to(self, server):
        """New connections go to this server; to none, and they are reset."""
        self._order(lambda: setattr(self, "_target", server and (server.host, server.port)))

    def close(self):
        if not self._is_closed:
            self._order(self._close)
            self._thread.join(PATIENCE)

    def _order(self, action):
        done = threading.Event()
        self._orders.put((action, done))
        self._bell.send(b"x")
        assert done.wait(PATIENCE), "the relay does not answer"

    # On its thread.

    def _serve(self):
        while not self._is_closed:
            for key, events in self._selector.select():
                if key.fileobj is self._ear:
                    self._obey()
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._sides:
                    self._move(key.data, events)

    def _obey(self):
        self._ear.recv(4096)
        while not self._orders.empty():
            action, done = self._orders.get()
            action()
            done.set()

    def _accept(self):
        client, _ = self._listener.accept()
        try:
            upstream = socket.create_connection(self._target, timeout=PATIENCE) if self._target else None
        except OSError:
            upstream = None
        if upstream is None:
            end_by_reset(client)
            return
        self.accepted += 1
        sides = _Side(client), _Side(upstream)
        sides[0].peer, sides[1].peer = sides[1], sides[0]
        for side in sides:
            side.socket.setblocking(False)
            side.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sides.add(side)
            self._selector.register(side.socket, selectors.EVENT_READ, side)

    def _move(self, side, events):
        try:
            if events & selectors.EVENT_READ:
                self._take(side)
            for each in (side, side.peer):
                self._give(each)
        except OSError:
            self._drop(side, end_by_reset)
            return
        if side.has_ended and side.peer.has_ended and not side.pending and not side.peer.pending:
            self._drop(side, socket.socket.close)
            return
        for each in (side, side.peer):
            self._watch(each)

    @staticmethod
    def _take(side):
        try:
            data = side.socket.recv(65536)
        except BlockingIOError:
            return
        side.peer.pending += data
        side.has_ended = not data

    @staticmethod
    def _give(side):
        if side.pending:
            try:
                del side.pending[: side.socket.send(side.pending)]
            except BlockingIOError:
                return
        if side.peer.has_ended and not side.pending:
            side.socket.shutdown(socket.SHUT_WR)

    def _watch(self, side):
        wants = 0 if side.has_ended or len(side.peer.pending) > PENDING_MAX else selectors.EVENT_READ
        wants |= selectors.EVENT_WRITE if side.pending else 0
        is_watched = side.socket in self._selector.get_map()
        if wants and is_watched:
            self._selector.modify(side.socket, wants, side)
        elif wants:
            self._selector.register(side.socket, wants, side)
        elif is_watched:
            self._selector.unregister(side.socket)

    def _forget(self, side):
        self._sides.discard(side)
        if side.socket in self._selector.get_map():
            self._selector.unregister(side.socket)

    def _drop(self, side, end):
        for each in (side, side.peer):
            self._forget(each)
            end(each.socket)

    def _cut(self):
        for side in list(self._sides):
            if side in self._sides:
                self._drop(side, end_by_reset)

    def _freeze(self):
        for side in list(self._sides):
            self._forget(side)
            self._frozen.add(side)

    def _bury(self):
        for side in self._frozen:
            end_by_reset(side.socket)
        self._frozen.clear()

    def _close(self):
        self._cut()
        self._bury()
        for each in (self._listener, self._ear):
            self._selector.unregister(each)
        self._listener.close()
        self._selector.close()
        self._is_closed = True
