"""What is another version, what is read, and what is recorded: SEMANTICS 4.1 and 4.9, on states in memory."""

from typing import Any

import numpy as np
import pytest
from builders import Sketch, sketch

from torcd.core.changes import Changes, Kind, Record, find_changes
from torcd.core.draft import Draft
from torcd.core.observation import (
    Contents,
    Observation,
    drop_outdated,
    has_changed,
    has_moved,
    needs_reading,
    needs_recording,
    with_contents,
)
from torcd.core.state import ABSENT, DIGEST, NEVER, UNKNOWN
from torcd.core.status import Status

ONE, TWO, NONE = b"1" * 16, b"2" * 16, bytes(16)
RECORDED = (1_000, 10)


def digests(*values: bytes) -> Any:
    """A column of digests."""
    return np.frombuffer(b"".join(values), dtype=DIGEST)


def one_file(digest: bytes = NONE, *, racy: bool = False, record: tuple[int, int] = RECORDED) -> Sketch:
    """A job that has run with x."""
    made = sketch("a", status=Status.COMPLETED, counter=1, inputs={"a": ["x"]}, records={"x": (*record, 1)})
    made.state.files.digest[:] = digests(digest)
    made.state.files.is_racy[:] = racy
    return made


def look(mtime_ns: int, size: int, digest: bytes | None = None, *, racy: bool = False) -> Observation:
    """What was seen of x."""
    return Observation(
        np.array([0]),
        np.array([mtime_ns]),
        np.array([size]),
        digest=None if digest is None else digests(digest),
        is_racy=None if digest is None else np.array([racy]),
    )


SEEN = [
    # recorded digest, seen (time, size), seen digest: moved, changed, to be recorded
    (NONE, (1_000, 10), None, False, False, False),
    (NONE, (1_001, 10), None, True, True, True),
    (NONE, (1_000, 11), None, True, True, True),
    (ONE, (1_001, 10), None, True, True, True),
    (ONE, (1_000, 10), NONE, False, False, False),
    (ONE, (1_000, 10), ONE, False, False, False),
    (ONE, (1_000, 10), TWO, False, True, True),
    (ONE, (1_001, 10), ONE, True, False, True),
    (ONE, (1_001, 10), TWO, True, True, True),
    (ONE, (1_001, 10), NONE, True, True, True),
    (NONE, (1_000, 10), ONE, False, False, True),
    (NONE, (1_001, 10), ONE, True, True, True),
    (ONE, (-1, ABSENT), NONE, True, True, True),
]


@pytest.mark.parametrize(("recorded", "seen", "digest", "moved", "changed", "recording"), SEEN)
def test_digests_decide_where_both_are_known_and_else_time_and_size(
    recorded: bytes, seen: tuple[int, int], digest: bytes | None, moved: bool, changed: bool, recording: bool
) -> None:
    files, found = one_file(recorded).state.files, look(*seen, digest)
    assert has_moved(files, found).tolist() == [moved]
    assert has_changed(files, found).tolist() == [changed]
    assert needs_recording(files, found).tolist() == [recording]


@pytest.mark.parametrize(("recorded", "seen", "digest", "moved", "changed", "recording"), SEEN)
def test_a_record_takes_what_was_seen_and_a_new_number_only_for_another_version(
    recorded: bytes, seen: tuple[int, int], digest: bytes | None, moved: bool, changed: bool, recording: bool
) -> None:
    made = one_file(recorded)
    draft = Draft(made.state, 1)
    draft.record(look(*seen, digest))
    files = made.state.files
    assert (files.mtime_ns[0], files.size[0]) == seen
    assert files.version[0] == (2 if changed else 1)
    expected = digest if digest is not None and digest != NONE else NONE if moved else recorded
    assert files.digest[0].tobytes() == expected
    assert len(draft.delta.changes) == int(recording)
    draft.record(look(*seen, digest))
    assert len(draft.delta.changes) == int(recording), "the second time there is nothing new"


