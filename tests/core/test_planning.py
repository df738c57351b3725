"""The plan of every operation, on states in memory."""

import errno
from typing import Any

import numpy as np
import pytest
from builders import GONE, PRESENT, Sketch, sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from torcd.core.changes import Kind
from torcd.core.observation import Observation
from torcd.core.plan import Plan
from torcd.core.planning import Known, files_to_observe, make_plan, needs_scan
from torcd.core.selection import Selection
from torcd.core.state import ABSENT, UNKNOWN
from torcd.core.status import Status, StatusReason
from torcd.files.observation import describe_error
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.requests import Initialize, Operation, Prepare, Reinit, ResetJobs, ResetStatus, Restart

S, R = Status, StatusReason
RERUNS = [Reinit, Restart]


def plan(made: Sketch, kind: type[Operation], seen: dict[str, Any] | None = None, **parameters: Any) -> Plan:
    """A plan; files that are not in `seen` are as recorded (present, if never recorded)."""
    named = parameters.pop("named", None)
    if kind is ResetJobs and named is not None:
        parameters["jobs"] = made.state.jobs.ids.ids[made.jobs(*named)].tolist()
    request = kind(workflow_id=1, **parameters)
    files = files_to_observe(made.state, request, Selection())
    mtime_ns, size = made.state.files.mtime_ns[files], made.state.files.size[files]
    mtime_ns[size < ABSENT], size[size < ABSENT] = 1, 1
    errors = {}
    for name, what in (seen or {}).items():
        for place in np.flatnonzero(files == made.file[name]).tolist():
            if isinstance(what, int):
                size[place], errors[made.file[name]] = UNKNOWN, describe_error(what)
            else:
                mtime_ns[place], size[place] = what
    return make_plan(made.state, request, Known(seen=Observation(files, mtime_ns, size, errors)))


def moves(made: Sketch, planned: Plan) -> dict[str, Status]:
    """What each changed job becomes, in the order of the plan."""
    return {name: Status(int(after)) for name, after in zip(made.names(planned.jobs), planned.after, strict=True)}


def kinds(made: Sketch, planned: Plan, name: str) -> list[Kind]:
    """The kinds of the reasons of one job."""
    reasons = planned.reasons
    return [Kind(int(kind)) for kind in reasons.kind[reasons.job == made.place[name]]]


ABSENT_NOW = (-1, ABSENT)
CHANGED = (7, 7)


# ---- initialize ----


def test_initialize_makes_jobs_ready_or_blocked_records_files_and_counts_the_run() -> None:
    """SEMANTICS §5"""
    made = sketch("a>b", run_id=0, inputs={"a": ["x"]}, outputs={"a": ["y"]})
    planned = plan(made, Initialize, {"y": ABSENT_NOW})
    assert moves(made, planned) == {"a": S.READY, "b": S.BLOCKED}
    assert planned.run_id == 1
    assert planned.records.files.tolist() == [made.file["y"], made.file["x"]]
    assert planned.clears_cancel
    assert planned.count == 2


def test_initialize_resets_all_jobs_but_disabled_ones() -> None:
    """SEMANTICS §5, 2.5"""
    made = sketch("a>b>c", "d", status={"a": S.FAILED, "b": S.DISABLED, "c": S.TERMINATED, "d": S.CANCELED})
    assert moves(made, plan(made, Initialize)) == {"a": S.READY, "d": S.READY, "c": S.READY}


def test_initialize_is_refused_with_a_completed_job_naming_the_other_ways() -> None:
    """SEMANTICS §5"""
    made = sketch("a", "b", status={"a": S.COMPLETED})
    with pytest.raises(Refused, match=r"1 job that completed.*workflows reinit.*workflows reset-status.*--force") as no:
        plan(made, Initialize)
    assert no.value.code == 422
    assert moves(made, plan(made, Initialize, force=True)) == {"a": S.READY, "b": S.READY}


