"""Moves of jobs and what they push downstream; what a draft notes for the database and the log."""

import numpy as np
import pytest
from builders import Sketch, sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from torcd.core.delta import Claim, Move, Records, Start, UserDataWrite
from torcd.core.draft import Draft
from torcd.core.fingerprint import user_data_digest
from torcd.core.observation import Observation
from torcd.core.state import NEVER, State, count_dependencies
from torcd.core.status import MOVES, Status, StatusReason
from torcd.operations.cancel import cancel_workflow

S, R = Status, StatusReason


def move(made: Sketch, status: Status, *names: str, reason: StatusReason = R.NONE) -> Draft:
    draft = Draft(made.state, 0)
    draft.move(made.jobs(*names), status, reason)
    return draft


# ---- what an end pushes downstream ----


def test_the_last_dependency_that_completes_makes_a_job_ready_at_once() -> None:
    """SEMANTICS §2: pushed, never polled"""
    made = sketch("a>c", "b>c", status={"a": S.RUNNING, "b": S.RUNNING, "c": S.BLOCKED})
    move(made, S.COMPLETED, "a")
    assert made.status()["c"] == S.BLOCKED
    move(made, S.COMPLETED, "b")
    assert made.status()["c"] == S.READY
    assert made.state.ready.order, "the job waits in the queue"


def test_a_job_is_canceled_only_when_every_dependency_has_settled() -> None:
    """SEMANTICS §2"""
    made = sketch("a>c", "b>c", status={"a": S.RUNNING, "b": S.RUNNING, "c": S.BLOCKED})
    move(made, S.FAILED, "a")
    assert made.status()["c"] == S.BLOCKED
    move(made, S.COMPLETED, "b")
    assert (made.status()["c"], made.reason("c")) == (S.CANCELED, R.UPSTREAM_FAILED)


@pytest.mark.parametrize("bad", [S.FAILED, S.TERMINATED, S.CANCELED])
def test_a_failure_cancels_a_whole_diamond(bad: Status) -> None:
    """SEMANTICS 2.1"""
    made = sketch("a>b>d>e", "a>c>d", status={"a": S.RUNNING} | dict.fromkeys("bcde", S.BLOCKED))
    draft = move(made, bad, "a")
    assert made.status() == {"a": bad} | dict.fromkeys("bcde", S.CANCELED)
    assert {made.reason(name) for name in "bcde"} == {R.UPSTREAM_FAILED}
    moved = [job for change in draft.delta.changes for job in change.jobs.tolist()]  # type: ignore[union-attr]
    assert sorted(moved) == sorted(set(moved)), "each job moves once"


def test_a_job_that_does_not_mind_failures_becomes_ready() -> None:
    """SEMANTICS §2: cancel_on_blocking_job_failure false"""
    made = sketch("a>b>c", "a>d", status={"a": S.RUNNING} | dict.fromkeys("bcd", S.BLOCKED), never_cancels=["b"])
    move(made, S.FAILED, "a")
    assert made.status() == {"a": S.FAILED, "b": S.READY, "c": S.BLOCKED, "d": S.CANCELED}


def test_a_job_that_does_not_mind_is_also_freed_by_a_cancellation_upstream() -> None:
    """SEMANTICS §2, 2.1"""
    made = sketch("a>b>c", status={"a": S.RUNNING, "b": S.BLOCKED, "c": S.BLOCKED}, never_cancels=["c"])
    move(made, S.FAILED, "a")
    assert made.status() == {"a": S.FAILED, "b": S.CANCELED, "c": S.READY}


def test_a_failure_is_known_by_its_status_alone() -> None:
    """SEMANTICS 2.1: no result row, no run and no memory of an event is needed"""
    made = sketch("a>c", "b>c", status={"a": S.FAILED, "b": S.RUNNING, "c": S.BLOCKED})
    move(made, S.COMPLETED, "b")
    assert made.status()["c"] == S.CANCELED


# ---- completeness and disabled jobs ----


