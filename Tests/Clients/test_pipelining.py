"""HTTP/1.1 connections: kept alive, pipelined, in pieces, and in the forms that clients use."""

import json
import socket

import pytest

from helpers import RawConnection, chunked, eventually, request_bytes


def test_a_connection_serves_many_requests(server, topic):
    with RawConnection(server) as connection:
        for number in range(50):
            response = connection.exchange("POST", f"/v1/events/{topic}", {"Content-Type": "text/plain"}, b"x")
            assert response.status == 201
            assert response.headers.get("connection", "keep-alive").lower() == "keep-alive"
        assert len(connection.exchange("GET", f"/v1/events/{topic}").json()["events"]) == 50


def test_pipelined_requests_are_answered_in_order(server, topic):
    requests = b"".join(
        request_bytes("POST", f"/v1/events/{topic}", {"Content-Type": "application/json"}, b"%d" % number)
        for number in range(300)
    )
    with RawConnection(server) as connection:
        connection.send(requests + request_bytes("GET", f"/v1/events/{topic}?max=1000"))
        ids = [connection.read_response().json()["id"] for _ in range(300)]
        events = connection.read_response().json()["events"]
    assert [event["id"] for event in events] == ids
    assert [event["data"] for event in events] == list(range(300))


def test_a_held_poll_holds_up_the_answers_behind_it_and_no_other_connection(server, topic):
    cursor = server.publish(topic)["id"]
    before = server.metric("herald_held_requests")
    with RawConnection(server) as connection:
        connection.send(
            request_bytes("GET", f"/v1/events/{topic}?after={cursor}&wait=300") + request_bytes("GET", "/healthz")
        )
        eventually(lambda: server.metric("herald_held_requests") > before, "the poll is held")
        assert connection.is_silent()
        published = server.publish(topic)["id"]
        assert connection.read_response().json()["events"][0]["id"] == published
        assert connection.read_response().json() == {"status": "ok"}


def test_different_answers_stand_in_order_with_their_refusals(server, topic):
    with RawConnection(server) as connection:
        connection.send(
            request_bytes("GET", "/healthz")
            + request_bytes("GET", "/nowhere")
            + request_bytes("POST", f"/v1/events/{topic}", None, b"x")
            + request_bytes("DELETE", "/healthz")
            + request_bytes("HEAD", "/healthz")
            + request_bytes("GET", "/healthz", {"Connection": "close"})
        )
        statuses = [connection.read_response(head=index == 4).status for index in range(6)]
        assert statuses == [200, 404, 201, 405, 200, 200]
        assert connection.read_to_end() == b""


def test_connection_close_is_obeyed(server):
    with RawConnection(server) as connection:
        response = connection.exchange("GET", "/healthz", {"Connection": "close"})
        assert response.headers["connection"].lower() == "close"
        assert connection.read_to_end() == b""


def test_http_1_0_closes_unless_asked_to_keep_alive(server):
    with RawConnection(server) as connection:
        connection.request("GET", "/healthz", version="HTTP/1.0")
        assert connection.read_response().status == 200
        assert connection.read_to_end() == b""
    with RawConnection(server) as connection:
        for _ in range(2):
            connection.request("GET", "/healthz", {"Connection": "keep-alive"}, version="HTTP/1.0")
            response = connection.read_response()
            assert response.status == 200
            assert "transfer-encoding" not in response.headers
            assert response.headers["connection"].lower() == "keep-alive"


def test_an_http_1_0_stream_is_served(server, topic):
    with RawConnection(server) as connection:
        connection.request("GET", f"/v1/events/{topic}", {"Accept": "text/event-stream"}, version="HTTP/1.0")
        assert connection.read_response(stream=True).status == 200
        assert connection.read_until(b"\n\n") .startswith(b"retry: 2000\n")
        published = server.publish(topic)["id"]
        assert f"id: {published}\n".encode() in connection.read_until(b"\n\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.txt", "/", "/v1/topics", "/nowhere"])
