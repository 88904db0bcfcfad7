"""Bad input over raw sockets. After each case the server answers the next good request."""

import base64
import json
import random

import pytest

from helpers import (
    HANDSHAKE,
    RawConnection,
    assert_problem,
    chunked,
    foreign_epoch,
    request_bytes,
    sequence,
)


@pytest.fixture(autouse=True)
def serves_on(server):
    """The next good request is answered, on a connection of its own."""
    yield
    with RawConnection(server) as connection:
        assert connection.exchange("GET", "/healthz").json() == {"status": "ok"}


def refuse(server, data, status, slug, *named):
    """Sends data and expects one problem and then the end of the connection."""
    with RawConnection(server) as connection:
        connection.try_send(data)
        response = connection.read_response()
        assert_problem(response, status, slug, *named)
        assert connection.read_to_end() == b"", "nothing follows a refusal that ends the connection"


def ask(server, method, target, headers=None, body=None):
    with RawConnection(server) as connection:
        response = connection.exchange(method, target, headers, body)
        assert connection.exchange("GET", "/healthz").status == 200, "the same connection goes on"
        return response


HOST = b"Host: x\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"GARBAGE",
        b"GET",
        b"GET /healthz",
        b"GET  /healthz HTTP/1.1",
        b"GET /healthz HTTP/1.1 more",
        b"GET healthz HTTP/1.1",
        b"GET /health z HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /healthz FTP/1.1",
        b"G@T /healthz HTTP/1.1",
        b"\x00\x00\x00\x00",
        random.Random(0).randbytes(64).replace(b"\n", b"").replace(b"\r", b""),
    ],
    ids=lambda line: None if line.isascii() and line.isalpha() else repr(line[:12]),
)
def test_a_malformed_request_line(server, line):
    with RawConnection(server) as connection:
        connection.try_send(line + b"\r\n" + HOST + b"\r\n")
        response = connection.read_response()
        # Random bytes may look like a method that is not known, or a version.
        slugs = {400: "bad-request", 501: "not-implemented", 505: "http-version"}
        assert_problem(response, response.status, slugs.get(response.status, "bad-request"))
        assert connection.read_to_end() == b""


def test_tls_on_the_plain_port_gets_an_alert(server):
    with RawConnection(server) as connection:
        connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(501))
        # RFC 8446 §6: an alert record, fatal, handshake_failure.
        assert connection.read_to_end() == b"\x15\x03\x03\x00\x02\x02\x28"


def test_an_unknown_version(server):
    refuse(server, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "http-version")


def test_an_http_2_preface_behind_a_request(server):
    with RawConnection(server) as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert connection.read_response().status == 200
        assert_problem(connection.read_response(), 505, "http-version", "HTTP/2")
        assert connection.read_to_end() == b""


@pytest.mark.parametrize(
    "lines",
    [
        b"Bad Name: x\r\n",
        b"Name : x\r\n",
        b": x\r\n",
        b"NoColon\r\n",
        b"X: a\x00b\r\n",
        b"X: a\x01b\r\n",
        b"X: a\r\n folded\r\n",
        b"X: a\nY: b\r\n",
        b"X: a\rY: b\r\n",
        b"X\x80: b\r\n",
        b"Host: y\r\n",
    ],
)
def test_a_malformed_header(server, lines):
    refuse(server, b"GET /healthz HTTP/1.1\r\n" + HOST + lines + b"\r\n", 400, "bad-request")


def test_no_host(server):
    refuse(server, b"GET /healthz HTTP/1.1\r\n\r\n", 400, "bad-request", "Host")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nx\r\n0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"1\r\nxx\r\n0\r\n\r\n",
        b"1\nx\n0\n\n",
        b"10000000000000000\r\n",
        b"ffffffffffffffff\r\nx",
        b"\r\n",
        b"0\r\nBad Trailer: x\r\n\r\n",
    ],
)
def test_a_malformed_chunk(server, topic, body):
    head = f"POST /v1/events/{topic} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with RawConnection(server) as connection:
        connection.try_send(head + body)
        response = connection.read_response()
        slug = {400: "bad-request", 413: "body-too-large"}[response.status]
        assert_problem(response, response.status, slug)
        assert connection.read_to_end() == b""
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404, "nothing was published"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 5x\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
    ],
)
def test_lengths_that_can_be_read_in_two_ways(server, topic, lines):
    smuggled = request_bytes("POST", f"/v1/events/{topic}", None, b"smuggled")
    head = f"POST /v1/events/{topic} HTTP/1.1\r\nHost: x\r\n".encode()
    with RawConnection(server) as connection:
        connection.try_send(head + lines + b"\r\n0\r\n\r\n" + smuggled)
        response = connection.read_response()
        slug = {400: "bad-request", 501: "not-implemented", 413: "body-too-large"}[response.status]
        assert_problem(response, response.status, slug)
        assert connection.read_to_end() == b""
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404, "nothing was published"


