"""Every specification in examples/ is valid and expands to what its comment says."""

from pathlib import Path

import pytest

from torcctl.specification import load_specification, split
from torcd.core.expansion import Expansion
from torcd.core.specification import expand

EXAMPLES = Path(__file__).parents[2] / "examples"
FORMATS = ["yaml", "json", "json5", "toml"]

SIZES = {
    "three_inputs.yaml": (4, 7),
    "diamond.yaml": (4, 5),
    "retries.yaml": (2, 1),
    "user_data_chain.yaml": (3, 0),
    "sweep.yaml": (25, 25),
    "barrier.yaml": (2001, 0),
    "kmers/workflow.yaml": (24, 30),
    **{f"formats/hello.{name}": (3, 2) for name in FORMATS},
}
"""Jobs and files of each."""


def expand_example(name: str) -> Expansion:
    header, pieces = split(load_specification(EXAMPLES / name).spec, 1 << 20)
    return expand(header, list(pieces), "/somewhere")


def test_all_examples_are_tested() -> None:
    names = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.suffix[1:] in FORMATS}
    assert names == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_an_example_expands(name: str) -> None:
    expansion = expand_example(name)
    assert (len(expansion.jobs), len(expansion.files)) == SIZES[name]


@pytest.mark.parametrize("name", [name for name in SIZES if not name.endswith(".json")])
def test_an_example_says_what_it_shows(name: str) -> None:
    assert (EXAMPLES / name).read_text().startswith(("# ", "// "))


@pytest.mark.parametrize("name", FORMATS[1:])
def test_all_formats_say_the_same(name: str) -> None:
    """SEMANTICS 3.1"""
    assert expand_example(f"formats/hello.{name}") == expand_example("formats/hello.yaml")


def test_the_barrier_has_a_million_dependencies() -> None:
    jobs = expand_example("barrier.yaml").jobs
    assert sum(len(job.depends_on) for job in jobs) == 1_001_000


def test_each_mean_of_the_sweep_waits_for_its_seeds() -> None:
    """SEMANTICS 3.2"""
    expansion = expand_example("sweep.yaml")
    means = [job for job in expansion.jobs if job.name.startswith("mean_")]
    inputs = [[expansion.files[file].name for file in job.input_files] for job in means]
    assert inputs[1] == [f"score_0.01_{seed}" for seed in range(1, 6)]
    assert [len(names) for names in inputs] == [5, 5, 5, 5]