@pytest.mark.parametrize("kind", [Initialize, Reinit, Restart])
def test_missing_user_inputs_refuse_and_force_warns(kind: type[Operation]) -> None:
    """SEMANTICS §5"""
    made = sketch("a", "b", inputs={"a": ["x"], "b": ["made"]}, outputs={"a": ["made"]}, run_id=1)
    with pytest.raises(Refused, match=r"/submitted/x.*Nothing was changed.*--force") as no:
        plan(made, kind, {"x": ABSENT_NOW, "made": ABSENT_NOW})
    assert no.value.data["paths"] == ["/submitted/x"]
    planned = plan(made, kind, {"x": ABSENT_NOW}, force=True)
    assert "/submitted/x" in planned.warnings[0]
    assert moves(made, planned) == {"a": S.READY, "b": S.BLOCKED}


@pytest.mark.parametrize("kind", [Initialize, Reinit, Restart])
def test_user_data_without_value_and_producer_refuses_and_force_warns(kind: type[Operation]) -> None:
    """SEMANTICS §5"""
    made = sketch("a", reads={"a": ["u", "made", "null"]}, values={"null": [(0, None)]})
    made.state.values.producer[made.value["made"]] = made.place["a"]
    with pytest.raises(Refused, match="no value: u\\.") as no:
        plan(made, kind)
    assert no.value.data["user_data"] == ["u"]
    assert "u" in plan(made, kind, force=True).warnings[0]


def test_files_of_disabled_jobs_alone_are_not_missed_and_those_a_disabled_job_made_are() -> None:
    """SEMANTICS 2.5"""
    made = sketch("off", "on", status={"off": S.DISABLED}, inputs={"off": ["x"], "on": ["y"]}, outputs={"off": ["y"]})
    with pytest.raises(Refused) as no:
        plan(made, Reinit, {"x": ABSENT_NOW, "y": ABSENT_NOW})
    assert no.value.data["paths"] == ["/submitted/y"]
    assert plan(made, Reinit, {"x": ABSENT_NOW}).warnings == ()


def test_a_missing_script_never_refuses() -> None:
    """SEMANTICS 4.5: it is a change"""
    made = sketch("a", status=S.COMPLETED, counter=1, inputs={"a": ["s"]}, scripts=["s"], records={"s": PRESENT})
    planned = plan(made, Reinit, {"s": ABSENT_NOW})
    assert kinds(made, planned, "a") == [Kind.INPUT_MISSING]


# ---- unknown files ----


@pytest.mark.parametrize("kind", [Initialize, Prepare, Reinit, Restart])
def test_unknown_files_refuse_naming_path_and_error(kind: type[Operation]) -> None:
    """SEMANTICS 4.8"""
    made = sketch("a", run_id=0, inputs={"a": ["x", "y"]}, records={"x": PRESENT})
    with pytest.raises(Refused, match=r"/submitted/x \(Permission denied \(EACCES\)\).*/submitted/y \(.*ESTALE") as no:
        plan(made, kind, {"x": errno.EACCES, "y": errno.ESTALE})
    assert no.value.data["paths"] == ["/submitted/x", "/submitted/y"]


@pytest.mark.parametrize("kind", RERUNS)
def test_with_force_unknown_files_count_as_unchanged_with_a_warning(kind: type[Operation]) -> None:
    """SEMANTICS 4.8"""
    made = sketch(
        "a", status=S.COMPLETED, counter=1, inputs={"a": ["x"]}, outputs={"a": ["y"]},
        records={"x": PRESENT, "y": PRESENT},
    )  # fmt: skip
    planned = plan(made, kind, {"x": errno.EIO, "y": errno.EIO}, force=True)
    assert moves(made, planned) == {}
    assert not len(planned.records.files)
    assert "/submitted/x" in planned.warnings[0]
    assert "counted as unchanged" in planned.warnings[0]


# ---- reinit ----


def test_reinit_runs_again_what_changed_and_all_that_is_downstream() -> None:
    """SEMANTICS §5, 4.6"""
    made = sketch(
        "a>b>c", "a>d", "e", status=S.COMPLETED, counter=1, inputs={"b": ["x"], "e": ["y"]},
        records={"x": PRESENT, "y": PRESENT},
    )  # fmt: skip
    planned = plan(made, Reinit, {"x": CHANGED})
    assert moves(made, planned) == {"b": S.READY, "c": S.BLOCKED}
    assert (planned.count, planned.run_id, planned.cause) == (2, 2, "due to changed inputs")
    assert planned.spared == 3
    assert planned.clears_cancel
    assert planned.records.files.tolist() == [made.file["x"]]


