"""gzip by Accept-Encoding, read by httpx, aiohttp, curl and byte by byte."""

import asyncio
import gzip
import json
import os
import subprocess
import zlib

import aiohttp
import httpx
import pytest

import browser
from conftest import herald_environment
from helpers import PATIENCE, LineStream, RawConnection, eventually, sequence, unique_topic
from readers import target

SSE = {"Accept": "text/event-stream"}
LINES = {"Accept": "application/x-ndjson"}
GZIP = {"Accept-Encoding": "gzip"}
LONG = {"text": "the same words again and " * 40, "list": list(range(100))}


class CodedStream(RawConnection):
    """A stream that is inflated as it comes, as far as it is asked for."""

    def __init__(self, server, path, headers):
        super().__init__(server)
        self.request("GET", path, headers)
        self.response = self.read_response(stream=True)
        assert self.response.status == 200, self.response
        self.inflater = zlib.decompressobj(wbits=31)
        self.text, self.wire = b"", 0

    def _inflate(self):
        if not self.buffer:
            self._fill()
        self.wire += len(self.buffer)
        data, self.buffer = self.buffer, b""
        self.text += self.inflater.decompress(data)

    def read_text(self, end):
        while end not in self.text:
            self._inflate()
        text, _, self.text = self.text.partition(end)
        return text

    def read_to_the_end(self):
        rest = self.text + self.inflater.decompress(self.read_to_end())
        return rest + self.inflater.flush()


# --- Streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SSE, LINES])
@pytest.mark.parametrize(
    ("accepted", "coded"),
    [
        ("gzip", True), ("gzip, deflate, br, zstd", True), ("*", True), ("x-gzip;q=0.5", True),
        ("gzip;q=0", False), ("identity", False), ("br", False), ("gzip;q=0.5, identity;q=0.8", False), (None, False),
    ],
)
def test_a_stream_is_coded_where_the_client_asks_for_it(server, topic, kind, accepted, coded):
    headers = {**kind, **({"Accept-Encoding": accepted} if accepted else {})}
    with RawConnection(server) as connection:
        connection.request("GET", f"/v1/events/{topic}", headers)
        response = connection.read_response(stream=True)
        assert response.headers.get("content-encoding") == ("gzip" if coded else None)
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.headers["content-type"] == kind["Accept"]
        assert (connection.read_exactly(3) == b"\x1f\x8b\x08") == coded


def test_codings_on_several_lines_are_one_list(server, topic):
    with RawConnection(server) as connection:
        connection.send(
            f"GET /v1/events/{topic} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            "Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n\r\n"
        )
        assert connection.read_response(stream=True).headers["content-encoding"] == "gzip"


def test_every_event_and_all_else_can_be_read_at_once(server_factory, topic):
    server = server_factory("--heartbeat", "200ms", "--retain-events", 2)
    old = [server.publish(topic, LONG, "application/json")["id"] for _ in range(4)]
    with CodedStream(server, f"/v1/events/{topic}", {**SSE, **GZIP, "Last-Event-ID": old[0]}) as stream:
        assert stream.read_text(b"\n\n").startswith(b"retry: ")
        assert stream.read_text(b"\n\n").startswith(b"event: herald.gap\n")
        for identifier in old[-2:]:
            assert f"id: {identifier}\n".encode() in stream.read_text(b"\n\n")
        small = server.publish(topic, b"small")["id"]
        while f"id: {small}\n".encode() not in (block := stream.read_text(b"\n\n")):
            assert block.startswith(b": hb\n")
        assert b'"small"' in block
        while not stream.read_text(b"\n\n").startswith(b": hb\n"):
            pass


