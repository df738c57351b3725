"""Jobs by their keys: ids, and names in a workflow."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from builders import chained, insert, new_workflow, open_memory

from torcd.protocol.errors import BadRequest, NotFound
from torcd.storage.job_keys import find_jobs


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """Workflow 1 has jobs a and b (1 and 2), workflow 2 has b and "it's" (3 and 4)."""
    with closing(open_memory()) as connection:
        insert(connection, new_workflow(chained("a>b")))
        insert(connection, new_workflow(chained("b>it's")))
        yield connection


def test_ids_come_first_then_names_in_their_order(db: sqlite3.Connection) -> None:
    assert find_jobs(db, None, [2, 1], ["b", "a", "b"]) == (1, [2, 1, 2, 1, 2])
    assert find_jobs(db, 2, [], ["it's", "b"]) == (2, [4, 3])
    assert find_jobs(db, None, [3], []) == (2, [3])
    assert find_jobs(db, 1, [], []) == (1, [])


@pytest.mark.parametrize(
    ("workflow_id", "ids", "names", "text"),
    [
        (None, [1, 9, 8], [], "there is no job 9, 8"),
        (None, [3], ["a"], "workflow 2 has no job named 'a'"),
        (1, [], ["x", "b", "y"], "workflow 1 has no job named 'x', 'y'"),
        (None, [1, 3], [], "job 3 is in workflow 2, not in workflow 1"),
        (2, [3, 1], [], "job 1 is in workflow 1, not in workflow 2"),
        (None, list(range(100, 130)), [], "119 and 10 more"),
    ],
)
def test_one_that_is_not_there_refuses_all(
    db: sqlite3.Connection, workflow_id: int | None, ids: list[int], names: list[str], text: str
) -> None:
    """SEMANTICS §5 (jobs reset-status): an unknown id, or ids of two workflows"""
    with pytest.raises(NotFound) as refused:
        find_jobs(db, workflow_id, ids, names)
    assert text in refused.value.message
    assert refused.value.data["noun"] == "job"
    assert refused.value.data["id"] == refused.value.data["ids"][0]


def test_names_alone_belong_to_no_workflow(db: sqlite3.Connection) -> None:
    with pytest.raises(BadRequest, match="workflow_id"):
        find_jobs(db, None, [], ["a"])