def test_a_reinit_that_finds_nothing_changes_no_job() -> None:
    """SEMANTICS §5"""
    made = sketch("a>b", status=S.COMPLETED, counter=1, inputs={"a": ["x"]}, records={"x": PRESENT})
    planned = plan(made, Reinit)
    assert (moves(made, planned), planned.count, planned.run_id) == ({}, 0, 2)


def test_reinit_does_not_retry_failed_jobs_whose_inputs_are_unchanged() -> None:
    """SEMANTICS §5"""
    made = sketch(
        "a>b", "c", status={"a": S.FAILED, "b": S.CANCELED, "c": S.TERMINATED}, reason={"b": R.UPSTREAM_FAILED},
        counter={"a": 1, "c": 1}, inputs={"a": ["x"], "c": ["y"]}, records={"x": PRESENT, "y": PRESENT},
    )  # fmt: skip
    assert moves(made, plan(made, Reinit)) == {}
    assert moves(made, plan(made, Reinit, {"x": CHANGED})) == {"a": S.READY, "b": S.BLOCKED}


def test_reinit_evaluates_uninitialized_jobs_without_counting_them() -> None:
    """SEMANTICS §5: they are not in "Reset N jobs" """
    made = sketch(
        "a>b", "c>d", status={"a": S.COMPLETED, "b": S.UNINITIALIZED, "c": S.COMPLETED, "d": S.COMPLETED},
        counter={"a": 1, "c": 1, "d": 1}, inputs={"c": ["x"]}, records={"x": PRESENT},
    )  # fmt: skip
    planned = plan(made, Reinit, {"x": CHANGED})
    assert moves(made, planned) == {"c": S.READY, "b": S.READY, "d": S.BLOCKED}
    assert planned.count == 2
    made.state.jobs.status[made.place["d"]] = S.UNINITIALIZED
    planned = plan(made, Reinit, {"x": CHANGED})
    assert moves(made, planned) == {"c": S.READY, "b": S.READY, "d": S.BLOCKED}
    assert planned.count == 1, "not even below a stale job"


def test_each_stale_job_is_listed_once_with_all_its_reasons_in_topological_order() -> None:
    """SEMANTICS 4.6"""
    made = sketch(
        "a>b>c", "x>c", status=S.COMPLETED, counter=1, inputs={"a": ["f"], "b": ["f", "g"]}, outputs={"c": ["h"]},
        records=dict.fromkeys("fgh", PRESENT),
    )  # fmt: skip
    planned = plan(made, Reinit, {"f": CHANGED, "g": CHANGED, "h": ABSENT_NOW})
    assert made.names(planned.jobs) == ["a", "b", "c"]
    assert kinds(made, planned, "a") == [Kind.INPUT_CHANGED]
    assert kinds(made, planned, "b") == [Kind.INPUT_CHANGED, Kind.INPUT_CHANGED, Kind.UPSTREAM_STALE]
    assert kinds(made, planned, "c") == [Kind.OUTPUT_MISSING, Kind.UPSTREAM_STALE]
    assert made.names([planned.reasons.ref[-1], planned.reasons.old_a[-1]]) == ["a", "b"]


def test_staleness_stops_at_disabled_jobs() -> None:
    """SEMANTICS 2.5"""
    made = sketch(
        "a>off>c", status={"a": S.COMPLETED, "off": S.DISABLED, "c": S.COMPLETED}, counter=1, inputs={"a": ["x"]},
        records={"x": PRESENT},
    )  # fmt: skip
    assert moves(made, plan(made, Reinit, {"x": CHANGED})) == {"a": S.READY}


