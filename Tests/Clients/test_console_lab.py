"""The console's transport lab in a real browser: what it measures, what a cut does, and what six connections do."""

import json
import re

import pytest

from access import secret_file, token
from browser import chromium, element
from console_page import TRANSPORTS, console
from helpers import unique_topic

# Reads a filter from a cursor by one of the lab's transports, until so many events or a gap have come.
READ = """
(async () => {
  const { Reader } = await import("/console/transports.js");
  const got = { events: [], gaps: [], states: [] };
  await new Promise((resolve) => {
    const reader = new Reader(%(transport)s, {
      opened() {}, answered() {},
      show(state) { got.states.push(state); if (state === "refused") resolve(); },
      event(event) { got.events.push(event.data); if (got.events.length === %(count)d) setTimeout(end); },
      gap(gap) { got.gaps.push(gap.reason); },
    });
    const end = () => { got.cursor = reader.cursor; reader.stop(); resolve(); };
    reader.start(%(topic)s, %(cursor)s);
  });
  return got;
})()
"""


@pytest.fixture
def page(browser, server):
    with console(browser, server.url, "lab") as page:
        yield page


def read(page, transport, topic, cursor, count):
    names = {"transport": json.dumps(transport), "topic": json.dumps(topic), "cursor": json.dumps(cursor)}
    return page.evaluate(READ % {**names, "count": count})


# Reading raw.


@pytest.mark.parametrize("first", TRANSPORTS)
def test_any_transport_goes_on_from_where_another_stood(page, server, topic, first):
    cursor = server.head_cursor()
    server.publish(topic, "seen")
    got = read(page, first, topic, cursor, 1)
    assert got["events"] == ["seen"]
    server.publish(topic, "while nobody looked")
    for transport in TRANSPORTS:
        assert read(page, transport, topic, got["cursor"], 1)["events"] == ["while nobody looked"], transport
    assert page.errors == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_events_of_any_type_come(page, server, topic, transport):
    cursor = server.head_cursor()
    for event_type in ("never-seen", "error", "open"):
        server.publish(topic, event_type, **{"Herald-Type": event_type})
    server.publish(topic, "none\nof them: \u00e4")
    expected = ["never-seen", "error", "open", "none\nof them: \u00e4"]
    assert read(page, transport, topic, cursor, 4)["events"] == expected
    assert page.errors == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reset_is_told_and_a_refusal_ends_it(page, server, topic, transport):
    server.publish(topic, "still kept")
    got = read(page, transport, topic, "00000000-7", 1)
    assert (got["events"], got["gaps"]) == (["still kept"], ["epoch"])
    assert page.errors == []
    assert read(page, transport, "no//filter", "00000000-7", 1)["states"][-1] == "refused"


# The lab.


def test_all_four_transports_have_each_event_once(page):
    page.start_lab(rate=4, interval=500)
    page.wait_for_events(20)
    for transport in TRANSPORTS:
        assert page.figure(transport, "losses") == "0 / 0"
        page.wait_for(
            f"/came within/.test({element('lane-' + transport)}.querySelector('[data-part=found]').textContent)",
            "nothing was measured",
        )
    page.show_in_all_looks("lab")
    page.click("lab-start")
    for transport in TRANSPORTS:
        page.wait_for(f"{element('lane-' + transport)}.dataset.state === 'idle'", f"{transport} did not stop")
    assert page.errors == []


def test_the_figures_are_plausible_at_a_low_rate(page):
    page.start_lab(rate=1, interval=250, wait=2)  # an event in two seconds
    page.wait_for_events(5)
    figures = {
        each: {part: page.number(each, part) for part in ("p50", "p99", "requests", "bytes", "empty", "open", "events")}
        for each in TRANSPORTS
    }
    assert figures["shortpoll"]["requests"] > 1
    assert figures["shortpoll"]["empty"] >= 5
    assert page.number("shortpoll", "unchanged") > 0, "some of them are 304"
    for stream in ("websocket", "sse"):
        # One at the start. The figures are read one after the other: an event may have come in between.
        assert figures[stream]["requests"] <= 1 / (figures[stream]["events"] - 1)
        assert page.figure(stream, "empty") == "none"
        assert figures[stream]["open"] == 1
    # A request to be held for each answer, and some that end empty.
    assert 0.8 <= figures["longpoll"]["requests"] < figures["shortpoll"]["requests"]
    bytes_each = {each: bytes_of(page.figure(each, "bytes")) for each in TRANSPORTS}
    assert bytes_each["shortpoll"] > bytes_each["longpoll"] > bytes_each["websocket"] > 200
    assert bytes_each["sse"] > 100
    # A poll waits for half of its interval on the mean; what is pushed does not.
    assert milliseconds_of(page.figure("shortpoll", "p50")) > milliseconds_of(page.figure("websocket", "p50"))
    assert page.errors == []


