"""Requests over HTTP/2 that would be something else in HTTP/1.1's form: none is handled, and none becomes two."""

import json

import pytest

import frames as f
from frames import PROTOCOL_ERROR, Frames, data, frame, headers, literal, request
from helpers import Closed, EventStream

VICTIM = "smuggled/victim"


@pytest.fixture(scope="module")
def server(servers, authority, loopback_pair):
    started = servers.start("http2-smuggling", authority=authority, pairs=[loopback_pair])
    started.publish(VICTIM)
    yield started
    servers.stop(started)


@pytest.fixture(params=["plain", "tls"])
def side(server, request):
    return server.secure if request.param == "tls" else server


@pytest.fixture(autouse=True)
def nothing_is_smuggled(server):
    """No event gets onto the victim's topic but the one that is published there at the end."""
    with EventStream(server, f"/v1/events/{VICTIM}") as stream:
        stream.read_block()
        yield
        published = server.publish(VICTIM)["id"]
        assert stream.read_event()[1] == published


def pseudo(method="GET", path="/healthz", authority="herald.test", scheme="http", **others):
    named = {":method": method, ":scheme": scheme, ":path": path, ":authority": authority}
    named |= {f":{name}": value for name, value in others.items()}
    return [(name, value) for name, value in named.items() if value is not None]


SMUGGLED = f"POST /v1/events/{VICTIM} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"


def ask(side, fields, *more):
    """What becomes of the request: a status, or RST_STREAM's or GOAWAY's code as a negative number. The connection, if
    it was not ended, goes on."""
    with Frames(side) as connection:
        connection.send(headers(1, fields, ends=not more), *more)
        try:
            answer = connection.response(1)
            assert connection.ask(3, "GET", "/healthz").status == 200
        except Closed:
            return -connection.goaway.code
        return answer.status if answer.status else -answer.reset


MALFORMED = {
    "no method": pseudo(method=None),
    "no path": pseudo(path=None),
    "no scheme": pseudo(scheme=None),
    "empty path": pseudo(path=""),
    "two methods": [(":method", "GET"), *pseudo()],
    "two paths": [(":path", "/nowhere"), *pseudo()],
    "two authorities": [(":authority", "other.test"), *pseudo()],
    "an unknown pseudo-header": pseudo(unknown="x"),
    "a pseudo-header of answers": pseudo(status="200"),
    "a pseudo-header behind others": [*pseudo(authority=None), ("x", "y"), (":authority", "herald.test")],
    "a protocol without CONNECT": pseudo(protocol="websocket"),
    "an upper-case name": [*pseudo(), ("X-Upper", "y")],
    "an empty name": [*pseudo(), ("", "y")],
    "a space in a name": [*pseudo(), ("x y", "z")],
    "a colon in a name": [*pseudo(), ("x:y", "z")],
    "a line end in a name": [*pseudo(), ("x: y\r\nz", "z")],
    "a line end in a value": [*pseudo(), ("x", f"y\r\n\r\n{SMUGGLED}")],
    "a bare line feed in a value": [*pseudo(), ("x", "y\ntransfer-encoding: chunked")],
    "a bare carriage return in a value": [*pseudo(), ("x", "y\rz")],
    "a NUL in a value": [*pseudo(), ("x", "y\0z")],
    "a NUL in a name": [*pseudo(), ("x\0", "z")],
    "space before a value": [*pseudo(), ("x", " y")],
    "space behind a value": [*pseudo(), ("x", "y ")],
    "connection": [*pseudo(), ("connection", "close")],
    "keep-alive": [*pseudo(), ("keep-alive", "timeout=5")],
    "proxy-connection": [*pseudo(), ("proxy-connection", "close")],
    "upgrade": [*pseudo(), ("connection", "upgrade"), ("upgrade", "websocket")],
    "transfer-encoding": [*pseudo(method="POST"), ("transfer-encoding", "chunked")],
    "te": [*pseudo(), ("te", "gzip")],
    "two hosts": [*pseudo(authority=None), ("host", "a.test"), ("host", "b.test")],
    "two cursors": [*pseudo(), ("last-event-id", "earliest"), ("last-event-id", "latest")],
    "two lengths": [*pseudo(), ("content-length", "0"), ("content-length", "1")],
    "a length that is none": [*pseudo(), ("content-length", "1x")],
    "a negative length": [*pseudo(), ("content-length", "-1")],
    "a length without a body": [*pseudo(), ("content-length", "5")],
    "a space in the method": pseudo(method="GET /x HTTP/1.1\r\nHost: y\r\n\r\nGET"),
    "a space at the method's end": pseudo(method="GET "),
    "a NUL in the method": pseudo(method="G\0T"),
    "a line end in the path": pseudo(path=f"/healthz HTTP/1.1\r\nHost: x\r\n\r\n{SMUGGLED}"),
    "a space in the path": pseudo(path="/healthz HTTP/1.1"),
    "a NUL in the path": pseudo(path="/healthz\0"),
    "a path that is none": pseudo(path="healthz"),
    "a line end in the authority": pseudo(authority=f"x\r\n\r\n{SMUGGLED}"),
    "a space in the authority": pseudo(authority="x y"),
    "a slash in the authority": pseudo(authority="x/y"),
    "a line end in the scheme": pseudo(scheme="http\r\nx: y"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request(side, case):
    """RFC 9113 §8.1.1: a stream error PROTOCOL_ERROR, or 400."""
    assert ask(side, MALFORMED[case]) in (-PROTOCOL_ERROR, 400, 501), case


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("herald.test", 200),
        ("herald.test:8080", 200),
        ("[::1]:8080", 200),
        (None, 400),
        ("", 400),
        ("user@herald.test", 400),
        ("user:password@herald.test:80", 400),
    ],
)
def test_authorities(side, named, expected):
    assert ask(side, pseudo(authority=named)) in (expected, -PROTOCOL_ERROR if expected == 400 else expected)