def test_what_stays_canceled_is_not_listed() -> None:
    """SEMANTICS 5.4: listed are jobs whose status would change"""
    made = sketch(
        "a>c", status={"a": S.FAILED, "c": S.CANCELED}, reason={"c": R.UPSTREAM_FAILED}, counter=1,
        inputs={"c": ["x"]}, records={"x": PRESENT},
    )  # fmt: skip
    planned = plan(made, Reinit, {"x": CHANGED})
    assert (moves(made, planned), planned.count, len(planned.reasons.job)) == ({}, 0, 0)


# ---- restart ----


def test_restart_evaluates_everything_that_neither_completed_nor_failed() -> None:
    """SEMANTICS §5"""
    chains = ["done", "failed", "off", "terminated", "by_user", "fresh", "ready", "up>blocked"]
    made = sketch(
        *chains,
        status={
            "done": S.COMPLETED, "failed": S.FAILED, "off": S.DISABLED, "terminated": S.TERMINATED,
            "by_user": S.CANCELED, "ready": S.READY, "up": S.READY, "blocked": S.BLOCKED,
        },
        reason={"by_user": R.BY_USER},
    )  # fmt: skip
    planned = plan(made, Restart)
    assert moves(made, planned) == dict.fromkeys(["terminated", "by_user", "fresh"], S.READY)
    assert {kind for name in moves(made, planned) for kind in kinds(made, planned, name)} == {Kind.NOT_COMPLETED}
    assert planned.run_id == 2
    assert planned.clears_cancel


def test_restart_detects_changes_too() -> None:
    """SEMANTICS §5"""
    made = sketch("a>b", "c", status=S.COMPLETED, counter=1, inputs={"a": ["x"]}, records={"x": PRESENT})
    planned = plan(made, Restart, {"x": CHANGED})
    assert moves(made, planned) == {"a": S.READY, "b": S.BLOCKED}
    assert kinds(made, planned, "a") == [Kind.INPUT_CHANGED]


def test_a_job_canceled_by_a_failure_stays_so_while_the_failure_stands() -> None:
    """SEMANTICS §5"""
    made = sketch(
        "a>b>c", "t>c", status={"a": S.FAILED, "b": S.CANCELED, "t": S.TERMINATED, "c": S.CANCELED},
        reason={"b": R.UPSTREAM_FAILED, "c": R.UPSTREAM_FAILED},
    )  # fmt: skip
    assert moves(made, plan(made, Restart)) == {"t": S.READY, "c": S.BLOCKED}


def test_what_completed_below_a_job_that_stays_canceled_is_not_run_again() -> None:
    """SEMANTICS §1, §5: a job that cannot run makes nothing stale; else every restart would run the others again"""
    made = sketch(
        "a>b>c", "t>u>v",
        status={"a": S.FAILED, "b": S.CANCELED, "c": S.COMPLETED, "t": S.TERMINATED, "u": S.CANCELED, "v": S.COMPLETED},
        reason={"b": R.UPSTREAM_FAILED, "u": R.UPSTREAM_FAILED}, never_cancels=["c", "v"],
    )  # fmt: skip
    assert moves(made, plan(made, Restart)) == {"t": S.READY, "u": S.BLOCKED, "v": S.BLOCKED}
    made.state.jobs.reason[made.place["b"]] = R.BY_USER
    assert moves(made, plan(made, Restart)) == {
        "t": S.READY, "b": S.CANCELED, "u": S.BLOCKED, "v": S.BLOCKED,
    }  # fmt: skip
    assert moves(made, plan(made, ResetJobs, named=["b"], reinitialize=True)) == {"b": S.CANCELED, "c": S.READY}


def test_restart_of_what_was_canceled_by_the_user_below_a_failure_gives_the_cause() -> None:
    """SEMANTICS §2, 2.4"""
    made = sketch("a>b", status={"a": S.FAILED, "b": S.CANCELED}, reason={"b": R.BY_USER})
    planned = plan(made, Restart)
    assert moves(made, planned) == {"b": S.CANCELED}
    assert planned.after_reason.tolist() == [R.UPSTREAM_FAILED]