def bytes_of(text):
    number, unit = text.split()
    return float(number) * {"B": 1, "KiB": 1024}[unit]


def milliseconds_of(text):
    number, unit = text.split()
    return float(number) * {"ms": 1, "s": 1000}[unit]


def report_of(transport):
    return f"{element('lane-' + transport)}.querySelector('[data-part=report]')"


def test_a_cut_line_makes_blind_but_loses_and_repeats_nothing(page):
    page.start_lab(rate=5, interval=250)  # ten a second
    page.wait_for_events(10)
    page.choose("lab-cut-seconds", 1)
    page.click("lab-cut")
    for transport in TRANSPORTS:
        page.wait_for(f"{report_of(transport)}.dataset.settled === 'true'", f"{transport} has not come back")
    page.show_in_all_looks("lab-cut")
    for transport in TRANSPORTS:
        report = page.evaluate(f"({{...{report_of(transport)}.dataset}})")
        assert (report["lost"], report["repeated"]) == ("0", "0"), transport
        assert int(report["late"]) >= 5, f"{transport} caught up what was published meanwhile"
        blind, late = re.search(
            r"Cut for 1 s\. Blind for ([\d.]+ m?s); (\d+) events caught up, the latest after [\d.]+ m?s;"
            r" 0 lost, 0 repeated\.",
            page.figure(transport, "report"),
        ).groups()
        assert milliseconds_of(blind) >= 1000 and late == report["late"]
        assert page.figure(transport, "losses") == "0 / 0"
    before = page.number("websocket", "events")
    page.wait_for_events(before + 10)
    assert all(page.figure(transport, "losses") == "0 / 0" for transport in TRANSPORTS)
    assert page.errors == []


@pytest.mark.parametrize("cut", TRANSPORTS)
def test_one_line_is_cut_and_the_others_go_on(page, cut):
    page.start_lab(rate=4, interval=250)
    page.wait_for_events(3)
    page.choose("lab-cut-seconds", 3)
    page.click(f"cut-{cut}")
    page.wait_for(f"{element('lane-' + cut)}.dataset.state === 'cut'", "the line is not cut")
    others = [each for each in TRANSPORTS if each != cut]
    page.wait_for_events(8, others)
    assert [page.evaluate(f"{report_of(each)}.hidden") for each in others] == [True] * 3
    page.wait_for(f"{report_of(cut)}.dataset.settled === 'true'", "it has not come back")
    assert page.figure(cut, "losses") == "0 / 0"
    assert page.errors == []


def test_what_a_cut_outlasts_is_told_by_a_gap_and_not_lost_in_silence(browser, server_factory):
    server = server_factory("--retain-events", "5")
    with console(browser, server.url, "lab") as page:
        page.start_lab(rate=7, interval=250)  # fifty a second, of which five are kept
        page.choose("lab-cut-seconds", 1)
        page.click("cut-websocket")
        page.wait_for(f"{report_of('websocket')}.dataset.settled === 'true'", "it has not come back")
        assert re.search(r"0 lost, 0 repeated, \d+ no longer kept, as a gap said", page.figure("websocket", "report"))


def test_other_settings_are_measured_anew(page):
    page.start_lab(rate=4)
    page.wait_for_events(5)
    page.choose("lab-size", 1000)
    # The figures begin at nothing, and are soon those of larger events.
    page.wait_for_events(5)
    for transport in TRANSPORTS:
        assert bytes_of(page.figure(transport, "bytes")) > 500
    assert page.errors == []