def test_a_racy_record_that_has_settled_is_recorded_as_such() -> None:
    made = one_file(ONE, racy=True)
    found = look(1_000, 10, ONE)
    assert needs_recording(made.state.files, found).tolist() == [True]
    assert has_changed(made.state.files, found).tolist() == [False]
    Draft(made.state, 1).record(found)
    assert not made.state.files.is_racy[0]
    assert made.state.files.version[0] == 1


def test_a_mark_without_a_digest_is_none() -> None:
    made = one_file(NONE)
    Draft(made.state, 1).record(look(1_001, 10, NONE, racy=True))
    assert not made.state.files.is_racy[0]


# ---- what is read ----


@pytest.mark.parametrize(
    ("digest", "racy", "seen", "read", "decides"),
    [
        (ONE, False, (1_000, 10), False, False),
        (ONE, True, (1_000, 10), True, True),
        (ONE, False, (1_001, 10), True, True),
        (NONE, False, (1_000, 10), True, False),
        (NONE, False, (1_001, 10), True, False),
        (ONE, True, (-1, ABSENT), False, False),
        (ONE, False, (-1, UNKNOWN), False, False),
        (NONE, False, (-1, ABSENT), False, False),
    ],
)
def test_read_is_what_has_moved_what_is_racy_and_what_never_was(
    digest: bytes, racy: bool, seen: tuple[int, int], read: bool, decides: bool
) -> None:
    found = needs_reading(one_file(digest, racy=racy).state.files, look(*seen))
    assert [mask.tolist() for mask in found] == [[read], [decides]]


def contents(mtime_ns: int, size: int, digest: bytes = NONE, *, racy: bool = False, error: str = "") -> Contents:
    """What reading one file told."""
    errors = {0: error} if error else {}
    return Contents(np.array([mtime_ns]), np.array([size]), digests(digest), np.array([racy]), errors)


def completed(told: Contents, *, decides: bool) -> Observation:
    """An observation of two files, of which the second was read."""
    seen = Observation(np.array([4, 7]), np.array([1, 2]), np.array([10, 20]), {4: "odd"})
    return with_contents(seen, np.array([False, True]), np.array([False, decides]), told)


@pytest.mark.parametrize("decides", [False, True])
def test_what_reading_tells_replaces_what_was_seen(decides: bool) -> None:
    """They are of one moment."""
    found = completed(contents(3, 30, ONE, racy=True), decides=decides)
    assert (found.mtime_ns.tolist(), found.size.tolist()) == ([1, 3], [10, 30])
    assert found.digest is not None
    assert found.is_racy is not None
    assert [found.digest[row].tobytes() for row in (0, 1)] == [NONE, ONE]
    assert found.is_racy.tolist() == [False, True]
    assert found.errors == {4: "odd"}


@pytest.mark.parametrize("decides", [False, True])
def test_what_is_gone_when_it_is_read_is_absent(decides: bool) -> None:
    """SEMANTICS 4.8"""
    found = completed(contents(-1, ABSENT), decides=decides)
    assert (found.mtime_ns.tolist(), found.size.tolist()) == ([1, -1], [10, ABSENT])
    assert found.absent.tolist() == [7]


def test_what_cannot_be_read_is_unknown_where_its_content_decides() -> None:
    """SEMANTICS 4.8"""
    found = completed(contents(-1, UNKNOWN, error="forbidden"), decides=True)
    assert found.unknown.tolist() == [7]
    assert found.errors == {4: "odd", 7: "forbidden"}


def test_what_cannot_be_read_is_as_it_was_seen_where_its_content_does_not_decide() -> None:
    found = completed(contents(-1, UNKNOWN, error="forbidden"), decides=False)
    assert (found.mtime_ns.tolist(), found.size.tolist()) == ([1, 2], [10, 20])
    assert found.errors == {4: "odd"}


