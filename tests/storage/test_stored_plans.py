"""Stored plans: packing, digests, pages, and the exact shape of every kind of reason."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from builders import DIRECTORY, chained, job, new_workflow, sketch
from hypothesis import given
from hypothesis import strategies as st
from workbench import Workbench, as_json

from torcd.core.changes import Kind
from torcd.core.columns import pack_column
from torcd.core.observation import Observation
from torcd.core.plan import find_other, pack_plan, summarize, unpack_plan
from torcd.core.planning import Known, make_plan
from torcd.core.status import Status, StatusReason
from torcd.protocol.requests import AcceptJobs, Initialize, Reinit, ResetStatus, Restart, Undo
from torcd.protocol.specification import UserDataSpec
from torcd.storage.plans import show_page, show_summary
from torcd.storage.tasks import load_plan


@pytest.fixture
def bench() -> Iterator[Workbench]:
    made = Workbench(
        new_workflow(
            [
                job("a", input_files=["x", "gone"], output_files=["y"], input_user_data=["u"]),
                job("b", input_files=["y"]),
                job("c", input_files=["x"]),
            ],
            (),
            [UserDataSpec(name="u", data=1)],
        )
    )
    made.disk.write("x", "gone")
    made.operate(Initialize)
    made.run_all(failing=["c"])
    yield made
    made.close()


KEYS = {
    "input_changed": {"kind", "file", "path", "stored", "observed"},
    "input_missing": {"kind", "file", "path", "stored"},
    "output_missing": {"kind", "file", "path"},
    "definition_changed": {"kind", "field", "old", "new"},
    "user_data_changed": {"kind", "name", "old", "new"},
    "upstream_stale": {"kind", "root", "root_id", "via"},
    "not_completed": {"kind", "status", "status_reason"},
    "requested": {"kind"},
    "accepted": {"kind", "reason", "by"},
    "upstream_settled": {"kind", "upstream", "upstream_id"},
    "undone": {"kind", "task_id"},
}
"""INTERFACE §3"""


def test_every_kind_of_reason_has_exactly_the_keys_of_the_interface(bench: Workbench) -> None:
    """INTERFACE §3"""
    bench.disk.touch("x")
    bench.disk.delete("gone", "y")
    bench.edit("a", command="new")
    bench.set_value("u", 2)
    shown = bench.show(bench.preview(Reinit, force=True))
    shown += bench.show(bench.preview(ResetStatus))
    bench.cancel()
    bench.operate(ResetStatus)
    shown += bench.show(bench.preview(Restart, force=True))
    bench.disk.write("gone", "y")
    bench.operate(Restart)
    shown += bench.show(bench.preview(AcceptJobs, jobs=[bench.id("a")], reason="made by hand"))
    shown += bench.show(bench.preview(Undo))
    reasons = [reason for each in shown for reason in each.reasons]
    assert (
        {reason["kind"] for reason in reasons} == set(KEYS) == {kind.name.lower() for kind in Kind} - {"output_needed"}
    )
    for reason in reasons:
        assert set(reason) == KEYS[reason["kind"]]
        if reason["kind"] == "input_changed":
            assert set(reason["observed"]) == {"mtime_ns", "size"}
            assert reason["stored"] is None or set(reason["stored"]) == {"mtime_ns", "size"}


def test_a_purged_output_that_is_needed_names_who_needs_it() -> None:
    """INTERFACE §3"""
    bench = Workbench(new_workflow([job("a", output_files=["y"]), job("b", input_files=["y"])], purgeable=["y"]))
    try:
        bench.operate(Initialize)
        bench.run_all()
        bench.disk.delete("y")
        bench.edit("b", command="new")
        reasons = bench.reasons(bench.preview(Reinit))
        assert set(reasons) == {"a", "b"}
        (reason,) = reasons["a"]
        assert (reason["kind"], reason["file"], reason["needed_by"]) == ("output_missing", "y", "b")
    finally:
        bench.close()


def test_a_planned_job_has_the_fields_of_the_interface(bench: Workbench) -> None:
    """INTERFACE §3"""
    bench.disk.touch("x")
    planned = bench.preview(Reinit)
    shown = as_json(show_summary(planned.summary, bench.show(planned), dry_run=True))
    assert set(shown) >= {"workflow_id", "operation", "dry_run", "count", "plan_digest", "run_id", "jobs", "warnings"}
    assert [(each["name"], each["from"], each["to"]) for each in shown["jobs"]] == [
        ("a", "completed", "ready"),
        ("c", "failed", "ready"),
        ("b", "completed", "blocked"),
    ]
    assert set(shown["jobs"][0]) == {"id", "name", "from", "from_reason", "to", "to_reason", "reasons"}


def test_a_plan_is_shown_page_by_page_without_loss(bench: Workbench) -> None:
    bench.disk.touch("x")
    plan = unpack_plan(bench.preview(Reinit).packed)
    whole, end = show_page(bench.db, plan, 0, 100)
    assert end is None
    for limit in (1, 2, 3):
        found, cursor = [], 0
        while True:
            page, following = show_page(bench.db, plan, cursor, limit)
            found += page
            if following is None:
                break
            assert following == cursor + limit
            cursor = following
        assert as_json(found) == as_json(whole)
    assert show_page(bench.db, plan, 99, 10) == ([], None)


def test_a_long_plan_finds_the_reasons_of_each_page() -> None:
    names = [f"j{number:03d}" for number in range(120)]
    bench = Workbench(new_workflow(chained(">".join(names))))
    try:
        bench.operate(Initialize)
        bench.run_all()
        bench.edit("j000", command="new")
        plan = unpack_plan(bench.preview(Reinit).packed)
        page, following = show_page(bench.db, plan, 50, 3)
        assert [(each.name, each.reasons[0]["via"]) for each in page] == [
            ("j050", "j049"), ("j051", "j050"), ("j052", "j051")
        ]  # fmt: skip
        assert following == 53
    finally:
        bench.close()


def test_a_stored_plan_is_the_planned_one(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    bench.disk.touch("x")
    planned = bench.operate(Reinit)
    (task,) = bench.rows("SELECT max(id) FROM task")[0]
    summary, packed = load_plan(bench.db, task)
    assert (summary, packed) == (planned.summary, planned.packed)


def test_a_packed_plan_holds_ids_and_survives_packing() -> None:
    made = sketch(
        "a>b", status=Status.COMPLETED, counter=1, inputs={"a": ["x"]}, reads={"a": ["u"]},
        values={"u": [(0, 1), (3, 2)]}, records={"x": (1, 1, 1)},
    )  # fmt: skip
    seen = Observation(np.array([0]), np.array([2]), np.array([2]))
    plan = make_plan(made.state, Reinit(workflow_id=1), Known(seen=seen))
    packed = pack_plan(plan, made.state)
    unpacked = unpack_plan(packed)
    assert (unpacked.jobs.tolist(), unpacked.starts.tolist()) == ([101, 102], [0, 2, 3])
    columns = {name: column.tolist() for name, column in unpacked.reasons.items()}
    assert columns["job"] == [101, 101, 102]
    assert columns["kind"] == [Kind.INPUT_CHANGED, Kind.USER_DATA_CHANGED, Kind.UPSTREAM_STALE]
    assert columns["ref"] == [501, 901, 101]
    assert [columns[name] for name in ("old_a", "old_b", "new_a", "new_b")] == [
        [1, 0, 101], [1, 0, 0], [2, 3, 0], [2, 0, 0]
    ]  # fmt: skip
    assert pack_plan(plan, made.state) == packed
    summary = summarize(plan, made.state)
    assert (summary.count, summary.listed, summary.run_id, summary.operation) == (2, 2, 2, "reinit")
    assert len(summary.plan_digest) == 64


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_a_packed_column_is_what_was_packed(values: list[int]) -> None:
    assert pack_column(np.array(values, dtype=np.int64)).values().tolist() == values


@pytest.mark.parametrize(("values", "size"), [([7] * 9, 0), ([300, 555], 1), ([0, 256], 2), ([5, 2**40], 8)])
def test_a_column_takes_as_many_bytes_as_its_range_needs(values: list[int], size: int) -> None:
    assert len(pack_column(np.array(values, dtype=np.int64)).data) == size * len(values)


def test_an_empty_plan_is_packed_and_shown() -> None:
    bench = Workbench(new_workflow([]))
    try:
        planned = bench.preview(Initialize)
        assert bench.show(planned) == []
        assert planned.summary.count == 0
    finally:
        bench.close()


def test_paths_of_files_are_shown_in_full(bench: Workbench) -> None:
    bench.disk.touch("x")
    (reason,) = bench.reasons(bench.preview(Reinit))["c"]
    assert reason["path"] == f"{DIRECTORY}/x"


def test_how_the_others_were_is_kept_with_their_status_reasons_which_older_plans_do_not_have() -> None:
    """SEMANTICS 5.8, 2.4"""
    made = sketch(
        "f>c", "u", "d", status={"f": Status.FAILED, "c": Status.CANCELED, "u": Status.TERMINATED},
        reason={"c": StatusReason.UPSTREAM_FAILED, "u": StatusReason.WALLTIME},
    )  # fmt: skip
    ids = {name: int(made.state.jobs.ids.ids[place]) for name, place in made.place.items()}
    packed = pack_plan(make_plan(made.state, Reinit(workflow_id=1), Known()), made.state)
    plan = unpack_plan(packed)
    assert find_other(plan, ids["f"]) == (Status.FAILED, StatusReason.NONE, False)
    assert find_other(plan, ids["c"]) == (Status.CANCELED, StatusReason.UPSTREAM_FAILED, True)
    assert find_other(plan, ids["u"]) == (Status.TERMINATED, StatusReason.WALLTIME, False)
    assert find_other(plan, ids["d"]) is find_other(plan, 999) is None
    fields = {name: value for name, value in msgspec.msgpack.decode(packed).items() if name != "why_others"}
    older = unpack_plan(msgspec.msgpack.encode(fields))
    assert find_other(older, ids["c"]) == (Status.CANCELED, StatusReason.NONE, False)


def test_a_move_and_what_did_not_complete_are_shown_with_their_status_reasons() -> None:
    """SEMANTICS 2.4: of older plans they are not known."""
    made = Workbench(new_workflow([*chained("f>c"), job("u")]))
    made.operate(Initialize)
    made.claim()
    made.report(started=[made.attempt("u")], returned=[made.attempt("f")])
    made.lose()
    made.operate(AcceptJobs, jobs=[made.id("f")], reason="r")
    made.cancel()
    planned = made.preview(Restart)
    moves = {
        each.name: (each.from_, each.from_reason, each.to, each.to_reason, each.reasons) for each in made.show(planned)
    }
    lost = {"kind": "not_completed", "status": "terminated", "status_reason": "worker_lost"}
    stopped = {"kind": "not_completed", "status": "canceled", "status_reason": "by_user"}
    assert moves == {
        "u": ("terminated", "worker_lost", "ready", None, [lost]),
        "c": ("canceled", "by_user", "ready", None, [stopped]),
    }
    accepted = made.show(made.preview(AcceptJobs, jobs=[made.id("c")], reason="r"))[0]
    assert (accepted.to, accepted.to_reason) == ("completed", "accepted")
    fields = msgspec.msgpack.decode(planned.packed)
    del fields["before_reason"], fields["after_reason"]
    older, _ = show_page(made.db, unpack_plan(msgspec.msgpack.encode(fields)), 0, 10)
    assert [(each.from_reason, each.to_reason) for each in older] == [(None, None)] * 2
    made.close()
