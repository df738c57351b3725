"""Failed jobs that their failure handlers have tried again (SEMANTICS 2.6)."""

from collections.abc import Callable
from typing import Any

import pytest
from builders import chained, job, new_specification
from transfer_rig import ImportedBench, export
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.operations.resume import resume_attempts
from torcd.protocol.errors import Refused
from torcd.protocol.model import Handling
from torcd.protocol.requests import AcceptJobs, Initialize, Reinit, ResetJobs, Restart, Undo
from torcd.protocol.specification import FailureHandlerRule, FailureHandlerSpec
from torcd.protocol.worker_requests import Recovery
from torcd.storage.handlings import load_handling
from torcd.storage.nouns import JOBS, load_one

Make = Callable[..., Workbench]

HANDLER = FailureHandlerSpec(
    name="h",
    rules=[
        FailureHandlerRule(exit_codes=[9], max_retries=0),
        FailureHandlerRule(exit_codes=[42], recovery_script="./fix.sh", max_retries=2),
        FailureHandlerRule(match_all_exit_codes=True, max_retries=1),
    ],
)
NARROW = FailureHandlerSpec(name="narrow", rules=[FailureHandlerRule(exit_codes=[7], max_retries=1)])


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """a>b, both with the handler; initialized."""
    made = make_bench(chained("a>b", failure_handler="h"), failure_handlers=[HANDLER, NARROW])
    made.operate(Initialize)
    return made


def fail(bench: Workbench, code: int, name: str = "a", **fields: Any) -> None:
    """Has a job run and fail."""
    assert name in [launch.name for launch in bench.claim()]
    bench.report(started=[bench.attempt(name)])
    assert bench.report(ended=[bench.end(name, code, **fields)]) == []
    bench.check()


def results(bench: Workbench) -> list[tuple[Any, ...]]:
    return bench.rows("SELECT attempt_id, return_code, status, reason FROM result ORDER BY id")


def handling(bench: Workbench, name: str = "a") -> Handling | None:
    job_id = bench.id(name)
    return load_handling(bench.db, load_one(bench.db, JOBS, "job", "j.id = ?", (job_id,), job_id))


def standing(bench: Workbench, name: str = "a") -> tuple[str, StatusReason, int]:
    return bench.status()[name], bench.reason(name), int(bench.state.jobs.retries[bench.index(name)])


def test_a_failed_job_is_ready_again_and_its_attempt_is_kept(bench: Workbench) -> None:
    """SEMANTICS §2: running → ready (`retry`)."""
    fail(bench, 42)
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    assert bench.status()["b"] == "blocked"
    assert results(bench) == [(1, 42, 6, 0)]
    assert bench.events()[-1][2]["changes"][-1] == {
        "status": "ready", "status_reason": "retry", "count": 1, "jobs": "1",
    }  # fmt: skip
    assert bench.run_all() == ["a", "b"]
    assert set(bench.status().values()) == {"completed"}
    assert bench.attempt("a").attempt_id == 2


def test_after_the_last_retry_the_job_has_failed(bench: Workbench) -> None:
    for _ in range(3):
        fail(bench, 42)
    assert bench.status() == {"a": "failed", "b": "canceled"}
    assert [row[:3] for row in results(bench)] == [(1, 42, 6), (2, 42, 6), (3, 42, 6)]
    told = handling(bench)
    assert told is not None
    assert (told.why, told.retries, told.max_retries, told.return_code, told.attempt_id) == ("exhausted", 2, 2, 42, 3)


def test_retries_of_all_rules_count_together(bench: Workbench) -> None:
    fail(bench, 42)
    fail(bench, 1)  # its rule allows one retry, and that was made
    assert bench.status()["a"] == "failed"


@pytest.mark.parametrize(("code", "why"), [(9, "exhausted")])
def test_a_rule_without_retries_lets_the_job_fail(bench: Workbench, code: int, why: str) -> None:
    fail(bench, code)
    assert bench.status()["a"] == "failed"
    told = handling(bench)
    assert told is not None
    assert told.why == why


def test_a_missing_output_is_a_failure_like_others(make_bench: Make) -> None:
    bench = make_bench([job("a", output_files=["y"], failure_handler="h")], failure_handlers=[HANDLER])
    bench.operate(Initialize)
    fail(bench, 0)
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    assert results(bench) == [(1, 0, 6, StatusReason.OUTPUT_MISSING)]


@pytest.mark.parametrize("stopped", ["walltime", "worker_shutdown", "by_user", "superseded"])
def test_what_was_stopped_has_not_failed(bench: Workbench, stopped: str) -> None:
    fail(bench, 42, stopped=stopped)
    assert bench.status()["a"] in {"terminated", "canceled"}


