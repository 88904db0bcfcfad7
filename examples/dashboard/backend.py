"""Publishes metrics of machines that are made up, as an agent on each of them would. Runs alone, too:

    python3 examples/dashboard/backend.py http://127.0.0.1:8080
"""

import itertools
import json
import random
import sys
import time
import urllib.request

MACHINES = ["cache-1", "db-1", "db-2", "web-1", "web-2", "web-3"]
METRICS = ["cpu", "memory"]
INTERVAL = 1.0
# Loopback never goes by a proxy, whatever the environment says.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def flags(_):
    # Enough for the lines. Who reads too slowly skips to the newest: a dashboard has no use for values of yesterday.
    return ["--rule", "metrics/** retain-events=60 retain-age=10m slow-reader=latest"]


def publish(herald, events):
    """Publishes events by one request: a line of JSON each."""
    lines = "".join(f"{json.dumps(event)}\n" for event in events)
    headers = {"Content-Type": "application/x-ndjson"}
    OPENER.open(urllib.request.Request(f"{herald}/v1/events", lines.encode(), headers), timeout=10).close()


def run(herald):
    values = {f"metrics/{machine}/{metric}": random.uniform(20, 70) for machine in MACHINES for metric in METRICS}
    for second in itertools.count():
        for topic, value in values.items():
            values[topic] = min(99.0, max(1.0, value + random.gauss(0, 4)))
        # One machine says nothing for a third of each minute, so that there is something stale to be seen.
        is_off = second % 60 >= 40
        news = [(topic, value) for topic, value in values.items() if not (is_off and "/cache-1/" in topic)]
        try:
            publish(herald, [{"topic": topic, "data": round(value, 1)} for topic, value in news])
        except OSError as error:
            print(f"not published: {error}", file=sys.stderr)
        time.sleep(INTERVAL)


def start(site):
    run(site.herald)


if __name__ == "__main__":
    run(sys.argv[1])