def test_restart_only_uninitialized_touches_nothing_else() -> None:
    """SEMANTICS §5"""
    made = sketch(
        "a>b", "c", "d", "r", status={"a": S.COMPLETED, "c": S.FAILED, "d": S.TERMINATED, "r": S.RUNNING},
        counter=1, inputs={"a": ["x"]}, records={"x": PRESENT},
    )  # fmt: skip
    planned = plan(made, Restart, {"x": CHANGED}, only_uninitialized=True)
    assert moves(made, planned) == {"b": S.READY}
    assert planned.run_id == 1
    assert not len(planned.records.files), "nothing is compared"
    assert not len(planned.stopped)


# ---- prepare ----


def test_prepare_initializes_a_workflow_that_never_was() -> None:
    """SEMANTICS 5.1"""
    made = sketch("a>b", run_id=0, inputs={"a": ["x"]})
    with pytest.raises(Refused):
        plan(made, Prepare, {"x": ABSENT_NOW})
    planned = plan(made, Prepare)
    assert (moves(made, planned), planned.run_id) == ({"a": S.READY, "b": S.BLOCKED}, 1)


def test_prepare_evaluates_uninitialized_jobs_and_accepts_their_changed_inputs() -> None:
    """SEMANTICS 5.1"""
    made = sketch(
        "a", "b", status={"a": S.UNINITIALIZED, "b": S.COMPLETED}, counter=1, inputs={"a": ["x"], "b": ["x", "y"]},
        records={"x": PRESENT, "y": PRESENT},
    )  # fmt: skip
    planned = plan(made, Prepare, {"x": CHANGED, "y": CHANGED})
    assert moves(made, planned) == {"a": S.READY}
    assert planned.records.files.tolist() == [made.file["x"]], "only inputs of the jobs that it makes ready or blocked"
    assert planned.run_id == 1
    assert planned.clears_cancel, "a reset followed by a run just works, after a cancel too"


def test_prepare_of_a_workflow_with_nothing_to_evaluate_does_nothing() -> None:
    """SEMANTICS 5.1"""
    made = sketch("a", "b", status={"a": S.COMPLETED, "b": S.FAILED}, inputs={"a": ["x"]})
    planned = plan(made, Prepare)
    assert (moves(made, planned), len(planned.records.files)) == ({}, 0)


# ---- resets ----


def test_reset_status_makes_all_jobs_but_disabled_ones_uninitialized() -> None:
    """SEMANTICS §5"""
    made = sketch("a>b>c", "d", status={"a": S.COMPLETED, "b": S.FAILED, "c": S.CANCELED, "d": S.DISABLED})
    planned = plan(made, ResetStatus)
    assert moves(made, planned) == dict.fromkeys("abc", S.UNINITIALIZED)
    assert {kind for name in "abc" for kind in kinds(made, planned, name)} == {Kind.REQUESTED, Kind.UPSTREAM_STALE}
    assert planned.run_id == 1
    assert not planned.clears_cancel


def test_reset_status_failed_only_takes_failures_and_their_closure() -> None:
    """SEMANTICS §5: failed, terminated and canceled(upstream_failed)"""
    made = sketch(
        "f>g", "t", "c", "u>v", "ok",
        status={
            "f": S.FAILED, "g": S.COMPLETED, "t": S.TERMINATED, "c": S.CANCELED, "u": S.CANCELED, "v": S.BLOCKED,
            "ok": S.COMPLETED,
        },
        reason={"c": R.BY_USER, "u": R.UPSTREAM_FAILED},
    )  # fmt: skip
    assert moves(made, plan(made, ResetStatus, failed_only=True)) == dict.fromkeys("ftugv", S.UNINITIALIZED)


def test_reset_status_reinitialize_goes_on_as_reinit() -> None:
    """SEMANTICS §5"""
    made = sketch(
        "f>g", "a", status={"f": S.FAILED, "g": S.CANCELED, "a": S.COMPLETED}, reason={"g": R.UPSTREAM_FAILED},
        counter={"f": 1, "a": 1}, inputs={"a": ["x"]}, records={"x": PRESENT},
    )  # fmt: skip
    planned = plan(made, ResetStatus, {"x": CHANGED}, failed_only=True, reinitialize=True)
    assert moves(made, planned) == {"f": S.READY, "a": S.READY, "g": S.BLOCKED}
    assert planned.run_id == 2
    assert planned.clears_cancel


