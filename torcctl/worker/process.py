"""A job's process: started in its own session, watched through its pidfd, stopped with all it started.

It knows how to run one attempt and nothing of queues, resources or the daemon. Processes are not spawned in
threads: the start takes half a millisecond, handing it to a thread and back costs more.
"""

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from torcctl.worker.command import Execution, by_bash, find_bash, find_direct, is_shell_altered, wrap
from torcctl.worker.guard import Guard
from torcctl.worker.log_files import append_log, check_links, create_log
from torcctl.worker.own_peak import OwnPeak
from torcctl.worker.slurm_environment import DEVICE_VARIABLES
from torcctl.worker.stats import GROUP, SESSION, STATE, read_stats
from torcd.protocol.address import Address
from torcd.protocol.errors import Refused
from torcd.protocol.worker_requests import JobLaunch, Recovery

log = logging.getLogger(__name__)

_own_peak = OwnPeak()

CANNOT_START = 126
"""Return code of an attempt whose process could not be started: what a shell says of such a command."""


class Process(msgspec.Struct, gc=False):
    """A running job, leader of its own session and process group."""

    pid: int
    pidfd: int
    """Becomes readable when the process ends."""
    started_ms: int
    started_s: float
    """Monotonic."""
    stdout_path: str
    stderr_path: str
    devices: tuple[str, ...] = ()
    """The GPUs that it was given."""
    sampled_memory_bytes: int = 0
    """Most that all its processes together were seen to hold."""
    sampled_cpu_s: float = 0.0
    """What they were last seen to have used."""


class ProcessEnd(msgspec.Struct, frozen=True, gc=False):
    """What the kernel says of a process that ended."""

    return_code: int
    """128 + n for a process that signal n killed, as shells have it."""
    exec_time_s: float
    peak_memory_bytes: int | None
    """Of the largest process of the job, or of all together where they were sampled. None for a job that was not, and
    is smaller than the worker: the kernel counts the moment between fork and exec, when a child is as large as that."""
    cpu_seconds: float


class CannotStart(Exception):
    """The process could not be started; its stderr file says why, unless the logs are the trouble."""

    def __init__(self, why: str, stdout_path: str | None = None, stderr_path: str | None = None) -> None:
        super().__init__(why)
        self.stdout_path = stdout_path
        self.stderr_path = stderr_path


class Logs(NamedTuple):
    """Where a process writes to: descriptors, and what they are of."""

    stdout: int
    stderr: int
    stdout_path: str
    stderr_path: str


