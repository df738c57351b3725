"""A worker's life: register, run and report until nothing is left, come back after a loss, leave.

It puts the parts together and decides when the worker ends; what may run is the daemon's decision.
"""

import logging
import os
import socket
from collections.abc import Callable

import msgspec
import trio
from msgspec import structs

from torcctl.worker.attempts import GRACE_S
from torcctl.worker.conversation import Conversation
from torcctl.worker.ledger import Ledger
from torcctl.worker.link import Link, Registration
from torcctl.worker.process import Launcher
from torcctl.worker.progress import Progress
from torcctl.worker.resources import Offer, Room
from torcctl.worker.runner import Runner
from torcctl.worker.time_left import TimeLeft
from torcctl.worker.timekeeper import Timekeeper
from torcctl.worker.unreported import Unreported, find_unreported, forget_unreported, save_unreported
from torcd.protocol.address import Address
from torcd.protocol.errors import TorcError, Unreachable
from torcd.protocol.process import identify_process
from torcd.protocol.worker_requests import AttemptRef, RegisterWorker

log = logging.getLogger(__name__)

UNKILLABLE_S = 5.0
"""After KILL. A process that hangs in the kernel (a dead file server) outlives it, and then the worker."""

FLUSH_S = 5.0
"""For the last report of a worker that shuts down, once its processes have ended."""


class WorkerOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker's life ended."""

    complete: bool
    """Every job of the workflow has ended."""
    counts: dict[str, int]
    """The last that was heard of the workflow: jobs by status."""
    interrupted: bool
    stranded: bool
    """Jobs are left, but none is under way anywhere and none is ready that this worker could take."""
    is_out_of_time: bool = False
    """Its time was up, or nearly."""