def test_a_refused_topic_is_named(page):
    page.fill("lab-topic", "no//topic")
    page.click("lab-start")
    page.wait_for_text("lab-status", "no//topic")
    assert page.text("lab-start") == "Start"
    # It stays to be read, whatever is drawn meanwhile.
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 1500))")
    assert "no//topic" in page.text("lab-status")
    page.fill("lab-topic", unique_topic("lab"))
    page.start_lab()
    page.wait_for_text("lab-status", "published by")


def test_the_lab_works_with_a_token(browser, server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path))
    with console(browser, server.url, "lab") as page:
        page.click("lab-start")
        page.wait_for(f"!{element('access')}.hidden", "the page does not ask for a token")
        page.fill("access-token", token())
        page.click("access-use")
        page.start_lab(rate=4, interval=250)
        page.wait_for_events(5)
        page.click("limit-open")
        page.wait_for("document.querySelector('#limit-verdict').dataset.open === '6'", "six streams are not open")


def test_a_publisher_of_another_does_not_disturb(page, server):
    topic = unique_topic("lab")
    page.fill("lab-topic", topic)
    page.start_lab(rate=4, interval=250)
    for _ in range(20):
        server.publish(topic, {"n": 1, "sent": 0, "run": "another"}, "application/json")
    page.wait_for_events(5)
    for transport in TRANSPORTS:
        assert page.figure(transport, "losses") == "0 / 0"
        assert page.number(transport, "p99") is not None
    published = int(re.match(r"([\d,]+) events", page.text("lab-status"))[1].replace(",", ""))
    assert page.number("websocket", "events") <= published + 5
    assert page.errors == []


# Six connections.


def states(page, list_id):
    return page.evaluate(f"[...{element(list_id)}.children].map(row => row.dataset.state)")


def test_six_streams_are_open_over_http_1_and_the_rest_wait(page, server):
    page.click("limit-open")
    verdict = "document.querySelector('#limit-verdict').dataset"
    page.wait_for(f"{verdict}.open === '6' && {verdict}.waiting === '2'", "not six open and two waiting")
    page.wait_for_text("limit-post", "waiting for \\d")
    page.wait_for_text("limit-batch", "^8 publishes through it, and their events back, took [\\d.]+ m?s\\.$")
    assert states(page, "limit-subscriptions") == ["open"] * 8
    page.wait_for(
        f"[...{element('limit-streams')}.children].filter(row => /got 1 event/.test(row.textContent)).length === 6",
        "the six streams did not get the event",
    )
    assert sorted(states(page, "limit-streams")) == ["open"] * 6 + ["waiting"] * 2
    assert server.metric("herald_readers", transport="sse") == 6
    assert server.metric("herald_readers", transport="websocket") == 1
    page.show_in_all_looks("limit")

    # Each that is closed lets another through, and at last the publish.
    for _ in range(3):
        page.click("limit-one")
    page.wait_for_text("limit-post", "answered after")
    page.wait_for(f"{verdict}.waiting === '0'", "streams still wait")
    page.click("limit-open")
    page.wait_for_text("limit-verdict", "^Closed\\.")
    page.go("overview")
    page.wait_for("document.getElementById('fact-uptime').textContent !== '–'", "requests still wait")
    assert page.errors == []


def test_the_demonstration_ends_when_it_is_left(page, server):
    page.click("limit-open")
    page.wait_for("document.querySelector('#limit-verdict').dataset.open === '6'", "six streams are not open")
    page.go("overview")
    page.wait_for("document.getElementById('fact-uptime').textContent !== '–'", "requests still wait")
    assert page.text("limit-verdict").startswith("Closed.")
    assert page.errors == []


def test_over_http_2_the_limit_does_not_bite(server_factory):
    server = server_factory(tls=True)
    with chromium("--ignore-certificate-errors") as browser, console(browser, server.secure.url, "lab") as page:
        page.wait_for_text("limit-verdict", "HTTP/2")
        page.click("limit-open")
        page.wait_for("document.querySelector('#limit-verdict').dataset.open === '8'", "not all streams are open")
        page.wait_for_text("limit-post", "answered after")
        page.wait_for_text("limit-verdict", "8 of 8 streams are open, over HTTP/2 they share one connection")
        page.click("limit-open")
        page.start_lab(rate=4, interval=250)
        page.wait_for_events(5)
        assert all(page.figure(transport, "losses") == "0 / 0" for transport in TRANSPORTS)


