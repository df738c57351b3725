"""Files that may be missing, on states in memory."""

import time

import numpy as np
from builders import PRESENT, Sketch, sketch
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.changes import Kind
from torcd.core.observation import Observation
from torcd.core.purged import find_needed, find_taken, set_aside
from torcd.core.state import ABSENT
from torcd.core.status import Status

S = Status


def mask(size: int, places: list[int]) -> np.ndarray:
    """A mask that is true at some places."""
    made = np.zeros(size, dtype=np.bool_)
    made[places] = True
    return made


def needed(made: Sketch, purged: list[str], runs: list[str]) -> list[tuple[str, str, str]]:
    """(job, file, needed by) of each job that has to make something again."""
    found = find_needed(
        made.state,
        mask(len(made.file), [made.file[name] for name in purged]),
        mask(made.state.count, made.jobs(*runs).tolist()),
    ).reasons
    assert set(found.kind.tolist()) <= {Kind.OUTPUT_NEEDED}
    file = {index: name for name, index in made.file.items()}
    return [
        (*made.names([job]), file[ref], *made.names([by]))
        for job, ref, by in zip(found.job.tolist(), found.ref.tolist(), found.old_a.tolist(), strict=True)
    ]


def chain(count: int, **fields: object) -> Sketch:
    """Completed jobs of which each takes what the one before makes."""
    names = [f"j{number}" for number in range(count)]
    return sketch(
        *names,
        status=S.COMPLETED,
        counter=1,
        inputs={name: [f"f{number}"] for number, name in enumerate(names)},
        outputs={name: [f"f{number + 1}"] for number, name in enumerate(names)},
        **fields,
    )


# ---- what is set aside ----


def test_only_files_with_the_policy_and_a_producer_that_are_absent_are_set_aside() -> None:
    made = sketch(
        "a",
        inputs={"a": ["x"]},
        outputs={"a": ["gone", "there", "kept", "odd"]},
        records=dict.fromkeys(["x", "gone", "there", "kept", "odd"], PRESENT),
        purgeable=["x", "gone", "there", "odd"],
    )
    size = {"x": ABSENT, "gone": ABSENT, "there": 10, "kept": ABSENT, "odd": -2}
    seen = Observation(
        np.array([made.file[name] for name in size]), np.zeros(5, dtype=np.int64), np.array(list(size.values()))
    )
    left, purged = set_aside(made.state, seen)
    assert np.flatnonzero(purged).tolist() == [made.file["gone"]]
    assert left.files.tolist() == [made.file[name] for name in size if name != "gone"]


def test_when_nothing_is_gone_the_observation_is_the_same() -> None:
    made = sketch("a", outputs={"a": ["y"]}, purgeable=["y"])
    seen = Observation(np.array([0]), np.array([1]), np.array([1]))
    left, purged = set_aside(made.state, seen)
    assert left is seen
    assert not purged.any()


# ---- who has to make what again ----


def test_a_job_that_runs_needs_what_it_takes() -> None:
    made = chain(3)
    assert needed(made, ["f1", "f2"], ["j2"]) == [("j1", "f2", "j2"), ("j0", "f1", "j1")]
    assert needed(made, ["f1"], ["j2"]) == []
    assert needed(made, ["f2", "f3"], ["j2"]) == [("j1", "f2", "j2")]
    assert needed(made, ["f1", "f2"], []) == []


def test_a_job_that_makes_two_needed_files_is_named_once() -> None:
    made = sketch("a", "b", status=S.COMPLETED, outputs={"a": ["p", "q"]}, inputs={"b": ["p", "q"]})
    assert needed(made, ["p", "q"], ["b"]) == [("a", "p", "b")]


def test_what_is_downstream_of_a_job_that_makes_a_file_again_needs_its_inputs_too() -> None:
    made = sketch(
        *("a", "b", "c", "d"),
        status=S.COMPLETED,
        outputs={"a": ["p"], "d": ["q"]},
        inputs={"b": ["p"], "c": ["p", "q"]},
    )
    assert needed(made, ["p", "q"], ["b"]) == [("a", "p", "b"), ("d", "q", "c")]


