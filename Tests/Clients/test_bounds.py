"""Each configured bound, at the bound and one past it; reaching one is an answer, never growth or a crash."""

import json
import resource

import pytest

from helpers import (
    CLOSE,
    PATIENCE,
    TEXT,
    Closed,
    EventStream,
    RawConnection,
    RawWebSocket,
    assert_problem,
    chunked,
    eventually,
    frame,
    request_bytes,
)


def healthy(server):
    with RawConnection(server) as connection:
        return connection.exchange("GET", "/healthz").status == 200


def padded_head(size):
    """A request whose line and headers, to the empty line's end, are exactly so long."""
    bare = len(request_bytes("GET", "/healthz", {"X-Padding": ""}))
    return request_bytes("GET", "/healthz", {"X-Padding": "x" * (size - bare)})


def test_a_head_at_the_bound_and_one_past(server_factory):
    server = server_factory("--max-head", "2KiB")
    with RawConnection(server) as connection:
        connection.send(padded_head(2048))
        assert connection.read_response().status == 200
        connection.try_send(padded_head(2049))
        assert_problem(connection.read_response(), 431, "head-too-large")
        assert connection.read_to_end() == b""
    assert healthy(server)


def test_a_head_that_never_ends(server_factory):
    server = server_factory("--max-head", "2KiB")
    with RawConnection(server) as connection:
        connection.try_send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100000)
        assert_problem(connection.read_response(), 431, "head-too-large")
    assert healthy(server)


def test_trailers_count_as_head(server_factory, topic):
    server = server_factory("--max-head", "2KiB")
    with RawConnection(server) as connection:
        head = request_bytes("POST", f"/v1/events/{topic}", {"Transfer-Encoding": "chunked"})
        connection.try_send(head + b"0\r\n" + b"X: y\r\n" * 5000)
        assert connection.read_response().status in (400, 431)
    assert healthy(server)


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_body_at_the_bound_and_one_past(server_factory, topic, form):
    server = server_factory("--max-body", "1000")

    def post(connection, size):
        if form == "length":
            connection.try_send(request_bytes("POST", f"/v1/events/{topic}", None, b"x" * size))
        else:
            head = request_bytes("POST", f"/v1/events/{topic}", {"Transfer-Encoding": "chunked"})
            connection.try_send(head + chunked(b"x" * 600, b"x" * (size - 600)))
        return connection.read_response()

    with RawConnection(server) as connection:
        assert post(connection, 1000).status == 201
        problem = assert_problem(post(connection, 1001), 413, "body-too-large")
        assert problem.get("limit") == 1000 or "1000" in problem["detail"]
    assert healthy(server)
    assert server.client.get(f"/v1/topics/{topic}").json()["published"] == 1


def test_a_batch_at_the_bound_and_one_past(server_factory, topic):
    server = server_factory("--max-batch", 10)
    headers = {"Content-Type": "application/json"}
    for count, statuses in ((10, (201,)), (11, (413, 422))):
        body = json.dumps([{"topic": topic, "data": 1}] * count)
        assert server.client.post("/v1/events", content=body, headers=headers).status_code in statuses
    assert server.client.get(f"/v1/topics/{topic}").json()["published"] == 10


def test_a_message_at_the_bound_and_one_past(server_factory):
    server = server_factory("--max-message", "1000")
    message = json.dumps({"op": "ping", "ref": 1}).encode()
    with RawWebSocket(server, "/v1/events") as socket:
        socket.read_json()
        socket.send(frame(TEXT, message.ljust(1000)))
        assert socket.read_json()["ref"] == 1
        socket.send(frame(TEXT, message.ljust(1001)))
        assert socket.read_close_code() == 1009
    assert healthy(server)


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_half_sent_head(server_factory, sent):
    server = server_factory("--request-timeout", "300ms", "--idle-timeout", "300ms")
    with RawConnection(server) as connection:
        connection.send(sent)
        if sent:
            assert_problem(connection.read_response(), 408, "request-timeout")
        assert connection.read_to_end() == b""
    assert healthy(server)


