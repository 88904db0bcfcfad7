"""Long-polls and short-polls, by httpx."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from helpers import ID, PATIENCE, assert_problem, epoch, eventually, foreign_epoch, sequence, unique_topic


def get(server, topic, headers=None, **parameters):
    return server.client.get(
        f"/v1/events/{topic}", params=parameters, headers=headers, timeout=PATIENCE + 300
    )


def until_held(server, count):
    return eventually(lambda: server.metric("herald_held_requests") >= count, f"{count} held requests")


def test_a_page_has_events_next_and_gap(server, topic):
    published = [server.publish(topic)["id"] for _ in range(3)]
    answer = get(server, topic)
    page = answer.json()
    assert list(page) == ["events", "next", "gap"]
    assert [event["id"] for event in page["events"]] == published
    assert page["gap"] is None
    assert ID.match(page["next"])
    assert answer.headers["herald-cursor"] == page["next"]
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["etag"]


def test_a_poll_without_a_cursor_starts_at_the_earliest_event(server, topic):
    published = server.publish(topic)["id"]
    assert [event["id"] for event in server.poll(topic)["events"]] == [published]
    assert server.poll(topic, after="latest")["events"] == []


def test_next_leads_on(server, topic):
    published = [server.publish(topic)["id"] for _ in range(10)]
    seen, cursor = [], "earliest"
    for size in (3, 3, 3, 1, 0):
        page = server.poll(topic, after=cursor, max=3)
        assert len(page["events"]) == size
        seen += [event["id"] for event in page["events"]]
        cursor = page["next"]
    assert seen == published


def test_next_of_an_empty_page_is_not_behind_what_happened_elsewhere(server, topic):
    elsewhere = server.publish(unique_topic())["id"]
    assert sequence(server.poll(topic)["next"]) >= sequence(elsewhere)


@pytest.mark.parametrize("accept", [None, "application/json", "*/*", "text/html, */*;q=0.1"])
def test_anything_but_an_event_stream_is_a_poll(server, topic, accept):
    server.publish(topic)
    headers = {"Accept": accept} if accept else None
    assert get(server, topic, headers).headers["content-type"].split(";")[0] == "application/json"


def test_the_same_answer_again_is_not_modified(server, topic):
    server.publish(topic)
    first = get(server, topic)
    tag = first.headers["etag"]
    again = get(server, topic, {"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert get(server, topic, {"If-None-Match": f'"other", {tag}'}).status_code == 304
    assert get(server, topic, {"If-None-Match": "*"}).status_code == 304
    assert get(server, topic, {"If-None-Match": '"other"'}).status_code == 200
    server.publish(topic)
    changed = get(server, topic, {"If-None-Match": tag})
    assert changed.status_code == 200
    assert len(changed.json()["events"]) == 2
    assert changed.headers["etag"] != tag


def test_an_empty_answer_has_an_etag_too(server, topic):
    cursor = server.publish(topic)["id"]
    first = get(server, topic, after=cursor)
    assert first.json()["events"] == []
    assert get(server, topic, {"If-None-Match": first.headers["etag"]}, after=cursor).status_code == 304
    server.publish(topic)
    assert get(server, topic, {"If-None-Match": first.headers["etag"]}, after=cursor).status_code == 200


def test_a_resume_says_resumed_gap_or_reset(server_factory, topic):
    server = server_factory("--retain-events", 3)
    published = [server.publish(topic)["id"] for _ in range(8)]
    page = server.poll(topic, after=published[5])
    assert (page["resume"], page["gap"], len(page["events"])) == ("resumed", None, 2)
    page = server.poll(topic, after=published[1])
    assert page["resume"] == "gap"
    gap = page["gap"]
    assert (gap["topic"], gap["reason"], gap["from"], gap["to"]) == (topic, "evicted", published[2], published[4])
    assert [event["id"] for event in page["events"]] == published[5:]
    foreign = f"{foreign_epoch(published[0])}-1"
    page = server.poll(topic, after=foreign)
    assert page["resume"] == "reset"
    assert (page["gap"]["reason"], page["gap"]["from"]) == ("epoch", foreign)
    assert epoch(page["next"]) == epoch(published[0])
    assert [event["id"] for event in page["events"]] == published[5:]
    assert "resume" not in server.poll(topic, after="earliest")


def test_last_event_id_wins_over_after(server, topic):
    published = [server.publish(topic)["id"] for _ in range(3)]
    page = get(server, topic, {"Last-Event-ID": published[1]}, after=published[0]).json()
    assert [event["id"] for event in page["events"]] == published[2:]


def test_several_filters_give_one_order(server, topic):
    published = [server.publish(f"{topic}/{number % 3}")["id"] for number in range(9)]
    page = server.client.get(f"/v1/events?topic={topic}/0&topic={topic}/1&topic={topic}/2").json()
    assert [event["id"] for event in page["events"]] == published


def test_a_long_poll_is_answered_at_once_when_events_lie_after_the_cursor(server, topic):
    published = server.publish(topic)["id"]
    page = get(server, topic, wait=300).json()
    assert [event["id"] for event in page["events"]] == [published]


@pytest.mark.parametrize("prefer", [False, True])
def test_a_long_poll_is_answered_at_the_first_event(server, topic, prefer):
    cursor = server.publish(topic)["id"]
    before = server.metric("herald_held_requests")
    with ThreadPoolExecutor(1) as pool:
        if prefer:
            held = pool.submit(get, server, topic, {"Prefer": "respond-async, wait=300"}, after=cursor)
        else:
            held = pool.submit(get, server, topic, None, after=cursor, wait=300)
        until_held(server, before + 1)
        published = server.publish(topic)["id"]
        answer = held.result(PATIENCE)
    assert [event["id"] for event in answer.json()["events"]] == [published]
    assert answer.json()["next"] == published


def test_a_long_poll_is_answered_empty_at_its_deadline(server, topic):
    cursor = server.publish(topic)["id"]
    elsewhere = server.publish(unique_topic())["id"]
    begun = time.monotonic()
    answer = get(server, topic, after=cursor, wait=1)
    assert time.monotonic() - begun > 0.9, "it was held"
    page = answer.json()
    assert answer.status_code == 200
    assert (page["events"], page["gap"]) == ([], None)
    assert sequence(page["next"]) >= sequence(elsewhere)


def test_wait_of_zero_is_a_short_poll(server, topic):
    cursor = server.publish(topic)["id"]
    assert get(server, topic, after=cursor, wait=0).json()["events"] == []


def test_a_preference_beyond_the_cap_is_clamped(server_factory, topic):
    server = server_factory("--max-wait", "1s")
    answer = get(server, topic, {"Prefer": "wait=86400"}, after="latest")
    assert answer.json()["events"] == []
    assert_problem(get(server, topic, wait=2), 400, "bad-parameter", "wait")


def test_a_long_poll_at_latest_sees_what_is_published_after_it(server, topic):
    server.publish(topic)
    before = server.metric("herald_held_requests")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(get, server, topic, None, after="latest", wait=300)
        until_held(server, before + 1)
        published = server.publish(topic)["id"]
        assert [event["id"] for event in held.result(PATIENCE).json()["events"]] == [published]


def test_twenty_held_polls_all_get_the_event(server, topic):
    cursor = server.publish(topic)["id"]
    before = server.metric("herald_held_requests")
    with ThreadPoolExecutor(20) as pool:
        filters = [topic, f"{topic.split('/')[0]}/*"]
        held = [
            pool.submit(get, server, filters[number % 2], None, after=cursor, wait=300) for number in range(20)
        ]
        until_held(server, before + 20)
        published = server.publish(topic)
        pages = [each.result(PATIENCE).json() for each in held]
    assert published["receivers"] == 20
    assert [[event["id"] for event in page["events"]] for page in pages] == [[published["id"]]] * 20
    eventually(lambda: server.metric("herald_held_requests") <= before, "none is held any more")


def test_chained_long_polls_miss_nothing_while_events_are_published(server, topic):
    cursor = server.publish(topic)["id"]
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(lambda: [server.publish(topic)["id"] for _ in range(200)])
        seen = []
        while len(seen) < 200:
            page = get(server, topic, after=cursor, wait=60, max=7).json()
            assert len(page["events"]) <= 7 and page["gap"] is None
            seen += [event["id"] for event in page["events"]]
            cursor = page["next"]
        assert seen == publishing.result(PATIENCE)


def test_a_held_poll_whose_client_leaves_is_forgotten(server, topic):
    server.publish(topic)
    before = server.metric("herald_held_requests")
    with ThreadPoolExecutor(1) as pool:
        client = httpx.Client(base_url=server.url, trust_env=False, timeout=httpx.Timeout(PATIENCE, read=0.5))
        held = pool.submit(client.get, f"/v1/events/{topic}?after=latest&wait=300")
        assert isinstance(held.exception(PATIENCE), httpx.ReadTimeout)
        client.close()
    eventually(lambda: server.metric("herald_held_requests") <= before, "the poll is not held any more")
    assert server.publish(topic)["receivers"] == 0


def test_a_page_holds_at_most_a_thousand_events_and_a_hundred_by_default(server_factory, topic):
    server = server_factory("--retain-events", 2000)
    for _ in range(11):
        server.publish_many([(topic, "x")] * 100)
    assert len(server.poll(topic)["events"]) == 100
    assert len(server.poll(topic, max=1000)["events"]) == 1000
    assert len(server.poll(topic, max=1)["events"]) == 1


def test_a_head_request_is_answered_like_the_poll_without_its_body(server, topic):
    server.publish(topic)
    answer = server.client.head(f"/v1/events/{topic}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].split(";")[0] == "application/json"