def test_the_authority_stands_for_the_host(side):
    assert ask(side, [*pseudo(authority=None), ("host", "herald.test")]) == 200
    assert ask(side, [*pseudo(), ("host", "herald.test")]) == 200


@pytest.mark.parametrize(
    "path", ["/healthz#x", "http://other.test/healthz", "//healthz", "*", "/%00", "/\x7f", "/\xff"]
)
def test_paths_that_are_no_resource(side, path):
    assert ask(side, pseudo(path=path)) in (-PROTOCOL_ERROR, 400, 404)


@pytest.mark.parametrize("path", ["http://other.test/healthz", "healthz", "GET", "x y", "/healthz HTTP/1.1\r\nx: y"])
def test_paths_of_another_scheme(side, path):
    """nghttp2 judges only those of http and https."""
    assert ask(side, pseudo(path=path, scheme="ftp")) in (-PROTOCOL_ERROR, 400, 404, 200)


def test_connect_without_a_protocol(side):
    assert ask(side, [(":method", "CONNECT"), (":authority", "other.test:443")]) in (-PROTOCOL_ERROR, 501, 405, 400)


# Lengths.


@pytest.mark.parametrize(
    ("length", "parts"),
    [
        ("1", [b"xx"]),
        ("10", [b"x"]),
        ("10", [b"x", b"y"]),
        ("5", [b"", b"0\r\n\r\n" + SMUGGLED.encode()]),
    ],
)
def test_a_length_that_is_not_the_body_s(server, side, topic, length, parts):
    fields = [*pseudo(method="POST", path=f"/v1/events/{topic}"), ("content-length", length)]
    body = [data(1, part, ends=at == len(parts)) for at, part in enumerate(parts, 1)]
    assert ask(side, fields, *body) == -PROTOCOL_ERROR
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404, "nothing was published"


@pytest.mark.parametrize(("length", "body"), [("0", ""), ("1", "x")])
def test_more_than_the_length_behind_a_body_that_is_whole(server, side, topic, length, body):
    """A body is whole at its length, and may have been handled when the excess comes, which is nothing."""
    fields = [*pseudo(method="POST", path=f"/v1/events/{topic}"), ("content-length", length)]
    fields.append(("content-type", "text/plain"))
    assert ask(side, fields, data(1, body.encode()), data(1, SMUGGLED.encode(), ends=True)) in (-PROTOCOL_ERROR, 201)
    events = server.client.get(f"/v1/events/{topic}").json()["events"]
    assert [each["data"] for each in events] in ([body], [])


