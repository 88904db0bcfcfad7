"""Who may do what: tokens at each door, rights, API keys, anonymous rules; that credentials are never shown."""

import json
import subprocess
import time

import pytest

import tokens
from access import (
    DOORS,
    ORIGIN,
    PUBLISH,
    READERS,
    SHORT_POLL,
    SSE,
    WEBSOCKET,
    Stream,
    bearer,
    claims,
    secret_file,
    token,
)
from conftest import BINARY, herald_environment
from helpers import PATIENCE, RawConnection, RawWebSocket, assert_problem, unique_topic
from http2 import Client


@pytest.fixture(scope="module")
def keys():
    """Private keys by algorithm."""
    return {name: tokens.make_key(name) for name in ("RS256", "PS256", "ES256", "ES384", "EdDSA")}


@pytest.fixture(scope="module")
def guarded(servers, keys, tmp_path_factory):
    """A server that takes tokens by a secret and by public keys, and asks everybody."""
    folder = tmp_path_factory.mktemp("keys")
    flags = ["--token-secret-file", secret_file(folder), "--idle-timeout", "10s"]
    for name, key in keys.items():
        path = folder / f"{name}.pem"
        path.write_bytes(tokens.public_pem(key))
        flags += ["--token-key-file", path]
    started = servers.start("guarded", *flags)
    yield started
    servers.stop(started)


def head_of(algorithm):
    return tokens.base64url(json.dumps({"alg": algorithm}).encode())


def bad_tokens(keys):
    """Tokens that nobody may come in with: (name, token, status, problem)."""
    public = tokens.public_pem(keys["RS256"])
    good = token()
    head, body, signed = good.split(".")
    other = tokens.base64url(json.dumps(claims(publish=["**"], sub="mallory")).encode())
    refused = [
        ("missing", None, "unauthorized"),
        ("wrong key", token(b"another secret of more than thirty-two bytes."), "invalid-token"),
        ("wrong RSA key", token(tokens.make_key("RS256"), "RS256"), "invalid-token"),
        ("wrong P-256 key", token(tokens.make_key("ES256"), "ES256"), "invalid-token"),
        ("expired", token(life=-1), "expired-token"),
        ("expires now", token(life=0), "expired-token"),
        ("not yet valid", token(nbf=int(time.time()) + 300), "invalid-token"),
        ("alg none", tokens.encode(claims(), b"", "none"), "invalid-token"),
        ("alg None", f"{head_of('None')}.{body}.", "invalid-token"),
        ("none with a signature", f"{head_of('none')}.{body}.{signed}", "invalid-token"),
        ("RSA public key as HS256 secret", token(public, "HS256"), "invalid-token"),
        ("the same without its last line break", token(public.rstrip(), "HS256"), "invalid-token"),
        ("RSA public key as HS512 secret", token(public, "HS512"), "invalid-token"),
        ("P-256 key under RS256", f"{head_of('RS256')}.{body}.{signed}", "invalid-token"),
        ("another's claims", f"{head}.{other}.{signed}", "invalid-token"),
        ("no signature", f"{head}.{body}.", "invalid-token"),
        ("two parts", f"{head}.{body}", "invalid-token"),
        ("garbage", "AAAA", "invalid-token"),
        ("crit", token(header={"crit": ["exp"]}), "invalid-token"),
        ("no rights", token(herald=None), "invalid-token"),
        ("a filter that is none", token(publish=["a//b"]), "invalid-token"),
        ("an API key that is none", "hk_" + "A" * 43, "invalid-token"),
    ]
    return [(name, text, 401, slug) for name, text, slug in refused] + [
        ("other topic", token(publish=["other/**"], subscribe=["other/**"]), 403, "forbidden"),
        ("the other right", token(publish=[], subscribe=[]), 403, "forbidden"),
    ]


CASES = [case[0] for case in bad_tokens({name: tokens.make_key(name) for name in ("RS256", "ES256")})]


@pytest.mark.parametrize("case", range(len(CASES)), ids=CASES)
@pytest.mark.parametrize("door", DOORS, ids=str)
def test_nobody_gets_in(guarded, keys, door, case):
    topic = unique_topic("shut")
    name, text, status, slug = bad_tokens(keys)[case]
    before = guarded.metric("herald_events_published_total")
    answer = door.knock(guarded, topic, text)
    problem = assert_problem(answer, status, slug)
    assert answer.headers["www-authenticate"].startswith("Bearer"), answer.headers
    if text is not None:
        assert text not in json.dumps(problem) and text[-20:] not in answer.body.decode(), name
    assert guarded.metric("herald_events_published_total") == before
    # The second time it is remembered, and no better.
    assert door.knock(guarded, topic, text).status == status


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
@pytest.mark.parametrize("door", DOORS, ids=str)
def test_a_token_lets_in(guarded, door, place):
    topic = unique_topic("open")
    answer = door.knock(guarded, topic, token(publish=[topic], subscribe=[topic]), place)
    assert answer.status == door.success, (answer, answer.body)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
