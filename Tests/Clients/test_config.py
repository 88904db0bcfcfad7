"""Settings: flags before environment before file before defaults, and mistakes that are named."""

import subprocess

import pytest
import yaml

from conftest import BINARY, herald_environment
from helpers import PATIENCE, eventually


@pytest.fixture
def serve(tmp_path):
    """Runs `herald serve` to its end."""

    def run(*flags, config=None, env=None):
        arguments = [str(BINARY), "serve", *map(str, flags)]
        if config is not None:
            path = tmp_path / "herald.yaml"
            path.write_text(config, encoding="utf-8")
            arguments += ["--config", str(path)]
        return subprocess.run(
            arguments,
            env=herald_environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return run


@pytest.fixture
def printed(serve):
    """The settings that `--print-config` shows, as YAML and as text."""

    def run(*flags, config=None, env=None):
        result = serve(*flags, "--print-config", config=config, env=env)
        assert result.returncode == 0, result.stderr
        return yaml.safe_load(result.stdout), result.stdout

    return run


def origin(text, key):
    (line,) = [line for line in text.splitlines() if line.startswith(f"{key}:")]
    return line.partition("#")[2].strip()


DEFAULTS = {
    "listen": "127.0.0.1:8080",
    "retain-events": 1000,
    "retain-bytes": "64MiB",
    "retain-age": "1h",
    "memory-limit": "1GiB",
    "max-topics": 100000,
    "max-filters": 100000,
    "max-filters-per-connection": 64,
    "max-connections": 100000,
    "max-body": "1MiB",
    "max-head": "16KiB",
    "max-message": "1MiB",
    "max-batch": 1000,
    "max-http2-streams": 256,
    "http2-frame-allowance": 1000,
    "max-wait": "5m",
    "request-timeout": "10s",
    "idle-timeout": "75s",
    "write-timeout": "5m",
    "heartbeat": "25s",
    "sse-retry": "2s",
    "drain-timeout": "10s",
    "idempotency-window": "10m",
    "idempotency-keys": 100000,
    "topic-idle": "5m",
    "allow-anonymous": False,
    "io-uring": True,
    "compression": True,
    "compression-min": 256,
    "log-format": "text",
    "log-level": "info",
    "rules": [],
    "tls-certificate": [],
    "tls-key": [],
    "tls-min-version": "1.2",
    "tls-handshakes": 4,
    "token-key-file": [],
    "token-jwks-refresh": "5m",
    "token-leeway": "0s",
    "token-cache": 10000,
    "anonymous-publish": [],
    "anonymous-subscribe": [],
    "token-cookie": "herald_token",
    "token-warning": "1m",
    "token-checks": 1000,
    "max-revocations": 100000,
    "revocation-keep": "1d",
    "allowed-origins": [],
    "allow-credentials": False,
    "hsts": "0s",
    "trusted-proxies": [],
    "forwarded-header": "none",
    "max-connections-per-address": 0,
    "handshake-rate": 0,
    "publish-rate": 0,
    "retry-after": "5s",
}


def test_the_defaults(printed):
    settings, text = printed()
    assert {key: settings.get(key) for key in DEFAULTS} == DEFAULTS
    assert settings["loops"] >= 1
    unset = {"tls-listen", "tls-client-ca", "token-secret-file", "token-jwks", "token-issuer", "token-audience"}
    unset |= {"api-key-file", "publish-burst", "revocation-file"}
    assert set(settings) <= {*DEFAULTS, *unset, "loops", "echo-path"}
    assert origin(text, "listen") == "default"


def test_a_flag_wins_over_the_environment_over_the_file(printed):
    file = "retain-events: 11\nmax-topics: 12\nheartbeat: 13s\n"
    env = {"HERALD_RETAIN_EVENTS": "21", "HERALD_MAX_TOPICS": "22"}
    settings, text = printed("--retain-events", 31, config=file, env=env)
    assert (settings["retain-events"], settings["max-topics"], settings["heartbeat"]) == (31, 22, "13s")
    assert "--retain-events" in origin(text, "retain-events")
    assert "HERALD_MAX_TOPICS" in origin(text, "max-topics")
    assert "herald.yaml" in origin(text, "heartbeat")


def test_the_file_may_be_named_by_the_environment(printed, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("max-batch: 7\n", encoding="utf-8")
    assert printed(env={"HERALD_CONFIG": str(path)})[0]["max-batch"] == 7


def test_what_is_printed_can_be_read_back(printed):
    flags = ["--retain-bytes", "65KiB", "--heartbeat", "1500ms", "--echo-path", "/echo", "--allow-anonymous",
             "--rule", "a/** retain-events=3 slow-reader=latest"]  # fmt: skip
    settings, text = printed(*flags)
    again, _ = printed(config=text)
    assert again == settings
    assert again["allow-anonymous"] is True and again["echo-path"] == "/echo"


def test_rules_may_be_texts_or_mappings(printed):
    file = (
        "rules:\n"
        "  - a/** retain-events=10 slow-reader=latest\n"
        "  - filter: b/*\n"
        "    retain-bytes: 2KiB\n"
        "    retain-age: 5s\n"
        "    slow-reader: disconnect\n"
    )
    settings, _ = printed(config=file)
    assert settings["rules"] == [
        "a/** retain-events=10 slow-reader=latest",
        "b/* retain-bytes=2KiB retain-age=5s slow-reader=disconnect",
    ]
    settings, _ = printed(env={"HERALD_RULES": "a/** retain-events=10,b/* retain-age=5s"})
    assert settings["rules"] == ["a/** retain-events=10", "b/* retain-age=5s"]


@pytest.mark.parametrize(
    ("flags", "config", "env", "named"),
    [
        (["--retain-events", "many"], None, {}, ["retain-events", "--retain-events", "many"]),
        (["--retain-events", "0"], None, {}, ["retain-events", "0"]),
        (["--heartbeat", "5 parsecs"], None, {}, ["heartbeat", "parsecs"]),
        (["--heartbeat", "10"], None, {}, ["heartbeat", "10"]),
        (["--memory-limit", "1kb"], None, {}, ["memory-limit", "1kb"]),
        (["--listen", "nowhere"], None, {}, ["listen", "nowhere"]),
        (["--listen", "127.0.0.1:65536"], None, {}, ["listen", "65536"]),
        (["--listen", "0.0.0.0:0"], None, {}, ["listen", "allow-anonymous"]),
        (["--log-level", "loud"], None, {}, ["log-level", "loud"]),
        (["--trusted-proxy", "10.0.0.0/8"], None, {}, ["trusted-proxies", "forwarded-header"]),
        (["--forwarded-header", "forwarded"], None, {}, ["forwarded-header", "trusted-proxies"]),
        (["--trusted-proxy", "10.0.0.1/8", "--forwarded-header", "forwarded"], None, {}, ["10.0.0.1/8"]),
        (["--echo-path", "/v1/events"], None, {}, ["echo-path"]),
        (["--rule", "a/**/b retain-events=1"], None, {}, ["rules", "a/**/b"]),
        (["--rule", "a/* colour=red"], None, {}, ["rules", "colour"]),
        (["--rule", "a/* slow-reader=sometimes"], None, {}, ["rules", "sometimes"]),
        ([], None, {"HERALD_MAX_BODY": "-1"}, ["max-body", "HERALD_MAX_BODY", "-1"]),
        ([], "max-body: much\n", {}, ["max-body", "herald.yaml", "much"]),
        ([], "colour: red\n", {}, ["colour", "herald.yaml"]),
        ([], "retain_events: 5\n", {}, ["retain_events", "retain-events"]),
        ([], "max-body:\n  nested: 1\n", {}, ["max-body"]),
        ([], "max-body: [\n", {}, ["herald.yaml"]),
        ([], "- a\n- b\n", {}, ["herald.yaml"]),
        (["--config", "no-such-file.yaml"], None, {}, ["no-such-file.yaml"]),
    ],
)
def test_a_mistake_is_named_with_its_origin(serve, flags, config, env, named):
    result = serve(*flags, config=config, env=env)
    assert result.returncode in (64, 78), (result.returncode, result.stderr)
    assert result.stdout == ""
    for text in named:
        assert text in result.stderr, (text, result.stderr)


def test_all_mistakes_are_named_at_once(serve):
    result = serve("--max-body", "x", config="max-head: y\n", env={"HERALD_MAX_WAIT": "z"})
    assert result.returncode == 64
    lines = result.stderr.splitlines()
    for key in ("max-body", "max-head", "max-wait"):
        assert sum(key in line for line in lines) == 1, (key, lines)


def test_an_unknown_flag_is_refused(serve):
    result = serve("--colour", "red")
    assert result.returncode == 64
    assert "--colour" in result.stderr


def test_an_address_in_use_is_named(server, serve):
    result = serve("--listen", f"{server.host}:{server.port}")
    assert result.returncode != 0
    assert str(server.port) in result.stderr
    assert "listening on" not in result.stdout


def test_the_ready_line_is_all_that_is_printed(server_factory):
    server = server_factory()
    server.publish("a/b")
    assert server.stdout_lines == [f"herald: listening on {server.url}"]


def test_settings_from_the_file_are_in_force(server_factory, topic):
    server = server_factory(config={"retain-events": 3, "rules": [{"filter": "few/*", "retain-events": 1}]})
    server.publish_many([(topic, "x")] * 5 + [("few/x", "x")] * 5)
    assert len(server.poll(topic)["events"]) == 3
    assert len(server.poll("few/x")["events"]) == 1


def test_settings_from_the_environment_are_in_force(server_factory, topic):
    server = server_factory(env={"HERALD_RETAIN_EVENTS": "4"})
    server.publish_many([(topic, "x")] * 9)
    assert len(server.poll(topic)["events"]) == 4


def test_logs_are_lines_of_json_when_asked_for(server_factory):
    server = server_factory("--log-format", "json", "--log-level", "debug")
    server.publish("a/b")
    lines = eventually(lambda: server.log().splitlines(), "something is logged")
    for line in lines:
        entry = yaml.safe_load(line)
        assert isinstance(entry, dict) and entry, line


def test_help_and_version_are_printed():
    for arguments in (["--help"], ["serve", "--help"], ["publish", "--help"], ["--version"]):
        result = subprocess.run(
            [str(BINARY), *arguments], capture_output=True, text=True, timeout=PATIENCE, env=herald_environment()
        )
        assert result.returncode == 0 and result.stdout.strip(), arguments