def test_a_length_of_an_http_1_0_chunked_body(server, topic):
    head = f"POST /v1/events/{topic} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with RawConnection(server) as connection:
        connection.try_send(head + chunked(b"x"))
        assert connection.read_response().status in (201, 400)
        assert connection.read_to_end() == b""


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("PUT", "/v1/events/a", {"GET", "POST"}),
        ("DELETE", "/v1/events", {"GET", "POST"}),
        ("POST", "/v1/topics/a", {"GET", "DELETE"}),
        ("DELETE", "/v1/topics", {"GET"}),
        ("POST", "/healthz", {"GET"}),
        ("PATCH", "/metrics", {"GET"}),
    ],
)
def test_a_method_that_is_not_allowed(server, method, target, allowed):
    response = ask(server, method, target, None, b"" if method in ("PUT", "POST", "PATCH") else None)
    assert_problem(response, 405, "method-not-allowed")
    assert allowed <= {each.strip() for each in response.headers["allow"].split(",")}


def test_an_unknown_method(server):
    with RawConnection(server) as connection:
        connection.request("FROBNICATE", "/healthz")
        response = connection.read_response()
        slugs = {405: "method-not-allowed", 501: "not-implemented", 400: "bad-request"}
        assert_problem(response, response.status, slugs[response.status])


@pytest.mark.parametrize("target", ["/nowhere", "/v1", "/v1/", "/v2/events/a", "/console.html", "/v1/eventsx/a", "//"])
def test_an_unknown_path(server, target):
    assert_problem(ask(server, "GET", target), 404, "not-found")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("a//b", ""),
        ("a/", ""),
        ("/a", ""),
        ("a/b%20c", "b"),
        ("a/b%C3%BC", ""),
        ("a/b+c", "b+c"),
        ("~a/b", "~a"),
        ("a/*", "*"),
        ("a/**", "**"),
        ("a/b*", "b*"),
        ("a/" + "x" * 129, ""),
        ("/".join("x" * 33), "32"),
        ("a/<script>", "script"),
    ],
)
def test_a_bad_topic_names_the_segment(server, name, named):
    response = ask(server, "POST", f"/v1/events/{name}", {"Content-Type": "text/plain"}, b"x")
    assert_problem(response, 400, "bad-topic", named)


@pytest.mark.parametrize("name", ["a/b%2", "a/b%zz", "a/b%00"])
def test_a_malformed_escape_is_no_path(server, name):
    assert_problem(ask(server, "GET", f"/v1/events/{name}"), 400, "bad-request", "escape")


@pytest.mark.parametrize("name", ["/".join("x" * 32), "a/" + "x" * 128, "/".join(["y" * 128] * 32)])
def test_a_topic_at_the_bound(server, name):
    assert ask(server, "POST", f"/v1/events/{name}", None, b"x").status == 201
    assert ask(server, "GET", f"/v1/topics/{name}").json()["topic"] == name


@pytest.mark.parametrize(
    "name", ["a/**/b", "**/a", "a*", "a/b**", "a//*", "*/" + "x" * 129, "/".join("*" * 33), "a/***"]
)
@pytest.mark.parametrize("where", ["path", "query"])
def test_a_bad_filter(server, name, where):
    target = f"/v1/events/{name}" if where == "path" else f"/v1/events/ok?topic={name}"
    assert_problem(ask(server, "GET", target), 400, "bad-filter")


@pytest.mark.parametrize("name", ["*", "**", "*/*", "a/*/b/**", "/".join("*" * 32), "~server/**", "@a/~b"])
def test_a_good_filter(server, name):
    assert ask(server, "GET", f"/v1/events/{name}").status == 200


