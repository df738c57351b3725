"""Which steps a database gets, and which databases are left alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from torcd.protocol.errors import Refused, Unavailable
from torcd.storage.load import load_state
from torcd.storage.migrate import APPLICATION_ID, Migration, load_migrations, migrate

FIRST = Migration(version=1, name="first", sql="CREATE TABLE one (x INTEGER) STRICT; -- the end")
SECOND = Migration(version=2, name="second", sql="CREATE TABLE two (x); INSERT INTO two VALUES (2)")
BROKEN = Migration(version=2, name="broken", sql="CREATE TABLE two (x); CREATE TABLE one (x)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "torc.db"


@pytest.fixture
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def number(sql: sqlite3.Connection, pragma: str) -> int:
    return sql.execute(f"PRAGMA {pragma}").fetchone()[0]


def tables(sql: sqlite3.Connection) -> list[str]:
    return [name for (name,) in sql.execute("SELECT name FROM sqlite_schema ORDER BY name")]


def test_a_new_database_gets_all_steps_and_our_mark(sql: sqlite3.Connection, path: Path) -> None:
    migrate(sql, path, [FIRST, SECOND])
    assert tables(sql) == ["one", "two"]
    assert number(sql, "user_version") == 2
    assert number(sql, "application_id") == APPLICATION_ID
    assert number(sql, "foreign_keys") == 1


def test_an_older_database_gets_only_the_steps_it_lacks(sql: sqlite3.Connection, path: Path) -> None:
    migrate(sql, path, [FIRST])
    sql.execute("INSERT INTO one VALUES (7)")
    migrate(sql, path, [FIRST, SECOND])
    assert sql.execute("SELECT x FROM one").fetchall() == [(7,)]
    assert tables(sql) == ["one", "two"]


def test_a_current_database_is_not_written(sql: sqlite3.Connection, path: Path) -> None:
    migrate(sql, path, [FIRST, SECOND])
    before = path.read_bytes()
    migrate(sql, path, [FIRST, SECOND])
    assert path.read_bytes() == before


def test_a_step_that_fails_leaves_the_database_as_it_was(sql: sqlite3.Connection, path: Path) -> None:
    """Also of the steps before it nothing is left: the torcd that it belongs to can still read it."""
    with pytest.raises(Refused, match=r"from schema version 0 to 2: table one already exists\. It was left as it is"):
        migrate(sql, path, [FIRST, BROKEN])
    assert tables(sql) == []
    assert number(sql, "user_version") == number(sql, "application_id") == 0
    migrate(sql, path, [FIRST, SECOND])
    assert number(sql, "user_version") == 2


def test_a_step_for_which_there_is_no_room_says_so(sql: sqlite3.Connection, path: Path) -> None:
    sql.execute("PRAGMA max_page_count = 3")
    many = Migration(version=2, name="many", sql="CREATE TABLE two AS SELECT zeroblob(100000) AS x")
    with pytest.raises(Unavailable, match="the disk is full; nothing was changed"):
        migrate(sql, path, [FIRST, many])
    assert tables(sql) == []


def test_statements_are_told_apart_whatever_is_in_them(sql: sqlite3.Connection, path: Path) -> None:
    script = """
        -- one; two
        CREATE TABLE one (x TEXT DEFAULT ';'); /* three; */ CREATE TABLE two (y);
        CREATE TRIGGER three AFTER INSERT ON one BEGIN INSERT INTO two VALUES (new.x); DELETE FROM one; END;
        INSERT INTO one DEFAULT VALUES -- the end; no more
    """
    migrate(sql, path, [Migration(version=1, name="odd", sql=script)])
    assert sql.execute("SELECT y FROM two").fetchall() == [(";",)]


def test_a_crash_between_two_steps_leaves_none(path: Path) -> None:
    steps = [FIRST, SECOND]
    crashing = sqlite3.connect(path, isolation_level=None)
    crashing.set_authorizer(
        lambda action, name, *_: (
            sqlite3.SQLITE_DENY if (action, name) == (sqlite3.SQLITE_CREATE_TABLE, "two") else sqlite3.SQLITE_OK
        )
    )
    with pytest.raises(Refused, match="not authorized"):
        migrate(crashing, path, steps)
    crashing.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        assert (tables(sql), number(sql, "user_version")) == ([], 0)
        migrate(sql, path, steps)
        assert (tables(sql), number(sql, "user_version")) == (["one", "two"], 2)


def test_a_step_that_commits_is_a_bug(sql: sqlite3.Connection, path: Path) -> None:
    with pytest.raises(RuntimeError, match="migration 0001_commits ends the transaction"):
        migrate(sql, path, [Migration(version=1, name="commits", sql="CREATE TABLE one (x); COMMIT")])
    assert number(sql, "user_version") == 0


def test_a_step_that_leaves_orphans_is_undone(sql: sqlite3.Connection, path: Path) -> None:
    orphans = """
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (parent_id REFERENCES parent (id));
        INSERT INTO child VALUES (1);
    """
    with pytest.raises(RuntimeError, match="row of child without its parent in parent"):
        migrate(sql, path, [Migration(version=1, name="orphans", sql=orphans)])
    assert tables(sql) == []


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(sql: sqlite3.Connection, path: Path) -> None:
    make = Migration(
        version=1,
        name="make",
        sql="""
            CREATE TABLE parent (id INTEGER PRIMARY KEY);
            CREATE TABLE child (parent_id REFERENCES parent (id) ON DELETE CASCADE);
            INSERT INTO parent VALUES (1);
            INSERT INTO child VALUES (1);
        """,
    )
    rebuild = Migration(
        version=2,
        name="rebuild",
        sql="""
            CREATE TABLE wider (id INTEGER PRIMARY KEY, note TEXT);
            INSERT INTO wider SELECT id, '' FROM parent;
            DROP TABLE parent;
            ALTER TABLE wider RENAME TO parent;
        """,
    )
    migrate(sql, path, [make, rebuild])
    assert sql.execute("SELECT * FROM child").fetchall() == [(1,)]


def test_a_newer_database_is_refused_and_not_changed(sql: sqlite3.Connection, path: Path) -> None:
    migrate(sql, path, [FIRST, SECOND])
    before = path.read_bytes()
    with pytest.raises(Refused, match=r"version 2, this torcd knows up to 1.*Upgrade torcd") as caught:
        migrate(sql, path, [FIRST])
    assert caught.value.data == {"database": str(path), "version": 2, "known": 1}
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]
)
def test_a_foreign_database_is_refused_and_not_changed(sql: sqlite3.Connection, path: Path, statement: str) -> None:
    sql.execute(statement)
    before = path.read_bytes()
    with pytest.raises(Refused, match="another program"):
        migrate(sql, path, [FIRST])
    assert path.read_bytes() == before


def test_steps_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "0002_later.sql").write_text("SELECT 2")
    (tmp_path / "0001_initial.sql").write_text("SELECT 1")
    (tmp_path / "__init__.py").touch()
    assert load_migrations(tmp_path) == [
        Migration(version=1, name="initial", sql="SELECT 1"),
        Migration(version=2, name="later", sql="SELECT 2"),
    ]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0002_second.sql"], "must be numbered 1, 2, 3"),
        (["0001_a.sql", "0001_b.sql"], "must be numbered 1, 2, 3"),
        (["0001-initial.sql"], "must look like"),
    ],
)
def test_wrongly_numbered_steps_are_a_bug(tmp_path: Path, names: list[str], complaint: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=complaint):
        load_migrations(tmp_path)


def test_the_packages_own_steps_apply(sql: sqlite3.Connection, path: Path) -> None:
    migrate(sql, path)
    assert number(sql, "user_version") == len(load_migrations())
    assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_workflow_of_the_first_schema_is_loaded_by_this_version(sql: sqlite3.Connection, path: Path) -> None:
    """Jobs and files lay in one range of ids then, but for scripts that an edit had added."""
    migrate(sql, path, load_migrations()[:1])
    sql.executescript("""
        INSERT INTO workflow (name, user, submission_directory, header, sort_method, detect, first_job, last_job,
            first_file, last_file, created_at_ms) VALUES ('old', 'me', '/d', '{"name":"old"}', 'none', 'mtime', 4, 5,
            7, 8, 1);
        INSERT INTO job VALUES (4, 1, 'a', 'x', NULL, '{}', NULL, NULL, 0, 1, 0, x'', 0);
        INSERT INTO job VALUES (5, 1, 'b', 'x', NULL, '{}', NULL, NULL, 0, 1, 0, x'', 0);
        INSERT INTO job_state (workflow_id, job_id) VALUES (1, 4), (1, 5);
        INSERT INTO file VALUES (7, 1, 'f', '/d/f', 0), (8, 1, 'g', '/d/g', 0), (20, 1, '/d/s', '/d/s', 1);
        INSERT INTO file_record VALUES (1, 20, 5, 6, 1);
        INSERT INTO job_input VALUES (1, 5, 8), (1, 5, 20);
        INSERT INTO job_output VALUES (1, 4, 8);
    """)
    migrate(sql, path)
    state = load_state(sql, 1)
    assert state.jobs.ids.ids.tolist() == [4, 5]
    assert state.graph.upstream.row(1).tolist() == [0]
    assert state.files.ids.ids.tolist() == [7, 8, 20]
    assert [state.files.path(index) for index in range(3)] == [b"/d/f", b"/d/g", b"/d/s"]
    assert state.files.is_script.tolist() == [False, False, True]
    assert state.files.size.tolist()[2] == 6
