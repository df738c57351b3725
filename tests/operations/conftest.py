"""Workbenches that are closed after the test."""

from collections.abc import Callable, Iterator

import pytest
from builders import new_workflow
from workbench import Workbench

from torcd.protocol.requests import Initialize, Reinit
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


@pytest.fixture
def finished(make_bench: Callable[..., Workbench]) -> Callable[..., Workbench]:
    """Makes workflows in content mode that have run to their end, and whose jobs write the same every time."""

    def make(
        jobs: list[JobSpec], *arguments: object, answers: dict[str, object] | None = None, **options: object
    ) -> Workbench:
        bench = make_bench(jobs, *arguments, detect="content", **options)
        made = {file for spec in jobs for file in spec.output_files}
        bench.disk.write(*sorted({file for spec in jobs for file in spec.input_files} - made))
        bench.products = {file: f"the content of {file}" for file in made}
        bench.answers = dict(answers or {})
        bench.operate(Initialize)
        bench.run_all()
        assert set(bench.status().values()) == {"completed"}
        bench.disk.write("/elsewhere")
        assert bench.operate(Reinit).summary.listed == 0
        return bench

    return make
