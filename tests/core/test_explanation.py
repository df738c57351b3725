"""Why a job is where it is, on states in memory."""

import time

import pytest
from builders import PRESENT, Sketch, layered, sketch

from torcd.core.explanation import (
    PATH_ENDS,
    explain,
    files_around,
    find_ancestors,
    find_path,
    find_related,
    why_kept,
)
from torcd.core.fingerprint import Definition
from torcd.core.observation import Observation
from torcd.core.plan import Other, Plan
from torcd.core.planning import Known, plan_rerun
from torcd.core.status import Status, StatusReason
from torcd.protocol.requests import Reinit

S = Status
REQUEST = Reinit(workflow_id=1, force=True, stop_live=True)


def reinit(made: Sketch, *changed: str) -> Plan:
    """The plan of a reinit after these files have changed."""
    files = [made.file[name] for name in changed]
    columns = made.state.files
    seen = Observation(*(column[files] for column in (columns.ids.ids, columns.mtime_ns + 1, columns.size)))
    known = Known(seen=Observation(files=made.state.files.ids.find(seen.files), mtime_ns=seen.mtime_ns, size=seen.size))
    return plan_rerun(made.state, REQUEST, known, own=[], cause="")


def verdict(made: Sketch, name: str, *changed: str) -> tuple[str, list[str], list[tuple[str, str]]]:
    """The verdict on a job, the path to it, and what it waits for."""
    job = made.place[name]
    told = explain(made.state, reinit(made, *changed), job, find_ancestors(made.state, job))
    waits = [(wait.kind, made.names([wait.job])[0] if wait.job >= 0 else "") for wait in told.waits]
    return told.verdict, made.names(told.path), waits


def test_ancestors_are_a_job_and_all_upstream_of_it_in_order() -> None:
    made = sketch("a>b>d", "c>d>e", "x>y")
    assert made.names(find_ancestors(made.state, made.place["d"])) == ["a", "c", "b", "d"]
    assert made.names(find_ancestors(made.state, made.place["x"])) == ["x"]


def test_the_ancestors_of_the_end_of_a_long_chain_are_found_without_recursion() -> None:
    made = sketch(">".join(f"j{number}" for number in range(20_000)))
    assert len(find_ancestors(made.state, 19_999)) == 20_000


def looked_at(made: Sketch, name: str) -> set[str]:
    """The files that an explanation looks at."""
    around = files_around(made.state, find_related(made.state, made.place[name]))
    return {name for name, index in made.file.items() if index in around}


def test_only_files_around_a_job_and_its_upstream_are_looked_at() -> None:
    made = sketch("a", "b", "c", inputs={"a": ["x"], "b": ["y"], "c": ["z"]}, outputs={"a": ["y"], "b": ["w"]})
    assert looked_at(made, "b") == {"x", "y", "w"}


def test_who_needs_a_file_that_may_go_missing_and_what_makes_that_run_is_looked_at_as_well() -> None:
    """`on_missing: ignore`: whether `p` has to make m again hangs on `c`, and that on k and on what `u` makes."""
    made = sketch(
        "p", "c", "u", "end", "apart", purgeable=["m"],
        inputs={"p": ["x"], "c": ["m", "k", "n"], "u": ["v"], "end": ["z"], "apart": ["w"]},
        outputs={"p": ["m"], "c": ["z"], "u": ["n"], "end": ["last"]},
    )  # fmt: skip
    assert looked_at(made, "p") == {"x", "m", "k", "n", "v", "z", "last"}
    assert looked_at(made, "u") == {"v", "n"}
    made.state.jobs.status[made.place["c"]] = S.DISABLED
    assert looked_at(made, "p") == {"x", "m"}, "staleness ends there"


def test_upstream_of_who_needs_a_missing_file_may_itself_hang_on_others() -> None:
    made = sketch(
        "p", "q", "c", "d", purgeable=["m", "n"], inputs={"c": ["m", "n"], "d": ["n", "k"]},
        outputs={"p": ["m"], "q": ["n"]},
    )  # fmt: skip
    assert looked_at(made, "p") == {"m", "n", "k"}


def ran(**more: object) -> Sketch:
    return sketch(
        "a>b>d", "a>c>d", "e", status=S.COMPLETED, counter=1, inputs={"a": ["x"], "c": ["y"]},
        records={"x": PRESENT, "y": PRESENT}, **more,
    )  # fmt: skip


def test_a_stale_job_is_told_with_the_path_from_the_first_root_cause() -> None:
    """SEMANTICS 4.6"""
    made = ran()
    assert verdict(made, "d", "x", "y") == ("would_rerun", ["a", "b", "d"], [])
    assert verdict(made, "d", "y") == ("would_rerun", ["c", "d"], [])
    assert verdict(made, "a", "x") == ("would_rerun", ["a"], [])
    assert verdict(made, "e", "x", "y") == ("up_to_date", [], [])


