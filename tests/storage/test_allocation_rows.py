"""Rows of allocations: what their lists cost in a long campaign."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from builders import open_memory

from torcd.storage import allocations as rows
from torcd.storage.allocations import ALLOCATIONS
from torcd.storage.lists import load_page


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(open_memory()) as opened:
        yield opened


@pytest.mark.parametrize(
    "ask",
    [
        lambda db: load_page(db, ALLOCATIONS, (1,), (), 0, 100),
        lambda db: rows.load_allocations(db, [1, 2]),
        lambda db: rows.find_with_workers(db, [1, 2]),
        lambda db: rows.load_open(db),
        lambda db: rows.load_open(db, 1),
        lambda db: rows.load_named(db, ["torc_1_1_00000000"]),
        lambda db: rows.find_scheduled(db, 1, "key"),
        lambda db: rows.load_ended(db, 1),
    ],
)
def test_no_question_about_allocations_reads_a_whole_table(
    db: sqlite3.Connection, ask: Callable[[sqlite3.Connection], object]
) -> None:
    """A campaign leaves thousands of allocations behind, and ten thousands of workers."""
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    ask(db)
    db.set_trace_callback(None)
    (sql,) = asked
    steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert steps
    assert [step for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE" not in step] == []
    assert not any("worker_by_workflow" in step for step in steps)  # which holds those of all its allocations
