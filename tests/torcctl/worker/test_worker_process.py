"""Jobs as processes: what they get, what is left of them (SEMANTICS 8.2)."""

import os
import resource
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worker_daemon import launch

from torcctl.worker.command import find_direct
from torcctl.worker.process import CannotStart, Launcher, ProcessEnd, find_groups, reap, seal_descriptors
from torcd.protocol.address import Address
from torcd.protocol.errors import Refused
from torcd.protocol.worker_requests import JobLaunch

Run = Callable[[JobLaunch], tuple[ProcessEnd, str, str]]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(
        workflow_id=7, directory=str(tmp_path), output_dir=None, address=Address(url="ws+unix:///run/d.sock")
    )
    yield launcher
    launcher.close()


@pytest.fixture
def run(launcher: Launcher) -> Run:
    """Runs a job to its end: how it ended, its output, its errors."""

    def run(job: JobLaunch) -> tuple[ProcessEnd, str, str]:
        process = launcher.start(job)
        assert select.select([process.pidfd], [], [], 60)[0], "the job did not end in time"
        end = reap(process)
        return end, Path(process.stdout_path).read_text(), Path(process.stderr_path).read_text()

    return run


def test_a_job_runs_in_the_submission_directory_with_its_output_in_files(run: Run, tmp_path: Path) -> None:
    end, out, err = run(launch(3, "pwd; echo trouble >&2; exit 5"))
    assert (end.return_code, out, err) == (5, f"{tmp_path}\n", "trouble\n")
    assert (tmp_path / ".torc" / "7" / "job_3_1.o").read_text() == out
    assert (tmp_path / ".torc" / "7" / "job_3_1.e").read_text() == err


def test_output_files_are_the_users_own_and_not_named_by_the_job(run: Run, tmp_path: Path) -> None:
    run(launch(3, "true", name="../../../etc/passwd"))
    directory = tmp_path / ".torc" / "7"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o077 for path in directory.iterdir()} == {
        "job_3_1.e": 0,
        "job_3_1.o": 0,
    }


@pytest.mark.parametrize("command", ["env", "env; :"], ids=["without bash", "by bash"])
def test_the_environment_tells_a_job_who_it_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    _, out, _ = run(launch(3, command, attempt_id=4, name="äh b", env={"LEVEL": "a=b c", "HOME": "/nowhere"}))
    seen = dict(line.split("=", 1) for line in out.splitlines())
    expected = {
        "LEVEL": "a=b c",
        "HOME": "/nowhere",
        "PATH": os.environ["PATH"],
        "PWD": str(tmp_path),
        "TORC_WORKFLOW_ID": "7",
        "TORC_JOB_ID": "3",
        "TORC_JOB_NAME": "äh b",
        "TORC_RUN_ID": "1",
        "TORC_ATTEMPT_ID": "4",
        "TORC_OUTPUT_DIR": str(tmp_path / ".torc" / "7"),
        "TORC_NO_AUTOSTART": "1",
        "TORC_URL": "ws+unix:///run/d.sock",
    }
    assert expected.items() <= seen.items()


def test_a_job_reads_nothing_from_standard_input(run: Run) -> None:
    assert run(launch(3, "cat"))[0].return_code == 0


@pytest.mark.parametrize("script", ["./wrap.sh", "wrap.sh", "env A=1 ./wrap.sh"])
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("basename two/words .x", "3: basename two/words .x\nwords\n"),
        ("echo 'it''s one' && echo $OUTER", "3: bash -c echo 'it''s one' && echo $OUTER\nits one\nset by the script\n"),
        ("read x < /dev/null; echo $?", "3: bash -c read x < /dev/null; echo $?\n1\n"),
        ("exit 3", "3: bash -c exit 3\n"),
    ],
)
def test_the_invocation_script_gets_the_whole_command_as_its_arguments(
    run: Run, tmp_path: Path, script: str, command: str, expected: str
) -> None:
    """SEMANTICS 3.6: a relative path is one in the submission directory"""
    (tmp_path / "wrap.sh").write_text('#!/bin/sh\nexport OUTER="set by the script"\necho "$#: $*"\nexec "$@"\n')
    (tmp_path / "wrap.sh").chmod(0o755)
    end, out, _ = run(launch(3, command, invocation_script=script))
    assert out == expected
    assert end.return_code == (3 if command == "exit 3" else 0)


def test_without_its_invocation_script_nothing_of_a_command_runs(run: Run) -> None:
    end, out, _ = run(launch(3, "echo one; echo two", invocation_script="./missing.sh"))
    assert (end.return_code, out) == (127, "")


