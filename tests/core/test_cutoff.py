"""Which waiting jobs may return to completed, and which do: SEMANTICS 4.9, on states in memory."""

import time
from typing import Any

import numpy as np
import pytest
from builders import PRESENT, Sketch, sketch
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.cutoff import NARROW, _are_unchanged, _is_unchanged, find_candidates, find_returning
from torcd.core.draft import Draft
from torcd.core.fingerprint import Definition, user_data_digest
from torcd.core.state import ABSENT
from torcd.core.status import Status, StatusReason

S = Status

# ---- who may return ----


def candidates(made: Sketch, *reset: str, own: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> set[str]:
    """The jobs among those that are reset that may return."""
    mask, has_own = np.zeros(made.state.count, dtype=np.bool_), np.zeros(made.state.count, dtype=np.bool_)
    mask[made.jobs(*reset)] = True
    has_own[made.jobs(*own)] = True
    is_missing = np.zeros(len(made.file), dtype=np.bool_)
    is_missing[[made.file[name] for name in missing]] = True
    return set(made.names(np.flatnonzero(find_candidates(made.state, mask, has_own, is_missing))))


def pipeline(**fields: Any) -> Sketch:
    """a>b>c, completed; each takes what the one before makes."""
    given = {
        "status": S.COMPLETED,
        "counter": 1,
        "inputs": {"a": ["x"], "b": ["p"], "c": ["q"]},
        "outputs": {"a": ["p"], "b": ["q"], "c": ["r"]},
        "records": dict.fromkeys("xpqr", PRESENT),
    }
    return sketch("a", "b", "c", **given | fields)


def test_completed_jobs_without_a_reason_of_their_own_may_return() -> None:
    assert candidates(pipeline(), "a", "b", "c", own=("a",)) == {"b", "c"}
    assert candidates(pipeline(), "b", "c", own=("b", "c")) == set()


@pytest.mark.parametrize("status", sorted(frozenset(Status) - {S.COMPLETED}))
def test_only_completed_jobs_may(status: Status) -> None:
    made = pipeline(status={"a": S.COMPLETED, "b": status, "c": S.COMPLETED})
    assert candidates(made, "a", "b", "c", own=("a",)) == {"c"}


@pytest.mark.parametrize("status", [S.UNINITIALIZED, S.BLOCKED, S.READY])
def test_those_that_wait_and_may_return_already_may_do_so_on(status: Status) -> None:
    made = pipeline(status={"a": S.COMPLETED, "b": status, "c": S.COMPLETED})
    made.state.jobs.may_return[made.place["b"]] = True
    assert candidates(made, "a", "b", "c", own=("a",)) == {"b", "c"}
    assert candidates(made, "a", "b", "c", own=("a", "b")) == {"c"}


@pytest.mark.parametrize("status", [S.FAILED, S.CANCELED, S.TERMINATED, S.RUNNING])
def test_an_old_mark_of_a_job_that_does_not_wait_counts_for_nothing(status: Status) -> None:
    made = pipeline(status={"a": S.COMPLETED, "b": status, "c": S.COMPLETED})
    made.state.jobs.may_return[made.place["b"]] = True
    assert candidates(made, "a", "b", "c", own=("a",)) == {"c"}


def test_a_job_with_a_missing_output_may_not() -> None:
    assert candidates(pipeline(), "a", "b", "c", own=("a",), missing=("q", "x")) == {"c"}


def test_a_job_right_behind_one_without_any_output_that_runs_may_not() -> None:
    made = sketch("a>b>c", "d>b", status=S.COMPLETED, counter=1, outputs={"b": ["p"], "d": ["q"]}, inputs={"c": ["p"]})
    assert candidates(made, "a", "b", "c", own=("a",)) == {"c"}
    assert candidates(made, "b", "c", "d", own=("d",)) == {"b", "c"}, "a does not run"


def test_user_data_is_an_output_too() -> None:
    made = sketch("a>b", status=S.COMPLETED, counter=1, writes={"a": ["u"]}, values={"u": [(1, 5)]})
    assert candidates(made, "a", "b", own=("a",)) == {"b"}


def test_a_job_whose_own_value_ends_with_the_reset_or_was_never_written_may_not() -> None:
    writes, reads = {"b": ["u"], "c": ["v"]}, {"c": ["u"]}
    made = pipeline(writes=writes, reads=reads, values={"u": [(1, 5)], "v": [(1, 6)]}, ephemeral=["u"])
    assert candidates(made, "a", "b", "c", own=("a",)) == {"c"}
    made = pipeline(writes=writes, reads=reads, values={"u": [(1, 5)]})
    assert candidates(made, "a", "b", "c", own=("a",)) == {"b"}


def test_when_nobody_may_nothing_else_is_looked_at() -> None:
    assert candidates(pipeline(status=S.FAILED), "a", "b", "c") == set()


# ---- who returns ----


def waiting(**fields: Any) -> Sketch:
    """The pipeline after a reset: a has just ended, b and c may return."""
    made = pipeline(status={"a": S.COMPLETED, "b": S.BLOCKED, "c": S.BLOCKED}, **fields)
    made.state.jobs.may_return[made.jobs("b", "c")] = True
    return made


def returning(made: Sketch, *free: str) -> set[str]:
    """The jobs that return when these wait for nothing any more."""
    return set(made.names(find_returning(made.state, made.jobs(*free))))


def test_all_that_follows_returns_at_once() -> None:
    assert returning(waiting(), "b") == {"b", "c"}


def test_a_newer_version_of_what_a_job_takes_keeps_it_from_returning() -> None:
    assert returning(waiting(records={**dict.fromkeys("xqr", PRESENT), "p": (1_000, 10, 2)}), "b") == set()
    assert returning(waiting(records={**dict.fromkeys("xpr", PRESENT), "q": (1_000, 10, 2)}), "b") == {"b"}


def test_an_absent_output_keeps_a_job_from_returning() -> None:
    assert returning(waiting(records={**dict.fromkeys("xpr", PRESENT), "q": (-1, ABSENT, 1)}), "b") == set()
    assert returning(waiting(records={**dict.fromkeys("xpq", PRESENT), "r": (-1, ABSENT, 1)}), "b") == {"b"}


def test_an_edit_keeps_a_job_from_returning_unless_it_is_back_at_what_ran() -> None:
    old, new = Definition(command="old"), Definition(command="new")
    assert returning(waiting(definitions={"b": [(0, old), (3, new)]}), "b") == set()
    assert returning(waiting(definitions={"b": [(0, old), (3, new), (4, old)]}), "b") == {"b", "c"}
    assert returning(waiting(definitions={"c": [(0, old), (1, new)]}), "b") == {"b", "c"}


def test_another_value_keeps_a_job_from_returning_and_an_equal_one_does_not() -> None:
    values = {"u": [(0, 1), (3, 2)]}
    assert returning(waiting(reads={"b": ["u"]}, values=values), "b") == set()
    values = {"u": [(0, 1), (3, 2), (4, 1)]}
    assert returning(waiting(reads={"b": ["u"]}, values=values), "b") == {"b", "c"}


def test_a_value_that_was_cleared_and_not_written_again_keeps_a_job_from_returning() -> None:
    made = waiting(reads={"b": ["u"]}, values={"u": [(0, 1)]})
    made.state.values.history[0].append((3, None))
    assert returning(made, "b") == set()
    made.state.values.history[0].append((4, user_data_digest(1)))
    assert returning(made, "b") == {"b", "c"}


def test_what_an_upstream_of_which_a_job_takes_nothing_wrote_counts() -> None:
    jobs = {"status": {"o": S.COMPLETED, "b": S.BLOCKED}, "counter": 1}
    made = sketch("o>b", writes={"o": ["u"]}, values={"u": [(0, 1), (3, 2)]}, **jobs)
    made.state.jobs.may_return[:] = True
    assert returning(made, "b") == set()
    made = sketch("o>b", outputs={"o": ["p"]}, records={"p": (1, 1, 2)}, **jobs)
    made.state.jobs.may_return[:] = True
    assert returning(made, "b") == set()


def test_a_job_that_may_not_stops_the_rest() -> None:
    made = waiting()
    made.state.jobs.may_return[made.place["b"]] = False
    assert returning(made, "b") == set()


def test_a_job_with_a_failed_upstream_does_not_return() -> None:
    made = pipeline(status={"a": S.FAILED, "b": S.BLOCKED, "c": S.BLOCKED}, never_cancels=["b"])
    made.state.jobs.may_return[:] = True
    assert returning(made, "b") == set()


def test_a_job_further_down_that_waits_for_something_else_does_not_return_yet() -> None:
    made = sketch(
        *("a", "b", "c", "other"),
        status={"a": S.COMPLETED, "b": S.BLOCKED, "c": S.BLOCKED, "other": S.READY},
        counter=1,
        outputs={"a": ["p"], "b": ["q"], "c": ["r"], "other": ["s"]},
        inputs={"a": ["x"], "b": ["p"], "c": ["q", "s"]},
        records=dict.fromkeys("xpqrs", PRESENT),
    )
    made.state.jobs.may_return[:] = True
    assert returning(made, "b") == {"b"}


# ---- both ways of looking are the same, and fast ----


@st.composite
def states(draw: st.DrawFn) -> Sketch:
    """Jobs with files, values, edits and plain edges; some things are newer than the jobs' last attempts."""
    count = draw(st.integers(1, 6))
    names = [f"j{number}" for number in range(count)]
    files = ["x", "z", *(f"f{number}" for number in range(count)), *(f"g{number}" for number in range(count))]
    inputs, outputs, reads, writes, chains, definitions = {}, {}, {}, {}, list(names), {}
    for number, name in enumerate(names):
        before = ["x", "z", *(f"{kind}{other}" for kind in "fg" for other in range(number))]
        inputs[name] = sorted(draw(st.sets(st.sampled_from(before), max_size=3)))
        outputs[name] = draw(st.sampled_from([[], [f"f{number}"], [f"f{number}", f"g{number}"]]))
        reads[name] = sorted(
            draw(st.sets(st.sampled_from(["u", *(f"v{other}" for other in range(number))]), max_size=2))
        )
        writes[name] = draw(st.sampled_from([[], [f"v{number}"]]))
        chains += (
            [f"{other}>{name}" for other in sorted(draw(st.sets(st.sampled_from(names[:number]), max_size=2)))]
            if number
            else []
        )
        if draw(st.booleans()):
            definitions[name] = [
                (0, Definition(command="old")),
                (draw(st.integers(1, 3)), Definition(command=draw(st.sampled_from(["old", "new"])))),
            ]
    values = {
        name: draw(st.lists(st.integers(0, 1), max_size=3).map(lambda given: list(enumerate(given))))
        for name in ["u", *(f"v{number}" for number in range(count))]
    }
    records = {name: (1, draw(st.sampled_from([1, 1, 1, ABSENT])), draw(st.integers(0, 3))) for name in files}
    made = sketch(
        *chains, inputs=inputs, outputs=outputs, reads=reads, writes=writes, values=values, records=records,
        definitions=definitions, counter={name: draw(st.integers(1, 3)) for name in names}, version_counter=3,
        status={name: draw(st.sampled_from([S.BLOCKED, S.BLOCKED, S.COMPLETED, S.READY, S.FAILED])) for name in names},
    )  # fmt: skip
    made.state.jobs.may_return[:] = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return made


@given(states())
def test_few_and_many_jobs_are_examined_with_the_same_result(made: Sketch) -> None:
    """Few are looked at one by one, many as arrays."""
    state, jobs = made.state, np.arange(made.state.count)
    assert _are_unchanged(state, jobs).tolist() == [_is_unchanged(state, job) for job in jobs.tolist()]


@given(states())
def test_what_returns_at_once_is_what_would_return_one_after_the_other(made: Sketch) -> None:
    """The naive way: settle each job that returns, and look again."""
    state = made.state
    is_free = (state.jobs.status == S.BLOCKED) & (state.waiting == 0)
    at_once = set(find_returning(state, np.flatnonzero(is_free)).tolist())
    one_by_one: set[int] = set()
    while True:
        is_free = (state.jobs.status == S.BLOCKED) & (state.waiting == 0) & (state.bad == 0) & state.jobs.may_return
        found = [job for job in np.flatnonzero(is_free).tolist() if _is_unchanged(state, job)]
        if not found:
            break
        one_by_one.add(found[0])
        state.set_status(np.array(found[:1]), S.COMPLETED, StatusReason.UNCHANGED_INPUTS)
    assert at_once == one_by_one


def test_so_many_that_they_are_looked_at_as_arrays_return_too() -> None:
    names = [f"j{number}" for number in range(2 * NARROW)]
    made = sketch(
        *(f"a>{name}" for name in names),
        status={"a": S.RUNNING, **dict.fromkeys(names, S.BLOCKED)},
        counter=1,
        outputs={"a": ["p"]},
        inputs={name: ["p"] for name in names},
        records={"p": PRESENT},
        reads={"j3": ["u"]},
        values={"u": [(0, 1), (2, 2)]},
    )
    made.state.jobs.may_return[:] = True
    draft = Draft(made.state, 1)
    draft.move(made.jobs("a"), S.COMPLETED)
    assert made.status() == {"a": S.COMPLETED, **dict.fromkeys(names, S.COMPLETED), "j3": S.READY}


def test_a_chain_of_100_000_jobs_returns_in_reasonable_time() -> None:
    count = 100_000
    names = [f"j{number}" for number in range(count)]
    made = sketch(
        *names,
        status={"j0": S.RUNNING, **dict.fromkeys(names[1:], S.BLOCKED)},
        counter=1,
        inputs={name: [f"f{number}"] for number, name in enumerate(names)},
        outputs={name: [f"f{number + 1}"] for number, name in enumerate(names)},
        records={f"f{number}": PRESENT for number in range(count + 1)},
    )
    made.state.jobs.may_return[:] = True
    began = time.process_time()
    Draft(made.state, 1).move(made.jobs("j0"), S.COMPLETED)
    assert time.process_time() - began < 5
    assert made.state.counts[S.COMPLETED] == count
