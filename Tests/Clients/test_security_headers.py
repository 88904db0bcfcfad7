"""What keeps browsers from doing more with answers than they are for, and that no answer gives input back as anything
but a text in JSON."""

import json
import re
import urllib.parse

import pytest

from helpers import HANDSHAKE, RawConnection, RawWebSocket, assert_problem
from http2 import Client

ISOLATION = "cross-origin-resource-policy"
POLICY = "default-src 'none'; frame-ancestors 'none'"
COMMON = {":status", "server", "date", "content-length"}

SCRIPTS = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "</script><svg/onload=alert(1)>",
    "\u202e\u2028<b>\u00e4\U0001f600",
    "x\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "\\\"<\x00>",
]


def over_1(server, method, path, headers=None, body=None):
    with RawConnection(server) as connection:
        return connection.exchange(method, path, headers, body)


def over_2(server, method, path, headers=None, body=None):
    with Client(server) as client:
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        return client.ask(method, path, *fields, body=body)


ASK = pytest.mark.parametrize("ask", [over_1, over_2])


def names(answer):
    return set(answer.headers) - COMMON


# Answers that are made often hold what they need, and not more.


@ASK
def test_a_receipt_s_head_is_short(server, topic, ask):
    answer = ask(server, "POST", f"/v1/events/{topic}", {"Content-Type": "text/html"}, b"<script>")
    assert answer.status == 201 and answer.headers["content-type"] == "application/json"
    assert names(answer) == {"content-type", "x-content-type-options"}
    assert answer.headers["x-content-type-options"] == "nosniff"


@ASK
@pytest.mark.parametrize("query", ["", "?wait=20&after=earliest", "?wait=1&after=latest"])
def test_a_poll_s_head_is_short(server, topic, ask, query):
    server.publish(topic, "<script>alert(1)</script>", "text/html")
    answer = ask(server, "GET", f"/v1/events/{topic}{query}")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert names(answer) - {"etag"} == {
        "content-type", "x-content-type-options", ISOLATION, "cache-control", "vary", "herald-cursor",
    }  # fmt: skip
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers[ISOLATION] == "same-origin"
    assert answer.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("accept", "raw"), [("text/event-stream", ""), ("text/event-stream", "&format=raw"), ("application/x-ndjson", "")]
)
def test_a_stream_is_of_its_type_whatever_is_in_it(server, topic, accept, raw):
    server.publish(topic, "<script>alert(1)</script>", "text/html")
    with RawConnection(server) as connection:
        connection.request("GET", f"/v1/events/{topic}?after=earliest{raw}", {"Accept": accept})
        answer = connection.read_response(stream=True)
        assert answer.headers["content-type"] == accept
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers[ISOLATION] == "same-origin"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert b"alert(1)" in connection.read_until(b"alert(1)")


# All others.


@ASK
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/events/a//b", 400),
        ("GET", "/v1/events/a?after=x", 400),
        ("GET", "/v1/events/a%zz", 400),
        ("POST", "/v1/events/a//b", 400),
        ("POST", "/v1/events", 415),
        ("DELETE", "/v1/topics/unknown", 404),
        ("PATCH", "/metrics", 405),
        ("GET", "/v1/topics", 200),
        ("GET", "/v1/topics/{topic}", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
    ],
)
def test_what_is_made_for_one_is_kept_and_shown_nowhere(server, topic, ask, method, path, status):
    server.publish(topic)
    answer = ask(server, method, path.replace("{topic}", topic), None, b"x" if method in ("POST", "PATCH") else None)
    assert answer.status == status
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get(ISOLATION) == (None if method == "POST" else "same-origin")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/3.1\r\nHost: a\r\n\r\n", 505),
        (f"GET /{'x' * 20000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: a\r\nA: {'x' * 20000}\r\n\r\n", 431),
        ("POST /v1/events/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
    ],
)
def test_faults_of_the_framing_are_kept_and_shown_nowhere_too(server, request_head, status):
    with RawConnection(server) as connection:
        connection.try_send(request_head)
        answer = connection.read_response()
    assert answer.status in (status, 400, 431)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