@pytest.mark.parametrize("status", list(S))
def test_a_workflow_is_complete_when_every_job_has_settled(status: Status) -> None:
    """SEMANTICS 2.2"""
    settled = {S.COMPLETED, S.FAILED, S.CANCELED, S.TERMINATED, S.DISABLED}
    made = sketch("a", "b", status={"a": S.COMPLETED, "b": status})
    assert made.state.is_complete == (status in settled)


def test_a_workflow_without_jobs_is_complete() -> None:
    """SEMANTICS 2.2"""
    assert sketch().state.is_complete


def test_disabling_a_job_frees_what_waits_for_it_alone() -> None:
    """SEMANTICS 2.1, 2.5"""
    made = sketch("a>b", "a>c", "x>c", status={"a": S.READY} | dict.fromkeys("bcx", S.BLOCKED))
    move(made, S.DISABLED, "a")
    assert made.status() == {"a": S.DISABLED, "b": S.READY, "c": S.BLOCKED, "x": S.BLOCKED}


# ---- the counters ----


@st.composite
def workflows(draw: st.DrawFn) -> Sketch:
    count = draw(st.integers(1, 8))
    names = [f"j{number}" for number in range(count)]
    pairs = [(a, b) for b in range(count) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=14)) if pairs else []
    minds = draw(st.sets(st.sampled_from(names)))
    return sketch(
        *names,
        *(f"{names[a]}>{names[b]}" for a, b in chosen),
        status=dict(zip(names, draw(st.lists(st.sampled_from(S), min_size=count, max_size=count)), strict=True)),
        never_cancels=minds,
    )


def check_counters(state: State) -> None:
    waiting, bad = count_dependencies(state.graph, state.jobs.status)
    assert state.waiting.tolist() == waiting.tolist()
    assert state.bad.tolist() == bad.tolist()
    assert state.counts.tolist() == np.bincount(state.jobs.status, minlength=len(S)).tolist()


def naive_dependencies(state: State) -> tuple[list[int], list[int]]:
    settled = {S.COMPLETED, S.FAILED, S.CANCELED, S.TERMINATED, S.DISABLED}
    status = [Status(value) for value in state.jobs.status.tolist()]
    rows = [state.graph.upstream.row(job).tolist() for job in range(state.count)]
    return (
        [sum(status[up] not in settled for up in row) for row in rows],
        [sum(status[up] in {S.FAILED, S.CANCELED, S.TERMINATED} for up in row) for row in rows],
    )


@given(workflows())
def test_dependencies_are_counted_as_one_by_one(made: Sketch) -> None:
    waiting, bad = naive_dependencies(made.state)
    assert (made.state.waiting.tolist(), made.state.bad.tolist()) == (waiting, bad)


@settings(max_examples=200)
@given(workflows(), st.data())
def test_after_any_moves_the_counters_are_those_of_a_recount(made: Sketch, data: st.DataObject) -> None:
    """SEMANTICS 2.1, 2.3"""
    state = made.state
    draft = Draft(state, 0)
    for _ in range(data.draw(st.integers(1, 8))):
        before = Status(int(data.draw(st.sampled_from(state.jobs.status.tolist()))))
        target = data.draw(st.sampled_from(sorted(after for start, after in MOVES if start == before)))
        group = np.flatnonzero(state.jobs.status == before)
        chosen = data.draw(st.sets(st.sampled_from(group.tolist()), min_size=1))
        waiting = state.waiting.copy()
        draft.move(np.array(sorted(chosen), dtype=np.int64), target)
        check_counters(state)
        freed = (waiting > 0) & (state.waiting == 0) & (state.jobs.status == S.BLOCKED)
        assert set(np.flatnonzero(freed).tolist()) <= (chosen if target == S.BLOCKED else set())


@given(workflows())
def test_a_cancel_leaves_nothing_open(made: Sketch) -> None:
    """SEMANTICS §2: by_user"""
    before = made.status()
    draft = Draft(made.state, 0)
    count = cancel_workflow(draft)
    open_jobs = {name for name, status in before.items() if status <= S.RUNNING}
    assert count == len(open_jobs)
    assert made.state.is_canceled
    assert made.state.is_complete
    for name, status in made.status().items():
        assert status == (S.CANCELED if name in open_jobs else before[name])
        assert name not in open_jobs or made.reason(name) == R.BY_USER
    check_counters(made.state)