@pytest.mark.parametrize("door", DOORS, ids=str)
def test_each_kind_of_key(guarded, keys, door, algorithm):
    answer = door.knock(guarded, unique_topic("kind"), token(keys[algorithm], algorithm))
    assert answer.status == door.success, (answer, answer.body)


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_http2_asks_for_tokens_too(guarded, door):
    topic = unique_topic("h2")
    fields = [(name.lower(), value) for name, value in door.headers.items()]
    if door is WEBSOCKET:
        fields = [("sec-websocket-version", "13")]
    method, protocol = ("CONNECT", "websocket") if door is WEBSOCKET else (door.method, None)
    path = f"/v1/events/{topic}" + (f"?{door.query}" if door.query else "")

    def status(*more):
        with Client(guarded) as client:
            stream = client.request(method, path, *fields, *more, body=door.body, ends=door is not WEBSOCKET,
                                    protocol=protocol)
            client.until(lambda: client.answers[stream].status is not None)
            return int(client.answers[stream].status)

    text = token(publish=[topic], subscribe=[topic])
    success = 200 if door is WEBSOCKET else door.success
    assert status() == 401
    assert status(("authorization", "Bearer nonsense")) == 401
    assert status(("authorization", f"Bearer {text}")) == success
    # A browser may bring its cookies one by one (RFC 9113 §8.2.3).
    host = f"{guarded.host}:{guarded.port}"
    cookies = [("cookie", "a=b"), ("cookie", f"herald_token={text}"), ("origin", f"http://{host}")]
    assert status(*cookies) == success


FILTERS = [
    ("orders/*", "orders/42", True),
    ("orders/*", "orders/*", True),
    ("orders/*", "orders/**", False),
    ("orders/*", "orders/42/x", False),
    ("orders/*", "*/42", False),
    ("orders/**", "orders/*/x", True),
    ("orders/**", "orders", False),
    ("**", "a/*/c", True),
    ("**", "~herald/probe", False),
    ("**", "~herald/**", False),
    ("*", "~herald", False),
    ("~herald/**", "~herald/probe", True),
    ("a/b", "a/*", False),
]


@pytest.mark.parametrize("granted, wanted, is_allowed", FILTERS)
@pytest.mark.parametrize("door", READERS, ids=str)
def test_a_filter_has_to_lie_within_a_granted_one(guarded, door, granted, wanted, is_allowed):
    answer = door.knock(guarded, wanted, token(subscribe=["unrelated", granted]))
    assert answer.status == (door.success if is_allowed else 403), (answer, answer.body)


def test_each_filter_of_a_request_counts(guarded):
    text = token(subscribe=["a/*", "b"])
    for query, status in [("topic=a/1&topic=b", 200), ("topic=a/1&topic=c", 403), ("topic=a/**", 403)]:
        answer = guarded.client.get(f"/v1/events?{query}", headers=bearer(text))
        assert answer.status_code == status, query


def test_commands_of_a_websocket_have_its_rights(guarded):
    topic = unique_topic("ws")
    with RawWebSocket(guarded, "/v1/events", bearer(token(publish=[topic], subscribe=[f"{topic}/*"]))) as socket:
        assert socket.read_json()["control"] == "welcome"

        def ask(**command):
            socket.send_json({"ref": 1, **command})
            return socket.read_json()

        assert ask(op="subscribe", topic=f"{topic}/1")["control"] == "subscribed"
        for wanted in (topic, f"{topic}/**", "**"):
            answer = ask(op="subscribe", topic=wanted)
            assert (answer["control"], answer["status"], answer["type"]) == ("error", 403, "/problems/forbidden")
        answer = ask(op="subscribe", topics=[f"{topic}/2", "x"])
        assert answer["status"] == 403
        answer = ask(op="publish", topic=f"{topic}/1", data="x")
        assert answer["status"] == 403
        answer = ask(op="publish", topic=topic, data="x")
        assert answer["control"] == "published"
        # What was refused was not done: the connection has one filter.
        assert ask(op="subscribe", topic=f"{topic}/3")["filters"] == [f"{topic}/1", f"{topic}/3"]


