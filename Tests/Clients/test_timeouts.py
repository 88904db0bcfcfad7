"""Clients that take their time: to say what they want, to send it, to say more. None of them is waited for."""

import time

import pytest

from helpers import HANDSHAKE, Closed, RawConnection, assert_problem, request_bytes
from http2 import Client
from tls import connect

def trickle(send, payload):
    """Sends one byte at a time until all are sent or the peer has had enough; how many were sent."""
    for sent in range(len(payload)):
        try:
            send(payload[sent:sent + 1])
        except OSError:
            return sent
        time.sleep(0.02)
    return len(payload)


@pytest.mark.parametrize("secure", [False, True])
def test_a_head_that_comes_byte_by_byte(server_factory, secure):
    server = server_factory("--request-timeout", "400ms", tls=secure)
    side = server.secure if secure else server
    with RawConnection(side) as connection:
        trickle(connection.send, request_bytes("GET", "/healthz", {"X-Long": "x" * 200})[:60])
        assert_problem(connection.read_response(), 408, "request-timeout")
        assert connection.read_to_end() == b""
    assert server.metric("herald_http_rejected_total", reason="timeout") == 1


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_body_that_comes_byte_by_byte(server_factory, topic, form):
    server = server_factory("--request-timeout", "400ms")
    with RawConnection(server) as connection:
        if form == "length":
            connection.send(request_bytes("POST", f"/v1/events/{topic}", {"Content-Length": "1000"}))
            trickle(connection.send, b"x" * 60)
        else:
            connection.send(request_bytes("POST", f"/v1/events/{topic}", {"Transfer-Encoding": "chunked"}))
            trickle(connection.send, b"1\r\nx\r\n" * 10)
        assert_problem(connection.read_response(), 408, "request-timeout")
        assert connection.read_to_end() == b""
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


def test_a_body_has_a_time_of_its_own(server_factory, topic):
    """A head and a body that each take more than half of the time are in time together."""
    server = server_factory("--request-timeout", "4s")
    with RawConnection(server) as connection:
        head = request_bytes("POST", f"/v1/events/{topic}", {"Content-Length": "2"})
        connection.send(head[:-2])
        time.sleep(2.4)
        connection.send(head[-2:] + b"x")
        time.sleep(2.4)
        connection.send(b"y")
        assert connection.read_response().status == 201


def test_a_body_of_http2_that_comes_byte_by_byte(server_factory, topic):
    server = server_factory("--request-timeout", "400ms")
    with Client(server) as client:
        stream = client.request("POST", f"/v1/events/{topic}", ("content-length", "1000"), ends=False)
        for _ in range(40):
            if not client.send(stream, b"x"):
                break
            time.sleep(0.02)
        assert_problem(client.response(stream), 408, "request-timeout")
        assert client.ask("GET", "/healthz").status == 200, "the connection goes on"


@pytest.mark.parametrize("secure", [False, True])
def test_a_connection_kept_alive_that_says_nothing_more(server_factory, secure):
    server = server_factory("--idle-timeout", "1s", tls=secure)
    with RawConnection(server.secure if secure else server) as connection:
        for _ in range(3):
            time.sleep(0.4)
            assert connection.exchange("GET", "/healthz").status == 200
        assert connection.read_to_end() == b""


def test_a_websocket_handshake_over_tls_that_comes_byte_by_byte(server_factory, topic):
    server = server_factory("--request-timeout", "400ms", tls=True)
    with connect(server.secure, server.secure.context("http/1.1")) as tls:
        trickle(tls.sendall, request_bytes("GET", f"/v1/events/{topic}", HANDSHAKE)[:60])
        answer = b""
        while data := tls.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 408 ") and b"request-timeout" in answer
    assert server.metric("herald_readers", transport="websocket", state="live") == 0


def test_a_tls_handshake_that_comes_byte_by_byte(server_factory):
    server = server_factory("--request-timeout", "400ms", tls=True)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 100
    with pytest.raises(Closed), RawConnection(Plain(server.secure)) as connection:
        trickle(connection.send, hello[:60])
        connection.read_until(b"never")
    assert server.metric("herald_tls_handshakes_total", version="none", outcome="timeout") == 1


class Plain:
    """The TLS port for a client that does not let a library shake hands for it."""

    trust = None

    def __init__(self, secure):
        self.host, self.port, self.url = secure.host, secure.port, f"http://{secure.host}:{secure.port}"
