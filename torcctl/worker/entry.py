"""The worker as a blocking call: what `torcctl run` and `torcctl worker` use."""

import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from torcctl.worker.attempts import GRACE_S
from torcctl.worker.process import seal_descriptors
from torcctl.worker.resources import find_offer
from torcctl.worker.session import Session, WorkerOutcome
from torcctl.worker.slurm_environment import Share, find_devices, find_share
from torcctl.worker.time_left import TimeLeft
from torcctl.worker.timekeeper import Timekeeper, ask_slurm, find_spread
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
    num_gpus: int | None,
    output_dir: Path | None,
    on_progress: Callable[[dict[str, int], int], None],
    time_limit_s: float | None = None,
    grace_s: float | None = None,
    linger_s: float = 0.0,
    allocation_id: int | None = None,
) -> WorkerOutcome:
    """Runs jobs of the workflow until it is complete, or until SIGINT, SIGTERM or SIGHUP.

    Must be called in the main thread. `reconnect` finds (or starts) a daemon after a loss and returns its
    address; it may block, and is called in another thread. The first signal stops the jobs in order, the
    second kills them. In a Slurm job the worker keeps to what that was given, and to its time, where nothing else is
    said. It ends before its time does; `linger_s` after nothing is left that it could run. Raises Unreachable when the
    daemon stays away, and what it refuses.
    """
    share = find_share(os.environ)
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
            share=share,
            devices=find_devices(os.environ),
        ),
        output_dir=None if output_dir is None else os.path.abspath(output_dir),
        on_progress=on_progress,
        grace_s=_stop_grace_s(grace_s, share),
        timekeeper=_make_timekeeper(share, time_limit_s, grace_s),
        linger_s=linger_s,
        doubt_s=0.0 if share is None else DOUBT_S,
        allocation_id=allocation_id,
    )
    return trio.run(partial(_run, session, is_impatient=share is None))


SLURM_GRACE_S = 20.0
"""Most time between Slurm's TERM to the worker and the jobs' KILL: Slurm's own follows after its KillWait, 30 s by
default, and the results are still to be told."""

DOUBT_S = 0.5
"""Slurm signals every process of its job within milliseconds. A job that ended badly is not told of for so long: it may
have seen the signal before this process did."""


def _stop_grace_s(chosen_s: float | None, share: Share | None) -> float:
    """How long jobs have to end when the worker is told to."""
    if share is None:
        return GRACE_S if chosen_s is None else chosen_s
    return SLURM_GRACE_S if chosen_s is None else min(chosen_s, SLURM_GRACE_S)


def _make_timekeeper(share: Share | None, chosen_s: float | None, grace_s: float | None) -> Timekeeper:
    """What keeps the worker's time: the chosen limit, else that of its Slurm job, else none."""
    if chosen_s is not None or share is None:
        return Timekeeper(TimeLeft(grace_s=grace_s), limit_s=chosen_s)
    walltime = os.environ.get("TORC_WALLTIME_S", "")
    is_fresh = walltime.isascii() and walltime.isdecimal()  # of a batch script, which starts nothing before
    return Timekeeper(
        TimeLeft(grace_s=grace_s),
        limit_s=share.limit_s if is_fresh else None,
        ask=partial(ask_slurm, share.slurm_job_id),
        fallback_s=float(walltime) if is_fresh else share.limit_s,
        spread_s=find_spread(share.num_nodes),
    )


class _Visible(logging.Formatter):
    """What is logged, with nothing in it that would control a terminal: it names jobs and paths."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, with its traceback."""
        return make_visible(super().format(record), keeps_lines=True)


async def _run(session: Session, *, is_impatient: bool) -> WorkerOutcome:
    outcome: WorkerOutcome | TorcError
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(_watch_signals, session, is_impatient=is_impatient))
        try:
            outcome = await session.run()
        except TorcError as error:  # kept, so that it does not leave the nursery inside a group
            outcome = error
        nursery.cancel_scope.cancel()
    if isinstance(outcome, TorcError):
        raise outcome
    return outcome


async def _watch_signals(session: Session, *, is_impatient: bool, task_status: trio.TaskStatus[None]) -> None:
    """`is_impatient`: the second signal kills. Slurm sends its own twice, as itself and through `srun`."""
    watched = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it was started by nohup
        watched.add(signal.SIGHUP)
    with trio.open_signal_receiver(*watched) as signals:
        task_status.started()
        at_once = False
        async for _ in signals:
            session.shut_down(at_once=at_once)
            at_once = is_impatient
