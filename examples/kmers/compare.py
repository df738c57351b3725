"""The distance of two genomes: the Jaccard index of their k-mers as mutations per base (Mash's formula)."""

import argparse
import math
from pathlib import Path


def read_kmers(path: Path) -> set[str]:
    with path.open() as file:
        return {line.partition("\t")[0] for line in file}


def mash_distance(jaccard: float, k: int) -> float:
    """An estimate of the mutations per base, at most 1 (nothing in common)."""
    return min(1.0, -math.log(2 * jaccard / (1 + jaccard)) / k) if jaccard else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    one, other = read_kmers(arguments.one), read_kmers(arguments.other)
    jaccard = len(one & other) / len(one | other)
    distance = abs(mash_distance(jaccard, arguments.k))  # no minus zero for equal genomes
    line = f"{arguments.one.stem}\t{arguments.other.stem}\t{distance:.6f}\t{jaccard:.6f}"
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
