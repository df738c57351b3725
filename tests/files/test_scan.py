"""Scans of many files: right, in order, and never held up for ever."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trio

from torcd.files import observation, stat_process
from torcd.files.assembly import PATIENCE_S
from torcd.files.scan import ABSENT, UNKNOWN, Observed, Paths, Scanner, scan_now

MakeScanner = Callable[..., Scanner]
WriteProgram = Callable[[str], Path]


def make_files(root: Path, count: int = 3000, directories: int = 7) -> Paths:
    """`count` paths in some directories, interleaved; every fifth file is there."""
    names = []
    for place in range(count):
        name = root / f"d{place % directories}" / f"file {place}"
        if place < directories:
            name.parent.mkdir()
        if place % 5 == 0:
            name.write_bytes(b"x" * (place % 11))
        names.append(str(name))
    return Paths.from_strings(names)


def assert_same(one: Observed, other: Observed) -> None:
    assert one.size.tolist() == other.size.tolist()
    assert one.mtime_ns.tolist() == other.mtime_ns.tolist()
    assert one.errors == other.errors


@pytest.mark.parametrize("few", [0, 2000])
async def test_a_scan_sees_what_the_plain_scan_sees(make_scanner: MakeScanner, tmp_path: Path, few: int) -> None:
    paths = make_files(tmp_path)
    scanner = make_scanner(few=few, helpers=2)
    for _ in range(2):  # the second time the helpers know the paths
        assert_same(await scanner.scan("key", paths), scan_now(paths))


@pytest.mark.parametrize("few", [0, 2000])
async def test_three_states(make_scanner: MakeScanner, tmp_path: Path, few: int) -> None:
    """SEMANTICS 4.8"""
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / os.fsdecode(b"\xff\n bytes")).touch()
    names = [
        b"file",
        b"missing",
        b"dangling",
        b"file/below",
        b"loop",
        b"x" * 300,
        b"\xff\n bytes",
        b"",
        b"loop/x",
    ]
    paths = Paths.from_strings([os.fsencode(tmp_path) + b"/" + name for name in names] + [b"/" + b"p/" * 2100])
    observed = await make_scanner(few=few, helpers=1).scan("key", paths)
    size = os.stat(tmp_path).st_size
    wanted = [3, ABSENT, ABSENT, ABSENT, UNKNOWN, UNKNOWN, 0, size, UNKNOWN, UNKNOWN]
    assert observed.size.tolist() == wanted
    assert [place for place, size in enumerate(wanted) if size == UNKNOWN] == list(observed.errors)
    assert observed.errors[4] == "Too many levels of symbolic links (ELOOP)"
    assert_same(observed, scan_now(paths))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
async def test_a_forbidden_directory_is_unknown(make_scanner: MakeScanner, tmp_path: Path) -> None:
    """SEMANTICS 4.8"""
    paths = make_files(tmp_path, 50)
    (tmp_path / "d3").chmod(0)
    observed = await make_scanner(helpers=1).scan("key", paths)
    (tmp_path / "d3").chmod(0o700)
    assert observed.errors == dict.fromkeys(range(3, 50, 7), "Permission denied (EACCES)")


@pytest.mark.parametrize("few", [0, 2000])
async def test_indices_choose_files_and_their_order(make_scanner: MakeScanner, tmp_path: Path, few: int) -> None:
    paths = make_files(tmp_path)
    indices = np.array([2999, 3, 3, 0, 1500] * 500)
    observed = await make_scanner(few=few, helpers=2).scan("key", paths, indices=indices)
    assert_same(observed, scan_now(paths, indices))


async def test_no_files_are_no_work(make_scanner: MakeScanner) -> None:
    scanner = make_scanner(helpers=1)
    assert len(await scanner.scan("key", Paths.from_strings([]))) == 0
    assert scanner.helper_pids() == []


async def test_a_key_may_come_with_other_paths(make_scanner: MakeScanner, tmp_path: Path) -> None:
    scanner = make_scanner(helpers=2)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        paths = make_files(tmp_path / name, 2100)
        assert_same(await scanner.scan("key", paths), scan_now(paths))


async def test_scans_of_two_workflows_share_the_helpers(make_scanner: MakeScanner, tmp_path: Path) -> None:
    scanner = make_scanner(helpers=2)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = make_files(tmp_path / "one"), make_files(tmp_path / "other", 2000)
    seen: dict[int, Observed] = {}

    async def scan(key: int, paths: Paths) -> None:
        seen[key] = await scanner.scan(key, paths)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scan, 1, one)
        nursery.start_soon(scan, 2, other)
    assert_same(seen[1], scan_now(one))
    assert_same(seen[2], scan_now(other))
    assert len(scanner.helper_pids()) == 2


async def test_progress_rises_to_the_total(make_scanner: MakeScanner, tmp_path: Path) -> None:
    paths = make_files(tmp_path)
    progress: list[tuple[int, int]] = []
    await make_scanner(helpers=2).scan("key", paths, on_progress=lambda *done: progress.append(done))
    assert progress == sorted(set(progress))
    assert progress[-1] == (3000, 3000)


async def test_helpers_killed_in_the_middle_cost_nothing_but_time(make_scanner: MakeScanner, tmp_path: Path) -> None:
    paths = make_files(tmp_path, 5000)
    scanner = make_scanner(helpers=2)
    killed: set[int] = set()

    def kill(done: int, total: int) -> None:
        for pid in scanner.helper_pids():
            if len(killed) < 2 and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    assert_same(await scanner.scan("key", paths, on_progress=kill), scan_now(paths))
    assert len(killed) == 2
    assert not killed & set(scanner.helper_pids())


async def test_a_helper_that_ended_while_idle_is_replaced_without_a_word(
    make_scanner: MakeScanner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_files(tmp_path, 100)
    scanner = make_scanner(helpers=1)
    await scanner.scan("key", paths)
    (pid,) = scanner.helper_pids()
    process_file = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    await trio.lowlevel.wait_readable(process_file)
    os.close(process_file)
    assert_same(await scanner.scan("key", paths), scan_now(paths))
    assert scanner.helper_pids() != [pid]
    assert caplog.records == []


@pytest.mark.parametrize("body", ["sys.exit(0)", "stat = None", "def stat(path): os._exit(1)"])
async def test_without_working_helpers_threads_do_it(
    make_scanner: MakeScanner, write_program: WriteProgram, tmp_path: Path, body: str,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    paths = make_files(tmp_path, 1500)
    scanner = make_scanner(few=1000, helpers=2, program=write_program(body))
    assert_same(await scanner.scan("key", paths), scan_now(paths))
    assert "helper" in caplog.text
    if body == "stat = None":
        assert "TypeError" in capfd.readouterr().err  # a helper's own bugs are to be seen in the log


HANGING = """
def stat(path):
    if path.endswith(b"3") and real({marker!r}).st_size:
        threading.Event().wait()
    return real(path)
