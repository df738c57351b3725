"""Gathers the distances of pairs into one symmetric table."""

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    distances: dict[tuple[str, str], str] = {}
    for path in arguments.pairs:
        one, other, distance, _ = path.read_text().split("\t")
        distances[one, other] = distances[other, one] = distance
    names = sorted({name for pair in distances for name in pair})
    rows = [[name, *(distances.get((name, other), "0.000000") for other in names)] for name in names]
    table = ["\t".join(row) for row in [["", *names], *rows]]
    arguments.output.write_text("\n".join(table) + "\n")
    print(f"{len(names)} genomes, {len(arguments.pairs)} pairs")


if __name__ == "__main__":
    main()
