"""Publishing over REST: single events, batches, CloudEvents, idempotency."""

import base64
import json

import pytest

from helpers import ID, TIME, assert_problem, eventually, foreign_epoch, sequence, unique_topic
from readers import open_reader

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


def post(server, path, content, **headers):
    return server.client.post(
        path, content=content, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_one_event_is_answered_with_its_id_topic_time_and_receivers(server, topic):
    answer = post(server, f"/v1/events/{topic}", b'{"n":1}', Content_Type="application/json")
    assert answer.status_code == 201
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    body = answer.json()
    assert list(body) == ["id", "topic", "time", "receivers"]
    assert ID.match(body["id"]) and TIME.match(body["time"])
    assert (body["topic"], body["receivers"]) == (topic, 0)


def test_receivers_counts_the_live_readers_that_match(server, topic):
    server.publish(topic)
    with open_reader(server, "sse", topic), open_reader(server, "websocket", [topic, "**"]):
        server.until_readers(topic, 2)
        assert server.publish(topic)["receivers"] >= 2
    eventually(lambda: server.publish(topic)["receivers"] == 0, "readers that left are not counted")


@pytest.mark.parametrize(
    ("data", "content_type", "member", "value"),
    [
        (b'{"a": [1, 2.50, "\\u00e9"]}', "application/json", "data", {"a": [1, 2.5, "é"]}),
        (b"[]", "application/vnd.test+json", "data", []),
        (b"null", "application/json; charset=utf-8", "data", None),
        (b"{\n \"a\":\r\n 1}", "application/json", "data", {"a": 1}),
        ("grüße\nzwei".encode(), "text/plain; charset=utf-8", "data", "grüße\nzwei"),
        (b"<a/>", "application/xml", "data", "<a/>"),
        (b"<a/>", "image/svg+xml", "data", "<a/>"),
        (b"a=b&c", "application/x-www-form-urlencoded", "data", "a=b&c"),
        (b"{oops", "application/json", "data_base64", base64.b64encode(b"{oops").decode()),
        (b"\xff\xfe", "text/plain", "data_base64", base64.b64encode(b"\xff\xfe").decode()),
        (b"\xff{", "application/json", "data_base64", base64.b64encode(b"\xff{").decode()),
        (b"plain", "application/octet-stream", "data_base64", base64.b64encode(b"plain").decode()),
        (bytes(range(256)), "image/png", "data_base64", base64.b64encode(bytes(range(256))).decode()),
        (b"", "text/plain", "data", ""),
    ],
)
def test_data_is_embedded_by_its_content_type(server, topic, data, content_type, member, value):
    published = server.publish(topic, data, content_type)
    (event,) = server.poll(topic)["events"]
    assert event[member] == value
    assert ("data" in event) != ("data_base64" in event)
    assert event["datacontenttype"] == content_type
    assert (event["id"], event["time"]) == (published["id"], published["time"])


def test_an_events_members_stand_in_this_order(server, topic):
    server.publish(topic, b"1", "application/json", Herald_Type="order.paid")
    text = server.client.get(f"/v1/events/{topic}").text
    event = json.loads(text)["events"][0]
    assert list(event) == ["id", "topic", "type", "time", "datacontenttype", "data"]
    assert event["type"] == "order.paid"


def test_without_a_content_type_data_is_bytes(server, topic):
    server.client.post(f"/v1/events/{topic}", content=b"x")
    assert server.poll(topic)["events"][0]["datacontenttype"] == "application/octet-stream"


def test_big_numbers_and_spacing_of_json_are_kept_as_they_are(server, topic):
    data = b'{"n":12345678901234567890.10e-400,"s":"\\ud83d\\ude00"}'
    server.publish(topic, data, "application/json")
    assert data in server.client.get(f"/v1/events/{topic}").content


def test_ndjson_publishes_all_lines_in_order(server, topic):
    other = unique_topic()
    lines = [
        {"topic": topic, "data": "text"},
        {"topic": other, "type": "t", "data": {"a": 1}},
        {"topic": topic, "data_base64": base64.b64encode(b"\x00\x01").decode()},
        {"topic": topic, "data": "json", "datacontenttype": "application/json"},
    ]
    answer = server.client.post(
        "/v1/events", content="\n".join(map(json.dumps, lines)) + "\n", headers=NDJSON
    )
    assert answer.status_code == 201, answer.text
    events = answer.json()["events"]
    assert [event["topic"] for event in events] == [topic, other, topic, topic]
    numbers = [sequence(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    kept = server.poll(topic)["events"]
    assert [(event["datacontenttype"], event.get("data"), event.get("data_base64")) for event in kept] == [
        ("text/plain", "text", None),
        ("application/octet-stream", None, "AAE="),
        ("application/json", "json", None),
    ]
    (second,) = server.poll(other)["events"]
    assert (second["type"], second["data"], second["datacontenttype"]) == ("t", {"a": 1}, "application/json")


def test_a_json_array_publishes_all_items(server, topic):
    items = [{"topic": topic, "data": number} for number in range(20)]
    answer = server.client.post("/v1/events", content=json.dumps(items), headers=JSON)
    assert answer.status_code == 201, answer.text
    assert [event["data"] for event in server.poll(topic)["events"]] == list(range(20))
    assert set(answer.json()["events"][0]) == {"id", "topic", "time", "receivers"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_bad_json_on_a_line_names_line_and_column_and_publishes_nothing(server, topic, newline):
    good = json.dumps({"topic": topic, "data": 1})
    body = newline.join([good, good, '{"topic": "x", "data": @}', good])
    answer = server.client.post("/v1/events", content=body, headers=NDJSON)
    problem = assert_problem(answer, 422, "bad-json")
    assert (problem["line"], problem["column"]) == (3, 24)
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


def test_bad_json_in_an_array_names_line_and_column_and_publishes_nothing(server, topic):
    body = '[\n {"topic": "%s", "data": 1},\n {"topic": "x" "data": 2}\n]' % topic
    problem = assert_problem(server.client.post("/v1/events", content=body, headers=JSON), 422, "bad-json")
    assert (problem["line"], problem["column"]) == (3, 16)
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


@pytest.mark.parametrize(
    "item",
    [
        {"data": 1},
        {"topic": 5, "data": 1},
        {"topic": "a//b", "data": 1},
        {"topic": "~server/x", "data": 1},
        {"topic": "t/x"},
        {"topic": "t/x", "data": 1, "data_base64": "AA=="},
        {"topic": "t/x", "data_base64": "not base64!"},
        {"topic": "t/x", "data": 1, "type": "two words"},
        {"topic": "t/x", "data": 1, "type": "x" * 129},
        {"topic": "t/x", "data": 1, "colour": "red"},
        [],
        7,
    ],
)
def test_an_item_that_is_no_event_refuses_the_whole_batch(server, topic, item):
    good = {"topic": topic, "data": 1}
    lines = "\n".join(map(json.dumps, [good, item]))
    problem = assert_problem(
        server.client.post("/v1/events", content=lines, headers=NDJSON), 422, ("bad-event", "bad-topic")
    )
    assert problem["line"] == 2
    problem = assert_problem(
        server.client.post("/v1/events", content=json.dumps([good, good, item]), headers=JSON),
        422,
        ("bad-event", "bad-topic"),
    )
    assert problem["index"] == 2
    assert server.client.get(f"/v1/topics/{topic}").status_code == 404


@pytest.mark.parametrize(("headers", "body"), [(NDJSON, b""), (NDJSON, b"\n"), (JSON, b"[]"), (JSON, b"{}")])
def test_a_batch_without_events_is_refused(server, headers, body):
    assert_problem(server.client.post("/v1/events", content=body, headers=headers), 422, ("bad-event", "bad-json"))


def test_a_body_of_an_unknown_kind_is_refused(server):
    answer = server.client.post("/v1/events", content=b"x", headers={"Content-Type": "image/png"})
    assert_problem(answer, 415, "unsupported-media-type", "image/png")
    assert_problem(server.client.post("/v1/events", content=b"x"), 415, "unsupported-media-type")


def test_a_cloudevent_in_binary_mode(server, topic):
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "com.example.paid",
        "ce-id": "a-1",
        "ce-source": "/shop",
        "Content-Type": "application/json",
    }
    answer = server.client.post(f"/v1/events/{topic}", content=b'{"n":1}', headers=headers)
    assert answer.status_code == 201, answer.text
    (event,) = server.poll(topic)["events"]
    assert (event["type"], event["data"]) == ("com.example.paid", {"n": 1})
    for missing in ("ce-type", "ce-id", "ce-source"):
        rest = {name: value for name, value in headers.items() if name != missing}
        answer = server.client.post(f"/v1/events/{topic}", content=b"1", headers=rest)
        assert_problem(answer, 400, "bad-event", missing)
    answer = server.client.post(f"/v1/events/{topic}", content=b"1", headers={**headers, "ce-specversion": "9"})
    assert_problem(answer, 400, "bad-event", "specversion")
    assert len(server.poll(topic)["events"]) == 1


def cloud_event(topic=None, **members):
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "paid", **members}
    return {**event, "subject": topic} if topic else event


def test_a_cloudevent_in_structured_mode(server, topic):
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    in_path = json.dumps(cloud_event(data={"n": 1}, datacontenttype="application/json", extension="kept out"))
    assert server.client.post(f"/v1/events/{topic}", content=in_path, headers=headers).status_code == 201
    in_subject = json.dumps(cloud_event(topic, data_base64="AAE=", datacontenttype="image/png"))
    assert server.client.post("/v1/events", content=in_subject, headers=headers).status_code == 201
    first, second = server.poll(topic)["events"]
    assert (first["type"], first["data"], first["datacontenttype"]) == ("paid", {"n": 1}, "application/json")
    assert (second["data_base64"], second["datacontenttype"]) == ("AAE=", "image/png")
    without = server.client.post("/v1/events", content=json.dumps(cloud_event(data=1)), headers=headers)
    assert_problem(without, 422, ("bad-event", "bad-topic"), "subject")


def test_cloudevents_in_batch_mode(server, topic):
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    batch = [cloud_event(topic, data=number) for number in range(3)]
    answer = server.client.post("/v1/events", content=json.dumps(batch), headers=headers)
    assert answer.status_code == 201, answer.text
    assert [event["topic"] for event in answer.json()["events"]] == [topic] * 3
    assert [event["data"] for event in server.poll(topic)["events"]] == [0, 1, 2]
    batch[1].pop("subject")
    problem = assert_problem(
        server.client.post("/v1/events", content=json.dumps(batch), headers=headers), 422, ("bad-event", "bad-topic")
    )
    assert problem["index"] == 1
    assert len(server.poll(topic)["events"]) == 3


def test_a_repeated_idempotency_key_gets_the_first_answer_and_publishes_nothing(server, topic):
    key = {"Idempotency_Key": topic.split("/")[1]}
    first = post(server, f"/v1/events/{topic}", b"1", Content_Type="application/json", **key)
    again = post(server, f"/v1/events/{topic}", b"1", Content_Type="application/json", **key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(server.poll(topic)["events"]) == 1


def test_an_idempotency_key_with_other_content_is_refused(server, topic):
    key = {"Idempotency_Key": topic.split("/")[1]}
    post(server, f"/v1/events/{topic}", b"1", **key)
    assert_problem(post(server, f"/v1/events/{topic}", b"2", **key), 422, "idempotency-conflict")
    assert_problem(post(server, f"/v1/events/{topic}/b", b"1", **key), 422, "idempotency-conflict")
    assert len(server.poll(topic)["events"]) == 1


def test_a_batch_has_idempotency_too(server, topic):
    body = json.dumps([{"topic": topic, "data": number} for number in range(2)])
    headers = {**JSON, "Idempotency-Key": topic.split("/")[1]}
    first = server.client.post("/v1/events", content=body, headers=headers)
    again = server.client.post("/v1/events", content=body, headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert len(server.poll(topic)["events"]) == 2


def test_a_refused_publish_does_not_use_up_its_key(server, topic):
    headers = {**JSON, "Idempotency-Key": topic.split("/")[1]}
    assert server.client.post("/v1/events", content="[", headers=headers).status_code == 422
    body = json.dumps([{"topic": topic, "data": 1}])
    assert server.client.post("/v1/events", content=body, headers=headers).status_code == 201


def test_an_idempotency_key_is_forgotten_after_its_window(server_factory, topic):
    server = server_factory("--idempotency-window", "1s")
    first = post(server, f"/v1/events/{topic}", b"1", Idempotency_Key="k")
    assert first.status_code == 201

    def published_anew():
        answer = post(server, f"/v1/events/{topic}", b"1", Idempotency_Key="k")
        return answer.status_code == 201 and answer.json()["id"] != first.json()["id"]

    eventually(published_anew, "the key is forgotten")


def test_the_epoch_changes_with_each_start(server, server_factory):
    mine, other = server.head_cursor(), server_factory().head_cursor()
    assert mine.split("-")[0] != other.split("-")[0]
    assert foreign_epoch(mine) != mine.split("-")[0]
