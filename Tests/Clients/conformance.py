"""Runs Autobahn's WebSocket cases, as PyPI's kosoku carries them, against `--echo-path`.

A case is OK, NON-STRICT (correct, but a failure could
have been noticed sooner) or INFORMATIONAL (the RFC leaves it open), or it failed.

usage: autobahn.py [--report FOLDER] [--include CASE]... [URL]
Without a URL it starts `herald serve` itself.
"""

import argparse
import asyncio
import collections
import sys
from contextlib import contextmanager

from kosoku import FailureError, run_fuzzingclient

ECHO_PATH = "/echo"
# The largest message of the suite is 16 MiB.
FLAGS = ["--echo-path", ECHO_PATH, "--max-message", "32MiB"]


def run_cases(url, include=None, parallel=4):
    """The results of all cases, in their order."""

    async def run():
        try:
            return await run_fuzzingclient(url, include, None, parallel)
        except FailureError as failure:
            return failure.results

    return asyncio.run(run())


def verdict(result):
    """OK only if both the exchange and the closing handshake were; else the worse of the two."""
    kinds = {result.behavior.value, result.behavior_close.value}
    for kind in ("NON-STRICT", "INFORMATIONAL", "OK"):
        if kinds <= {kind, "OK", "INFORMATIONAL"} and kind in kinds:
            return kind
    return "FAILED"


def summary(results):
    """One line of counts, and one for each case that is not OK."""
    counts = collections.Counter(map(verdict, results))
    total = ", ".join(f"{counts[kind]} {kind}" for kind in ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED"))
    lines = [f"Autobahn: {len(results)} cases: {total}"]
    lines += [
        f"  {result.case_id} {verdict(result)}: {result.result} {result.result_close}"
        for result in results
        if verdict(result) != "OK"
    ]
    return "\n".join(lines)


@contextmanager
def own_server():
    from conftest import Server

    server = Server("autobahn", FLAGS)
    try:
        yield server.ws_url + ECHO_PATH
    finally:
        server.stop()


@contextmanager
def given(url):
    yield url


def main():
    parser = argparse.ArgumentParser(description="Runs Autobahn's WebSocket cases.")
    parser.add_argument("url", nargs="?", help="ws://HOST:PORT/PATH of a server that echoes")
    parser.add_argument("--report", help="folder for Autobahn's HTML and JSON report")
    parser.add_argument("--include", action="append", metavar="CASE", help="a case, or a group such as 9.*")
    parser.add_argument("--parallel", type=int, default=4)
    arguments = parser.parse_args()
    with given(arguments.url) if arguments.url else own_server() as url:
        results = run_cases(url, arguments.include, arguments.parallel)
    print(summary(results))
    if arguments.report:
        from kosoku._report import write_reports

        write_reports(results, arguments.report)
        print(f"report: {arguments.report}/index.html")
    return 1 if not results or any(verdict(result) == "FAILED" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
