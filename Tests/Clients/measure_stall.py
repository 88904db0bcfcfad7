"""Measures what readers that stopped reading cost: in memory, in speed, and to readers that go on.

One reader of each transport stops reading. Then many small events pass, while one fast reader of each transport
follows; the publisher keeps at most half a ring ahead of the slowest fast reader, so that only a fault of the server
makes one of these lose an event. At last the stalled readers read on, and say what they missed. The same is done
without stalled readers, to compare. usage: measure_stall.py [--events N] [--json FILE]
"""

import argparse
import json
import multiprocessing
import re
import sys
import time

from helpers import EventStream, RawConnection, RawWebSocket, eventually, request_bytes, sequence
from measure import measured_server, memory, print_table, write_json

TOPIC = "stall/all"
RING = 100_000
BATCH = 1000
FLAGS = ["--retain-events", RING, "--retain-bytes", "256MiB", "--heartbeat", "1h", "--idle-timeout", "1h"]
IDENTIFIER = re.compile(rb'"id":"[0-9a-f]{8}-(\d+)","topic"')
GAP = re.compile(rb'"(?:from|to)":"[0-9a-f]{8}-(\d+)"')
POLLS = 300


class Address:
    def __init__(self, host, port):
        self.host, self.port = host, port


class Tally:
    """Counts what a reader got, out of ids alone: the sequences of one publisher's one topic have no holes."""

    def __init__(self, start):
        self.last, self.received, self.lost, self.disordered = start, 0, 0, 0

    def note(self, number):
        if number <= self.last:
            self.disordered += 1
            return
        self.received += 1
        self.lost += number - self.last - 1
        self.last = number


def follow(transport, address, start, epoch, progress, final, results):
    """A fast reader, in a process of its own: reads until the final sequence."""
    tally = Tally(start)

    def is_done():
        return final.value and tally.last >= final.value

    def take(data):
        end = 0
        for match in IDENTIFIER.finditer(data):
            tally.note(int(match[1]))
            end = match.end()
        progress.value = tally.last
        # An id may be cut in two by the end of what was read.
        return data[max(end, len(data) - 64):]

    if transport in ("sse", "websocket"):
        kind = EventStream if transport == "sse" else RawWebSocket
        reader = kind(address, f"/v1/events/{TOPIC}?after={epoch}-{start}")
        rest = take(reader.buffer)
        while not is_done():
            data = reader.socket.recv(1 << 18)
            if not data:
                break
            rest = take(rest + data)
    else:
        reader = RawConnection(address)
        position, wait = f"{epoch}-{start}", 1 if transport == "longpoll" else 0
        while not is_done():
            target = f"/v1/events/{TOPIC}?after={position}&max=1000&wait={wait}"
            response = reader.exchange("GET", target)
            take(response.body)
            position = response.headers["herald-cursor"]
    reader.close()
    results.put((transport, tally.received, tally.lost, tally.disordered))


class StalledPolls(RawConnection):
    """A client that asks for page after page and reads none."""

    def __init__(self, server, target):
        super().__init__(server, receive_buffer=65536)
        self.socket.setblocking(False)
        request = request_bytes("GET", target)
        try:
            for _ in range(POLLS):
                if self.socket.send(request) < len(request):
                    break
        except BlockingIOError:
            pass
        self.socket.setblocking(True)


def open_stalled(server, start):
    target = f"/v1/events/{TOPIC}?after={start}"
    return {
        "websocket": RawWebSocket(server, target, receive_buffer=65536),
        "sse": EventStream(server, target, receive_buffer=65536),
        "longpoll": StalledPolls(server, f"{target}&max=1000&wait=1"),
        "shortpoll": StalledPolls(server, f"{target}&max=1000"),
    }


def read_on(transport, reader, start, final):
    """What a stalled reader gets when it reads again: events, then a gap, then events."""
    tally, gap = Tally(start), None
    while tally.last < final:
        if transport == "sse":
            kind, _, data = reader.read_event()
            message = json.loads(data)
            gap = message if kind == "herald.gap" else gap
        elif transport == "websocket":
            message = reader.read_json()
            gap = message if message.get("control") == "gap" else gap
        else:
            # Each page begins at the same cursor; the last one was made when the ring had passed it. It is read on
            # from there as any client would.
            page = reader.read_response().json()
            while not page["gap"]:
                page = reader.read_response().json()
            gap = page["gap"]
            reader.close()
            reader = RawConnection(reader.address)
            while page["events"]:
                for event in page["events"]:
                    tally.note(sequence(event["id"]))
                page = reader.exchange("GET", f"/v1/events/{TOPIC}?after={page['next']}&max=1000").json()
            break
        if "id" in message:
            tally.note(sequence(message["id"]))
    reader.close()
    missed = sequence(gap["to"]) - sequence(gap["from"]) + 1 if gap else 0
    return {
        "stalled reader": transport,
        "read on": tally.received,
        "gap from": sequence(gap["from"]) if gap else 0,
        "gap to": sequence(gap["to"]) if gap else 0,
        "in the gap": missed,
        "lost in silence": max(0, final - start - tally.received - missed),
        "out of order": tally.disordered,
    }


