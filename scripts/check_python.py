"""Compiles the Python files under the given folders without writing anything; names those that do not parse."""

import sys
from pathlib import Path

LINE_LENGTH_MAX = 120


def problems(path):
    source = path.read_text(encoding="utf-8")
    try:
        compile(source, str(path), "exec")
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: {error.msg}"
    for number, line in enumerate(source.splitlines(), start=1):
        if len(line) > LINE_LENGTH_MAX:
            yield f"{path}:{number}: longer than {LINE_LENGTH_MAX} characters"
        if line != line.rstrip():
            yield f"{path}:{number}: white space at the end"


def main():
    found = [
        problem
        for folder in sys.argv[1:]
        for path in sorted(Path(folder).rglob("*.py"))
        for problem in problems(path)
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
