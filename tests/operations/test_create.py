"""Preparing a new workflow and an edit: what is refused, and which words of a command are scripts."""

from pathlib import Path

import pytest
from builders import job

from torcd.operations.create import find_script, prepare_workflow
from torcd.operations.edit import prepare_edit
from torcd.protocol.errors import Refused
from torcd.protocol.requests import CreateWorkflow, UpdateJob
from torcd.protocol.specification import FileSpec, Header, JobSpec, Piece
from torcd.storage.create import insert_workflow
from torcd.storage.database import Database, open_database
from torcd.storage.load import load_state


def prepare(
    directory: Path | str, jobs: list[JobSpec], files: list[FileSpec] | None = None, **header: object
) -> list[tuple[int, str]]:
    """The scripts that are found in the jobs' commands."""
    request = CreateWorkflow(header=Header(name="w", **header), directory=str(directory), user="me")  # type: ignore[arg-type]
    return prepare_workflow(request, [Piece(jobs=jobs, files=files or [])], 5).scripts


def test_words_that_are_files_under_the_directory_are_scripts(tmp_path: Path) -> None:
    """SEMANTICS 4.5"""
    (tmp_path / "tool.py").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.sh").touch()
    jobs = [
        job("a", "python tool.py --fast sub/run.sh sub none.py"),
        job("b", f"bash {tmp_path}/sub/../tool.py"),
        job("c", "echo hi", invocation_script="./sub/run.sh"),
        job("d", "cat /etc/passwd"),
    ]
    tool, run = str(tmp_path / "tool.py"), str(tmp_path / "sub" / "run.sh")
    assert prepare(tmp_path, jobs) == [(0, tool), (0, run), (1, tool), (2, run)]


def test_declared_paths_and_targets_of_redirections_are_no_scripts(tmp_path: Path) -> None:
    """SEMANTICS 4.5"""
    for name in ("data", "log", "tool.py"):
        (tmp_path / name).touch()
    jobs = [job("a", "python tool.py data > log", input_files=["d"])]
    assert prepare(tmp_path, jobs, [FileSpec(name="d", path="data")]) == [(0, str(tmp_path / "tool.py"))]


def test_scripts_are_not_tracked_when_the_specification_says_so(tmp_path: Path) -> None:
    """SEMANTICS 4.5"""
    (tmp_path / "tool.py").touch()
    assert prepare(tmp_path, [job("a", "python tool.py")], track_scripts=False) == []


def test_a_word_that_cannot_be_examined_is_a_word(tmp_path: Path) -> None:
    assert find_script("x" * 5000, str(tmp_path), set()) is None
    assert find_script("a\0b", str(tmp_path), set()) is None
    assert find_script("../outside", str(tmp_path), set()) is None


def test_a_relative_submission_directory_is_refused() -> None:
    """SEMANTICS 3.6"""
    with pytest.raises(Refused, match="must be an absolute path"):
        prepare("here", [job("a")])


async def scripts_of(database: Database, job_id: int) -> list[str]:
    """The implicit inputs of a job."""
    sql = "SELECT f.name FROM job_input e JOIN file f ON f.id = e.file_id WHERE e.job_id = ? AND f.is_script ORDER BY 1"
    return [name for (name,) in await database.read(lambda db: db.execute(sql, (job_id,)).fetchall())]


async def test_an_edited_command_has_the_scripts_it_names_then(tmp_path: Path) -> None:
    """SEMANTICS 4.5: when a job is created or its command edited"""
    for name in ("one.sh", "two.sh", "wrap.sh"):
        (tmp_path / name).touch()
    request = CreateWorkflow(header=Header(name="w"), directory=str(tmp_path), user="me")
    jobs = [job("a", "bash one.sh", invocation_script="./wrap.sh"), job("b", "bash one.sh")]
    new = prepare_workflow(request, [Piece(jobs=jobs)], 5)
    one, two, wrap = (str(tmp_path / name) for name in ("one.sh", "two.sh", "wrap.sh"))
    async with open_database(tmp_path / "torc.db", file_system="ext4") as database:
        workflow_id = await database.commit(lambda db: insert_workflow(db, new))
        other = await database.commit(lambda db: insert_workflow(db, new))
        for command, expected in (
            ("bash two.sh", [two, wrap]),
            ("true", [wrap]),
            ("bash one.sh two.sh", [one, two, wrap]),
        ):
            edit = await prepare_edit(database, workflow_id, UpdateJob(job_id=1, command=command))
            await database.commit(edit.write_scripts)
            assert await scripts_of(database, 1) == expected
            assert await scripts_of(database, 2) == [one], "another job keeps its own"
        edit = await prepare_edit(database, workflow_id, UpdateJob(job_id=1, priority=3))
        assert edit.write_scripts is None, "they stay as they are"
        assert await scripts_of(database, 1) == [one, two, wrap]
        state = await database.read(lambda db: load_state(db, workflow_id))
        assert [state.files.path(index).decode() for index in range(len(state.files.size))] == [one, wrap, two]
        untouched = await database.read(lambda db: load_state(db, other))
        assert len(untouched.files.size) == 2