def test_the_path_through_a_deep_workflow_is_found_in_one_go_and_told_by_its_ends() -> None:
    """A chain of 100,000: what scans all reasons at every step takes half a minute, and all names take megabytes."""
    count = 100_000
    state = layered(*([1] * count))
    state.jobs.status[:], state.jobs.counter[:] = S.COMPLETED, 0
    state.recount()
    state.version_counter = 5
    state.definitions[0] = [(0, Definition(command="old")), (3, Definition(command="new"))]
    plan = plan_rerun(state, REQUEST, Known(), own=[], cause="")
    before = time.thread_time()
    assert find_path(plan, count - 1) == list(range(count))
    assert time.thread_time() - before < 3
    told = explain(state, plan, count - 1, find_ancestors(state, count - 1))
    assert told.path == [*range(PATH_ENDS), *range(count - PATH_ENDS, count)]
    assert told.omitted == count - 2 * PATH_ENDS
    short = explain(state, plan, 2 * PATH_ENDS - 1, find_ancestors(state, 2 * PATH_ENDS - 1))
    assert (short.path, short.omitted) == (list(range(2 * PATH_ENDS)), 0)


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (S.FAILED, StatusReason.NONE, "not_retried"),
        (S.TERMINATED, StatusReason.WORKER_LOST, "not_retried"),
        (S.CANCELED, StatusReason.BY_USER, "not_retried"),
        (S.DISABLED, StatusReason.NONE, "disabled"),
        (S.RUNNING, StatusReason.NONE, "runs"),
        (S.PENDING, StatusReason.NONE, "runs"),
        (S.READY, StatusReason.NONE, "waits"),
    ],
)
def test_each_status_has_its_verdict(status: Status, reason: StatusReason, told: str) -> None:
    made = sketch("a", status=status, reason={"a": reason}, counter=1)
    assert verdict(made, "a")[0] == told


def test_a_blocked_job_waits_for_what_is_directly_upstream_and_for_what_that_waits_for() -> None:
    statuses = {"a": S.RUNNING, "b": S.BLOCKED, "c": S.COMPLETED, "d": S.BLOCKED}
    made = sketch("a>b>d", "c>d", status=statuses)
    assert verdict(made, "d") == ("waits", [], [("dependency", "b"), ("behind", "a")])
    assert verdict(made, "b") == ("waits", [], [("dependency", "a")])


def test_an_uninitialized_job_waits_to_be_evaluated() -> None:
    assert verdict(sketch("a"), "a") == ("waits", [], [("not_evaluated", "")])


def test_a_canceled_job_is_told_what_failed_upstream() -> None:
    """SEMANTICS 2.1"""
    made = sketch(
        "a>b>c", "u>c", status={"a": S.FAILED, "b": S.CANCELED, "c": S.CANCELED, "u": S.COMPLETED}, counter=1,
        reason={"b": StatusReason.UPSTREAM_FAILED, "c": StatusReason.UPSTREAM_FAILED},
    )  # fmt: skip
    assert verdict(made, "c") == ("upstream_failed", [], [("failed_upstream", "a")])


def test_an_archived_workflow_runs_nothing() -> None:
    """SEMANTICS 5.5"""
    made = sketch("a", status=S.READY)
    made.state.is_archived = True
    assert verdict(made, "a") == ("waits", [], [("archived", "")])


@pytest.mark.parametrize(
    ("operation", "params", "other", "why"),
    [
        ("reinit", {}, Other(S.COMPLETED, 0, False), "up_to_date"),
        ("restart", {"only_uninitialized": False}, Other(S.COMPLETED, 0, False), "up_to_date"),
        ("restart", {"only_uninitialized": True}, Other(S.COMPLETED, 0, False), "not_selected"),
        ("reset-status", {"reinitialize": False}, Other(S.COMPLETED, 0, False), "not_selected"),
        ("jobs reset-status", {"reinitialize": True}, Other(S.COMPLETED, 0, False), "up_to_date"),
        ("reinit", {}, Other(S.FAILED, 0, False), "unchanged_and_not_retried"),
        ("jobs reset-status", {"reinitialize": False}, Other(S.FAILED, 0, False), "not_selected"),
        ("reinit", {}, Other(S.CANCELED, StatusReason.UPSTREAM_FAILED, True), "upstream_failed"),
        ("reinit", {}, Other(S.CANCELED, StatusReason.BY_USER, True), "upstream_failed"),
        ("reinit", {}, Other(S.CANCELED, StatusReason.BY_USER, False), "unchanged_and_not_retried"),
        ("jobs accept", {}, Other(S.CANCELED, StatusReason.UPSTREAM_FAILED, True), "not_selected"),
        ("reinit", {}, Other(S.DISABLED, 0, False), "disabled"),
        ("reinit", {}, Other(S.RUNNING, 0, False), "runs"),
        ("reinit", {}, Other(S.BLOCKED, 0, False), "waits_already"),
    ],
)
def test_why_an_operation_left_a_job_as_it_was(
    operation: str, params: dict[str, object], other: Other, why: str
) -> None:
    assert why_kept(operation, params, other) == why
