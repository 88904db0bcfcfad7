"""Crowds: what one address may have, how many may begin in a second, how much one publisher may publish."""

import json
import socket

import pytest

from helpers import (
    HANDSHAKE,
    PATIENCE,
    Closed,
    EventStream,
    RawConnection,
    RawWebSocket,
    assert_problem,
    eventually,
    request_bytes,
)
from http2 import Client

SSE = {"Accept": "text/event-stream"}


def retry_after(response):
    return int(response.headers["retry-after"])


def forwarded(form, address):
    return {"Forwarded": f'for="{address}"'} if form == "forwarded" else {"X-Forwarded-For": address}


def behind_proxy(form, *flags):
    return ["--trusted-proxy", "127.0.0.0/8", "--forwarded-header", form, *flags]


# One address.


@pytest.mark.parametrize("secure", [False, True])
def test_connections_of_an_address_at_the_bound_and_one_past(server_factory, topic, secure):
    server = server_factory("--max-connections-per-address", 4, tls=secure)
    server.client.close()
    side = server.secure if secure else server

    def open_one():
        connection = RawConnection(side)
        try:
            if connection.exchange("GET", "/healthz").status == 200:
                return connection
        except (Closed, OSError):
            pass
        connection.close()
        return None

    held = [eventually(open_one, "a connection") for _ in range(4)]
    with RawConnection(side) as refused:
        refused.try_send(request_bytes("GET", "/healthz"))
        response = refused.read_response()
        assert_problem(response, 429, "too-many-connections")
        assert 1 <= retry_after(response) <= 5
        assert refused.read_to_end() == b""
    held.pop().reset()
    held.append(eventually(open_one, "room again after a reset"))
    text = held[0].exchange("GET", "/metrics").body.decode()
    counted = [line for line in text.splitlines() if line.startswith('herald_refused_total{reason="address"}')]
    assert counted and int(counted[0].split()[-1]) >= 1
    for connection in held:
        connection.close()


def test_connections_of_an_ipv6_address(server_factory):
    server = server_factory("--listen", "[::1]:0", "--max-connections-per-address", 2)
    assert server.client.get("/healthz").status_code == 200
    with socket.create_connection(("::1", server.port), PATIENCE) as within:
        within.sendall(request_bytes("GET", "/healthz"))
        assert within.recv(65536).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(("::1", server.port), PATIENCE) as beyond:
            assert beyond.recv(65536).startswith(b"HTTP/1.1 429 ")


def test_streams_of_http2_count_as_connections(server_factory, topic):
    server = server_factory("--max-connections-per-address", 4)
    server.client.close()

    def connected():
        client = Client(server)
        if client.ask("GET", "/healthz").status == 200:
            return client
        client.close()
        return None

    with eventually(connected, "the fixture's client has gone") as client:
        target = f"/v1/events/{topic}"
        streams = [client.open_events(topic) for _ in range(3)]
        refused = client.ask("GET", target, ("accept", "text/event-stream"))
        assert_problem(refused, 429, "too-many-connections")
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        with RawConnection(server) as other:
            other.try_send(request_bytes("GET", "/healthz"))
            assert_problem(other.read_response(), 429, "too-many-connections")
        client.cancel(streams[0])
        eventually(lambda: client.ask("GET", "/healthz").status == 200, "a stream that was reset makes room")


@pytest.mark.parametrize("form", ["forwarded", "x-forwarded-for"])
def test_behind_a_proxy_readers_count_by_their_client(server_factory, topic, form):
    server = server_factory(*behind_proxy(form, "--max-connections-per-address", 2))
    one = [EventStream(server, f"/v1/events/{topic}", forwarded(form, "192.0.2.1")) for _ in range(2)]
    with RawConnection(server) as refused:
        for headers in (SSE, {"Accept": "application/x-ndjson"}):
            response = refused.exchange(
                "GET", f"/v1/events/{topic}", {**headers, **forwarded(form, "192.0.2.1")}
            )
            assert_problem(response, 429, "too-many-connections")
        target = f"/v1/events/{topic}?after=latest&wait=30"
        assert_problem(
            refused.exchange("GET", target, forwarded(form, "192.0.2.1")), 429, "too-many-connections"
        )
        assert refused.exchange("GET", f"/v1/events/{topic}", forwarded(form, "192.0.2.1")).status == 200
    with pytest.raises(AssertionError):
        RawWebSocket(server, f"/v1/events/{topic}", forwarded(form, "192.0.2.1"))
    other = EventStream(server, f"/v1/events/{topic}", forwarded(form, "[2001:db8::1]"))
    one.pop().reset()

    def room():
        with RawConnection(server) as connection:
            connection.request("GET", f"/v1/events/{topic}", {**SSE, **forwarded(form, "192.0.2.1")})
            return connection.read_response(stream=True).status == 200

    eventually(room, "a reader that was reset makes room")
    for stream in (*one, other):
        stream.close()


