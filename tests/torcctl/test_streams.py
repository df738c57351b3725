"""torcctl where stdout or stderr takes no characters, or not all of them."""

import subprocess
import sys
from typing import Any

import cli_samples as samples
import msgspec
import pytest
from cli_server import FakeDaemon

JOBS: dict[str, Any] = {
    "jobs": [samples.job(number, name=f"jöb-{number}-\N{ROCKET}") for number in range(1, 200)],
    "next_cursor": None,
}
FULL = "error: standard output cannot be written: No space left on device\n"


def torcctl(daemon: FakeDaemon, *words: str, shell: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs torcctl by bash, which redirects its output as `shell` says."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "bash", sys.executable, "-m", "torcctl", *words],
        capture_output=True,
        encoding="utf-8",
        env={"TORC_URL": daemon.url, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environ},
    )


@pytest.fixture(autouse=True)
def answers(daemon: FakeDaemon) -> None:
    daemon.on("jobs.list", JOBS)
    daemon.on("jobs.get", JOBS["jobs"][0])
    daemon.on("workflows.reinit", {"plan": samples.plan(samples.plan_job(4), dry_run=True), "next_cursor": None})
    daemon.on("workflows.export", {"export": "e", "text": "{}\n", "next_cursor": None})


@pytest.mark.parametrize(
    "words",
    [
        "jobs list 7",
        "-f json jobs list 7",
        "jobs get 1",
        "workflows export 7",
        "workflows reinit 7 --dry-run",
        "--help",
        "--version",
        "jobs --help",
    ],
)
def test_what_stdout_cannot_take_is_one_error(daemon: FakeDaemon, words: str) -> None:
    done = torcctl(daemon, *words.split(), shell="> /dev/full")
    assert (done.returncode, done.stderr) == (1, FULL)


def test_what_stderr_cannot_take_is_lost_and_the_exit_code_stays(daemon: FakeDaemon) -> None:
    assert torcctl(daemon, "jobs", "lst", shell="2> /dev/full").returncode == 2
    done = torcctl(daemon, "jobs", "list", "7", shell="> /dev/full 2> /dev/full")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("words", ["jobs list 7", "-f json jobs list 7", "--help"])
def test_whoever_has_read_enough_of_it_hears_nothing_more(daemon: FakeDaemon, words: str) -> None:
    done = torcctl(daemon, *words.split(), shell="| true; exit ${PIPESTATUS[0]}")
    assert (done.returncode in (0, 141), done.stderr) == (True, "")


@pytest.mark.parametrize("words", ["jobs list 7", "jobs get 1"])
def test_closed_streams_are_as_if_nobody_looked(daemon: FakeDaemon, words: str) -> None:
    assert torcctl(daemon, *words.split(), shell=">&-").returncode == 0
    assert torcctl(daemon, *words.split(), shell=">&- 2>&- <&-").returncode == 0


def test_characters_that_the_encoding_lacks_are_escaped(daemon: FakeDaemon) -> None:
    done = torcctl(daemon, "jobs", "get", "1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "name: j\\u00f6b-1-\\ud83d\\ude80\n" in done.stdout
    done = torcctl(daemon, "-f", "json", "jobs", "list", "7", PYTHONIOENCODING="ascii")
    found: Any = msgspec.json.decode(done.stdout)
    assert found == {"jobs": JOBS["jobs"]}


def test_an_error_with_such_characters_is_told_too(daemon: FakeDaemon) -> None:
    done = torcctl(daemon, "jöbs", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "j\\u00f6bs" in done.stderr
