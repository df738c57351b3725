"""Databases and stored plans of earlier versions: whatever was persisted must load for ever."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from builders import insert, linked, new_workflow
from workbench import Workbench, assert_same_state

from torcd.core.undo import unpack_before
from torcd.protocol.requests import Initialize, Reinit, Undo
from torcd.storage.load import load_state
from torcd.storage.migrate import load_migrations, migrate


@pytest.fixture
def bench() -> Iterator[Workbench]:
    """A workflow that has run, told by time."""
    made = Workbench(new_workflow(linked("a", "b")))
    made.disk.write("x")
    made.operate(Initialize)
    made.run_all()
    yield made
    made.close()


def as_version_1(bench: Workbench, path: Path) -> sqlite3.Connection:
    """The same workflow in a database of the first schema."""
    old = sqlite3.connect(path, isolation_level=None)
    migrate(old, path, load_migrations()[:1])
    old.execute("PRAGMA foreign_keys = OFF")
    for (table,) in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        there = {row[1] for row in bench.rows(f"PRAGMA table_info({table})")}
        columns = [row[1] for row in old.execute(f"PRAGMA table_info({table})") if row[1] in there]
        rows = bench.rows(f"SELECT {', '.join(columns)} FROM {table}")
        values = ", ".join("?" * len(columns))
        old.executemany(f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({values})", rows)
    return old


def test_a_database_from_before_contents_were_compared_loads_with_nothing_known_of_them(
    bench: Workbench, tmp_path: Path
) -> None:
    with closing(as_version_1(bench, tmp_path / "torc.db")) as old:
        migrate(old, tmp_path / "torc.db")
        state = load_state(old, bench.workflow_id)
        assert_same_state(state, bench.state)
        assert not state.files.digest["high"].any()
        assert not state.jobs.may_return.any()
        insert(old, new_workflow(linked("c")))
        assert old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_workflow_from_before_goes_on_with_contents_and_undo(bench: Workbench, tmp_path: Path) -> None:
    """SEMANTICS 4.9, 5.6"""
    with closing(as_version_1(bench, tmp_path / "torc.db")) as old:
        migrate(old, tmp_path / "torc.db")
        bench.db.close()
        bench.db, bench.state = old, load_state(old, bench.workflow_id)
        assert bench.operate(Reinit, detect="content").summary.listed == 0
        bench.disk.touch("x")
        assert bench.operate(Reinit, detect="content").summary.listed == 0
        bench.disk.write("x")
        assert bench.operate(Reinit, detect="content").summary.listed == 2
        bench.operate(Undo)
        assert set(bench.status().values()) == {"completed"}


WITHOUT_BELOW = bytes.fromhex(
    "de0012a46a6f627384a5636f756e7402a36c6f7701a5776964746801a464617461c4020001a673746174757384a5636f756e7402a36c6f"
    "7705a5776964746800a464617461c400a6726561736f6e84a5636f756e7402a36c6f7700a5776964746800a464617461c400aa6d61795f"
    "72657475726e84a5636f756e7402a36c6f7700a5776964746800a464617461c400a7636f756e74657284a5636f756e7402a36c6f7701a5"
    "776964746801a464617461c4020001a7617474656d707484a5636f756e7402a36c6f7701a5776964746800a464617461c400a6776f726b"
    "657284a5636f756e7402a36c6f7701a5776964746800a464617461c400a566696c657384a5636f756e7401a36c6f7702a5776964746800"
    "a464617461c400a86d74696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36394240a5776964746800a464617461c400a473697a"
    "6584a5636f756e7401a36c6f770aa5776964746800a464617461c400a6646967657374c41000000000000000000000000000000000a769"
    "735f7261637984a5636f756e7401a36c6f7700a5776964746800a464617461c400a776657273696f6e84a5636f756e7401a36c6f7701a5"
    "776964746800a464617461c400a5676976656e84a5636f756e7401a36c6f7704a5776964746800a464617461c400ae676976656e5f6d74"
    "696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36670900a5776964746800a464617461c400a676616c75657390ab69735f6361"
    "6e63656c6564c2a773746f7070656400"
)
"""What a reinit of a>b replaced when x was another file: it can be taken back after an upgrade.