def test_streams_of_a_proxy_count_by_their_client(server_factory, topic):
    server = server_factory(*behind_proxy("forwarded", "--max-connections-per-address", 2))
    with Client(server) as proxy:
        one = [proxy.open_events(topic, ("forwarded", "for=192.0.2.1")) for _ in range(2)]
        other = proxy.open_events(topic, ("forwarded", "for=192.0.2.2"))
        fields = ("accept", "text/event-stream"), ("forwarded", "for=192.0.2.1")
        assert_problem(proxy.ask("GET", f"/v1/events/{topic}", *fields), 429, "too-many-connections")
        published = server.publish(topic)["id"]
        for stream in (*one, other):
            proxy.until_text(stream, published)
        proxy.cancel(one[0])

        def room():
            stream = proxy.request("GET", f"/v1/events/{topic}", *fields)
            proxy.until(lambda: proxy.answers[stream].headers)
            return proxy.answers[stream].status == 200

        eventually(room, "a stream that was reset makes room")


def test_what_a_client_says_itself_is_not_believed(server_factory, topic):
    server = server_factory(*behind_proxy("x-forwarded-for", "--max-connections-per-address", 1))
    target = f"/v1/events/{topic}"
    with EventStream(server, target, {"X-Forwarded-For": "203.0.113.1, 192.0.2.1"}), RawConnection(server) as again:
        response = again.exchange("GET", target, {**SSE, "X-Forwarded-For": "203.0.113.2, 192.0.2.1"})
        assert_problem(response, 429, "too-many-connections")


# In a second.


@pytest.mark.parametrize("transport", ["sse", "websocket", "ndjson"])
def test_readers_that_begin_in_a_second(server_factory, topic, transport):
    server = server_factory("--handshake-rate", 1, "--loops", 2, "--retry-after", "3s")
    with EventStream(server, f"/v1/events/{topic}") as first:
        first.read_block()
        headers = {
            "sse": SSE,
            "ndjson": {"Accept": "application/x-ndjson"},
            "websocket": HANDSHAKE,
        }[transport]
        seen = []
        for _ in range(30):
            with RawConnection(server) as connection:
                connection.request("GET", f"/v1/events/{topic}", headers)
                response = connection.read_response(stream=True)
                if response.status == 503:
                    seen.append(retry_after(response))
        assert seen and set(seen) <= {1, 2, 3}
        assert server.metric("herald_refused_total", reason="handshake_rate") == len(seen)
        assert server.client.get(f"/v1/events/{topic}").status_code == 200, "a poll is answered at once"
        published = server.publish(topic)["id"]
        assert first.read_event()[1] == published, "who was there is not touched"

        def let_in():
            with RawConnection(server) as connection:
                connection.request("GET", f"/v1/events/{topic}", headers)
                return connection.read_response(stream=True).status < 300

        eventually(let_in, "who comes back is let in")


def test_the_problem_of_too_many_beginners(server_factory, topic):
    server = server_factory("--handshake-rate", 1)

    def refused():
        with RawConnection(server) as connection:
            response = connection.exchange("GET", f"/v1/events/{topic}", HANDSHAKE)
            return response if response.status != 101 else None

    assert_problem(eventually(refused, "one is refused", interval=0), 503, "overloaded")


# One publisher.


def test_a_publisher_at_the_bound_and_one_past(server_factory, topic):
    server = server_factory("--publish-rate", 1, "--publish-burst", 5)
    for _ in range(5):
        server.publish(topic)
    refused = server.client.post(f"/v1/events/{topic}", content=b"x")
    assert_problem(refused, 429, "rate-limited")
    assert refused.headers["retry-after"] == "1"
    assert server.metric("herald_publish_refused_total", reason="rate_limited") == 1

    def published():
        return server.client.post(f"/v1/events/{topic}", content=b"x").status_code == 201

    eventually(published, "there is room again")


