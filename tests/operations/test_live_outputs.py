"""What jobs that run are writing is nobody else's business: their worker vouches for it when they end."""

import errno
from collections.abc import Callable

import pytest
from builders import job, linked
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.protocol.requests import AcceptJobs, Operation, Prepare, Reinit, ResetJobs, Restart, Undo

Ready = Callable[..., Workbench]
RERUNS = [Reinit, Restart]


@pytest.fixture
def running(finished: Ready) -> Workbench:
    """a>b>c in content mode: a runs again and has written half of its output, the others wait."""
    bench = finished([*linked("a", "b", "c"), job("other", input_files=["x"])])
    bench.disk.write("x")
    bench.operate(Reinit)
    assert {launch.name for launch in bench.claim()} == {"a", "other"}
    bench.report(started=[bench.attempt("a")], returned=[bench.attempt("other")])
    bench.disk.write("a.out", size=3, content="half")
    return bench


def record(bench: Workbench, file: str) -> list[tuple[object, ...]]:
    """The record of a file."""
    return bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id(file, "file"))


@pytest.mark.parametrize("detect", ["content", "mtime"])
@pytest.mark.parametrize("kind", RERUNS)
def test_half_of_an_output_is_not_recorded(running: Workbench, kind: type[Operation], detect: str) -> None:
    """SEMANTICS 8.3"""
    before = record(running, "a.out")
    running.operate(kind, detect=detect)
    assert record(running, "a.out") == before


def test_an_operation_during_a_run_does_not_keep_the_rest_from_being_spared(running: Workbench) -> None:
    """SEMANTICS 4.9"""
    running.operate(Reinit)
    running.write_outputs("a")
    running.report(ended=[running.end("a")])
    assert running.reason("b") == running.reason("c") == StatusReason.UNCHANGED_INPUTS
    assert running.run_all() == ["other"]
    assert running.operate(Reinit).summary.listed == 0


@pytest.mark.parametrize("kind", RERUNS)
def test_an_output_that_cannot_be_examined_while_it_is_written_refuses_nothing(
    running: Workbench, kind: type[Operation]
) -> None:
    """SEMANTICS 4.8, 5.2: live jobs that are not affected never stand in the way."""
    running.disk.fail("a.out", errno.ESTALE)
    running.operate(kind)
    running.disk.mend("a.out")
    running.disk.forbid("a.out")  # or does not keep still while it is read
    running.operate(kind)
    running.operate(ResetJobs, jobs=[running.id("b")])
    running.operate(Prepare)


def test_a_claimed_job_may_be_writing_already(running: Workbench) -> None:
    """Its start may not have been told yet."""
    (launch,) = running.claim()
    assert launch.name == "other"
    before = record(running, "a.out")
    running.operate(Reinit)
    assert record(running, "a.out") == before


def test_a_consumer_that_is_accepted_meanwhile_is_compared_with_what_the_job_leaves_behind(
    running: Workbench,
) -> None:
    """SEMANTICS 4.7"""
    running.operate(AcceptJobs, jobs=[running.id("b")], reason="r")
    assert running.operate(Reinit).summary.listed == 0
    running.write_outputs("a")
    running.report(ended=[running.end("a")])
    assert running.status()["b"] == "completed"
    assert "b" not in running.reasons(running.preview(Reinit)), "it is what was there before"
    running.disk.write("a.out", content="by hand")
    assert "b" in running.reasons(running.preview(Reinit))


def test_what_a_job_that_ended_has_left_behind_is_looked_at_again(running: Workbench) -> None:
    """SEMANTICS 4.4"""
    running.write_outputs("a")
    running.report(ended=[running.end("a")])
    running.run_all()
    running.disk.delete("a.out")
    assert "a" in running.reasons(running.preview(Reinit))


def test_a_job_that_is_stopped_leaves_its_outputs_as_they_were_recorded(running: Workbench) -> None:
    """SEMANTICS 5.2"""
    before = record(running, "a.out")
    running.operate(ResetJobs, jobs=[running.id("a")], stop_live=True, reinitialize=True)
    assert record(running, "a.out") == before
    assert set(running.run_all()) == {"a", "other"}
    assert running.operate(Reinit).summary.listed == 0


def test_an_undo_during_a_run_leaves_the_record_to_the_worker(running: Workbench) -> None:
    """SEMANTICS 5.6"""
    running.operate(Reinit)
    running.write_outputs("a")
    running.report(ended=[running.end("a")])
    before = record(running, "a.out")
    running.operate(Undo)
    assert record(running, "a.out") == before
