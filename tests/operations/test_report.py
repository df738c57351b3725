"""What workers tell, and what they are handed: fencing, ends, lost and returning workers."""

from collections.abc import Callable

import pytest
from builders import chained, job
from msgspec.structs import replace
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.operations.resume import Resumed, resume_attempts
from torcd.protocol.requests import Initialize, Reinit, ResetStatus, Restart
from torcd.protocol.specification import ResourceRequirementsSpec
from torcd.protocol.worker_requests import AttemptRef, OutputSeen

Make = Callable[..., Workbench]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """a>b, a claimed by worker 1."""
    made = make_bench([job("a", output_files=["y"]), job("b", input_files=["y"])])
    made.operate(Initialize)
    made.claim()
    return made


def running(bench: Workbench, name: str = "a") -> AttemptRef:
    ref = bench.attempt(name)
    bench.report(started=[ref])
    return ref


# ---- launches ----


def test_a_launch_has_all_that_a_worker_needs(make_bench: Make) -> None:
    needs = ResourceRequirementsSpec(name="big", num_cpus=2, memory="1g", num_gpus=1, runtime="PT2H")
    specs = [
        job("a", "make y", output_files=["y", "z"], env={"A": "1"}, resource_requirements="big",
            invocation_script="./w.sh", supports_termination=True),
        job("b"),
    ]  # fmt: skip
    bench = make_bench(specs, resource_requirements=[needs], env={"W": "2"})
    bench.operate(Initialize)
    second, first = sorted(bench.claim(), key=lambda launch: launch.name, reverse=True)
    assert (first.job_id, first.name, first.command, first.run_id, first.attempt_id) == (
        bench.id("a"),
        "a",
        "make y",
        1,
        1,
    )
    assert (first.invocation_script, first.env, first.supports_termination) == ("./w.sh", {"W": "2", "A": "1"}, True)
    assert (first.num_cpus, first.memory_bytes, first.num_gpus, first.runtime_s) == (2, 2**30, 1, 7200.0)
    assert [(each.file_id, each.path) for each in first.outputs] == [
        (bench.id("y", "file"), "/submitted/y"),
        (bench.id("z", "file"), "/submitted/z"),
    ]
    assert (second.outputs, second.env, second.invocation_script) == ([], {"W": "2"}, None)


# ---- ends ----


@pytest.mark.parametrize(
    ("code", "stopped", "status", "reason"),
    [
        (0, None, "completed", StatusReason.NONE),
        (1, None, "failed", StatusReason.NONE),
        (-9, "walltime", "terminated", StatusReason.WALLTIME),
        (0, "worker_shutdown", "terminated", StatusReason.WORKER_SHUTDOWN),
        (-15, "by_user", "canceled", StatusReason.BY_USER),
        (-15, "superseded", "terminated", StatusReason.SUPERSEDED),
    ],
)
def test_how_an_attempt_ended_decides_on_the_status(
    bench: Workbench, code: int, stopped: str | None, status: str, reason: StatusReason
) -> None:
    """SEMANTICS §2, 2.4"""
    running(bench)
    bench.write_outputs("a")
    assert bench.report(ended=[bench.end("a", code, stopped=stopped)]) == []
    bench.check()
    assert (bench.status()["a"], bench.reason("a")) == (status, reason)
    assert bench.rows("SELECT return_code, reason FROM result") == [(code, reason)]
    assert bench.status()["b"] == ("ready" if status == "completed" else "canceled")


def test_exit_0_without_a_declared_output_fails_and_keeps_the_return_code(bench: Workbench) -> None:
    """SEMANTICS §2: output_missing"""
    running(bench)
    assert bench.report(ended=[bench.end("a")]) == []
    assert (bench.status()["a"], bench.reason("a")) == ("failed", StatusReason.OUTPUT_MISSING)
    assert bench.rows("SELECT return_code FROM result") == [(0,)]


def test_an_output_that_could_not_be_examined_is_not_taken_for_present(bench: Workbench) -> None:
    """SEMANTICS 4.8, 8.3"""
    running(bench)
    unknown = OutputSeen(file_id=bench.id("y", "file"), error="Permission denied (EACCES)")
    bench.report(ended=[replace(bench.end("a"), outputs=[unknown])])
    assert bench.status()["a"] == "failed"
    assert bench.rows("SELECT size FROM file_record WHERE file_id = ?", bench.id("y", "file")) == [(-1,)]


