"""A proxy as firewalls, buffering proxies and bad lines are: each transport may pass, or is kept from working.

    python Tests/Clients/blocking_proxy.py 127.0.0.1:8080

It is a program of its own, so that it can be stopped by a signal as a laptop's network is by its lid. The first line
that it writes is its port. Then it reads orders, a JSON object a line (`{"do": "cut"}`), and answers each with a line.
It ends with its standard input. `BlockingProxy` starts one, and gives the orders.

A connection carries one request (the answer's head says `Connection: close`), of one kind: `websocket`, `sse`,
`longpoll`, `shortpoll`, `publish`, `renewal` or `other`. What a kind's rule may be is in `Rule`. It answers for the
files in PAGES by itself, so that pages have the same origin as the server behind it.
"""

import argparse
import asyncio
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

KINDS = ("websocket", "sse", "longpoll", "shortpoll", "publish", "renewal", "other")
TRANSPORTS = KINDS[:4]
PAGES = {"/-/client_page.html": "text/html", "/-/client_runs.mjs": "text/javascript"}
HEAD_MAX = 1 << 18
CHUNK = 1 << 16
ORDER_SECONDS = 30

WALL = b"<!doctype html><title>Blocked</title><h1>This site was blocked by your administrator</h1>"
ANSWERS = {"wall": (403, "Forbidden"), "gateway": (502, "Bad Gateway"), "busy": (503, "Service Unavailable")}


@dataclass
class Rule:
    """What becomes of requests of a kind.

    - `pass`
    - `refuse`: the connection is reset.
    - `wall`: 403, and a page for people. `gateway`: 502. `busy`: 503 with `Retry-After: seconds`.
    - `buffer`: it is forwarded, and after so many bytes the answer is held back until it is whole: a stream never is.
    - `hold`: the same, for ever.
    - `cut`: it is forwarded, and reset after so many bytes of the answer; with 0 when the first has come.
    - `limit`: it is forwarded, and reset after so many seconds.
    """

    way: str = "pass"
    bytes: int = 0
    seconds: float = 0
    times: int = -1  # so often, then they pass; -1 is always


def kind_of(head):
    """The kind of a request, by its head."""
    line, *fields = head.split("\r\n")
    method, target, _ = line.split(" ")
    named = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    path, _, query = target.partition("?")
    if path.startswith("/v1/renewals/"):
        return "renewal"
    if not path.startswith("/v1/events") or method not in ("GET", "POST"):
        return "other"
    if method == "POST":
        return "publish"
    if named.get("upgrade", "").lower() == "websocket":
        return "websocket"
    if "text/event-stream" in named.get("accept", ""):
        return "sse"
    is_held = "wait" in urllib.parse.parse_qs(query) or "wait" in named.get("prefer", "")
    return "longpoll" if is_held else "shortpoll"


def field_of(head, name):
    found = re.search(rf"(?im)^{name}:[ \t]*(.*?)\r?$", head)
    return found[1] if found else None


class _Reset(Exception):
    """The connection is to end by RST."""


class _Connection:
    def __init__(self, proxy, reader, writer):
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.kind, self.way = None, None
        self.upstream = None
        self.gate = asyncio.Event()  # closed: its bytes stop
        if not proxy.is_frozen:
            self.gate.set()
        self.task = asyncio.current_task()
        self.is_cut = False

    async def serve(self):
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            await self.gate.wait()
            await self._answer(head.decode("latin-1"))
        except _Reset:
            self.end_by_reset()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one of the two has gone
        finally:
            for writer in (self.writer, self.upstream):
                if writer is not None and not self.is_cut:
                    writer.close()

    async def _answer(self, head):
        body = await self.reader.readexactly(int(field_of(head, "content-length") or 0))
        target = head.split(" ")[1]
        if target in PAGES:
            await self._say(200, "OK", PAGES[target], Path(__file__).with_name(target[3:]).read_bytes())
            return
        self.kind = kind_of(head)
        rule = self.proxy.rule_of(self.kind)
        self.way = rule.way
        self.proxy.note(self.kind, rule.way, target, field_of(head, "idempotency-key"))
        if rule.way in ANSWERS:
            status, reason = ANSWERS[rule.way]
            more = f"Retry-After: {rule.seconds:.0f}\r\n" if rule.way == "busy" else ""
            await self._say(status, reason, "text/html", WALL, more)
        elif rule.way == "refuse":
            raise _Reset
        else:
            await self._forward(head, body, rule)

    async def _say(self, status, reason, kind, body, more=""):
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
        self.writer.write(f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + body)
        await self.writer.drain()

    async def _forward(self, head, body, rule):
        if self.kind != "websocket":
            head = re.sub(r"(?im)^connection:.*\r\n", "", head)
            head = head.removesuffix("\r\n") + "Connection: close\r\n\r\n"
        if self.proxy.target is None:
            raise _Reset
        answers, self.upstream = await asyncio.open_connection(*self.proxy.target, limit=CHUNK)
        self.upstream.write(head.encode("latin-1") + body)
        there = asyncio.create_task(self._pump(self.reader, self.upstream))
        back = asyncio.create_task(self._give_back(answers, rule))
        limit = rule.seconds if rule.way == "limit" else None
        try:
            done, _ = await asyncio.wait((there, back), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise _Reset
            for task in done:
                task.result()
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)

    async def _pump(self, source, sink, count=None):
        """Moves so many bytes, or all. Says whether there may be more."""
        while count is None or count > 0:
            data = await source.read(CHUNK if count is None else min(CHUNK, count))
            await self.gate.wait()
            if not data:
                return False
            sink.write(data)
            await sink.drain()
            count = None if count is None else count - len(data)
        return True

    async def _give_back(self, answers, rule):
        if rule.way not in ("buffer", "hold", "cut"):
            await self._pump(answers, self.writer)
            return
        if not await self._pump(answers, self.writer, rule.bytes):
            return
        held = []
        while data := await answers.read(CHUNK):
            if rule.way == "cut":
                self.proxy.cuts += 1
                raise _Reset
            held.append(data if rule.way == "buffer" else b"")
        await self.gate.wait()
        if rule.way == "hold":
            await asyncio.Event().wait()
        self.writer.write(b"".join(held))
        await self.writer.drain()

    def end_by_reset(self):
        """Ends both sides at once."""
        self.is_cut = True
        for writer in (self.writer, self.upstream):
            connection = writer and writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if writer is not None:
                writer.transport.abort()