class Session:
    """One worker. `run` is called once; `shut_down` at any time while it runs, also repeatedly."""

    def __init__(
        self,
        *,
        address: Address,
        find_daemon: Callable[[], Address] | None,
        workflow_id: int,
        offer: Offer,
        output_dir: str | None,
        on_progress: Callable[[dict[str, int], int], None],
        grace_s: float = GRACE_S,
        timekeeper: Timekeeper | None = None,
        linger_s: float = 0.0,
        doubt_s: float = 0.0,
        allocation_id: int | None = None,
    ) -> None:
        self._address = address
        self._find_daemon = find_daemon
        self._workflow_id = workflow_id
        self._process = identify_process(os.getpid())
        self._offer = offer
        self._output_dir = output_dir
        self._grace_s = grace_s
        self._timekeeper = timekeeper or Timekeeper(TimeLeft())
        self._linger_s = linger_s
        self._doubt_s = doubt_s
        self._allocation_id = allocation_id
        self._progress = Progress(on_progress)
        self._life = trio.CancelScope()
        self._talk = trio.CancelScope()
        self._runner: Runner | None = None
        self._conversation: Conversation | None = None
        self._is_interrupted = False
        self._is_out_of_time = False

    async def run(self) -> WorkerOutcome:
        """Returns when the workflow is complete or the worker has shut down.

        Raises Unreachable when the daemon stays away, and whatever it refuses for good. When cancelled it
        kills its jobs without a word to the daemon; `shut_down` is the gentle way.
        """
        failure = None
        with self._life:
            async with trio.open_nursery() as nursery:
                try:
                    await self._live(nursery)
                except TorcError as error:  # kept, so that it does not leave the nursery inside a group
                    failure = error
                nursery.cancel_scope.cancel()
        self._progress.flush()
        if failure is not None:
            raise failure
        return WorkerOutcome(
            complete=self._conversation is not None and self._conversation.is_complete,
            counts=self._progress.counts,
            interrupted=self._is_interrupted,
            stranded=self._conversation is not None and self._conversation.is_stranded,
            is_out_of_time=self._is_out_of_time,
        )

    def shut_down(self, *, at_once: bool = False) -> None:
        """Takes no more work, hands back what waits, stops what runs (`at_once`: without grace), reports."""
        self._is_interrupted = True
        if self._runner is None or self._conversation is None:
            self._life.cancel()
            return
        grace_s = 0.0 if at_once else self._grace_s
        is_late = self._timekeeper.time_left.drain_at <= trio.current_time()
        self._runner.close(grace_s, "walltime" if is_late else "worker_shutdown")
        self._end_talk_in(grace_s + UNKILLABLE_S + FLUSH_S)
        self._on_change()

    async def _keep_time(self) -> None:
        """Ends what runs in time before the worker itself is killed."""
        time_left, runner = self._timekeeper.time_left, self._runner
        assert runner is not None
        await self._timekeeper.wait_for_drain()
        self._is_out_of_time = True
        log.warning("the time is nearly up: no more jobs are started; %d run", runner.num_running)
        runner.drain(time_left.kill_at - trio.current_time())
        self._on_change()
        await trio.sleep_until(time_left.kill_at)
        runner.close(0.0, "walltime")
        self._end_talk_in(min(UNKILLABLE_S + FLUSH_S, time_left.margin_s * 2 / 3))
        self._on_change()

    def _end_talk_in(self, seconds: float) -> None:
        self._talk.deadline = min(self._talk.deadline, trio.current_time() + seconds)

    def _on_change(self) -> None:
        assert self._runner is not None
        assert self._conversation is not None
        if self._runner.is_closed and self._runner.is_idle:
            self._end_talk_in(FLUSH_S)
        self._conversation.wake()

    async def _live(self, nursery: trio.Nursery) -> None:
        await self._timekeeper.begin()
        link = Link(nursery, address=self._address, find_daemon=self._find_daemon)
        try:
            registration = await link.open(self._registration(None, []))
            self._progress.start(registration.counts, registration.total)
            try:
                launcher = Launcher(
                    workflow_id=self._workflow_id,
                    directory=registration.submission_directory,
                    output_dir=self._output_dir,
                    address=link.address,
                )
                try:
                    await self._take_along(link, launcher.output_dir)
                except BaseException:
                    launcher.close()
                    raise
                await self._work(nursery, link, launcher, registration)
            finally:
                await link.leave()
        finally:
            await link.aclose()

    async def _work(self, nursery: trio.Nursery, link: Link, launcher: Launcher, registration: Registration) -> None:
        ledger = Ledger()
        runner = self._runner = Runner(
            room=Room(self._offer),
            launcher=launcher,
            ledger=ledger,
            time_left=self._timekeeper.time_left,
            grace_s=self._grace_s,
            doubt_s=self._doubt_s,
            on_change=self._on_change,
        )
        self._conversation = Conversation(
            link=link, runner=runner, ledger=ledger, progress=self._progress, linger_s=self._linger_s
        )
        nursery.start_soon(runner.run)
        nursery.start_soon(self._keep_time)
        try:
            with self._talk:
                await self._converse(link, launcher, ledger, registration.lease_s)
            if self._talk.cancelled_caught:
                log.warning("gave up telling torcd; %d jobs could not be killed", runner.num_running)
        except TorcError:
            # Nobody will hear of what runs any more, or wants to.
            runner.close(self._grace_s)
            with trio.move_on_after(self._grace_s + UNKILLABLE_S):
                await runner.wait_stopped()
            raise
        finally:
            if ended := ledger.ends():
                untold = Unreported(
                    workflow_id=self._workflow_id,
                    worker_id=link.worker_id,
                    hostname=socket.gethostname(),
                    ended=ended,
                )
                save_unreported(launcher.output_dir, untold)

    async def _take_along(self, link: Link, output_dir: str) -> None:
        """Tells what former workers could not tell."""
        for path, left in find_unreported(output_dir, self._workflow_id):
            refs = [AttemptRef(job_id=end.job_id, attempt_id=end.attempt_id) for end in left.ended]
            # No process: this one is not the worker's, and the daemon must not wait for its end.
            request = structs.replace(self._registration(left.worker_id, refs), hostname=left.hostname, process="")
            try:
                await link.deliver(request, left.ended)
            except TorcError as error:
                log.warning("the results in %s could not be reported: %s", path, error)
            else:
                log.info("reported %d results that worker %d had left", len(refs), left.worker_id)
                forget_unreported(path)

    async def _converse(self, link: Link, launcher: Launcher, ledger: Ledger, lease_s: float) -> None:
        runner, conversation = self._runner, self._conversation
        assert runner is not None
        assert conversation is not None
        while True:
            try:
                await conversation.converse()
                return
            except Unreachable:
                await link.aclose()
            runner.is_paused = True
            registration = await link.reopen(
                lambda: self._registration(link.worker_id, runner.attempts()),
                lease_s=lease_s,
                is_needed=lambda: runner.is_busy or bool(ledger.ends()),
                is_busy=lambda: runner.is_busy,
            )
            lease_s = registration.lease_s
            launcher.set_address(link.address)
            for lost in registration.lost:
                runner.forget(lost, "superseded")
            runner.is_paused = False
            runner.start_fitting()

    def _registration(self, worker_id: int | None, attempts: list[AttemptRef]) -> RegisterWorker:
        return RegisterWorker(
            workflow_id=self._workflow_id,
            worker_id=worker_id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            num_cpus=self._offer.num_cpus,
            memory_bytes=self._offer.memory_bytes,
            num_gpus=self._offer.num_gpus,
            max_parallel_jobs=self._offer.max_parallel_jobs,
            process=self._process,
            allocation_id=self._allocation_id,
            attempts=attempts,
        )