def test_a_head_sent_one_byte_at_a_time_is_not_given_more_time(server_factory):
    server = server_factory("--request-timeout", "500ms")
    with RawConnection(server) as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")

        def answered():
            connection.try_send(b"X: y\r\n")
            return not connection.is_silent(0.05)

        eventually(answered, "an answer while bytes trickle in", interval=0)
        assert_problem(connection.read_response(), 408, "request-timeout")


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_half_sent_body(server_factory, topic, form):
    server = server_factory("--request-timeout", "300ms")
    with RawConnection(server) as connection:
        if form == "length":
            connection.send(request_bytes("POST", f"/v1/events/{topic}", {"Content-Length": "10"}) + b"half")
        else:
            connection.send(request_bytes("POST", f"/v1/events/{topic}", {"Transfer-Encoding": "chunked"}) + b"4\r\nha")
        assert_problem(connection.read_response(), 408, "request-timeout")
        assert connection.read_to_end() == b""
    assert healthy(server)
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


def test_an_idle_connection_is_closed_without_a_word(server_factory):
    server = server_factory("--idle-timeout", "300ms")
    with RawConnection(server) as connection:
        assert connection.exchange("GET", "/healthz").status == 200
        assert connection.read_to_end() == b""


def test_streams_and_held_polls_are_not_idle(server_factory, topic):
    server = server_factory("--idle-timeout", "300ms", "--request-timeout", "300ms", "--heartbeat", "1h")
    server.publish(topic)
    with EventStream(server, f"/v1/events/{topic}") as stream, RawWebSocket(server, f"/v1/events/{topic}") as socket:
        stream.read_block()
        socket.read_json()
        with RawConnection(server) as poll, RawConnection(server) as idle:
            poll.request("GET", f"/v1/events/{topic}?after=latest&wait=60")
            assert idle.exchange("GET", "/healthz").status == 200
            assert idle.read_to_end() == b"", "an idle connection came and went meanwhile"
            published = server.publish(topic)["id"]
            assert poll.read_response().json()["events"][0]["id"] == published
        assert socket.read_json()["id"] == published
        assert stream.read_event()[1] == published


def test_connections_at_the_bound_and_one_past(server_factory):
    server = server_factory("--max-connections", 5)
    server.client.close()
    held = []
    for _ in range(5):
        held.append(eventually(lambda: accepted(server), "a connection is accepted"))
    with RawConnection(server) as refused:
        refused.try_send(request_bytes("GET", "/healthz"))
        response = refused.read_response()
        assert_problem(response, 503, "too-many-connections")
        assert refused.read_to_end() == b""
    for connection in held:
        assert connection.exchange("GET", "/healthz").status == 200
    held.pop().close()
    held.append(eventually(lambda: accepted(server), "room again"))
    for connection in held:
        connection.close()


def accepted(server):
    """A connection that the server serves, or None."""
    connection = RawConnection(server)
    try:
        connection.send(request_bytes("GET", "/healthz"))
        if connection.read_response().status == 200:
            return connection
    except (Closed, OSError):
        pass
    connection.close()
    return None


def test_topics_at_the_bound_and_one_past(server_factory):
    server = server_factory("--max-topics", 10)
    for number in range(10):
        server.publish(f"t/{number}")
    refused = server.client.post("/v1/events/t/10", content=b"x")
    assert_problem(refused, 503, "too-many-topics")
    batch = json.dumps([{"topic": "t/1", "data": 1}, {"topic": "t/11", "data": 1}])
    refused = server.client.post("/v1/events", content=batch, headers={"Content-Type": "application/json"})
    assert_problem(refused, 503, "too-many-topics")
    assert server.client.get("/v1/topics/t/1").json()["published"] == 1, "all or nothing"
    server.publish("t/9")


def test_filters_of_a_connection_at_the_bound_and_one_past(server_factory, topic):
    server = server_factory("--max-filters-per-connection", 4)
    names = [f"{topic}/{number}" for number in range(5)]

    def target(count):
        return "/v1/events?" + "&".join(f"topic={name}" for name in names[:count])

    assert server.client.get(target(4)).status_code == 200
    for headers in ({}, {"Accept": "text/event-stream"}):
        assert_problem(server.client.get(target(5), headers=headers), 429, "too-many-filters")
    with RawWebSocket(server, target(4)) as socket:
        socket.read_json()
        socket.send_json({"op": "subscribe", "ref": 1, "topic": names[4]})
        error = socket.read_json()
        assert (error["control"], error["ref"], error["status"]) == ("error", 1, 429)
        socket.send_json({"op": "unsubscribe", "ref": 2, "topic": names[0]})
        assert socket.read_json()["control"] == "unsubscribed"
        socket.send_json({"op": "subscribe", "ref": 3, "topic": names[4]})
        assert sorted(socket.read_json()["filters"]) == sorted(names[1:])


