"""The client starts the daemon: the real one, and programs that pretend to be it."""

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from descriptors_seen import descriptors_of

from torcctl import autostart
from torcd.protocol.address import Places, find_places
from torcd.protocol.client import NobodyAnswers
from torcd.protocol.errors import Unreachable
from torcd.protocol.model import Daemon

TORCCTL = (sys.executable, "-m", "torcctl")


class Home:
    """A user without a daemon, in a directory of its own."""

    def __init__(self, path: Path) -> None:
        self.environ = {
            "HOME": str(path),
            "TORCD_DATABASE": str(path / "state" / "torc.db"),
            "TORCD_SOCKET": str(path / "run" / "torcd.sock"),
            "PATH": os.environ["PATH"],
            "SOMETHING": "kept",
        }
        self.places = find_places(self.environ)

    def run(self, *argv: str) -> "subprocess.CompletedProcess[bytes]":
        process = self.start(*argv)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def start(self, *argv: str, pass_fds: tuple[int, ...] = ()) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*TORCCTL, *argv],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
        )

    def daemon(self) -> Daemon:
        return msgspec.json.decode(self.run("-f", "json", "daemon", "status").stdout, type=Daemon)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    yield found
    assert found.run("daemon", "stop").returncode == 0
    for pid in _find_late_daemons(found.environ["TORCD_DATABASE"]):
        with contextlib.suppress(ProcessLookupError):  # it ends by itself, too
            os.kill(pid, signal.SIGKILL)


def _find_late_daemons(database: str) -> list[int]:
    """Those that lost a race, and come so late that they do not find the winner any more."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_daemon = b"\0-m\0torcd\0" in (process / "cmdline").read_bytes()
            if is_daemon and f"TORCD_DATABASE={database}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def test_a_daemon_is_started_detached_from_its_client(home: Home, tmp_path: Path) -> None:
    secret = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    client = home.start("-f", "json", "workflows", "list", pass_fds=(secret,))
    os.close(secret)
    out, err = client.communicate(timeout=30)
    assert (client.returncode, msgspec.json.decode(out), err) == (0, {"workflows": []}, b"")
    process = Path("/proc") / str(home.daemon().pid)
    assert os.readlink(process / "cwd") == "/"
    assert os.getsid(int(process.name)) == int(process.name)
    descriptors = descriptors_of(int(process.name))
    assert str(tmp_path / "secret") not in descriptors.values()
    assert [descriptors[number] for number in range(3)] == ["/dev/null", *[str(home.places.log)] * 2]
    assert b"SOMETHING=kept" in (process / "environ").read_bytes()
    assert stat.S_IMODE(home.places.log.stat().st_mode) == 0o600


def test_clients_that_start_at_once_end_with_one_daemon(home: Home) -> None:
    clients = [home.start("-f", "json", "daemon", "start") for _ in range(3)]
    answers = [client.communicate(timeout=30)[0] for client in clients]
    assert [client.returncode for client in clients] == [0, 0, 0]
    assert len({msgspec.json.decode(answer, type=Daemon).pid for answer in answers}) == 1


def test_nothing_is_started_when_that_is_forbidden_or_asked_about(home: Home) -> None:
    assert home.run("--no-autostart", "workflows", "list").returncode == 5
    home.environ["TORC_NO_AUTOSTART"] = "1"
    assert home.run("workflows", "list").returncode == 5
    status = home.run("daemon", "status")
    assert (status.returncode, status.stdout) == (5, b"running: false\n")
    assert not home.places.log.exists()


def test_stop_waits_until_the_daemon_is_gone(home: Home) -> None:
    assert home.run("daemon", "start").returncode == 0
    gone = os.pidfd_open(home.daemon().pid)
    stopped = home.run("daemon", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, b"running: false\n")
    assert select.select([gone], [], [], 0)[0] == [gone]
    os.close(gone)


def test_places_that_are_relative_are_those_of_the_clients_directory(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon itself runs in `/`."""
    monkeypatch.chdir(tmp_path)
    for name in ("TORCD_DATABASE", "TORCD_SOCKET"):
        monkeypatch.setitem(home.environ, name, os.path.relpath(home.environ[name]))
    monkeypatch.setitem(home.environ, "TORCD_CONNECTION_FILE", "here.json")
    assert home.run("daemon", "start").returncode == 0
    assert home.daemon().database == str(home.places.database)
    assert (tmp_path / "here.json").exists()


# ---- programs that pretend ----


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Places]:
    """Has a piece of Python started in place of torcd."""

    def install(program: str) -> Places:
        monkeypatch.setattr(autostart, "DAEMON", (sys.executable, "-c", program))
        return Home(tmp_path).places

    return install


def test_a_daemon_that_dies_is_reported_with_what_it_said(pretend: Callable[[str], Places]) -> None:
    places = pretend("print('older noise')")
    with pytest.raises(Unreachable):
        autostart.reach(places, may_start=True)
    places = pretend("raise SystemExit('the database is broken')")
    with pytest.raises(Unreachable, match="exited with code 1") as caught:
        autostart.reach(places, may_start=True)
    assert "the database is broken" in caught.value.message
    assert "older noise" not in caught.value.message
    assert not isinstance(caught.value, NobodyAnswers)


def test_a_loser_of_the_race_waits_for_the_winner(
    pretend: Callable[[str], Places], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that exits with 75 found a lock; whoever holds it will answer, or the time is over."""
    monkeypatch.setattr(autostart, "START_TIMEOUT_S", 0.3)
    places = pretend("raise SystemExit(75)")
    with pytest.raises(Unreachable, match="nothing answers after"):
        autostart.reach(places, may_start=True)


def test_a_daemon_that_takes_too_long_to_answer_is_told_and_left_alone(
    pretend: Callable[[str], Places], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(autostart, "START_TIMEOUT_S", 0.0)
    os.mkfifo(tmp_path / "gate")
    places = pretend(f"open({str(tmp_path / 'gate')!r}).read()")
    with pytest.raises(Unreachable, match="nothing answers after"):
        autostart.reach(places, may_start=True)
    (tmp_path / "gate").write_text("end")  # waits for whoever reads: it is still there


def test_a_daemon_that_was_killed_before_it_answered_is_started_again(
    pretend: Callable[[str], Places], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(autostart, "START_AGAIN_S", 0.0)
    monkeypatch.setattr(autostart, "START_TIMEOUT_S", 30.0)
    seen = tmp_path / "seen"
    places = pretend(
        "import os, pathlib, signal, sys\n"
        f"seen = pathlib.Path({str(seen)!r})\n"
        "if seen.exists(): sys.exit('the second one speaks')\n"
        "seen.touch()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with pytest.raises(Unreachable, match="the second one speaks"):
        autostart.reach(places, may_start=True)


def test_a_log_that_cannot_be_written_is_told(pretend: Callable[[str], Places]) -> None:
    places = pretend("")
    places.log.parent.parent.mkdir(exist_ok=True)
    places.log.parent.write_text("in the way")
    with pytest.raises(Unreachable, match="cannot be written"):
        autostart.reach(places, may_start=True)


def test_the_users_own_address_never_starts_anything(tmp_path: Path) -> None:
    places = find_places({"HOME": str(tmp_path)}, url=f"ws+unix://{tmp_path}/none")
    with pytest.raises(NobodyAnswers):
        autostart.reach(places, may_start=True)
    assert not places.log.exists()