def test_outputs_are_recorded_as_the_worker_saw_them(bench: Workbench) -> None:
    """SEMANTICS 8.3, 5.1"""
    running(bench)
    seen = OutputSeen(file_id=bench.id("y", "file"), mtime_ns=123, size=45)
    bench.report(ended=[replace(bench.end("a"), outputs=[seen])])
    assert bench.rows("SELECT mtime_ns, size FROM file_record WHERE file_id = ?", seen.file_id) == [(123, 45)]


def test_the_end_of_a_job_whose_start_was_never_told_counts(bench: Workbench) -> None:
    bench.write_outputs("a")
    assert bench.report(ended=[bench.end("a")]) == []
    bench.check()
    assert bench.status() == {"a": "completed", "b": "ready"}
    assert bench.state.jobs.counter[bench.index("a")] >= 0


def test_a_result_keeps_all_that_was_measured(bench: Workbench) -> None:
    """SEMANTICS 8.5"""
    running(bench)
    bench.report(
        ended=[
            bench.end(
                "a", 3, exec_time_s=1.5, peak_memory_bytes=7, cpu_seconds=2.5, stdout_path="/o", stderr_path="/e",
                started_at_ms=10, ended_at_ms=20,
            )
        ]
    )  # fmt: skip
    columns = (
        "job_id, attempt_id, run_id, worker_id, return_code, status, started_at_ms, ended_at_ms, exec_time_s,"
        " peak_memory_bytes, cpu_seconds, hostname, stdout_path, stderr_path"
    )
    expected = (bench.id("a"), 1, 1, 1, 3, 6, 10, 20, 1.5, 7, 2.5, "host", "/o", "/e")
    assert bench.rows(f"SELECT {columns} FROM result") == [expected]


# ---- 5.3 fencing ----


def test_a_replay_of_an_accepted_report_succeeds_and_writes_nothing(bench: Workbench) -> None:
    """SEMANTICS 5.3"""
    running(bench)
    bench.write_outputs("a")
    end = bench.end("a")
    assert bench.report(ended=[end]) == []
    before = bench.dump()
    assert bench.report(ended=[end]) == []
    assert bench.dump() == before


@pytest.mark.parametrize("change", [{"return_code": 1}, {"ended_at_ms": 1}, {"started_at_ms": 1}])
def test_a_different_report_for_the_same_attempt_is_a_conflict(bench: Workbench, change: dict[str, int]) -> None:
    """SEMANTICS 5.3"""
    running(bench)
    bench.write_outputs("a")
    end = bench.end("a")
    bench.report(ended=[end])
    before = bench.dump()
    (refused,) = bench.report(ended=[replace(end, **change)])
    assert (refused.job_id, refused.attempt_id, refused.why) == (end.job_id, end.attempt_id, "conflict")
    assert bench.dump() == before


def test_another_worker_cannot_report_an_attempt(bench: Workbench) -> None:
    """SEMANTICS 5.3"""
    running(bench)
    before = bench.dump()
    assert [each.why for each in bench.report(worker=2, ended=[bench.end("a")])] == ["superseded"]
    assert [each.why for each in bench.report(worker=2, started=[bench.attempt("a")])] == ["superseded"]
    assert bench.report(worker=2, returned=[bench.attempt("a")]) == []
    assert bench.dump() == before
    assert bench.status()["a"] == "running"


def test_an_attempt_that_does_not_exist_is_refused(bench: Workbench) -> None:
    """SEMANTICS 5.3"""
    for ref in (AttemptRef(job_id=999, attempt_id=1), AttemptRef(job_id=bench.id("b"), attempt_id=5)):
        end = replace(bench.end("a"), job_id=ref.job_id, attempt_id=ref.attempt_id)
        assert [each.why for each in bench.report(started=[ref], ended=[end])] == ["superseded", "superseded"]


def test_a_report_to_a_workflow_without_jobs_is_refused(make_bench: Make) -> None:
    """SEMANTICS 5.3"""
    bench = make_bench([])
    ref = AttemptRef(job_id=1, attempt_id=1)
    assert [each.why for each in bench.report(started=[ref])] == ["superseded"]
    assert bench.report(returned=[ref]) == []


def test_a_report_that_names_an_attempt_twice_counts_once(bench: Workbench) -> None:
    """SEMANTICS 5.3"""
    ref = bench.attempt("a")
    assert bench.report(started=[ref, ref]) == []
    bench.check()
    bench.write_outputs("a")
    end = bench.end("a")
    assert bench.report(started=[ref], ended=[end, end]) == []
    bench.check()
    assert bench.rows("SELECT count(*) FROM result") == [(1,)]
    bench.claim()
    other = bench.end("b")
    refused = bench.report(ended=[other, replace(other, return_code=5)])
    assert [each.why for each in refused] == ["conflict"]
    bench.check()
    assert bench.status()["b"] == "completed"