def test_head_has_the_heads_of_get_and_no_body(server, path):
    with RawConnection(server) as connection:
        got = connection.exchange("GET", path)
        head = connection.exchange("HEAD", path)
        assert head.status == got.status
        assert head.headers["content-type"] == got.headers["content-type"]
        assert "content-length" in head.headers or "transfer-encoding" in head.headers
        assert connection.exchange("GET", "/healthz").json() == {"status": "ok"}


def test_expect_100_continue(server, topic):
    with RawConnection(server) as connection:
        connection.request(
            "POST", f"/v1/events/{topic}", {"Expect": "100-continue", "Content-Length": "5"}
        )
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_response().status == 201
        assert connection.exchange("GET", "/healthz").status == 200


def test_a_body_that_will_be_refused_is_not_asked_for(server, topic):
    with RawConnection(server) as connection:
        connection.request(
            "POST", f"/v1/events/{topic}", {"Expect": "100-continue", "Content-Length": str(1 << 30)}
        )
        assert connection.read_head().status == 413


def test_chunked_bodies(server, topic):
    with RawConnection(server) as connection:
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        response = connection.exchange("POST", f"/v1/events/{topic}", headers, chunked(b'{"a"', b": ", b"1}"))
        assert response.status == 201
        extended = b"5;name=value\r\n[1,2,\r\n2\r\n3]\r\n0\r\nX-Trailer: t\r\n\r\n"
        assert connection.exchange("POST", f"/v1/events/{topic}", headers, extended).status == 201
        assert connection.exchange("POST", f"/v1/events/{topic}", headers, chunked()).status == 201
        events = connection.exchange("GET", f"/v1/events/{topic}").json()["events"]
    assert [event.get("data") for event in events] == [{"a": 1}, [1, 2, 3], None]
    assert events[2]["data_base64"] == "", "no bytes are no JSON"


def test_byte_by_byte(server, topic):
    with RawConnection(server) as connection:
        plain = request_bytes("POST", f"/v1/events/{topic}", {"Content-Type": "text/plain"}, b"slow")
        pieces = chunked(b"s", b"low")
        encoded = request_bytes("POST", f"/v1/events/{topic}", {"Transfer-Encoding": "chunked"}, pieces)
        for request in (plain, encoded):
            for index in range(len(request)):
                connection.send(request[index:index + 1])
            assert connection.read_response().status == 201


def test_empty_lines_before_a_request_are_passed_over(server):
    with RawConnection(server) as connection:
        connection.send(b"\r\n\r\n" + request_bytes("GET", "/healthz"))
        assert connection.read_response().status == 200


def test_absolute_targets_and_odd_case_are_understood(server):
    with RawConnection(server) as connection:
        connection.request("GET", "http://herald.test/healthz")
        assert connection.read_response().status == 200
        connection.send(b"GET /healthz HTTP/1.1\r\nhOsT:x\r\nCONNECTION:  close \r\n\r\n")
        assert connection.read_response().status == 200
        assert connection.read_to_end() == b""


def test_a_client_that_half_closes_gets_its_answers(server):
    with RawConnection(server) as connection:
        connection.send(request_bytes("GET", "/healthz") * 3)
        connection.socket.shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert connection.read_response().json() == {"status": "ok"}
        assert connection.read_to_end() == b""


def test_a_client_that_does_not_read_its_answers_does_not_grow_the_server(server, topic):
    server.publish_many([(topic, "x" * 1000)] * 500)
    before = server.memory_bytes()
    request = request_bytes("GET", f"/v1/events/{topic}?max=1000")
    with RawConnection(server, receive_buffer=4096) as connection:
        connection.socket.settimeout(2)
        sent = 0
        try:
            while sent < 4000:
                connection.send(request * 100)
                sent += 100
        except TimeoutError:
            pass
        assert json.loads(server.client.get("/healthz").text) == {"status": "ok"}
        assert server.memory_bytes() - before < 256 << 20, "answers to 4,000 requests would be 2 GiB"
