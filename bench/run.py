"""Compares the fan-out of Herald with that of Nchan (nginx), by deliveries per second of the server's processor time.

Each measurement starts its server afresh, on the first of two processors, and the load generator (fanout.c) on the
second. The servers take turns, round by round, so that what disturbs the machine disturbs both; what is reported is the
median of the rounds. A Markdown table goes to standard output; --json keeps every round.
usage: run.py [--herald PATH] [--subscribers N] [--windows 1,16] [--transports ws,sse] [--rounds R] [--json FILE] …
"""

import argparse
import json
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPILE_FLAGS = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
START_SECONDS = 20
STOP_SECONDS = 10
# Events that each server keeps for those that come back: both pay for what both promise.
RETAINED = 1000

NCHAN_CONFIGURATION = """
load_module {module};
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 128k;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 256m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /sub {{
            nchan_subscriber websocket eventsource;
            nchan_subscriber_first_message newest;
            nchan_channel_id bench;
        }}
        location = /pub {{
            nchan_publisher http;
            nchan_channel_id bench;
            nchan_message_buffer_length {retained};
            nchan_message_timeout 1h;
        }}
    }}
}}
"""


def whole_numbers(text):
    return [int(part) for part in text.split(",")]


def transports(text):
    names = text.split(",")
    if not set(names) <= {"ws", "sse"}:
        raise argparse.ArgumentTypeError(f"{text}: the transports are ws and sse")
    return names


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--herald", default=".build/release/herald", help="the program to measure")
    parser.add_argument(
        "--herald-command",
        help="how to start it instead, e.g. 'other/herald serve --listen 127.0.0.1:{port} --loops 1'",
    )
    parser.add_argument("--herald-query", default="", help="query of Herald's subscriptions, e.g. format=raw")
    parser.add_argument("--generator", help="fanout, compiled; without it fanout.c is compiled for this run")
    parser.add_argument("--servers", default="herald,nchan", help="one of them, or both")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--payload", type=int, default=128, help="bytes of an event's data")
    parser.add_argument("--windows", type=whole_numbers, default=[1, 16], help="events outstanding at most")
    parser.add_argument("--transports", type=transports, default=["ws", "sse"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="measured in each round")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before them")
    parser.add_argument("--json", help="where to write every round")
    parser.add_argument("--markdown", help="where to write the table, too")
    return parser.parse_args()


def two_processors():
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        sys.exit("run.py: needs two processors: one for the server, one for the load generator")
    return available[:2]


def pinned(processor):
    """What a child does before it becomes its program: all its threads and children then stay there."""
    return lambda: os.sched_setaffinity(0, {processor})


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def compile_generator(folder):
    path = Path(folder) / "fanout"
    compiler = os.environ.get("CC", "clang")
    subprocess.run([compiler, *COMPILE_FLAGS, "-o", path, HERE / "fanout.c"], check=True)
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nginx_program():
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not program:
        sys.exit("run.py: no nginx here; Debian's packages are nginx-light and libnginx-mod-nchan")
    return program


def nchan_version(program):
    text = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"], capture_output=True, text=True, check=False
    )
    return f"{text.strip().removeprefix('nginx version: ')}, Nchan {found.stdout or 'of unknown version'}"


class Herald:
    name = "herald"

    def __init__(self, options):
        self.options = options
        query = f"?{options.herald_query}" if options.herald_query else ""
        self.paths = (f"/v1/events/bench/fanout{query}", "/v1/events/bench/fanout")

    def command(self, port, _folder):
        if self.options.herald_command:
            return shlex.split(self.options.herald_command.format(port=port))
        address = f"127.0.0.1:{port}"
        flags = ["--listen", address, "--loops", "1", "--retain-events", str(RETAINED), "--log-level", "error"]
        return [self.options.herald, "serve", *flags]

    def version(self):
        if self.options.herald_command:
            return "started by a command of its own"
        found = subprocess.run([self.options.herald, "--version"], capture_output=True, text=True, check=False)
        return found.stdout.strip() or "of unknown version"


class Nchan:
    name = "nchan"
    paths = ("/sub", "/pub")

    def __init__(self, options):
        self.options = options
        self.program = nginx_program()
        build = subprocess.run([self.program, "-V"], capture_output=True, text=True, check=True).stderr
        modules = re.search(r"--modules-path=(\S+)", build)
        self.module = Path(modules[1] if modules else "modules") / "ngx_nchan_module.so"

    def command(self, port, folder):
        connections = self.options.subscribers + 1000
        configuration = Path(folder) / "nginx.conf"
        text = NCHAN_CONFIGURATION.format(
            module=self.module,
            # The worker keeps the master's user: it need not be able to read the folder otherwise.
            user="user root;" if os.geteuid() == 0 else "",
            descriptors=connections + 1000,
            connections=connections,
            folder=folder,
            port=port,
            retained=RETAINED,
        )
        configuration.write_text(text, encoding="utf-8")
        return [self.program, "-c", str(configuration)]

    def version(self):
        return nchan_version(self.program)


def wait_until_open(port, process, name):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"run.py: {name} ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"run.py: {name} did not listen within {START_SECONDS} s")


