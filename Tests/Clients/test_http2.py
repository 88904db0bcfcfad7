"""HTTP/2 with clients that keep to it: every request of the contract, streams, WebSockets by RFC 8441."""

import json
import re
import signal
import subprocess

import httpx
import pytest

from frames import NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, Frames, data, headers, request
from helpers import BINARY, CLOSE, PATIENCE, PING, PONG, TEXT, assert_problem, eventually, frame, sequence
from http2 import Client, Codes, WebSocketStream

SIDES = ["plain", "tls"]


@pytest.fixture(scope="module")
def server(servers, authority, loopback_pair):
    started = servers.start("http2", "--echo-path", "/echo", authority=authority, pairs=[loopback_pair])
    yield started
    servers.stop(started)


@pytest.fixture(params=SIDES)
def client(server, request):
    with Client(side_of(server, request.param)) as connected:
        yield connected


def side_of(server, name):
    return server.secure if name == "tls" else server


def events_of(answer):
    """The data of an SSE stream's events."""
    return re.findall(r"^data: (.*)$", answer.body.decode(), re.M)


# Requests.


def test_publish_and_poll(client, topic):
    answer = client.ask("POST", f"/v1/events/{topic}", ("content-type", "text/plain"), body=b"hello")
    assert answer.status == 201
    published = json.loads(answer.body)
    assert int(answer.headers["content-length"]) == len(answer.body)
    page = client.ask("GET", f"/v1/events/{topic}")
    assert page.status == 200
    assert [(each["id"], each["data"]) for each in json.loads(page.body)["events"]] == [(published["id"], "hello")]
    assert not {"connection", "upgrade", "transfer-encoding", "keep-alive"} & set(page.headers)
    same = client.ask("GET", f"/v1/events/{topic}", ("if-none-match", page.headers["etag"]))
    assert (same.status, same.body, same.ended) == (304, b"", True)
    assert same.headers["etag"] == page.headers["etag"]


def test_head(client, topic):
    client.ask("POST", f"/v1/events/{topic}", body=b"hello")
    whole = client.ask("GET", f"/v1/events/{topic}")
    head = client.ask("HEAD", f"/v1/events/{topic}")
    assert (head.status, head.body, head.ended) == (200, b"", True)
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.headers["etag"] == whole.headers["etag"]


def test_a_held_poll_is_answered_by_the_next_event(server, client, topic):
    cursor = server.publish(topic)["id"]
    polls = [client.request("GET", f"/v1/events/{topic}?after={cursor}&wait=60") for _ in range(5)]
    eventually(lambda: server.metric("herald_held_requests") == 5, "the polls are held")
    published = server.publish(topic)["id"]
    for each in polls:
        assert [event["id"] for event in json.loads(client.response(each).body)["events"]] == [published]
    assert json.loads(client.ask("GET", f"/v1/events/{topic}?after={published}&wait=1").body)["events"] == []


def test_events(server, client, topic):
    stream = client.open_events(topic)
    ids = [server.publish(topic, data="x" * size)["id"] for size in (1, 5000, 100_000)]
    client.until_text(stream, f"id: {ids[-1]}")
    assert client.answers[stream].headers["content-type"] == "text/event-stream"
    assert "connection" not in client.answers[stream].headers
    client.cancel(stream)
    resumed = client.open_events(topic, ("last-event-id", ids[0]))
    client.until_text(resumed, f"id: {ids[-1]}")
    text = client.answers[resumed].body.decode()
    assert "event: herald.resumed" in text and ids[1] in text


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("PUT", "/v1/events/a", 405, "method-not-allowed"),
        ("POST", "/v1/events/a//b", 400, "bad-topic"),
        ("GET", "/v1/events/a?wait=x", 400, "bad-parameter"),
        ("GET", "/v1/events/a?after=x", 400, ("bad-parameter", "bad-cursor")),
        ("FROBNICATE", "/healthz", 501, "not-implemented"),
        ("GET", "/v1/events/a%00", 400, "bad-request"),
    ],
)
def test_problems(client, method, path, status, slug):
    answer = client.ask(method, path, body=b"" if method in ("PUT", "POST") else None)
    assert_problem(answer, status, slug)
    assert client.ask("GET", "/healthz").status == 200, "the connection goes on"


