#!/usr/bin/env python3
"""Runs an example: Herald, the example's pages on an origin of their own, and its backend. Ctrl-C ends all of it.

An example is a folder of pages with a `backend.py`. In it `flags(site)` gives what Herald is started with. There may be
`start(site)`, called on a thread of its own when Herald is ready, `post(site, path, fields)`, which answers pages, and
`addresses(site)`, if they are others than that of the pages.
"""

import argparse
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

HERE = Path(__file__).resolve().parent
SHARED = [HERE / "style.css", HERE / "state.js", HERE.parent / "clients/javascript/herald.js"]
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Pages run no script but those files, and ask nobody but this origin and Herald.
POLICY = "default-src 'self'; connect-src 'self' {0} {1}; img-src data:; base-uri 'none'; form-action 'none'"
BODY_MAX = 4096


class Pages(SimpleHTTPRequestHandler):
    """Serves the pages. What they post is a form, which the backend answers with a status and an object."""

    extensions_map = {suffix: f"{kind}; charset=utf-8" for suffix, kind in KINDS.items()}

    def __init__(self, site, *arguments):
        self.site = site
        super().__init__(*arguments, directory=str(site.pages))

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not hasattr(self.site.backend, "post") or not re.fullmatch(r"\d{1,4}", length) or int(length) > BODY_MAX:
            self.send_error(400)
            return
        fields = dict(parse_qsl(self.rfile.read(int(length)).decode("utf-8", "replace")))
        status, answer = self.site.backend.post(self.site, self.path, fields)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self):
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", self.site.policy)
        super().end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """A browser that closes a page goes without waiting for answers; that is no error."""

    def handle_error(self, *arguments):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*arguments)


def lay_out(pages, name):
    """Puts the example's pages and what all examples share into one folder, by links: edit them and reload."""
    pages.mkdir()
    for file in [*SHARED, *(file for file in (HERE / name).iterdir() if file.suffix in KINDS)]:
        (pages / file.name).symlink_to(file)


def port_or_any(port):
    """The port, or, if somebody listens there already, 0: the system chooses."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        print(f"Port {port} is taken; another one is chosen.")
        return 0
    return port


@contextmanager
def herald(binary, flags):
    """Runs Herald. Gives its process and its address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERALD_")}
    # In a session of its own, so that Ctrl-C reaches this program alone, which then ends it in order.
    process = subprocess.Popen(
        [binary, "serve", *map(str, flags)], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        address = re.search(r"http://\S+", process.stdout.readline())
        if not address:
            sys.exit("Herald did not start.")  # it has said why
        yield process, address[0]
    finally:
        process.terminate()
        process.wait()


ending = threading.Event()


def start(site):
    """Has the backend begin its own work. What it can't do because all is being ended is no error."""
    try:
        site.backend.start(site)
    except Exception:
        if not ending.is_set():
            raise


def end(*_):
    """Ends the program from wherever it is, once: what it has started is then ended behind it."""
    ending.set()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("example", choices=sorted(path.parent.name for path in HERE.glob("*/backend.py")))
    parser.add_argument("--port", type=int, default=8000, help="where the pages are (default: %(default)s)")
    parser.add_argument("--herald-port", type=int, default=8080, help="where Herald is (default: %(default)s)")
    parser.add_argument("--herald", default=HERE.parent / ".build/release/herald", help="Herald's binary")
    chosen = parser.parse_args()
    if not os.path.exists(chosen.herald):
        sys.exit(f"{chosen.herald} is not there. Run `make build` first, or `make example-{chosen.example}`.")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    with tempfile.TemporaryDirectory(prefix="herald-example-") as folder:
        backend = importlib.import_module(f"{chosen.example}.backend")
        site = SimpleNamespace(backend=backend, binary=chosen.herald, folder=Path(folder), pages=Path(folder, "pages"))
        lay_out(site.pages, chosen.example)
        server = Server(("127.0.0.1", port_or_any(chosen.port)), partial(Pages, site))
        site.url = f"http://127.0.0.1:{server.server_port}"
        flags = ["--listen", f"127.0.0.1:{port_or_any(chosen.herald_port)}", "--allowed-origins", site.url]
        flags += ["--log-level", "warning", "--max-connections", "1000", "--drain-timeout", "2s", *backend.flags(site)]
        with herald(chosen.herald, flags) as (process, site.herald):
            site.policy = POLICY.format(site.herald, site.herald.replace("http", "ws"))
            (site.pages / "config.js").write_text(f"export const server = {json.dumps(site.herald)};\n")
            threading.Thread(target=server.serve_forever, daemon=True).start()
            addresses = backend.addresses(site) if hasattr(backend, "addresses") else [f"{chosen.example}: {site.url}/"]
            print(*addresses, f"Herald: {site.herald}/ (its console page). Ctrl-C ends all.", sep="\n", flush=True)
            if hasattr(backend, "start"):
                threading.Thread(target=start, args=(site,), daemon=True).start()
            process.wait()
            sys.exit("Herald has ended by itself.")


if __name__ == "__main__":
    main()