def test_a_batch_is_published_whole_or_not_at_all(guarded):
    topic = unique_topic("batch")
    headers = {**bearer(token(publish=[f"{topic}/*"])), "Content-Type": "application/x-ndjson"}
    lines = [json.dumps({"topic": f"{topic}/{n}" if n != 2 else topic, "data": n}) for n in range(4)]
    answer = guarded.client.post("/v1/events", content="\n".join(lines), headers=headers)
    problem = assert_problem(answer, 403, "forbidden", topic, "nothing was published")
    assert problem["line"] == 3
    read = guarded.client.get(f"/v1/events/{topic}/*", headers=bearer(token()))
    assert read.json()["events"] == []
    del lines[2]
    assert guarded.client.post("/v1/events", content="\n".join(lines), headers=headers).status_code == 201


def test_topics_are_shown_to_who_may_read_them(guarded):
    topic = unique_topic("shown")
    all_rights = token(manage=["**"])
    for name in ("a/1", "a/2", "b/1"):
        PUBLISH.knock(guarded, f"{topic}/{name}", all_rights)
    mine = bearer(token(subscribe=[f"{topic}/a/*"]))
    listed = guarded.client.get(f"/v1/topics?prefix={topic}", headers=mine).json()
    assert [state["topic"] for state in listed["topics"]] == [f"{topic}/a/1", f"{topic}/a/2"]
    paged = guarded.client.get(f"/v1/topics?prefix={topic}&limit=1", headers=mine).json()
    assert (len(paged["topics"]), paged["next"]) == (1, f"{topic}/a/1")
    paged = guarded.client.get(f"/v1/topics?prefix={topic}&limit=1&after={paged['next']}", headers=mine).json()
    assert (paged["topics"][0]["topic"], paged["next"]) == (f"{topic}/a/2", None)
    nothing = guarded.client.get("/v1/topics", headers=bearer(token(subscribe=[])))
    assert_problem(nothing, 403, "forbidden")
    assert_problem(guarded.client.get("/v1/topics"), 401, "unauthorized")
    assert guarded.client.get(f"/v1/topics/{topic}/a/1", headers=mine).status_code == 200
    assert_problem(guarded.client.get(f"/v1/topics/{topic}/b/1", headers=mine), 403, "forbidden")
    # Purging takes a right of its own.
    path = f"/v1/topics/{topic}/a/1"
    assert_problem(guarded.client.delete(path, headers=mine), 403, "forbidden", "manage")
    assert guarded.client.delete(path).status_code == 401
    assert guarded.client.delete(path, headers=bearer(token(manage=[f"{topic}/a/*"]))).status_code == 204


def test_the_header_counts_before_the_query_and_the_query_before_the_cookie(guarded):
    topic = unique_topic("order")
    good, bad = token(), "nonsense"
    with RawConnection(guarded) as connection:
        def status(header, query, cookie):
            headers = {**bearer(header)} if header else {}
            if cookie:
                headers["Cookie"] = f"herald_token={cookie}"
            target = f"/v1/events/{topic}" + (f"?access_token={query}" if query else "")
            return connection.exchange("GET", target, headers).status

        assert status(good, bad, bad) == 200
        assert status(bad, good, good) == 401
        assert status(None, good, bad) == 200
        assert status(None, bad, good) == 401
        assert status(None, None, good) == 200


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer ", "Token abc", "bearer"])
def test_another_scheme_is_not_taken_for_nobody(guarded, value):
    answer = SHORT_POLL.knock(guarded, "a", headers={"Authorization": value})
    assert answer.status == 401


def test_a_cookie_alone_changes_nothing(guarded):
    """Another site's page can have a browser send its cookies; it can't forge an Origin."""
    topic, text = unique_topic("forged"), token(manage=["**"])
    cookie = {"Cookie": f"herald_token={text}", "Host": "herald.test"}
    answer = PUBLISH.knock(guarded, topic, headers=cookie)
    assert_problem(answer, 403, "forbidden", "Origin")
    foreign = PUBLISH.knock(guarded, topic, headers={**cookie, "Origin": "https://evil.example"})
    assert_problem(foreign, 403, "forbidden-origin")
    assert PUBLISH.knock(guarded, topic, headers={**cookie, **ORIGIN}).status == 201
    assert SSE.knock(guarded, topic, headers=cookie).status == 200
    with RawConnection(guarded) as connection:
        assert connection.exchange("DELETE", f"/v1/topics/{topic}", cookie).status == 403


def test_what_is_no_event_is_open(guarded):
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.txt", "/"):
        assert guarded.client.get(path).status_code == 200, path
    assert guarded.client.options("/v1/events/a").status_code == 204