def test_many_requests_at_once(client, topic):
    streams = [client.request("POST", f"/v1/events/{topic}", body=b"x" * 100) for _ in range(200)]
    ids = [json.loads(client.response(each).body)["id"] for each in streams]
    assert len(set(ids)) == 200


def test_a_body_without_a_length_and_with_trailers(server, client, topic):
    stream = client.request("POST", f"/v1/events/{topic}", ("content-type", "text/plain"), ends=False)
    for part in (b"one ", b"", b"two ", b"x" * 100_000):
        client.send(stream, part)
    client.trailers(stream, ("checksum", "none"))
    assert client.response(stream).status == 201
    page = server.client.get(f"/v1/events/{topic}").json()
    assert page["events"][0]["data"] == "one two " + "x" * 100_000


def test_a_body_that_ends_with_an_empty_frame(client, topic):
    stream = client.request("POST", f"/v1/events/{topic}", ("content-length", "3"), ends=False)
    client.send(stream, b"abc")
    client.send(stream, b"", ends=True)
    assert client.response(stream).status == 201


def test_expect(client, topic):
    stream = client.request(
        "POST", f"/v1/events/{topic}", ("expect", "100-continue"), ("content-length", "2"), ends=False
    )
    client.until(lambda: client.answers[stream].interim)
    assert client.answers[stream].interim == [100]
    client.send(stream, b"ok", ends=True)
    assert client.response(stream).status == 201


@pytest.mark.parametrize("length", [True, False])
def test_a_body_that_is_too_large(server_factory, topic, length):
    """The answer comes while the body is still sent, and then the client is told to stop."""
    server = server_factory("--max-body", "100KiB")
    with Client(server) as client:
        fields = [("content-length", "1000000")] if length else []
        stream = client.request("POST", f"/v1/events/{topic}", *fields, body=b"x" * 200_000, ends=False)
        client.until(lambda: client.answers[stream].headers)
        answer = client.response(stream)
        assert_problem(answer, 413, "body-too-large")
        assert client.ask("GET", "/healthz").status == 200, "the connection goes on"
        client.until(lambda: answer.reset is not None)
        assert (answer.reset, answer.ended) == (NO_ERROR, True)
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404, "nothing was published"


