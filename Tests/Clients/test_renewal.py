"""A right that ends while its reader is there: warnings, renewal, expiry, revocation; that nothing is read after it."""

import json
import threading
import time

import pytest

import tokens
from access import LONG_POLL, PUBLISH, SECRET, SHORT_POLL, SSE, Stream, bearer, secret_file, token
from helpers import RawConnection, RawWebSocket, assert_problem, eventually, frame, sequence, unique_topic
from http2 import Client

KINDS = ["websocket", "sse", "ndjson"]
ROOT = token(sub="root", manage=["**"], life=3600)


@pytest.fixture(scope="module")
def guarded(servers, tmp_path_factory):
    """A server that warns two seconds before a token runs out."""
    folder = tmp_path_factory.mktemp("keys")
    flags = ["--token-secret-file", secret_file(folder), "--token-warning", "2s", "--heartbeat", "2s"]
    started = servers.start("renewal", *flags)
    yield started
    servers.stop(started)


def publish(server, topic, data="x"):
    headers = {**bearer(ROOT), "Content-Type": "text/plain"}
    answer = server.client.post(f"/v1/events/{topic}", content=data, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def revoke(server, **what):
    answer = server.client.post("/v1/revocations", json=what, headers=bearer(ROOT))
    assert answer.status_code == 201, answer.text
    return answer.json()


def renew(server, stream, warning, text):
    """Renews as the kind of stream does; the answer's status."""
    if stream.kind == "websocket":
        stream.connection.send_json({"op": "renew", "token": text, "ref": "r"})
        name, said = stream.read()
        assert said["ref"] == "r"
        return 200 if name == "renewed" else said["status"]
    return server.client.post(warning["renew"], headers=bearer(text)).status_code


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_warned_and_ends_with_its_token(guarded, kind):
    topic = unique_topic(kind)
    with Stream(kind, guarded, f"/v1/events/{topic}", token(subscribe=[topic], life=4)) as stream:
        published = publish(guarded, topic)
        assert stream.read()[1]["id"] == published
        name, warning = stream.read()
        assert name == "expiring" and 0 < warning["expires_in"] <= 2, warning
        assert warning["renew"].startswith("/v1/renewals/")
        problem, code = stream.read_end()
        assert (problem["type"], problem["status"]) == ("/problems/expired-token", 401)
        assert problem["title"] and problem["detail"] and sequence(problem["cursor"]) >= sequence(published)
        assert code == (1008 if kind == "websocket" else None)
        # It goes on where it was with another token.
        publish(guarded, topic, "later")
    answer = guarded.client.get(f"/v1/events/{topic}?after={problem['cursor']}", headers=bearer(token()))
    assert [event["data"] for event in answer.json()["events"]] == ["later"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_renewed_stream_goes_on(guarded, kind):
    topic = unique_topic(kind)
    with Stream(kind, guarded, f"/v1/events/{topic}", token(subscribe=[topic], life=3)) as stream:
        name, warning = stream.read()
        assert name == "expiring"
        assert renew(guarded, stream, warning, token(subscribe=[f"{topic}/**", topic], life=5)) == 200
        # It is warned anew before the new end, not ended at the old one.
        name, again = stream.read()
        assert (name, again["renew"]) == ("expiring", warning["renew"])
        assert renew(guarded, stream, again, token(life=600)) == 200
        time.sleep(2.5)
        published = publish(guarded, topic)
        assert stream.read()[1]["id"] == published


@pytest.mark.parametrize("kind", KINDS)
def test_a_renewal_that_is_refused_changes_nothing(guarded, kind):
    topic = unique_topic(kind)
    with Stream(kind, guarded, f"/v1/events/{topic}", token(subscribe=[topic], life=4)) as stream:
        name, warning = stream.read()
        assert name == "expiring"
        for text, status in [
            (token(b"another secret of more than thirty-two bytes."), 401),
            (token(life=-1), 401),
            ("nonsense", 401),
            (token(subscribe=[f"{topic}/*"]), 403),
            (token(subscribe=[]), 403),
        ]:
            assert renew(guarded, stream, warning, text) == status
        if kind != "websocket":
            answer = guarded.client.post(warning["renew"], headers=bearer(token(sub="bob")))
            assert_problem(answer, 403, "forbidden", "another subject")
            assert guarded.client.post(warning["renew"]).status_code == 401
        problem, _ = stream.read_end()
        assert problem["type"] == "/problems/expired-token"
    assert_problem(guarded.client.post(warning["renew"], headers=bearer(token())), 404, "not-found")


def test_renewals_of_nobody(guarded):
    for reader in ("", "0" * 32, "0" * 31, "g" * 32, "A" * 32, "0" * 33, "../x"):
        answer = guarded.client.post(f"/v1/renewals/{reader}", headers=bearer(token()))
        assert_problem(answer, 404, "not-found")
    assert guarded.client.get("/v1/renewals/" + "0" * 32, headers=bearer(token())).status_code == 405


def test_a_websocket_that_began_with_little_may_get_more(guarded):
    topic = unique_topic("more")
    with RawWebSocket(guarded, "/v1/events", bearer(token(sub="bob", publish=[topic], subscribe=[]))) as socket:
        assert socket.read_json()["control"] == "welcome"

        def ask(**command):
            socket.send_json(command)
            while (answer := socket.read_json())["control"] == "heartbeat":
                pass
            return answer

        assert ask(op="subscribe", topic=topic)["status"] == 403
        answer = ask(op="renew", token=token(subscribe=[topic]))
        assert answer["control"] == "renewed" and answer["expires"] > time.time()
        assert ask(op="subscribe", topic=topic)["control"] == "subscribed"
        assert ask(op="publish", topic="other", data=1)["control"] == "published"
        # What it reads now must be covered by the next.
        assert ask(op="renew", token=token(subscribe=["x"]))["status"] == 403
        assert ask(op="unsubscribe", topic=topic)["control"] == "unsubscribed"
        assert ask(op="renew", token=token(subscribe=["x"]))["control"] == "renewed"
        assert ask(op="subscribe", topic=topic)["status"] == 403


def test_an_anonymous_websocket_may_show_a_token_later(server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path), "--anonymous-subscribe", "news/*")
    with RawWebSocket(server, "/v1/events/news/1") as socket:
        assert socket.read_json()["control"] == "welcome"
        socket.send_json({"op": "subscribe", "topic": "mine"})
        assert socket.read_json()["status"] == 401
        socket.send_json({"op": "renew", "token": token(subscribe=["mine"])})
        assert socket.read_json()["status"] == 403  # it reads news/1, which the token does not grant
        socket.send_json({"op": "renew", "token": token(subscribe=["mine", "news/*"])})
        assert socket.read_json()["control"] == "renewed"
        socket.send_json({"op": "subscribe", "topic": "mine"})
        assert socket.read_json()["control"] == "subscribed"


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
def test_renewal_works_over_http2(guarded, kind):
    topic = unique_topic("h2")
    accept = ("accept", "text/event-stream" if kind == "sse" else "application/x-ndjson")
    with Client(guarded) as client:
        credential = ("authorization", f"Bearer {token(subscribe=[topic], life=3)}")
        stream = client.request("GET", f"/v1/events/{topic}", accept, credential)
        client.until_text(stream, "/v1/renewals/")
        text = bytes(client.answers[stream].body).decode()
        path = "/v1/renewals/" + text.split("/v1/renewals/")[1][:32]
        fresh = ("authorization", f"Bearer {token(subscribe=[topic])}")
        assert client.ask("POST", path, fresh).status == 200


def test_a_held_poll_ends_with_its_token(guarded):
    topic = unique_topic("held")
    text = token(subscribe=[topic], life=2)
    with RawConnection(guarded) as connection:
        began = time.monotonic()
        answer = connection.exchange("GET", f"/v1/events/{topic}?wait=30", bearer(text))
        assert answer.status == 200 and answer.json()["events"] == []
        assert time.monotonic() - began < 20
        again = connection.exchange("GET", f"/v1/events/{topic}?wait=30", bearer(text))
        assert_problem(again, 401, "expired-token")


@pytest.mark.parametrize("by", ["jti", "sub"])
@pytest.mark.parametrize("kind", [*KINDS, "longpoll"])
def test_a_revocation_ends_what_it_must_and_nothing_else(guarded, kind, by):
    topic, name = unique_topic(kind), unique_topic("name")
    mine = {"jti": name} if by == "jti" else {"sub": name}
    text = token(subscribe=[topic], **mine)
    other = token(subscribe=[topic], sub="bystander", jti="other-" + name)
    with Stream("sse", guarded, f"/v1/events/{topic}", other) as bystander:
        if kind == "longpoll":
            with RawConnection(guarded) as connection:
                connection.request("GET", f"/v1/events/{topic}?wait=60", bearer(text))
                eventually(lambda: guarded.metric("herald_held_requests") == 1, "the poll is held")
                revoke(guarded, **{by: name})
                answer = connection.read_response()
                assert_problem(answer, 401, "revoked-token")
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert connection.exchange("GET", "/healthz").status == 200
        else:
            with Stream(kind, guarded, f"/v1/events/{topic}", text) as stream:
                revoke(guarded, **{by: name})
                problem, code = stream.read_end()
                assert problem["type"] == "/problems/revoked-token"
                assert code == (1008 if kind == "websocket" else None)
        for door in (PUBLISH, SSE, SHORT_POLL, LONG_POLL):
            assert_problem(door.knock(guarded, topic, text), 401, "revoked-token")
        published = publish(guarded, topic)
        assert bystander.read()[1]["id"] == published


def test_a_subject_that_was_revoked_may_come_back_with_a_newer_token(guarded):
    name = unique_topic("back")
    old = token(sub=name)
    revoke(guarded, sub=name)
    assert SHORT_POLL.knock(guarded, "a", old).status == 401
    assert SHORT_POLL.knock(guarded, "a", token(sub=name, iat=None)).status == 401
    assert SHORT_POLL.knock(guarded, "a", token(sub=name, iat=int(time.time()) + 1)).status == 200


def test_who_may_revoke_and_what(guarded):
    def answer(body, text=ROOT, **more):
        headers = {**(bearer(text) if text else {}), "Content-Type": "application/json"}
        return guarded.client.post("/v1/revocations", content=body, headers=headers, **more)

    good = json.dumps({"jti": "x"})
    assert_problem(answer(good, None), 401, "unauthorized")
    assert_problem(answer(good, token()), 403, "forbidden", "manage")
    assert_problem(answer(good, token(manage=["a/**"])), 403, "forbidden", "manage")
    long = json.dumps({"sub": "a" * 1025})
    for body in ("{}", "[]", '{"jti":"a","sub":"b"}', '{"jti":1}', '{"jti":""}', '{"x":"y"}', long):
        assert_problem(answer(body), 422, "bad-revocation")
    for body in ("", "{", '{"jti":"a"} x'):
        assert_problem(answer(body), 422, "bad-json")
    assert answer(json.dumps({"sub": "a" * 1024})).status_code == 201
    assert guarded.client.get("/v1/revocations", headers=bearer(ROOT)).status_code == 405


def test_revocations_are_bounded_and_outlive_the_server(server_factory, servers, tmp_path):
    file = tmp_path / "revoked"
    flags = ["--token-secret-file", secret_file(tmp_path), "--revocation-file", file, "--max-revocations", "2"]
    server = server_factory(*flags)
    revoke(server, jti="one")
    revoke(server, sub="two")
    revoke(server, jti="one")
    answer = server.client.post("/v1/revocations", json={"jti": "three"}, headers=bearer(ROOT))
    assert_problem(answer, 503, "overloaded")
    assert SHORT_POLL.knock(server, "a", token(jti="three")).status == 200
    assert (file.stat().st_mode & 0o777) == 0o600
    server.process.kill()
    server.process.wait()
    server.stopped = True
    with file.open("ab") as torn:
        torn.write(b'{"jti":"cut o')
    again = server_factory(*flags)
    assert SHORT_POLL.knock(again, "a", token(jti="one")).status == 401
    assert SHORT_POLL.knock(again, "a", token(sub="two", iat=int(time.time()) - 60)).status == 401
    assert SHORT_POLL.knock(again, "a", token(jti="three")).status == 200
    assert again.metric("herald_revocations") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_after_the_end(guarded, kind):
    """While events come all the time: the last that was read was published before the end was told."""
    topic, name = unique_topic("flow"), unique_topic("name")
    done = threading.Event()

    def flow():
        while not done.is_set():
            publish(guarded, topic)

    publisher = threading.Thread(target=flow)
    publisher.start()
    try:
        with Stream(kind, guarded, f"/v1/events/{topic}", token(subscribe=[topic], jti=name)) as stream:
            for _ in range(20):
                assert stream.read()[0] == "event"
            revoke(guarded, jti=name)
            after = publish(guarded, topic)
            seen = []
            while (said := stream.read())[0] == "event":
                seen.append(said[1]["id"])
            assert said[0] == "end" and said[1]["type"] == "/problems/revoked-token"
            # The revocation is on its way to the loop when it is answered: at most what was in that turn comes.
            assert len([each for each in seen if sequence(each) > sequence(after)]) <= 50
            if seen:
                assert sequence(said[1]["cursor"]) >= sequence(seen[-1])
    finally:
        done.set()
        publisher.join()


def test_readers_are_counted_until_they_have_gone(guarded):
    eventually(lambda: guarded.metric("herald_admitted_readers") == 0, "all others have gone")
    topic = unique_topic("gauge")
    streams = [Stream(kind, guarded, f"/v1/events/{topic}", token()) for kind in KINDS for _ in range(5)]
    eventually(lambda: guarded.metric("herald_admitted_readers") == 15, "all are there")
    for number, stream in enumerate(streams):
        stream.connection.reset() if number % 2 else stream.connection.close()
    eventually(lambda: guarded.metric("herald_admitted_readers") == 0, "all have gone")
    counts = {event: guarded.metric("herald_admissions_total", event=event)
              for event in ("warned", "renewed", "expired", "revoked")}
    assert all(counts.values()), counts


def test_a_key_that_is_rotated_away_lets_nobody_in(server_factory, tmp_path):
    path = secret_file(tmp_path)
    server = server_factory("--token-secret-file", path)
    old, fresh = token(), b"a fresh secret of more than thirty-two bytes, for tests"
    assert SHORT_POLL.knock(server, "a", old).status == 200
    path.write_bytes(fresh)
    eventually(lambda: SHORT_POLL.knock(server, "a", old).status == 401, "the old key is gone")
    assert SHORT_POLL.knock(server, "a", tokens.encode({"herald": {"subscribe": ["a"]}}, fresh, "HS256")).status == 200
    assert SECRET not in server.log().encode()


def test_a_malformed_renewal_keeps_the_connection(guarded):
    with RawWebSocket(guarded, "/v1/events", bearer(token())) as socket:
        assert socket.read_json()["control"] == "welcome"
        for command in ({"op": "renew"}, {"op": "renew", "token": ""}, {"op": "renew", "token": 1}):
            socket.send_json(command)
            while (answer := socket.read_json())["control"] == "heartbeat":
                pass
            assert (answer["control"], answer["status"]) == ("error", 400)
        socket.send(frame(1, json.dumps({"op": "renew", "token": "x" * 70_000, "ref": 1}).encode()))
        while (answer := socket.read_json())["control"] == "heartbeat":
            pass
        assert answer["status"] == 401 and "xxx" not in json.dumps(answer)
