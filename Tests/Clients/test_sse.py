"""Server-Sent Events, read by httpx-sse and aiohttp, and byte by byte where the bytes matter."""

import asyncio
import base64
import json

import aiohttp
import pytest

from helpers import ID, EventStream, RawConnection, epoch, eventually, foreign_epoch, sequence, unique_topic
from readers import SSEReader, assert_ascending, open_reader, target


def test_the_head_keeps_proxies_from_buffering_and_the_stream_begins_with_retry(server, topic):
    with EventStream(server, f"/v1/events/{topic}") as stream:
        headers = stream.response.headers
        assert headers["content-type"].split(";")[0] == "text/event-stream"
        assert headers["cache-control"] == "no-cache, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert headers["connection"].lower() == "close"
        assert "content-length" not in headers and "transfer-encoding" not in headers
        (name, retry), *rest = stream.read_block()
        assert (name, retry) == ("retry", "2000")
        assert [each for each, _ in rest] in ([], ["id"]), "where the stream begins, and no event"


def test_the_time_to_reconnect_is_configured(server_factory, topic):
    server = server_factory("--sse-retry", "750ms")
    with EventStream(server, f"/v1/events/{topic}") as stream:
        assert stream.read_block()[0] == ("retry", "750")


def test_an_event_is_one_block_of_id_type_and_one_line_of_data(server, topic):
    with EventStream(server, f"/v1/events/{topic}") as stream:
        stream.read_block()
        with_type = server.publish(topic, b'{"a":\n1}', "application/json", Herald_Type="paid")
        without = server.publish(topic, b"two\nlines")
        first, second = stream.read_block(), stream.read_block()
    assert [name for name, _ in first] == ["id", "event", "data"]
    assert dict(first)["id"] == with_type["id"] and dict(first)["event"] == "paid"
    assert json.loads(dict(first)["data"])["data"] == {"a": 1}
    assert [name for name, _ in second] == ["id", "data"]
    assert dict(second)["id"] == without["id"]
    assert json.loads(dict(second)["data"])["data"] == "two\nlines"


def test_httpx_sse_reads_ids_types_and_data(server, topic):
    server.publish(topic)
    with SSEReader(server, topic) as reader:
        published = [
            server.publish(topic, {"n": number}, "application/json", Herald_Type=f"type.{number % 2}")["id"]
            for number in range(10)
        ]
        events = [reader.read_event() for _ in published]
    assert [event.id for event in events] == published
    assert [event.data["n"] for event in events] == list(range(10))
    assert [event.body["type"] for event in events] == ["type.0", "type.1"] * 5


def test_aiohttp_reads_a_stream_line_by_line(server, topic):
    async def read(count):
        ids = []
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            url = f"{server.url}/v1/events/{topic}?after=earliest"
            async with session.get(url, headers={"Accept": "text/event-stream"}) as response:
                assert response.status == 200
                async for line in response.content:
                    if line.startswith(b"id: "):
                        ids.append(line[4:].strip().decode())
                    if len(ids) == count:
                        return ids

    published = [server.publish(topic)["id"] for _ in range(20)]
    assert asyncio.run(read(20)) == published


def test_a_stream_starts_at_the_latest_event(server, topic):
    server.publish(topic, b"before")
    with SSEReader(server, topic) as reader:
        after = server.publish(topic, b"after")
        assert reader.read().id == after["id"]


def test_earliest_reads_all_that_is_kept_and_then_goes_live(server, topic):
    kept = [server.publish(topic)["id"] for _ in range(5)]
    with SSEReader(server, topic, after="earliest") as reader:
        live = server.publish(topic)["id"]
        items = reader.read_until(live)
    assert [item.id for item in items] == [*kept, live], "and no outcome of a resume, as no id was given"


def test_last_event_id_resumes_after_it(server, topic):
    published = [server.publish(topic)["id"] for _ in range(10)]
    with SSEReader(server, topic, after=published[3]) as reader:
        resumed = reader.read()
        assert resumed.kind == "resumed"
        assert resumed.body == {"resume": "resumed", "cursor": published[3]}
        assert [item.id for item in reader.read_until(published[-1])] == published[4:]


def test_last_event_id_wins_over_after(server, topic):
    published = [server.publish(topic)["id"] for _ in range(4)]
    headers = {"Last-Event-ID": published[2]}
    with EventStream(server, f"/v1/events/{topic}?after={published[0]}", headers) as stream:
        assert stream.read_event()[0] == "herald.resumed"
        assert stream.read_event()[1] == published[3]


def test_after_resumes_too(server, topic):
    published = [server.publish(topic)["id"] for _ in range(4)]
    with EventStream(server, f"/v1/events/{topic}?after={published[1]}") as stream:
        event, identifier, data = stream.read_event()
        assert (event, identifier) == ("herald.resumed", None), "a control event carries no id"
        assert json.loads(data)["cursor"] == published[1]
        assert [stream.read_event()[1] for _ in range(2)] == published[2:]


