"""`herald bench transports` with few readers for a second: what it counts makes sense. Timings decide nothing."""

import http.server
import json
import resource
import signal
import subprocess
import threading
import xml.etree.ElementTree
from pathlib import Path

import pytest

from access import secret_file, token
from conftest import BINARY, herald_environment
from helpers import PATIENCE, eventually

NAMES = {"poll": "short-poll", "longpoll": "long-poll", "sse": "SSE", "ndjson": "NDJSON", "ws": "WebSocket"}
QUICK = ["--readers", 4, "--duration", "1s", "--warm-up", "200ms", "--interval", "100ms", "--wait", "5s"]


def bench(*arguments, env=None, preexec_fn=None):
    return subprocess.run(
        [str(BINARY), "bench", "transports", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=4 * PATIENCE,
        env=herald_environment(env),
        preexec_fn=preexec_fn,
        text=True,
    )


def measure(tmp_path, *arguments, code=0, env=None):
    """Runs it; gives the results by transport and rate, the JSON, and what was printed."""
    path = tmp_path / "run.json"
    result = bench(*arguments, "--json", path, env=env)
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    run = json.loads(path.read_text())
    return {(each["transport"], each["rate"]): each for each in run["results"]}, run, result


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_transports_are_measured_at_a_server_of_its_own(tmp_path):
    svg, markdown = tmp_path / "run.svg", tmp_path / "run.md"
    files = ["--svg", svg, "--markdown", markdown]
    results, run, printed = measure(tmp_path, *QUICK, "--rate", "2,20", "--size", 200, *files)
    assert set(results) == {(name, rate) for name in NAMES for rate in (2, 20)}
    assert run["complete"] and run["sound"] and run["server"]["own"] and run["server"]["cpu_exported"]
    assert run["server"]["version"] and run["server"]["loops"] >= 1
    assert (run["plan"]["readers"], run["plan"]["size_bytes"], run["plan"]["interval_s"]) == (4, 200, 0.1)
    for (name, rate), result in results.items():
        figures = result["figures"]
        assert result["ok"] and (figures["lost"], figures["repeated"]) == (0, 0), result
        assert figures["published"] >= rate
        assert figures["latency_ms"]["count"] == 4 * rate, "each reader has each event of the second"
        latency = [figures["latency_ms"][each] for each in ("p50", "p90", "p99", "max")]
        assert 0 < latency[0] and latency == sorted(latency)
        assert figures["bytes_received_per_event"] > 200, "the data and what surrounds them"
        assert figures["server_cpu_us_per_event"] > 0 and figures["reconnections"] == 0
        answers = figures["full_answers"] + figures["empty_answers"] + figures["unchanged_answers"]
        if name in ("poll", "longpoll"):
            # One request of each reader may be on its way at either end of the second.
            assert abs(figures["requests"] - answers) <= 4
            assert figures["bytes_sent_per_event"] > 0
        else:
            assert figures["requests"] == answers == 0
            assert figures["bytes_sent_per_event"] < 1, "but for a pong nothing is sent on a stream"
            assert figures["opening"]["bytes_sent"] > 4 * 50
    slow = results["poll", 2]["figures"]
    assert slow["requests_per_event"] > 1, "ten polls a second and two events"
    assert slow["unchanged_answers"] > 0, "the second poll that finds nothing new is told so by 304"
    assert slow["bytes_received_per_event"] > results["ws", 2]["figures"]["bytes_received_per_event"]
    held = results["longpoll", 2]["figures"]
    assert held["requests_per_event"] <= 1.5 and held["empty_answers"] == 0
    assert len(printed.stdout.splitlines()) == 2 + 10
    for name, line in zip((name for name in NAMES for _ in range(2)), printed.stdout.splitlines()[2:]):
        assert line.split()[0] == NAMES[name] and len(line.split()) == 14
    rows = [line.split()[1:-1:2] for line in markdown.read_text().splitlines()[2:]]
    assert rows == [line.split() for line in printed.stdout.splitlines()[2:]]
    root = xml.etree.ElementTree.parse(svg).getroot()
    assert root.tag.endswith("svg")
    texts = {each.text for each in root.iter()}
    assert {"Bytes on the wire for each event that a reader gets", *NAMES.values()} <= texts


def test_a_server_that_runs_is_measured_with_a_token_and_by_tls(server_factory, tmp_path):
    server = server_factory("--token-secret-file", secret_file(tmp_path), tls=True)
    shown = tmp_path / "token"
    shown.write_text(token())
    where = ["--server", server.secure.url, "--ca", server.secure.authority.file]
    few = [*QUICK, "--rate", 10, "--transports", "poll,longpoll,sse,ndjson,ws"]
    results, run, _ = measure(tmp_path, *few, *where, "--token-file", shown)
    assert not run["server"]["own"] and run["server"]["url"] == server.secure.url
    assert [name for name, _ in results] == list(NAMES)
    published = server.metric("herald_events_published_total")
    assert published == sum(each["figures"]["published"] for each in results.values())
    by_environment, _, _ = measure(
        tmp_path, *QUICK, "--transports", "ws", "--rate", 10, *where, env={"HERALD_TOKEN": shown.read_text()}
    )
    assert by_environment["ws", 10]["ok"]
    refused, run, printed = measure(tmp_path, *few, *where, code=1)
    assert run["complete"] and not run["sound"]
    for result in refused.values():
        assert not result["ok"] and "figures" not in result
        assert "token" in result["problem"], result
    assert printed.stderr.count(" failed: ") == 5 and printed.stdout.count("failed") == 5


def test_a_poll_that_came_full_by_bytes_is_followed_at_once(tmp_path):
    """50 events of 64 KiB a second are more than the MiB that an answer holds."""
    results, _, _ = measure(
        tmp_path, "--transports", "poll,longpoll", "--readers", 1, "--rate", 50, "--size", "64KiB", "--duration", "2s",
        "--warm-up", "1s", "--interval", "1s",
    )
    assert results["poll", 50]["figures"]["requests"] >= 5, "four for each interval"


def test_lost_events_fail_the_run(server_factory, tmp_path):
    """A server that keeps two events for polls that come ten events apart."""
    server = server_factory("--retain-events", 2)
    results, run, printed = measure(
        tmp_path, "--readers", 2, "--rate", 20, "--duration", "1s", "--warm-up", "0s", "--interval", "500ms",
        "--transports", "poll,sse", "--server", server.url, code=1,
    )
    assert results["poll", 20]["figures"]["lost"] > 0 and not results["poll", 20]["ok"]
    assert results["sse", 20]["ok"] and run["complete"] and not run["sound"]
    assert "events were lost" in printed.stderr


def test_a_server_that_ends_fails_what_is_measured_then_and_after(server_factory, tmp_path):
    server = server_factory("--drain-timeout", "1s")
    path = tmp_path / "run.json"
    arguments = ["--readers", 3, "--rate", 10, "--duration", "1h", "--transports", "sse,poll", "--server", server.url]
    with subprocess.Popen(
        [str(BINARY), "bench", "transports", *map(str, arguments), "--json", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=herald_environment(),
        text=True,
    ) as process:
        eventually(lambda: server.metric("herald_deliveries_total", transport="sse") > 0, "it measures")
        server.stop()
        assert process.wait(PATIENCE) == 1
        said = process.stderr.read()
    # Which of the connections sees it first is not said.
    assert "SSE at 10/s failed: " in said
    assert "short-poll at 10/s failed: " in said and "cannot be reached" in said
    run = json.loads(path.read_text())
    assert run["complete"] and [each["ok"] for each in run["results"]] == [False, False]


def test_no_server_is_reported(tmp_path):
    result = bench(*QUICK, "--server", "http://127.0.0.1:1")
    assert result.returncode == 1 and "http://127.0.0.1:1 cannot be reached" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_what_is_no_herald_is_reported():
    class Quiet(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = bench(*QUICK, "--transports", "ws", "--rate", 1, "--server", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert result.returncode == 1
    assert "is no Herald server" in result.stderr and "process_cpu_seconds_total" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_shows_what_there_is_and_leaves_no_server(tmp_path, number):
    path = tmp_path / "run.json"
    with subprocess.Popen(
        [str(BINARY), "bench", "transports", "--transports", "ws,sse", "--readers", "2", "--rate", "5", "--duration",
         "1s", "--warm-up", "0s", "--json", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=herald_environment(),
        text=True,
    ) as process:
        for _ in range(3):
            line = process.stdout.readline()
        assert line.startswith("WebSocket"), "the first row"
        served = children(process.pid)
        assert len(served) == 1 and is_running(served[0])
        process.send_signal(number)
        assert process.wait(PATIENCE) == 130
        assert "Interrupted after 1 of 2." in process.stderr.read()
    eventually(lambda: not is_running(served[0]), "the server has ended")
    run = json.loads(path.read_text())
    assert not run["complete"] and [each["transport"] for each in run["results"]] == ["ws"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--readers", "0"], "--readers is 0; it may be 1 to 20000"),
        (["--readers", "20001"], "--readers is 20001; it may be 1 to 20000"),
        (["--rate", "10001"], "it may be 0.1 to 10000 events a second"),
        (["--size", "256KiB", "--interval", "30s"], "A topic would have to keep"),
        (["--transports", "carrier-pigeon"], "is no transport"),
        (["--duration", "2h"], "it may be 1s to 3600s"),
        (["--json", "/no/folder/x"], "nothing can be written to /no/folder"),
    ],
)
def test_a_mistaken_call_is_refused_before_anything_is_started(arguments, words):
    result = bench(*arguments)
    assert result.returncode == 64 and words in result.stderr and result.stdout == ""


@pytest.mark.parametrize("descriptors, is_enough", [(68, True), (67, False)])
def test_readers_are_as_many_as_there_are_descriptors_for(descriptors, is_enough):
    """Four, and 64 for all else."""
    limits = (descriptors, descriptors)
    arguments = [*QUICK, "--transports", "ws", "--rate", 5]
    result = bench(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
    if is_enough:
        assert result.returncode == 0, result.stderr
    else:
        assert result.returncode == 1 and result.stdout == ""
        assert "4 readers need 68 descriptors, and this process may have 67" in result.stderr


def test_help_tells_of_it():
    for arguments, words in ((["--help"], "bench"), (["bench", "--help"], "transports")):
        result = subprocess.run([str(BINARY), *arguments], capture_output=True, text=True, timeout=PATIENCE)
        assert result.returncode == 0 and words in result.stdout
    text = bench("--help").stdout
    flags = "transports readers rate size duration warm-up interval wait server ca token-file json svg markdown"
    for flag in flags.split():
        assert f"--{flag}" in text
