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
from malformed_requests import (
    CHUNKED,
    CHUNKS,
    FRAMES,
    GOOD,
    HEADERS,
    MARK,
    REQUEST_LINES,
    UPGRADES,
    VICTIM,
    posted,
    targeted,
    upgrade,
)

SEED = int(os.environ.get("HERALD_FAULT_SEED", "20260102"))
SENTINEL = "malformed/sentinel"
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


@pytest.mark.parametrize("name", REQUEST_LINES)
def test_a_request_line(guarded, name):
    refuse(guarded, REQUEST_LINES[name])


@pytest.mark.parametrize("name", HEADERS)
def test_headers(guarded, name):
    refuse(guarded, HEADERS[name])


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
