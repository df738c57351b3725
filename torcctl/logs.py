"""What a job wrote: finds the files of its latest attempt, prints them, and goes on while the job runs."""

import errno
import os
import stat
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from torcctl import output
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.model import Job, Result, Workflow
from torcd.protocol.requests import GetJob, GetWorkflow, ListResults, Subscribe

if TYPE_CHECKING:
    from torcctl.context import Context

LIVE = ("pending", "running")

POLL_S = 0.2
"""Between looks at a growing file: nothing tells when a file on another host grows."""

LOOK_AGAIN_S = 5.0
"""Between looks at the job itself, in case the event of its end was missed."""

COPY_BYTES = 1024 * 1024


class LogFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attempt's output is; a path is None when the worker kept none."""

    job_id: int
    attempt_id: int
    stdout_path: str | None
    stderr_path: str | None


def find_logs(context: "Context", job: Job) -> LogFiles:
    """The files of a job's latest attempt. Raises NotFound when there was none."""
    if job.status in LIVE:
        return _running_logs(context, job)
    request = ListResults(workflow_id=job.workflow_id, all_runs=True, filters=[("job_id", str(job.id))])
    results = context.rows(request, "results", Result)
    if not results:
        raise NotFound(f"job {job.id} ({job.name}) has not run yet: it is {job.status}", noun="result", id=job.id)
    latest = max(results, key=lambda result: result.attempt_id)
    return LogFiles(
        job_id=job.id,
        attempt_id=latest.attempt_id,
        stdout_path=latest.stdout_path,
        stderr_path=latest.stderr_path,
    )


def _running_logs(context: "Context", job: Job) -> LogFiles:
    """Where a worker writes by default: an attempt under way has no result that could tell."""
    workflow = context.get(GetWorkflow(workflow_id=job.workflow_id), Workflow)
    directory = Path(workflow.submission_directory) / ".torc" / str(workflow.id)
    base = str(directory / f"job_{job.id}_{job.attempt_id}")
    return LogFiles(job_id=job.id, attempt_id=job.attempt_id, stdout_path=base + ".o", stderr_path=base + ".e")


def show_logs(context: "Context", job: Job) -> None:
    """Prints stdout, then stderr; for programs as one document."""
    found = find_logs(context, job)
    if context.options.json:
        texts = {
            "stdout": _read(found.stdout_path).decode(errors="replace"),
            "stderr": _read(found.stderr_path).decode(errors="replace"),
        }
        output.write_json({**msgspec.structs.asdict(found), **texts})
        return
    sys.stdout.flush()
    for path in (found.stdout_path, found.stderr_path):
        sys.stdout.buffer.write(_read(path))


def follow_logs(context: "Context", job: Job) -> None:
    """Prints what there is and then what is added, until the attempt ends."""
    if context.options.json:
        raise Refused("a log that is followed cannot be one JSON document; leave -f json out")
    context.connection.call(Subscribe(workflow_id=job.workflow_id, progress=False))
    found = find_logs(context, job)
    streams = [Tail(path) for path in (found.stdout_path, found.stderr_path) if path is not None]
    attempt_id, look_at = found.attempt_id, time.monotonic() + LOOK_AGAIN_S
    is_live = job.status in LIVE
    while True:
        for stream in streams:
            stream.copy()
        if not is_live:
            return
        notification = context.connection.receive(POLL_S)
        if notification is not None or time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_AGAIN_S
            now = context.get(GetJob(job_id=job.id), Job)
            is_live = now.status in LIVE and now.attempt_id == attempt_id


class Tail:
    """A file that may grow, or not exist yet. `last_bytes` limits what is printed of its beginning.

    With `follows_links` it may be a link.
    """

    def __init__(self, path: str, *, last_bytes: int | None = None, follows_links: bool = False) -> None:
        self._path = path
        self._follows_links = follows_links
        self._last_bytes = last_bytes
        self._offset: int | None = None

    def copy(self) -> None:
        """Prints what was added since the last time."""
        try:
            with open_log(self._path, follows_links=self._follows_links) as file:
                file.seek(self._first(file) if self._offset is None else self._offset)
                while data := file.read(COPY_BYTES):
                    sys.stdout.buffer.write(data)
                self._offset = file.tell()
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(self._path, error) from error
        sys.stdout.buffer.flush()

    def _first(self, file: IO[bytes]) -> int:
        """Where printing starts: at the first whole line of the last bytes."""
        size = file.seek(0, os.SEEK_END)
        if self._last_bytes is None or size <= self._last_bytes:
            return 0
        file.seek(size - self._last_bytes)
        file.readline()
        return file.tell()


def open_log(path: str, *, follows_links: bool = False) -> IO[bytes]:
    """A log, opened for reading; raises OSError, and Refused for what no worker has made.

    A job may have put a pipe in its place, on which one would wait for ever, or a link to something else.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follows_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Refused(f"the log {path} is a link, which no worker has made: look at it yourself", path=path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"the log {path} is no file, so no worker has made it: look at it yourself", path=path)
    return open(descriptor, "rb")


def _read(path: str | None) -> bytes:
    if path is None:
        return b""
    try:
        with open_log(path) as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a path with NUL in it
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError | ValueError) -> NotFound:
    why = error.strerror if isinstance(error, OSError) else error
    return NotFound(f"the log {path} cannot be read: {why}", noun="log", id=path)