def test_no_descriptor_of_the_worker_reaches_a_job(run: Run, tmp_path: Path) -> None:
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    seal_descriptors()  # what every worker does first
    with (tmp_path / "open").open("w"), select.epoll():
        for number, command in enumerate(("ls /proc/self/fd", "ls /proc/self/fd | cat")):
            _, out, _ = run(launch(number, command))
            assert out.split() == ["0", "1", "2", "3"], "3 is the directory that ls reads"
    os.close(inherited)


def test_a_job_leads_a_session_of_its_own(run: Run) -> None:
    _, out, _ = run(launch(3, "cut -d' ' -f1,5,6 /proc/self/stat"))
    pid, group, session = out.split()
    assert pid == group == session != str(os.getsid(0))


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("no-such-program", 127, "command not found"),
        ("no-such-program | cat; exit $PIPESTATUS", 127, "command not found"),
        ("./no-such-file", 127, "No such file or directory"),
        ("./plain.txt", 126, "Permission denied"),
        ("/", 126, "Is a directory"),
        ("-x y", 127, "command not found"),
        ("kill -9 $$", 137, ""),
        ("exit 300", 44, ""),
        ("false", 1, ""),
        ("", 0, ""),
    ],
)
def test_return_codes_are_those_of_a_shell(run: Run, tmp_path: Path, command: str, code: int, message: str) -> None:
    (tmp_path / "plain.txt").write_text("echo no\n")
    end, _, err = run(launch(3, command))
    assert end.return_code == code
    assert message in err
    assert bool(err) == bool(message)