def test_a_recovery_script_comes_before_the_next_attempt_with_what_it_is_for(bench: Workbench) -> None:
    fail(bench, 42, stderr_path="/logs/a.e")
    (launch,) = bench.claim()
    assert launch.recovery == Recovery(script="./fix.sh", attempt_id=1, return_code=42, stderr_path="/logs/a.e")
    bench.report(ended=[bench.end("a", 1)])  # exhausted: the rule for 1 has one retry
    assert bench.status()["a"] == "failed"


def test_a_rule_without_a_script_has_none(bench: Workbench) -> None:
    fail(bench, 1)
    (launch,) = bench.claim()
    assert launch.recovery is None


def test_a_claim_that_is_handed_back_loses_neither_the_reason_nor_the_script(bench: Workbench) -> None:
    fail(bench, 42)
    bench.claim()
    bench.report(returned=[bench.attempt("a")])
    bench.check()
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    bench.claim()
    bench.lose()
    bench.check()
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    bench.claim()
    bench.change(lambda draft: resume_attempts(draft, 1, "host", []))
    bench.check()
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    (launch,) = bench.claim()
    assert launch.recovery is not None
    assert launch.recovery.attempt_id == 1
    assert launch.attempt_id == 5


def test_a_failed_recovery_fails_the_attempt_with_its_code(bench: Workbench) -> None:
    fail(bench, 42)
    fail(bench, 42, recovery_failed=True)
    assert standing(bench) == ("failed", StatusReason.RECOVERY_FAILED, 1)
    assert results(bench)[-1] == (2, 42, 6, StatusReason.RECOVERY_FAILED)
    told = handling(bench)
    assert told is not None
    assert told.why == "recovery_failed"


def test_the_same_report_again_changes_nothing(bench: Workbench) -> None:
    """SEMANTICS 5.3"""
    fail(bench, 42)
    end = bench.end("a", 42)
    before = bench.dump()
    ended = bench.rows("SELECT started_at_ms, ended_at_ms FROM result")[0]
    again = {"started_at_ms": ended[0], "ended_at_ms": ended[1]}
    assert bench.report(ended=[bench.end("a", 42, **again)]) == []
    assert bench.dump() == before
    bench.claim()
    replay = type(end)(job_id=end.job_id, attempt_id=1, return_code=42, exec_time_s=0.5, **again)
    assert bench.report(ended=[replay]) == []
    assert bench.status()["a"] == "pending"


def test_a_worker_that_comes_back_with_the_failure_has_it_retried(bench: Workbench) -> None:
    """SEMANTICS 8.4"""
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.lose()
    assert bench.report(ended=[bench.end("a", 42)]) == []
    bench.check()
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    assert bench.status()["b"] == "blocked"


def test_nothing_is_retried_in_a_canceled_workflow(bench: Workbench) -> None:
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.lose()
    bench.cancel()
    assert bench.report(ended=[bench.end("a", 42)]) == []
    bench.check()
    assert bench.status()["a"] == "failed"
    told = handling(bench)
    assert told is not None
    assert told.why == "canceled"


def test_a_job_that_waits_for_its_retry_can_be_canceled(bench: Workbench) -> None:
    fail(bench, 42)
    bench.cancel()
    bench.check()
    assert bench.status()["a"] == "canceled"


# ---- operations ----


def test_a_reset_counts_anew(bench: Workbench) -> None:
    for _ in range(3):
        fail(bench, 42)
    bench.operate(ResetJobs, jobs=[bench.id("a")], reinitialize=True)
    assert standing(bench) == ("ready", StatusReason.NONE, 0)
    for _ in range(2):
        fail(bench, 42)
        assert bench.status()["a"] == "ready"
    fail(bench, 42)
    assert bench.status()["a"] == "failed"


def test_a_launch_after_a_reset_recovers_from_nothing(bench: Workbench) -> None:
    fail(bench, 42)
    bench.operate(ResetJobs, jobs=[bench.id("a")], reinitialize=True)
    (launch,) = bench.claim()
    assert launch.recovery is None


@pytest.mark.parametrize("operation", [Restart, Reinit])
def test_a_job_that_waits_for_its_retry_is_left_to_it(bench: Workbench, operation: Any) -> None:
    fail(bench, 42)
    planned = bench.operate(operation)
    assert "a" not in [each.name for each in bench.show(planned)]
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)


def test_a_running_retry_that_is_stopped_counts_anew(bench: Workbench) -> None:
    fail(bench, 42)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.operate(ResetJobs, jobs=[bench.id("a")], stop_live=True)
    assert standing(bench) == ("uninitialized", StatusReason.NONE, 0)


def test_an_undo_puts_the_count_back(bench: Workbench) -> None:
    """SEMANTICS 5.6"""
    fail(bench, 42)
    bench.operate(ResetJobs, jobs=[bench.id("a")])
    bench.operate(Undo)
    assert standing(bench) == ("ready", StatusReason.RETRY, 1)
    for _ in range(2):
        fail(bench, 42)
    assert bench.status()["a"] == "failed"
    bench.operate(ResetJobs, jobs=[bench.id("a")])
    bench.operate(Undo)
    assert standing(bench) == ("failed", StatusReason.NONE, 2)


