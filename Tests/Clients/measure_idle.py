"""Measures the memory that the server takes for each idle connection.

For each transport, and with one filter for all or one for each, it opens many connections that then do nothing, and
divides what the server's memory grew by their number. usage: measure_idle.py [--connections N] [--json FILE]
"""

import argparse
import resource
import sys

from helpers import EventStream, RawConnection, RawWebSocket, eventually
from measure import measured_server, memory, print_table, write_json

FLAGS = ["--heartbeat", "1h", "--idle-timeout", "1h", "--max-wait", "1h", "--max-connections", "200000"]
WARM_UP = 200


def open_websocket(server, name):
    socket = RawWebSocket(server, f"/v1/events/{name}")
    socket.read_json()
    return socket


def open_stream(server, name):
    stream = EventStream(server, f"/v1/events/{name}")
    stream.read_block()
    return stream


def open_poll(server, name):
    poll = RawConnection(server)
    poll.request("GET", f"/v1/events/{name}?after=latest&wait=3600")
    return poll


def open_keep_alive(server, name):
    connection = RawConnection(server)
    assert connection.exchange("GET", "/healthz").status == 200
    return connection


KINDS = {
    "WebSocket": (open_websocket, "websocket"),
    "SSE": (open_stream, "sse"),
    "held long-poll": (open_poll, "longpoll"),
    "keep-alive": (open_keep_alive, None),
}


def until_open(server, transport, count):
    """All of them stand at the server, not only in its backlog."""
    if transport:
        eventually(lambda: server.metric("herald_readers", transport=transport) >= count, f"{count} readers", 300)
    else:
        eventually(lambda: server.metric("herald_connections") >= count, f"{count} connections", 300)


def measure(kind, count, own_filters):
    open_one, transport = KINDS[kind]

    def name(index):
        return f"idle/{index}" if own_filters else "idle/all"

    with measured_server(f"idle-{transport}", *FLAGS, "--max-filters", 2 * count) as server:
        # What the first connections allocate once and for all is not theirs.
        for connection in [open_one(server, name(index)) for index in range(WARM_UP)]:
            connection.close()
        eventually(lambda: server.metric("herald_connections") < WARM_UP // 2, "the warm-up's connections are gone")
        before = memory(server.pid)
        connections = [open_one(server, name(index)) for index in range(count)]
        until_open(server, transport, count)
        after = memory(server.pid)
        for connection in connections:
            connection.close()
    return {
        "kind": kind,
        "filters": ("one each" if own_filters else "one for all") if transport else "none",
        "connections": count,
        "RSS before KiB": before["rss"] // 1024,
        "RSS after KiB": after["rss"] // 1024,
        "RSS bytes each": round((after["rss"] - before["rss"]) / count),
        "anonymous bytes each": round((after["anonymous"] - before["anonymous"]) / count),
    }


def main():
    parser = argparse.ArgumentParser(description="Measures the memory for each idle connection.")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.connections + 200 > hard:
        parser.error(f"at most {hard - 200} connections: RLIMIT_NOFILE is {hard}")
    rows = []
    for kind, (_, transport) in KINDS.items():
        for own_filters in (False, True) if transport else (False,):
            rows.append(measure(kind, arguments.connections, own_filters))
    print_table(rows)
    write_json(arguments.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
