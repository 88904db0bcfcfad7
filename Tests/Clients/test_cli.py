"""`herald publish`, `subscribe` and `topics` against the server, through a proxy that cuts connections."""

import json
import signal
import subprocess
import threading

import pytest

from conftest import BINARY, herald_environment
from helpers import PATIENCE, Proxy, eventually, foreign_epoch, unique_topic

TRANSPORTS = {
    "auto": "websocket",
    "ws": "websocket",
    "sse": "sse",
    "ndjson": "ndjson",
    "longpoll": "longpoll",
    "poll": "shortpoll",
}


def herald(server, *arguments, input=None):
    return subprocess.run(
        [str(BINARY), *map(str, arguments), "--server", server.url],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        timeout=PATIENCE,
        env=herald_environment(),
    )


def succeed(server, *arguments, input=None):
    result = herald(server, *arguments, input=input)
    assert result.returncode == 0, (result.returncode, result.stdout, result.stderr)
    return result.stdout.decode()


class Subscriber:
    """A running `herald subscribe`; its output is gathered line by line."""

    def __init__(self, server, *arguments):
        self.process = subprocess.Popen(
            [str(BINARY), "subscribe", *map(str, arguments), "--server", server.url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=herald_environment(),
        )
        self.lines, self.notices = [], []
        for pipe, lines in ((self.process.stdout, self.lines), (self.process.stderr, self.notices)):
            threading.Thread(target=self._gather, args=(pipe, lines), daemon=True).start()

    @staticmethod
    def _gather(pipe, lines):
        for line in pipe:
            lines.append(line.rstrip("\n"))

    def ids(self):
        return [json.loads(line)["id"] for line in list(self.lines)]

    def until(self, count):
        eventually(lambda: len(self.lines) >= count, f"{count} lines; there are {len(self.lines)}: {self.notices}")
        return self.lines

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def test_publish_prints_the_servers_answer(server, topic):
    out = succeed(server, "publish", topic, '{"n":1}', "text", "--type", "t")
    receipts = [json.loads(line) for line in out.splitlines()]
    events = server.poll(topic)["events"]
    assert [each["id"] for each in receipts] == [event["id"] for event in events]
    assert [(event["datacontenttype"], event["data"], event["type"]) for event in events] == [
        ("application/json", {"n": 1}, "t"),
        ("text/plain; charset=utf-8", "text", "t"),
    ]


def test_publish_reads_standard_input_and_files(server, topic, tmp_path):
    succeed(server, "publish", topic, input=b"\x00\xff")
    path = tmp_path / "data"
    path.write_bytes(b"from a file")
    succeed(server, "publish", topic, "--file", path, "--content-type", "text/markdown")
    first, second = server.poll(topic)["events"]
    assert (first["datacontenttype"], first["data_base64"]) == ("application/octet-stream", "AP8=")
    assert (second["datacontenttype"], second["data"]) == ("text/markdown", "from a file")


def test_publish_in_batches(server, topic):
    lines = "".join(json.dumps({"topic": topic, "data": number}) + "\n" for number in range(700))
    out = succeed(server, "publish", "--ndjson", "--batch", 100, input=lines.encode())
    assert len(out.splitlines()) == 700
    assert [event["data"] for event in server.poll(topic, max=1000)["events"]] == list(range(700))


def test_publish_with_an_idempotency_key_publishes_once(server, topic):
    first = succeed(server, "publish", topic, "x", "--idempotency-key", topic.split("/")[1])
    assert succeed(server, "publish", topic, "x", "--idempotency-key", topic.split("/")[1]) == first
    assert len(server.poll(topic)["events"]) == 1


def test_a_refusal_is_reported_and_fails(server):
    result = herald(server, "publish", "a//b", "x")
    assert result.returncode != 0 and result.stdout == b""
    assert result.stderr.strip()
    assert b"\n   at " not in result.stderr and b"Fatal" not in result.stderr


def test_no_server_is_reported_and_fails():
    class Nowhere:
        url = "http://127.0.0.1:1"

    result = herald(Nowhere, "publish", "a", "x")
    assert result.returncode != 0
    assert b"127.0.0.1" in result.stderr


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_subscribe_ends_after_max_events(server, topic, transport):
    published = [server.publish(topic, str(number))["id"] for number in range(5)]
    out = succeed(
        server, "subscribe", topic, "--transport", transport, "--after", "earliest", "--max", 3, "--interval", "50ms"
    )
    assert [json.loads(line)["id"] for line in out.splitlines()] == published[:3]


@pytest.mark.parametrize("transport", ["ws", "sse", "ndjson", "longpoll"])
def test_subscribe_prints_events_as_they_come_and_ends_on_ctrl_c(server, topic, transport):
    server.publish(topic)
    with Subscriber(server, topic, f"{topic}/*", "--transport", transport) as subscriber:
        server.until_readers(topic, 1, TRANSPORTS[transport])
        published = [server.publish(each)["id"] for each in (topic, f"{topic}/a", topic)]
        subscriber.until(3)
        assert subscriber.ids() == published
        assert subscriber.stop() == 0
        eventually(lambda: any(published[-1] in line for line in subscriber.notices), "the cursor to go on from")


def test_subscribe_prints_data_alone(server, topic):
    server.publish(topic, b"one line")
    out = succeed(server, "subscribe", topic, "--after", "earliest", "--max", 1, "--format", "data")
    assert out == "one line\n"


def test_subscribe_escapes_what_a_terminal_would_act_upon(server, topic):
    server.publish(topic, b"\x1b[31mred")
    out = succeed(server, "subscribe", topic, "--after", "earliest", "--max", 1, "--format", "pretty")
    assert "\x1b" not in out and "red" in out and topic in out


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_subscribe_resumes_after_its_connection_was_cut(server, topic, transport):
    proxy = Proxy(server)
    arguments = [topic, "--transport", transport, "--after", "earliest", "--interval", "50ms"]
    published = [server.publish(topic)["id"]]
    with Subscriber(proxy, *arguments) as subscriber:
        subscriber.until(1)
        for _ in range(3):
            accepted = proxy.accepted
            published += [server.publish(topic)["id"] for _ in range(5)]
            proxy.cut()
            published += [server.publish(topic)["id"] for _ in range(5)]
            eventually(lambda: proxy.accepted > accepted, "it connects again")
            subscriber.until(len(published))
        assert subscriber.ids() == published, "nothing twice, nothing missing"
        assert subscriber.stop() == 0
    proxy.close()


def test_subscribe_tells_of_a_gap_and_of_a_reset(server_factory, topic):
    server = server_factory("--retain-events", 3)
    published = [server.publish(topic)["id"] for _ in range(10)]
    for cursor, word in ((published[0], b"Gap"), (f"{foreign_epoch(published[0])}-4", b"Reset")):
        result = herald(server, "subscribe", topic, "--after", cursor, "--max", 3)
        assert result.returncode == 0
        assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == published[-3:]
        assert word in result.stderr


def test_subscribe_goes_on_at_a_server_that_was_started_again(server_factory, topic):
    """Another epoch: the reader is told, and gets what the new server has."""
    first = server_factory()
    first.publish(topic)
    proxy = Proxy(first)
    with Subscriber(proxy, topic, "--after", "earliest") as subscriber:
        subscriber.until(1)
        second = server_factory()
        published = second.publish(topic)["id"]
        proxy._target = (second.host, second.port)
        proxy.cut()
        subscriber.until(2)
        assert subscriber.ids()[1] == published
        assert any("Reset" in line for line in subscriber.notices), subscriber.notices
    proxy.close()


def test_subscribe_ends_quietly_when_its_reader_has_seen_enough(server, topic):
    server.publish_many([(topic, "x")] * 100)
    command = f"'{BINARY}' subscribe {topic} --after earliest --server {server.url} | head -n 2"
    with subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=herald_environment()
    ) as process:
        # The writer notices at its next line that nobody reads any more.
        eventually(lambda: server.publish(topic) and process.poll() is not None, "it ends")
        assert len(process.stdout.read().splitlines()) == 2
        assert b"Fatal" not in process.stderr.read()