def test_a_script_without_an_interpreter_line_runs_as_bash_would_run_it(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo $0 $1\n")
    script.chmod(0o755)
    assert run(launch(3, "./script a"))[1] == "./script a\n"


@pytest.mark.parametrize(
    "command",
    [
        "a|b", "a b>c", "a $b", "a `b`", "a 'b'", 'a "b"', "a *", "a ?", "a [b]", "a {b,c}", "~/a", "a ~",
        "a\\b", "a;b", "a&", "(a)", "a #b", "!a", "a\nb", "A=1 b", "A=1", "%1", "-a", "cd x", "exit 3",
        "true --help", "false x", "test a", "time a", "if", ". x", ": x", "[ a ]", "ä", "", " ", "a <b",
    ],
)  # fmt: skip
def test_what_needs_a_shell_gets_one(command: str) -> None:
    assert find_direct(command, "/bin:/usr/bin") is None


@pytest.mark.parametrize(
    ("command", "program", "words"),
    [
        ("ls", "/bin/ls", ["ls"]),
        ("  ls -l\t/tmp/a_b.c,d:e@f%g+h \n", "/bin/ls", ["ls", "-l", "/tmp/a_b.c,d:e@f%g+h"]),
        ("ls --color=never", "/bin/ls", ["ls", "--color=never"]),
        ("bin/x 1", "bin/x", ["bin/x", "1"]),
        ("true", "/bin/true", ["true"]),
    ],
)
def test_plain_words_are_executed_directly(command: str, program: str, words: list[str]) -> None:
    direct = find_direct(command, "/bin:/usr/bin")
    assert direct is not None
    assert (direct.program, direct.words) == (program, words)


@pytest.mark.parametrize("path", [None, "", "bin:/bin", ":/bin"])
def test_without_an_absolute_path_of_programs_bash_looks_for_them(path: str | None) -> None:
    assert find_direct("ls", path) is None


def test_an_exported_function_takes_precedence_over_a_program(run: Run) -> None:
    job = launch(3, "ls", env={"BASH_FUNC_ls%%": "() { echo mine; }"})
    assert run(job)[1] == "mine\n"


WORDS = st.lists(
    st.sampled_from(["echo", "printf", "ls", "-d", "/", "a=b", "x", "1", "--", "nope", "/bin/echo", "env", "%s"]),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_a_command_does_the_same_with_and_without_bash(run: Run, words: list[str]) -> None:
    command = " ".join(words)
    direct_end, *direct_texts = run(launch(1, command))
    bash_end, *bash_texts = run(launch(1, command, env={"BASH_NOTHING": ""}))  # forces bash

    def comparable(text: str) -> list[str]:
        """In any order: bash sorts the environment in its own way."""
        return sorted(line for line in text.splitlines() if not line.startswith("BASH_NOTHING"))

    assert direct_end.return_code == bash_end.return_code
    assert list(map(comparable, direct_texts)) == list(map(comparable, bash_texts))


def test_what_a_job_leaves_behind_in_its_group_is_killed(run: Run) -> None:
    """SEMANTICS 8.2"""
    _, out, _ = run(launch(3, "sleep 100 & echo $!"))
    pidfd = None
    try:
        pidfd = os.pidfd_open(int(out))
    except ProcessLookupError:
        return  # gone already
    assert select.select([pidfd], [], [], 60)[0]
    os.close(pidfd)


def test_groups_of_a_session_are_found_while_a_process_of_theirs_lives(launcher: Launcher) -> None:
    process = launcher.start(launch(3, "set -m; sleep 100 & wait"))
    while len(groups := find_groups({process.pid})[process.pid]) < 2:
        assert process.pid in groups or not groups
        os.sched_yield()
    for group in sorted(groups, key=lambda group: group != process.pid):  # or the shell ends well before it is its turn
        os.killpg(group, signal.SIGKILL)
    assert select.select([process.pidfd], [], [], 60)[0]
    end = reap(process)
    assert end.return_code == 137
    assert process.pid not in find_groups({process.pid})[process.pid]


def test_memory_and_processor_time_of_a_job_are_measured(run: Run) -> None:
    """SEMANTICS 8.5. The kernel counts the moment before exec too, so the job takes more than this process has."""
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 100_000_000
    program = f"x = bytearray({taken})\nfor _ in range(10**6): pass"
    end, _, _ = run(launch(3, f"python3 -c '{program}'"))
    assert taken < end.peak_memory_bytes < taken + 100_000_000
    assert 0 < end.cpu_seconds <= end.exec_time_s * 2


def test_the_size_of_the_worker_is_not_taken_for_that_of_a_job(run: Run) -> None:
    assert run(launch(3, "true"))[0].peak_memory_bytes is None


def test_a_command_too_long_for_the_system_fails_with_a_message(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="larger than this system allows") as caught:
        launcher.start(launch(3, "echo " + "x" * 200_000))
    assert caught.value.stderr_path is not None
    assert "larger than this system allows" in Path(caught.value.stderr_path).read_text()


def test_an_environment_that_cannot_be_passed_fails_with_a_message(launcher: Launcher) -> None:
    with pytest.raises(CannotStart, match="null byte"):
        launcher.start(launch(3, "echo", env={"A": "b\0c"}))


def test_a_missing_submission_directory_is_named(tmp_path: Path) -> None:
    directory, logs = tmp_path / "gone", tmp_path / "logs"
    directory.mkdir()
    launcher = Launcher(
        workflow_id=7, directory=str(directory), output_dir=str(logs), address=Address(url="ws+unix:///d")
    )
    directory.rmdir()
    for number, command in enumerate(("ls", "ls | cat")):
        with pytest.raises(CannotStart, match=f"{directory} is not there"):
            launcher.start(launch(number, command))
        assert f"{directory} is not there" in (logs / f"job_{number}_1.e").read_text()
    launcher.close()


def test_an_output_directory_that_was_cleaned_away_is_made_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".torc" / "7").rmdir()
    assert run(launch(3, "echo back"))[1] == "back\n"


def test_a_submission_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """It may lie on a file system that is not mounted now"""
    gone = tmp_path / "gone"
    with pytest.raises(Refused, match=f"submission directory {gone} is not there"):
        Launcher(workflow_id=7, directory=str(gone), output_dir=None, address=Address(url="ws+unix:///s"))
    assert not gone.exists()


def test_an_output_directory_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match=r"file/logs: Not a directory"):
        Launcher(
            workflow_id=7, directory=str(tmp_path), output_dir=str(tmp_path / "file/logs"), address=Address(url="x")
        )


def test_jobs_are_told_the_address_or_the_file_that_it_is_from_and_never_the_token(
    run: Run, launcher: Launcher
) -> None:
    """SEMANTICS 8.2: what is in the file may change while a job runs"""
    launcher.set_address(Address(url="wss://head:1", token="secret", fingerprint="ab", file="/h/connect.json"))
    _, filed, _ = run(launch(1, "env"))
    launcher.set_address(Address(url="wss://head:2", token="secret", fingerprint="ab"))
    _, given, _ = run(launch(2, "env"))
    assert "TORCD_CONNECTION_FILE=/h/connect.json\n" in filed
    assert "TORC_URL=" not in filed
    assert "TORC_URL=wss://head:2\n" in given
    assert "secret" not in filed + given