def test_no_filter_at_all(server):
    assert_problem(ask(server, "GET", "/v1/events"), 400, ("bad-filter", "bad-parameter"))


CURSORS = ["", "x", "1", "-1", "5f3a9c1e", "5f3a9c1e-", "5F3A9C1E-1", "5f3a9c1e-01", "5f3a9c1e-1x", "5f3a9c1-1",
           "5f3a9c1e--1", "5f3a9c1e-18446744073709551616", "Earliest", "now", "5f3a9c1e-1-1"]


@pytest.mark.parametrize("cursor", CURSORS)
def test_an_unknown_cursor(server, cursor):
    assert_problem(ask(server, "GET", f"/v1/events/a?after={cursor}"), 400, "bad-cursor")
    if cursor:
        assert_problem(ask(server, "GET", "/v1/events/a", {"Last-Event-ID": cursor}), 400, "bad-cursor")
        stream = {"Accept": "text/event-stream"}
        assert_problem(ask(server, "GET", f"/v1/events/a?after={cursor}", stream), 400, "bad-cursor")
        assert_problem(ask(server, "GET", f"/v1/events/a?after={cursor}", HANDSHAKE), 400, "bad-cursor")


def test_a_cursor_beyond_the_head(server):
    head = server.head_cursor()
    beyond = f"{head.split('-')[0]}-{sequence(head) + 1000000}"
    assert_problem(ask(server, "GET", f"/v1/events/a?after={beyond}"), 400, "bad-cursor")
    assert ask(server, "GET", f"/v1/events/a?after={head}").status == 200


def test_a_cursor_of_another_epoch_is_reset_and_served(server, topic):
    published = server.publish(topic)["id"]
    page = ask(server, "GET", f"/v1/events/{topic}?after={foreign_epoch(published)}-18446744073709551615").json()
    assert page["resume"] == "reset"
    assert [event["id"] for event in page["events"]] == [published]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("colour=red", "colour"),
        ("Wait=1", "Wait"),
        ("wait=abc", "wait"),
        ("wait=-1", "wait"),
        ("wait=1.5", "wait"),
        ("wait=301", "300"),
        ("wait=", "wait"),
        ("wait=1&wait=2", "wait"),
        ("max=0", "max"),
        ("max=1001", "1000"),
        ("max=x", "max"),
        ("max=99999999999999999999", "max"),
        ("format=xml", "format"),
        ("after=earliest&after=latest", "after"),
        ("%zz=1", ""),
        ("=1", ""),
    ],
)
def test_a_bad_query_parameter_is_named(server, query, named):
    slugs = ("bad-parameter", "bad-cursor", "bad-request")
    assert_problem(ask(server, "GET", f"/v1/events/a?{query}"), 400, slugs, named)


def test_query_parameters_at_their_bounds(server, topic):
    server.publish(topic)
    assert len(ask(server, "GET", f"/v1/events/{topic}?wait=300&max=1").json()["events"]) == 1
    assert len(ask(server, "GET", f"/v1/events/{topic}?max=1000&wait=0").json()["events"]) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_parameter_is_refused_by_every_method(server, topic, method):
    body = b"x" if method == "POST" else None
    response = ask(server, method, f"/v1/events/{topic}?colour=red", None, body)
    assert_problem(response, 400, "bad-parameter", "colour")
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


@pytest.mark.parametrize("header", ["Herald-Type", "Idempotency-Key"])
def test_a_header_at_its_bound_and_one_past(server, topic, header):
    response = ask(server, "POST", f"/v1/events/{topic}", {header: "x" * 128}, b"x")
    assert response.status == 201
    response = ask(server, "POST", f"/v1/events/{topic}", {header: "x" * 129}, b"x")
    assert_problem(response, 400, "bad-header", header)


