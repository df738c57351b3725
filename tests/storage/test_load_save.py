"""Creating a workflow, loading its state, writing deltas: what comes back is what went in."""

import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from builders import DIRECTORY, chained, insert, job, new_workflow, open_memory
from hypothesis import given
from hypothesis import strategies as st
from workbench import Workbench, assert_same_state

from torcd.core.delta import Delta, JobEdit, Move
from torcd.core.fingerprint import read_definition
from torcd.core.state import NEVER, Ids, has_digest
from torcd.core.status import Status
from torcd.protocol.errors import NotFound
from torcd.protocol.requests import Initialize, Reinit, ResetJobs, ResetStatus
from torcd.protocol.specification import ResourceRequirementsSpec, UserDataSpec
from torcd.storage import load as load_module
from torcd.storage import save as save_module
from torcd.storage.create import DELETED_TABLES, delete_workflow, find_created
from torcd.storage.load import load_state
from torcd.storage.save import keys_of, save_delta


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = open_memory()
    yield connection
    connection.close()


RICH = new_workflow(
    [
        job("late", input_files=["made", "given"], input_user_data=["score"], priority=-3),
        job("early", output_files=["made"], output_user_data=["score"], input_user_data=["epochs"],
            resource_requirements="big", cancel_on_blocking_job_failure=False),
        job("last", depends_on=["late"]),
    ],
    ["unused"],
    [UserDataSpec(name="epochs", data={"n": 1}), UserDataSpec(name="score"), UserDataSpec(name="null", data=None)],
    scripts=[("late", "tool.py"), ("last", "tool.py")],
    resource_requirements=[ResourceRequirementsSpec(name="big", num_cpus=3, memory="2m", num_gpus=1, runtime="PT5M")],
    jobs_sort_method="gpus_runtime_memory",
)  # fmt: skip


def test_a_new_workflow_loads_as_it_was_described(db: sqlite3.Connection) -> None:
    """SEMANTICS §2, 3.6, 4.5"""
    insert(db, new_workflow(chained("x>y")))  # so that no id is an index
    workflow_id = insert(db, RICH)
    state = load_state(db, workflow_id)
    names = dict(db.execute("SELECT id, name FROM job"))
    assert [names[job_id] for job_id in state.jobs.ids.ids.tolist()] == ["early", "late", "last"]
    assert state.jobs.status.tolist() == [Status.UNINITIALIZED] * 3
    assert state.jobs.priority.tolist() == [0, -3, 0]
    assert state.jobs.cancel_on_failure.tolist() == [False, True, True]
    assert state.jobs.requirement.tolist() == [0, -1, -1]
    assert state.jobs.counter.tolist() == [-1, -1, -1]
    assert [(need.name, need.num_cpus, need.memory_bytes, need.runtime_s) for need in state.requirements] == [
        ("big", 3, 2 * 2**20, 300.0)
    ]
    assert state.graph.downstream.row(0).tolist() == [1]
    assert state.graph.upstream.row(2).tolist() == [1]
    paths = [state.files.path(index).decode() for index in range(len(state.files.size))]
    assert paths == [f"{DIRECTORY}/{name}" for name in ("unused", "made", "given", "tool.py")]
    assert state.files.is_script.tolist() == [False, False, False, True]
    assert state.files.producer.tolist() == [-1, 0, -1, -1]
    assert [state.files.inputs.row(place).tolist() for place in range(3)] == [[], [1, 2, 3], [3]]
    assert set(state.files.size.tolist()) == {NEVER}
    assert state.values.names == ["epochs", "score", "null"]
    assert [len(history) for history in state.values.history] == [1, 0, 1]
    assert state.values.producer.tolist() == [-1, 0, -1]
    assert sorted(state.values.inputs) == [(0, 0), (1, 1)]
    assert state.values.outputs_of == {0: [1]}
    assert (state.run_id, state.version_counter, state.event_seq, state.sort_method) == (0, 0, 1, "gpus_runtime_memory")
    assert not state.is_canceled


