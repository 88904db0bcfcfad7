"""Malformed requests of every kind, from tables and from a seed, against a server that logs all that it can.

Each gets one clear problem, or an end of the connection where nothing can be answered. A reader of everything sees that
none was published; no answer has a header that came out of a request; the log stays one line an event; and at the end
no connection is left.
"""

import json
import os
import random
import re
import urllib.parse

import pytest

from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    TEXT,
    Closed,
    EventStream,
    RawConnection,
    RawWebSocket,
    assert_problem,
    eventually,
    frame,
    request_bytes,
    unique_topic,
)

SEED = int(os.environ.get("HERALD_FAULT_SEED", "20260102"))
VICTIM, SENTINEL = "malformed/victim", "malformed/sentinel"
# What forged headers, log lines and events would show.
MARK = "forged7f3a"
FORMATS = ("text", "json")
TEXT_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (trace|debug|info|notice|warning|error|critical) ")


class Guarded:
    """A server, and a reader of all that is published to it."""

    def __init__(self, server):
        self.server = server
        self.stream = EventStream(server, "/v1/events/**")
        self.stream.read_block()

    def check(self):
        """The server goes on, and nothing was published since the last check."""
        published = self.server.publish(SENTINEL)["id"]
        others = []
        while (event := self.stream.read_event())[1] != published:
            others.append(event)
        assert not others, "something was published"


@pytest.fixture(scope="module", params=FORMATS)
def guarded(request, servers):
    """Both log formats at the lowest level; no connection is left at the end, and no line was forged."""
    server = servers.start(
        f"malformed-{request.param}", "--log-level", "trace", "--log-format", request.param,
        "--request-timeout", "500ms", "--max-body", "64KiB", "--max-message", "64KiB",
    )  # fmt: skip
    before = server.metric("herald_connections")
    guarded = Guarded(server)
    yield guarded
    guarded.stream.close()
    eventually(lambda: server.metric("herald_connections") <= before, "no connection is left")
    made = {each["topic"] for each in server.client.get("/v1/topics").json()["topics"]}
    assert made <= {SENTINEL, VICTIM}, "a malformed request made a topic"
    assert_log_is_whole(server, request.param)
    servers.stop(server)


def assert_log_is_whole(server, form):
    raw = server.log_path.read_bytes()
    assert raw.endswith(b"\n")
    for line in raw[:-1].split(b"\n"):
        text = line.decode("utf-8")
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text), repr(text)
        if form == "json":
            assert {"time", "level", "message"} <= set(json.loads(text)), text
        else:
            assert TEXT_LINE.match(text), text


@pytest.fixture(autouse=True)
def goes_on(guarded):
    yield
    guarded.check()


def read_answer(connection):
    """An answer, or None if the server only closed; no byte of its head is from a request."""
    try:
        head = connection.read_until(b"\r\n\r\n")
    except Closed:
        assert not connection.buffer, connection.buffer
        return None
    assert MARK.encode() not in head.lower(), head
    assert not re.search(rb"[^\r]\n|\r[^\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", head), head
    connection.buffer = head + connection.buffer
    return connection.read_response()


def refuse(guarded, data, may_close=False):
    """Sends data; gives the problem's status, or 0 for an end without a word. What follows it on the connection is
    nothing, or the answer to the next good request."""
    with RawConnection(guarded.server) as connection:
        connection.try_send(data)
        answer = read_answer(connection)
        if answer is None:
            assert may_close, "the end came without an answer"
            return 0
        assert 400 <= answer.status < 600, (answer.status, answer.headers, answer.body[:300])
        assert_problem(answer, answer.status, json.loads(answer.body)["type"].removeprefix("/problems/"))
        connection.try_send(request_bytes("GET", "/healthz", {"Connection": "close"}))
        following = read_answer(connection)
        if following is not None:
            assert (following.status, following.json()) == (200, {"status": "ok"}), "a second answer to one request"
            assert read_answer(connection) is None
        return answer.status


def each(guarded, data, *statuses):
    """One of many cases of a test: refused with one of the statuses, if any are given."""
    try:
        status = refuse(guarded, data)
        guarded.check()
        assert not statuses or status in statuses, status
    except (AssertionError, Closed) as error:
        raise AssertionError(f"{data[:2000]!r}: {error}") from error


# Heads.

