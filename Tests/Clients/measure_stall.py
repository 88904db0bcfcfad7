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

from helpers import EventStream, RawConnection, RawWebSocket, eventually, request_bytes
from measure import measured_server, memory, print_table, write_json

TOPIC = "stall/all"
RING = 100_000
BATCH = 1000
FLAGS = ["--retain-events", RING, "--retain-bytes", "256MiB", "--heartbeat", "1h", "--idle-timeout", "1h"]
# Every event's data begins with its place in the row of all that are published.
PLACE = re.compile(rb'"data":"(\d{10})')
POLLS = 300


class Address:
    def __init__(self, host, port):
        self.host, self.port = host, port


class Tally:
    """Counts what a reader got by the places that the events' data tells."""

    def __init__(self, start):
        self.last, self.received, self.lost, self.disordered = start, 0, 0, 0

    def note(self, place):
        if place <= self.last:
            self.disordered += 1
            return
        self.received += 1
        self.lost += place - self.last - 1
        self.last = place


def payload(place):
    return f"{place:010}".ljust(100, "x")


def follow(transport, address, cursor, start, progress, final, results):
    """A fast reader, in a process of its own: reads until the final place."""
    tally = Tally(start)

    def is_done():
        return final.value and tally.last >= final.value

    def take(data):
        end = 0
        for match in PLACE.finditer(data):
            tally.note(int(match[1]))
            end = match.end()
        progress.value = tally.last
        # A place may be cut in two by the end of what was read.
        return data[max(end, len(data) - 64):]

    if transport in ("sse", "websocket"):
        kind = EventStream if transport == "sse" else RawWebSocket
        reader = kind(address, f"/v1/events/{TOPIC}?after={cursor}")
        rest = take(reader.buffer)
        while not is_done():
            data = reader.socket.recv(1 << 18)
            if not data:
                break
            rest = take(rest + data)
    else:
        reader = RawConnection(address)
        position, wait = cursor, 1 if transport == "longpoll" else 0
        while not is_done():
            target = f"/v1/events/{TOPIC}?after={position}&max=1000&wait={wait}"
            response = reader.exchange("GET", target)
            take(response.body)
            position = response.headers["herald-cursor"]
    reader.close()
    results.put((transport, tally.received, tally.lost, tally.disordered))


class StalledPolls(RawConnection):
    """A client that asks for page after page of what is there, and reads none."""

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


def open_stalled(server, earlier, cursor):
    """Streams that begin at the cursor, and polls of the page before it: a poll of nothing would fill no buffer."""
    path = f"/v1/events/{TOPIC}"
    return {
        "websocket": RawWebSocket(server, f"{path}?after={cursor}", receive_buffer=65536),
        "sse": EventStream(server, f"{path}?after={cursor}", receive_buffer=65536),
        "longpoll": StalledPolls(server, f"{path}?after={earlier}&max={BATCH}&wait=1"),
        "shortpoll": StalledPolls(server, f"{path}?after={earlier}&max={BATCH}"),
    }


def messages_of_stream(transport, reader):
    """Yields events and gaps as the stream gives them."""
    while True:
        if transport == "sse":
            kind, _, data = reader.read_event()
            if kind in (None, "message", "herald.gap"):
                yield "gap" if kind == "herald.gap" else "event", json.loads(data)
        else:
            message = reader.read_json()
            if message.get("control") in (None, "gap"):
                yield message.get("control", "event"), message


def messages_of_polls(reader, address):
    """Yields the first page; passes over its like, which were made before the ring passed the cursor; reads on from
    the page that tells of a gap, as any client would."""
    page = reader.read_response().json()
    for event in page["events"]:
        yield "event", event
    while not page["gap"]:
        page = reader.read_response().json()
    reader.close()
    with RawConnection(address) as connection:
        while True:
            if page["gap"]:
                yield "gap", page["gap"]
            for event in page["events"]:
                yield "event", event
            page = connection.exchange("GET", f"/v1/events/{TOPIC}?after={page['next']}&max={BATCH}").json()


def read_on(transport, reader, address, start, final):
    """What a stalled reader gets when it reads again: events, then a gap, then events."""
    tally, gaps, told = Tally(start), [], 0
    if transport in ("sse", "websocket"):
        messages = messages_of_stream(transport, reader)
    else:
        messages = messages_of_polls(reader, address)
    is_after_gap = False
    while tally.last < final:
        kind, message = next(messages)
        if kind == "gap":
            gaps.append(message)
            is_after_gap = True
            continue
        silent = tally.lost
        tally.note(int(message["data"][:10]))
        if is_after_gap:
            # What is missing here is what the gap told of.
            told += tally.lost - silent
            tally.lost, is_after_gap = silent, False
    reader.close()
    return {
        "stalled reader": transport,
        "read on": tally.received,
        "gaps": len(gaps),
        "gap from": gaps[0]["from"] if gaps else "-",
        "gap to": gaps[-1]["to"] if gaps else "-",
        "events in gaps": told,
        "lost in silence": tally.lost,
        "out of order": tally.disordered,
    }


def publish_batch(connection, first):
    """Publishes a batch of events from a place on; gives the first and the last id."""
    lines = [json.dumps({"topic": TOPIC, "data": payload(first + index)}) for index in range(BATCH)]
    body = ("\n".join(lines) + "\n").encode()
    response = connection.exchange("POST", "/v1/events", {"Content-Type": "application/x-ndjson"}, body)
    assert response.status == 201, response
    ids = re.findall(rb'"id":"([0-9a-f]{8}-\d+)"', response.body)
    return ids[0].decode(), ids[-1].decode()


def publish(server, first, count, progress, peak):
    """Publishes in batches from a place on; gives the first and the last id of the last batch, and the seconds."""
    ids = None
    begun = time.monotonic()
    with RawConnection(server) as connection:
        for number in range(count // BATCH):
            ids = publish_batch(connection, first + number * BATCH)
            last = first + (number + 1) * BATCH - 1
            while progress and min(each.value for each in progress) < last - RING // 2:
                time.sleep(0.001)
            if number % 20 == 0:
                peak.append(memory(server.pid)["rss"])
    return ids, time.monotonic() - begun


def run(count, with_stalled):
    spawn = multiprocessing.get_context("spawn")
    with measured_server("stall", *FLAGS) as server:
        start, last = RING + BATCH, RING + BATCH + count
        (earlier, cursor), _ = publish(server, 1, start, [], [])
        stalled = open_stalled(server, earlier, cursor) if with_stalled else {}
        final, results = spawn.Value("Q", 0), spawn.Queue()
        transports = ["websocket", "sse", "longpoll", "shortpoll"]
        progress = [spawn.Value("Q", start) for _ in transports]
        address = Address(server.host, server.port)
        fast = [
            spawn.Process(
                target=follow, args=(transport, address, cursor, start, mine, final, results), daemon=True
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
        _, seconds = publish(server, start + 1, count, progress, peak)
        final.value = last + 1
        # One more event ends the polls that are under way.
        server.publish(TOPIC, payload(last + 1).encode())
        tallies = sorted(results.get(timeout=300) for _ in fast)
        after = memory(server.pid)
        rows = []
        for transport, reader in stalled.items():
            # The polls' first page begins behind the first event of the batch before the cursor.
            behind = start if transport in ("sse", "websocket") else start - BATCH + 1
            rows.append(read_on(transport, reader, address, behind, last + 1))
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
