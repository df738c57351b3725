"""One user's own torcd and torcctl, as real processes: the rig of the end-to-end tests.

A System has its own home, state, socket and working directory, so that nothing of the user who runs the tests is
read or written. Every process it started, or that one of those started, carries its TORCD_DATABASE in the
environment; by that mark `close` finds and kills what is left.
"""

import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from torcd.protocol.address import unix_url
from torcd.protocol.client import Connection, connect
from torcd.protocol.requests import GetWorkflow, ListJobs, Reinit, Request

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
"""For whatever takes a fraction of a second on an idle machine: a test that hangs must fail."""


class Ran(msgspec.Struct, frozen=True):
    """What a run of torcctl left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


class Pipe:
    """A named pipe between a test and a job: whoever reads waits for whoever writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._end = os.open(path, os.O_RDWR)  # both ways, so that neither opening nor writing blocks
        self._buffer = b""

    def read_line(self) -> str:
        """The next line that somebody writes."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._end], [], [], PATIENCE_S)
            assert ready, f"nobody wrote to {self.path}"
            self._buffer += os.read(self._end, 4096)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def write_line(self, line: str = "go") -> None:
        """A line for the next reader."""
        os.write(self._end, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._end)


class System:
    """A home, a working directory (`work`) and at most one daemon."""

    def __init__(self, directory: Path) -> None:
        self.work = directory / "work"
        """Where torcctl is called."""
        self.work.mkdir()
        self.database = directory / "state" / "torc" / "torc.db"
        self.log = self.database.with_name("torcd.log")
        self._runtime = Path(tempfile.mkdtemp(prefix="torc-", dir="/tmp"))  # tmp_path is too long for a socket
        self.socket = self._runtime / "torcd.sock"
        (self._runtime / "jq").symlink_to(Path(__file__).with_name("jq_stand_in.py"))  # the last in PATH
        self.environ = {
            "HOME": str(directory),
            "PATH": f"{BIN}:{os.environ['PATH']}:{self._runtime}",
            "LANG": "C.UTF-8",
            "XDG_STATE_HOME": str(directory / "state"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "TORCD_DATABASE": str(self.database),
            "TORCD_SOCKET": str(self.socket),
        }
        self.daemon: subprocess.Popen[bytes] | None = None
        """The daemon of `start_daemon`; one that torcctl started is only known by its pid."""
        self._children: list[subprocess.Popen[Any]] = []
        self._connections: list[Connection] = []
        self._pipes: list[Pipe] = []

    # ---- torcctl ----

    def torcctl(
        self,
        *args: object,
        check: bool = True,
        json: bool = False,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
    ) -> Any:
        """Runs a command as a script would: a `Ran`, or with `json` the document it printed.

        With `check` any exit code but 0 fails the test.
        """
        words = ["-f", "json"] if json else []
        child = self.spawn(*words, *args, cwd=cwd, env=env, stdin=None if stdin is None else subprocess.PIPE)
        out, err = child.communicate(stdin, timeout=PATIENCE_S)
        ran = Ran(child.returncode, out, err)
        if check:
            assert ran.code == 0, f"torcctl {' '.join(map(str, args))}: {ran}"
        return ran.json if json and check else ran

    def spawn(
        self, *args: object, cwd: Path | None = None, env: dict[str, str] | None = None, stdin: int | None = None
    ) -> "subprocess.Popen[str]":
        """A torcctl that runs on; its stdout and stderr are pipes."""
        child = subprocess.Popen(
            [sys.executable, "-m", "torcctl", *map(str, args)],
            cwd=cwd or self.work,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def adopt(self, child: "subprocess.Popen[Any]") -> None:
        """Sees to a process that a test started by itself."""
        self._children.append(child)

    def bash(self, script: str) -> subprocess.CompletedProcess[str]:
        """Runs a script in which `torcctl` is the command of that name."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.work,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    # ---- the daemon ----

    def start_daemon(
        self,
        *args: str,
        env: dict[str, str] | None = None,
        before_exec: Callable[[], None] | None = None,
        words: tuple[str, ...] = ("-m", "torcd"),
    ) -> "subprocess.Popen[bytes]":
        """Starts torcd, or what `words` make Python execute in its place; returns when it accepts connections."""
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self._runtime / f"ready-{len(self._children)}"
        ready.bind(str(address))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with ready, self.log.open("ab") as log:
            self.daemon = self.spawn_daemon(
                *args,
                env={"NOTIFY_SOCKET": str(address), **(env or {})},
                log=log.fileno(),
                before_exec=before_exec,
                words=words,
            )
            ended = os.pidfd_open(self.daemon.pid)
            heard, _, _ = select.select([ready, ended], [], [], PATIENCE_S)
            os.close(ended)
            assert heard == [ready], f"torcd did not start; its log is {self.log.read_text()}"
            assert ready.recv(100) == b"READY=1"
        return self.daemon

    def spawn_daemon(
        self,
        *args: str,
        env: dict[str, str] | None = None,
        log: int = subprocess.PIPE,
        before_exec: Callable[[], None] | None = None,
        words: tuple[str, ...] = ("-m", "torcd"),
    ) -> "subprocess.Popen[bytes]":
        """Starts torcd and does not wait for anything."""
        child = subprocess.Popen(
            [sys.executable, *words, *args],
            cwd="/",
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=before_exec,
        )
        self._children.append(child)
        return child

    def kill_daemon(self) -> None:
        """Ends the daemon of `start_daemon` as a crash of the machine would."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait(PATIENCE_S)

    def stop_daemon(self) -> int:
        """Ends the daemon of `start_daemon` in order (SIGTERM); its exit code."""
        assert self.daemon is not None
        self.daemon.terminate()
        return self.daemon.wait(PATIENCE_S)

    def daemon_pids(self) -> list[int]:
        """The daemons of this system that live, whoever started them."""
        return [pid for pid in self._marked() if _words(pid)[1:3] == [b"-m", b"torcd"]]

    def only_daemon(self) -> int:
        """The one daemon that is left when those that found the lock taken have ended."""
        deadline = time.monotonic() + PATIENCE_S
        while len(pids := self.daemon_pids()) != 1:
            assert time.monotonic() < deadline, pids
        return pids[0]

    def helper_pids(self) -> list[int]:
        """The processes that stat files for the daemon."""
        daemon = self.only_daemon()
        return [pid for pid in self._marked() if _parent(pid) == daemon]

    @contextmanager
    def held_scan(self, workflow_id: int) -> Iterator[Callable[[], None]]:
        """A workflow of more than 2000 files whose scans do not end before the function given is called.

        So many files are not stat'ed by the daemon itself but by its helpers, which can be stopped.
        """
        self.plan(workflow_id)  # starts the helpers
        helpers = self.helper_pids()
        assert helpers

        def release() -> None:
            for pid in helpers:
                os.kill(pid, signal.SIGCONT)

        for pid in helpers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield release
        finally:
            with suppress(ProcessLookupError):  # they end with their daemon
                release()

    # ---- the protocol ----

    @property
    def url(self) -> str:
        """The daemon's address."""
        return unix_url(self.socket)

    def connect(self) -> Connection:
        """A session with the daemon; closed at the end of the test."""
        connection = connect(self.url)
        self._connections.append(connection)
        return connection

    def call(self, request: Request) -> Any:
        """One request on a session of its own."""
        with connect(self.url) as connection:
            return ask(connection, request)

    # ---- files ----

    def write(self, path: str | Path, text: str) -> Path:
        """Writes a file (relative to `work`), with directories; its time is newer than it was by far."""
        target = self.work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.stat().st_mtime_ns if target.exists() else None
        target.write_text(text)
        if before is not None and target.stat().st_mtime_ns <= before:
            os.utime(target, ns=(before + 1, before + 1))
        return target

    def read(self, path: str | Path) -> str:
        """The text of a file."""
        return (self.work / path).read_text()

    def spec(self, document: dict[str, Any], path: str = "spec.json") -> Path:
        """Writes a specification."""
        return self.write(path, json.dumps(document))

    def pipe(self, name: str) -> Pipe:
        """Makes a named pipe in `work`."""
        pipe = Pipe(self.work / name)
        self._pipes.append(pipe)
        return pipe

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database holds, read past the daemon."""
        db = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    # ---- short cuts ----

    def create(self, document: dict[str, Any]) -> int:
        """Creates a workflow; its id."""
        created = self.torcctl("workflows", "create", self.spec(document), json=True)
        workflow_id: int = created["workflow_id"]
        return workflow_id

    def jobs(self, workflow_id: int) -> dict[str, dict[str, Any]]:
        """The jobs of a workflow by name."""
        return {job["name"]: job for job in self.call(ListJobs(workflow_id=workflow_id))["jobs"]}

    def statuses(self, workflow_id: int) -> dict[str, str]:
        """The status of each job."""
        return {name: job["status"] for name, job in self.jobs(workflow_id).items()}

    def wait_for_status(self, workflow_id: int, name: str, status: str) -> None:
        """Until a job has it: what it tells by itself, the daemon is told a moment later."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.statuses(workflow_id)[name]) != status:
            assert time.monotonic() < deadline, f"{name} is {found}, not {status}"
            time.sleep(0.01)

    def attempts(self, workflow_id: int) -> dict[str, int]:
        """How often each job was run."""
        return {name: job["attempt_id"] for name, job in self.jobs(workflow_id).items()}

    def run_id(self, workflow_id: int) -> int:
        """The number of a workflow's present run."""
        number: int = self.call(GetWorkflow(workflow_id=workflow_id))["run_id"]
        return number

    def plan(self, workflow_id: int, **params: Any) -> dict[str, Any]:
        """The plan of a reinit's dry run (at most 1000 jobs)."""
        answer = self.call(Reinit(workflow_id=workflow_id, dry_run=True, **params))
        assert answer["next_cursor"] is None
        plan: dict[str, Any] = answer["plan"]
        return plan

    # ---- the end ----

    def _marked(self) -> Iterator[int]:
        mark = f"TORCD_DATABASE={self.database}".encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    environ = Path(f"/proc/{entry}/environ").read_bytes()
                except OSError:
                    continue  # it has ended, or is another user's
                if mark in environ.split(b"\0"):
                    yield int(entry)

    def close(self) -> None:
        """Kills what is left of this system and removes its socket; again is fine."""
        for held in (*self._connections, *self._pipes):
            held.close()
        self._connections.clear()
        self._pipes.clear()
        deadline = time.monotonic() + PATIENCE_S
        while left := list(self._marked()):  # again: one that is forking may have escaped
            assert time.monotonic() < deadline, f"processes that cannot be killed: {left}"
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._reap()
        self._reap()
        shutil.rmtree(self._runtime, ignore_errors=True)

    def _reap(self) -> None:
        for child in self._children:
            child.wait(PATIENCE_S)
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it has ended


def many_files(count: int = 2100, **job: Any) -> dict[str, Any]:
    """A specification of one job with so many outputs that helpers stat them; the job writes only one."""
    return {
        "name": "many files",
        "parameters": {"i": f"1:{count}"},
        "files": [{"name": "f{i}", "path": "many/f{i}", "use_parameters": ["i"]}],
        "jobs": [{"name": "maker", "command": "true", "output_file_regexes": ["f.*"], **job}],
    }


def ask(connection: Connection, request: Request) -> Any:
    """The decoded answer to a request."""
    return msgspec.json.decode(connection.call(request, timeout_s=PATIENCE_S))