def test_lines_and_events_are_shorter_on_the_wire(server, topic):
    with (
        CodedStream(server, f"/v1/events/{topic}", {**LINES, **GZIP}) as lines,
        CodedStream(server, f"/v1/events/{topic}?format=raw", {**SSE, **GZIP}) as raw,
        LineStream(server, f"/v1/events/{topic}") as plain,
    ):
        assert json.loads(lines.read_text(b"\n"))["control"] == "welcome"
        raw.read_text(b"\n\n")
        plain.read_json()
        before = lines.wire, raw.wire
        published = [server.publish(topic, LONG, "application/json")["id"] for _ in range(10)]
        length = 0
        for identifier in published:
            line = lines.read_text(b"\n")
            length += len(line) + 1
            assert json.loads(line) == plain.read_json()
            assert json.loads(line)["id"] == identifier
            assert b"\ndata: " + json.dumps(LONG).encode() in raw.read_text(b"\n\n")
        assert lines.wire - before[0] < length / 2 and raw.wire - before[1] < length / 2


@pytest.mark.parametrize("kind", [SSE, LINES])
def test_what_does_not_shrink_and_what_is_large_passes(server, topic, kind):
    with CodedStream(server, f"/v1/events/{topic}", {**kind, **GZIP}) as stream:
        for data in (os.urandom(5000), os.urandom(200_000), b"a" * 200_000):
            server.publish(topic, data, "image/png")
            stream.read_text(b"data_base64")
            assert len(stream.read_text(b"}")) >= len(data) * 4 // 3


def test_replays_are_coded_and_then_go_live(server, topic):
    kept = [server.publish(topic, {**LONG, "n": n}, "application/json")["id"] for n in range(200)]
    with CodedStream(server, f"/v1/events/{topic}?after=earliest", {**LINES, **GZIP}) as stream:
        stream.read_text(b"\n")
        length = 0
        for identifier in kept:
            line = stream.read_text(b"\n")
            length += len(line)
            assert json.loads(line)["id"] == identifier
        assert stream.wire < length / 2
        live = server.publish(topic, LONG, "application/json")["id"]
        assert json.loads(stream.read_text(b"\n"))["id"] == live


def test_a_stream_that_stalls_goes_on_where_it_was_cut(server_factory, topic):
    server = server_factory("--retain-events", 20)
    noise = [os.urandom(12_000).hex() for _ in range(20)]
    stream = RawConnection(server, receive_buffer=8192)
    stream.request("GET", f"/v1/events/{topic}", {**LINES, **GZIP})
    stream.read_response(stream=True)
    published = []

    def stalled():
        published.extend(server.publish_many([(topic, each) for each in noise]))
        return server.metric("herald_stalls_total", transport="ndjson") > 0

    eventually(stalled, "the reader stalls", interval=0)
    inflater, text, ids = zlib.decompressobj(wbits=31), b"", []
    while not ids or ids[-1] != published[-1]:
        if not stream.buffer:
            stream._fill()
        text += inflater.decompress(stream.buffer)
        stream.buffer = b""
        *whole, text = text.split(b"\n")
        ids += [message["id"] for message in map(json.loads, whole) if "control" not in message]
    stream.close()
    numbers = [sequence(each) for each in ids]
    assert numbers == sorted(set(numbers))
    assert ids[-20:] == published[-20:]


def test_httpx_and_aiohttp_read_a_stream_until_the_server_ends_it(server_factory, topic):
    server = server_factory("--drain-timeout", "1s")
    published = [server.publish(topic, LONG, "application/json")["id"] for _ in range(3)]
    url = server.url + target(topic, after="earliest")

    async def by_aiohttp():
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.get(url, headers={**LINES, **GZIP}) as response,
        ):
            assert response.headers["Content-Encoding"] == "gzip"
            lines = [await response.content.readline() for _ in range(4)]
            await asyncio.to_thread(drain)
            return lines + [line async for line in response.content]

    def drain():
        if not server.stopped:
            server.client.close()
            server.process.terminate()

    with httpx.Client(trust_env=False, timeout=PATIENCE) as client, client.stream("GET", url, headers=LINES) as answer:
        assert answer.headers["content-encoding"] == "gzip", "httpx asks by itself"
        by_httpx = answer.iter_lines()
        first = [next(by_httpx) for _ in range(4)]
        second = asyncio.run(by_aiohttp())
        first += list(by_httpx)
    for lines in (first, second):
        messages = [json.loads(line) for line in lines]
        assert messages[0]["control"] == "welcome" and messages[-1]["control"] == "end"
        assert [message["id"] for message in messages if "id" in message] == published
    assert server.wait() == 0


