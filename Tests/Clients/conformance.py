"""Runs Autobahn's WebSocket cases, as PyPI's kosoku carries them, against `--echo-path`.

A case is OK, NON-STRICT (correct, but a failure could have been noticed sooner) or INFORMATIONAL (the RFC leaves it
open), or it failed. kosoku speaks no TLS: with --tls a tunnel seals what it sends and opens what it gets, byte by byte.

usage: conformance.py [--tls] [--report FOLDER] [--include CASE]... [URL]
Without a URL it starts `herald serve` itself.
"""

import argparse
import asyncio
import collections
import ssl
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from kosoku import FailureError, run_fuzzingclient

ECHO_PATH = "/echo"
# The largest message of the suite is 16 MiB.
FLAGS = ["--echo-path", ECHO_PATH, "--max-message", "32MiB"]


def run_cases(url, include=None, parallel=2):
    """The results of all cases, in their order.

    The suite stops a case by the clock. Those of groups 9 and 12 take long, and share one thread with what runs beside
    them: one that ran out of time is run again by itself.
    """

    async def run(cases, count):
        try:
            return await run_fuzzingclient(url, cases, None, count)
        except FailureError as failure:
            return failure.results

    results = asyncio.run(run(include, parallel))
    late = [result.case_id for result in results if "did not finish" in result.result]
    again = {result.case_id: result for case in late for result in asyncio.run(run([case], 1))}
    return [again.get(result.case_id, result) for result in results]


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


async def pass_on(reader, writer):
    """Copies one direction, and its end, which TLS has only for both."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
    except (OSError, ssl.SSLError):
        writer.close()


@contextmanager
def tunnel(host, port, context):
    """A plain port on which whatever comes goes on by TLS; gives the port."""
    loop = asyncio.new_event_loop()

    async def connect(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
        far_writer.close()
        writer.close()

    listener = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0, limit=1 << 20))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    async def end():
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.stop()

    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop)
        thread.join()
        loop.close()


@contextmanager
def own_server():
    from conftest import Server

    server = Server("autobahn", FLAGS)
    try:
        yield server.ws_url + ECHO_PATH
    finally:
        server.stop()


@contextmanager
def own_server_behind_tls():
    from certificates import Authority
    from conftest import Server

    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        server = Server("autobahn-tls", FLAGS, authority=authority, pairs=[authority.issue("loopback")])
        try:
            with tunnel(server.secure.host, server.secure.port, server.secure.context()) as port:
                yield f"ws://127.0.0.1:{port}{ECHO_PATH}"
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
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--tls", action="store_true", help="through a tunnel to the TLS port of a server of its own")
    arguments = parser.parse_args()
    own = own_server_behind_tls if arguments.tls else own_server
    with given(arguments.url) if arguments.url else own() as url:
        results = run_cases(url, arguments.include, arguments.parallel)
    print(summary(results))
    if arguments.report:
        from kosoku._report import write_reports

        write_reports(results, arguments.report)
        print(f"report: {arguments.report}/index.html")
    return 1 if not results or any(verdict(result) == "FAILED" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
