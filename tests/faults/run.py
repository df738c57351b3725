"""`make faults`: runs the harness from seed to seed for a given time and says what happened.

python tests/faults/run.py --seconds 3600 --first-seed 1
python tests/faults/run.py --seed 4711 --verbose
"""

import argparse
import itertools
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "end_to_end")]

from harness import Harness  # noqa: E402  # lies beside this program
from invariants import Violation  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="no run is begun after this time")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--run-seconds", type=float, default=20, help="for which things happen in each run")
    parser.add_argument("--verbose", action="store_true", help="print each action")
    parser.add_argument("--keep-going", action="store_true", help="go on after a violation")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing of a run that is broken off is left
    seeds = itertools.count(options.first_seed) if options.seed is None else [options.seed]
    counts: Counter[str] = Counter()
    violations = runs = total = 0
    began = time.monotonic()
    for seed in seeds:
        if time.monotonic() - began > options.seconds:
            break
        runs += 1
        with tempfile.TemporaryDirectory(prefix="torc-faults-") as directory:
            harness = Harness(Path(directory), seed, print if options.verbose else lambda text: None)
            try:
                harness.run(options.run_seconds)
            except Violation as violation:
                violations += 1
                print(violation, flush=True)
            finally:
                harness.close()
            counts += harness.counts
            total += sum(count for name, count in harness.counts.items() if not name.startswith("("))
        if violations and not options.keep_going:
            break
        minutes = (time.monotonic() - began) / 60
        print(f"seed {seed}: {runs} runs, {total} events, {total / minutes:.0f} a minute", flush=True)
    print(f"{runs} runs, {violations} violations, {total} events in {time.monotonic() - began:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"  {name:18}{count:7}")
    sys.exit(violations > 0)


if __name__ == "__main__":
    main()