def test_filters_of_the_server_at_the_bound_and_one_past(server_factory, topic):
    server = server_factory("--max-filters", 3)
    with EventStream(server, f"/v1/events?topic={topic}/0&topic={topic}/1&topic={topic}/2"):
        refused = server.client.get(f"/v1/events/{topic}/3", headers={"Accept": "text/event-stream"})
        assert_problem(refused, 429, "too-many-filters")
        with EventStream(server, f"/v1/events/{topic}/1") as again:
            again.read_block()
            published = server.publish(f"{topic}/1")["id"]
            assert again.read_event()[1] == published

    def room():
        with RawConnection(server) as connection:
            connection.request("GET", f"/v1/events/{topic}/3", {"Accept": "text/event-stream"})
            return connection.read_response(stream=True).status == 200

    eventually(room, "filters that nobody has any more make room")


def test_an_event_that_can_never_be_kept_is_refused(server_factory, topic):
    server = server_factory("--retain-bytes", "4KiB", "--max-body", "1MiB")
    answer = server.client.post(f"/v1/events/{topic}", content=b"x" * 8192)
    assert_problem(answer, answer.status_code, {413: "body-too-large", 503: "memory-limit"}[answer.status_code])
    server.publish(topic, b"x" * 100)


def test_out_of_file_descriptors(server_factory, topic):
    """Those that it has are served on; when descriptors are free again, so are new connections."""

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    server = server_factory("--loops", 2, preexec_fn=few)
    server.publish(topic)
    with EventStream(server, f"/v1/events/{topic}") as stream, RawConnection(server) as kept:
        stream.read_block()
        assert kept.exchange("GET", "/healthz").status == 200
        surplus = [RawConnection(server) for _ in range(150)]
        for connection in surplus:
            connection.try_send(request_bytes("GET", "/healthz"))

        def failed():
            text = kept.exchange("GET", "/metrics").body.decode()
            return any(
                line.startswith('herald_accept_failures_total{reason="descriptors"}') and not line.endswith(" 0")
                for line in text.splitlines()
            )

        eventually(failed, "the server says that it ran out of descriptors")
        for _ in range(20):
            response = kept.exchange("POST", f"/v1/events/{topic}", None, b"x")
            assert response.status == 201
            assert stream.read_event()[1] == response.json()["id"]
        for connection in surplus:
            connection.close()
        fresh = eventually(lambda: accepted(server), "new connections are served again")
        fresh.close()


def test_many_connections_that_say_nothing(server_factory):
    server = server_factory("--request-timeout", "1s", "--idle-timeout", "1s")
    silent = [RawConnection(server) for _ in range(500)]
    assert healthy(server)
    for connection in silent:
        assert connection.read_to_end() == b""
        connection.close()
    eventually(lambda: server.metric("herald_connections") < 50, "silent connections are closed", PATIENCE)


def test_a_websocket_that_does_not_answer_a_close_is_ended(server_factory, topic):
    server = server_factory("--request-timeout", "500ms", "--idle-timeout", "500ms")
    with RawWebSocket(server, f"/v1/events/{topic}") as socket:
        socket.send(frame(0x3))
        while socket.read_frame()[0] != CLOSE:
            pass
        assert socket.read_to_end() == b"", "the server closes though its close was not answered"


def test_half_a_frame_is_kept_within_bounds(server_factory):
    server = server_factory("--max-message", "1MiB")
    before = server.memory_bytes()
    sockets = [RawWebSocket(server, "/v1/events") for _ in range(200)]
    for socket in sockets:
        socket.send(frame(TEXT, b"", length=1 << 20))
    assert healthy(server)
    assert server.memory_bytes() - before < 100 << 20, "a length announced is not memory taken"
    for socket in sockets:
        socket.close()


def test_events_kept_over_many_topics_are_bounded(server_factory):
    server = server_factory("--max-topics", 200, "--retain-events", 5)
    for _ in range(8):
        server.publish_many([(f"t/{number}", "x" * 500) for number in range(200)])
    assert server.metric("herald_topics") == 200
    assert server.metric("herald_retained_events") == 1000
    assert server.metric("herald_events_evicted_total", reason="count") == 600