class Launcher:
    """Starts the jobs of one workflow. Holds `/dev/null` and a guardian of what it started until `close`.

    Raises Refused at once when jobs cannot be run at all: no bash, or logs that cannot be written.
    """

    def __init__(self, *, workflow_id: int, directory: str, output_dir: str | None, address: Address) -> None:
        self._bash = find_bash()
        self._directory = directory
        self.output_dir = output_dir or os.path.join(directory, ".torc", str(workflow_id))
        try:
            self._make_output_dir()
        except OSError as error:
            if not os.path.isdir(directory):
                raise Refused(
                    f"the workflow's submission directory {directory} is not there on {socket.gethostname()}: its jobs "
                    "cannot run here. Put it back, or mount its file system",
                    path=directory,
                ) from error
            raise Refused(
                f"the jobs' output cannot be written to {self.output_dir}: {error.strerror};"
                " make the directory writable or choose another one with --output-dir",
                path=self.output_dir,
            ) from error
        self._environment = dict(os.environb)
        # As bash would have them, so that a job sees the same with and without it.
        self._environment.pop(b"OLDPWD", None)
        self._environment.setdefault(b"SHLVL", b"0")
        self._is_shell_altered = is_shell_altered(os.environ)
        self._path = os.environ.get("PATH")
        self._environment |= {
            b"PWD": os.fsencode(directory),
            b"TORC_WORKFLOW_ID": b"%d" % workflow_id,
            b"TORC_OUTPUT_DIR": os.fsencode(self.output_dir),
            b"TORC_NO_AUTOSTART": b"1",
        }
        known = [name.encode() for name in DEVICE_VARIABLES if name in os.environ]
        self._device_variables = known or [DEVICE_VARIABLES[0].encode()]
        self.set_address(address)
        self.guard = Guard()
        name, _, value = self.guard.mark.partition("=")
        self._environment[os.fsencode(name)] = os.fsencode(value)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Gives up what the launcher holds; jobs that run are not touched, but nobody guards them any more."""
        os.close(self._null)
        self.guard.close()

    def set_address(self, address: Address) -> None:
        """The daemon's address for jobs that start from now on.

        One from the connection file may change while they run: they are told of the file, and never of the token.
        """
        if address.file is None:
            self._environment[b"TORC_URL"] = os.fsencode(address.url)
        else:
            self._environment.pop(b"TORC_URL", None)
            self._environment[b"TORCD_CONNECTION_FILE"] = os.fsencode(address.file)

    def start(self, job: JobLaunch, devices: Collection[str] = ()) -> Process:
        """Starts the job, with these GPUs, or the recovery script before it: once that has succeeded `go_on` follows.

        Raises CannotStart; whatever the reason, the worker is none the worse.
        """
        return self._start(job, devices, create_log, job.recovery)

    def go_on(self, job: JobLaunch, recovery: Process) -> Process:
        """Starts the command of a job whose recovery script has succeeded: one attempt, in the same logs."""
        process = self._start(job, recovery.devices, append_log, None)
        process.started_ms, process.started_s = recovery.started_ms, recovery.started_s
        return process

    def _start(
        self, job: JobLaunch, devices: Collection[str], open_log: Callable[[str], int], recovery: Recovery | None
    ) -> Process:
        base = os.path.join(self.output_dir, f"job_{job.job_id}_{job.attempt_id}")
        stdout_path, stderr_path = base + ".o", base + ".e"
        try:
            stdout = self._open_log(open_log, stdout_path)
        except OSError as error:
            raise CannotStart(f"{stdout_path}: {error.strerror}") from error
        try:
            try:
                stderr = self._open_log(open_log, stderr_path)
            except OSError as error:
                raise CannotStart(f"{stderr_path}: {error.strerror}", stdout_path) from error
            try:
                return self._spawn(job, devices, recovery, Logs(stdout, stderr, stdout_path, stderr_path))
            except Exception as error:  # the boundary of one job: its trouble must not end the others
                if not isinstance(error, OSError | ValueError):
                    log.exception("job %d (%s) could not be started", job.job_id, job.name)
                why = self._explain(error)
                message = f"torcctl: the job could not be started: {why}\n"
                with contextlib.suppress(OSError):  # a full disk, say; the log has it too
                    os.write(stderr, message.encode(errors="replace"))
                raise CannotStart(why, stdout_path, stderr_path) from error
            finally:
                os.close(stderr)
        finally:
            os.close(stdout)

    def _spawn(self, job: JobLaunch, devices: Collection[str], recovery: Recovery | None, logs: Logs) -> Process:
        environment = self._environment_of(job, devices)
        started_ms, started_s = time.time_ns() // 1_000_000, time.monotonic()
        if recovery is None:
            pid = self._execute_command(job, environment, logs)
        else:
            pid = self._execute_recovery(recovery, environment, logs)
        self.guard.enter(pid)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            self.guard.leave(pid)
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        return Process(pid, pidfd, started_ms, started_s, logs.stdout_path, logs.stderr_path, tuple(devices))

    def _execute_recovery(self, recovery: Recovery, environment: dict[bytes, bytes], logs: Logs) -> int:
        environment[b"TORC_RETURN_CODE"] = b"%d" % recovery.return_code
        environment[b"TORC_FAILED_ATTEMPT"] = b"%d" % recovery.attempt_id
        environment[b"TORC_RECOVERY_FOR"] = os.fsencode(recovery.stderr_path or "")
        self.guard.announce(logs.stdout, logs.stderr)
        return self._execute(by_bash(self._bash, recovery.script), environment, logs)

    def _execute_command(self, job: JobLaunch, environment: dict[bytes, bytes], logs: Logs) -> int:
        command = job.command
        if job.invocation_script:
            command = wrap(job.invocation_script, command, self._directory)
        direct = None
        if not (self._is_shell_altered or is_shell_altered(job.env)):
            direct = find_direct(command, job.env.get("PATH", self._path))
        self.guard.announce(logs.stdout, logs.stderr)
        if direct is not None:
            try:
                return self._execute(direct, {**environment, b"_": os.fsencode(direct.program)}, logs)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR}:
                    raise
                # Bash words the refusal as the user knows it, and runs a script that has no `#!`.
        return self._execute(by_bash(self._bash, command), environment, logs)

    def _execute(self, execution: Execution, environment: dict[bytes, bytes], logs: Logs) -> int:
        """The pid. The process is ours to reap: Popen is made to believe that this has happened."""
        popen = subprocess.Popen(
            execution.words,
            executable=execution.program,
            stdin=self._null,
            stdout=logs.stdout,
            stderr=logs.stderr,
            cwd=self._directory,
            env=environment,
            close_fds=False,  # every descriptor of the worker is close-on-exec
            start_new_session=True,
        )
        popen.returncode = 0
        return popen.pid

    def _environment_of(self, job: JobLaunch, devices: Collection[str]) -> dict[bytes, bytes]:
        environment = self._environment.copy()
        if devices:
            environment |= dict.fromkeys(self._device_variables, ",".join(devices).encode())
        for name, value in job.env.items():
            environment[os.fsencode(name)] = os.fsencode(value)
        environment[b"TORC_JOB_ID"] = b"%d" % job.job_id
        environment[b"TORC_JOB_NAME"] = os.fsencode(job.name)
        environment[b"TORC_ATTEMPT_ID"] = b"%d" % job.attempt_id
        environment[b"TORC_RUN_ID"] = b"%d" % job.run_id
        return environment

    def reap(self, process: Process) -> ProcessEnd:
        """Collects a process of this launcher that has ended."""
        self.guard.leave(process.pid)
        return reap(process)

    def _make_output_dir(self) -> None:
        os.stat(self._directory)  # never made anew: it may lie on a file system that is not mounted now
        os.makedirs(self.output_dir, mode=0o700, exist_ok=True)
        check_links(self.output_dir, self._directory)

    def _open_log(self, open_log: Callable[[str], int], path: str) -> int:
        try:
            return open_log(path)
        except FileNotFoundError:
            self._make_output_dir()  # someone cleaned up while the workflow runs
            return open_log(path)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, OSError) and error.errno == errno.E2BIG:
            return "its command and environment are larger than this system allows"
        if isinstance(error, OSError) and not os.path.isdir(self._directory):
            return f"the submission directory {self._directory} is not there"
        return str(error)


def reap(process: Process) -> ProcessEnd:
    """Collects a process that has ended and closes its pidfd.

    What it left behind in its process group is killed: a job is over when its process is. This comes before
    the reaping, because only until then the group's number cannot be another's.
    """
    signal_group(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    exec_time_s = time.monotonic() - process.started_s
    os.close(process.pidfd)
    code = os.waitstatus_to_exitcode(status)
    largest = usage.ru_maxrss * 1024 if _own_peak.is_exceeded_by(usage.ru_maxrss) else 0
    return ProcessEnd(
        return_code=code if code >= 0 else 128 - code,
        exec_time_s=exec_time_s,
        peak_memory_bytes=max(largest, process.sampled_memory_bytes) or None,
        cpu_seconds=max(usage.ru_utime + usage.ru_stime, process.sampled_cpu_s),
    )


def signal_group(group: int, number: signal.Signals) -> None:
    """Sends a signal to a process group; one that has gone, or changed its user, is left alone."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        log.warning("process group %d could not be signalled: %s", group, error)


def find_groups(sessions: Collection[int]) -> dict[int, set[int]]:
    """The process groups with a living process in each of these sessions; one pass over `/proc`.

    A session has more than one group when a job runs `timeout` or `set -m`.
    """
    found: dict[int, set[int]] = {session: set() for session in sessions}
    for _, fields in read_stats():
        members = found.get(int(fields[SESSION]))
        if members is not None and fields[STATE] not in {b"Z", b"X"}:
            members.add(int(fields[GROUP]))
    return found


def seal_descriptors() -> None:
    """Makes every inherited descriptor but the standard ones close-on-exec, so that no job gets one."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError as error:
                if error.errno != errno.EBADF:  # the listing's own descriptor
                    raise
