"""Commands of actions: run by bash on the daemon's host, in a session of their own, their output in files.

What was started is never ended from here: when the daemon stops, or whoever waits is cancelled, it runs on to its end,
and nobody hears of that. Jobs are the workers' business.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

import msgspec
import trio

from torcd.open_files import with_limit_of_before
from torcd.output_files import check_links, create_file

SCRIPT = """for command in "$@"; do
    number=$((number + 1))
    bash -c "$command" || {
        code=$?
        echo "torcd: command $number of $# failed with return code $code; the rest was not run" >&2
        exit $code
    }
done"""
"""Runs its arguments one after the other, up to the first that fails; one process, so that a daemon that ends meanwhile
does not leave half of them undone."""

OWN = frozenset(
    {
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
        "INVOCATION_ID", "TORC_TOKEN", "TORC_FINGERPRINT",
    }
)  # fmt: skip
"""What is the daemon's alone: systemd's way to speak with it, and how whoever started it finds another one."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Commands, and how they are to be run."""

    commands: Sequence[str]
    directory: str
    output_dir: str
    """Made if it is not there."""
    stdout_path: str
    stderr_path: str
    environment: Mapping[str, str]
    """Over the daemon's own."""
    umask: int


async def run_commands(order: Order, on_start: Callable[[int], object]) -> int:
    """Runs commands and waits for their end; their return code, 128 + n for a signal. Raises OSError.

    `on_start` is told their process group.

    Cancelled while a file system does not answer, it does not wait for that: they may begin after all.
    """
    pid, pidfd = await trio.to_thread.run_sync(_start, order, abandon_on_cancel=True)
    on_start(pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
    return _reap(pid)


def _start(order: Order) -> tuple[int, int]:
    """The pid of the process, and a descriptor that is readable once it has ended."""
    _make_output_dir(order)
    stdout = create_file(order.stdout_path)
    try:
        stderr = create_file(order.stderr_path)
        try:
            popen = subprocess.Popen(
                with_limit_of_before(["bash", "-c", SCRIPT, "torcd", *order.commands]),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=order.directory,
                env={**own_environment(), **order.environment},
                start_new_session=True,
                umask=order.umask,
            )
        finally:
            os.close(stderr)
    finally:
        os.close(stdout)
    popen.returncode = 0  # it is ours to reap
    return popen.pid, os.pidfd_open(popen.pid)


def _reap(pid: int) -> int:
    """The return code of a process that has ended."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def own_environment() -> dict[str, str]:
    """The daemon's, for what nobody gives one, without what is the daemon's alone."""
    return {name: value for name, value in os.environ.items() if name not in OWN}


def _make_output_dir(order: Order) -> None:
    os.stat(order.directory)  # never made anew: it may lie on a file system that is not mounted now
    os.makedirs(order.output_dir, mode=0o700, exist_ok=True)
    check_links(order.output_dir, order.directory)
