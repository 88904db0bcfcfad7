"""Who may use the server from a browser: `Origin`, and the Fetch standard's headers, by requests made by hand."""

import json

import pytest

from helpers import (
    HANDSHAKE,
    TEXT,
    EventStream,
    RawConnection,
    RawWebSocket,
    assert_problem,
    eventually,
    frame,
    request_bytes,
    unique_topic,
)
from http2 import Client, WebSocketStream

APP, OTHER, EVIL = "https://app.example", "http://localhost:5173", "https://evil.example"
JSON = {"Content-Type": "application/json"}
EXPOSED = {"etag", "herald-cursor", "retry-after"}

# What can be asked for: method, path, headers, body, status.
KINDS = {
    "short-poll": ("GET", "/v1/events/{topic}", {}, None, 200),
    "not-modified": ("GET", "/v1/events/{topic}", {"If-None-Match": "*"}, None, 304),
    "head": ("HEAD", "/v1/events/{topic}", {}, None, 200),
    "long-poll": ("GET", "/v1/events/{topic}?wait=20&after=earliest", {}, None, 200),
    "gzip": ("GET", "/v1/events/{topic}", {"Accept-Encoding": "gzip"}, None, 200),
    "sse": ("GET", "/v1/events/{topic}", {"Accept": "text/event-stream"}, None, 200),
    "ndjson": ("GET", "/v1/events/{topic}", {"Accept": "application/x-ndjson"}, None, 200),
    "publish": ("POST", "/v1/events/{topic}", JSON, b"1", 201),
    "publish-keyed": ("POST", "/v1/events/{topic}", {**JSON, "Idempotency-Key": "{topic}"}, b"1", 201),
    "publish-many": ("POST", "/v1/events", JSON, b'[{"topic":"{topic}","data":1}]', 201),
    "publish-refused": ("POST", "/v1/events/a//b", JSON, b"1", 400),
    "topics": ("GET", "/v1/topics?prefix={topic}", {}, None, 200),
    "topic": ("GET", "/v1/topics/{topic}", {}, None, 200),
    "purge": ("DELETE", "/v1/topics/{topic}", {}, None, 204),
    "bad-filter": ("GET", "/v1/events/a//b", {}, None, 400),
    "bad-method": ("PUT", "/v1/events/a", {}, b"", 405),
    "nowhere": ("GET", "/v1/nowhere", {}, None, 404),
    "options": ("OPTIONS", "/v1/events/{topic}", {}, None, 204),
}
VERSIONS = ["http/1.1", "h2"]


def is_stream(headers):
    return headers.get("Accept") in ("text/event-stream", "application/x-ndjson")


def ask_1(server, method, path, headers, body):
    with RawConnection(server) as connection:
        connection.request(method, path, headers, body)
        answer = connection.read_response(head=method == "HEAD", stream=is_stream(headers))
        if is_stream(headers) and answer.status != 200:
            answer.body = connection.read_exactly(int(answer.headers["content-length"]))
        return answer


def ask_2(server, method, path, headers, body):
    with Client(server) as client:
        stream = client.request(method, path, *((name.lower(), value) for name, value in headers.items()), body=body)
        client.until(lambda: client.answers[stream].headers)
        if is_stream(headers) and client.answers[stream].status == 200:
            return client.answers[stream]
        return client.response(stream)


def ask(version, server, kind, topic, **more):
    """Asks for a kind of thing; more: further headers, their names with _ for -."""
    method, path, headers, body, _ = KINDS[kind]
    headers = {name: value.replace("{topic}", topic) for name, value in headers.items()}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    body = body and body.replace(b"{topic}", topic.encode())
    path = path.replace("{topic}", topic)
    return (ask_1 if version == "http/1.1" else ask_2)(server, method, path, headers, body)


def items(value):
    return {each.strip().lower() for each in (value or "").split(",")}


def allowance(answer):
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def own_origin(server):
    return server.url


def is_known(server, topic):
    return server.client.get(f"/v1/topics/{topic}").status_code == 200


@pytest.fixture(scope="module")
def listed(servers):
    """A server that allows two origins."""
    started = servers.start(
        "test_origins_listed", "--allowed-origins", APP, "--allowed-origins", OTHER, "--echo-path", "/echo"
    )
    yield started
    servers.stop(started)