def test_credentials_are_never_shown(guarded):
    """Not in an answer, not in the log, whatever else is wrong with the request."""
    marked = token(sub="marked-subject", jti="m" * 40)
    for query in (f"access_token={marked}&access_token={marked}", f"access_token={marked}&odd=1",
                  f"odd={marked}&access_token=x", f"access_token={marked}%zz"):
        answer = guarded.client.get(f"/v1/events/a?{query}")
        if not query.startswith("odd="):
            assert marked not in answer.text and marked.split(".")[2] not in answer.text, answer.text
    for headers in ({"Cookie": f"herald_token={marked}x"}, bearer(marked + "x"), {"Authorization": marked}):
        answer = guarded.client.get("/v1/events/a", headers=headers)
        assert answer.status_code == 401 and marked not in answer.text
    log = guarded.log()
    assert marked not in log and marked.split(".")[1] not in log and "marked-subject" not in log


def test_a_remembered_token_costs_no_signature(guarded):
    text = token(sub="poller")
    assert SHORT_POLL.knock(guarded, "a", text).status == 200
    checked = guarded.metric("herald_token_checks_total", outcome="accepted")
    hits = guarded.metric("herald_token_cache_hits_total")
    for _ in range(50):
        assert SHORT_POLL.knock(guarded, "a", text).status == 200
    assert guarded.metric("herald_token_checks_total", outcome="accepted") == checked
    assert guarded.metric("herald_token_cache_hits_total") == hits + 50


def test_a_hundred_tokens_at_a_time(guarded):
    """Each is checked off the loops, and comes back to its own request."""
    topic = unique_topic("many")
    clients = [RawConnection(guarded) for _ in range(100)]
    try:
        for number, client in enumerate(clients):
            granted = f"{topic}/{number}" if number % 3 else "other"
            client.request("POST", f"/v1/events/{topic}/{number}", bearer(token(publish=[granted], sub=f"s{number}")),
                           b"x")
        for number, client in enumerate(clients):
            answer = client.read_response()
            assert answer.status == (201 if number % 3 else 403), number
            if number % 3:
                assert answer.json()["topic"] == f"{topic}/{number}"
    finally:
        for client in clients:
            client.close()


def test_a_key_of_one_subject_is_not_anothers(guarded):
    topic = unique_topic("keys")

    def publish(subject, text):
        headers = {**bearer(token(sub=subject)), "Idempotency-Key": "1"}
        return guarded.client.post(f"/v1/events/{topic}", content=text, headers=headers)

    first, again, other = publish("a", "x"), publish("a", "x"), publish("b", "x")
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert publish("b", "y").status_code == 422


# MARK: other configurations


def test_api_keys(server_factory, tmp_path):
    key, other = ("hk_" + tokens.base64url(bytes(range(n, n + 32))) for n in (1, 2))
    path = tmp_path / "keys.yaml"

    def write(*entries):
        path.write_text(json.dumps(list(entries)))

    entry = {"name": "ci", "sha256": tokens.digest_of(key), "publish": ["builds/**"], "subscribe": ["builds/*"]}
    write(entry)
    server = server_factory("--api-key-file", path)
    assert PUBLISH.knock(server, "builds/1", key).status == 201
    assert_problem(PUBLISH.knock(server, "other", key), 403, "forbidden")
    assert_problem(PUBLISH.knock(server, "builds/1", other), 401, "invalid-token")
    assert_problem(PUBLISH.knock(server, "builds/1", token()), 401, "invalid-token", "no tokens are accepted")
    assert_problem(PUBLISH.knock(server, "builds/1"), 401, "unauthorized")
    assert key not in server.log() and key[3:] not in path.read_text()
    # A key that is taken away ends what was opened by it.
    with Stream("sse", server, "/v1/events/builds/1", key) as stream:
        write({**entry, "name": "cd", "sha256": tokens.digest_of(other)})
        problem, _ = stream.read_end()
        assert problem["type"] == "/problems/revoked-token"
    assert PUBLISH.knock(server, "builds/1", key).status == 401
    assert PUBLISH.knock(server, "builds/1", other).status == 201