class _Proxy:
    """The proxy itself. What begins with `do_` may be ordered."""

    def __init__(self, target):
        self.target = target
        self.rules = {kind: Rule() for kind in KINDS}
        self.connections = set()
        self.is_frozen = False
        self.accepted = self.cuts = 0
        self.log = []

    def rule_of(self, kind):
        """The rule for a request that has come."""
        rule = self.rules[kind]
        if rule.times == 0:
            return Rule()
        rule.times -= 1 if rule.times > 0 else 0
        return rule

    def note(self, kind, way, path, key):
        self.log.append({"at": time.monotonic(), "kind": kind, "way": way, "path": path, "key": key})

    async def accept(self, reader, writer):
        connection = _Connection(self, reader, writer)
        self.accepted += 1
        self.connections.add(connection)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            pass  # by a cut
        finally:
            self.connections.discard(connection)

    def _open(self, kinds):
        return [each for each in self.connections if kinds is None or each.kind in kinds]

    def do_rule(self, kinds, **rule):
        for kind in kinds:
            self.rules[kind] = Rule(**rule)

    def do_cut(self, kinds=None, how="reset"):
        """Ends the connections that carry such a request, or all; by FIN on the client's side, or by RST."""
        chosen = [each for each in self._open(kinds) if each.kind not in (None, "other")]
        for each in chosen:
            if how == "reset":
                each.end_by_reset()
            each.task.cancel()
        self.cuts += len(chosen)
        return len(chosen)

    def do_stall(self, kinds=None):
        """The connections that there are go dead, and are not closed; new ones work."""
        chosen = self._open(kinds)
        for each in chosen:
            each.gate.clear()
        return len(chosen)

    def do_freeze(self):
        """No byte moves any more, and no connection is closed."""
        self.is_frozen = True
        return self.do_stall()

    def do_thaw(self):
        self.is_frozen = False
        for each in self.connections:
            each.gate.set()

    def do_lead_to(self, target):
        self.target = target

    def do_counts(self):
        return {
            "accepted": self.accepted,
            "cuts": self.cuts,
            "requests": {kind: sum(each["kind"] == kind for each in self.log) for kind in KINDS},
            "open": {kind: len(self._open([kind])) for kind in KINDS},
        }

    def do_log(self):
        return self.log


async def _obey(proxy):
    """Reads orders until there are no more."""
    orders = asyncio.StreamReader(limit=HEAD_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = json.loads(line)
        print(json.dumps(getattr(proxy, f"do_{order.pop('do')}")(**order)), flush=True)


async def _run(target):
    proxy = _Proxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=HEAD_MAX, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await _obey(proxy)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", metavar="HOST:PORT", help="the server's address")
    host, _, port = parser.parse_args().target.rpartition(":")
    asyncio.run(_run((host, int(port))))


class BlockingProxy:
    """A running proxy. Clients take it for a server."""

    trust = None

    def __init__(self, server):
        arguments = [sys.executable, __file__, f"{server.host}:{server.port}"]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.host, self.port = "127.0.0.1", int(self.process.stdout.readline())
        self.url, self.ws_url = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _order(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the proxy has ended"
        return json.loads(line)

    def block(self, *kinds, way="refuse", **more):
        """From now on requests of these kinds, or of all transports, are blocked in this way (`Rule`)."""
        self._order("rule", kinds=kinds or TRANSPORTS, way=way, **more)

    def let_pass(self, *kinds):
        self._order("rule", kinds=kinds or KINDS, way="pass")

    def cut(self, *kinds, how="reset"):
        """Ends what these kinds have open, or all; gives the number."""
        return self._order("cut", kinds=kinds or None, how=how)

    def stall(self, *kinds):
        return self._order("stall", kinds=kinds or None)

    def freeze(self):
        return self._order("freeze")

    def thaw(self):
        self._order("thaw")

    def lead_to(self, server):
        """New connections go to this server; to none, and they are reset."""
        self._order("lead_to", target=server and (server.host, server.port))

    def counts(self):
        return self._order("counts")

    def log(self, *kinds):
        """All requests of these kinds, or of all transports, in the order in which they came."""
        return [each for each in self._order("log") if each["kind"] in (kinds or TRANSPORTS)]

    # Orders are not answered in between.

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.go_on()
        self.process.stdin.close()
        try:
            self.process.wait(ORDER_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__":
    main()
