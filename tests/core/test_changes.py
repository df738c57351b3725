"""What makes a job stale by itself: files, definitions, user data, missing outputs."""

from typing import Any

import numpy as np
import pytest
from builders import GONE, PRESENT, Sketch, sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from torcd.core.changes import Changes, Kind, find_changes, join_reasons, make_reasons
from torcd.core.fingerprint import Definition
from torcd.core.observation import Observation
from torcd.core.state import ABSENT, NEVER
from torcd.core.status import Status, StatusReason

S = Status
ENDED = [S.COMPLETED, S.FAILED, S.CANCELED, S.TERMINATED]


def look(made: Sketch, **seen: tuple[int, int]) -> Changes:
    """Compares; files that are not named are as they are recorded."""
    files = made.state.files
    mtime_ns, size = files.mtime_ns.copy(), files.size.copy()
    for name, (when, how_large) in seen.items():
        mtime_ns[made.file[name]], size[made.file[name]] = when, how_large
    return find_changes(made.state, Observation(np.arange(len(size)), mtime_ns, size), {})


def rows(made: Sketch, changes: Changes) -> list[tuple[str, Kind, str | int]]:
    """(job, kind, file or user data) of each reason."""
    files = {index: name for name, index in made.file.items()}
    values = {index: name for name, index in made.value.items()}
    reasons = join_reasons([part for part in changes.reasons if len(part.job)])
    found: list[tuple[str, Kind, Any]] = []
    for job, kind, ref in zip(reasons.job, reasons.kind, reasons.ref, strict=True):
        names = values if kind == Kind.USER_DATA_CHANGED else files if kind <= Kind.OUTPUT_MISSING else {}
        found.append((made.names([job])[0], Kind(int(kind)), names.get(int(ref), int(ref))))
    return found


def ran(*chains: str, status: Any = S.COMPLETED, counter: int = 5, **options: Any) -> Sketch:
    """Jobs that have run, when the version counter stood at 5."""
    return sketch(*chains, status=status, counter=counter, version_counter=9, **options)


WHEN, SIZE = PRESENT[0], PRESENT[1]


# ---- 4.1 ----


@pytest.mark.parametrize("seen", [(WHEN + 1, SIZE), (WHEN - 1, SIZE), (WHEN, SIZE + 1), (WHEN, 0)])
def test_an_input_that_differs_in_time_or_size_makes_its_consumers_stale(seen: tuple[int, int]) -> None:
    """SEMANTICS 4.1: different, never "newer"; size alone suffices"""
    made = ran("a", "b", "c", inputs={"a": ["x"], "b": ["x", "y"], "c": ["y"]}, records={"x": PRESENT, "y": PRESENT})
    changes = look(made, x=seen)
    assert rows(made, changes) == [("a", Kind.INPUT_CHANGED, "x"), ("b", Kind.INPUT_CHANGED, "x")]
    assert changes.records.files.tolist() == [made.file["x"]]
    reasons = changes.reasons[0]
    assert (reasons.old_a[0], reasons.old_b[0], reasons.new_a[0], reasons.new_b[0]) == (WHEN, SIZE, *seen)


def test_what_is_as_recorded_makes_nothing_stale() -> None:
    """SEMANTICS 4.1"""
    made = ran("a", inputs={"a": ["x", "gone"]}, records={"x": PRESENT, "gone": GONE})
    changes = look(made)
    assert rows(made, changes) == []
    assert not len(changes.records.files)


def test_an_input_that_appears_is_a_change() -> None:
    """SEMANTICS 4.1"""
    made = ran("a", inputs={"a": ["x", "y"]}, records={"x": GONE})
    changes = look(made, x=(7, 7), y=(8, 8))
    assert rows(made, changes) == [("a", Kind.INPUT_CHANGED, "x"), ("a", Kind.INPUT_CHANGED, "y")]
    assert changes.reasons[0].old_b.tolist() == [ABSENT, NEVER]


def test_an_input_that_disappears_is_missing() -> None:
    """SEMANTICS 4.1"""
    made = ran("a", inputs={"a": ["x"]}, records={"x": PRESENT})
    changes = look(made, x=(-1, ABSENT))
    assert rows(made, changes) == [("a", Kind.INPUT_MISSING, "x")]
    assert (changes.reasons[0].old_a[0], changes.reasons[0].old_b[0]) == (WHEN, SIZE)