def batch_request():
    line = json.dumps({"topic": TOPIC, "data": "x" * 100})
    body = ("\n".join([line] * BATCH) + "\n").encode()
    return request_bytes("POST", "/v1/events", {"Content-Type": "application/x-ndjson"}, body)


def publish(server, count, progress, peak):
    """Publishes in batches; gives the last sequence and the seconds it took."""
    request = batch_request()
    last = 0
    begun = time.monotonic()
    with RawConnection(server) as connection:
        for number in range(count // BATCH):
            connection.send(request)
            response = connection.read_response()
            assert response.status == 201, response
            last = int(re.findall(rb'"id":"[0-9a-f]{8}-(\d+)"', response.body)[-1])
            while progress and min(each.value for each in progress) < last - RING // 2:
                time.sleep(0.001)
            if number % 20 == 0:
                peak.append(memory(server.pid)["rss"])
    return last, time.monotonic() - begun


def run(count, with_stalled):
    spawn = multiprocessing.get_context("spawn")
    with measured_server("stall", *FLAGS) as server:
        publish(server, RING + BATCH, [], [])
        start = server.publish(TOPIC, b"x" * 100)["id"]
        epoch, first = start.split("-")[0], sequence(start)
        stalled = open_stalled(server, start) if with_stalled else {}
        final, results = spawn.Value("Q", 0), spawn.Queue()
        transports = ["websocket", "sse", "longpoll", "shortpoll"]
        progress = [spawn.Value("Q", first) for _ in transports]
        address = Address(server.host, server.port)
        fast = [
            spawn.Process(
                target=follow, args=(transport, address, first, epoch, mine, final, results), daemon=True
            )
            for transport, mine in zip(transports, progress, strict=True)
        ]
        for process in fast:
            process.start()
        streams = 4 if with_stalled else 2
        eventually(
            lambda: sum(server.metric("herald_readers", transport=each) for each in ("websocket", "sse")) >= streams,
            "all readers are there",
            120,
        )
        before, peak = memory(server.pid), []
        last, seconds = publish(server, count, progress, peak)
        final.value = last + 1
        # One more event ends the long-polls and short-polls that are under way.
        last = sequence(server.publish(TOPIC, b"x" * 100)["id"])
        tallies = sorted(results.get(timeout=300) for _ in fast)
        after = memory(server.pid)
        rows = []
        for transport, reader in stalled.items():
            reader.address = address
            rows.append(read_on(transport, reader, first, last))
        summary = {
            "run": "with stalled readers" if with_stalled else "without",
            "events": count,
            "events/s": round(count / seconds),
            "RSS before KiB": before["rss"] // 1024,
            "RSS after KiB": after["rss"] // 1024,
            "RSS highest KiB": max(peak) // 1024,
            "growth KiB": (after["rss"] - before["rss"]) // 1024,
        }
        fast_rows = [
            {
                "fast reader": f"{transport} ({summary['run']})",
                "received": received,
                "lost": count + 1 - received,
                "holes": lost,
                "out of order": disordered,
            }
            for transport, received, lost, disordered in tallies
        ]
    return summary, fast_rows, rows


def main():
    parser = argparse.ArgumentParser(description="Measures what stalled readers cost.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.events < 2 * RING or arguments.events % BATCH:
        parser.error(f"--events must be a multiple of {BATCH} and at least {2 * RING}")
    without, fast_without, _ = run(arguments.events, with_stalled=False)
    summary, fast, stalled = run(arguments.events, with_stalled=True)
    for rows in ([without, summary], fast_without + fast, stalled):
        print_table(rows)
        print()
    write_json(arguments.json, {"runs": [without, summary], "fast": fast_without + fast, "stalled": stalled})
    faults = sum(row["lost"] + row["out of order"] for row in fast_without + fast)
    faults += sum(row["lost in silence"] + row["out of order"] for row in stalled)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