def test_the_observation_before_is_left_as_it_was() -> None:
    seen = look(1_000, 10)
    with_contents(seen, np.array([True]), np.array([True]), contents(3, 30, ONE))
    assert (seen.mtime_ns[0], seen.size[0], seen.digest) == (1_000, 10, None)


def test_rows_keep_all_columns_together() -> None:
    found = completed(contents(3, 30, ONE, racy=True), decides=True)
    (row,) = (found.rows(np.array([False, True])),)
    assert [column.tolist() for column in row.columns()[:3]] == [[7], [3], [30]]
    assert row.digest is not None
    assert row.digest[0].tobytes() == ONE
    assert len(found.columns()) == 5
    assert len(look(1, 1).columns()) == 3


# ---- looks that are too old ----


def test_a_look_that_is_older_than_the_record_counts_for_nothing() -> None:
    """SEMANTICS 6.5"""
    made = one_file(ONE)
    seen, then = look(1_001, 10, NONE), made.state.files.mtime_ns.copy()
    assert drop_outdated(made.state, seen, 1, then) is seen
    assert len(drop_outdated(made.state, seen, 0, then).files) == 0, "another version"
    Draft(made.state, 1).record(look(1_002, 10, ONE))
    assert made.state.files.version[0] == 1
    assert len(drop_outdated(made.state, seen, 1, then).files) == 0, "the same version at another time"


# ---- changed and changed back ----


def changes(made: Sketch, seen: Observation, history: dict[tuple[int, int], Record]) -> Changes:
    """What was found."""
    return find_changes(made.state, seen, history)


def replaced(digest: bytes) -> Sketch:
    """A job that has run with x before x was replaced by what it is now."""
    made = one_file(digest)
    made.state.files.version[0] = made.state.version_counter = 2
    return made


@pytest.mark.parametrize(
    ("recorded", "seen", "then", "is_stale"),
    [
        (ONE, look(1_000, 10, NONE), ONE, False),
        (ONE, look(1_000, 10, NONE), TWO, True),
        (ONE, look(1_000, 10, ONE), ONE, False),
        (TWO, look(2_000, 10, ONE), ONE, False),
        (TWO, look(2_000, 10, TWO), ONE, True),
        (ONE, look(2_000, 10, NONE), ONE, True),
        (ONE, look(1_000, 10), ONE, True),
        (ONE, look(-1, ABSENT, NONE), ONE, True),
        (ONE, look(1_000, 10, NONE), None, True),
        (NONE, look(1_000, 10, NONE), None, True),
    ],
    ids=[
        "as recorded, not read", "another, not read", "as recorded, read", "back", "another", "moved, not readable",
        "by time", "gone", "digest then unknown", "no digest at all",
    ],
)  # fmt: skip
def test_a_file_that_is_what_the_job_used_makes_it_stale_only_if_nobody_can_tell(
    recorded: bytes, seen: Observation, then: bytes | None, is_stale: bool
) -> None:
    """SEMANTICS 4.7"""
    found = changes(replaced(recorded), seen, {(0, 1): Record(500, 10, then)})
    assert len(found.reasons[0].job) == int(is_stale)


def test_a_file_that_was_never_recorded_when_the_job_ran_is_a_change() -> None:
    """SEMANTICS 4.1"""
    found = changes(replaced(ONE), look(1_000, 10, NONE), {})
    assert found.reasons[0].old_b.tolist() == [NEVER]
    assert found.reasons[0].kind.tolist() == [Kind.INPUT_CHANGED]


def test_what_is_told_of_a_change_is_the_jobs_own_record_and_what_was_seen() -> None:
    """SEMANTICS 4.7"""
    found = changes(replaced(TWO), look(3_000, 30, TWO), {(0, 1): Record(500, 5, ONE)})
    reasons = found.reasons[0]
    assert [column.tolist() for column in (reasons.old_a, reasons.old_b, reasons.new_a, reasons.new_b)] == [
        [500],
        [5],
        [3_000],
        [30],
    ]
