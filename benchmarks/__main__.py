"""Runs benchmarks and prints tables: `python -m benchmarks [scan reinit jobs feeling backup] [--size N]`."""

import argparse
import importlib
import os
import platform

NAMES = ("scan", "reinit", "jobs", "feeling", "backup")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--size", type=int, help="files, jobs … instead of each benchmark's own number")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}")
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.node()}: {cores} cores, Linux {platform.release()}, Python {platform.python_version()}")
    for name in arguments.names or NAMES:
        benchmark = importlib.import_module(f"benchmarks.{name}").main
        benchmark(arguments.size) if arguments.size else benchmark()


if __name__ == "__main__":
    main()