def test_a_changed_output_is_no_reason_for_its_own_producer() -> None:
    """SEMANTICS 4.1: consumers of a changed file are stale"""
    made = ran("a", "b", outputs={"a": ["x"]}, inputs={"b": ["x"]}, records={"x": PRESENT})
    assert rows(made, look(made, x=(9, 9))) == [("b", Kind.INPUT_CHANGED, "x")]


@pytest.mark.parametrize("status", list(S))
def test_examined_are_jobs_that_have_ended(status: Status) -> None:
    """SEMANTICS §4: completed, failed, terminated or canceled"""
    made = ran("a", status=status, inputs={"a": ["x"]}, records={"x": PRESENT})
    assert bool(rows(made, look(made, x=(9, 9)))) == (status in ENDED)


def test_a_job_that_never_started_has_no_baseline() -> None:
    """SEMANTICS §4"""
    made = sketch(
        "a", "b", status={"a": S.CANCELED, "b": S.COMPLETED}, counter={"b": 5}, inputs={"a": ["x"], "b": ["x"]}
    )
    assert rows(made, look(made, x=(9, 9))) == [("b", Kind.INPUT_CHANGED, "x")]


# ---- 4.7 ----


def test_a_file_accepted_after_a_job_started_makes_it_stale_though_the_disk_is_as_recorded() -> None:
    """SEMANTICS 4.7: exact per job, even if another consumer was rerun in between"""
    made = ran("late", "early", inputs={"late": ["x"], "early": ["x"]}, records={"x": (WHEN, SIZE, 6)})
    made.state.jobs.counter[made.place["late"]] = 6
    changes = look(made)
    assert rows(made, changes) == [("early", Kind.INPUT_CHANGED, "x")]
    assert changes.reasons[0].old_b.tolist() == [NEVER], "what the job knew is in the history"


def test_a_change_that_is_found_now_is_newer_than_every_attempt() -> None:
    """SEMANTICS 4.7"""
    made = ran("a", counter=9, inputs={"a": ["x"]}, records={"x": (WHEN, SIZE, 9)})
    assert rows(made, look(made, x=(9, 9))) == [("a", Kind.INPUT_CHANGED, "x")]


@settings(max_examples=200)
@given(st.data())
def test_inputs_are_compared_as_one_by_one(data: st.DataObject) -> None:
    """SEMANTICS 4.1, 4.7"""
    draw = data.draw
    jobs, files = [f"j{n}" for n in range(draw(st.integers(1, 5)))], [f"f{n}" for n in range(draw(st.integers(1, 4)))]
    inputs = {name: sorted(draw(st.sets(st.sampled_from(files)))) for name in jobs}
    stat = st.sampled_from([(-1, ABSENT), (1, 1), (1, 2), (2, 1)])
    records = {name: (*draw(stat), draw(st.integers(1, 9))) for name in files if draw(st.booleans())}
    made = sketch(
        *jobs,
        status={name: draw(st.sampled_from(S)) for name in jobs},
        counter={name: draw(st.integers(-1, 9)) for name in jobs},
        version_counter=9,
        inputs=inputs,
        records=records,
    )
    seen = {name: draw(stat) for name in made.file}
    expected = set()
    for name in jobs:
        index = made.place[name]
        if made.status()[name] not in ENDED or made.state.jobs.counter[index] < 0:
            continue
        for file in inputs[name]:
            record = records.get(file)
            is_newer = record is not None and record[2] > made.state.jobs.counter[index]
            if is_newer or record is None or record[:2] != seen[file]:
                expected.add((name, Kind.INPUT_MISSING if seen[file][1] == ABSENT else Kind.INPUT_CHANGED, file))
    found = rows(made, look(made, **seen))
    assert len(found) == len(expected)
    assert set(found) == expected


# ---- 4.4 ----


@pytest.mark.parametrize("status", list(S))
def test_a_completed_job_without_its_output_is_stale(status: Status) -> None:
    """SEMANTICS 4.4: only completed ones"""
    made = ran("a", status=status, outputs={"a": ["x", "y"]}, records={"x": PRESENT, "y": PRESENT})
    expected = [("a", Kind.OUTPUT_MISSING, "y")] if status == S.COMPLETED else []
    assert rows(made, look(made, y=(-1, ABSENT))) == expected