def test_a_claim_that_is_handed_back_twice_in_a_report_counts_once(bench: Workbench) -> None:
    ref = bench.attempt("a")
    bench.report(returned=[ref, ref])
    bench.check()
    assert bench.status()["a"] == "ready"
    assert [launch.attempt_id for launch in bench.claim()] == [2]


# ---- cancel ----


def test_the_end_of_a_canceled_attempt_is_stored_and_moves_nothing(bench: Workbench) -> None:
    """SEMANTICS §2, 8.5: canceled after having run"""
    running(bench)
    bench.cancel()
    end = bench.end("a", -15, stopped="by_user")
    assert bench.report(ended=[end]) == []
    assert (bench.status()["a"], bench.reason("a")) == ("canceled", StatusReason.BY_USER)
    assert bench.rows("SELECT return_code, status FROM result") == [(-15, 7)]
    assert bench.report(ended=[end]) == []
    assert bench.rows("SELECT count(*) FROM result") == [(1,)]


def supersede(bench: Workbench) -> None:
    running(bench)
    bench.operate(ResetStatus, stop_live=True, reinitialize=True)


def hand_back(bench: Workbench) -> None:
    bench.report(returned=[bench.attempt("a")])


def lose_the_claim(bench: Workbench) -> None:
    bench.lose()


def lose_and_reset(bench: Workbench) -> None:
    running(bench)
    bench.lose()
    bench.operate(Restart)


def cancel_and_restart(bench: Workbench) -> None:
    running(bench)
    bench.cancel()
    bench.operate(Restart)


@pytest.mark.parametrize("over", [supersede, hand_back, lose_the_claim, lose_and_reset, cancel_and_restart])
def test_an_attempt_that_is_over_is_not_revived_by_a_cancel(
    bench: Workbench, over: Callable[[Workbench], None]
) -> None:
    """SEMANTICS 5.2, 5.3, 8.4: its late end is refused before the workflow is canceled and after it"""
    over(bench)
    late = bench.end("a", -15, stopped="superseded")
    for _ in range(2):
        before = bench.dump()
        assert [each.why for each in bench.report(ended=[late])] == ["superseded"]
        assert bench.dump() == before
        assert resume(bench, 1, bench.attempt("a")).lost == [bench.attempt("a")]
        bench.cancel()
        bench.check()


# ---- 8.4 lost and returning workers ----


def test_a_lost_workers_claims_return_and_its_jobs_are_terminated(make_bench: Make) -> None:
    """SEMANTICS 8.4, §2"""
    bench = make_bench(chained("a", "b", "c"))
    bench.operate(Initialize)
    bench.claim(jobs=2)
    bench.report(started=[bench.attempt("a")])
    bench.claim(worker=2)
    bench.lose()
    bench.check()
    assert bench.status() == {"a": "terminated", "b": "ready", "c": "pending"}
    assert bench.reason("a") == StatusReason.WORKER_LOST
    assert bench.rows("SELECT job_id, status, reason FROM result") == [(bench.id("a"), 8, StatusReason.WORKER_LOST)]
    assert bench.rows("SELECT worker_id, attempt FROM job_state WHERE status IN (3, 4)") == [(2, 1)]


def test_a_late_end_of_a_lost_attempt_is_accepted_and_replaces_its_result(bench: Workbench) -> None:
    """SEMANTICS 8.4, §2: terminated (worker_lost) → completed"""
    running(bench)
    bench.lose()
    bench.write_outputs("a")
    assert bench.report(ended=[bench.end("a")]) == []
    bench.check()
    assert bench.status()["a"] == "completed"
    assert bench.rows("SELECT status, return_code FROM result") == [(5, 0)]


def test_an_attempt_that_was_run_anew_meanwhile_is_superseded(bench: Workbench) -> None:
    """SEMANTICS 8.4, 5.3"""
    running(bench)
    late = bench.end("a")
    bench.lose()
    bench.operate(Restart)
    bench.claim(worker=2)
    before = bench.dump()
    assert [each.why for each in bench.report(ended=[late])] == ["superseded"]
    assert bench.dump() == before
    assert bench.status()["a"] == "pending"


def resume(bench: Workbench, worker: int, *presented: AttemptRef) -> Resumed:
    found = bench.change(lambda draft: resume_attempts(draft, worker, "host", list(presented)))
    bench.check()
    assert isinstance(found, Resumed)
    return found


