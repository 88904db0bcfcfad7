"""Adds up the results of the test runners and prints `N passed, N failed` as the last line.

usage: totals.py FOLDER STATUS, where FOLDER holds swift*.xml and clients.xml in JUnit's format and STATUS is the
exit status of `make test`. Exits 0 only if each runner ran a test, none failed and STATUS is 0.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

RUNNERS = {"Swift Testing": "swift*.xml", "pytest": "clients.xml"}

# What XML 1.0 §2.2 has no place for; Swift Testing writes a message's control characters as they are.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

SEVERITY = ["passed", "skipped", "failed"]


def outcome(case):
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def count(paths):
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for path in paths:
        text = NOT_XML.sub("", path.read_text(encoding="utf-8", errors="replace"))
        # A test that failed and failed again while it was torn down is one test with two entries.
        worst = {}
        for case in ElementTree.fromstring(text.encode()).iter("testcase"):
            name = (case.get("classname"), case.get("name"))
            worst[name] = max(worst.get(name, "passed"), outcome(case), key=SEVERITY.index)
        for result in worst.values():
            totals[result] += 1
    return totals


def main():
    folder, status = Path(sys.argv[1]), int(sys.argv[2])
    sums = {"passed": 0, "failed": 0, "skipped": 0}
    for runner, pattern in RUNNERS.items():
        try:
            totals = count(sorted(folder.glob(pattern)))
        except ElementTree.ParseError as error:
            print(f"{runner}: its results can't be read: {error}")
            totals = {"passed": 0, "failed": 0, "skipped": 0}
        if totals["passed"] + totals["failed"] == 0:
            print(f"{runner}: ran no test")
            totals["failed"] += 1
        print(f"{runner}: {totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
        for key, value in totals.items():
            sums[key] += value
    if status != 0 and sums["failed"] == 0:
        print(f"make test exited {status} although no test failed; counted as one failure")
        sums["failed"] += 1
    print(f"{sums['passed']} passed, {sums['failed']} failed")
    return 1 if sums["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