@ASK
@pytest.mark.parametrize("path", ["/", "/console.js", "/console/lab.js", "/console.css", "/openapi.txt"])
def test_pages_load_what_is_ours_and_tell_nobody_where_they_are(server, ask, path):
    found = ask(server, "GET", path)
    unchanged = ask(server, "GET", path, {"If-None-Match": found.headers["etag"]})
    assert (found.status, unchanged.status) == (200, 304)
    for answer in (found, unchanged):
        policy = dict(part.partition(" ")[::2] for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers[ISOLATION] == "same-origin"


@ASK
@pytest.mark.parametrize("path", ["/herald.js", "/herald.d.ts"])
def test_a_page_of_any_origin_may_load_the_client_module(server, ask, path):
    found = ask(server, "GET", path, {"Origin": "https://elsewhere.example"})
    unchanged = ask(server, "GET", path, {"If-None-Match": found.headers["etag"]})
    assert (found.status, unchanged.status) == (200, 304)
    for answer in (found, unchanged):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert ISOLATION not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_console_page_has_nothing_that_its_policy_forbids(server):
    page = server.client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page, re.IGNORECASE)


# TLS.


def test_browsers_are_told_to_come_by_https_where_it_is_set(server_factory, topic):
    server = server_factory("--hsts", "1d", tls=True)
    server.publish(topic)
    for path in ("/", "/healthz", "/metrics", "/nowhere", f"/v1/events/{topic}", f"/v1/topics/{topic}"):
        for ask in (over_1, over_2):
            assert ask(server.secure, "GET", path).headers["strict-transport-security"] == "max-age=86400", path
            assert "strict-transport-security" not in ask(server, "GET", path).headers
    for ask in (over_1, over_2):
        answer = ask(server.secure, "POST", f"/v1/events/{topic}", None, b"x")
        assert answer.status == 201 and answer.headers["strict-transport-security"] == "max-age=86400"


def test_nothing_is_said_of_https_unless_it_is_set(server_factory):
    server = server_factory(tls=True)
    for ask in (over_1, over_2):
        assert "strict-transport-security" not in ask(server.secure, "GET", "/").headers


# Input that comes back.


def assert_only_json(answer, script):
    """The answer is JSON, and nothing of the script is in its head."""
    assert answer.headers["content-type"] in ("application/problem+json", "application/json"), answer
    assert answer.headers["x-content-type-options"] == "nosniff"
    json.loads(answer.body.decode("utf-8"))
    assert not re.search(rb"[\x00-\x1f\x7f]", answer.body), answer.body
    assert not any(hidden in answer.body.decode() for hidden in "\u202e\u2028")
    for name, value in answer.headers.items():
        assert "alert" not in name + value and "set-cookie" not in name and "<" not in value


@ASK
@pytest.mark.parametrize("script", SCRIPTS)
def test_what_stands_in_an_address_comes_back_as_json_alone(server, ask, script):
    quoted = urllib.parse.quote(script, safe="")
    paths = [
        ("GET", f"/{quoted}"),
        ("GET", f"/v1/{quoted}"),
        ("GET", f"/v1/events/{quoted}"),
        ("GET", f"/v1/events?topic={quoted}"),
        ("GET", f"/v1/events/a?{quoted}=1"),
        ("GET", f"/v1/events/a?after={quoted}"),
        ("GET", f"/v1/events/a?wait={quoted}"),
        ("GET", f"/v1/events/a?format={quoted}"),
        ("POST", f"/v1/events/{quoted}"),
        ("POST", f"/v1/events/a?{quoted}"),
        ("GET", f"/v1/topics/{quoted}"),
        ("DELETE", f"/v1/topics/{quoted}"),
        ("GET", f"/v1/topics?limit={quoted}"),
        ("GET", f"/v1/topics?{quoted}"),
    ]
    for method, path in paths:
        answer = ask(server, method, path, None, b"x" if method == "POST" else None)
        assert 400 <= answer.status < 500, path
        assert_only_json(answer, script)


