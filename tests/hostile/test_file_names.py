"""Names of files and jobs as data, in the real programs: never shell, nor an option, nor a way out of a directory."""

import os
from pathlib import Path

import pytest
from real_system import System

PATHS = {
    "spaces": "in put.txt", "dollar": "$(touch pwned)", "backquotes": "`touch pwned`", "quotes": "a'b\"c", "dash": "-n",
    "semicolon": "a;touch pwned", "newline": "a\ntouch pwned\n", "glob": "*", "tilde": "~", "unicode": "ü\u202e",
    "back": "a\\", "assignment": "PATH=x",
}  # fmt: skip


@pytest.fixture
def system(shared: System, tmp_path: Path) -> System:
    shared.work = tmp_path
    return shared


def test_a_path_is_one_word_of_a_command_whatever_it_holds(system: System) -> None:
    """SEMANTICS 3.3"""
    names = list(PATHS)
    for index, path in enumerate(PATHS.values()):
        system.write(path, f"{index}\n")
    quoted = " ".join(
        (f"${{files.input.{name}}}", f'"${{files.input.{name}}}"')[index % 2] for index, name in enumerate(names)
    )
    workflow_id = system.create(
        {
            "name": "words",
            "files": [{"name": name, "path": path} for name, path in PATHS.items()]
            + [{"name": "all", "path": "all of them.txt"}, {"name": "copy", "path": "$(copy)"}],
            "jobs": [
                {"name": "collect", "command": f"cat {quoted} > ${{files.output.all}}"},
                {"name": "copy", "command": "cp -- '${files.input.all}' \"${files.output.copy}\""},
            ],
        }
    )
    system.torcctl("run", workflow_id)
    assert system.read("all of them.txt").split() == [str(index) for index in range(len(names))]
    assert system.read("$(copy)") == system.read("all of them.txt")
    assert not (system.work / "pwned").exists()
    system.write("a'b\"c", "changed")
    plan = system.torcctl("workflows", "reinit", workflow_id, "--dry-run", json=True)
    assert [job["name"] for job in plan["jobs"]] == ["collect", "copy"]


@pytest.mark.parametrize("dry", [True, False])
def test_what_cannot_be_quoted_is_refused_by_a_dry_run_and_by_create_alike(system: System, dry: bool) -> None:
    """SEMANTICS 3.3 and 3.5"""
    spec = system.spec(
        {
            "name": "x",
            "files": [{"name": "a", "path": "$(touch pwned)"}],
            "jobs": [{"name": "j", "command": "echo `cat ${files.input.a}`"}],
        }
    )
    ran = system.torcctl("workflows", "create", spec, *(["--dry-run"] if dry else []), check=False)
    assert ran.code == 7
    assert "jobs[0].command" in ran.err
    assert "cannot be inside backquotes" in ran.err


def test_a_name_that_looks_like_an_option_or_a_path_is_a_name(system: System) -> None:
    """SEMANTICS 8.2: files of jobs are named by numbers, so that no name leads anywhere."""
    names = ["--dry-run", "-h", "../../../escape", "/etc/passwd", ".", "a/b", "7", "-"]
    workflow_id = system.create({"name": "names", "jobs": [{"name": name, "command": "echo out"} for name in names]})
    system.torcctl("run", workflow_id)
    jobs = system.jobs(workflow_id)
    assert [jobs[name]["status"] for name in names] == ["completed"] * len(names)
    logs = {f"job_{job['id']}_1.{end}" for job in jobs.values() for end in "oe"}
    assert set(os.listdir(system.work / ".torc" / str(workflow_id))) == logs
    assert sorted(os.listdir(system.work)) == [".torc", "spec.json"]
    for name in ("--dry-run", "-h", "../../../escape"):
        found = system.torcctl("-k", workflow_id, "-f", "json", "jobs", "get", "--", name).json
        assert found["name"] == name
    ran = system.torcctl("-k", workflow_id, "-f", "json", "jobs", "reset-status", "-", stdin="--dry-run\n-h\n")
    assert ran.json["result"]["count"] == 2