def test_large_tables_are_loaded_in_ranges(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(db, new_workflow(chained("x>y")))
    workflow_id = insert(db, RICH)
    insert(db, new_workflow(chained("z")))
    whole = load_state(db, workflow_id)
    monkeypatch.setattr(load_module, "STEP", 2)
    assert_same_state(load_state(db, workflow_id), whole)


def test_rows_that_lie_scattered_among_those_of_others_are_all_loaded(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates add jobs and files whose ids are above those of workflows that were created meanwhile."""
    workflow_id = insert(db, RICH)
    whole = load_state(db, workflow_id)
    scatter(db, workflow_id)
    for gap in (0, 3, 1_000):
        monkeypatch.setattr(load_module, "GAP", gap)
        state = load_state(db, workflow_id)
        assert state.jobs.ids.ids.tolist() == [2001, 1001, 3001]
        assert state.files.ids.ids.tolist() == [1001, 2001, 3001, 4001]
        for index in range(4):
            assert state.files.path(index) == whole.files.path(index)
        assert state.files.is_script.tolist() == whole.files.is_script.tolist()
        assert state.files.inputs.items.tolist() == whole.files.inputs.items.tolist()
        assert state.jobs.priority.tolist() == whole.jobs.priority.tolist()
        assert state.jobs.length.tolist() == whole.jobs.length.tolist()


def scatter(db: sqlite3.Connection, workflow_id: int) -> None:
    """Gives the jobs and files of the first workflow ids far apart, with those of another one between them."""
    columns = {"job_id": ["job_state", "job_dependency", "job_input", "job_output", "job_user_data"]}
    columns |= {"id": ["job", "file"], "upstream_id": ["job_dependency"], "file_id": ["job_input", "job_output"]}
    with db:
        for column, tables in columns.items():
            for table in tables:
                db.execute(f"UPDATE {table} SET {column} = {column} * 1000 + 1 WHERE workflow_id = ?", (workflow_id,))
        others = [(each, str(each)) for each in range(1500, 1600)]
        db.executemany("INSERT INTO job VALUES (?, 77, ?, 'x', NULL, '{}', NULL, NULL, 0, 1, 0, x'', 0, NULL)", others)
        db.executemany("INSERT INTO file VALUES (?, 77, ?, '/x', 0, 0)", others)


def test_any_number_of_later_ids_is_found() -> None:
    later = np.arange(10**6, 10**6 + 2_000, 2)
    ids = np.random.default_rng(1).permutation(np.concatenate((np.arange(5, 105), later)))
    known = Ids(ids)
    assert known.find(ids).tolist() == list(range(len(ids)))
    assert [known.find_one(each) for each in ids.tolist()] == list(range(len(ids)))
    for unknown in (-1, 0, 4, 105, 10**6 - 1, 10**6 + 1, 10**6 + 2_000, 2**40):
        assert known.find_one(unknown) == -1
        assert known.find(np.array([5, unknown])).tolist() == [known.find_one(5), -1]
    assert Ids(np.empty(0, dtype=np.int64)).find_one(1) == -1


def test_ids_of_workflows_do_not_mix(db: sqlite3.Connection) -> None:
    """SEMANTICS: job and file ids are unique in the database"""
    first = insert(db, RICH)
    second = insert(db, RICH)
    one, other = load_state(db, first), load_state(db, second)
    assert not set(one.jobs.ids.ids.tolist()) & set(other.jobs.ids.ids.tolist())
    assert not set(one.files.ids.ids.tolist()) & set(other.files.ids.ids.tolist())
    assert other.files.inputs.items.tolist() == one.files.inputs.items.tolist()


def test_a_workflow_without_jobs_loads(db: sqlite3.Connection) -> None:
    state = load_state(db, insert(db, new_workflow([])))
    assert (state.count, state.is_complete) == (0, True)


def test_there_is_no_workflow_but_those_created(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound, match="no workflow 7"):
        load_state(db, 7)


def test_a_creation_is_found_by_its_request_key(db: sqlite3.Connection) -> None:
    """SEMANTICS 6.4"""
    workflow_id = insert(db, new_workflow(chained("a"), request_key="key"))
    assert find_created(db, "key") == workflow_id
    assert find_created(db, "other") is None
    assert find_created(db, None) is None
    with pytest.raises(sqlite3.IntegrityError):
        insert(db, new_workflow(chained("a"), request_key="key"))
    assert db.execute("SELECT count(*) FROM job").fetchone() == (1,), "all or nothing"


def test_a_deleted_workflow_leaves_no_row_and_its_ids_are_not_used_again(db: sqlite3.Connection) -> None:
    kept = insert(db, RICH)
    workflow_id = insert(db, RICH)
    last = db.execute("SELECT max(id) FROM job").fetchone()
    with db:
        delete_workflow(db, workflow_id)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        if "workflow_id" in columns:
            assert db.execute(f"SELECT count(*) FROM {table} WHERE workflow_id = ?", (workflow_id,)).fetchone() == (0,)
    assert set(DELETED_TABLES) <= set(tables)
    assert load_state(db, kept).count == 3
    third = insert(db, RICH)
    assert third > workflow_id
    assert load_state(db, third).jobs.ids.ids.min() > last[0]


@given(st.sets(st.integers(0, 59), min_size=1), st.booleans())
def test_jobs_are_moved_whether_their_ids_are_ranges_or_scattered(chosen: set[int], listed: bool) -> None:
    """Two ways to write the same."""
    db = open_memory()
    try:
        workflow_id = insert(db, new_workflow(chained(*(f"j{number}" for number in range(60)))))
        insert(db, new_workflow(chained("other")))
        state = load_state(db, workflow_id)
        move = Move(jobs=np.array(sorted(chosen), dtype=np.int64), status=Status.READY, reason=3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(save_module, "DENSE", 100 if listed else 1)
            with db:
                save_delta(db, keys_of(state), Delta(changes=[move]))
        moved = db.execute("SELECT job_id FROM job_state WHERE status = 2 AND reason = 3 ORDER BY job_id").fetchall()
        assert [row[0] for row in moved] == state.jobs.ids.ids[sorted(chosen)].tolist()
    finally:
        db.close()


def test_an_edit_without_columns_and_definition_writes_nothing(db: sqlite3.Connection) -> None:
    workflow_id = insert(db, RICH)
    state = load_state(db, workflow_id)
    before = list(db.iterdump())
    edit = JobEdit(job=0, columns={}, before=None, definition=None, digest=b"", version=0)
    save_delta(db, keys_of(state), Delta(changes=[edit]))
    assert list(db.iterdump()) == before


def test_a_replaced_record_goes_to_the_history_and_a_first_absence_does_not() -> None:
    """SEMANTICS 4.7"""
    bench = Workbench(new_workflow([job("a", input_files=["x"], output_files=["y"])]))
    try:
        bench.disk.write("x")
        bench.operate(Initialize)
        bench.run_all()
        assert bench.rows("SELECT count(*) FROM file_history") == [(0,)], "y was never there before"
        bench.disk.delete("y")
        bench.operate(Reinit)
        bench.run_all()
        found = bench.rows("SELECT size FROM file_history WHERE file_id = ? ORDER BY version", bench.id("y", "file"))
        assert found == [(10,), (-1,)]
    finally:
        bench.close()


def test_definitions_are_loaded_of_jobs_that_have_not_run_with_their_latest_one() -> None:
    """SEMANTICS 4.2: the others are what they ran with, and a large workflow's would fill the memory."""
    bench = Workbench(new_workflow([job("a"), job("b")]))
    try:
        bench.edit("b", command="before it ran")
        bench.operate(Initialize)
        bench.run_all()
        bench.edit("a", command="after it ran")
        loaded = load_state(bench.db, bench.workflow_id).definitions
        assert {
            index: [read_definition(each).command for _, each in versions] for index, versions in loaded.items()
        } == {bench.index("a"): ["run a", "after it ran"]}
        bench.operate(Reinit)
        bench.run_all()
        bench.state = load_state(bench.db, bench.workflow_id)
        assert bench.state.definitions == {}
        bench.edit("a", command="again")
        assert [each[1] for each in bench.rows("SELECT job_id, definition FROM job_definition WHERE job_id = 1")] == [
            '{"command":"run a"}', '{"command":"after it ran"}', '{"command":"again"}'
        ]  # fmt: skip
        assert bench.reasons(bench.preview(Reinit))["a"][0]["old"] == "after it ran"
    finally:
        bench.close()


@pytest.mark.parametrize("step", [1, 2, 3, 1_000])
def test_digests_marks_and_policies_are_those_of_their_files_and_jobs(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """SEMANTICS 4.9: however many ranges of ids there are"""
    monkeypatch.setattr(load_module, "STEP", step)
    jobs = [job(f"j{number}", input_files=["x"], output_files=[f"f{number}"]) for number in range(5)]
    bench = Workbench(new_workflow([*jobs, job("after", input_files=["f0"])], purgeable=["f1", "f4"], detect="content"))
    try:
        bench.disk.write("x")
        bench.operate(Initialize)
        bench.run_all()
        bench.disk.make_special("f2")
        bench.disk.write("f3")
        bench.operate(Reinit)
        bench.operate(ResetJobs, jobs=[bench.id("j0")])
        bench.check()
        state = load_state(bench.db, bench.workflow_id)
        files = {state.files.path(index).decode().rpartition("/")[2]: index for index in range(len(state.files.size))}
        assert {name for name, index in files.items() if state.files.may_be_missing[index]} == {"f1", "f4"}
        assert {name for name, index in files.items() if has_digest(state.files.digest)[index]} == set(files) - {"f2"}
        assert np.flatnonzero(state.jobs.may_return).tolist() == [bench.index("after")]
    finally:
        bench.close()


def test_what_an_undo_needs_goes_with_its_workflow() -> None:
    bench = Workbench(new_workflow(chained("a")))
    try:
        bench.operate(Initialize)
        bench.operate(ResetStatus)
        assert bench.rows("SELECT count(*) FROM task_undo") == [(1,)]
        delete_workflow(bench.db, bench.workflow_id)
        assert bench.rows("SELECT count(*) FROM task_undo") == [(0,)]
    finally:
        bench.close()
