"""Commands of actions as processes: what they get, what they leave behind, what outlives whom."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from torcd import shell
from torcd.shell import Order, run_commands


def order(directory: Path, *commands: str, **more: Any) -> Order:
    output = directory / ".torc" / "7"
    given: dict[str, Any] = {
        "commands": commands, "directory": str(directory), "output_dir": str(output),
        "stdout_path": str(output / "action_1_1.o"), "stderr_path": str(output / "action_1_1.e"), "environment": {},
        "umask": 0o022,
    }  # fmt: skip
    return Order(**given | more)


async def run(wanted: Order) -> tuple[int, str, str]:
    """The return code, stdout and stderr."""
    with trio.fail_after(10):
        code = await run_commands(wanted, lambda group: None)
    return code, await trio.Path(wanted.stdout_path).read_text(), await trio.Path(wanted.stderr_path).read_text()


def rights(path: str | Path) -> int:
    """What a file's mode allows."""
    return os.stat(path).st_mode & 0o777


async def test_commands_run_one_after_the_other_in_the_directory(tmp_path: Path) -> None:
    code, out, err = await run(order(tmp_path, "echo one > f; pwd", "cat f; echo $A", environment={"A": "b"}))
    assert (code, out, err) == (0, f"{tmp_path}\none\nb\n", "")


async def test_the_first_that_fails_ends_them(tmp_path: Path) -> None:
    code, out, err = await run(order(tmp_path, "echo 1", "exit 5", "echo 3"))
    assert (code, out) == (5, "1\n")
    assert err == "torcd: command 2 of 3 failed with return code 5; the rest was not run\n"


async def test_a_signal_is_told_as_shells_do(tmp_path: Path) -> None:
    code, _, _ = await run(order(tmp_path, "kill -9 $PPID"))
    assert code == 128 + signal.SIGKILL


async def test_files_have_the_rights_of_whoever_started_the_daemon_and_logs_are_private(tmp_path: Path) -> None:
    wanted = order(tmp_path, "touch f", umask=0o027)
    await run(wanted)
    modes = [rights(path) for path in (tmp_path / "f", wanted.stdout_path, wanted.output_dir)]
    assert modes == [0o640, 0o600, 0o700]


async def test_what_is_the_daemons_alone_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("TORC_TOKEN", "secret")
    monkeypatch.setenv("OTHER", "kept")
    code, out, _ = await run(order(tmp_path, 'echo "$NOTIFY_SOCKET|$TORC_TOKEN|$OTHER"'))
    assert (code, out) == (0, "||kept\n")


async def test_nothing_is_written_through_what_lies_in_the_place_of_a_log(tmp_path: Path) -> None:
    wanted = order(tmp_path, "echo new")
    os.makedirs(wanted.output_dir)
    (tmp_path / "precious").write_text("old")
    os.symlink(tmp_path / "precious", wanted.stdout_path)
    _, out, _ = await run(wanted)
    assert out == "new\n"
    assert (tmp_path / "precious").read_text() == "old"


async def test_a_directory_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_commands(order(tmp_path / "gone", "true"), lambda group: None)
    assert not (tmp_path / "gone").exists()


async def test_what_does_not_end_can_be_ended_by_its_process_group(tmp_path: Path) -> None:
    with trio.fail_after(10):
        code = await run_commands(order(tmp_path, "sleep 600", "true"), lambda group: os.killpg(group, signal.SIGTERM))
    assert code == 128 + signal.SIGTERM


async def test_a_file_system_that_does_not_answer_keeps_nobody_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(shell, "_start", lambda order: answers.wait(10))
    with trio.fail_after(5), trio.move_on_after(0.05):
        await run_commands(order(tmp_path, "true"), lambda group: None)
    answers.set()


async def test_whoever_stops_waiting_ends_nothing(tmp_path: Path) -> None:
    """A daemon that stops leaves the commands running."""
    os.mkfifo(tmp_path / "pid")
    os.mkfifo(tmp_path / "gate")
    wanted = order(tmp_path, "echo $$ > pid; read x < gate", "echo over > pid")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_commands, wanted, lambda group: None)
        with trio.fail_after(10):
            await trio.to_thread.run_sync((tmp_path / "pid").read_text, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()
    with trio.fail_after(10):
        await trio.to_thread.run_sync((tmp_path / "gate").write_text, "go\n", abandon_on_cancel=True)
        assert await trio.to_thread.run_sync((tmp_path / "pid").read_text, abandon_on_cancel=True) == "over\n"