Of jobs downstream of what was settled it has nothing.
"""

WITHOUT_RETRIES = bytes.fromhex(
    "de0014a46a6f627384a5636f756e7402a36c6f7701a5776964746801a464617461c4020001a673746174757384a5636f756e7402a36c6f"
    "7705a5776964746800a464617461c400a6726561736f6e84a5636f756e7402a36c6f7700a5776964746800a464617461c400aa6d61795f"
    "72657475726e84a5636f756e7402a36c6f7700a5776964746800a464617461c400a7636f756e74657284a5636f756e7402a36c6f7701a5"
    "776964746801a464617461c4020001a7617474656d707484a5636f756e7402a36c6f7701a5776964746800a464617461c400a6776f726b"
    "657284a5636f756e7402a36c6f7701a5776964746800a464617461c400a566696c657384a5636f756e7401a36c6f7702a5776964746800"
    "a464617461c400a86d74696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36394240a5776964746800a464617461c400a473697a"
    "6584a5636f756e7401a36c6f770aa5776964746800a464617461c400a6646967657374c41000000000000000000000000000000000a769"
    "735f7261637984a5636f756e7401a36c6f7700a5776964746800a464617461c400a776657273696f6e84a5636f756e7401a36c6f7701a5"
    "776964746800a464617461c400a5676976656e84a5636f756e7401a36c6f7704a5776964746800a464617461c400ae676976656e5f6d74"
    "696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36670900a5776964746800a464617461c400a676616c75657390ab69735f6361"
    "6e63656c6564c2a773746f7070656400a562656c6f7784a5636f756e7400a36c6f7700a5776964746800a464617461c400ad62656c6f77"
    "5f617474656d707484a5636f756e7400a36c6f7700a5776964746800a464617461c400"
)
"""The same, from before jobs were retried and actions armed."""

WITHOUT_ADJUSTMENTS = bytes.fromhex(
    "de0016a46a6f627384a5636f756e7402a36c6f7701a5776964746801a464617461c4020001a673746174757384a5636f756e7402a36c6f"
    "7705a5776964746800a464617461c400a6726561736f6e84a5636f756e7402a36c6f7700a5776964746800a464617461c400aa6d61795f"
    "72657475726e84a5636f756e7402a36c6f7700a5776964746800a464617461c400a7636f756e74657284a5636f756e7402a36c6f7701a5"
    "776964746801a464617461c4020001a7617474656d707484a5636f756e7402a36c6f7701a5776964746800a464617461c400a6776f726b"
    "657284a5636f756e7402a36c6f7701a5776964746800a464617461c400a566696c657384a5636f756e7401a36c6f7702a5776964746800"
    "a464617461c400a86d74696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36394240a5776964746800a464617461c400a473697a"
    "6584a5636f756e7401a36c6f770aa5776964746800a464617461c400a6646967657374c41000000000000000000000000000000000a769"
    "735f7261637984a5636f756e7401a36c6f7700a5776964746800a464617461c400a776657273696f6e84a5636f756e7401a36c6f7701a5"
    "776964746800a464617461c400a5676976656e84a5636f756e7401a36c6f7704a5776964746800a464617461c400ae676976656e5f6d74"
    "696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36670900a5776964746800a464617461c400a676616c75657390ab69735f6361"
    "6e63656c6564c2a773746f7070656400a562656c6f7784a5636f756e7400a36c6f7700a5776964746800a464617461c400ad62656c6f77"
    "5f617474656d707484a5636f756e7400a36c6f7700a5776964746800a464617461c400a561726d656490a77265747269657384a5636f75"
    "6e7402a36c6f7700a5776964746800a464617461c400"
)
"""The same, from before a recovery adjusted requirements."""

GOLDEN = bytes.fromhex(
    "de0018a46a6f627384a5636f756e7402a36c6f7701a5776964746801a464617461c4020001a673746174757384a5636f756e7402a36c6f"
    "7705a5776964746800a464617461c400a6726561736f6e84a5636f756e7402a36c6f7700a5776964746800a464617461c400aa6d61795f"
    "72657475726e84a5636f756e7402a36c6f7700a5776964746800a464617461c400a7636f756e74657284a5636f756e7402a36c6f7701a5"
    "776964746801a464617461c4020001a7617474656d707484a5636f756e7402a36c6f7701a5776964746800a464617461c400a6776f726b"
    "657284a5636f756e7402a36c6f7701a5776964746800a464617461c400a566696c657384a5636f756e7401a36c6f7702a5776964746800"
    "a464617461c400a86d74696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36394240a5776964746800a464617461c400a473697a"
    "6584a5636f756e7401a36c6f770aa5776964746800a464617461c400a6646967657374c41000000000000000000000000000000000a769"
    "735f7261637984a5636f756e7401a36c6f7700a5776964746800a464617461c400a776657273696f6e84a5636f756e7401a36c6f7701a5"
    "776964746800a464617461c400a5676976656e84a5636f756e7401a36c6f7704a5776964746800a464617461c400ae676976656e5f6d74"
    "696d655f6e7384a5636f756e7401a36c6f77cf17979cfe36670900a5776964746800a464617461c400a676616c75657390ab69735f6361"
    "6e63656c6564c2a773746f7070656400a562656c6f7784a5636f756e7400a36c6f7700a5776964746800a464617461c400ad62656c6f77"
    "5f617474656d707484a5636f756e7400a36c6f7700a5776964746800a464617461c400a561726d656490a77265747269657384a5636f75"
    "6e7402a36c6f7700a5776964746800a464617461c400a861646a757374656490a5616464656490"
)
"""The same, as this version packs it."""


@pytest.mark.parametrize(
    "packed",
    [WITHOUT_BELOW, WITHOUT_RETRIES, WITHOUT_ADJUSTMENTS, GOLDEN],
    ids=["without below", "without retries", "without adjustments", "present"],
)
def test_what_an_operation_of_any_version_replaced_can_be_unpacked_for_ever(packed: bytes) -> None:
    """SEMANTICS 5.6"""
    before = unpack_before(packed)
    assert before.jobs.values().tolist() == [1, 2]
    assert before.status.values().tolist() == [5, 5]
    assert before.counter.values().tolist() == [1, 2]
    assert before.files.values().tolist() == [2]
    assert (before.version.values().tolist(), before.given.values().tolist()) == ([1], [4])
    assert (before.values, before.is_canceled, before.stopped) == ([], False, 0)
    assert len(before.digest) == 16
    assert before.below.values().tolist() == before.below_attempt.values().tolist() == []


def test_the_golden_sample_is_what_this_version_packs(bench: Workbench) -> None:
    """A change of the format needs another sample beside it."""
    bench.disk.write("x")
    bench.operate(Reinit)
    ((packed,),) = bench.rows("SELECT before FROM task_undo")
    assert packed == GOLDEN
