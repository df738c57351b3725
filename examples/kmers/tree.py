"""Neighbour joining (Saitou and Nei): a tree whose paths between genomes are about as long as their distances."""

import argparse
from itertools import combinations
from pathlib import Path


def read_matrix(path: Path) -> dict[str, dict[str, float]]:
    header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    return {name: dict(zip(header[1:], map(float, row), strict=True)) for name, *row in lines}


def join_neighbours(distances: dict[str, dict[str, float]]) -> str:
    """The tree in Newick's notation. Nodes are named by their own notation."""
    distances = {name: dict(row) for name, row in distances.items()}
    while len(distances) > 3:
        count = len(distances)
        sums = {name: sum(row.values()) for name, row in distances.items()}
        one, other = min(
            combinations(sorted(distances), 2),
            key=lambda pair: (count - 2) * distances[pair[0]][pair[1]] - sums[pair[0]] - sums[pair[1]],
        )
        apart = distances[one][other]
        to_one = apart / 2 + (sums[one] - sums[other]) / (2 * (count - 2))
        joined = f"({one}:{max(to_one, 0):.6f},{other}:{max(apart - to_one, 0):.6f})"
        row_one, row_other = distances.pop(one), distances.pop(other)
        row = {name: (row_one[name] + row_other[name] - apart) / 2 for name in distances}
        for name, distance in row.items():
            del distances[name][one], distances[name][other]
            distances[name][joined] = distance
        distances[joined] = {**row, joined: 0.0}
    a, b, c = sorted(distances)
    lengths = [
        (distances[x][y] + distances[x][z] - distances[y][z]) / 2 for x, y, z in ((a, b, c), (b, a, c), (c, a, b))
    ]
    return "(" + ",".join(f"{x}:{max(length, 0):.6f}" for x, length in zip((a, b, c), lengths, strict=True)) + ");"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    distances = read_matrix(arguments.matrix)
    if len(distances) < 3:
        parser.error("a tree needs three genomes")
    newick = join_neighbours(distances)
    arguments.output.write_text(newick + "\n")
    print(newick)


if __name__ == "__main__":
    main()
