"""Runs the commands that a test sends from outside the namespaces: one JSON document a line, each way."""

import json
import subprocess
import sys

PATIENCE_S = 120


def main() -> None:
    """Until its input ends."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        argv = json.loads(line)
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
        print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)


if __name__ == "__main__":
    main()