def test_a_head_that_is_too_large(client):
    most = client.until(lambda: client.connection.remote_settings.max_header_list_size)
    answer = client.ask("GET", "/healthz", *[(f"x-{number}", "y" * 1000) for number in range(most // 1000 + 1)])
    assert_problem(answer, 431, "head-too-large")
    assert client.ask("GET", "/healthz").status == 200, "the connection goes on"


def test_a_path_that_is_too_long(client):
    answer = client.ask("GET", "/v1/events/a?topic=" + "x" * 12000)
    assert_problem(answer, answer.status, {414: "target-too-long", 431: "head-too-large"}[answer.status])


def test_a_request_that_does_not_end(server_factory, topic):
    server = server_factory("--request-timeout", "300ms")
    with Client(server) as client:
        stream = client.request("POST", f"/v1/events/{topic}", body=b"half", ends=False)
        assert_problem(client.response(stream), 408, "request-timeout")
        assert client.ask("GET", "/healthz").status == 200, "the connection goes on"


# WebSockets (RFC 8441).


def test_a_websocket(server, client, topic):
    websocket = WebSocketStream(client, f"/v1/events/{topic}", ("sec-websocket-protocol", "herald.v1"))
    assert websocket.answer.status == 200
    assert websocket.answer.headers["sec-websocket-protocol"] == "herald.v1"
    assert "sec-websocket-accept" not in websocket.answer.headers
    assert json.loads(websocket.read_text())["control"] == "welcome"
    published = server.publish(topic, data="x" * 70_000)
    assert json.loads(websocket.read_text())["id"] == published["id"]
    websocket.send(PING, b"are you there")
    assert websocket.read(PONG) == b"are you there"

    websocket.send(TEXT, json.dumps({"op": "subscribe", "ref": 1, "topics": [f"{topic}/more"]}).encode())
    assert json.loads(websocket.read_text())["ref"] == 1
    more = server.publish(f"{topic}/more")
    assert json.loads(websocket.read_text())["id"] == more["id"]
    websocket.send(TEXT, json.dumps({"op": "publish", "ref": 2, "topic": topic, "data": "mine"}).encode())
    messages = [json.loads(websocket.read_text()) for _ in range(2)]
    assert {each.get("control", "event") for each in messages} == {"published", "event"}
    websocket.send(TEXT, b"no json")
    assert json.loads(websocket.read_text())["control"] == "error"

    websocket.send(CLOSE, (1000).to_bytes(2, "big"))
    assert websocket.read(CLOSE)[:2] == (1000).to_bytes(2, "big")
    client.connection.end_stream(websocket.stream)
    client._flush()
    assert client.response(websocket.stream).ended
    eventually(lambda: server.publish(topic)["receivers"] == 0, "the reader has gone")
    assert client.ask("GET", "/healthz").status == 200


def test_large_messages_both_ways(client):
    websocket = WebSocketStream(client, "/echo")
    payload = b"x" * 200_000
    websocket.send(BINARY, payload)
    assert websocket.read(BINARY) == payload


def test_a_websocket_whose_client_leaves(server, client, topic):
    server.publish(topic)
    for leave in (lambda each: client.cancel(each.stream), lambda each: client.send(each.stream, b"", ends=True)):
        websocket = WebSocketStream(client, f"/v1/events/{topic}")
        assert server.publish(topic)["receivers"] == 1
        leave(websocket)
        eventually(lambda: server.publish(topic)["receivers"] == 0, "the reader has gone")


def test_a_websocket_that_breaks_a_rule(client, topic):
    websocket = WebSocketStream(client, f"/v1/events/{topic}")
    client.send(websocket.stream, b"\x81\x05hello")  # a client masks its frames
    assert int.from_bytes(websocket.read(CLOSE)[:2], "big") == 1002
    client.response(websocket.stream)
    assert client.ask("GET", "/healthz").status == 200, "the connection goes on"


def test_websocket_handshakes_that_are_refused(client, topic):
    client.until(lambda: client.is_settled)

    def connect(path, *fields, protocol="websocket"):
        return client.response(client.request("CONNECT", path, *fields, ends=False, protocol=protocol))

    refusal = connect(f"/v1/events/{topic}", ("sec-websocket-version", "12"))
    assert_problem(refusal, 426, "upgrade-required")
    assert refusal.headers["sec-websocket-version"] == "13"
    assert connect(f"/v1/events/{topic}").status == 426
    extensions = ("sec-websocket-version", "13"), ("sec-websocket-extensions", "permessage-deflate; =")
    assert_problem(connect(f"/v1/events/{topic}", *extensions), 400, "bad-handshake", "Sec-WebSocket-Extensions")
    assert connect("/nowhere", ("sec-websocket-version", "13")).status == 404
    # RFC 9220 §3 and RFC 8441: what is not spoken is 501, never a 2xx, which would open the tunnel.
    assert_problem(connect(f"/v1/events/{topic}", protocol="connect-udp"), 501, "not-implemented")
    assert_problem(connect("/healthz", protocol="websocket2"), 501, "not-implemented")
    assert_problem(connect("/healthz", ("sec-websocket-version", "13")), 501, "not-implemented")
    assert client.ask("GET", "/healthz").status == 200, "the connection goes on"


# Many streams.


def test_one_event_to_a_hundred_streams(server, client, topic):
    streams = [client.open_events(topic) for _ in range(100)]
    published = server.publish(topic, data="to all")
    assert published["receivers"] == 100
    for each in streams:
        client.until_text(each, f"id: {published['id']}")
        assert len(events_of(client.answers[each])) == 1
    assert server.metric("herald_readers", transport="sse", state="live") >= 100
    for each in streams:
        client.cancel(each)
    eventually(lambda: server.publish(topic)["receivers"] == 0, "the readers have gone")


def test_the_bound_of_streams(server_factory, topic):
    server = server_factory("--max-http2-streams", 10)
    with Client(server) as client, Client(server) as other:
        client.until(lambda: client.is_settled)
        assert client.connection.remote_settings.max_concurrent_streams == 10
        streams = [client.open_events(topic) for _ in range(10)]
        client.cancel(streams[0])
        assert client.ask("GET", "/healthz").status == 200, "who has gone makes room"
        streams[0] = client.open_events(topic)
        others = other.open_events(topic)
        published = server.publish(topic)["id"]
        for each in streams:
            client.until_text(each, published)
        # Whoever knows of the bound and does not keep to it breaks the protocol.
        client.connection.remote_settings[Codes.MAX_CONCURRENT_STREAMS] = 100
        client.connection.remote_settings.acknowledge()
        client.request("GET", "/healthz")
        assert client.read_to_end().error_code == PROTOCOL_ERROR
        eventually(lambda: server.publish(topic)["receivers"] == 1, "its readers have gone")
        other.until_text(others, published)


def test_streams_count_as_connections(server_factory, topic):
    server = server_factory("--max-connections", 6)
    server.client.get("/healthz")  # one of the six
    with Client(server) as client:  # and another
        streams = [client.open_events(topic) for _ in range(4)]
        assert client.response(client.request("GET", "/healthz")).reset == REFUSED_STREAM
        for each in streams:
            client.cancel(each)
        eventually(lambda: server.metric("herald_http2_streams") == 0, "the streams are gone")
        assert client.ask("GET", "/healthz").status == 200
        assert server.metric("herald_http2_streams_refused_total") == 1
        assert server.metric("herald_accept_failures_total", reason="limit") >= 1


def test_what_a_client_cancels_ends(server, client, topic):
    server.publish(topic)
    before = server.metric("herald_http2_streams_reset_total")
    poll = client.request("GET", f"/v1/events/{topic}?after=latest&wait=60")
    events = client.open_events(topic)
    eventually(lambda: server.metric("herald_held_requests") == 1, "the poll is held")
    server.until_readers(topic, 1, "sse")
    client.cancel(poll)
    client.cancel(events)
    eventually(lambda: server.metric("herald_held_requests") == 0, "the poll is held no more")
    assert server.publish(topic)["receivers"] == 0
    assert server.metric("herald_http2_streams_reset_total") == before + 2


# Ends.


@pytest.mark.parametrize("side", SIDES)
def test_drain(server_factory, topic, side):
    """Streams that are there come to their end after the GOAWAY, which the h2 library takes for the end of all."""
    server = server_factory("--drain-timeout", "20s", tls=True)
    cursor = server.publish(topic)["id"]
    websocket = request(
        "CONNECT", f"/v1/events/{topic}", ("sec-websocket-version", "13"), (":protocol", "websocket")
    )
    websocket.insert(0, websocket.pop())  # pseudo-headers come first
    with Frames(side_of(server, side)) as client, Frames(side_of(server, side)) as idle:
        assert idle.ask(1, "GET", "/healthz").status == 200
        client.open_events(1, topic)
        client.send(headers(3, websocket, ends=False))
        client.until(lambda: 3 in client.streams and b"welcome" in client.streams[3].body)
        client.send(headers(5, request("GET", f"/v1/events/{topic}?after={cursor}&wait=300")))
        eventually(lambda: server.metric("herald_held_requests") == 1, "the poll is held")
        server.client.close()
        server.signal(signal.SIGTERM)
        assert idle.read_to_end().code == NO_ERROR
        client.until(lambda: client.goaway)
        assert (client.goaway.code, client.goaway.last_stream) == (NO_ERROR, 5)
        going_away = b"\x88\x16" + (1001).to_bytes(2, "big")
        client.until(lambda: going_away in client.streams[3].body)
        client.send(data(3, frame(CLOSE, going_away[2:4]), ends=True))
        client.read_to_end()
        assert all(client.streams[each].ended for each in (1, 3, 5))
        assert json.loads(client.streams[5].body)["events"] == []
        assert "retry: " in client.streams[1].body.decode().split("\n\n")[-2]
    assert server.wait() == 0


def test_a_connection_without_streams_ends_after_the_idle_timeout(server_factory, topic):
    server = server_factory("--idle-timeout", "500ms")
    before = server.metric("herald_connections_closed_total", reason="idle")
    with Client(server) as busy, Client(server) as idle:
        stream = busy.open_events(topic)
        assert idle.ask("GET", "/healthz").status == 200
        assert idle.read_to_end().error_code == NO_ERROR
        published = server.publish(topic)["id"]
        busy.until_text(stream, published)
    assert server.metric("herald_connections_closed_total", reason="idle") > before


def test_metrics(server_factory, topic):
    server = server_factory(tls=True)

    def values():
        return {
            "plain": server.metric("herald_protocol_connections", protocol="h2", tls="false"),
            "tls": server.metric("herald_protocol_connections", protocol="h2", tls="true"),
            "streams": server.metric("herald_http2_streams"),
            "opened": server.metric("herald_http2_streams_opened_total"),
            "reset": server.metric("herald_http2_streams_reset_total"),
            "refused": server.metric("herald_http2_streams_refused_total"),
            "floods": server.metric("herald_http2_floods_total"),
            "handshakes": server.metric("herald_tls_handshakes_total", version="TLSv1.3", outcome="completed"),
        }

    nothing = dict.fromkeys(values(), 0)
    assert values() == nothing
    with Client(server) as plain, Client(server.secure) as secure:
        for client in (plain, secure):
            client.open_events(topic)
            client.open_events(topic)
            assert client.ask("GET", "/healthz").status == 200
        there = {**nothing, "plain": 1, "tls": 1, "streams": 4, "opened": 6, "handshakes": 1}
        eventually(lambda: values() == there, f"{there}")
        plain.cancel(1)
        eventually(lambda: values() == {**there, "streams": 3, "reset": 1}, "one stream less")
    eventually(lambda: values() == {**nothing, "opened": 6, "reset": 1, "handshakes": 1}, "all have gone")
    assert server.metric("herald_connections") == 1, "the test's own client"


# Other clients.


@pytest.mark.parametrize("side", SIDES)
def test_httpx(server, topic, side):
    target = side_of(server, side)
    with httpx.Client(
        base_url=target.url, http1=False, http2=True, trust_env=False, timeout=PATIENCE, verify=target.trust or True
    ) as client:
        answer = client.post(f"/v1/events/{topic}", content=b"x" * 500_000)
        assert (answer.http_version, answer.status_code) == ("HTTP/2", 201)
        assert len(client.get(f"/v1/events/{topic}").content) > 500_000
        assert client.get("/nowhere").status_code == 404


def run(*arguments):
    result = subprocess.run([*map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE * 4)
    assert result.returncode == 0, (result.stdout, result.stderr)
    return result.stdout


def test_curl(server, topic):
    published = json.loads(
        run("curl", "-sS", "--noproxy", "*", "--http2-prior-knowledge", "-d", "x", f"{server.url}/v1/events/{topic}")
    )
    events = subprocess.Popen(
        ["curl", "-sSN", "--noproxy", "*", "--http2-prior-knowledge", "-H", "Accept: text/event-stream",
         f"{server.url}/v1/events/{topic}?after=earliest"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with events:
        lines = iter(events.stdout)
        assert f"id: {published['id']}\n" in lines
        later = server.publish(topic)["id"]
        assert f"id: {later}\n" in lines
        events.terminate()


@pytest.mark.parametrize("side", SIDES)
def test_nghttp(server, topic, side):
    ids = server.publish_many([(topic, "x" * 1000)] * 100)
    url = f"{side_of(server, side).url}/v1/events/{topic}"
    page = json.loads(run("nghttp", "--no-verify-peer", url))
    assert [each["id"] for each in page["events"]] == ids


@pytest.mark.parametrize("side", SIDES)
def test_h2load(server, topic, tmp_path, side):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 100)
    url = f"{side_of(server, side).url}/v1/events/{topic}"
    before = server.metric("herald_events_published_total")
    said = run("h2load", "-n", 3000, "-c", 5, "-m", 20, "-d", body, url)
    assert "3000 succeeded, 0 failed, 0 errored" in said, said
    assert server.metric("herald_events_published_total") == before + 3000


def test_h2load_reading(server, topic):
    server.publish_many([(topic, "x" * 1000)] * 100)
    said = run("h2load", "-n", 2000, "-c", 5, "-m", 20, f"{server.secure.url}/v1/events/{topic}")
    assert "2000 succeeded, 0 failed, 0 errored" in said, said
    assert sequence(server.publish(topic)["id"]) > 0
