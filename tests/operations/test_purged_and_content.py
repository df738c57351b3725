"""Where files that may be missing meet detection by content: whoever has to make one is never spared."""

from collections.abc import Iterator

import pytest
from builders import job, new_workflow
from workbench import Workbench

from torcd.protocol.requests import Initialize, Reinit, ResetJobs


@pytest.fixture
def bench() -> Iterator[Workbench]:
    jobs = [
        job("a", input_files=["x"], output_files=["y"]),
        job("b", input_files=["y"], output_files=["z"]),
        job("c", input_files=["z"]),
    ]
    made = Workbench(new_workflow(jobs, purgeable=["z"], detect="content"))
    made.disk.write("x")
    made.operate(Initialize)
    made.run_all()
    yield made
    made.close()


def rerun_unchanged(bench: Workbench, name: str, output: str) -> None:
    """Runs a job whose output is what it was."""
    before = bench.disk.content_of(output)
    bench.claim()
    bench.report(started=[bench.attempt(name)])
    bench.disk.write(output, content=before)
    bench.report(ended=[bench.end(name)])
    bench.check()


def test_a_job_that_must_make_a_purged_file_again_is_not_spared(bench: Workbench) -> None:
    """SEMANTICS 4.9, 4.10"""
    bench.disk.delete("z")
    bench.disk.write("x")
    bench.edit("c", command="new")
    reasons = bench.reasons(bench.operate(Reinit))
    assert [reason["kind"] for reason in reasons["b"]] == ["output_missing", "upstream_stale"]
    rerun_unchanged(bench, "a", "y")
    assert bench.status() == {"a": "completed", "b": "ready", "c": "blocked"}
    assert bench.run_all() == ["b", "c"]


def test_a_job_that_waits_already_is_not_spared_either_once_its_file_is_needed(bench: Workbench) -> None:
    """SEMANTICS 4.9, 4.10"""
    bench.operate(ResetJobs, jobs=[bench.id("a")])
    bench.disk.delete("z")
    bench.edit("c", command="new")
    bench.operate(Reinit)
    rerun_unchanged(bench, "a", "y")
    assert bench.run_all() == ["b", "c"]