def test_anonymous_rules(server_factory):
    server = server_factory("--anonymous-subscribe", "news/**", "--anonymous-publish", "news/in")
    for door in READERS:
        assert door.knock(server, "news/x").status == door.success, door
        assert_problem(door.knock(server, "other"), 401, "unauthorized")
    assert PUBLISH.knock(server, "news/in").status == 201
    assert_problem(PUBLISH.knock(server, "news/out"), 401, "unauthorized")
    assert server.client.delete("/v1/topics/news/in").status_code == 401
    with RawWebSocket(server, "/v1/events") as socket:
        assert socket.read_json()["control"] == "welcome"
        socket.send_json({"op": "subscribe", "topic": "other"})
        assert socket.read_json()["status"] == 401


def test_allow_anonymous_beside_tokens(server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path), "--allow-anonymous")
    for door in DOORS:
        assert door.knock(server, "a").status == door.success, door
        # Who shows a token has its rights, not everybody's; a bad one is not passed over.
        assert door.knock(server, "a", token(publish=["b"], subscribe=["b"])).status == 403
        assert door.knock(server, "a", token(life=-1)).status == 401
    assert server.client.delete("/v1/topics/a").status_code == 401
    assert server.client.delete("/v1/topics/a", headers=bearer(token(manage=["**"]))).status_code == 204


def test_without_any_setting_nobody_is_asked(server):
    topic = unique_topic("open")
    for door in DOORS:
        assert door.knock(server, topic).status == door.success
        assert door.knock(server, topic, "nonsense").status == door.success
        assert door.knock(server, topic, "nonsense", "query").status == door.success
    assert server.client.delete(f"/v1/topics/{topic}").status_code == 204
    with RawWebSocket(server, "/v1/events") as socket:
        assert socket.read_json()["control"] == "welcome"
        socket.send_json({"op": "renew", "token": "anything", "ref": 1})
        assert socket.read_json() == {"control": "renewed", "ref": 1, "expires": None}


def test_mercure_claims(server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path))
    text = token(herald=None, mercure={"publish": ["*"], "subscribe": ["books/{id}", "https://example.org/x"]})
    assert PUBLISH.knock(server, "any/thing", text).status == 201
    assert SSE.knock(server, "books/1", text).status == 200
    assert SSE.knock(server, "books/1/x", text).status == 403
    assert SSE.knock(server, "other", text).status == 403


def test_no_more_tokens_are_checked_at_a_time_than_configured(server_factory, tmp_path):
    """One check waits for a key set that does not come; the next is told to come back."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
        server = server_factory("--token-secret-file", secret_file(tmp_path), "--token-jwks", url,
                                "--token-checks", "1", "--drain-timeout", "1s")
        unknown = token(tokens.make_key("ES256"), "ES256", header={"kid": "unknown"})
        with RawConnection(server) as waiting:
            waiting.request("GET", "/v1/events/a?wait=1", bearer(unknown))
            waits = waiting.is_silent(0.5)
            answer = SHORT_POLL.knock(server, "a", token(sub="second"))
            if waits:
                assert_problem(answer, 503, "overloaded")
            else:
                assert_problem(waiting.read_response(), 503, "keys-unavailable")
                assert answer.status == 200


def test_publishers_have_a_rate_each(server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path), "--publish-rate", "1", "--publish-burst", "3")
    spent = [PUBLISH.knock(server, "a", token(sub="spender")).status for _ in range(4)]
    assert spent == [201, 201, 201, 429]
    assert PUBLISH.knock(server, "a", token(sub="saver")).status == 201


@pytest.mark.parametrize("transport", ["ws", "sse", "ndjson", "longpoll", "poll"])
def test_the_command_shows_a_token(guarded, tmp_path, transport):
    """By a file or the environment: an argument would be shown to whoever lists processes."""
    topic, file = unique_topic("cli"), tmp_path / "token"

    def herald(*arguments, **environment):
        command = [str(BINARY), *arguments, "--server", guarded.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                              env=herald_environment(environment))

    file.write_text(token(publish=[topic], subscribe=[topic]) + "\n")
    assert herald("publish", topic, "hello", "--token-file", str(file)).returncode == 0
    read = ["subscribe", topic, "--after", "earliest", "--max", "1", "--transport", transport]
    assert "hello" in herald(*read, "--token-file", str(file)).stdout
    assert "hello" in herald(*read, HERALD_TOKEN=file.read_text()).stdout
    shut = herald(*read)
    assert shut.returncode == 1 and "token is needed" in shut.stderr, shut.stderr
    file.write_text(token(subscribe=["other"]))
    shut = herald(*read, "--token-file", str(file))
    assert shut.returncode == 1 and "does not grant" in shut.stderr, shut.stderr
    assert herald("publish", topic, "x", "--token-file", str(tmp_path / "none")).returncode == 64
    assert herald("publish", topic, "x", HERALD_TOKEN="a b").returncode == 64
