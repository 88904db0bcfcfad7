"""What the measuring programs share: a process's memory, tables, and a server that is measured."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

from conftest import Server


def memory(pid):
    """Resident and anonymous memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()

    def bytes_of(name, text):
        return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) * 1024

    return {
        "rss": bytes_of("VmRSS", status),
        "peak": bytes_of("VmHWM", status),
        "anonymous": bytes_of("Anonymous", rollup),
    }


@contextmanager
def measured_server(name, *flags):
    server = Server(name, flags)
    try:
        yield server
    finally:
        server.stop()


def print_table(rows):
    """Rows are dictionaries with the same keys; numbers stand to the right."""
    columns = list(rows[0])
    texts = [columns] + [[format_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in texts) for index in range(len(columns))]
    for line in texts:
        cells = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def format_cell(value):
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_json(path, document):
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")
