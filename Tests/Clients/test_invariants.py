"""What must hold on every transport: the invariants of the design, over real sockets."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers import (
    PATIENCE,
    TRANSPORTS,
    EventStream,
    LineStream,
    RawWebSocket,
    eventually,
    foreign_epoch,
    sequence,
    unique_topic,
)
from readers import assert_ascending, assert_whole, open_reader

# Large enough that no socket buffer of the kernel holds what a stalled reader does not read.
BIG = "x" * 16000


class Publisher(threading.Thread):
    """Publishes numbered events to some topics, batch by batch, for as many events as asked."""

    def __init__(self, server, topics, count, batch=5):
        super().__init__(daemon=True)
        self.server, self.topics, self.count, self.batch = server, topics, count, batch
        self.ids = []
        self.error = None

    def run(self):
        try:
            for start in range(0, self.count, self.batch):
                numbers = range(start, min(start + self.batch, self.count))
                self.ids += self.server.publish_many(
                    [(self.topics[number % len(self.topics)], {"n": number}) for number in numbers]
                )
        except Exception as error:  # noqa: BLE001 - told to the test that waits
            self.error = error

    def finish(self):
        self.join(PATIENCE * 4)
        assert self.error is None and not self.is_alive(), self.error
        return self.ids


@pytest.fixture(scope="module")
def roomy(servers):
    """A server that keeps everything these tests publish."""
    started = servers.start("invariants-roomy", "--loops", 2, "--retain-events", 100000)
    yield started
    servers.stop(started)


@pytest.fixture(scope="module")
def tight(servers):
    """A server that keeps so little that readers fall behind it."""
    started = servers.start("invariants-tight", "--loops", 2, "--retain-events", 20)
    yield started
    servers.stop(started)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reader_sees_ascending_ids_without_repeats_or_holes(roomy, topic, transport):
    topics = [f"{topic}/{number}" for number in range(3)]
    start = roomy.head_cursor()
    with open_reader(roomy, transport, f"{topic}/*", after=start) as reader:
        publisher = Publisher(roomy, topics, 1000)
        publisher.start()
        items = []
        while len(items) < 1000:
            item = reader.read()
            if item.kind == "event":
                items.append(item)
            else:
                assert item.kind == "resumed", item
        published = publisher.finish()
    assert [item.id for item in items] == published
    assert [item.data["n"] for item in items] == list(range(1000))


@pytest.mark.parametrize("seed", range(4))
def test_a_reader_that_changes_transport_at_random_misses_and_repeats_nothing(roomy, topic, seed):
    chance = random.Random(seed)
    topics = [f"{topic}/{number}" for number in range(3)]
    filters = [f"{topic}/*", topics[0]]
    cursor = roomy.head_cursor()
    publisher = Publisher(roomy, topics, 800, batch=3)
    publisher.start()
    seen, used = [], []
    while len(seen) < 800:
        transport = chance.choice(TRANSPORTS)
        used.append(transport)
        with open_reader(roomy, transport, filters, after=cursor) as reader:
            outcome = reader.read()
            if outcome.kind == "event":
                seen.append(outcome)
            else:
                assert outcome.kind == "resumed", outcome
            for _ in range(min(chance.randrange(1, 60), 800 - len(seen))):
                seen.append(reader.read_event())
        if seen:
            cursor = seen[-1].id
    published = publisher.finish()
    assert [item.id for item in seen] == published, used


@pytest.mark.parametrize("seed", range(2))
def test_a_reader_that_changes_transport_and_falls_behind_is_told_of_every_hole(tight, topic, seed):
    chance = random.Random(100 + seed)
    topics = [f"{topic}/{number}" for number in range(3)]
    cursor = tight.head_cursor()
    publisher = Publisher(tight, topics, 1000, batch=10)
    publisher.start()
    items = []
    # The newest event is always kept, so the last one comes, whatever else is missed.
    is_done = False
    while not is_done:
        with open_reader(tight, chance.choice(TRANSPORTS), f"{topic}/*", after=cursor) as reader:
            for _ in range(chance.randrange(1, 30)):
                items.append(reader.read())
                if items[-1].kind == "event":
                    cursor = items[-1].id
                    is_done = items[-1].data["n"] == publisher.count - 1
                if is_done:
                    break
    assert_whole(items, publisher.finish())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_last_id_resumes_all_filters(roomy, topic, transport):
    """An event with a smaller sequence never follows one with a larger, whichever filter it matched."""
    topics = [f"{topic}/{letter}/x" for letter in "abcd"]
    filters = [f"{topic}/a/*", f"{topic}/b/**", *topics[2:]]
    start = roomy.head_cursor()
    publishers = [Publisher(roomy, [each], 150, batch=1) for each in topics]
    with open_reader(roomy, transport, filters, after=start) as reader:
        for publisher in publishers:
            publisher.start()
        first = [reader.read_event() for _ in range(217)]
    with open_reader(roomy, transport, filters, after=first[-1].id) as reader:
        second = [reader.read_event() for _ in range(600 - 217)]
    assert_ascending(first + second)
    published = {each for publisher in publishers for each in publisher.finish()}
    assert {item.id for item in first + second} == published


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_several_matching_filters_deliver_an_event_once(roomy, topic, transport):
    filters = [f"{topic}/**", f"{topic}/*/x", f"{topic}/a/*", f"{topic}/a/x", "**"]
    start = roomy.head_cursor()
    with open_reader(roomy, transport, filters, after=start) as reader:
        published = [roomy.publish(f"{topic}/a/x")["id"] for _ in range(30)]
        seen = []
        while not seen or sequence(seen[-1]) < sequence(published[-1]):
            event = reader.read_event()
            if event.body["topic"] == f"{topic}/a/x":
                seen.append(event.id)
    assert seen == published


def test_what_was_answered_201_can_be_read_at_once(roomy, topic):
    for number in range(100):
        published = roomy.publish(topic, str(number))["id"]
        assert roomy.poll(topic, after="earliest", max=1000)["events"][-1]["id"] == published


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_late_joiners_and_live_readers_agree(roomy, topic, transport):
    """Readers that join from the earliest event while events are published see what live readers see."""
    roomy.publish(topic)
    publisher = Publisher(roomy, [f"{topic}/x"], 600, batch=2)

    def join():
        with open_reader(roomy, transport, f"{topic}/x", after="earliest") as reader:
            return [reader.read_event().id for _ in range(600)]

    publisher.start()
    with ThreadPoolExecutor(6) as pool:
        results = [each.result(PATIENCE * 4) for each in [pool.submit(join) for _ in range(6)]]
    published = publisher.finish()
    assert results == [published] * 6


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_another_epoch_is_a_reset_with_the_same_fields_everywhere(roomy, topic, transport):
    published = [roomy.publish(topic)["id"] for _ in range(3)]
    foreign = f"{foreign_epoch(published[0])}-9"
    with open_reader(roomy, transport, topic, after=foreign) as reader:
        items = reader.read_until(published[-1])
    assert [item.kind for item in items] == ["reset", "event", "event", "event"]
    body = items[0].body
    assert set(body) == {"resume", "topic", "from", "to", "reason", "cursor"}
    assert (body["resume"], body["reason"], body["from"]) == ("reset", "epoch", foreign)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_gap_has_the_same_fields_everywhere(tight, topic, transport):
    published = [tight.publish(topic)["id"] for _ in range(50)]
    with open_reader(tight, transport, topic, after=published[4]) as reader:
        items = reader.read_until(published[-1])
    assert [item.kind for item in items] == ["gap"] + ["event"] * 20
    body = items[0].body
    assert set(body) == {"resume", "topic", "from", "to", "reason", "cursor"}
    assert (body["resume"], body["reason"], body["topic"]) == ("gap", "evicted", topic)
    assert (body["from"], body["to"]) == (published[5], published[29])


@pytest.mark.parametrize("transport", ["sse", "ndjson", "websocket"])
def test_a_slow_reader_gets_a_gap_and_goes_on(tight, topic, transport):
    target = f"/v1/events/{topic}"
    if transport == "sse":
        reader = EventStream(tight, target, receive_buffer=8192)
        reader.read_block()
    else:
        kind = LineStream if transport == "ndjson" else RawWebSocket
        reader = kind(tight, target, receive_buffer=8192)
        reader.read_json()
    with reader:
        published = []
        while tight.metric("herald_readers", transport=transport, state="stalled") < 1 or len(published) < 400:
            published += tight.publish_many([(topic, BIG)] * 20)
            assert len(published) < 20000, "the reader never stalled"
        seen, gaps = [], []
        while not seen or seen[-1] != published[-1]:
            if transport == "sse":
                event, identifier, data = reader.read_event()
                if event == "herald.gap":
                    gaps.append(data)
                else:
                    seen.append(identifier)
            else:
                message = reader.read_json()
                if message.get("control") == "gap":
                    gaps.append(message)
                    assert message["reason"] == "evicted" and "resume" not in message
                elif "id" in message:
                    seen.append(message["id"])
        assert gaps
        numbers = [sequence(each) for each in seen]
        assert numbers == sorted(set(numbers))
        assert seen[-20:] == published[-20:]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stalled_reader_does_not_slow_another(tight, topic, transport):
    target = f"/v1/events/{topic}"
    stalled = [EventStream(tight, target, receive_buffer=8192) for _ in range(3)]
    stalled += [RawWebSocket(tight, target, receive_buffer=8192) for _ in range(3)]
    start = tight.publish(topic, BIG)["id"]
    with open_reader(tight, transport, topic, after=start) as reader:
        seen, published = [], []
        # The publisher waits for the fast reader after each batch, and never for the stalled ones.
        for _ in range(100):
            published += tight.publish_many([(topic, BIG)] * 20)
            while not seen or seen[-1] != published[-1]:
                item = reader.read()
                assert item.kind in ("event", "resumed"), item
                if item.kind == "event":
                    seen.append(item.id)
    assert seen == published
    assert tight.metric("herald_readers", state="stalled") > 0
    for each in stalled:
        each.reset()


def test_a_stalled_reader_costs_no_queue(tight, topic):
    stalled = [EventStream(tight, f"/v1/events/{topic}", receive_buffer=8192) for _ in range(20)]
    for _ in range(50):
        tight.publish_many([(topic, BIG)] * 20)
    before = tight.memory_bytes()
    for _ in range(200):
        tight.publish_many([(topic, BIG)] * 20)
    assert tight.memory_bytes() - before < 30 << 20, "64 MB passed each of 20 readers"
    for each in stalled:
        each.reset()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_forgotten_topic_still_shows_as_a_gap(server_factory, topic, transport):
    server = server_factory("--retain-age", "1s", "--topic-idle", "100ms")
    published = [server.publish(topic)["id"] for _ in range(4)]
    eventually(lambda: server.client.get(f"/v1/topics/{topic}").status_code == 404, "the topic is forgotten")
    last = server.publish(topic)["id"]
    with open_reader(server, transport, topic, after=published[1]) as reader:
        gap = reader.read()
        assert gap.kind == "gap", gap
        assert sequence(gap.body["from"]) <= sequence(published[2])
        assert sequence(gap.body["to"]) >= sequence(published[3])
        # The new event too may have gone by its age, and then lies in the gap.
        if sequence(gap.body["to"]) < sequence(last):
            assert reader.read().body.get("id", last) == last


def test_the_memory_limit_bounds_what_is_kept_over_all_topics(server_factory):
    limit = 2 << 20
    server = server_factory("--memory-limit", "2MiB", "--retain-bytes", "1MiB")
    topics = [unique_topic() for _ in range(50)]
    first = server.publish(topics[0])["id"]
    for _ in range(20):
        ids = server.publish_many([(each, BIG) for each in topics])
        assert server.metric("herald_retained_bytes") <= limit
    assert server.metric("herald_retained_bytes") > limit // 4
    assert server.metric("herald_events_evicted_total", reason="memory") > 0
    page = server.client.get("/v1/events/t/*", params={"after": first, "max": 1000}).json()
    assert page["resume"] == "gap"
    assert sequence(page["gap"]["from"]) == sequence(first) + 1
    while page["events"]:  # a page is bounded in bytes too
        last = page["events"][-1]["id"]
        page = server.client.get("/v1/events/t/*", params={"after": page["next"], "max": 1000}).json()
    assert last == ids[-1]


def test_rules_give_topics_bounds_of_their_own(server_factory):
    server = server_factory(
        "--retain-events", 50,
        "--rule", "few/** retain-events=5",
        "--rule", "small/* retain-bytes=8KiB",
        "--rule", "short/** retain-age=1s",
        "--rule", "few/x retain-events=40",
    )
    for name in ("few/x", "few/a/b", "other/x", "short/x"):
        server.publish_many([(name, "x")] * 60)
    server.publish_many([("small/x", "x" * 1000)] * 60)

    def kept(name):
        return len(server.poll(name, max=1000)["events"])

    assert (kept("few/x"), kept("few/a/b"), kept("other/x")) == (5, 5, 50), "the first rule that matches counts"
    assert 1 <= kept("small/x") <= 8
    assert server.client.get("/v1/topics/small/x").json()["retained_bytes"] <= 8192
    eventually(lambda: kept("short/x") == 0, "events are evicted by age")
    assert kept("other/x") == 50
    for reason in ("count", "bytes", "age"):
        assert server.metric("herald_events_evicted_total", reason=reason) > 0, reason