def test_a_returning_worker_keeps_what_it_presents(make_bench: Make) -> None:
    """SEMANTICS 8.4"""
    bench = make_bench(chained("a", "b"))
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    found = resume(bench, 1, bench.attempt("a"), bench.attempt("b"))
    assert (found.lost, found.to_stop) == ([], [])
    assert bench.status() == {"a": "running", "b": "pending"}


def test_what_a_returning_worker_does_not_present_is_taken_from_it(make_bench: Make) -> None:
    """SEMANTICS 8.4"""
    bench = make_bench(chained("a", "b"))
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    resume(bench, 1)
    assert bench.status() == {"a": "terminated", "b": "ready"}
    assert bench.reason("a") == StatusReason.WORKER_LOST


def test_a_worker_that_returns_after_its_lease_goes_on_with_its_jobs(bench: Workbench) -> None:
    """SEMANTICS 8.4: as long as none of them was superseded"""
    ref = running(bench)
    bench.lose()
    assert resume(bench, 1, ref).lost == []
    assert bench.status()["a"] == "running"
    bench.write_outputs("a")
    assert bench.report(ended=[bench.end("a")]) == []
    assert bench.status()["a"] == "completed"


def test_what_became_ready_by_a_loss_waits_again_when_the_worker_returns(make_bench: Make) -> None:
    """SEMANTICS §2, 8.4: no job is handed out while what it depends on runs"""
    patient = {"cancel_on_blocking_job_failure": False}
    specs = [job("a"), job("b", depends_on=["a"]), job("c", depends_on=["b"], **patient)]
    bench = make_bench([*specs, job("d", depends_on=["a"], **patient), job("e", depends_on=["a"], **patient)])
    bench.operate(Initialize)
    bench.claim()
    ref = running(bench)
    bench.lose()
    assert bench.status() == {"a": "terminated", "b": "canceled", "c": "ready", "d": "ready", "e": "ready"}
    bench.claim(worker=2, jobs=1)
    assert bench.status()["d"] == "pending", "that one is under way"
    assert resume(bench, 1, ref).lost == []
    assert bench.status() == {"a": "running", "b": "blocked", "c": "blocked", "d": "pending", "e": "blocked"}
    assert bench.claim(worker=2) == []
    bench.finish("a")
    bench.finish("d", worker=2)
    assert bench.run_all() == ["b", "e", "c"]


def test_superseded_attempts_are_lost_to_a_returning_worker(make_bench: Make) -> None:
    """SEMANTICS 8.4: one that was superseded, it kills"""
    bench = make_bench(chained("a", "b", "c", "d"))
    bench.operate(Initialize)
    bench.claim()
    refs = [bench.attempt(name) for name in "abcd"]
    bench.report(started=refs)
    bench.finish("d")
    bench.operate(ResetStatus, stop_live=True, reinitialize=True)
    bench.claim(worker=2, jobs=2)
    found = resume(bench, 1, *refs, AttemptRef(job_id=999, attempt_id=1))
    assert [ref.job_id for ref in found.lost] == [*(ref.job_id for ref in refs), 999]
    assert bench.status() == {"a": "pending", "b": "pending", "c": "ready", "d": "ready"}


def test_a_returning_worker_is_told_to_stop_what_was_canceled(bench: Workbench) -> None:
    """SEMANTICS 8.4, §2"""
    ref = running(bench)
    bench.cancel()
    found = resume(bench, 1, ref)
    assert (found.lost, found.to_stop) == ([], [ref])


def test_an_attempt_that_ended_meanwhile_may_be_presented(bench: Workbench) -> None:
    """SEMANTICS 8.4: its end is replayed afterwards"""
    ref = running(bench)
    bench.write_outputs("a")
    end = bench.end("a")
    bench.report(ended=[end])
    assert resume(bench, 1, ref).lost == []
    assert bench.report(ended=[end]) == []


def test_a_worker_returns_to_a_workflow_without_jobs(make_bench: Make) -> None:
    bench = make_bench([])
    ref = AttemptRef(job_id=1, attempt_id=1)
    assert resume(bench, 1, ref).lost == [ref]


def test_a_rerun_of_everything_gives_each_job_its_next_attempt(bench: Workbench) -> None:
    """SEMANTICS 8.5: each attempt is kept"""
    bench.finish("a")
    bench.run_all()
    bench.disk.touch("y")
    bench.operate(Reinit)
    bench.run_all()
    found = bench.rows("SELECT job_id, attempt_id, run_id FROM result ORDER BY job_id, attempt_id")
    a, b = bench.id("a"), bench.id("b")
    assert found == [(a, 1, 1), (b, 1, 1), (b, 2, 2)]