def test_a_batch_is_published_whole_or_not_at_all(server_factory, topic):
    server = server_factory("--publish-rate", 1, "--publish-burst", 10)

    def post(count):
        body = json.dumps([{"topic": topic, "data": number} for number in range(count)])
        return server.client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})

    never = post(11)
    assert_problem(never, 413, "body-too-large")
    assert never.json()["limit"] == 10
    assert post(6).status_code == 201
    late = post(9)
    assert_problem(late, 429, "rate-limited")
    assert 3 <= int(late.headers["retry-after"]) <= 5
    assert server.client.get(f"/v1/topics/{topic}").json()["published"] == 6
    assert post(4).status_code == 201


def test_an_answer_that_is_repeated_costs_nothing(server_factory, topic):
    server = server_factory("--publish-rate", 1, "--publish-burst", 2)
    headers = {"Idempotency-Key": "one"}
    statuses = [
        server.client.post(f"/v1/events/{topic}", content=b"x", headers=headers).status_code for _ in range(10)
    ]
    assert statuses == [201] + [200] * 9
    server.publish(topic)


def test_publishing_by_a_websocket_is_bounded_too(server_factory, topic):
    server = server_factory("--publish-rate", 1, "--publish-burst", 3)
    with RawWebSocket(server, "/v1/events") as connection:
        assert connection.read_json()["control"] == "welcome"
        answers = []
        for number in range(10):
            connection.send_json({"op": "publish", "ref": number, "topic": topic, "data": number})
            answers.append(connection.read_json())
        kinds = [each["control"] for each in answers]
        assert kinds[:3] == ["published"] * 3 and "error" in kinds
        error = next(each for each in answers if each["control"] == "error")
        assert (error["status"], error["type"]) == (429, "/problems/rate-limited")
        assert "1 s" in error["detail"]
        # The same publisher by another way.
        refused = [server.client.post(f"/v1/events/{topic}", content=b"x").status_code for _ in range(10)]
        assert 429 in refused


@pytest.mark.parametrize("form", ["forwarded", "x-forwarded-for"])
def test_behind_a_proxy_publishers_are_told_apart(server_factory, topic, form):
    server = server_factory(*behind_proxy(form, "--publish-rate", 1, "--publish-burst", 1))

    def publish(address):
        headers = forwarded(form, address)
        return server.client.post(f"/v1/events/{topic}", content=b"x", headers=headers).status_code

    for number in range(20):
        assert publish(f"192.0.2.{number}") == 201
    assert 429 in [publish("192.0.2.200") for _ in range(20)]
    assert 429 in [publish(f"[2001:db8::{number}]") for number in range(20)], "of IPv6 a network is one"
    target = "/v1/events"
    with RawWebSocket(server, target, forwarded(form, "198.51.100.1")) as one, RawWebSocket(
        server, target, forwarded(form, "198.51.100.2")
    ) as two:
        for each in (one, two):
            assert each.read_json()["control"] == "welcome"
            each.send_json({"op": "publish", "topic": topic, "data": 1})
            assert each.read_json()["control"] == "published"


def test_publishers_behind_a_proxy_that_speaks_http2(server_factory, topic):
    server = server_factory(*behind_proxy("x-forwarded-for", "--publish-rate", 1, "--publish-burst", 1))
    with Client(server) as proxy:

        def publish(address):
            return proxy.ask("POST", f"/v1/events/{topic}", ("x-forwarded-for", address), body=b"x").status

        assert [publish(f"192.0.2.{number}") for number in range(20)] == [201] * 20
        assert 429 in [publish("192.0.2.200") for _ in range(20)]


# When to come back.


def test_those_who_are_refused_are_spread(server_factory, topic):
    server = server_factory("--max-topics", 1, "--retry-after", "4s")
    server.publish(topic)
    seen = set()
    for _ in range(60):
        refused = server.client.post(f"/v1/events/{topic}/other", content=b"x")
        assert_problem(refused, 503, "too-many-topics")
        seen.add(int(refused.headers["retry-after"]))
    assert seen <= {1, 2, 3, 4} and len(seen) > 1