def test_need_stops_at_disabled_jobs_and_at_those_that_have_not_completed() -> None:
    """SEMANTICS 2.5"""
    for status in (S.DISABLED, S.FAILED, S.BLOCKED):
        made = chain(3)
        made.state.jobs.status[made.place["j1"]] = status
        assert needed(made, ["f1", "f2"], ["j2"]) == []


def test_a_job_that_runs_anyway_is_told_too_that_its_file_is_needed_so_that_it_is_not_spared() -> None:
    """SEMANTICS 4.9"""
    made = chain(3)
    assert set(needed(made, ["f1", "f2"], ["j1", "j2"])) == {("j1", "f2", "j2"), ("j0", "f1", "j1")}
    made.state.jobs.status[made.place["j1"]] = S.BLOCKED
    runs = mask(3, [made.place["j1"], made.place["j2"]])
    found = find_needed(made.state, mask(len(made.file), [made.file["f2"]]), runs)
    assert (len(found.reasons.job), made.names(np.flatnonzero(found.makers))) == (0, ["j1"])


def test_the_jobs_that_run_are_extended_by_all_that_follow() -> None:
    made = sketch(
        *("a", "b", "c", "d", "e"),
        status=S.COMPLETED,
        outputs={"a": ["p"], "c": ["q"]},
        inputs={"b": ["p"], "c": ["p"], "d": ["q"]},
    )
    runs = mask(5, [made.place["b"]])
    find_needed(made.state, mask(2, [made.file["p"]]), runs)
    assert set(made.names(np.flatnonzero(runs))) == {"a", "b", "c", "d"}


@given(st.data())
def test_nobody_that_runs_misses_anything_afterwards_and_nobody_runs_without_need(data: st.DataObject) -> None:
    """Compared with a naive reference: repeat until nothing is missing any more."""
    count = data.draw(st.integers(1, 7))
    names = [f"j{number}" for number in range(count)]
    inputs = {
        name: sorted(data.draw(st.sets(st.sampled_from([f"f{other}" for other in range(number)]), max_size=2)))
        for number, name in enumerate(names)
        if number
    }
    status = {name: data.draw(st.sampled_from([S.COMPLETED, S.COMPLETED, S.COMPLETED, S.DISABLED])) for name in names}
    made = sketch(*names, status=status, inputs=inputs, outputs={name: [f"f{n}"] for n, name in enumerate(names)})
    purged = set(data.draw(st.sets(st.sampled_from(sorted(made.file)))))
    enabled = [name for name in names if status[name] != S.DISABLED]
    runs = set(data.draw(st.sets(st.sampled_from(enabled)))) if enabled else set()
    downstream = {
        name: {other for other in names if f"f{number}" in inputs.get(other, ())} for number, name in enumerate(names)
    }

    def close(jobs: set[str]) -> None:
        for name in names:
            if name in jobs:
                jobs |= {other for other in downstream[name] if status[other] != S.DISABLED}

    close(runs)
    found = needed(made, sorted(purged), sorted(runs))
    want: set[str] = set()
    everything = set(runs)
    while True:
        makers = {f"j{file[1:]}" for name in everything for file in inputs.get(name, ()) if file in purged} - everything
        makers = {name for name in makers if status[name] == S.COMPLETED}
        if not makers:
            break
        want |= makers
        everything |= makers
        close(everything)
    makers_found = {job for job, _, _ in found}
    assert len(makers_found) == len(found), "each once"
    closed = runs | makers_found
    close(closed)
    assert closed == everything
    assert makers_found <= want | everything
    for job, file, by in found:
        assert file in purged
        assert file == f"f{job[1:]}"
        assert file in inputs[by]
        assert by in everything


def test_the_files_that_jobs_take() -> None:
    made = chain(3)
    taken = find_taken(made.state, mask(3, [made.place["j1"]]))
    assert np.flatnonzero(taken).tolist() == [made.file["f1"]]


def test_a_chain_of_100_000_purged_files_is_linear() -> None:
    count = 100_000
    made = chain(count)
    purged, runs = made.state.files.producer >= 0, mask(count, [made.place[f"j{count - 1}"]])
    began = time.perf_counter()
    found = find_needed(made.state, purged, runs).reasons
    assert time.perf_counter() - began < 5
    assert len(found.job) == count - 1
    assert runs.all()