def test_curl_reads_a_coded_stream_to_its_end_without_complaint(server_factory, topic):
    server = server_factory("--drain-timeout", "1s")
    published = [server.publish(topic, LONG, "application/json")["id"] for _ in range(3)]
    url = server.url + target(topic, after="earliest")
    command = ["curl", "-sSN", "--compressed", "-H", f"Accept: {SSE['Accept']}", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=herald_environment()) as curl:
        seen = b""
        while seen.count(b"\nid: ") < 3:
            seen += curl.stdout.readline()
        server.client.close()
        server.process.terminate()
        rest, complaint = curl.communicate(timeout=PATIENCE)
    assert all(f"id: {each}\n".encode() in seen for each in published)
    assert rest.endswith(b"\n\n") and b"retry: " in rest
    assert (curl.returncode, complaint) == (0, b"")
    assert server.wait() == 0


class Listening(browser.Page):
    """A page that keeps what the browser tells of the network."""

    def __init__(self, devtools):
        self.told = []
        super().__init__(devtools)

    def _note(self, message):
        self.told.append((message.get("method"), message.get("params", {})))
        super()._note(message)


def test_chromiums_event_source_reads_a_coded_stream_and_comes_back_from_its_end(server_factory, topic):
    server = server_factory("--drain-timeout", "1s")
    published = [server.publish(topic, LONG, "application/json")["id"] for _ in range(3)]
    with browser.chromium() as port, browser.new_page(port, Listening) as page:
        page.open(server.url + "/")
        page.evaluate(
            "window.seen = []; window.states = [];"
            f"window.source = new EventSource('{target(topic, after='earliest')}');"
            "source.onmessage = event => seen.push(event.lastEventId);"
            "source.onerror = () => states.push(source.readyState); 0"
        )
        page.wait_for("seen.length === 3", "the events")
        assert page.evaluate("seen") == published
        assert server.metric("herald_compression_output_bytes_total", transport="sse") > 0, "Chromium asks by itself"
        server.client.close()
        server.process.terminate()
        page.wait_for("states.length > 0", "the end of the stream")
        assert page.evaluate("states[0]") == 0, "it comes back (CONNECTING), and has not given up"
        (stream,) = {
            note["requestId"]
            for method, note in page.told
            if method == "Network.responseReceived" and note["response"]["mimeType"] == "text/event-stream"
        }
        ends = [method for method, note in page.told if note.get("requestId") == stream and "loadingF" in method]
        assert ends == ["Network.loadingFinished"], "the missing trailer is no failure"
    assert server.wait() == 0


# --- Polls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [None, 5])
def test_a_polls_answer_is_one_gzip_member(server, topic, wait):
    published = [server.publish(topic, LONG, "application/json")["id"] for _ in range(5)]
    path = target(topic, after="earliest", wait=wait)
    with RawConnection(server) as connection:
        plain = connection.exchange("GET", path)
        for _ in range(2):
            coded = connection.exchange("GET", path, GZIP)
            assert coded.headers["content-encoding"] == "gzip"
            assert gzip.decompress(coded.body) == plain.body
            assert len(coded.body) < len(plain.body) / 2
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == coded.headers["vary"] == "Accept-Encoding"
        assert coded.headers.get("etag") == plain.headers.get("etag")
        assert [event["id"] for event in json.loads(plain.body)["events"]] == published
        # One answer after the other, each as its request asked.
        assert connection.exchange("GET", path).body == plain.body


def test_a_short_answer_is_left_as_it_is_unless_that_was_refused(server, topic):
    with RawConnection(server) as connection:
        path = target(topic, after="latest")
        plain = connection.exchange("GET", path, GZIP)
        assert "content-encoding" not in plain.headers and plain.headers["vary"] == "Accept-Encoding"
        only = connection.exchange("GET", path, {"Accept-Encoding": "identity;q=0, gzip"})
        assert only.headers["content-encoding"] == "gzip"
        assert json.loads(gzip.decompress(only.body))["events"] == []