@pytest.fixture(scope="module")
def opened(servers):
    """A server that allows all of them."""
    started = servers.start("test_origins_opened", "--allowed-origins", "*")
    yield started
    servers.stop(started)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_allowed_page_is_named_in_every_answer(listed, topic, version, kind):
    listed.publish(topic)
    for origin in (APP, OTHER, APP):
        answer = ask(version, listed, kind, topic, Origin=origin)
        if kind != "publish-keyed":
            assert answer.status == KINDS[kind][4]
        said = allowance(answer)
        assert said.pop("access-control-allow-origin") == origin
        assert items(said.pop("access-control-expose-headers")) >= EXPOSED
        assert said == {}
        assert "origin" in items(answer.headers["vary"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_is_not_allowed_is_refused_before_anything_is_done(server, listed, version, kind):
    for each, origin in ((server, APP), (listed, EVIL), (listed, "null"), (listed, f"http://127.0.0.1:{server.port}")):
        topic = unique_topic("refused")
        answer = ask(version, each, kind, topic, Origin=origin)
        if kind == "head":
            assert answer.status == 403
        else:
            assert_problem(answer, 403, "forbidden-origin", "allowed-origins", json.dumps(origin))
        assert allowance(answer) == {}
        assert not is_known(each, topic)
    purged = unique_topic("kept")
    listed.publish(purged)
    ask(version, listed, "purge", purged, Origin=EVIL)
    assert listed.poll(purged)["events"], "what a page may not purge is still there"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_the_server_and_programs_are_served(server, listed, topic, version, kind):
    for each in (server, listed):
        each.publish(topic)
        for more in ({"Origin": own_origin(each)} if version == "h2" else {
            "Origin": own_origin(each), "Host": f"{each.host}:{each.port}"
        }, {}):  # fmt: skip
            answer = ask(version, each, kind, topic, **more)
            assert answer.status in (KINDS[kind][4], 200)
            assert allowance(answer) == {}
            assert ("origin" in items(answer.headers.get("vary"))) == (each is listed)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_the_api_is_for_everybody(listed, version):
    for path in ("/healthz", "/metrics", "/", "/openapi.txt"):
        answer = (ask_1 if version == "http/1.1" else ask_2)(listed, "GET", path, {"Origin": EVIL}, None)
        assert answer.status == 200 and allowance(answer) == {} and "vary" not in answer.headers


def test_the_scheme_counts_where_tls_is_ours(server_factory, topic):
    server = server_factory(tls=True)
    host = f"{server.secure.host}:{server.secure.port}"
    for version in VERSIONS:
        answers = {
            scheme: ask(version, server.secure, "publish", topic, Origin=f"{scheme}://{host}", **(
                {"Host": host} if version == "http/1.1" else {}
            ))
            for scheme in ("http", "https")
        }  # fmt: skip
        assert answers["https"].status == 201
        assert_problem(answers["http"], 403, "forbidden-origin")
    # A proxy in front has ended TLS.
    answer = ask("http/1.1", server, "publish", topic, Origin="https://herald.test", Host="herald.test")
    assert answer.status == 201


def test_an_event_reaches_held_polls_of_several_pages_each_with_its_own_head(listed, topic):
    origins = [APP, OTHER, None, APP, OTHER, None]
    path = f"/v1/events/{topic}?after=latest&wait=20"
    connections = [RawConnection(listed) for _ in origins]
    streams = []
    with Client(listed) as client:
        for connection, origin in zip(connections, origins):
            connection.request("GET", path, {"Origin": origin} if origin else {})
            streams.append(client.request("GET", path, *([("origin", origin)] if origin else [])))
        eventually(lambda: listed.metric("herald_held_requests") == 2 * len(origins), "all polls are held")
        listed.publish(topic, "to all")
        for connection, stream, origin in zip(connections, streams, origins):
            with connection:
                for answer in (connection.read_response(), client.response(stream)):
                    assert json.loads(answer.body)["events"][0]["data"] == "to all"
                    assert answer.headers.get("access-control-allow-origin") == origin
                    assert items(answer.headers["vary"]) == {"origin", "accept-encoding"}


def test_the_end_of_a_wait_and_a_resume_name_the_page_too(listed, topic):
    cursor = listed.publish(topic)["id"]
    for path in (f"/v1/events/{topic}?after=latest&wait=1", f"/v1/events/{topic}?after={cursor}"):
        with RawConnection(listed) as connection:
            answer = connection.exchange("GET", path, {"Origin": APP})
            assert answer.json()["events"] == []
            assert answer.headers["access-control-allow-origin"] == APP


# WebSockets: no page may read by them what it may not otherwise, and browsers do not ask before.


@pytest.mark.parametrize("path", ["/v1/events/{topic}", "/echo"])
def test_a_websocket_is_for_allowed_pages(listed, topic, path):
    path = path.replace("{topic}", topic)
    own = {"Host": f"{listed.host}:{listed.port}", "Origin": own_origin(listed)}
    for headers in ({}, {"Origin": APP}, {"Origin": OTHER}, own):
        RawWebSocket(listed, path, headers).close()
    for origin in (EVIL, "null", "http://herald.test:8080"):
        with RawConnection(listed) as connection:
            answer = connection.exchange("GET", path, {**HANDSHAKE, "Origin": origin})
            assert_problem(answer, 403, "forbidden-origin", origin)


@pytest.mark.parametrize("path", ["/v1/events/{topic}", "/echo"])
def test_a_websocket_on_a_stream_is_for_allowed_pages(listed, topic, path):
    path = path.replace("{topic}", topic)
    with Client(listed) as client:
        for origin in (None, APP, OTHER, own_origin(listed)):
            stream = WebSocketStream(client, path, *([("origin", origin)] if origin else []))
            assert stream.answer.status == 200
        for origin in (EVIL, "null", "http://herald.test:8080"):
            refused = WebSocketStream(client, path, ("origin", origin))
            assert_problem(client.response(refused.stream), 403, "forbidden-origin", origin)


def test_a_page_publishes_by_its_websocket(listed, topic):
    socket = RawWebSocket(listed, f"/v1/events/{topic}", {"Origin": APP})
    with socket:
        socket.send(frame(TEXT, json.dumps({"op": "publish", "topic": topic, "data": 1}).encode()))
        while socket.read_json().get("data") != 1:
            pass


# Preflights.

PREFLIGHT = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type,ce-mytrace"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_preflight_is_answered_to_an_allowed_page(listed, opened, topic, version):
    for server, origin in ((listed, APP), (listed, OTHER), (opened, EVIL)):
        answer = ask(version, server, "options", topic, Origin=origin, **PREFLIGHT)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == ("*" if server is opened else origin)
        assert items(answer.headers["access-control-allow-methods"]) == {"get", "head", "post", "options"}
        assert items(answer.headers["access-control-allow-headers"]) == {
            "authorization", "cache-control", "content-type", "herald-type", "idempotency-key", "if-none-match",
            "last-event-id", "prefer", "ce-mytrace",
        }  # fmt: skip
        assert answer.headers["access-control-max-age"] == "600"
        assert "access-control-allow-private-network" not in answer.headers
        assert not is_known(server, topic)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_preflight_of_another_page_is_refused_without_a_word_of_what_is_allowed(server, listed, topic, version):
    private = {"Access_Control_Request_Private_Network": "true"}
    for each in (server, listed):
        answer = ask(version, each, "options", topic, Origin=EVIL, **PREFLIGHT, **private)
        assert_problem(answer, 403, "forbidden-origin", EVIL)
        assert allowance(answer) == {}


def test_the_way_into_a_private_network_is_allowed_to_those_who_are(listed, topic):
    private = {"Access_Control_Request_Private_Network": "true"}
    answer = ask("http/1.1", listed, "options", topic, Origin=APP, **PREFLIGHT, **private)
    assert answer.headers["access-control-allow-private-network"] == "true"


def test_the_methods_of_a_preflight_are_those_of_the_resource(listed):
    headers = {"Origin": APP, "Access-Control-Request-Method": "DELETE"}
    common = {"get", "head", "options"}
    for path, methods in (("/v1/topics/a", common | {"delete"}), ("/v1/topics", common)):
        answer = ask_1(listed, "OPTIONS", path, headers, None)
        assert items(answer.headers["access-control-allow-methods"]) == methods


def test_options_without_a_question_is_no_preflight(listed, server, topic):
    answer = ask("http/1.1", listed, "options", topic, Origin=APP)
    assert "access-control-allow-methods" not in answer.headers
    answer = ask("http/1.1", server, "options", topic, **PREFLIGHT)
    assert answer.status == 204 and allowance(answer) == {}


# Other lists.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_where_all_pages_are_allowed_answers_are_the_same_for_all(opened, topic, version, kind):
    opened.publish(topic)
    for more in ({"Origin": EVIL}, {"Origin": "null"}, {"Origin": "no origin at all"}, {}):
        answer = ask(version, opened, kind, topic, **more)
        assert answer.status in (KINDS[kind][4], 200)
        said = allowance(answer)
        assert said.pop("access-control-allow-origin") == "*"
        assert items(said.pop("access-control-expose-headers")) >= EXPOSED
        assert said == {}
        assert "origin" not in items(answer.headers.get("vary"))


def test_null_may_be_named(server_factory, topic):
    server = server_factory(env={"HERALD_ALLOWED_ORIGINS": "null"})
    assert ask("http/1.1", server, "publish", topic, Origin="null").headers["access-control-allow-origin"] == "null"
    assert_problem(ask("http/1.1", server, "publish", topic, Origin=EVIL), 403, "forbidden-origin")


@pytest.mark.parametrize("version", VERSIONS)
def test_credentials_are_allowed_where_it_is_set(server_factory, topic, version):
    server = server_factory(config={"allowed-origins": APP, "allow-credentials": True})
    server.publish(topic)
    for kind in ("publish", "short-poll", "long-poll", "sse", "ndjson", "bad-filter", "options"):
        answer = ask(version, server, kind, topic, Origin=APP)
        assert answer.headers["access-control-allow-credentials"] == "true", kind
        assert answer.headers["access-control-allow-origin"] == APP
    assert "access-control-allow-credentials" not in ask(version, server, "publish", topic).headers


# Requests that were not read to their end.


def test_a_fault_of_the_framing_names_no_page(listed):
    with RawConnection(listed) as connection:
        connection.send(f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nContent-Length: x\r\n\r\n")
        answer = connection.read_response()
        assert_problem(answer, 400, "bad-request")
        assert allowance(answer) == {}


def test_a_request_behind_that_of_a_page_is_not_the_page_s(listed, topic):
    with RawConnection(listed) as connection:
        path = f"/v1/events/{topic}"
        connection.send(
            request_bytes("GET", path, {"Origin": APP})
            + request_bytes("GET", path)
            + request_bytes("POST", path, {"Origin": EVIL}, b"x")
            + request_bytes("GET", path, {"Origin": OTHER})
        )
        answers = [connection.read_response() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 403, 200]
        named = [answer.headers.get("access-control-allow-origin") for answer in answers]
        assert named == [APP, None, None, OTHER]
        assert answers[3].json()["events"] == []


@pytest.mark.parametrize(
    "origin", ["", "https://e.example/<script>alert(1)</script>", '"><script>', "https://\\", "https://b\xfc.example"]
)
def test_what_is_no_origin_is_refused_and_quoted_safely(listed, topic, origin):
    with RawConnection(listed) as connection:
        head = f"POST /v1/events/{topic} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nContent-Length: 1\r\n\r\nx"
        connection.send(head.encode("latin-1"))
        answer = connection.read_response()
        problem = assert_problem(answer, 403, "forbidden-origin", "allowed-origins")
        shown = origin.encode("latin-1").decode(errors="replace")
        assert json.dumps(shown, ensure_ascii=False) in problem["detail"]
        assert not is_known(listed, topic)


def test_a_refused_publish_is_counted(listed, topic):
    before = listed.metric("herald_publish_refused_total", reason="forbidden_origin")
    ask("http/1.1", listed, "publish", topic, Origin=EVIL)
    ask("http/1.1", listed, "short-poll", topic, Origin=EVIL)
    assert listed.metric("herald_publish_refused_total", reason="forbidden_origin") == before + 1


def test_a_stream_of_a_page_goes_on_as_any(listed, topic):
    with EventStream(listed, f"/v1/events/{topic}", {"Origin": APP}) as stream:
        listed.until_readers(topic) if is_known(listed, topic) else None
        published = listed.publish(topic, "to the page")
        assert stream.read_event()[1] == published["id"]