# ---- what is noted ----


def test_all_moves_of_a_group_are_one_event_with_counts_and_ranges() -> None:
    """SEMANTICS 7.1"""
    made = sketch("a>b", "a>c", "d", status={"a": S.RUNNING, "b": S.BLOCKED, "c": S.BLOCKED, "d": S.READY})
    draft = Draft(made.state, 77)
    draft.move(made.jobs("a"), S.COMPLETED)
    draft.claim(made.jobs("d"), 5)
    delta = draft.finish()
    assert [(notice.seq, notice.at_ms, notice.kind) for notice in delta.notices] == [(1, 77, "jobs_changed")]
    assert delta.notices[0].data["changes"] == [
        {"status": "completed", "status_reason": None, "count": 1, "jobs": "101"},
        {"status": "ready", "status_reason": None, "count": 2, "jobs": "102-103"},
        {"status": "pending", "status_reason": None, "count": 1, "jobs": "104"},
    ]
    assert delta.workflow == {"event_seq": 1}


def test_a_draft_without_changes_is_empty() -> None:
    made = sketch("a")
    draft = Draft(made.state, 0)
    draft.move(made.jobs(), S.READY)
    draft.set_canceled(False)
    assert draft.finish().is_empty


def test_a_claim_is_a_new_attempt_that_starts_with_the_counter_of_its_claim() -> None:
    """SEMANTICS 4.7, 5.3"""
    made = sketch("a", status=S.READY, version_counter=4, run_id=9)
    draft = Draft(made.state, 0)
    claim = draft.claim(made.jobs("a"), 5)
    draft.next_version()  # something changes between the claim and the start
    draft.start(made.jobs("a"))
    assert (claim.attempts.tolist(), claim.run_id, claim.worker_id, claim.counter) == ([1], 9, 5, 4)
    assert made.state.jobs.counter.tolist() == [4]
    assert [type(change) for change in draft.finish().changes] == [Claim, Start]


def test_only_what_differs_from_a_record_gets_a_new_version_and_all_of_it_the_same() -> None:
    """SEMANTICS 4.7"""
    made = sketch(
        "a", inputs={"a": ["same", "other", "new"]}, records={"same": (5, 5, 1), "other": (5, 5, 1)}, version_counter=3
    )
    draft = Draft(made.state, 0)
    files = np.arange(3, dtype=np.int64)
    draft.record(Observation(files, np.array([5, 6, 7]), np.array([5, 5, 5])))
    assert made.state.files.version.tolist() == [1, 4, 4]
    assert made.state.version_counter == 4
    (records,) = draft.finish().changes
    assert isinstance(records, Records)
    assert records.files.tolist() == [1, 2]
    draft = Draft(made.state, 0)
    draft.record(Observation(files, made.state.files.mtime_ns.copy(), made.state.files.size.copy()))
    assert draft.finish().is_empty
    assert NEVER not in made.state.files.size


def test_an_equal_value_of_user_data_changes_nothing() -> None:
    """SEMANTICS 4.3"""
    made = sketch("a", reads={"a": ["u"]}, values={"u": [(1, {"x": 1})]}, version_counter=1)
    draft = Draft(made.state, 0)
    draft.write_user_data(0, '{"x": 1}', user_data_digest({"x": 1}))
    assert draft.finish().is_empty
    draft.write_user_data(0, '{"x": 2}', user_data_digest({"x": 2}))
    (write,) = draft.finish().changes
    assert isinstance(write, UserDataWrite)
    assert (write.version, made.state.version_counter) == (2, 2)


def test_a_plan_sets_each_final_status_and_queues_what_is_ready() -> None:
    made = sketch("a>b", status={"a": S.FAILED, "b": S.COMPLETED})
    draft = Draft(made.state, 0)
    draft.place(made.jobs("a", "b"), np.array([S.READY, S.BLOCKED], np.uint8), np.array([0, 0], np.uint8))
    check_counters(made.state)
    assert made.status() == {"a": S.READY, "b": S.BLOCKED}
    assert [type(change) for change in draft.finish().changes] == [Move, Move]