def test_a_type_of_the_servers_own_is_refused_at_every_door(server, topic):
    cloud = {"specversion": "1.0", "id": "1", "source": "/", "type": "herald.gap", "subject": topic, "data": 1}
    line = {"topic": topic, "type": "herald.gap", "data": 1}
    binary = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "herald.gap"}
    doors = [
        (f"/v1/events/{topic}", {"Herald-Type": "herald.gap"}, b"x", 400),
        (f"/v1/events/{topic}", binary, b"x", 400),
        ("/v1/events", {"Content-Type": "application/x-ndjson"}, json.dumps(line).encode(), 422),
        ("/v1/events", {"Content-Type": "application/json"}, json.dumps([line]).encode(), 422),
        ("/v1/events", {"Content-Type": "application/cloudevents+json"}, json.dumps(cloud).encode(), 422),
        ("/v1/events", {"Content-Type": "application/cloudevents-batch+json"}, json.dumps([cloud]).encode(), 422),
    ]
    for path, headers, body, status in doors:
        assert_problem(ask(server, "POST", path, headers, body), status, ("bad-header", "bad-event"), "herald.")
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404
    answer = server.client.post(f"/v1/events/{topic}", content=b"x", headers={"Herald-Type": "heralds.gap"})
    assert answer.status_code == 201


@pytest.mark.parametrize("value", ["two words", "t\tab", "ü", ""])
def test_a_bad_type_header(server, topic, value):
    with RawConnection(server) as connection:
        head = f"POST /v1/events/{topic} HTTP/1.1\r\nHost: x\r\nHerald-Type: {value}\r\nContent-Length: 1\r\n\r\nx"
        connection.send(head.encode("latin-1"))
        response = connection.read_response()
        assert_problem(response, 400, ("bad-header", "bad-request"))


def handshake(**changes):
    headers = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in headers.items() if value is not None}


@pytest.mark.parametrize(
    "headers",
    [
        handshake(Sec_WebSocket_Key=None),
        handshake(Sec_WebSocket_Key="short"),
        handshake(Sec_WebSocket_Key=base64.b64encode(bytes(15)).decode()),
        handshake(Sec_WebSocket_Key=base64.b64encode(bytes(17)).decode()),
        handshake(Sec_WebSocket_Key="!" * 22 + "=="),
        handshake(Sec_WebSocket_Version=None),
        handshake(Sec_WebSocket_Version="x"),
    ],
)
def test_a_bad_websocket_handshake(server, topic, headers):
    with RawConnection(server) as connection:
        connection.request("GET", f"/v1/events/{topic}", headers)
        response = connection.read_response()
        slug = {400: "bad-handshake", 426: "upgrade-required"}[response.status]
        assert_problem(response, response.status, slug)


def test_an_unknown_websocket_version_is_told_the_known_one(server, topic):
    for version in ("8", "12", "14"):
        response = ask(server, "GET", f"/v1/events/{topic}", handshake(Sec_WebSocket_Version=version))
        assert_problem(response, 426, "upgrade-required")
        assert response.headers["sec-websocket-version"] == "13"


def test_a_handshake_by_another_method_or_version(server, topic):
    with RawConnection(server) as connection:
        connection.request("POST", f"/v1/events/{topic}", handshake(), b"")
        assert connection.read_response().status in (201, 400, 405)
    with RawConnection(server) as connection:
        connection.request("GET", f"/v1/events/{topic}", handshake(), version="HTTP/1.0")
        assert connection.read_response().status in (200, 400, 426)


def test_an_upgrade_to_another_protocol_is_passed_over(server):
    response = ask(server, "GET", "/healthz", {"Upgrade": "h2c", "Connection": "Upgrade"})
    assert response.status == 200


def test_a_websocket_where_there_is_none(server):
    with RawConnection(server) as connection:
        connection.request("GET", "/healthz", handshake())
        assert connection.read_response().status in (200, 400, 404, 426)


def test_a_target_that_is_too_long(server):
    with RawConnection(server) as connection:
        connection.try_send(request_bytes("GET", "/v1/events/a?topic=" + "x" * (1 << 17)))
        response = connection.read_response()
        assert_problem(response, response.status, {414: "target-too-long", 431: "head-too-large"}[response.status])


def test_connections_that_leave_at_every_moment(server, topic):
    whole = request_bytes("POST", f"/v1/events/{topic}", {"Content-Type": "text/plain"}, b"body")
    for end in range(0, len(whole), 7):
        connection = RawConnection(server)
        connection.try_send(whole[:end])
        connection.reset()
    handshake_bytes = request_bytes("GET", f"/v1/events/{topic}", HANDSHAKE)
    for end in range(0, len(handshake_bytes) + 1, 13):
        connection = RawConnection(server)
        connection.try_send(handshake_bytes[:end])
        connection.reset()
