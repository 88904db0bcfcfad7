"""Streams of lines, read by httpx, aiohttp and curl, and byte by byte where the bytes matter."""

import asyncio
import json
import subprocess

import aiohttp
import pytest

from conftest import herald_environment
from helpers import (
    ID,
    PATIENCE,
    LineStream,
    RawConnection,
    assert_problem,
    eventually,
    foreign_epoch,
    sequence,
    unique_topic,
)
from readers import NDJSONReader, open_reader, target

LINES = {"Accept": "application/x-ndjson"}


def test_the_head_keeps_proxies_from_buffering_and_the_first_line_is_a_welcome(server, topic):
    cursor = server.head_cursor()
    with LineStream(server, f"/v1/events/{topic}") as stream:
        headers = stream.response.headers
        assert headers["content-type"] == "application/x-ndjson"
        assert headers["cache-control"] == "no-cache, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert headers["connection"].lower() == "close"
        assert "content-length" not in headers and "transfer-encoding" not in headers
        welcome = stream.read_json()
    assert list(welcome) == ["control", "epoch", "cursor", "heartbeat_ms"]
    assert (welcome["control"], welcome["epoch"], welcome["heartbeat_ms"]) == ("welcome", cursor[:8], 25000)
    assert sequence(welcome["cursor"]) >= sequence(cursor)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"two\nlines", "text/plain"),
        (b'{"a":\n[1,\r\n2]}', "application/json"),
        (b"\x00\xff\n", "image/png"),
        ("\u2028\u0085é".encode(), "text/plain; charset=utf-8"),
        (b"", "text/plain"),
    ],
)
def test_an_event_is_one_line_and_the_object_of_the_other_transports(server, topic, data, content_type):
    with LineStream(server, f"/v1/events/{topic}") as stream:
        stream.read_json()
        published = server.publish(topic, data, content_type, Herald_Type="paid")
        event = stream.read_json()
    assert event["id"] == published["id"]
    assert event == server.poll(topic)["events"][0]


def test_aiohttp_reads_a_stream_line_by_line(server, topic):
    async def read(count):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.get(f"{server.url}/v1/events/{topic}?after=earliest", headers=LINES) as response,
        ):
            messages = [json.loads(line) async for line in async_take(response.content, count + 1)]
        return [message["id"] for message in messages if "id" in message]

    async def async_take(lines, count):
        for _ in range(count):
            yield await lines.readline()

    published = [server.publish(topic)["id"] for _ in range(20)]
    assert asyncio.run(read(20)) == published


def test_curl_prints_the_lines_as_they_come(server, topic):
    published = [server.publish(topic)["id"] for _ in range(3)]
    command = ["curl", "-sN", "-H", f"Accept: {LINES['Accept']}", f"{server.url}/v1/events/{topic}?after=earliest"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=herald_environment()) as curl:
        lines = [json.loads(curl.stdout.readline()) for _ in range(4)]
        curl.kill()
    assert lines[0]["control"] == "welcome"
    assert [line["id"] for line in lines[1:]] == published


def test_a_stream_starts_at_the_latest_event(server, topic):
    server.publish(topic, b"before")
    with NDJSONReader(server, topic) as reader:
        after = server.publish(topic, b"after")
        assert reader.read().id == after["id"]


@pytest.mark.parametrize("way", ["header", "query", "both"])
def test_a_cursor_is_taken_from_the_header_before_the_query(server, topic, way):
    published = [server.publish(topic)["id"] for _ in range(5)]
    headers = {} if way == "query" else {"Last-Event-ID": published[2]}
    after = {"query": published[2], "both": published[0]}.get(way)
    with LineStream(server, target(topic, after=after), headers) as stream:
        welcome, resumed, *events = (stream.read_json() for _ in range(4))
    assert welcome["cursor"] == published[2]
    assert resumed == {"control": "resumed", "resume": "resumed", "cursor": published[2]}
    assert [event["id"] for event in events] == published[3:]


def test_a_reset_and_a_gap_are_lines_of_the_same_members_as_a_websockets(server_factory, topic):
    server = server_factory("--retain-events", 2)
    published = [server.publish(topic)["id"] for _ in range(5)]
    foreign = f"{foreign_epoch(published[0])}-7"
    for cursor, control, reason in ((published[0], "gap", "evicted"), (foreign, "reset", "epoch")):
        with LineStream(server, f"/v1/events/{topic}?after={cursor}") as stream:
            stream.read_json()
            told = stream.read_json()
            assert (told["control"], told["resume"], told["reason"]) == (control, control, reason)
            with open_reader(server, "websocket", topic, after=cursor) as reader:
                assert reader.read().body == {key: value for key, value in told.items() if key != "control"}
            assert [stream.read_json()["id"] for _ in range(2)] == published[-2:]


def test_a_heartbeat_moves_the_cursor_of_a_quiet_stream(server_factory, topic):
    server = server_factory("--heartbeat", "200ms")
    with LineStream(server, f"/v1/events/{topic}") as stream:
        assert stream.read_json()["control"] == "welcome"
        elsewhere = server.publish(unique_topic())["id"]

        def moved():
            beat = stream.read_json()
            assert list(beat) == ["control", "cursor"] and beat["control"] == "heartbeat", beat
            return sequence(beat["cursor"]) >= sequence(elsewhere)

        eventually(moved, "a heartbeat with a cursor beyond the other topic's event", interval=0)
    assert server.metric("herald_heartbeats_total", transport="ndjson") > 0


def test_raw_is_refused_by_name(server, topic):
    answer = server.client.get(f"/v1/events/{topic}?format=raw", headers=LINES)
    assert_problem(answer, 400, "bad-parameter", "format", "NDJSON")


@pytest.mark.parametrize("name", ["wait", "max"])
def test_what_is_for_polls_is_refused(server, topic, name):
    answer = server.client.get(f"/v1/events/{topic}?{name}=5", headers=LINES)
    assert_problem(answer, 400, "bad-parameter", name)


def test_accept_chooses_by_weight(server, topic):
    for accept, kind in (
        ("text/event-stream;q=0.4, application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson;q=0.4, text/event-stream", "text/event-stream"),
        ("application/x-ndjson;q=0, application/json", "application/json"),
    ):
        with RawConnection(server) as connection:
            connection.request("GET", f"/v1/events/{topic}", {"Accept": accept})
            assert connection.read_response(stream=True).headers["content-type"] == kind


def test_what_the_client_sends_behind_its_request_is_passed_over(server, topic):
    with LineStream(server, f"/v1/events/{topic}") as stream:
        stream.send(b"GET / HTTP/1.1\r\n\r\n" * 100)
        stream.read_json()
        published = server.publish(topic)["id"]
        assert stream.read_json()["id"] == published


def test_a_stream_that_is_closed_by_its_reader_is_forgotten(server, topic):
    server.publish(topic)
    reader = open_reader(server, "ndjson", topic)
    server.until_readers(topic, 1, "ndjson")
    assert ID.match(reader.cursor)
    reader.close()
    eventually(
        lambda: server.client.get(f"/v1/topics/{topic}").json()["subscribers"]["ndjson"] == 0, "the reader is gone"
    )
