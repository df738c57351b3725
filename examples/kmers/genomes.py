"""Makes the genomes of the example, and mutates one of them.

genomes.py generate DIRECTORY: six genomes of three kinds with a common ancestor, always the same. Amber has
drifted far from it towards A and T, coral towards G and C; basalt descends from coral and is on its way back.
genomes.py mutate FILE: changes one base in thirty, differently for each content.
"""

import argparse
import random
from pathlib import Path

LENGTH = 400_000
LINE = 80
BASES = "ACGT"


def random_sequence(chance: random.Random, length: int, gc: float) -> str:
    """Independent bases of which a share `gc` is G or C."""
    return "".join(chance.choices(BASES, weights=[1 - gc, gc, gc, 1 - gc], k=length))


def mutate(chance: random.Random, sequence: str, rate: float, gc: float) -> str:
    """Substitutes bases; now and then a stretch is lost, doubled or turned around."""
    bases = list(sequence)
    for place in chance.sample(range(len(bases)), int(len(bases) * rate)):
        bases[place] = chance.choices(BASES, weights=[1 - gc, gc, gc, 1 - gc])[0]
    for _ in range(int(100 * rate)):
        start = chance.randrange(len(bases) - 1000)
        stretch = bases[start : start + chance.randrange(200, 1000)]
        bases[start : start + len(stretch)] = chance.choice([[], stretch * 2, stretch[::-1]])
    return "".join(bases)


def read_fasta(path: Path) -> tuple[str, str]:
    """The header and the sequence of a file with one record."""
    header, *lines = path.read_text().splitlines()
    return header, "".join(lines)


def write_fasta(path: Path, header: str, sequence: str) -> None:
    lines = [sequence[start : start + LINE] for start in range(0, len(sequence), LINE)]
    path.write_text("\n".join([header, *lines, ""]))


def generate(directory: Path) -> None:
    chance = random.Random(20)
    directory.mkdir(parents=True, exist_ok=True)
    root = random_sequence(chance, LENGTH, 0.5)
    coral = mutate(chance, root, 0.12, 0.95)
    kinds = {
        "amber": mutate(chance, root, 0.2, 0.05),
        "basalt": mutate(chance, coral, 0.1, 0.05),
        "coral": coral,
    }
    for kind, rate in (("amber", 0.02), ("basalt", 0.06), ("coral", 0.01)):
        for member in (1, 2):
            sequence = mutate(chance, kinds[kind], rate, gc_share(kinds[kind]))
            header = f">{kind}_{member} made up, {gc_share(sequence):.0%} GC"
            write_fasta(directory / f"{kind}_{member}.fa", header, sequence)


def gc_share(sequence: str) -> float:
    return (sequence.count("G") + sequence.count("C")) / len(sequence)


def mutate_file(path: Path) -> None:
    header, sequence = read_fasta(path)
    write_fasta(path, header, mutate(random.Random(sequence), sequence, 1 / 30, gc_share(sequence)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, act in (("generate", generate), ("mutate", mutate_file)):
        command = commands.add_parser(name)
        command.add_argument("path", type=Path)
        command.set_defaults(act=act)
    arguments = parser.parse_args()
    arguments.act(arguments.path)


if __name__ == "__main__":
    main()