def test_a_missing_output_counts_though_its_absence_was_accepted_before() -> None:
    """SEMANTICS 4.4: whether or not anything changed"""
    made = ran("a", outputs={"a": ["x"]}, records={"x": GONE})
    assert rows(made, look(made)) == [("a", Kind.OUTPUT_MISSING, "x")]


# ---- 4.2 ----

OLD, NEW = Definition(command="old"), Definition(command="new", env={"A": "1"})


def test_an_edited_definition_is_told_field_by_field_with_old_and_new() -> None:
    """SEMANTICS 4.2"""
    made = ran("a", "b", definitions={"a": [(0, OLD), (7, NEW)], "b": [(0, OLD), (4, NEW)]})
    (part,) = [part for part in look(made).reasons if len(part.job)]
    assert made.names(part.job) == ["a", "a"], "b ran with its new definition"
    assert [part.details[ref] for ref in part.ref.tolist()] == [("command", "old", "new"), ("env", {}, {"A": "1"})]


def test_a_definition_edited_back_makes_nothing_stale() -> None:
    """SEMANTICS 4.2"""
    made = ran("a", definitions={"a": [(0, OLD), (7, NEW), (8, OLD)]})
    assert rows(made, look(made)) == []


def test_the_definition_a_job_last_ran_with_is_the_baseline() -> None:
    """SEMANTICS 4.2"""
    third = Definition(command="third")
    made = ran("a", counter=7, definitions={"a": [(0, OLD), (7, NEW), (8, third)]})
    (part,) = [part for part in look(made).reasons if len(part.job)]
    assert ("command", "new", "third") in part.details


# ---- 4.3 ----


def test_a_value_written_after_the_start_is_a_change() -> None:
    """SEMANTICS 4.3"""
    made = ran("a", reads={"a": ["u"]}, values={"u": [(0, 1), (6, 2), (7, 3)]})
    changes = look(made)
    assert rows(made, changes) == [("a", Kind.USER_DATA_CHANGED, "u")]
    reasons = changes.reasons[3]
    assert (reasons.old_a.tolist(), reasons.new_a.tolist()) == ([0], [7])


def test_a_value_written_before_the_start_is_what_the_job_consumed() -> None:
    """SEMANTICS 4.3: written by an upstream job during the run"""
    made = ran("w", "a", writes={"w": ["u"]}, reads={"a": ["u"]}, values={"u": [(0, 1), (5, 2)]})
    assert rows(made, look(made)) == []


def test_a_value_that_is_back_makes_nothing_stale() -> None:
    """SEMANTICS 4.3"""
    made = ran("a", reads={"a": ["u"]}, values={"u": [(0, {"a": 1, "b": 2}), (6, 5), (7, {"b": 2.0, "a": 1})]})
    assert rows(made, look(made)) == []


def test_a_first_value_is_a_change() -> None:
    """SEMANTICS 4.3"""
    made = ran("a", reads={"a": ["u"]}, values={"u": [(6, None)]})
    changes = look(made)
    assert rows(made, changes) == [("a", Kind.USER_DATA_CHANGED, "u")]
    assert changes.reasons[3].old_a.tolist() == [-1]


# ---- joining ----


def test_joined_reasons_are_sorted_by_job_and_keep_their_details() -> None:
    one = make_reasons(Kind.DEFINITION_CHANGED, np.array([4, 2]), np.array([0, 1]), details=(("a", 1, 2), ("b", 3, 4)))
    two = make_reasons(Kind.DEFINITION_CHANGED, np.array([3]), np.array([0]), details=(("c", 5, 6),))
    joined = join_reasons([one, make_reasons(Kind.REQUESTED, np.array([2])), two])
    assert joined.job.tolist() == [2, 2, 3, 4]
    assert joined.kind.tolist() == [4, 8, 4, 4]
    named = [joined.details[ref][0] for ref, kind in zip(joined.ref, joined.kind, strict=True) if kind == 4]
    assert named == ["b", "c", "a"]


def test_a_status_reason_is_no_reason_to_run_again() -> None:
    made = ran("a", status=S.CANCELED, reason={"a": StatusReason.BY_USER})
    assert rows(made, look(made)) == []
