"""The state of topics."""

import pytest

from helpers import ID, TRANSPORTS, assert_problem, eventually, sequence, unique_topic
from readers import open_reader

MEMBERS = ["topic", "retained", "retained_bytes", "floor", "head", "published", "subscribers"]


def state(server, topic):
    answer = server.client.get(f"/v1/topics/{topic}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_topics_state(server, topic):
    published = [server.publish(topic, b"x" * 10)["id"] for _ in range(3)]
    body = state(server, topic)
    assert list(body) == MEMBERS
    assert body["topic"] == topic
    assert (body["retained"], body["published"]) == (3, 3)
    assert body["retained_bytes"] >= 30
    assert body["head"] == published[-1]
    assert ID.match(body["floor"]) and sequence(body["floor"]) < sequence(published[0])
    assert body["subscribers"] == dict.fromkeys(TRANSPORTS, 0)


def test_an_unknown_topic_is_not_found(server):
    assert_problem(server.client.get(f"/v1/topics/{unique_topic()}"), 404, "not-found")
    assert_problem(server.client.delete(f"/v1/topics/{unique_topic()}"), 404, "not-found")


@pytest.mark.parametrize("transport", ["websocket", "sse", "ndjson"])
def test_subscribers_are_counted_by_transport(server, topic, transport):
    server.publish(topic)
    with open_reader(server, transport, topic), open_reader(server, transport, f"{topic.split('/')[0]}/**"):
        eventually(lambda: state(server, topic)["subscribers"][transport] == 2, "two readers")
    eventually(lambda: sum(state(server, topic)["subscribers"].values()) == 0, "no readers")


def test_the_floor_rises_as_events_are_evicted(server_factory, topic):
    server = server_factory("--retain-events", 4)
    published = [server.publish(topic)["id"] for _ in range(10)]
    body = state(server, topic)
    assert (body["retained"], body["published"], body["head"]) == (4, 10, published[-1])
    assert body["floor"] == published[5]


def test_topics_are_listed_by_name_in_pages(server):
    prefix = unique_topic("list")
    names = sorted(f"{prefix}/{letter}{number}" for letter in "ab-~" for number in range(5))
    server.publish_many([(name, "x") for name in reversed(names)])
    seen, after = [], None
    while True:
        parameters = {"prefix": prefix, "limit": 6, **({"after": after} if after else {})}
        page = server.client.get("/v1/topics", params=parameters).json()
        assert len(page["topics"]) <= 6
        seen += [each["topic"] for each in page["topics"]]
        assert all(list(each) == MEMBERS for each in page["topics"])
        if page["next"] is None:
            break
        assert page["next"] == seen[-1]
        after = page["next"]
    assert seen == names


def test_a_prefix_need_not_end_at_a_segment(server):
    prefix = unique_topic("list")
    server.publish_many([(f"{prefix}/{name}", "x") for name in ("abc", "abd", "b")])
    page = server.client.get("/v1/topics", params={"prefix": f"{prefix}/ab"}).json()
    assert [each["topic"] for each in page["topics"]] == [f"{prefix}/abc", f"{prefix}/abd"]
    assert server.client.get("/v1/topics", params={"prefix": f"{prefix}/none"}).json() == {"topics": [], "next": None}


def test_the_servers_own_topics_are_listed_only_when_asked_for(server_factory):
    server = server_factory()
    eventually(lambda: server.client.get("/readyz").status_code == 200, "the server's own topic is there")
    assert server.client.get("/v1/topics").json() == {"topics": [], "next": None}
    server.publish("a")
    page = server.client.get("/v1/topics", params={"limit": 1}).json()
    assert ([each["topic"] for each in page["topics"]], page["next"]) == (["a"], None)
    own = server.client.get("/v1/topics", params={"prefix": "~"}).json()["topics"]
    assert [each["topic"] for each in own] == ["~herald/probe"]


@pytest.mark.parametrize(("limit", "status"), [("1", 200), ("1000", 200), ("0", 400), ("1001", 400), ("x", 400)])
def test_limit_is_bounded(server, limit, status):
    answer = server.client.get("/v1/topics", params={"limit": limit})
    assert answer.status_code == status
    if status == 400:
        assert_problem(answer, 400, "bad-parameter", "limit")


def test_an_unknown_parameter_is_refused(server):
    assert_problem(server.client.get("/v1/topics?colour=red"), 400, "bad-parameter", "colour")


def test_purge_drops_what_is_kept_and_readers_behind_are_told(server, topic):
    published = [server.publish(topic)["id"] for _ in range(3)]
    assert server.client.delete(f"/v1/topics/{topic}").status_code == 204
    body = state(server, topic)
    assert (body["retained"], body["retained_bytes"]) == (0, 0)
    assert sequence(body["floor"]) >= sequence(published[-1])
    page = server.poll(topic, after=published[0])
    assert page["resume"] == "gap"
    assert page["gap"]["from"] == published[1]
    assert page["events"] == []
    assert server.poll(topic, after=published[-1])["resume"] == "resumed"
    last = server.publish(topic)["id"]
    assert [event["id"] for event in server.poll(topic)["events"]] == [last]


def test_an_escaped_topic_is_the_topic(server, topic):
    server.publish(topic)
    escaped = topic.replace("t", "%74")
    assert server.client.get(f"/v1/topics/{escaped}").json()["topic"] == topic
    assert len(server.client.get(f"/v1/events/{escaped}").json()["events"]) == 1
    assert server.client.post(f"/v1/events/{escaped}", content=b"x").json()["topic"] == topic


def test_every_character_of_the_grammar_is_a_topic(server, topic):
    name = f"{topic}/Az09-_.~:@/~b"
    answer = server.client.post(f"/v1/events/{name}", content=b"x")
    assert answer.status_code == 201, answer.text
    assert state(server, name)["published"] == 1


def test_plain_resources_answer(server):
    assert server.client.get("/healthz").json() == {"status": "ok"}
    assert server.client.get("/readyz").json()["status"] == "ready"
    kinds = {
        "/": ("text/html",),
        "/console.js": ("text/javascript", "application/javascript"),
        "/console/lab.js": ("text/javascript", "application/javascript"),
        "/console.css": ("text/css",),
        "/herald.js": ("text/javascript",),
        "/herald.d.ts": ("application/typescript",),
        "/openapi.txt": ("application/yaml",),
        "/metrics": ("text/plain",),
    }
    for path, kind in kinds.items():
        answer = server.client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].split(";")[0] in kind, (path, answer.headers)
        head = server.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == answer.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/healthz", {"GET", "HEAD"}),
        ("/v1/topics", {"GET", "HEAD"}),
        ("/v1/topics/a", {"GET", "HEAD", "DELETE"}),
        ("/v1/events/a", {"GET", "POST"}),
        ("/v1/events", {"GET", "POST"}),
    ],
)
def test_options_names_the_methods(server, path, methods):
    answer = server.client.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert methods <= {each.strip() for each in answer.headers["allow"].split(",")}