def test_an_unchanged_answer_is_not_modified_whatever_the_coding(server, topic):
    server.publish(topic, LONG, "application/json")
    with RawConnection(server) as connection:
        tag = connection.exchange("GET", target(topic), GZIP).headers["etag"]
        assert tag.startswith('W/"')
        for headers in ({}, GZIP):
            answer = connection.exchange("GET", target(topic), {**headers, "If-None-Match": tag})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["vary"] == "Accept-Encoding" and "content-encoding" not in answer.headers


def test_head_says_what_get_would_send(server, topic):
    server.publish(topic, LONG, "application/json")
    with RawConnection(server) as connection:
        got = connection.exchange("GET", target(topic), GZIP)
        head = connection.exchange("HEAD", target(topic), GZIP)
        assert head.headers["content-encoding"] == "gzip"
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))


def test_held_polls_of_one_filter_are_answered_each_in_its_coding(server, topic):
    cursor = server.publish(topic)["id"]
    path = target(topic, after=cursor, wait=20)
    polls = [RawConnection(server) for _ in range(4)]
    held = server.metric("herald_held_requests")
    for number, poll in enumerate(polls):
        poll.request("GET", path, GZIP if number % 2 else {})
    eventually(lambda: server.metric("herald_held_requests") == held + 4, "the polls are held")
    server.publish(topic, LONG, "application/json")
    answers = [poll.read_response() for poll in polls]
    assert [answer.headers.get("content-encoding") for answer in answers] == [None, "gzip", None, "gzip"]
    assert answers[1].body == answers[3].body
    assert gzip.decompress(answers[1].body) == answers[0].body == answers[2].body
    for poll in polls:
        poll.close()


# --- All of it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["--no-compression", "--compression-min"])
def test_compression_can_be_turned_off(server_factory, topic, way):
    server = server_factory(*([way] if way == "--no-compression" else [way, "1GiB"]))
    server.publish(topic, LONG, "application/json")
    with RawConnection(server) as connection:
        assert "content-encoding" not in connection.exchange("GET", target(topic), GZIP).headers
    if way == "--no-compression":
        with LineStream(server, target(topic, after="earliest"), GZIP) as stream:
            assert "content-encoding" not in stream.response.headers
            assert stream.read_json()["control"] == "welcome"
            assert stream.read_json()["data"] == LONG
        return
    with CodedStream(server, target(topic, after="earliest"), {**LINES, **GZIP}) as stream:
        stream.read_text(b"\n")
        assert json.loads(stream.read_text(b"\n"))["data"] == LONG
        assert stream.wire > len(json.dumps(LONG)), "stored as it is"


def test_the_bytes_before_and_after_are_counted_by_transport(server_factory):
    server = server_factory()
    topic = unique_topic()

    def counted(transport):
        return [
            server.metric(f"herald_compression_{way}_bytes_total", transport=transport) for way in ("input", "output")
        ]

    with (
        CodedStream(server, target(topic), {**SSE, **GZIP}) as sse,
        CodedStream(server, target(topic), {**LINES, **GZIP}) as lines,
    ):
        sse.read_text(b"\n\n")
        lines.read_text(b"\n")
        server.publish(topic, LONG, "application/json")
        block, line = sse.read_text(b"\n\n") + b"\n\n", lines.read_text(b"\n") + b"\n"
    for transport, text in (("sse", block), ("ndjson", line)):
        eventually(lambda each=transport: counted(each)[0] > 0, "the delivery is counted")
        before, after = counted(transport)
        assert before == len(text) and 0 < after < before / 2
    with RawConnection(server) as connection:
        assert counted("shortpoll") == [0, 0]
        connection.exchange("GET", target(topic))
        assert counted("shortpoll") == [0, 0], "only those who take it"
        connection.exchange("GET", target(topic), GZIP)
        before, after = counted("shortpoll")
        assert 0 < after < before / 2