def test_resetting_named_jobs_takes_their_closure() -> None:
    """SEMANTICS §5"""
    made = sketch("a>b>c", "d", status=S.COMPLETED)
    planned = plan(made, ResetJobs, named=["b"])
    assert moves(made, planned) == {"b": S.UNINITIALIZED, "c": S.UNINITIALIZED}
    assert kinds(made, planned, "b") == [Kind.REQUESTED]
    assert kinds(made, planned, "c") == [Kind.UPSTREAM_STALE]


def test_resetting_no_job_at_all_is_an_empty_plan() -> None:
    """SEMANTICS §5: an empty shell expansion"""
    made = sketch("a", status=S.COMPLETED)
    planned = plan(made, ResetJobs)
    assert (moves(made, planned), planned.count) == ({}, 0)


def test_a_named_disabled_job_stays_disabled() -> None:
    """SEMANTICS 2.5"""
    made = sketch("a>b", status={"a": S.DISABLED, "b": S.COMPLETED})
    assert moves(made, plan(made, ResetJobs, named=["a"])) == {}


# ---- live jobs ----

BREAKING = [
    (Initialize, {}),
    (Reinit, {}),
    (ResetStatus, {}),
    (ResetStatus, {"failed_only": True}),
    (ResetJobs, {"named": ["b"]}),
]


@pytest.mark.parametrize(("kind", "parameters"), BREAKING)
@pytest.mark.parametrize("live", [S.PENDING, S.RUNNING])
def test_what_would_change_a_live_job_is_refused_naming_it(
    kind: type[Operation], parameters: dict[str, Any], live: Status
) -> None:
    """SEMANTICS 5.2"""
    made = sketch(
        "a>b", status={"a": S.FAILED, "b": live}, counter={"a": 1}, never_cancels=["b"], inputs={"a": ["x"]},
        records={"x": PRESENT},
    )  # fmt: skip
    with pytest.raises(Conflict, match=f"102 \\({live.name.lower()}\\).*--stop-live") as no:
        plan(made, kind, {"x": CHANGED}, **parameters, force=True)
    assert no.value.data["jobs"] == [102]
    assert "--stop-live" in no.value.data["options"]
    planned = plan(made, kind, {"x": CHANGED}, **parameters, stop_live=True)
    assert made.names(planned.stopped) == ["b"]
    assert "b" in moves(made, planned)


@pytest.mark.parametrize("kind", [Reinit, Restart, ResetJobs])
def test_live_jobs_that_are_not_affected_stand_in_nobodys_way(kind: type[Operation]) -> None:
    """SEMANTICS 5.2"""
    made = sketch(
        "a", "live", status={"a": S.COMPLETED, "live": S.RUNNING}, counter=1, inputs={"a": ["x"], "live": ["x"]},
        records={"x": PRESENT},
    )  # fmt: skip
    planned = plan(made, kind, {"x": CHANGED}, named=["a"])
    assert list(moves(made, planned)) == ["a"]
    assert not len(planned.stopped)


def test_a_stopped_job_is_listed_even_when_it_is_as_before() -> None:
    """SEMANTICS 5.2, 5.4"""
    made = sketch("a", status=S.PENDING)
    planned = plan(made, ResetStatus, stop_live=True, reinitialize=True)
    assert moves(made, planned) == {"a": S.READY}


# ---- what holds for all ----

