"""Names, paths, commands and reasons may hold anything, and a terminal gets none of it raw (INTERFACE 2)."""

import json
from collections.abc import Callable

import pytest
from real_system import Ran, System

from torcctl import app

Torcctl = Callable[..., Ran]

NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\u2066\t\x7f"
"""Clears the screen, sets the title, writes backwards."""

JOB, FILE, DATA, REQUIREMENT = (f"{noun}{NASTY}" for noun in ("job", "file", "data", "rr"))
DOCUMENT = {
    "name": f"workflow{NASTY}",
    "user": f"user{NASTY}",
    "description": f"two\nlines{NASTY}",
    "project": f"project{NASTY}",
    "metadata": {NASTY: NASTY},
    "env": {"A": NASTY},
    "files": [{"name": FILE, "path": f"in{NASTY}"}, {"name": "out", "path": f"out{NASTY}\nsecond line"}],
    "user_data": [{"name": DATA, "data": {"key": NASTY}}],
    "resource_requirements": [{"name": REQUIREMENT}],
    "jobs": [
        {
            "name": JOB,
            "command": f"cat ${{files.input.{FILE}}} > ${{files.output.out}}; : '{NASTY}'",
            "resource_requirements": REQUIREMENT,
            "input_user_data": [DATA],
        },
        {"name": "broken", "command": f"printf '%s' '{NASTY}' >&2; exit 3", "depends_on": [JOB]},
        {"name": f"behind{NASTY}", "command": "true", "depends_on": ["broken"]},
    ],
}


@pytest.fixture(scope="module")
def system(shared: System, tmp_path_factory: pytest.TempPathFactory) -> System:
    """A workflow with such names that has run once and has a reason to run again."""
    shared.work = tmp_path_factory.mktemp("work")
    shared.write(f"in{NASTY}", "1")
    check(shared.torcctl("workflows", "create", shared.spec(DOCUMENT)))
    check(shared.torcctl("run", 1, check=False))
    shared.write(f"in{NASTY}", "2")
    return shared


@pytest.fixture
def torcctl(system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Torcctl:
    """torcctl in this process: forty starts of Python would take ten seconds."""
    monkeypatch.chdir(system.work)
    capsys.readouterr()

    def run(*words: object) -> Ran:
        code = app.run(["-k", "1", *map(str, words)], {**system.environ, "TORC_URL": system.url})
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


def check(ran: Ran) -> None:
    """Nothing but printable text and line breaks was written to either stream."""
    for text in (ran.out, ran.err):
        assert text.replace("\n", "").isprintable(), ascii(text)


@pytest.mark.parametrize(
    "words",
    [
        ["workflows", "list"], ["workflows", "get", 1], ["workflows", "status", 1],
        ["workflows", "reinit", 1, "--dry-run", "--explain"], ["workflows", "restart", 1, "--dry-run", "--explain"],
        ["jobs", "list", 1], ["jobs", "get", 1], ["jobs", "explain", 1], ["jobs", "explain", 3], ["jobs", "get", JOB],
        ["files", "list", 1], ["files", "get", FILE], ["files", "history", FILE],
        ["user-data", "list", 1], ["user-data", "get", DATA], ["user-data", "history", DATA],
        ["results", "list", 1], ["results", "get", 1], ["tasks", "list", 1], ["events", "list", 1],
        ["workers", "list", 1],
        ["jobs", "reset-status", JOB, "--dry-run", "--explain"],
        ["jobs", "accept", "broken", "--reason", NASTY, "--dry-run", "--explain"],
    ],
    ids=lambda words: " ".join(str(word) for word in words if str(word).isprintable()),
)  # fmt: skip
def test_text_output_holds_no_control_characters(torcctl: Torcctl, words: list[object]) -> None:
    """INTERFACE 2"""
    ran = torcctl(*words)
    assert ran.code == 0, ran
    assert ran.out
    check(ran)


@pytest.mark.parametrize(
    "words",
    [
        ["jobs", "get", f"no{NASTY}"], ["files", "get", f"no{NASTY}"], ["jobs", "reset-status", f"no{NASTY}"],
        ["workflows", "create", f"no{NASTY}"], [f"no{NASTY}"], ["jobs", f"no{NASTY}"], [f"--no{NASTY}", "jobs", "list"],
        ["jobs", "list", f"--no{NASTY}"], ["jobs", "list", "-f", f"no{NASTY}"], ["jobs", "list", "-f", f"no{NASTY}=1"],
        ["user-data", "update", DATA, "--data", NASTY], ["jobs", "update", 1, "--resource-requirements", NASTY],
        ["workflows", "create", "bad.json"], ["workflows", "create", "bad.yaml"], ["workflows", "import", "bad.json"],
        ["--url", f"ws://{NASTY}", "jobs", "list"], ["--log-level", NASTY, "jobs", "list"],
    ],
    ids=lambda words: " ".join(str(word) for word in words if str(word).isprintable()),
)  # fmt: skip
def test_errors_hold_no_control_characters(system: System, torcctl: Torcctl, words: list[object]) -> None:
    """INTERFACE 2"""
    system.write("bad.json", json.dumps({"name": "x", "jobs": [{"name": NASTY, "command": "true", NASTY: 1}]}))
    system.write("bad.yaml", f"name: x\njobs: ['{NASTY[-1]}', \"\\e[2J\"]\n")
    ran = torcctl(*words)
    assert ran.code not in (0, 1), ran
    assert ran.err.startswith("error: ")
    check(ran)


def test_json_output_is_exact(system: System) -> None:
    """INTERFACE 2 and 3: programs get every character."""
    jobs = system.torcctl("jobs", "list", 1, json=True)["jobs"]
    assert [job["name"] for job in jobs] == [JOB, "broken", f"behind{NASTY}"]
    (workflow,) = system.torcctl("workflows", "list", json=True)["workflows"]
    assert workflow["description"] == f"two\nlines{NASTY}"
    assert workflow["metadata"] == {NASTY: NASTY}
    file = system.torcctl("-k", 1, "files", "get", FILE, json=True)
    assert file["path"] == f"{system.work}/in{NASTY}"


def test_what_a_job_wrote_is_shown_as_it_is(system: System) -> None:
    """`jobs logs` is `cat`: colours and bars are what one wants to see of a job."""
    ran = system.bash("torcctl jobs logs 2 | od -An -c | head -1")
    assert "033" in ran.stdout


def test_a_log_of_the_daemon_has_one_line_for_each_record(system: System) -> None:
    """Nobody forges lines of it."""
    lines = system.log.read_text().splitlines()
    assert all(line[:2] == "20" and line.isprintable() for line in lines)