@pytest.mark.parametrize("script", [each for each in SCRIPTS if "\r" not in each and "\x00" not in each])
def test_what_stands_in_headers_comes_back_as_json_alone(server, topic, script):
    def ask(method, path, name, body=None, more=""):
        with RawConnection(server) as connection:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            head = f"{method} {path} HTTP/1.1\r\nHost: herald.test\r\n{name}: {script}\r\n{more}{length}\r\n"
            connection.send(head.encode() + (body or b""))
            answer = connection.read_response()
            assert_only_json(answer, script)
            return answer

    ce = "ce-specversion: 1.0\r\nce-source: /\r\n"
    asked = {"X-Any": 201, "Herald-Type": None, "Content-Type": None, "Idempotency-Key": None, "Origin": 403}
    for name, status in asked.items():
        answer = ask("POST", f"/v1/events/{topic}", name, b"x")
        assert answer.status in ((status,) if status else (201, 400, 415)), name
    assert ask("POST", f"/v1/events/{topic}", "ce-type", b"x", ce + "ce-id: 1\r\n").status in (201, 400)
    assert ask("POST", "/v1/events", "Content-Type", b"x").status == 415
    assert ask("GET", "/v1/events/a", "Last-Event-ID").status == 400
    for name in ("Accept", "Prefer", "If-None-Match", "Accept-Encoding", "User-Agent", "Referer"):
        assert ask("GET", "/v1/events/a", name).status == 200
    upgrade = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items() if name != "Sec-WebSocket-Version")
    assert ask("GET", "/v1/events/a", "Sec-WebSocket-Version", None, upgrade).status == 426
    # A type that was taken is the event's, not an answer's.
    assert server.client.get(f"/v1/events/{topic}").headers["content-type"] == "application/json"


@ASK
@pytest.mark.parametrize("script", SCRIPTS)
def test_what_stands_in_a_body_comes_back_as_json_alone(server, topic, ask, script):
    text = json.dumps(script, ensure_ascii=False).encode()
    bodies = [
        ("application/json", b'[{"topic":' + text + b',"data":1}]'),
        ("application/json", b'[{"topic":"a","data":1,' + text + b":1}]"),
        ("application/json", b'[{"topic":"a","type":' + text + b',"data":1,"x":1}]'),
        ("application/json", text),
        ("application/json", script.encode()),
        ("application/x-ndjson", b'{"topic":' + text + b',"data":1}'),
        ("application/cloudevents+json", b'{"specversion":' + text + b"}"),
    ]
    for kind, body in bodies:
        answer = ask(server, "POST", "/v1/events", {"Content-Type": kind}, body)
        assert 400 <= answer.status < 500
        assert_only_json(answer, script)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_websocket_s_message_holds_comes_back_as_json_alone(server, topic, script):
    with RawWebSocket(server, f"/v1/events/{topic}") as socket:
        assert socket.read_json()["control"] == "welcome"
        for message in ({"op": script}, {"op": "subscribe", "topic": script}, {"op": "ping", script: 1}):
            socket.send_json({**message, "ref": 1})
            answer = socket.read_json()
            assert answer["control"] == "error" and answer["status"] in (400, 422), answer


@ASK
@pytest.mark.parametrize("script", SCRIPTS)
def test_data_that_are_markup_are_a_text_in_json(server, topic, ask, script):
    server.publish(topic, script.encode(), "text/html")
    answer = ask(server, "GET", f"/v1/events/{topic}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.body)["events"][0]["data"] == script


def test_a_preflight_gives_back_nothing_but_names(server_factory, topic):
    server = server_factory("--allowed-origins", "https://app.example")
    for script in ("ce-<script>", "ce-a b", 'ce-"', "ce-a;b", "<script>"):
        headers = {
            "Origin": "https://app.example", "Access-Control-Request-Method": script,
            "Access-Control-Request-Headers": script,
        }  # fmt: skip
        answer = over_1(server, "OPTIONS", f"/v1/events/{topic}", headers)
        assert answer.status == 204
        assert not any(script in value for value in answer.headers.values())


def test_a_problem_quotes_what_it_refuses(server):
    problem = assert_problem(over_1(server, "GET", "/%3Cscript%3E"), 404, "not-found", '"/<script>"')
    assert problem["detail"].isprintable()
