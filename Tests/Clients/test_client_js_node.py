"""herald.js in Node: the same module, without what only browsers have."""

import json
import subprocess

import pytest

from blocking_proxy import BlockingProxy
from client_pages import HEARTBEAT, TRANSPORTS, NodePlace, Press, node, text_of
from helpers import PATIENCE, eventually

SERVER_FLAGS = ("--heartbeat", HEARTBEAT, "--retain-events", 20_000)


@pytest.fixture
def place(module):
    with NodePlace(node(), module) as place:
        yield place
        assert place.uncaught() == []


def run(module, script, *flags):
    """A script that uses the module and ends by itself. What it printed."""
    script = f'import {{ Herald, HeraldError }} from {text_of(module.as_uri())};\n{script}'
    answer = subprocess.run(
        [node(), *flags, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=PATIENCE
    )
    assert answer.returncode == 0, (answer.stdout, answer.stderr)
    return answer.stdout


def test_each_transport_brings_all(place, server, topic):
    press = Press(server)
    start = press.start()
    clients = {
        transport: place.opened(transport, server.url, transports=[transport], share=False)
        for transport in TRANSPORTS
    }
    for transport, client in clients.items():
        client.subscribe(topic, after=start).until_live(transport)
    last = press.run([topic], 1000, 2000, batch=50).finish()
    for client in clients.values():
        client.until_has(last)
        assert client.demand_whole(press.ledger, start).received == 1000


def test_with_a_websocket_it_is_used_and_without_one_the_next_is(module, server, topic):
    script = f"""
    const herald = new Herald({text_of(server.url)}, OPTIONS);
    const subscription = herald.subscribe({text_of(topic)}, () => {{}});
    await new Promise((resolve) => subscription.addEventListener("live", resolve));
    console.log(herald.state.transport);
    herald.close();
    """
    assert run(module, script.replace("OPTIONS", "{}")) == "websocket\n"
    assert run(module, script.replace("OPTIONS", "{WebSocket: null}")) == "sse\n"
    assert run(module, "delete globalThis.WebSocket;" + script.replace("OPTIONS", "{}")) == "sse\n"
    used = "class extends WebSocket { constructor(...all) { super(...all); console.log('mine'); } }"
    assert run(module, script.replace("OPTIONS", f"{{WebSocket: {used}}}")) == "mine\nwebsocket\n"
    only = "{WebSocket: null, transports: ['websocket']}"
    assert run(module, f"try {{ new Herald('http://127.0.0.1:9', {only}) }} catch (e) {{ console.log(e.name) }}") == (
        "TypeError\n"
    )


@pytest.mark.parametrize("way", ["refuse", "wall", "gateway"])
def test_a_websocket_that_is_refused_is_not_waited_for(place, server, topic, way):
    """The time that it may take to be heard of is hours."""
    press = Press(server)
    start = press.start()
    with BlockingProxy(server) as proxy:
        proxy.block("websocket", way=way)
        client = place.opened("refused", proxy.url, share=False, probeTimeout=10_000_000)
        client.subscribe(topic, after=start).until_live("sse")
        client.until_has(press.publish(topic))
        client.demand_whole(press.ledger, start)
        client.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("share", ["true", "false"])
def test_a_process_ends_by_itself_when_all_is_closed(module, server, topic, transport, share):
    """Neither a timer nor a connection is left that would keep it."""
    for _ in range(3):
        server.publish(topic, "x")
    printed = run(
        module,
        f"""
        const herald = new Herald({text_of(server.url)}, {{transports: [{text_of(transport)}], share: {share}}});
        const got = [];
        const subscription = herald.subscribe({text_of(topic)}, (event) => {{
          got.push(event.id);
          if (got.length === 3) {{ subscription.close(); herald.close(); console.log(got.length, herald.state.name); }}
        }}, {{after: "earliest"}});
        """,
    )
    assert printed == "3 closed\n"
    eventually(lambda: server.metric("herald_readers") == 0, "the server has no reader left")


def test_a_fetch_may_be_given(module, server, topic):
    printed = run(
        module,
        f"""
        let asked = 0;
        const mine = (...request) => {{ asked += 1; return fetch(...request); }};
        const herald = new Herald({text_of(server.url)}, {{fetch: mine, transports: ["sse"], share: false}});
        const receipt = await herald.publish({text_of(topic)}, {{n: 1}});
        herald.subscribe({text_of(topic)}, (event) => {{
          console.log(asked, event.data.n, event.id === receipt.id);
          herald.close();
        }}, {{after: "earliest"}});
        """,
    )
    assert printed == "2 1 true\n"


def test_what_a_handler_throws_is_uncaught_and_the_next_event_comes(module, server, topic):
    server.publish(topic, "one")
    server.publish(topic, "two")
    printed = run(
        module,
        f"""
        const thrown = [];
        process.on("uncaughtException", (error) => thrown.push(error.message));
        const herald = new Herald({text_of(server.url)}, {{share: false}});
        herald.subscribe({text_of(topic)}, (event) => {{
          if (event.data === "one") throw new Error("by the handler");
          setTimeout(() => {{ console.log(JSON.stringify(thrown), event.data); herald.close(); }}, 50);
        }}, {{after: "earliest"}});
        """,
    )
    assert printed == '["by the handler"] two\n'


def test_several_threads_have_connections_that_work(place, module, server, topic):
    """One each, also where Node has locks and channels."""
    press = Press(server)
    start = press.start()
    worker = f"""
    import {{ Herald }} from {text_of(module.as_uri())};
    import {{ parentPort }} from "node:worker_threads";
    const herald = new Herald({text_of(server.url)});
    const subscription = herald.subscribe({text_of(topic)}, (event) => parentPort.postMessage(event.data.n),
      {{after: {text_of(start)}}});
    subscription.addEventListener("live", () => parentPort.postMessage("live"));
    """
    place.evaluate(
        "void (globalThis.got = []); import('node:worker_threads').then(({Worker}) => {"
        f" for (const at of [0, 1, 2]) {{ got[at] = []; const worker = new Worker(new URL('data:text/javascript,' +"
        f" encodeURIComponent({text_of(worker)}))); worker.on('message', (n) => got[at].push(n)); }} }})"
    )
    eventually(lambda: place.evaluate("got.every((each) => each.includes('live'))"), "all are live")
    eventually(lambda: server.metric("herald_readers") == 3, "three readers")
    last = press.run([topic], 500, 1000).finish()
    assert last
    expected = [number for _, number in sorted(press.ledger.events.values(), key=lambda each: each[1])][1:]
    eventually(lambda: place.evaluate("got.every((each) => each.length >= 501)"), "all has come")
    for rows in place.evaluate("got"):
        assert [each for each in rows if each != "live"] == expected


def test_a_connection_is_shared_only_if_it_is_asked_for(module, server, topic):
    """Locks alone, which Node has since 24.5, say nothing of who has them in common."""
    script = f"""
    const locks = {{ request() {{ console.log("asked for a lock"); process.exit(0); }} }};
    Object.defineProperty(globalThis, "navigator", {{ value: {{ locks }} }});
    const herald = new Herald({text_of(server.url)}, OPTIONS);
    const subscription = herald.subscribe({text_of(topic)}, () => {{}});
    await new Promise((resolve) => subscription.addEventListener("live", resolve));
    console.log(herald.state.role);
    herald.close();
    """
    assert run(module, script.replace("OPTIONS", "{}")) == "alone\n"
    assert run(module, script.replace("OPTIONS", "{share: true}")) == "asked for a lock\n"


def test_the_publisher_and_errors_are_as_in_a_page(module, server, topic):
    printed = run(
        module,
        f"""
        const herald = new Herald({text_of(server.url)}, {{share: false, backoff: {{first: 5, max: 10}}}});
        const receipt = await herald.publish({text_of(topic)}, new Uint8Array([1, 2]));
        const errors = [];
        for (const [topic, url] of [["a//b", {text_of(server.url)}], ["a", "http://127.0.0.1:9"]]) {{
          try {{ await new Herald(url, {{backoff: {{first: 5, max: 10}}}}).publish(topic, "x"); }}
          catch (error) {{ errors.push([error instanceof HeraldError, error.status, error.problem?.type ?? null]); }}
        }}
        console.log(JSON.stringify([receipt.topic, errors]));
        """,
    )
    topic_said, (refused, unreached) = json.loads(printed)
    assert topic_said == topic and refused[0] and refused[1] in (400, 422) and refused[2].startswith("/problems/")
    assert unreached == [True, 0, None]
