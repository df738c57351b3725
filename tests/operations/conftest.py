"""Workbenches that are closed after the test."""

from collections.abc import Callable, Iterator

import pytest
from builders import new_workflow
from workbench import Workbench

from torcd.protocol.specification import JobSpec


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Workbench]]:
    """Makes workbenches from what `builders.new_workflow` takes."""
    benches = []

    def make(jobs: list[JobSpec], *arguments: object, **options: object) -> Workbench:
        benches.append(Workbench(new_workflow(jobs, *arguments, **options)))  # type: ignore[arg-type]
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()
