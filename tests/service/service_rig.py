"""A user whose `systemd --user` is real, in namespaces of their own (see `systemd_user`)."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from real_system import BIN, PATIENCE_S, Ran

HERE = Path(__file__).parent

CANNOT = 77
"""What `systemd_user` exits with where the machine does not allow it."""


class User:
    """Runs commands beside the service manager. Paths are the same inside and outside."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="torc-", dir="/tmp"))  # tmp_path is too long for sockets
        self.home = self.directory / "home"
        self.work = self.directory / "work"
        self.work.mkdir()
        self.units = self.home / ".config" / "systemd" / "user"
        self.database = self.home / ".local" / "state" / "torc" / "torc.db"
        self.socket = self.directory / "run" / "torc" / "torcd.sock"
        self._inside = subprocess.Popen(
            [str(HERE / "systemd_user"), str(self.directory), sys.executable, str(HERE / "inside.py")],
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
            cwd=self.work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._inside.stdout is not None
        ready, _, _ = select.select([self._inside.stdout], [], [], PATIENCE_S)
        if not ready:
            self._inside.kill()
        if not self._inside.stdout.readline():
            _, err = self._inside.communicate(timeout=PATIENCE_S)
            shutil.rmtree(self.directory, ignore_errors=True)
            assert self._inside.returncode == CANNOT, err
            pytest.skip(err.strip().splitlines()[-1])

    def run(self, *argv: object, check: bool = True) -> Ran:
        """Runs a program to its end; with `check` any exit code but 0 fails the test."""
        assert self._inside.stdin is not None
        assert self._inside.stdout is not None
        self._inside.stdin.write(json.dumps([str(word) for word in argv]) + "\n")
        self._inside.stdin.flush()
        ready, _, _ = select.select([self._inside.stdout], [], [], 2 * PATIENCE_S)
        assert ready, argv
        ran = Ran(*json.loads(self._inside.stdout.readline()))
        if check:
            assert ran.code == 0, f"{argv}: {ran}"
        return ran

    def torcctl(self, *argv: object, check: bool = True) -> Ran:
        """Runs torcctl."""
        return self.run("torcctl", *argv, check=check)

    def systemctl(self, *argv: object, check: bool = True) -> Ran:
        """Runs `systemctl --user`."""
        return self.run("systemctl", "--user", *argv, check=check)

    def spawn(self, script: str) -> None:
        """Runs a script in the background."""
        self.run("bash", "-c", f"setsid bash -c {json.dumps(script)} </dev/null >/dev/null 2>&1 &")

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", unit, f"--property={name}", "--value").out.strip()

    def pid(self) -> int:
        """The daemon that the service runs, as it is called inside; 0: none."""
        return int(self.show("torcd.service", "MainPID"))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for what the service manager does by itself."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.systemctl("status", "torcd.service", check=False).out
            time.sleep(0.1)

    def reset(self) -> None:
        """As if torcd had never been here."""
        self.torcctl("daemon", "uninstall", check=False)
        self.torcctl("daemon", "stop", check=False)
        self.systemctl("reset-failed", check=False)
        shutil.rmtree(self.home / ".local", ignore_errors=True)
        shutil.rmtree(self.home / ".config", ignore_errors=True)
        self.systemctl("daemon-reload")

    def close(self) -> None:
        """Ends everything: with its first process all others of the namespace go."""
        assert self._inside.stdin is not None
        self._inside.stdin.close()
        self._inside.wait(PATIENCE_S)
        for stream in (self._inside.stdout, self._inside.stderr):
            assert stream is not None
            stream.close()
        shutil.rmtree(self.directory, ignore_errors=True)