# How it counts, without a server: a count that cannot rise would prove nothing.


MEASURE = """
(async () => {
  const { Measure } = await import("/console/measure.js");
  const measure = new Measure();
  const epoch = "5f3a9c1e";
  const publish = (number, at = epoch) => measure.expect({ number, epoch: at, sequence: BigInt(number), sentAt: 0 });
  const take = (number, at = epoch) => measure.take({ id: `${at}-${number}`, data: { n: number, sent: 0 } }, 1);
  const check = (number, at = epoch) => measure.check(`${at}-${number}`);
  %s
  const { events, lost, repeated, told, checked } = measure;
  return [events, lost, repeated, told, checked];
})()
"""


@pytest.mark.parametrize(
    ("steps", "events", "lost", "repeated", "told", "checked"),
    [
        ("publish(1); take(1); publish(2); check(1); take(2); check(2);", 2, 0, 0, 0, 2),
        ("take(1); check(1); publish(1); check(1);", 1, 0, 0, 0, 1),
        ("for (const n of [1, 2, 3]) publish(n); take(1); take(3); check(3);", 2, 1, 0, 0, 3),
        ("for (const n of [1, 2]) publish(n); take(1); check(1);", 1, 0, 0, 0, 1),
        ("for (const n of [1, 2]) publish(n); take(1); take(2); take(1); take(2); check(2);", 2, 0, 2, 0, 2),
        (
            "for (const n of [1, 2, 3, 4]) publish(n); take(4);"
            " measure.gap({ reason: 'evicted', from: '5f3a9c1e-2', to: '5f3a9c1e-3' }); check(4);",
            1, 1, 0, 2, 4,
        ),
        (
            "publish(1); take(1); publish(2); measure.gap({ reason: 'epoch', cursor: '00000001-0' });"
            " publish(3, '00000001'); take(3, '00000001'); check(3, '00000001');",
            2, 0, 0, 1, 3,
        ),
        # Measured anew amid what is under way: that counts neither way.
        ("take(1); measure.clear(2); publish(1); publish(2); take(2); publish(3); take(3); check(3);", 1, 0, 0, 0, 1),
    ],
)  # fmt: skip
def test_what_is_lost_repeated_and_told_is_counted(page, steps, events, lost, repeated, told, checked):
    assert page.evaluate(MEASURE % steps) == [events, lost, repeated, told, checked]


def test_a_stream_is_taken_apart_wherever_it_is_cut(page):
    stream = "retry: 2000\nid: a-1\n\nid: a-2\nevent: x\ndata: {\"a\":\n\ndata: \u00e4\ndata: b\n\n: hb\nid: a-3\n\n"
    expected = page.evaluate(BLOCKS % (json.dumps(stream), 1000))
    assert [each.get("id") for each in expected] == ["a-1", "a-2", None, "a-3"]
    assert [each["data"] for each in expected] == ["", '{"a":', "\u00e4\nb", ""]
    for size in (1, 2, 3, 7):
        assert page.evaluate(BLOCKS % (json.dumps(stream), size)) == expected


BLOCKS = """
(async () => {
  const { EventBlocks } = await import("/console/transports.js");
  const got = [], blocks = new EventBlocks((block) => got.push(block));
  const bytes = new TextEncoder().encode(%s), size = %d;
  for (let at = 0; at < bytes.length; at += size) blocks.take(bytes.slice(at, at + size));
  return got;
})()
"""


@pytest.mark.parametrize(
    ("length", "masked", "expected"),
    [(0, False, 2), (125, False, 127), (126, False, 130), (65_535, False, 65_539), (65_536, True, 65_550)],
)
def test_a_frame_is_as_long_as_the_standard_has_it(page, length, masked, expected):
    frame = f'import("/console/cost.js").then(cost => cost.frameLength({length}, {json.dumps(masked)}))'
    assert page.evaluate(frame) == expected
