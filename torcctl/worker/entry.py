"""The worker as a blocking call: what `torcctl run` and `torcctl worker` use."""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import trio

from torcctl.worker.process import seal_descriptors
from torcctl.worker.resources import find_offer
from torcctl.worker.session import Session, WorkerOutcome
from torcd.protocol.address import Address
from torcd.protocol.errors import TorcError
from torcd.protocol.visible import make_visible


def run_worker(
    *,
    address: Address,
    reconnect: Callable[[], Address] | None,
    workflow_id: int,
    max_parallel_jobs: int | None,
    num_cpus: int | None,
    memory_bytes: int | None,
    num_gpus: int,
    output_dir: Path | None,
    on_progress: Callable[[dict[str, int], int], None],
) -> WorkerOutcome:
    """Runs jobs of the workflow until it is complete, or until SIGINT, SIGTERM or SIGHUP.

    Must be called in the main thread. `reconnect` finds (or starts) a daemon after a loss and returns its
    address; it may block, and is called in another thread. The first signal stops the jobs in order, the
    second kills them. Raises Unreachable when the daemon stays away, and what it refuses.
    """
    seal_descriptors()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Visible())
    # If whoever started the worker ignored it, the kernel would reap the jobs and their exit codes be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    session = Session(
        address=address,
        find_daemon=reconnect,
        workflow_id=workflow_id,
        offer=find_offer(
            num_cpus=num_cpus,
            memory_bytes=memory_bytes,
            num_gpus=num_gpus,
            max_parallel_jobs=max_parallel_jobs,
        ),
        output_dir=None if output_dir is None else os.path.abspath(output_dir),
        on_progress=on_progress,
    )
    return trio.run(_run, session)


class _Visible(logging.Formatter):
    """What is logged, with nothing in it that would control a terminal: it names jobs and paths."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, with its traceback."""
        return make_visible(super().format(record), keeps_lines=True)


async def _run(session: Session) -> WorkerOutcome:
    outcome: WorkerOutcome | TorcError
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, session)
        try:
            outcome = await session.run()
        except TorcError as error:  # kept, so that it does not leave the nursery inside a group
            outcome = error
        nursery.cancel_scope.cancel()
    if isinstance(outcome, TorcError):
        raise outcome
    return outcome


async def _watch_signals(session: Session, *, task_status: trio.TaskStatus[None]) -> None:
    watched = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it was started by nohup
        watched.add(signal.SIGHUP)
    with trio.open_signal_receiver(*watched) as signals:
        task_status.started()
        at_once = False
        async for _ in signals:
            session.shut_down(at_once=at_once)
            at_once = True