def test_topics_list_show_and_purge(server):
    prefix = unique_topic("cli")
    server.publish_many([(f"{prefix}/{letter}", "x") for letter in "cab"])
    out = succeed(server, "topics", "list", "--prefix", f"{prefix}/", "--format", "json")
    assert [json.loads(line)["topic"] for line in out.splitlines()] == [f"{prefix}/{letter}" for letter in "abc"]
    assert len(succeed(server, "topics", "list", "--prefix", f"{prefix}/", "--limit", 2).splitlines()) == 3
    shown = json.loads(succeed(server, "topics", "show", f"{prefix}/a", "--format", "json"))
    assert shown == server.client.get(f"/v1/topics/{prefix}/a").json()
    succeed(server, "topics", "purge", f"{prefix}/a")
    assert server.poll(f"{prefix}/a")["events"] == []
    assert herald(server, "topics", "show", f"{prefix}/none").returncode != 0


def test_the_server_may_be_named_by_the_environment(server, topic):
    result = subprocess.run(
        [str(BINARY), "publish", topic, "x"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        env=herald_environment({"HERALD_SERVER": server.url}),
    )
    assert result.returncode == 0, result.stderr
    assert len(server.poll(topic)["events"]) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_by_tls(server_factory, topic, transport):
    server = server_factory(tls=True)
    flags = ["--ca", server.secure.authority.file]
    options = ["--transport", transport, "--max", 1, "--after", "earliest", *flags]
    with Subscriber(server.secure, topic, *options) as subscriber:
        succeed(server.secure, "publish", topic, "sealed", *flags)
        assert json.loads(subscriber.until(1)[0])["data"] == "sealed"


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(server_factory, topic, tmp_path):
    server = server_factory(tls=True)
    result = herald(server.secure, "publish", topic, "secret")
    assert result.returncode != 0 and b"CERTIFICATE_VERIFY_FAILED" in result.stderr
    missing = herald(server.secure, "publish", topic, "secret", "--ca", tmp_path / "none.pem")
    assert missing.returncode != 0 and b"none.pem" in missing.stderr
    assert server.poll(topic)["events"] == []