@pytest.mark.parametrize(
    "body", [b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n" + SMUGGLED.encode(), b"\r\n" * 20]
)
@pytest.mark.parametrize("with_length", [True, False])
def test_a_body_that_looks_like_framing_is_a_body(server, side, topic, body, with_length):
    fields = [*pseudo(method="POST", path=f"/v1/events/{topic}"), ("content-type", "text/plain")]
    fields += [("content-length", str(len(body)))] if with_length else []
    assert ask(side, fields, data(1, body, ends=True)) == 201
    events = server.client.get(f"/v1/events/{topic}").json()["events"]
    assert [each["data"] for each in events] == [body.decode()]


def test_a_request_behind_the_body(server, side, topic):
    """What follows the end of a stream is no second request."""
    fields = [*pseudo(method="POST", path=f"/v1/events/{topic}"), ("content-length", "1")]
    with Frames(side) as connection:
        connection.send(headers(1, fields, ends=False), data(1, b"x", ends=True), data(1, SMUGGLED.encode(), ends=True))
        try:
            connection.response(1)
            connection.sync(b"is alive")
        except Closed:
            pass
    assert len(server.client.get(f"/v1/events/{topic}").json()["events"]) == 1


def test_trailers_are_no_headers(server, side, topic):
    fields = pseudo(method="POST", path=f"/v1/events/{topic}")
    with Frames(side) as connection:
        trailers = f.block([("content-length", "100"), ("herald-type", "evil"), ("x", "y")])
        connection.send(headers(1, fields, ends=False), data(1, b"x"), headers(1, trailers))
        answer = connection.response(1)
        assert answer.status == 201 or answer.reset == PROTOCOL_ERROR
        for bad in ([(":path", "/v1/topics")], [("transfer-encoding", "chunked")], [("X-Upper", "x")]):
            connection.send(headers(3, fields, ends=False), data(3, b"y"), headers(3, f.block(bad)))
            assert connection.response(3).reset == PROTOCOL_ERROR
            break
        connection.send(headers(5, fields, ends=False), data(5, b"z"), headers(5, f.block([("x", "y")]), ends=False))
        assert connection.response(5).reset == PROTOCOL_ERROR
    page = server.client.get(f"/v1/events/{topic}").json()
    assert [each.get("type") for each in page["events"]] in ([None], [])


def test_fields_in_every_encoding_of_hpack_are_judged_alike(side):
    """A bad value that comes by the dynamic table is as bad."""
    bad = literal("x-bad", "a\r\nb", indexed=True)
    good = f.block(pseudo())
    with Frames(side) as connection:
        connection.send(headers(1, good + bad), headers(3, good + f.indexed(62)))
        assert connection.response(1).reset == PROTOCOL_ERROR
        assert connection.response(3).reset == PROTOCOL_ERROR
        connection.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 5, good + b"\x10" + bad[1:]))
        assert connection.response(5).reset == PROTOCOL_ERROR
        assert connection.ask(7, "GET", "/healthz").status == 200


def test_a_websocket_s_stream_is_no_http(server, side, topic):
    """What is sent on a tunnel is frames of a WebSocket, whatever it looks like."""
    fields = [*pseudo("CONNECT", f"/v1/events/{topic}", protocol="websocket"), ("sec-websocket-version", "13")]
    with Frames(side) as connection:
        connection.send(headers(1, fields, ends=False), data(1, SMUGGLED.encode()))
        connection.until(lambda: 1 in connection.streams and connection.streams[1].is_over)
        assert connection.streams[1].status == 200
        connection.sync(b"is alive")
        for extra in ("content-length", "transfer-encoding"):
            stream = 3 if extra == "content-length" else 5
            connection.send(headers(stream, [*fields, (extra, "chunked" if stream == 5 else "10")], ends=False))
        assert connection.response(5).reset == PROTOCOL_ERROR
        connection.sync(b"is alive")
    assert json.loads(server.client.get("/healthz").text) == {"status": "ok"}


def test_a_list_of_headers_is_in_order(server, side, topic):
    """Names repeated over and over stay one request."""
    fields = request("POST", f"/v1/events/{topic}", *[("x-many", str(number)) for number in range(50)])
    assert ask(side, fields, data(1, b"x", ends=True)) == 201
    assert len(server.client.get(f"/v1/events/{topic}").json()["events"]) == 1
