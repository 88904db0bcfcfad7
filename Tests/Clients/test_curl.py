"""curl, and the README's curl lines as they stand."""

import json
import os
import re
import subprocess
import threading

import pytest

from conftest import ROOT, herald_environment
from helpers import PATIENCE, eventually

README = ROOT / "README.md"


def curl(*arguments, input=None):
    result = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", str(int(PATIENCE)), *arguments],
        input=input,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


class Background:
    """A command line that runs on; its output is gathered."""

    def __init__(self, line, env):
        self.line, self.output = line, b""
        self.process = subprocess.Popen(
            ["bash", "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=env, start_new_session=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def _gather(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.output += data

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
        self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)


def test_publish_and_poll(server, topic):
    url = f"{server.url}/v1/events/{topic}"
    published = json.loads(curl("-d", "hello", url))
    assert published["topic"] == topic
    curl("-H", "Content-Type: application/json", "--data-binary", '{"n": 1}', url)
    page = json.loads(curl(url))
    assert [event["data"] for event in page["events"]] == ["hello", {"n": 1}]
    assert page["events"][0]["datacontenttype"] == "application/x-www-form-urlencoded"


def test_publish_a_file_and_a_stream(server, topic, tmp_path):
    path = tmp_path / "lines.ndjson"
    path.write_text("".join(json.dumps({"topic": topic, "data": n}) + "\n" for n in range(300)), encoding="utf-8")
    headers = ["-H", "Content-Type: application/x-ndjson"]
    url = f"{server.url}/v1/events"
    assert len(json.loads(curl(*headers, "--data-binary", f"@{path}", url))["events"]) == 300
    chunked = ["-H", "Transfer-Encoding: chunked", "-X", "POST", "-T", "-"]
    assert len(json.loads(curl(*headers, *chunked, url, input=path.read_text()))["events"]) == 300
    assert server.client.get(f"/v1/topics/{topic}").json()["published"] == 600


def test_long_poll(server, topic):
    before = server.metric("herald_held_requests")
    results = []
    poll = threading.Thread(
        target=lambda: results.append(curl(f"{server.url}/v1/events/{topic}?after=latest&wait=300"))
    )
    poll.start()
    eventually(lambda: server.metric("herald_held_requests") > before, "the poll is held")
    published = server.publish(topic)["id"]
    poll.join(PATIENCE)
    assert [event["id"] for event in json.loads(results[0])["events"]] == [published]


def test_stream(server, topic):
    line = f"curl -sSN --noproxy '*' -H 'Accept: text/event-stream' '{server.url}/v1/events/{topic}'"
    stream = Background(line, herald_environment())
    try:
        eventually(lambda: b"retry:" in stream.output, "the stream begins")
        published = server.publish(topic)["id"]
        eventually(lambda: f"id: {published}\n".encode() in stream.output, "the event")
    finally:
        stream.stop()


def test_not_modified(server, topic):
    server.publish(topic)
    url = f"{server.url}/v1/events/{topic}"
    tag = re.search(r"(?im)^etag: (.*?)\r?$", curl("-D", "-", "-o", "/dev/null", url))[1]
    assert curl("-w", "%{http_code}", "-H", f"If-None-Match: {tag}", url) == "304"


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_versions_that_curl_speaks(server, topic, version):
    # Over cleartext curl only offers HTTP/2 by an upgrade, which a server may pass over.
    published = json.loads(curl(version, "-d", "x", f"{server.url}/v1/events/{topic}"))
    assert published["topic"] == topic


def readme_commands(program):
    """The README's shell commands that call a program, each with its continuation lines."""
    commands = []
    for block in re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S):
        whole = [line for line in re.sub(r"\\\n", " ", block).splitlines() if not line.startswith("#")]
        commands += [line for line in whole if re.search(rf"\b{program}\b", line)]
    return commands


def server_of_the_readme(server_factory, folder):
    """A server with the README's certificate and the flags that it is given there; its addresses are the system's."""
    certificate, run = readme_commands("openssl")[0], readme_commands("make run")[0]
    subprocess.run(certificate, shell=True, check=True, cwd=folder, capture_output=True)
    flags = re.search(r"ARGS='(.*)'", run)[1].replace("127.0.0.1:8443", "127.0.0.1:0").split()
    return server_factory(*(str(folder / flag) if flag.endswith(".pem") else flag for flag in flags))


def kind_of(command):
    """What ends a command: itself, an event that a later one publishes, or only Ctrl-C."""
    if re.search(r"\s-[a-zA-Z]*N\b|--no-buffer", command) and not re.search(r"\s(-m|--max-time)\b", command):
        return "stream"
    return "poll" if re.search(r"[?&]wait=|[Pp]refer: *wait=", command) else "plain"


def script_of(commands):
    """Runs all commands in one shell, as they stand; what does not end by itself goes to the background."""
    script = []
    for index, command in enumerate(commands):
        run = f"{{ {command}\n}} >out.{index} 2>err.{index} </dev/null"
        if kind_of(command) == "plain":
            script.append(f"{run}; echo $? >exit.{index}")
        else:
            script.append(f"{run} & pid{index}=$!")
        if kind_of(command) == "stream":
            script.append(f"until [ -s out.{index} ]; do kill -0 $pid{index} || exit 1; sleep 0.05; done")
    for index, command in enumerate(commands):
        if kind_of(command) == "poll":
            script.append(f"wait $pid{index}; echo $? >exit.{index}")
        if kind_of(command) == "stream":
            script.append(f"kill -0 $pid{index} && echo 0 >exit.{index}; kill $pid{index}")
    return "\n".join(script) + "\n"


def test_the_readmes_curl_lines_work_as_they_stand(server_factory, tmp_path):
    server = server_of_the_readme(server_factory, tmp_path)
    tls_port = re.search(r"https://127.0.0.1:(\d+)", server.stdout_lines[-1])[1]
    commands = readme_commands("curl")
    assert commands, "the README shows no curl line"
    # The lines name the default address; curl's own configuration leads it to the server of this test.
    (tmp_path / ".curlrc").write_text(
        f'connect-to = "127.0.0.1:8080:{server.host}:{server.port}"\n'
        f'connect-to = "localhost:8080:{server.host}:{server.port}"\n'
        f'connect-to = "localhost:8443:{server.host}:{tls_port}"\n'
        'noproxy = "*"\nwrite-out = "%{stderr}\\nstatus=%{http_code}\\n"\n',
        encoding="utf-8",
    )
    env = herald_environment({"HOME": str(tmp_path), "CURL_HOME": str(tmp_path)})
    shell = Background(f"cd '{tmp_path}'\n{script_of(commands)}", env)
    try:
        shell.process.wait(PATIENCE + 330)
    finally:
        shell.stop()
    for index, command in enumerate(commands):
        out, err, code = ((tmp_path / f"{name}.{index}") for name in ("out", "err", "exit"))
        assert code.exists(), (command, shell.output)
        told = (command, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))
        # 28: the time that the line itself sets is over.
        assert code.read_text().strip() in ("0", "28"), told
        for status in re.findall(r"status=(\d+)", told[2]):
            assert status[0] == "2" or status == "304", told
        assert "/problems/" not in told[1], told
