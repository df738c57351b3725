"""Counts the canonical k-mers of a genome and keeps a fixed eighth of them, chosen by a hash.

A k-mer and its reverse complement are the same piece of DNA read from either strand: the smaller stands for
both. Because every genome is thinned out by the same hash, what two genomes share stays comparable.
"""

import argparse
from collections import Counter
from pathlib import Path

CODE = {"A": 0, "C": 1, "G": 2, "T": 3}
KEPT = 8
"""One k-mer in so many is kept."""
MULTIPLIER, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


def canonical_kmers(sequence: str, k: int) -> Counter[int]:
    """How often each canonical k-mer occurs; two bits a base. Any other letter interrupts."""
    counts: Counter[int] = Counter()
    everything, top = (1 << 2 * k) - 1, 2 * (k - 1)
    forward = backward = length = 0
    for base in sequence:
        code = CODE.get(base)
        if code is None:
            length = 0
            continue
        forward = (forward << 2 | code) & everything
        backward = backward >> 2 | (3 - code) << top
        length += 1
        if length >= k:
            counts[forward if forward < backward else backward] += 1
    return counts


def is_kept(kmer: int) -> bool:
    return (kmer * MULTIPLIER & MASK) < (1 << 64) // KEPT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("genome", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    lines = arguments.genome.read_text().splitlines()
    records = "\n".join(line if not line.startswith(">") else "\0" for line in lines)
    counts = canonical_kmers(records.upper().replace("\n", ""), arguments.k)
    kept = sorted(kmer for kmer in counts if is_kept(kmer))
    arguments.output.parent.mkdir(exist_ok=True)
    with arguments.output.open("w") as file:
        file.writelines(f"{kmer:x}\t{counts[kmer]}\n" for kmer in kept)
    print(f"{arguments.genome.stem}: {counts.total()} k-mers, {len(counts)} different, {len(kept)} kept")


if __name__ == "__main__":
    main()
