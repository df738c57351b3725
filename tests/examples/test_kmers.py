"""The arithmetic of the k-mer pipeline. Its scripts are run whole by `make demo`."""

import importlib.util
import math
from collections import Counter
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

KMERS = Path(__file__).parents[2] / "examples" / "kmers"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"kmers_{name}", KMERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


counting, comparing, joining, genomes = map(load_script, ["count_kmers", "compare", "tree", "genomes"])


@given(st.text("ACGTN", max_size=60), st.integers(1, 8))
def test_a_kmer_counts_the_same_on_both_strands(sequence: str, k: int) -> None:
    wanted: Counter[int] = Counter()
    for start in range(len(sequence) - k + 1):
        kmer = sequence[start : start + k]
        if "N" not in kmer:
            other = kmer[::-1].translate(str.maketrans("ACGT", "TGCA"))
            smaller = min(kmer, other)
            wanted[int("".join(str("ACGT".index(base)) for base in smaller), 4)] += 1
    assert counting.canonical_kmers(sequence, k) == wanted


def test_the_distance_is_the_formula_of_mash() -> None:
    assert comparing.mash_distance(1.0, 16) == 0
    assert comparing.mash_distance(0.0, 16) == 1
    assert comparing.mash_distance(0.5, 16) == pytest.approx(-math.log(2 / 3) / 16)


def test_neighbour_joining_finds_the_tree_that_distances_come_from() -> None:
    """The tree is ((a:1,b:2):3,c:4,(d:5,e:6):7)."""
    arms = {"a": 1, "b": 2, "c": 4, "d": 5, "e": 6}
    sides = {"a": ("x", 3), "b": ("x", 3), "c": ("c", 0), "d": ("y", 7), "e": ("y", 7)}
    distances = {name: {name: 0.0} for name in arms}
    for one, other in combinations(arms, 2):
        apart = arms[one] + arms[other]
        if sides[one][0] != sides[other][0]:
            apart += sides[one][1] + sides[other][1]
        distances[one][other] = distances[other][one] = float(apart)
    newick = joining.join_neighbours(distances).replace(".000000", "")
    assert newick == "(((d:5,e:6):7,c:4):3,a:1,b:2);"


def test_genomes_are_always_the_same_and_a_mutation_changes_few_bases(tmp_path: Path) -> None:
    genomes.generate(tmp_path / "one")
    genomes.generate(tmp_path / "other")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    path = tmp_path / "one" / "coral_1.fa"
    _, before = genomes.read_fasta(path)
    genomes.mutate_file(path)
    _, after = genomes.read_fasta(path)
    assert before != after
    assert abs(len(after) - len(before)) < len(before) // 50