def test_accepting_a_failed_job_ends_the_matter(bench: Workbench) -> None:
    for _ in range(3):
        fail(bench, 42)
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="it is fine")
    assert bench.status() == {"a": "completed", "b": "ready"}


# ---- edits, updates, exports ----


def test_the_handler_of_a_job_can_be_changed_and_makes_nothing_stale(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    bench.edit("a", failure_handler="narrow")
    bench.check()
    fail(bench, 42)
    assert bench.status()["a"] == "failed"
    told = handling(bench)
    assert told is not None
    assert told.why == "no_rule"
    bench.edit("a", failure_handler="h")
    assert handling(bench).why == "changed_since"  # type: ignore[union-attr]  # it has failed
    bench.edit("a", failure_handler=None)
    bench.check()
    assert handling(bench) is None
    assert bench.operate(Reinit).summary.listed == 0


def test_a_handler_that_there_is_not_is_refused(bench: Workbench) -> None:
    with pytest.raises(Refused, match=r"workflow 1 has no failure handler 'narow'; did you mean 'narrow'\?"):
        bench.edit("a", failure_handler="narow")
    bench.check()


def test_an_update_brings_other_rules_and_other_handlers(bench: Workbench) -> None:
    """SEMANTICS 5.7"""
    fail(bench, 42)
    more = FailureHandlerSpec(name="h", rules=[FailureHandlerRule(exit_codes=[42], max_retries=1)])
    update = bench.update(
        [job("a", failure_handler="h"), job("b", depends_on=["a"], failure_handler="other")],
        failure_handlers=[FailureHandlerSpec(name="other", rules=[FailureHandlerRule(exit_codes=[1])]), more],
    )
    (change,) = update.differences.jobs.changed
    assert [(each.field, each.old, each.new) for each in change.fields] == [("failure_handler", "h", "other")]
    assert [each.field for each in update.differences.header] == ["failure_handlers"]
    assert bench.state.jobs.handler.tolist() == [1, 0]
    fail(bench, 42)
    assert bench.status()["a"] == "failed"


def test_an_import_goes_on_counting(bench: Workbench) -> None:
    fail(bench, 42)
    document = export(bench)
    assert [(each["status_reason"], each["retries"]) for each in document["jobs"] if "retries" in each] == [
        ("retry", 1)
    ]
    copy = ImportedBench(document)
    try:
        assert standing(copy) == ("ready", StatusReason.RETRY, 1)
        (launch,) = copy.claim()
        assert launch.recovery is not None
        assert (launch.recovery.script, launch.recovery.attempt_id) == ("./fix.sh", 1)
    finally:
        copy.close()


# ---- specifications ----


@pytest.mark.parametrize(
    ("handler", "path"),
    [
        ({"name": "", "rules": [{"exit_codes": [1]}]}, "failure_handlers[0].name"),
        ({"name": "x", "rules": []}, "failure_handlers[0].rules"),
        ({"name": "x", "rules": [{}]}, "failure_handlers[0].rules[0].exit_codes"),
        ({"name": "x", "rules": [{"exit_codes": [1, 256]}]}, "failure_handlers[0].rules[0].exit_codes[1]"),
        ({"name": "x", "rules": [{"exit_codes": [1], "max_retries": -1}]}, "failure_handlers[0].rules[0].max_retries"),
        (
            {"name": "x", "rules": [{"exit_codes": [1], "recovery_script": " "}]},
            "failure_handlers[0].rules[0].recovery_script",
        ),
        (
            {"name": "x", "rules": [{"match_all_exit_codes": True}, {"exit_codes": [1]}]},
            "failure_handlers[0].rules[1]",
        ),
    ],
)
def test_handlers_that_could_not_be_meant_are_refused(handler: dict[str, Any], path: str) -> None:
    """SEMANTICS 3.5"""
    rules = [FailureHandlerRule(**rule) for rule in handler["rules"]]
    with pytest.raises(Refused) as caught:
        new_specification([job("a")], failure_handlers=[FailureHandlerSpec(name=handler["name"], rules=rules)])
    assert [error["path"] for error in caught.value.data["errors"]] == [path]


def test_two_handlers_of_one_name_and_one_that_is_unknown_are_refused() -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused, match="there are two failure handlers named 'h'"):
        new_specification([job("a")], failure_handlers=[HANDLER, HANDLER])
    with pytest.raises(Refused, match=r"there is no failure handler 'narro'; did you mean 'narrow'\?"):
        new_specification([job("a", failure_handler="narro")], failure_handlers=[HANDLER, NARROW])