BODY = json.dumps({"mark": MARK}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
POST = f"POST /v1/events/{VICTIM} HTTP/1.1\r\nContent-Type: text/plain\r\n".encode()
HOST = b"Host: x\r\n"
GOOD = POST + HOST + LENGTH + b"\r\n" + BODY


def head(*lines, line=POST, body=BODY):
    return line + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


def posted(line):
    """A publish whose request line is this."""
    return line + b"\r\n" + HOST + LENGTH + b"\r\n" + BODY


def targeted(target, method="POST"):
    return posted(method.encode() + b" " + (target if isinstance(target, bytes) else target.encode()) + b" HTTP/1.1")


REQUEST_LINES = {
    "HTTP/0.9": b"GET /v1/events/malformed\r\n",
    "HTTP/0.9 with a version": posted(b"POST /v1/events/malformed/victim HTTP/0.9"),
    "HTTP/1.2": posted(b"POST /v1/events/malformed/victim HTTP/1.2"),
    "HTTP/1.10": posted(b"POST /v1/events/malformed/victim HTTP/1.10"),
    "HTTP/1": posted(b"POST /v1/events/malformed/victim HTTP/1"),
    "HTTP/1.": posted(b"POST /v1/events/malformed/victim HTTP/1."),
    "HTTP/2.0": posted(b"POST /v1/events/malformed/victim HTTP/2.0"),
    "HTTP/3.0": posted(b"POST /v1/events/malformed/victim HTTP/3.0"),
    "HTTP/11": posted(b"POST /v1/events/malformed/victim HTTP/11"),
    "HTTP/-1.1": posted(b"POST /v1/events/malformed/victim HTTP/-1.1"),
    "http/1.1": posted(b"POST /v1/events/malformed/victim http/1.1"),
    "HTTPS/1.1": posted(b"POST /v1/events/malformed/victim HTTPS/1.1"),
    "HTTP 1.1": posted(b"POST /v1/events/malformed/victim HTTP 1.1"),
    "ICE/1.0": posted(b"SOURCE /v1/events/malformed/victim ICE/1.0"),
    "RTSP/1.0": posted(b"DESCRIBE /v1/events/malformed/victim RTSP/1.0"),
    "a version and more": posted(b"POST /v1/events/malformed/victim HTTP/1.1 x"),
    "a version and a space": posted(b"POST /v1/events/malformed/victim HTTP/1.1 "),
    "two spaces": posted(b"POST  /v1/events/malformed/victim HTTP/1.1"),
    "two spaces before the version": posted(b"POST /v1/events/malformed/victim  HTTP/1.1"),
    "a tab": posted(b"POST\t/v1/events/malformed/victim\tHTTP/1.1"),
    "a leading space": b" " + GOOD,
    "a leading tab": b"\t" + GOOD,
    "a leading NUL": b"\0" + GOOD,
    "a leading byte order mark": b"\xef\xbb\xbf" + GOOD,
    "no method": posted(b"/v1/events/malformed/victim HTTP/1.1"),
    "no target": posted(b"POST HTTP/1.1"),
    "a method in lower case": posted(b"post /v1/events/malformed/victim HTTP/1.1"),
    "a method with a NUL": posted(b"PO\0ST /v1/events/malformed/victim HTTP/1.1"),
    "a method with a colon": posted(b"POST: /v1/events/malformed/victim HTTP/1.1"),
    "a method with an escape": posted(b"P%4fST /v1/events/malformed/victim HTTP/1.1"),
    "a long method": posted(b"P" * 5000 + b" /v1/events/malformed/victim HTTP/1.1"),
    "a method longer than a head": posted(b"P" * 70000 + b" /v1/events/malformed/victim HTTP/1.1"),
    "a method of UTF-8": posted("PÖST /v1/events/malformed/victim HTTP/1.1".encode()),
    "a known method of others": targeted(f"/v1/events/{VICTIM}", "PROPFIND"),
    "TRACE": targeted(f"/v1/events/{VICTIM}", "TRACE"),
    "CONNECT with a path": targeted(f"/v1/events/{VICTIM}", "CONNECT"),
    "CONNECT with an authority": targeted("herald.test:443", "CONNECT"),
    "CONNECT with nothing": targeted("", "CONNECT"),
    "an authority": targeted("herald.test:80"),
    "an asterisk": targeted("*"),
    "a path without a slash": targeted(f"v1/events/{VICTIM}"),
    "a fragment": targeted(f"/v1/events/{VICTIM}/{{}}#x"),
    "a backslash": targeted("/v1\\events\\malformed\\victim"),
    "a NUL in the target": targeted(b"/v1/events/malformed/victim\0"),
    "a DEL in the target": targeted(b"/v1/events/malformed/victim\x7f"),
    "a carriage return in the target": targeted(b"/v1/events/malformed/victim\rx"),
    "a line feed in the target": targeted(b"/v1/events/malformed/victim\nx"),
    "UTF-8 in the target": targeted("/v1/events/malformed/ü"),
    "overlong UTF-8 in the target": targeted(b"/v1/events/malformed/\xc0\xaf"),
    "escaped overlong UTF-8": targeted("/v1/events/malformed/%c0%af"),
    "an escaped slash's overlong form": targeted("/v1/events/malformed%c0%afvictim"),
    "an escaped surrogate": targeted("/v1/events/malformed/%ed%a0%80"),
    "escaped bytes that are no UTF-8": targeted("/v1/events/malformed/%ff%fe"),
    "an escaped NUL": targeted("/v1/events/malformed/vic%00tim"),
    "an escaped line end": targeted(f"/v1/events/malformed/x%0d%0aX-{MARK}:%20y"),
    "an escaped escape": targeted("/v1/events/malformed/%2525"),
    "an escape sequence of terminals": targeted("/v1/events/malformed/%1b%5b31m"),
    "half an escape": targeted("/v1/events/malformed/victim%"),
    "half an escape and a digit": targeted("/v1/events/malformed/victim%2"),
    "an escape that is none": targeted("/v1/events/malformed/%zz"),
    "an escape of another form": targeted("/v1/events/malformed/%u0041"),
    "an escape with a sign": targeted("/v1/events/malformed/%+1"),
    "dots": targeted("/v1/events/../../etc/passwd?x=1"),
    "escaped dots": targeted("/v1/%2e%2e/%2e%2e/etc/passwd"),
    "nothing of a topic": targeted("/v1/events/"),
    "slashes": targeted("/v1/events////"),
    "a topic of the server's own": targeted("/v1/events/~herald/x"),
    "a topic of wildcards": targeted("/v1/events/malformed/**"),
    "a topic too long": targeted("/v1/events/" + "x" * 129),
    "a topic too deep": targeted("/v1/events/" + "/".join("x" * 33)),
    "a query that is not known": targeted(f"/v1/events/{VICTIM}?{MARK}=1"),
    "a query that is broken": targeted(f"/v1/events/{VICTIM}?%"),
    "a host of another in the target": targeted(f"http://a b/v1/events/{VICTIM}"),
    "a scheme that is not known": targeted(f"gopher://x/v1/events/{VICTIM}"),
    "a scheme without a host": targeted("http://"),
    "a preface of HTTP/2 that is cut": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "a line without end": b"A" * 100_000,
    "spaces without end": b" " * 100_000,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SMTP": b"EHLO malformed.test\r\n\r\n",
    "a PROXY line": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GOOD,
    "a PROXY head of version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + GOOD,
}


@pytest.mark.parametrize("name", REQUEST_LINES)
def test_a_request_line(guarded, name):
    refuse(guarded, REQUEST_LINES[name])


HEADERS = {
    "no Host": head(LENGTH[:-2]),
    "two Hosts": head(b"Host: x", b"Host: y", LENGTH[:-2]),
    "the same Host twice": head(b"Host: x", b"Host: x", LENGTH[:-2]),
    "a Host with a space": head(b"Host: x y", LENGTH[:-2]),
    "a Host with a path": head(b"Host: x/y", LENGTH[:-2]),
    "a Host with a user": head(b"Host: user@x", LENGTH[:-2]),
    "a Host with a comma": head(b"Host: x, y", LENGTH[:-2]),
    "two lengths": head(b"Host: x", LENGTH[:-2], b"Content-Length: 1"),
    "two lengths, the shorter first": head(b"Host: x", b"Content-Length: 1", LENGTH[:-2]),
    "the same length twice": head(b"Host: x", LENGTH[:-2], LENGTH[:-2]),
    "a list of the same length": head(b"Host: x", b"Content-Length: 5, 5"),
    "a length with a sign": head(b"Host: x", b"Content-Length: +22"),
    "a negative length": head(b"Host: x", b"Content-Length: -22"),
    "a length of hexadecimal digits": head(b"Host: x", b"Content-Length: 0x16"),
    "a length with a point": head(b"Host: x", b"Content-Length: 22.0"),
    "a length with an exponent": head(b"Host: x", b"Content-Length: 2e1"),
    "a length with a space within": head(b"Host: x", b"Content-Length: 2 2"),
    "a length with an underscore": head(b"Host: x", b"Content-Length: 2_2"),
    "a length of other digits": head(b"Host: x", "Content-Length: ٢٢".encode()),
    "a length that overflows 64 bits": head(b"Host: x", b"Content-Length: 18446744073709551638"),
    "a length of a hundred digits": head(b"Host: x", b"Content-Length: " + b"9" * 100),
    "an empty length": head(b"Host: x", b"Content-Length:"),
    "a length above the bound": head(b"Host: x", b"Content-Length: 65537", body=b""),
    "a length and chunks": head(b"Host: x", LENGTH[:-2], b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks and a length": head(b"Host: x", b"Transfer-Encoding: chunked", LENGTH[:-2], body=b"0\r\n\r\n"),
    "chunks twice": head(b"Host: x", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks, then identity": head(b"Host: x", b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "identity": head(b"Host: x", b"Transfer-Encoding: identity", LENGTH[:-2]),
    "gzip and chunks": head(b"Host: x", b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks with a parameter": head(b"Host: x", b"Transfer-Encoding: chunked;x=y", body=b"0\r\n\r\n"),
    "chunks in quotes": head(b"Host: x", b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "chunks with a vertical tab": head(b"Host: x", b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "chunks with a NUL": head(b"Host: x", b"Transfer-Encoding: chunked\0", body=b"0\r\n\r\n"),
    "a space before the colon of chunks": head(b"Host: x", b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a folded encoding": head(b"Host: x", b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
    "a folded line": head(b"Host: x", b"X: a\r\n b", LENGTH[:-2]),
    "a folded line of a tab": head(b"Host: x", b"X: a\r\n\tb", LENGTH[:-2]),
    "a first line that is folded": head(b" Host: x", LENGTH[:-2]),
    "a bare line feed": head(b"Host: x", b"X: a\nX-%s: b" % MARK.encode(), LENGTH[:-2]),
    "a bare carriage return": head(b"Host: x", b"X: a\rX-%s: b" % MARK.encode(), LENGTH[:-2]),
    "two carriage returns": head(b"Host: x", b"X: a\r", LENGTH[:-2]),
    "all line ends bare": GOOD.replace(b"\r\n", b"\n"),
    "all line ends carriage returns": GOOD.replace(b"\r\n", b"\r"),
    "no colon": head(b"Host: x", b"X", LENGTH[:-2]),
    "no name": head(b"Host: x", b": x", LENGTH[:-2]),
    "a space in a name": head(b"Host: x", b"X Y: x", LENGTH[:-2]),
    "a space behind a name": head(b"Host: x", b"X : x", LENGTH[:-2]),
    "a slash in a name": head(b"Host: x", b"X/Y: x", LENGTH[:-2]),
    "brackets in a name": head(b"Host: x", b"X[Y]: x", LENGTH[:-2]),
    "UTF-8 in a name": head(b"Host: x", "Ü: x".encode(), LENGTH[:-2]),
    "a NUL in a name": head(b"Host: x", b"X\0: x", LENGTH[:-2]),
    "a NUL in a value": head(b"Host: x", b"X: a\0b", LENGTH[:-2]),
    "an escape sequence in a value": head(b"Host: x", b"User-Agent: \x1b[31m%s" % MARK.encode(), LENGTH[:-2]),
    "a backspace in a value": head(b"Host: x", b"User-Agent: a\x08b", LENGTH[:-2]),
    "a name too long": head(b"Host: x", b"X" * 20_000 + b": x", LENGTH[:-2]),
    "a value too long": head(b"Host: x", b"X: " + b"x" * 20_000, LENGTH[:-2]),
    "too many headers": head(b"Host: x", *[b"X: y"] * 5000, LENGTH[:-2]),
    "a head without end": POST + HOST + b"X: y\r\n" * 20_000,
    "a type with a space": head(b"Host: x", b"Herald-Type: a b", LENGTH[:-2]),
    "a type of the server's own": head(b"Host: x", b"Herald-Type: herald.gap", LENGTH[:-2]),
    "a type too long": head(b"Host: x", b"Herald-Type: " + b"x" * 129, LENGTH[:-2]),
    "two types": head(b"Host: x", b"Herald-Type: a", b"Herald-Type: b", LENGTH[:-2]),
    "a key too long": head(b"Host: x", b"Idempotency-Key: " + b"x" * 129, LENGTH[:-2]),
    "an empty key": head(b"Host: x", b"Idempotency-Key:", LENGTH[:-2]),
    "two content types": head(b"Host: x", b"Content-Type: application/json", LENGTH[:-2]),
    "two cursors": head(b"Host: x", b"Last-Event-ID: earliest", b"Last-Event-ID: latest", LENGTH[:-2]),
    "two keys": head(b"Host: x", b"Idempotency-Key: a", b"Idempotency-Key: b", LENGTH[:-2]),
    "a cloud event without an id": head(
        b"Host: x", b"ce-specversion: 1.0", b"ce-type: x", b"ce-source: /", LENGTH[:-2]
    ),
    "a cloud event of another version": head(
        b"Host: x", b"ce-specversion: 0.3", b"ce-type: x", b"ce-source: /", b"ce-id: 1", LENGTH[:-2]
    ),
    "a body cut short": head(b"Host: x", b"Content-Length: 1000"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers(guarded, name):
    refuse(guarded, HEADERS[name])


CHUNKED = head(b"Host: x", b"Transfer-Encoding: chunked", body=b"")
CHUNKS = {
    "no number": b"\r\nx\r\n0\r\n\r\n",
    "no digits": b"zz\r\nx\r\n0\r\n\r\n",
    "a sign": b"+1\r\nx\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nx\r\n0\r\n\r\n",
    "a prefix": b"0x1\r\nx\r\n0\r\n\r\n",
    "a leading space": b" 1\r\nx\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "more than the size": b"1\r\nxyz\r\n0\r\n\r\n",
    "less than the size": b"5\r\nx\r\n0\r\n\r\n",
    "a size of 2^64": b"10000000000000000\r\nx\r\n0\r\n\r\n",
    "a size of 2^64 - 1": b"ffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "a size of 2^63": b"8000000000000000\r\nx\r\n0\r\n\r\n",
    "a size of 2^32": b"100000000\r\nx\r\n0\r\n\r\n",
    "a size above the bound": b"10001\r\n",
    "zeros without end": b"0" * 100_000,
    "line feeds alone": b"1\nx\n0\n\n",
    "a line feed behind the size": b"1\nx\r\n0\r\n\r\n",
    "a carriage return behind the size": b"1\rx\r\n0\r\n\r\n",
    "a line feed behind the chunk": b"1\r\nx\n0\r\n\r\n",
    "a NUL in an extension": b"1;\0\r\nx\r\n0\r\n\r\n",
    "a line feed in an extension": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "a carriage return in an extension": b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "an extension without end": b"1;" + b"x" * 100_000,
    "extensions that add up": b"".join(b"1;%s\r\nx\r\n" % (b"x" * 1000) for _ in range(200)) + b"0\r\n\r\n",
    "a trailer without a colon": b"1\r\nx\r\n0\r\nbad\r\n\r\n",
    "a trailer with a space": b"1\r\nx\r\n0\r\nBad Trailer: x\r\n\r\n",
    "a trailer with a NUL": b"1\r\nx\r\n0\r\nX: \0\r\n\r\n",
    "a trailer that is folded": b"1\r\nx\r\n0\r\nX: a\r\n b\r\n\r\n",
    "a trailer without end": b"1\r\nx\r\n0\r\n" + b"X: y\r\n" * 20_000,
    "chunks that add up to too much": b"1000\r\n" + b"x" * 4096 + b"\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 17,
    "no last chunk": b"1\r\nx\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks(guarded, name):
    refuse(guarded, CHUNKED + CHUNKS[name])


def controls_inserted(count):
    """The good request with a control character, that no head may have, at a place of its head."""
    chance = random.Random(f"{SEED}/controls")
    end = GOOD.index(b"\r\n\r\n")
    for _ in range(count):
        at, control = chance.randrange(1, end), chance.choice(b"\x00\x01\x02\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f")
        yield GOOD[:at] + bytes([control]) + GOOD[at:]


def test_a_control_character_in_a_head(guarded):
    for data in controls_inserted(100):
        each(guarded, data)


def test_the_good_request_is_good(guarded):
    """What the others differ from is taken."""
    with RawConnection(guarded.server) as connection:
        connection.send(GOOD)
        assert connection.read_response().status == 201
    assert json.loads(json.loads(guarded.stream.read_event()[2])["data"]) == {"mark": MARK}
    assert guarded.server.client.delete(f"/v1/topics/{VICTIM}").is_success


# Upgrades.


def upgrade(body=b"", **changes):
    headers = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changes.items()}}
    headers = {name: value for name, value in headers.items() if value is not None}
    return request_bytes("GET", f"/v1/events/{VICTIM}", headers, body or None)


UPGRADES = {
    "no key": upgrade(Sec_WebSocket_Key=None),
    "an empty key": upgrade(Sec_WebSocket_Key=""),
    "a short key": upgrade(Sec_WebSocket_Key="AAAA"),
    "a long key": upgrade(Sec_WebSocket_Key="A" * 200 + "=="),
    "a key that is no base64": upgrade(Sec_WebSocket_Key="!" * 22 + "=="),
    "a key without its end": upgrade(Sec_WebSocket_Key="AAECAwQFBgcICQoLDA0ODw"),
    "no version": upgrade(Sec_WebSocket_Version=None),
    "version 8": upgrade(Sec_WebSocket_Version="8"),
    "version 14": upgrade(Sec_WebSocket_Version="14"),
    "version 013": upgrade(Sec_WebSocket_Version="013"),
    "a negative version": upgrade(Sec_WebSocket_Version="-13"),
    "a version that overflows": upgrade(Sec_WebSocket_Version="4294967309"),
    "a protocol with a line end": upgrade(Sec_WebSocket_Protocol=f"herald.v1\r\n folded-{MARK}"),
    "a protocol with a NUL": upgrade(Sec_WebSocket_Protocol="herald.v1\0"),
    "an extension that is broken": upgrade(Sec_WebSocket_Extensions="permessage-deflate; =;"),
    "an extension with an open quote": upgrade(Sec_WebSocket_Extensions='permessage-deflate; a="'),
    "a cursor that is none": request_bytes("GET", f"/v1/events/{VICTIM}?after=never", HANDSHAKE),
    "a filter that is none": request_bytes("GET", "/v1/events/a//b", HANDSHAKE),
    "a query that is none": request_bytes("GET", f"/v1/events/{VICTIM}?colour=red", HANDSHAKE),
}


@pytest.mark.parametrize("name", UPGRADES)
def test_an_upgrade(guarded, name):
    refuse(guarded, UPGRADES[name])


def test_an_upgrade_with_a_body(guarded):
    """The body is no frame and no request: the upgrade is refused, or the body is the request's."""
    with RawConnection(guarded.server) as connection:
        connection.send(upgrade(GOOD))
        answer = connection.read_response()
        assert answer.status in (101, 400, 413), answer
        if answer.status == 101:
            connection.try_send(frame(CLOSE, (1000).to_bytes(2, "big")))
            assert b"HTTP/1.1" not in connection.read_to_end()


# Queries and cursors.

CURSORS = [
    "", " ", "0", "-1", "x", "null", "earliest ", " earliest", "EARLIEST", "latest\0", "earliest,latest", "5f3a9c1e",
    "5f3a9c1e-", "-5", "5F3A9C1E-1", "5f3a9c1e-01", "5f3a9c1e-+1", "5f3a9c1e- 1", "5f3a9c1e-1 ", "5f3a9c1e-0x1",
    "5f3a9c1e-1.0", "5f3a9c1e-1e3", "5f3a9c1e--1", "5f3a9c1e-1-1", "5f3a9c1-1", "5f3a9c1ee-1", "5f3a9c1g-1",
    "5f3a9c1e_1", "5f3a9c1e–1", "5f3a9c1e-18446744073709551616", "5f3a9c1e-" + "9" * 1000, "5f3a9c1e-١", "../..", "%",
    "5f3a9c1e-1\r\nX: y", "5f3a9c1e-1\x1b[31m", "<script>", "\ud7ff", "🚀",
]  # fmt: skip


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/x-ndjson"])
def test_cursors(guarded, accept):
    for cursor in CURSORS:
        target = f"/v1/events/{VICTIM}?after={urllib.parse.quote(cursor, safe='')}"
        each(guarded, request_bytes("GET", target, {"Accept": accept}), 400)


QUERIES = [
    "%", "%2", "%zz", "a=%", "=", "=1", "&=&", "wait", "wait=", "wait=+1", "wait=%201", "wait=1.0", "wait=1e1",
    "wait=-0", "wait=0x1", "wait=301", "wait=18446744073709551617", "wait=" + "9" * 500, "wait=1&wait=1", "wait=NaN",
    "wait=%00", "max=0", "max=-1", "max=1001", "max=4294967297", "max=+1", "max=1_0", "max=", "max=1&max=1",
    "max=true", "format=", "format=RAW", "format=raw&format=raw", "format=xml", "topic=", "topic=a//b", "topic=a/",
    "topic=/a", "topic=**/a", "topic=a*", "topic=%C3%BC", "topic=%ff", "topic=a%00", "topic=a%0ab", "topic=a%20b",
    "topic=" + "x" * 129, "topic=" + "/".join("x" * 33), "&".join("topic=t/%d" % number for number in range(65)),
    "colour=red", "Topic=a", "after=earliest&after=earliest", "after=earliest&colour", f"x%0d%0aX-{MARK}:1=2",
    "%1b%5b31m=1", "[]=1", "topic[]=a", "a=b;c=d", "#",
]  # fmt: skip


def test_queries(guarded):
    for query in QUERIES:
        each(guarded, request_bytes("GET", f"/v1/events/{VICTIM}?{query}"), 400, 429)


# Bodies of several events.

EVENT = {"topic": VICTIM, "type": "t", "data": {"mark": MARK, "list": [1, -2.5e3, True, None, "ü\n"]}}
CLOUD = {"specversion": "1.0", "id": "1", "source": "/", "type": "t", "subject": VICTIM, "data": {"mark": MARK}}
BAD_EVENTS = [
    {}, {"topic": VICTIM}, {"data": 1}, {**EVENT, "topic": 1}, {**EVENT, "topic": ""}, {**EVENT, "topic": "a//b"},
    {**EVENT, "topic": "a/*"}, {**EVENT, "topic": "~a"}, {**EVENT, "topic": "a\n"}, {**EVENT, "topic": "a\0b"},
    {**EVENT, "topic": "\x1b[31m"}, {**EVENT, "topic": None}, {**EVENT, "topic": ["a"]}, {**EVENT, "type": ""},
    {**EVENT, "type": "a b"}, {**EVENT, "type": "herald.x"}, {**EVENT, "type": 1}, {**EVENT, "type": "a\r\nb"},
    {**EVENT, "type": "x" * 129}, {**EVENT, "colour": "red"}, {**EVENT, "data_base64": "eA=="},
    {"topic": VICTIM, "data_base64": "?"}, {"topic": VICTIM, "data_base64": "eA"}, {"topic": VICTIM, "data_base64": 1},
    {"topic": VICTIM, "data_base64": "eA==="}, {"topic": VICTIM, "data_base64": "e A="}, [], [1], 1, None, True, "x",
    {**EVENT, "datacontenttype": ""}, {**EVENT, "datacontenttype": "a\r\nX: y"}, {**EVENT, "datacontenttype": 1},
]  # fmt: skip
BAD_JSON = [
    b"", b" ", b"\n", b"{", b"}", b"[", b"]", b"[}", b"{]", b"[1,]", b"[,1]", b'{"a":1,}', b"{,}", b'{"a"}', b'{"a":}',
    b"{a:1}", b"{'a':1}", b'{"a":1 "b":2}', b"[1 2]", b"01", b"+1", b".5", b"1.", b"1e", b"0x1", b"--1", b"NaN",
    b"Infinity", b"-Infinity", b"nul", b"True", b"undefined", b'"', b'"\\"', b'"\\x41"', b'"\\u12"', b'"\\u12g4"',
    b'"a\nb"', b'"a\tb"', b'"\x00"', b'"\x1f"', b'"\xff"', b'"\xc0\xaf"', b'"\xe0\x80\xaf"', b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"', b'"\xc3"', b"\xef\xbb\xbf1", b"\xff\xfe1\x00", b"1 1", b"//x\n1", b"/*x*/1", b"1;",
    b"[" * 5000,
    b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"1" + b"0" * 60_000 + b"x", b"\x0c1", b"1\x00",
]  # fmt: skip


def with_data(data):
    return b'{"topic":"%s","data":%s}' % (VICTIM.encode(), data)


def truncated(count):
    """A good document cut at a place where it is not whole."""
    chance = random.Random(f"{SEED}/truncated")
    whole = json.dumps([EVENT, EVENT]).encode()
    return [whole[:at] for at in sorted(chance.sample(range(1, len(whole)), count))]


def replaced(count):
    """A good document of which a byte of its structure is another."""
    chance = random.Random(f"{SEED}/replaced")
    whole = json.dumps(EVENT).encode()
    places = [at for at, byte in enumerate(whole) if byte in b'{}[]:"']
    for _ in range(count):
        at = chance.choice(places)
        other = chance.choice([byte for byte in b'{}[]:;"\x00\x1b\x7f\xff' if byte != whole[at]])
        yield whole[:at] + bytes([other]) + whole[at + 1 :]


def is_json(data):
    """Strictly so; the documents above have no numbers that Python alone would take."""
    try:
        json.loads(data.decode("utf-8"))
    except ValueError:
        return False
    return True


BAD_CLOUDS = [
    {}, 1, None, "x", [], {**CLOUD, "subject": "a//b"}, {**CLOUD, "type": "herald.x"}, {**CLOUD, "specversion": "0.3"},
    *[{**CLOUD, name: bad} for name in CLOUD if name != "data" for bad in (None, 1, "", [])],
    *[{key: CLOUD[key] for key in CLOUD if key != name} for name in CLOUD if name != "data"],
]  # fmt: skip
NDJSON, ARRAY = "application/x-ndjson", "application/json"
ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"
DOCUMENTS = {
    "JSON in a line": [(NDJSON, with_data(each)) for each in BAD_JSON],
    "JSON in an array": [(ARRAY, b"[" + with_data(each) + b"]") for each in BAD_JSON],
    "JSON": [(ARRAY, each) for each in BAD_JSON],
    "JSON of a cloud event": [(ONE, each) for each in BAD_JSON],
    "an event in a line": [(NDJSON, f"{json.dumps(EVENT)}\n{json.dumps(each)}".encode()) for each in BAD_EVENTS],
    "an event in an array": [(ARRAY, json.dumps([EVENT, each]).encode()) for each in BAD_EVENTS],
    "a cloud event in a batch": [(MANY, json.dumps([CLOUD, each]).encode()) for each in BAD_CLOUDS],
    "a cloud event": [(ONE, json.dumps(each).encode()) for each in BAD_CLOUDS],
    "an array cut short": [(ARRAY, each) for each in truncated(60)],
    "a line with another byte": [(NDJSON, each) for each in replaced(60) if not is_json(each)],
    "other": [
        (ARRAY, json.dumps([EVENT] * 1001).encode()),
        ("text/plain", b"x"),
        ("application/xml", b"<x/>"),
        ("application/json; charset=utf-16", json.dumps([EVENT]).encode("utf-16")),
        ("multipart/form-data", b"--x\r\n\r\nx\r\n--x--"),
        ("", b"[]"),
        ("/", b"[]"),
    ],
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(guarded, name):
    for kind, body in DOCUMENTS[name]:
        each(guarded, request_bytes("POST", "/v1/events", {"Content-Type": kind}, body), 400, 413, 415, 422)


# WebSockets.

FRAMES = {
    "reserved bit 1": frame(TEXT, b"{}", reserved=4),
    "reserved bit 2": frame(TEXT, b"{}", reserved=2),
    "reserved bit 3": frame(TEXT, b"{}", reserved=1),
    "a ping with a reserved bit": frame(PING, b"x", reserved=4),
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "no mask": frame(TEXT, b"{}", masked=False),
    "a ping without a mask": frame(PING, b"x", masked=False),
    "a long ping": frame(PING, b"x" * 126),
    "a long close": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "a ping in parts": frame(PING, b"x", fin=False),
    "a close in parts": frame(CLOSE, b"\x03\xe8", fin=False),
    "a continuation of nothing": frame(CONTINUATION, b"x"),
    "a message within a message": frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"),
    "a length of 2^63": frame(TEXT, b"", length=1 << 63),
    "a length of 2^64 - 1": frame(TEXT, b"", length=(1 << 64) - 1),
    "a length above the bound": frame(TEXT, b"", length=(1 << 16) + 1),
    "parts above the bound": frame(TEXT, b"x" * 60_000, fin=False) + frame(CONTINUATION, b"x" * 10_000),
    "half a close code": frame(CLOSE, b"\x03"),
    **{f"close code {code}": frame(CLOSE, code.to_bytes(2, "big")) for code in (0, 999, 1004, 1005, 1006, 1015, 2999)},
    **{f"close code {code}": frame(CLOSE, code.to_bytes(2, "big")) for code in (5000, 65535)},
    "a close reason that is no UTF-8": frame(CLOSE, b"\x03\xe8\xff"),
    "text that is no UTF-8": frame(TEXT, b"\xff"),
    "overlong text": frame(TEXT, b"\xc0\xaf"),
    "a surrogate": frame(TEXT, b"\xed\xa0\x80"),
    "beyond Unicode": frame(TEXT, b"\xf4\x90\x80\x80"),
    "half a character at the end": frame(TEXT, b"\xc3"),
    "a character cut by an end": frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b""),
    "another request": GOOD,
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame(guarded, name):
    with RawWebSocket(guarded.server, f"/v1/events/{VICTIM}") as socket:
        socket.try_send(FRAMES[name])
        assert socket.read_close_code() in (1002, 1007, 1009)


def publish_command(**changes):
    command = {"op": "publish", "ref": 1, "topic": VICTIM, "data": {"mark": MARK}, **changes}
    return json.dumps({name: value for name, value in command.items() if value is not ...})


COMMANDS = [
    "", " ", "\n", "x", "1", '"publish"', "null", "[]", "{}", '[{"op":"ping"}]', '{"op":"ping"}{"op":"ping"}',
    '{"op":null}', '{"op":""}', '{"op":"PUBLISH"}', '{"op":"publish "}', '{"op":["publish"]}', '{"ref":1}',
    '{"op":"ping","ref":{}}', '{"op":"ping","ref":[]}', '{"op":"ping","ref":true}', '{"op":"ping","ref":1.5}',
    '{"op":"ping","ref":1e400}', '{"op":"ping","ref":"%s"}' % ("x" * 65), '{"op":"ping","colour":"red"}',
    '{"op":"ping","ref":"\\ud800"}', '{"op":"ping","ref":"\\u00"}', '{"op":"ping","ref":"a\nb"}',
    '{"op":"ping","ref":%s}' % ("9" * 400), '{"op":"ping","ref":01}', "[" * 5000, '{"a":' * 5000, '{"op":"ping",}',
    publish_command(topic=...), publish_command(data=...), publish_command(topic="a//b"), publish_command(topic="a/**"),
    publish_command(topic="~a"), publish_command(topic="a\u0000"), publish_command(topic="\u001b[31m"),
    publish_command(topic=1), publish_command(topics=[VICTIM]), publish_command(type="a b"), publish_command(type=1),
    publish_command(type="herald.x"), publish_command(type="x" * 129), publish_command(data_base64="eA=="),
    publish_command(data=..., data_base64="?"), publish_command(data=..., data_base64="eA"),
    publish_command(datacontenttype=1), publish_command(datacontenttype="a\r\nb"), publish_command(after="latest"),
    '{"op":"subscribe"}', '{"op":"subscribe","topics":[]}', '{"op":"subscribe","topics":"x"}',
    '{"op":"subscribe","topics":[null]}', '{"op":"subscribe","topics":["a","a//b"]}',
    '{"op":"subscribe","topic":["a"]}',
    '{"op":"subscribe","topic":"a","topics":["b"]}', '{"op":"subscribe","topic":"a/**/b"}',
    '{"op":"subscribe","topic":"a","after":1}', '{"op":"subscribe","topic":"a","after":"never"}',
    '{"op":"subscribe","topic":"a","after":"5f3a9c1e-18446744073709551616"}', '{"op":"unsubscribe"}',
    '{"op":"unsubscribe","topic":""}', '{"op":"unsubscribe","topic":1}', '{"op":"unsubscribe","topics":["a"]}',
    json.dumps({"op": "subscribe", "topics": [f"t/{number}" for number in range(100)]}),
]  # fmt: skip


def test_commands(guarded):
    """Errors that keep the connection."""
    with RawWebSocket(guarded.server, "/v1/events") as socket:
        assert socket.read_json()["control"] == "welcome"
        for command in [*COMMANDS, *[publish_command()[:at] for at in range(1, 80)]]:
            socket.send(frame(TEXT, command.encode("utf-8", "surrogatepass")))
            error = socket.read_json()
            assert error["control"] == "error", (command, error)
            assert 400 <= error["status"] < 500 and error["type"].startswith("/problems/"), (command, error)
            assert error["title"] and error["detail"], (command, error)
            socket.send_json({"op": "ping", "ref": "is alive"})
            assert socket.read_json()["ref"] == "is alive", command
            guarded.check()


def test_a_command_in_a_binary_frame(guarded):
    with RawWebSocket(guarded.server, "/v1/events") as socket:
        socket.read_json()
        socket.send(frame(BINARY, publish_command().encode()))
        opcode, payload = socket.read_frame()
        assert opcode == CLOSE or json.loads(payload)["control"] == "error", (opcode, payload)


# The log.

FORGERIES = [
    "\n2026-01-02T03:04:05.678Z error {}", "\r\n{}", "\r{}", "\x1b[2J\x1b[31m{}", "\x9b31m{}", "\u2028{}", "\x00{}",
    "\x08\x08{}",
    '","level":"error","message":"{}', "\\n{}", "%0a{}", "\u202e{}",
]  # fmt: skip


@pytest.mark.parametrize("text", FORGERIES, ids=repr)
def test_a_log_line_cannot_be_forged(guarded, text):
    """The fixture's end looks at the log; here all that a request can carry is tried."""
    server, text = guarded.server, text.format(MARK)
    raw, quoted = text.encode("utf-8"), urllib.parse.quote(text, safe="")
    requests = [
        targeted(b"/v1/events/" + raw),
        targeted(f"/v1/events/{quoted}/x"),
        targeted(f"/v1/events/{VICTIM}?{quoted}={quoted}"),
        targeted(f"/{quoted}"),
        posted(raw + b" / HTTP/1.1"),
        *[
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\n" + name + b": " + raw + b"\r\n\r\n"
            for name in (b"User-Agent", b"Origin", b"Referer", b"Authorization", b"Last-Event-ID", b"X-Forwarded-For")
        ],
        request_bytes("POST", "/v1/events", {"Content-Type": NDJSON}, json.dumps({**EVENT, "topic": text}).encode()),
    ]
    for data in requests:
        refuse(guarded, data, may_close=True)
    with RawWebSocket(server, "/v1/events") as socket:
        socket.read_json()
        socket.send(frame(TEXT, publish_command(topic=text).encode()))
        assert socket.read_json()["control"] == "error"
    assert server.client.get(f"/v1/topics/{unique_topic()}").status_code == 404


def test_how_the_log_is_judged(tmp_path):
    """The check that the fixture makes can fail."""

    class Log:
        log_path = tmp_path / "log"

    good = {"text": b"2026-01-02T03:04:05.678Z info  x\n", "json": b'{"time":"","level":"","message":""}\n'}
    for form, line in good.items():
        Log.log_path.write_bytes(line * 2)
        assert_log_is_whole(Log, form)
        for bad in (line + b"forged\n", line[:-1] + b"\x1b[31m\n", line[:-1] + b"\r\n", line[:-1] + b"\xe2\x80\xa8\n"):
            Log.log_path.write_bytes(bad)
            with pytest.raises((AssertionError, ValueError)):
                assert_log_is_whole(Log, form)
