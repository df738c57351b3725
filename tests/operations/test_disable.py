"""Disabled jobs on a database: who may be disabled, and what that changes at once (SEMANTICS 2.5)."""

from collections.abc import Callable
from typing import Any

import pytest
from builders import chained, job
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.operations.disable import disable_jobs, enable_jobs
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart

Make = Callable[..., Workbench]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """a>b>c and d, initialized."""
    made = make_bench(chained("a>b>c", "d"))
    made.operate(Initialize)
    return made


def disable(bench: Workbench, *names: str) -> dict[str, Any]:
    answer: dict[str, Any] = bench.change(lambda draft: disable_jobs(draft, [bench.id(name) for name in names]))
    bench.check()
    return answer


def enable(bench: Workbench, *names: str) -> dict[str, Any]:
    answer: dict[str, Any] = bench.change(lambda draft: enable_jobs(draft, [bench.id(name) for name in names]))
    bench.check()
    return answer


def test_a_disabled_job_holds_nothing_up_and_is_never_run(bench: Workbench) -> None:
    """SEMANTICS 2.1, 2.5"""
    answer = disable(bench, "a", "d")
    assert answer == {"workflow_id": 1, "disabled": 2, "unchanged": 0, "jobs": [bench.id("a"), bench.id("d")]}
    assert bench.status() == {"a": "disabled", "b": "ready", "c": "blocked", "d": "disabled"}
    assert bench.run_all() == ["b", "c"]
    assert bench.state.is_complete


def test_disabling_a_failed_job_lets_what_its_failure_had_canceled_run(bench: Workbench) -> None:
    """SEMANTICS 2.5: at once"""
    bench.run_all(failing=["a"])
    assert bench.status() == {"a": "failed", "b": "canceled", "c": "canceled", "d": "completed"}
    disable(bench, "a")
    assert bench.status() == {"a": "disabled", "b": "ready", "c": "blocked", "d": "completed"}
    assert bench.reason("b") == StatusReason.NONE
    assert bench.run_all() == ["b", "c"]


def test_enabling_a_job_makes_what_depends_on_it_wait_and_a_run_evaluates_it(bench: Workbench) -> None:
    """SEMANTICS 2.5, 5.1"""
    disable(bench, "a")
    assert enable(bench, "a", "d") == {"workflow_id": 1, "enabled": 1, "unchanged": 1, "jobs": [bench.id("a")]}
    assert bench.status() == {"a": "uninitialized", "b": "blocked", "c": "blocked", "d": "ready"}
    assert [launch.name for launch in bench.claim()] == ["d"]
    bench.finish("d")
    bench.operate(Prepare)
    assert bench.run_all() == ["a", "b", "c"]


def test_completed_jobs_downstream_stay_completed(bench: Workbench) -> None:
    """SEMANTICS 2.5"""
    bench.run_all()
    disable(bench, "a")
    enable(bench, "a")
    assert bench.status() == {"a": "uninitialized", "b": "completed", "c": "completed", "d": "completed"}


def test_those_that_are_so_already_are_left_and_counted_apart(bench: Workbench) -> None:
    disable(bench, "a")
    before = bench.dump()
    assert disable(bench, "a") == {"workflow_id": 1, "disabled": 0, "unchanged": 1, "jobs": []}
    assert enable(bench, "b", "b") == {"workflow_id": 1, "enabled": 0, "unchanged": 1, "jobs": []}
    assert bench.dump() == before, "nothing is written"


def test_a_live_job_is_not_disabled_and_none_of_the_others_either(bench: Workbench) -> None:
    """SEMANTICS 2: any but live"""
    bench.claim(jobs=1)
    before = bench.dump()
    with pytest.raises(Conflict, match=rf"1 job under way: {bench.id('a')} \(pending\)") as refused:
        disable(bench, "d", "a")
    assert refused.value.data == {"workflow_id": 1, "jobs": [bench.id("a")], "count": 1}
    assert bench.dump() == before
    disable(bench, "d")


def test_a_job_that_does_not_exist_refuses_all(bench: Workbench) -> None:
    before = bench.dump()
    for put in (disable_jobs, enable_jobs):
        with pytest.raises(NotFound, match="no job 99, 98; nothing was changed"):
            bench.change(lambda draft, put=put: put(draft, [bench.id("a"), 99, 98]))
    assert bench.dump() == before


def test_a_change_is_told_with_the_moves_that_it_causes(bench: Workbench) -> None:
    """SEMANTICS 7.1"""
    last = bench.events()[-1][0]
    disable(bench, "a", "b")
    enable(bench, "a")
    told = [(kind, data) for seq, kind, data in bench.events() if seq > last]
    a, b, c = (bench.id(name) for name in "abc")
    assert [kind for kind, _ in told] == ["jobs_changed", "jobs_disabled", "jobs_changed", "jobs_enabled"]
    assert [(move["status"], move["jobs"]) for move in told[0][1]["changes"]] == [
        ("disabled", f"{a}-{b}"),
        ("ready", str(c)),
    ]
    assert told[1][1] == {"count": 2, "jobs": f"{a}-{b}"}
    assert [move["status"] for move in told[2][1]["changes"]] == ["uninitialized"], "b is disabled: c waits for nobody"
    assert told[3][1] == {"count": 1, "jobs": str(a)}


def test_operations_leave_disabled_jobs_as_they_are(bench: Workbench) -> None:
    """SEMANTICS 2.5"""
    disable(bench, "b")
    for kind, parameters in ((Reinit, {}), (Restart, {}), (ResetStatus, {}), (Initialize, {"force": True})):
        bench.operate(kind, **parameters)
        assert bench.status()["b"] == "disabled"


def test_a_file_that_only_a_disabled_job_makes_has_to_be_there(make_bench: Make) -> None:
    """SEMANTICS 2.5: it counts as a user input"""
    bench = make_bench([job("a", output_files=["y"]), job("b", input_files=["y"])])
    bench.operate(Initialize)
    disable(bench, "a")
    with pytest.raises(Refused, match="/submitted/y"):
        bench.operate(Reinit)
    bench.disk.write("y")
    bench.operate(Reinit)
    assert bench.run_all() == ["b"]


def test_disabling_what_was_left_of_a_canceled_workflow_takes_the_cancel_back_where_jobs_become_ready(
    make_bench: Make,
) -> None:
    """A ready job is going to run, so its workflow is not a canceled one"""
    bench = make_bench(chained("a>b", "d"))
    bench.operate(Initialize)
    bench.claim(jobs=1)
    bench.finish("a", code=1)
    bench.cancel()
    assert bench.status() == {"a": "failed", "b": "canceled", "d": "canceled"}
    disable(bench, "d")
    assert bench.state.is_canceled
    disable(bench, "a")
    assert bench.status() == {"a": "disabled", "b": "ready", "d": "disabled"}
    assert not bench.state.is_canceled


@pytest.mark.parametrize("reinitialize", [False, True])
def test_a_reset_that_names_disabled_jobs_leaves_them_and_warns(bench: Workbench, *, reinitialize: bool) -> None:
    """SEMANTICS 2.5"""
    disable(bench, "d")
    jobs = [bench.id("a"), bench.id("d")]
    plan = bench.operate(ResetJobs, jobs=jobs, reinitialize=reinitialize).plan
    assert plan.warnings == (f"1 job of those meant is left as it is: {bench.id('d')} (disabled). See `jobs enable`",)
    assert bench.status()["d"] == "disabled"
    assert bench.operate(ResetStatus, reinitialize=reinitialize).plan.warnings == ()