def stop(process):
    """Asks for an end, then enforces it, of the whole group: a master that is killed leaves its workers."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running(server, processor):
    with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
        port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HERALD_")}
        process = subprocess.Popen(
            server.command(port, folder),
            preexec_fn=pinned(processor),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        try:
            wait_until_open(port, process, server.name)
            yield port, process.pid
        finally:
            stop(process)


def measure(options, server, generator, processors, transport, window):
    with running(server, processors[0]) as (port, pid):
        subscribe_path, publish_path = server.paths
        flags = {
            "port": port,
            "pid": pid,
            "transport": transport,
            "subscribe-path": subscribe_path,
            "publish-path": publish_path,
            "subscribers": options.subscribers,
            "payload": options.payload,
            "window": window,
            "warm-up": options.warm_up,
            "seconds": options.seconds,
        }
        command = [generator] + [f"--{name}={value}" for name, value in flags.items()]
        result = subprocess.run(command, preexec_fn=pinned(processors[1]), stdout=subprocess.PIPE, check=False)
    if result.returncode != 0:
        sys.exit(f"run.py: the measurement of {server.name} failed ({transport}, window {window})")
    return {"server": server.name, **json.loads(result.stdout)}


def measure_all(options, servers, generator, processors):
    """Rounds within each cell: the two that are compared then stand next to each other in time."""
    results = []
    for transport in options.transports:
        for window in options.windows:
            for number in range(1, options.rounds + 1):
                for server in servers:
                    result = measure(options, server, generator, processors, transport, window)
                    results.append({"round": number, **result})
                    rate = result["deliveries_per_core_second"]
                    progress = f"{transport}, window {window}, round {number}: {server.name} {rate:,.0f}"
                    print(progress, file=sys.stderr, flush=True)
    return results


def summarize(results):
    """One row a cell: medians of rates and shares, sums of faults, and whether any round was saturated."""
    cells = {}
    for result in results:
        cells.setdefault((result["transport"], result["window"], result["server"]), []).append(result)
    rows = []
    for (transport, window, server), rounds in cells.items():
        rates = [item["deliveries_per_core_second"] for item in rounds]
        row = {"transport": transport, "window": window, "server": server, "rounds": len(rounds)}
        row["lowest"], row["highest"] = min(rates), max(rates)
        for name in (
            "deliveries_per_core_second",
            "deliveries_per_second",
            "bytes_per_delivery",
            "server_cpu_share",
            "generator_cpu_share",
            "generator_wait_share",
        ):
            row[name] = statistics.median(item[name] for item in rounds)
        system = [item["server_system_seconds"] for item in rounds]
        user = [item["server_user_seconds"] for item in rounds]
        row["kernel_share"] = sum(system) / (sum(system) + sum(user)) if sum(system) + sum(user) > 0 else 0.0
        for name in ("lost", "repeated", "disordered", "stalls"):
            row[name] = sum(item[name] for item in rounds)
        row["saturated"] = any(item["saturated"] for item in rounds)
        rows.append(row)
    for row in rows:
        other = [item for item in rows if item["server"] == "nchan" and cell(item) == cell(row)]
        rate = other[0]["deliveries_per_core_second"] if other else 0
        row["ratio"] = row["deliveries_per_core_second"] / rate if rate else None
    return rows


def cell(row):
    return row["transport"], row["window"]


def table(rows):
    """The summary in Markdown."""
    columns = [
        ("Transport", lambda row: row["transport"]),
        ("Window", lambda row: f"{row['window']}"),
        ("Server", lambda row: row["server"]),
        ("Deliveries per core second", lambda row: f"{row['deliveries_per_core_second']:,.0f}"),
        ("Lowest to highest", lambda row: f"{row['lowest']:,.0f} to {row['highest']:,.0f}"),
        ("To Nchan", lambda row: f"{row['ratio']:.2f}" if row["ratio"] else ""),
        ("In the kernel", lambda row: f"{row['kernel_share']:.0%}"),
        ("Deliveries per second", lambda row: f"{row['deliveries_per_second']:,.0f}"),
        ("Bytes each", lambda row: f"{row['bytes_per_delivery']:.0f}"),
        ("Lost, repeated, disordered", lambda row: f"{row['lost']}, {row['repeated']}, {row['disordered']}"),
        (
            "Generator ran, waited",
            lambda row: f"{row['generator_cpu_share']:.0%}, {row['generator_wait_share']:.0%}"
            + (" saturated" if row["saturated"] else ""),
        ),
    ]
    lines = ["| " + " | ".join(title for title, _ in columns) + " |"]
    lines.append("| " + " | ".join("---" if index in (0, 2) else "---:" for index in range(len(columns))) + " |")
    lines += ["| " + " | ".join(text(row) for _, text in columns) + " |" for row in rows]
    return "\n".join(lines)


def write(path, text):
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text + "\n", encoding="utf-8")


def main():
    options = arguments()
    processors = two_processors()
    raise_descriptor_limit()
    known = {"herald": Herald, "nchan": Nchan}
    names = options.servers.split(",")
    if not set(names) <= set(known):
        sys.exit(f"run.py: {options.servers}: the servers are herald and nchan")
    servers = [known[name](options) for name in names]
    with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
        generator = options.generator or compile_generator(folder)
        load_before = os.getloadavg()
        results = measure_all(options, servers, generator, processors)
    rows = summarize(results)
    head = {
        "versions": {server.name: server.version() for server in servers},
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "subscribers": options.subscribers,
        "payload_bytes": options.payload,
    }
    write(options.json, json.dumps({**head, "summary": rows, "rounds": results}, indent=2))
    text = f"{options.subscribers:,} subscribers, {options.payload} bytes of data.\n\n{table(rows)}"
    write(options.markdown, text)
    print(text)
    return 1 if any(row["lost"] + row["repeated"] + row["disordered"] + row["stalls"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