"""


@pytest.fixture
def hanging(tmp_path: Path, write_program: WriteProgram) -> tuple[Path, Path]:
    """A helper program whose stat never ends for names that end with 3, and the file that is to blame."""
    marker = tmp_path / "marker"
    marker.write_bytes(b"hang")
    return write_program(HANGING.format(marker=str(marker))), marker


async def test_a_stat_that_hangs_makes_files_unknown_and_nothing_else(
    make_scanner: MakeScanner, tmp_path: Path, hanging: tuple[Path, Path]
) -> None:
    """SEMANTICS 4.8"""
    program, marker = hanging
    paths = make_files(tmp_path, 2500)
    scanner = make_scanner(helpers=2, program=program, patience_s=0.2)
    observed = await scanner.scan("key", paths)
    expected = scan_now(paths)
    for place in range(2500):
        if place in observed.errors:
            assert observed.errors[place] == "timed out without an answer (ETIMEDOUT)"
            assert (observed.size[place], observed.mtime_ns[place]) == (UNKNOWN, -1)
        else:
            assert observed.size[place] == expected.size[place]
            assert observed.mtime_ns[place] == expected.mtime_ns[place]
    assert {place for place in range(2500) if place % 10 == 3} <= set(observed.errors)
    assert len(observed.errors) < 2500
    assert scanner.helper_pids() == []  # they were killed
    marker.write_bytes(b"")
    scanner._patience_s = PATIENCE_S  # new helpers may be slow to get on
    assert_same(await scanner.scan("key", paths), expected)


async def test_cancelling_kills_the_helper_that_hangs(
    make_scanner: MakeScanner, tmp_path: Path, hanging: tuple[Path, Path]
) -> None:
    program, marker = hanging
    paths = make_files(tmp_path, 1500)
    scanner = make_scanner(helpers=1, program=program)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scanner.scan, "key", paths)
        while not scanner.helper_pids():
            await trio.lowlevel.checkpoint()
        (pid,) = scanner.helper_pids()
        process_file = os.pidfd_open(pid)
        nursery.cancel_scope.cancel()
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(process_file)
    os.close(process_file)
    marker.write_bytes(b"")
    assert_same(await scanner.scan("key", paths), scan_now(paths))


async def test_a_thread_that_hangs_is_abandoned_and_helpers_asked_from_then_on(
    make_scanner: MakeScanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    paths = make_files(tmp_path, 20)
    expected = scan_now(paths)
    scanner = make_scanner(few=2000, helpers=1, patience_s=0.1)
    answered = threading.Event()
    real = os.stat

    def hang(name: bytes) -> os.stat_result:
        answered.wait()
        return real(name)

    monkeypatch.setattr(observation.os, "stat", hang)
    observed = await scanner.scan("key", paths)
    answered.set()
    monkeypatch.undo()
    assert set(observed.errors) == set(range(20))
    scanner._patience_s = PATIENCE_S  # a new helper may be slow to get on
    assert_same(await scanner.scan("key", paths), expected)
    assert len(scanner.helper_pids()) == 1


DAEMON = """
import sys, trio
from torcd.files import scan
from torcd.files.scan import Paths, Scanner

async def main():
    scan.FEW = 0
    scanner = Scanner(helpers=2)
    await scanner.scan("key", Paths.from_strings(["/"] * 3000))
    print(scanner.helper_pids(), flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


async def test_helpers_die_with_the_daemon_even_by_kill_9() -> None:
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE)  # noqa: ASYNC220
    with daemon:
        assert daemon.stdout is not None
        pids = json.loads(await trio.to_thread.run_sync(daemon.stdout.readline))
        process_files = [os.pidfd_open(pid) for pid in pids]
        daemon.kill()
    assert len(process_files) == 2
    with trio.fail_after(30):
        for process_file in process_files:
            await trio.lowlevel.wait_readable(process_file)
            os.close(process_file)


async def test_closing_ends_the_helpers(
    make_scanner: MakeScanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat_process, "END_TIMEOUT_S", 30)
    scanner = make_scanner(helpers=2)
    await scanner.scan("key", make_files(tmp_path))
    pids = scanner.helper_pids()
    await scanner.aclose()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
