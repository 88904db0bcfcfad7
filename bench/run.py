"""Measures Herald against the floor and against Nchan, by what a unit of work costs the server's processor.

The scenarios are in scenarios.py. Each measurement starts its server afresh, on the first of two processors, and the
load generator on the second. The servers take turns, round by round, so that what disturbs the machine disturbs all;
what is reported is the median of the rounds. A Markdown table goes to standard output; --json keeps every round.
A scenario that fails shows no numbers; the others go on, and the status is 1.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import plot
import report
import scenarios
import servers

HERE = Path(__file__).resolve().parent
# What each program of C is linked with.
LIBRARIES = {"load": ["-lssl", "-lcrypto", "-lz", "-lm"], "floor": ["-lm"]}
COMPILE_FLAGS = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
WARM_UP_SECONDS = 1
# For opening tens of thousands of connections, and for publishing what is to be caught up with.
PATIENCE_SECONDS = 240


@dataclass
class Contestant:
    """A server, or a variant of it, in one scenario; and what came of its rounds."""

    server: object
    variant: scenarios.Variant | None
    rounds: list = field(default_factory=list)
    failed: str = ""

    @property
    def name(self):
        return self.variant.name if self.variant else self.server.name

    @property
    def title(self):
        return f"{self.server.title}, {self.variant.name}" if self.variant else self.server.title


def words(known):
    """A parser of lists like a,b,c of known words."""

    def parse(text):
        found = text.split(",")
        unknown = sorted(set(found) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return found

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    names = [scenario.name for scenario in scenarios.SCENARIOS]
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--only", type=words(names), metavar="NAME,…", help="these scenarios, whatever their group")
    parser.add_argument(
        "--group", type=words(scenarios.GROUPS), default=["quick"], metavar="NAME,…", help="quick, full, scale or storm"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--servers",
        type=words(list(servers.KNOWN)),
        default=list(servers.KNOWN),
        metavar="NAME,…",
        help="of floor, nchan, nchan2 (two workers) and herald",
    )
    parser.add_argument("--herald", default=".build/release/herald", help="the program to measure")
    parser.add_argument("--herald-args", default="", help="more flags of `herald serve`; the last of a kind counts")
    parser.add_argument("--seconds", type=float, help="measured in each round, instead of what the scenario says")
    parser.add_argument("--load", help="the generator, compiled; without it bench/load is compiled for this run")
    parser.add_argument("--floor", help="the floor, compiled; without it bench/floor is compiled for this run")
    parser.add_argument("--json", help="where to write everything, every round")
    parser.add_argument("--markdown", help="where to write the tables, too")
    parser.add_argument("--svg", help="where to write a plot")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    if options.seconds is not None and options.seconds <= 0:
        parser.error("--seconds: more than 0")
    return options


def two_processors():
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        sys.exit("run.py: needs two processors: one for the server, one for the load generator")
    return available[:2]


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def compiler():
    for name in (os.environ.get("CC"), "clang", "cc"):
        if name and shutil.which(name):
            return name
    sys.exit("run.py: no C compiler here; set CC")


def compiled(folder, name):
    """One program of all C files in bench/NAME."""
    sources = sorted((HERE / name).glob("*.c"))
    if not sources:
        sys.exit(f"run.py: bench/{name} has no C files")
    path = Path(folder) / name
    done = subprocess.run([compiler(), *COMPILE_FLAGS, "-o", path, *sources, *LIBRARIES[name]], check=False)
    if done.returncode != 0:
        sys.exit(f"run.py: bench/{name} was not compiled")
    return str(path)


def given_or_compiled(given, folder, name):
    return servers.existing(given, f"--{name} names a compiled one") if given else compiled(folder, name)


def generator_flags(options, scenario, contestant, size, place):
    """What the scenario asks for, last, so that it can name paths of its own."""
    seconds = options.seconds or scenario.seconds
    timed = {"warm-up": WARM_UP_SECONDS, "seconds": seconds}
    if scenario.mode == "idle":
        timed = {"seconds": seconds}
    flags = {"dialect": contestant.server.dialect, **timed, **contestant.server.load_flags(scenario.mode)}
    flags |= {"tls-port": place.tls_port} if place.tls_port else {}
    flags |= scenario.load | (contestant.variant.load if contestant.variant else {})
    # A generator that spins would take the second processor from a server that runs on both. Variants are compared
    # with each other, so it waits in the same way for all of them.
    shares = any(contestant.server.is_on_both(variant) for variant in scenario.variants or (None,))
    return flags | ({"subscribers": size} if size else {}) | ({"wait": "sleep"} if shares else {})


def run_generator(options, scenario, flags, port, pid, processor):
    command = [options.load, scenario.mode, f"--port={port}", f"--pid={pid}"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    seconds = flags.get("seconds", 0) + flags.get("settle", 0) + PATIENCE_SECONDS
    try:
        done = subprocess.run(
            command,
            preexec_fn=servers.pinned({processor}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise servers.Failed(f"the generator did not end within {seconds:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise servers.Failed(said[-1] if said else f"the generator ended with status {done.returncode}")
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise servers.Failed("the generator's answer is not a JSON object")
    return result


def measure_once(options, scenario, contestant, processors, size):
    server, variant = contestant.server, contestant.variant
    own = set(processors) if server.is_on_both(variant) else {processors[0]}
    with servers.running(server, scenario, variant, own, options.certificate) as (place, pid):
        if scenario.topic_count:
            servers.make_topics(place.port, scenario.topic_count)
        flags = generator_flags(options, scenario, contestant, size, place)
        return run_generator(options, scenario, flags, place.port, pid, processors[1])


def measure(options, scenario, contestant, processors):
    if scenario.sizes:
        steps = [measure_once(options, scenario, contestant, processors, size) for size in scenario.sizes]
        result = {**scenarios.slopes(steps), "steps": steps}
    else:
        result = measure_once(options, scenario, contestant, processors, None)
    for figure in scenario.figures:
        value = result.get(figure.member)
        if value is None or (value <= 0 and figure.more_is_better):
            raise servers.Failed(f"the generator's answer has no {figure.member}")
    return result


def tell(text):
    print(text, file=sys.stderr, flush=True)


def progress(scenario, result):
    figures = (f"{figure.title} {report.number(result[figure.member], figure.unit)}" for figure in scenario.figures)
    return ", ".join(text.strip() for text in figures)


def run_scenario(options, scenario, chosen_servers, processors, descriptors):
    """Rounds without, contestants within: those that are compared stand next to each other in time."""
    here = [server for server in chosen_servers if server.name in scenario.servers]
    contestants = [Contestant(server, variant) for server in here for variant in (scenario.variants or (None,))]
    needed = scenario.reader_count + servers.SPARE_DESCRIPTORS
    if needed > descriptors:
        why = f"needs {needed:,} files a process, {descriptors:,} are allowed (ulimit -Hn)"
        contestants = [Contestant(item.server, item.variant, failed=why) for item in contestants]
        tell(f"{scenario.name}: {why}")
    for number in range(1, options.rounds + 1):
        for contestant in contestants:
            if contestant.failed:
                continue
            at = f"{scenario.name}, round {number}: {contestant.name}"
            try:
                result = measure(options, scenario, contestant, processors)
                contestant.rounds.append(result)
                tell(f"{at}: {progress(scenario, result)}")
            except servers.Failed as failure:
                contestant.failed = str(failure)
                tell(f"{at} FAILED: {failure}")
    return report.of_scenario(scenario, contestants)


def write(path, text):
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text + "\n", encoding="utf-8")


def write_all(options, run):
    write(options.json, json.dumps(run, indent=2, ensure_ascii=False))
    write(options.markdown, report.markdown(run))
    write(options.svg, plot.svg(run))


def main():
    options = arguments()
    # An end from outside, too, ends the server that runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("run.py: ended by a signal"))
    if options.list:
        for scenario in scenarios.SCENARIOS:
            print(f"{scenario.name:14} {scenario.group:6} {scenario.title}")
        return 0
    processors = two_processors()
    descriptors = raise_descriptor_limit()
    wanted = scenarios.chosen(options.only, options.group)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            options.load = given_or_compiled(options.load, folder, "load")
            is_encrypted = any(scenario.is_encrypted for scenario in wanted)
            options.certificate = servers.make_certificate(folder) if is_encrypted else {}
            if "floor" in options.servers:
                options.floor = given_or_compiled(options.floor, folder, "floor")
            chosen_servers = [server(options) for name, server in servers.KNOWN.items() if name in options.servers]
        except servers.Failed as failure:
            sys.exit(f"run.py: {failure}")
        versions = {server.name: server.version() for server in chosen_servers}
        run = report.of_run(options, versions, processors, descriptors, compiler())
        for scenario in wanted:
            if set(scenario.servers) & set(options.servers):
                run["scenarios"].append(run_scenario(options, scenario, chosen_servers, processors, descriptors))
                run["load_after"] = os.getloadavg()
                write_all(options, run)
    print(report.markdown(run))
    return 1 if report.is_faulty(run) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("run.py: interrupted")