def test_a_cursor_older_than_what_is_kept_is_told_of_the_gap(server_factory, topic):
    server = server_factory("--retain-events", 5)
    published = [server.publish(topic)["id"] for _ in range(12)]
    with SSEReader(server, topic, after=published[1]) as reader:
        gap = reader.read()
        assert gap.kind == "gap"
        assert (gap.body["reason"], gap.body["resume"]) == ("evicted", "gap")
        assert gap.body["topic"] == topic
        assert gap.body["from"] == published[2]
        assert sequence(gap.body["to"]) == sequence(published[6])
        assert ID.match(gap.body["cursor"])
        assert [item.id for item in reader.read_until(published[-1])] == published[7:]


def test_a_gap_of_several_filters_names_them_all(server_factory, topic):
    server = server_factory("--retain-events", 2)
    others = [f"{topic}/{letter}" for letter in "ab"]
    start = server.head_cursor()
    last = None
    for number in range(5):
        for each in others:
            last = server.publish(each, {"n": number}, "application/json")["id"]
    with SSEReader(server, others, after=start) as reader:
        gap = reader.read()
        assert (gap.kind, gap.body["topic"]) == ("gap", "**")
        assert_ascending(reader.read_until(last))


def test_a_cursor_of_another_epoch_is_a_reset_and_all_that_is_kept(server, topic):
    published = [server.publish(topic)["id"] for _ in range(3)]
    foreign = f"{foreign_epoch(published[0])}-7"
    with SSEReader(server, topic, after=foreign) as reader:
        reset = reader.read()
        assert reset.kind == "reset"
        assert (reset.body["reason"], reset.body["resume"], reset.body["from"]) == ("epoch", "reset", foreign)
        assert epoch(reset.body["to"]) == epoch(published[0])
        assert [item.id for item in reader.read_until(published[-1])] == published


def test_a_heartbeat_moves_the_cursor_of_a_quiet_stream(server_factory, topic):
    server = server_factory("--heartbeat", "200ms")
    with EventStream(server, f"/v1/events/{topic}") as stream:
        assert stream.read_block()[0][0] == "retry"
        elsewhere = server.publish(unique_topic())["id"]

        def moved():
            block = stream.read_block()
            assert [name for name, _ in block] == ["", "id"], block
            return sequence(dict(block)["id"]) >= sequence(elsewhere)

        eventually(moved, "a heartbeat with a cursor beyond the other topic's event", interval=0)


def test_the_cursor_of_a_heartbeat_resumes(server_factory, topic):
    server = server_factory("--heartbeat", "200ms", "--retain-events", 3)
    server.publish(topic)
    with SSEReader(server, topic) as reader:
        elsewhere = unique_topic()
        for _ in range(20):
            last = server.publish(elsewhere)["id"]
        raw = reader.source.response.iter_lines()
        cursor = next(
            line[4:] for line in raw if line.startswith("id: ") and sequence(line[4:]) >= sequence(last)
        )
    missed = server.publish(topic)["id"]
    with SSEReader(server, topic, after=cursor) as reader:
        assert [(item.kind) for item in reader.read_until(missed)] == ["resumed", "event"]


@pytest.mark.parametrize(
    ("data", "content_type", "lines"),
    [
        (b"plain", "text/plain", ["plain"]),
        (b"one\ntwo\r\nthree\rfour", "text/plain", ["one", "two", "three", "four"]),
        (b'{"a": 1}', "application/json", ['{"a": 1}']),
        (b"\x00\xff", "image/png", [base64.b64encode(b"\x00\xff").decode()]),
    ],
)
def test_raw_sends_the_data_alone(server, topic, data, content_type, lines):
    with EventStream(server, f"/v1/events/{topic}?format=raw") as stream:
        stream.read_block()
        published = server.publish(topic, data, content_type, Herald_Type="t")
        block = stream.read_block()
    assert [value for name, value in block if name == "data"] == lines
    assert (dict(block)["id"], dict(block)["event"]) == (published["id"], "t")


def test_wildcards_and_repeated_topics_select(server, topic):
    with SSEReader(server, [f"{topic}/*/status", f"{topic}/all/**"]) as reader:
        server.publish(f"{topic}/1/other")
        server.publish(topic)
        wanted = [
            server.publish(f"{topic}/1/status")["id"],
            server.publish(f"{topic}/all/a/b/c")["id"],
            server.publish(f"{topic}/all/status")["id"],
        ]
        assert [reader.read_event().id for _ in wanted] == wanted


def test_the_filter_may_stand_in_the_query_alone(server, topic):
    with EventStream(server, f"/v1/events?topic={topic}&topic={topic}/x") as stream:
        stream.read_block()
        published = server.publish(f"{topic}/x")
        assert stream.read_event()[1] == published["id"]


def test_head_of_a_stream_is_only_the_head(server, topic):
    with RawConnection(server) as connection:
        connection.request("HEAD", target(topic), {"Accept": "text/event-stream", "Connection": "close"})
        response = connection.read_response(head=True)
        assert response.status in (200, 405)
        assert connection.read_to_end() == b""


def test_a_stream_that_is_closed_by_its_reader_is_forgotten(server, topic):
    server.publish(topic)
    reader = open_reader(server, "sse", topic)
    server.until_readers(topic, 1, "sse")
    reader.close()
    eventually(
        lambda: server.client.get(f"/v1/topics/{topic}").json()["subscribers"]["sse"] == 0,
        "the reader is gone",
    )
