"""Draws the tree, and beside it the distances as a heat map in the order of its leaves."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
from tree import read_matrix


@dataclass
class Node:
    name: str = ""
    length: float = 0.0
    children: list["Node"] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    def leaves(self) -> list["Node"]:
        return [leaf for child in self.children for leaf in child.leaves()] or [self]


def parse_newick(text: str) -> Node:
    """The root of a tree such as (a:1,(b:1,c:2):0.5);"""
    root = node = Node()
    path = [root]
    word = ""

    def finish() -> None:
        name, _, length = word.partition(":")
        node.name, node.length = name, float(length or 0)

    for letter in text.strip():
        if letter not in "(),;":
            word += letter
            continue
        if letter == "(":
            node = Node()
            path[-1].children.append(node)
            path.append(node)
            continue
        finish()
        word = ""
        path.pop()
        if letter == ",":
            node = Node()
            path[-1].children.append(node)
            path.append(node)
        elif letter == ")":
            node = path[-1]
    return root


def place(node: Node, x: float) -> None:
    """Leaves have got their height; an inner node stands in the middle of its children."""
    node.x = x + node.length
    for child in node.children:
        place(child, node.x)
    if node.children:
        node.y = sum(child.y for child in node.children) / len(node.children)


def draw(node: Node, axes: "plt.Axes") -> None:
    for child in node.children:
        axes.plot([node.x, node.x, child.x], [node.y, child.y, child.y], color="#334155", linewidth=1.8)
        draw(child, axes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("tree", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    distances = read_matrix(arguments.matrix)
    root = parse_newick(arguments.tree.read_text())
    leaves = root.leaves()
    for height, leaf in enumerate(leaves):
        leaf.y = height
    place(root, 0.0)
    names = [leaf.name for leaf in leaves]

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=[1, 1.25], layout="constrained")
    draw(root, left)
    reach = max(leaf.x for leaf in leaves)
    for leaf in leaves:
        left.text(leaf.x + reach * 0.03, leaf.y, leaf.name, va="center")
    left.set(xlim=(-reach * 0.05, reach * 1.45), ylim=(len(names) - 0.5, -0.5), yticks=[])
    left.set_xlabel("mutations per base")
    left.set_title("neighbour joining")
    left.spines[["top", "left", "right"]].set_visible(False)

    values = [[distances[row][column] for column in names] for row in names]
    image = right.imshow(values, cmap="viridis_r", aspect="auto")
    largest = max(map(max, values))
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            colour = "white" if value > largest * 0.55 else "black"
            right.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=8)
    right.set_xticks(range(len(names)), names, rotation=30, ha="right")
    right.set_yticks(range(len(names)), names)
    right.set_title("distance")
    figure.colorbar(image, ax=right)
    figure.savefig(arguments.output, dpi=120)
    print(arguments.output.resolve())


if __name__ == "__main__":
    main()