def test_links_and_pipes_that_a_job_plants_catch_nobody(system: System) -> None:
    """SEMANTICS 8.2: logs are new files; what a job has put in their place is removed, never written through."""
    precious = system.write("precious", "mine")
    plant = (
        'cd "$TORC_OUTPUT_DIR"; next=$((TORC_JOB_ID + 1)); ln -s ../../precious job_${next}_1.o; '
        "mkfifo job_${next}_1.e; ln -sf ../../precious job_${TORC_JOB_ID}_1.o"
    )
    workflow_id = system.create(
        {
            "name": "plants",
            "jobs": [
                {"name": "planter", "command": plant},
                {"name": "victim", "command": "echo out; echo err >&2", "depends_on": ["planter"]},
            ],
        }
    )
    system.torcctl("run", workflow_id)
    assert precious.read_text() == "mine"
    jobs = system.jobs(workflow_id)
    assert system.torcctl("jobs", "logs", jobs["victim"]["id"]).out == "out\nerr\n"
    ran = system.torcctl("jobs", "logs", jobs["planter"]["id"], check=False)
    assert (ran.code, ran.out) == (7, "")
    assert "is a link, which no worker has made" in ran.err


def test_an_output_directory_that_is_a_file_is_refused_before_anything_runs(system: System) -> None:
    """SEMANTICS 8.2"""
    workflow_id = system.create({"name": "x", "jobs": [{"name": "j", "command": "true"}]})
    system.write(f".torc/{workflow_id}", "a file")
    ran = system.torcctl("run", workflow_id, check=False)
    assert ran.code == 7
    assert "cannot be written" in ran.err
    assert system.statuses(workflow_id) == {"j": "ready"}


def test_an_output_directory_may_be_ones_own_link(system: System) -> None:
    workflow_id = system.create({"name": "x", "jobs": [{"name": "j", "command": "echo there"}]})
    (system.work / "disk").mkdir()
    (system.work / ".torc").symlink_to("disk")
    system.torcctl("run", workflow_id)
    assert os.listdir(system.work / "disk") == [str(workflow_id)]
    (job,) = system.jobs(workflow_id).values()
    assert system.torcctl("jobs", "logs", job["id"]).out == "there\n"


@pytest.mark.parametrize("odd", ["a b/$(touch pwned)/*", "-x", "deep/../deep2"])
def test_an_output_directory_has_any_name(system: System, odd: str) -> None:
    """SEMANTICS 8.2"""
    workflow_id = system.create({"name": "x", "jobs": [{"name": "j", "command": 'echo "$TORC_OUTPUT_DIR"'}]})
    system.torcctl("run", workflow_id, f"--output-dir={odd}")
    (job,) = system.jobs(workflow_id).values()
    assert system.torcctl("jobs", "logs", job["id"]).out == os.path.abspath(system.work / odd) + "\n"
    assert not (system.work / "pwned").exists()


def test_files_outside_the_submission_directory_are_files_like_others(system: System, tmp_path: Path) -> None:
    """SEMANTICS 3.6: whoever names them may write there; they are watched and recorded all the same."""
    system.work = tmp_path / "inside"
    system.work.mkdir()
    workflow_id = system.create(
        {
            "name": "outside",
            "files": [{"name": "up", "path": "../up.txt"}, {"name": "far", "path": str(tmp_path / "far.txt")}],
            "jobs": [{"name": "j", "command": "echo 1 > ${files.output.up}; echo 2 > ${files.output.far}"}],
        }
    )
    system.torcctl("run", workflow_id)
    assert (tmp_path / "up.txt").read_text() + (tmp_path / "far.txt").read_text() == "1\n2\n"
    (tmp_path / "up.txt").unlink()
    assert system.plan(workflow_id)["jobs"][0]["reasons"][0]["kind"] == "output_missing"