ALL = [
    (Initialize, {"force": True}), (Prepare, {}), (Reinit, {}), (Restart, {}), (Restart, {"only_uninitialized": True}),
    (ResetStatus, {}), (ResetStatus, {"failed_only": True}), (ResetStatus, {"reinitialize": True}), (ResetJobs, {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "parameters"), ALL)
def test_archived_workflows_refuse_operations(kind: type[Operation], parameters: dict[str, Any]) -> None:
    """SEMANTICS 5.5"""
    made = sketch("a")
    made.state.is_archived = True
    with pytest.raises(Refused, match="unarchive"):
        plan(made, kind, **parameters)


@st.composite
def states(draw: st.DrawFn) -> Sketch:
    count = draw(st.integers(1, 7))
    names = [f"j{number}" for number in range(count)]
    pairs = [(a, b) for b in range(count) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=10)) if pairs else []
    files = [f"f{number}" for number in range(draw(st.integers(0, 3)))]
    return sketch(
        *names,
        *(f"{names[a]}>{names[b]}" for a, b in chosen),
        status={name: draw(st.sampled_from(S)) for name in names},
        counter={name: draw(st.integers(-1, 5)) for name in names},
        version_counter=5,
        inputs={name: sorted(draw(st.sets(st.sampled_from(files)))) for name in names if files},
        records={name: draw(st.sampled_from([PRESENT, GONE, (9, 9, 4)])) for name in files},
        never_cancels=draw(st.sets(st.sampled_from(names))),
    )


@pytest.mark.parametrize(("kind", "parameters"), ALL)
@settings(max_examples=60)
@given(made=states(), data=st.data())
def test_every_plan_is_sound(
    kind: type[Operation], parameters: dict[str, Any], made: Sketch, data: st.DataObject
) -> None:
    """SEMANTICS 2.5, 4.6, 5.2, 5.4"""
    seen = {name: data.draw(st.sampled_from([ABSENT_NOW, CHANGED, PRESENT[:2]])) for name in made.file}
    before = made.state.jobs.status.copy()
    named = sorted(data.draw(st.sets(st.sampled_from(sorted(made.place))))) if kind is ResetJobs else []
    planned = plan(made, kind, seen, **{**parameters, "force": True, "stop_live": True, "named": named})
    assert made.state.jobs.status.tolist() == before.tolist(), "planning changes nothing"
    jobs = planned.jobs.tolist()
    assert jobs == sorted(set(jobs)), "each job once, in topological order"
    assert planned.before.tolist() == before[jobs].tolist()
    assert set(planned.reasons.job.tolist()) <= set(jobs)
    assert planned.reasons.job.tolist() == sorted(planned.reasons.job.tolist())
    assert S.DISABLED not in planned.before.tolist()
    stopped = set(planned.stopped.tolist())
    assert stopped == {job for job in jobs if before[job] in (S.PENDING, S.RUNNING)}
    after = before.copy()
    after[jobs] = planned.after
    final = {job for job in jobs if planned.after[jobs.index(job)] in (S.READY, S.BLOCKED, S.CANCELED)}
    for job in final:
        upstream = [Status(int(after[up])) for up in made.state.graph.upstream.row(job)]
        open_ones = [each for each in upstream if each <= S.RUNNING]
        bad = [each for each in upstream if each in (S.FAILED, S.CANCELED, S.TERMINATED)]
        cancels = bool(made.state.jobs.cancel_on_failure[job])
        expected = S.BLOCKED if open_ones else S.CANCELED if bad and cancels else S.READY
        assert after[job] == expected
    if kind in (Initialize, Reinit) or parameters.get("reinitialize"):
        assert S.UNINITIALIZED not in after.tolist()


def test_what_each_operation_looks_at() -> None:
    """SEMANTICS 4.1, 5.1"""
    made = sketch("a", "b", status={"b": S.COMPLETED}, inputs={"a": ["x"], "b": ["y"]}, outputs={"b": ["z"]})

    def observed(kind: type[Operation], **parameters: Any) -> set[str]:
        request = kind(workflow_id=1, **parameters)
        places = set(files_to_observe(made.state, request, Selection()).tolist())
        assert needs_scan(request, made.state.run_id) == (len(places) == 3)
        return {name for name, index in made.file.items() if index in places}

    assert observed(Reinit) == observed(Restart) == observed(Initialize) == {"x", "y", "z"}
    assert observed(ResetStatus, reinitialize=True) == observed(ResetJobs, reinitialize=True) == {"x", "y", "z"}
    assert observed(Prepare) == observed(Restart, only_uninitialized=True) == {"x"}
    assert observed(ResetStatus) == observed(ResetJobs) == set()
    made.state.run_id = 0
    assert observed(Prepare) == {"x", "y", "z"}
