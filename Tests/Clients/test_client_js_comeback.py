"""herald.js and when it comes back: after Retry-After and `retry:`, by waits that are drawn, to a new server."""

import signal
import time

import pytest

from blocking_proxy import BlockingProxy
from browser import new_page
from client_pages import HEARTBEAT, TRANSPORTS, ClientPage, Press
from helpers import eventually

SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000, "--sse-retry", "1s")
# By how much a clock of ours may seem to run ahead of the browser's timers.
SLACK = 0.1


def times(proxy, *kinds):
    return [each["at"] for each in proxy.log(*kinds)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_it_waits_for_as_long_as_a_busy_server_says(page, proxy, server, topic, transport):
    press = Press(server)
    start = press.start()
    proxy.block(way="busy", seconds=1, times=2)
    client = page.opened("client", transports=[transport], backoff={"first": 1, "max": 1}).subscribe(topic, after=start)
    state = client.until_state("waiting")
    assert state["error"]["status"] == 503 and state["retryAt"] is not None
    client.until_live()
    client.until_has(press.publish(topic))
    client.demand_whole(press.ledger, start)
    # Of a WebSocket's answer a page sees nothing: a short poll asks what it was.
    first, second, third = times(proxy, transport)[:3]
    assert second - first >= 1 - SLACK and third - second >= 1 - SLACK
    page.show(f"comeback busy {transport}")


def test_a_busy_server_is_no_reason_for_another_transport(page, proxy, server, topic):
    """What answers 503 is there; of a WebSocket's answer a page sees nothing, so the next is asked what it is."""
    press = Press(server)
    proxy.block(way="busy", seconds=1, times=2)
    client = page.opened("client", backoff={"first": 1, "max": 1}).subscribe(topic, after=press.start())
    client.until_live("websocket")
    kinds = [each["kind"] for each in proxy.log()]
    assert "longpoll" not in kinds and "shortpoll" not in kinds, kinds
    page.show("comeback busy websocket", proxy.counts()["requests"])


def test_it_waits_longer_with_each_failure_and_never_the_same_time(page, proxy, server, topic):
    """In the same time whoever waits longer and longer tries much less often than whoever does not."""
    press = Press(server)
    start = press.start()
    steady = page.opened("steady", transports=["sse"], share=False, backoff={"first": 100, "max": 100})
    growing = page.opened("growing", transports=["shortpoll"], share=False, backoff={"first": 100, "max": 1_000_000})
    proxy.block()
    for client in (growing, steady):
        client.subscribe(topic, after=start)
    eventually(lambda: len(times(proxy, "sse")) >= 50, "fifty tries of one")
    seen = times(proxy, "sse")
    waits = [after - before for before, after in zip(seen, seen[1:], strict=False)]
    assert len({round(wait, 3) for wait in waits}) > 20, waits
    assert 2 <= len(times(proxy, "shortpoll")) < 25, times(proxy, "shortpoll")
    page.show("comeback backoff", proxy.counts()["requests"])


def test_an_event_streams_retry_bounds_the_first_wait(page, proxy, server, topic):
    """It would be a millisecond otherwise. The wait is drawn, so of many only most are long."""
    press = Press(server)
    start = press.start()
    client = page.opened("client", transports=["sse"], backoff={"first": 1, "max": 100_000})
    client.subscribe(topic, after=start).until_live()
    waits = []
    for _ in range(3):
        opened = len(times(proxy, "sse"))
        cut_at = time.monotonic()
        proxy.cut(how="end")
        client.until(lambda opened=opened: len(times(proxy, "sse")) > opened, "it comes back")
        waits.append(times(proxy, "sse")[-1] - cut_at)
        client.until_live()
    client.until_has(press.publish(topic))
    client.demand_whole(press.ledger, start)
    # Three draws of up to 1, 2 and 4 seconds: that all are below 0.05 is one case in 60,000.
    assert max(waits) > 0.05, waits
    page.show("comeback retry", waits)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["drained", "killed"])
def test_a_server_that_began_anew_is_told_as_a_reset_and_it_goes_on(browser, server_factory, topic, end):
    flags = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000, "--drain-timeout", "1s", "--sse-retry", "300ms")
    server = server_factory(*flags)
    press = Press(server)
    topics = [f"{topic}/a", f"{topic}/b"]
    with BlockingProxy(server) as proxy, new_page(browser, ClientPage) as page:
        page.open(proxy.url)
        start = press.start()
        lists = {transport: [transport] for transport in TRANSPORTS} | {"all": TRANSPORTS}
        clients = [
            page.opened(name, transports=each, share=False).subscribe(f"{topic}/*", after=start)
            for name, each in lists.items()
        ]
        for client in clients:
            client.until_live()
        last = press.publish(*topics * 10)
        for client in clients:
            client.until_has(last)
        server.signal(end)
        server.wait()
        again = server_factory(*flags)
        press.server = again
        press.publish(*topics * 10)  # before they come back
        proxy.lead_to(again)
        for client in clients:
            client.until_told("reset")
        last = press.publish(*topics * 10)
        for client in clients:
            client.until_has(last)
        # Once more nothing happens to them, so nothing is told twice.
        proxy.cut()
        last = press.publish(*topics)
        for client in clients:
            client.until_has(last)
            verdict = client.judge(press.ledger, start, reasons={"epoch"})
            verdict.demand_whole()
            assert verdict.received == verdict.published == 62, (client.name, verdict)
            (reset,) = client.told("reset")
            assert reset["reason"] == "epoch" and client.told("gap") == [], client.name
        page.show(f"comeback new server {end.name}")


def test_tabs_are_all_told_of_a_reset(browser, server_factory, topic):
    flags = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000)
    server = server_factory(*flags)
    press = Press(server)
    with (
        BlockingProxy(server) as proxy,
        new_page(browser, ClientPage) as first,
        new_page(browser, ClientPage) as second,
    ):
        start = press.start()
        clients = []
        for number, page in enumerate((first, second)):
            page.open(proxy.url)
            filters = [f"{topic}/{number}", f"{topic}/all"]
            clients.append(page.opened(f"tab {number}").subscribe(filters, after=start))
        for client in clients:
            client.until_live()
        last = press.publish(f"{topic}/0", f"{topic}/1", f"{topic}/all")
        for client in clients:
            client.until_has(last)
        server.signal(signal.SIGKILL)
        server.wait()
        again = server_factory(*flags)
        press.server = again
        press.publish(f"{topic}/0", f"{topic}/1", f"{topic}/all")
        proxy.lead_to(again)
        for client in clients:
            client.until_told("reset")
            client.until_live()
        last = press.publish(f"{topic}/0", f"{topic}/1", f"{topic}/all")
        for number, client in enumerate(clients):
            client.until_has(last)
            verdict = client.judge(press.ledger, start, {f"{topic}/{number}", f"{topic}/all"}, reasons={"epoch"})
            verdict.demand_whole()
            assert verdict.received == verdict.published == 6 and len(client.told("reset")) == 1
        first.show("comeback tabs")
