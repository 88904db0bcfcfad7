"""The scrape: its form, its families, and that counters move by exactly what happened."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers import (
    PATIENCE,
    TRANSPORTS,
    RawConnection,
    RawWebSocket,
    eventually,
    foreign_epoch,
    frame,
    request_bytes,
    unique_topic,
)
from readers import open_reader

FAMILIES = {
    "herald_connections": "gauge",
    "herald_connections_accepted_total": "counter",
    "herald_connections_closed_total": "counter",
    "herald_accept_failures_total": "counter",
    "herald_protocol_connections": "gauge",
    "herald_tls_handshakes_total": "counter",
    "herald_tls_handshakes_resumed_total": "counter",
    "herald_http2_streams": "gauge",
    "herald_http2_streams_opened_total": "counter",
    "herald_http2_streams_refused_total": "counter",
    "herald_http2_streams_reset_total": "counter",
    "herald_http2_floods_total": "counter",
    "herald_http_requests_total": "counter",
    "herald_http_rejected_total": "counter",
    "herald_refused_total": "counter",
    "herald_subscriptions": "gauge",
    "herald_readers": "gauge",
    "herald_readers_opened_total": "counter",
    "herald_events_published_total": "counter",
    "herald_published_bytes_total": "counter",
    "herald_publish_refused_total": "counter",
    "herald_deliveries_total": "counter",
    "herald_delivered_payload_bytes_total": "counter",
    "herald_delivered_overhead_bytes_total": "counter",
    "herald_compression_input_bytes_total": "counter",
    "herald_compression_output_bytes_total": "counter",
    "herald_delivery_latency_seconds": "histogram",
    "herald_stalls_total": "counter",
    "herald_gaps_total": "counter",
    "herald_events_missed_total": "counter",
    "herald_resumes_total": "counter",
    "herald_polls_answered_total": "counter",
    "herald_held_requests": "gauge",
    "herald_heartbeats_total": "counter",
    "herald_topics": "gauge",
    "herald_retained_events": "gauge",
    "herald_retained_bytes": "gauge",
    "herald_events_evicted_total": "counter",
    "herald_filters": "gauge",
    "herald_loop_lag_seconds": "histogram",
    "herald_loops": "gauge",
    "herald_build_info": "gauge",
    "herald_uptime_seconds": "gauge",
    "process_cpu_seconds_total": "counter",
    "herald_websocket_messages_received_total": "counter",
    "herald_websocket_closes_total": "counter",
}


def test_the_scrape_is_prometheus_text(server, topic):
    server.publish(topic)
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    assert len(families) >= len(FAMILIES)
    for family in families:
        assert family.name.startswith(("herald_", "process_", "swift_")), family.name
        assert family.documentation, family.name


def test_every_family_is_there_with_help_and_type(server):
    text = server.metrics_text()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.M))
    for name, kind in FAMILIES.items():
        assert types.get(name) == kind, (name, types.get(name))
        assert helps.get(name), name
    assert set(types) == set(helps)
    assert len(re.findall(r"^# TYPE ", text, re.M)) == len(types), "a family stands once"


def test_series_are_there_before_anything_happened(server_factory):
    samples = server_factory().samples()
    for transport in TRANSPORTS:
        assert samples[("herald_deliveries_total", ("transport", transport))] == 0
    assert samples[("herald_events_published_total",)] == 0
    assert samples[("herald_accept_failures_total", ("reason", "descriptors"))] == 0


def test_labels_say_what_is_running(server_factory):
    server = server_factory("--loops", 3)
    samples = server.samples()
    assert samples[("herald_loops",)] == 3
    (version,) = [key for key in samples if key[0] == "herald_build_info"]
    assert dict(version[1:])["version"] and samples[version] == 1
    first = samples[("herald_uptime_seconds",)]
    eventually(lambda: server.metric("herald_uptime_seconds") > first, "uptime moves")


def test_the_processor_time_is_the_processs(server, topic):
    def by_the_kernel():
        user, system = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    counted, before = by_the_kernel(), server.metric("process_cpu_seconds_total")
    for _ in range(50):
        server.publish(topic)
    after = server.metric("process_cpu_seconds_total")
    assert counted <= before < after
    # The kernel tells whole ticks.
    assert after <= by_the_kernel() + 0.1


def test_promtool_finds_nothing_wrong(server, topic):
    server.publish(topic)
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing; run scripts/setup.sh test"
    result = subprocess.run(
        [promtool, "check", "metrics"], input=server.metrics_text(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


class Delta:
    """How samples moved since it was made."""

    def __init__(self, server):
        self._server, self._before = server, server.samples()

    def __call__(self, name, **labels):
        def total(samples):
            return sum(
                value
                for (sample, *pairs), value in samples.items()
                if sample == name and labels.items() <= dict(pairs).items()
            )

        return total(self._server.samples()) - total(self._before)


@pytest.fixture
def quiet(server_factory):
    """A server on which nothing happens but what the test does."""
    return server_factory("--loops", 2, "--heartbeat", "1h", "--retain-events", 10)


def test_publishing_counts_events_and_bytes(quiet, topic):
    moved = Delta(quiet)
    for number in range(7):
        quiet.publish(topic, b"x" * (number + 1))
    quiet.publish_many([(topic, "yy")] * 5)
    assert moved("herald_events_published_total") == 12
    assert moved("herald_published_bytes_total") == sum(range(1, 8)) + 10
    assert moved("herald_events_evicted_total", reason="count") == 2
    assert quiet.metric("herald_retained_events") == 10
    assert quiet.metric("herald_topics") == 1


def test_refused_publishes_are_counted_and_publish_nothing(quiet, topic):
    moved = Delta(quiet)
    assert quiet.client.post("/v1/events/a//b", content=b"x").status_code == 400
    assert quiet.client.post("/v1/events", content=b"[", headers={"Content-Type": "application/json"}).is_error
    assert moved("herald_publish_refused_total") == 2
    assert moved("herald_events_published_total") == 0


def test_requests_are_counted_by_the_answers_class(quiet, topic):
    quiet.metrics_text()
    moved = Delta(quiet)
    for _ in range(4):
        quiet.publish(topic)
    assert quiet.client.get("/nowhere").status_code == 404
    first = quiet.client.get(f"/v1/events/{topic}")
    tag = {"If-None-Match": first.headers["etag"]}
    assert quiet.client.get(f"/v1/events/{topic}", headers=tag).status_code == 304
    codes = {code: moved("herald_http_requests_total", code=code) for code in ("3xx", "4xx", "5xx")}
    assert codes == {"3xx": 1, "4xx": 1, "5xx": 0}
    assert moved("herald_http_requests_total", code="2xx") >= 4 + 1


def test_what_the_parser_refuses_is_counted(quiet):
    moved = Delta(quiet)
    for data in (b"GARBAGE\r\n\r\n", request_bytes("POST", "/", {"Content-Length": "x"})):
        with RawConnection(quiet) as connection:
            connection.send(data)
            connection.read_to_end()
    eventually(lambda: moved("herald_http_rejected_total") == 2, "two refusals")


@pytest.mark.parametrize("transport", ["websocket", "sse", "ndjson"])
def test_a_stream_counts_readers_filters_and_deliveries(quiet, topic, transport):
    quiet.publish(topic)
    moved = Delta(quiet)
    filters = [topic, f"{topic}/*"]
    with open_reader(quiet, transport, filters) as reader:
        eventually(lambda: quiet.metric("herald_readers", transport=transport, state="live") == 1, "it is live")
        assert quiet.metric("herald_subscriptions", transport=transport) == 2
        assert quiet.metric("herald_filters") == 2
        for number in range(6):
            quiet.publish(topic if number % 2 else f"{topic}/x", b"12345")
        for _ in range(6):
            reader.read_event()
        eventually(lambda: moved("herald_deliveries_total", transport=transport) == 6, "six deliveries")
        assert moved("herald_deliveries_total") == 6
        assert moved("herald_delivered_payload_bytes_total", transport=transport) == 30
        assert moved("herald_delivered_overhead_bytes_total", transport=transport) > 6 * 50
        assert moved("herald_delivery_latency_seconds_count", transport=transport) == 6
        assert moved("herald_readers_opened_total", transport=transport) == 1
    eventually(lambda: quiet.metric("herald_readers", transport=transport) == 0, "it is gone")
    eventually(lambda: quiet.metric("herald_subscriptions") == 0, "its filters are gone")


def test_resumes_and_gaps_are_counted_by_transport_and_outcome(quiet, topic):
    published = [quiet.publish(topic)["id"] for _ in range(30)]
    moved = Delta(quiet)
    cursors = {"resumed": published[25], "gap": published[3], "reset": f"{foreign_epoch(published[0])}-1"}
    for transport in TRANSPORTS:
        for kind, cursor in cursors.items():
            with open_reader(quiet, transport, topic, after=cursor) as reader:
                assert reader.read().kind == kind
                reader.read_until(published[-1])
    for transport in TRANSPORTS:
        for outcome in cursors:
            assert moved("herald_resumes_total", transport=transport, outcome=outcome) == 1, (transport, outcome)
        assert moved("herald_gaps_total", transport=transport, reason="evicted") == 1
        assert moved("herald_gaps_total", transport=transport, reason="epoch") == 1
        assert moved("herald_events_missed_total", transport=transport) >= 16


def test_polls_are_counted_by_outcome(quiet, topic):
    cursor = quiet.publish(topic)["id"]
    moved = Delta(quiet)
    first = quiet.client.get(f"/v1/events/{topic}")
    quiet.client.get(f"/v1/events/{topic}", headers={"If-None-Match": first.headers["etag"]})
    quiet.poll(topic, after=cursor)
    quiet.poll(topic, after=cursor, wait=1)
    quiet.poll(topic, wait=1)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(quiet.poll, topic, after=cursor, wait=20)
        eventually(lambda: quiet.metric("herald_held_requests") == 1, "the poll is held")
        quiet.publish(topic)
        assert len(held.result(PATIENCE)["events"]) == 1
    outcomes = {
        (transport, outcome): moved("herald_polls_answered_total", transport=transport, outcome=outcome)
        for transport in ("longpoll", "shortpoll")
        for outcome in ("data", "empty", "not_modified", "timeout")
    }
    assert {key: value for key, value in outcomes.items() if value} == {
        ("shortpoll", "data"): 1,
        ("shortpoll", "not_modified"): 1,
        ("shortpoll", "empty"): 1,
        ("longpoll", "timeout"): 1,
        ("longpoll", "data"): 2,
    }
    assert quiet.metric("herald_held_requests") == 0


def test_connections_are_counted_when_they_come_and_go(quiet):
    quiet.metrics_text()
    moved = Delta(quiet)
    before = quiet.metric("herald_connections")
    connections = [RawConnection(quiet) for _ in range(10)]
    for connection in connections:
        assert connection.exchange("GET", "/healthz").status == 200
    assert quiet.metric("herald_connections") == before + 10
    assert moved("herald_connections_accepted_total") == 10
    for connection in connections:
        connection.close()
    eventually(lambda: moved("herald_connections_closed_total") == 10, "ten are closed")
    assert quiet.metric("herald_connections") == before


def test_websocket_messages_and_closes_are_counted(quiet):
    moved = Delta(quiet)
    with RawWebSocket(quiet, "/v1/events") as socket:
        for number in range(3):
            socket.send_json({"op": "ping", "ref": number})
        socket.send(frame(0x8, (1000).to_bytes(2, "big")))
        assert socket.read_close_code() == 1000
    with RawWebSocket(quiet, "/v1/events") as socket:
        socket.send(frame(0x3))
        assert socket.read_close_code() == 1002
    eventually(lambda: moved("herald_websocket_closes_total", code="1002") == 1, "a close with 1002")
    assert moved("herald_websocket_closes_total", code="1000") == 1
    assert moved("herald_websocket_messages_received_total") == 3


def test_heartbeats_are_counted(server_factory, topic):
    server = server_factory("--heartbeat", "100ms")
    server.publish(topic)
    with open_reader(server, "sse", topic), open_reader(server, "websocket", topic):
        for transport in ("sse", "websocket"):
            eventually(lambda: server.metric("herald_heartbeats_total", transport=transport) >= 2, transport)


def test_evictions_are_counted_by_reason(server_factory):
    server = server_factory("--retain-bytes", "16KiB")
    name = unique_topic()
    for _ in range(40):
        server.publish(name, b"x" * 1000)
    assert server.metric("herald_events_evicted_total", reason="bytes") >= 24
    kept = server.metric("herald_retained_events")
    server.client.delete(f"/v1/topics/{name}")
    assert server.metric("herald_events_evicted_total", reason="purge") == kept
    assert server.metric("herald_retained_bytes") == 0
