"""When a worker speaks to the daemon, and what it makes of the answers.

What ended since the last report travels in one report, with the room that is left; there is never more than
one of those on its way. When there is nothing to say, a waiting report stays open, which the daemon answers
as soon as it has something: nobody polls.
"""

import logging

import msgspec
import trio

from torcctl.worker.connection import CALL_DEADLINE_S
from torcctl.worker.ledger import Ledger
from torcctl.worker.link import Link
from torcctl.worker.progress import Progress
from torcctl.worker.runner import Runner
from torcd.protocol.errors import Busy, TorcError, Unavailable
from torcd.protocol.worker_requests import ReportWorker, WorkerAnswer

log = logging.getLogger(__name__)

WAIT_S = 25.0
"""How long the daemon may hold back the answer to a waiting report."""

WAIT_MARGIN_S = 30.0
"""On top of WAIT_S, for a daemon that is busy when the wait ends."""

PACE_S = 0.010
"""Between reports while no slot is idle: what ends meanwhile travels, and is committed, together."""

TELL_STARTED_S = 0.1
"""A start travels with the next outcome, or after this time, so that the status shows what runs."""

LISTEN_AFTER_S = 0.05
"""After a report with all slots busy: if a job ends sooner, a waiting report would have been for nothing."""

LISTEN_SOON_S = 0.005
"""After a report with an idle slot beside jobs that run: likewise, for a chain of jobs that take a millisecond."""

RETRY_S = 1.0
"""After a report that the daemon was too busy for."""

NEVER = float("inf")

_answer = msgspec.json.Decoder(WorkerAnswer)


class Conversation:
    """One worker's reports and their answers, over any number of connections."""

    def __init__(
        self, *, link: Link, runner: Runner, ledger: Ledger, progress: Progress, linger_s: float = 0.0
    ) -> None:
        self._link = link
        self._runner = runner
        self._ledger = ledger
        self._progress = progress
        self._news = trio.Event()
        self._asleep_until = -NEVER
        self._is_listening = False
        self._num_asked = 0
        self._newest_answered = 0
        self._last_sent = -NEVER
        self._quiet_until = -NEVER
        self._failure: TorcError | None = None
        self._linger_s = linger_s
        self._idle_since: float | None = None
        """Since when the daemon says that nothing is left for this worker."""
        self.is_complete = False
        """Every job of the workflow has ended."""
        self.is_stranded = False
        """No job is under way anywhere, and none is ready that this worker could take."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to run and nothing left to tell."""
        runner = self._runner
        if not (runner.is_idle and self._ledger.is_empty):
            return False
        # A waiting report may be answered with jobs until the daemon knows that no more are wanted.
        return self._has_lingered_until() <= trio.current_time() or (
            runner.is_closed and not self._is_listening and not runner.has_new_room
        )

    def _has_lingered_until(self) -> float:
        """When the worker ends because nothing was left for it for so long."""
        return NEVER if self._idle_since is None else self._idle_since + self._linger_s

    def wake(self) -> None:
        """Something has changed: speaks if that is due before the conversation wakes by itself."""
        if self._report_due() < self._asleep_until or self.is_over:
            self._news.set()

    async def converse(self) -> None:
        """Returns when it is over. Raises Unreachable when the daemon is lost, and what it refuses."""
        failure = None
        self._is_listening, self._failure = False, None
        async with trio.open_nursery() as nursery:
            try:
                while not self.is_over:
                    await self._do_next(nursery)
            except TorcError as error:  # kept, so that it does not leave the nursery inside a group
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            self._ledger.restore(trio.current_time())
            raise failure

    async def _do_next(self, nursery: trio.Nursery) -> None:
        if self._failure is not None:
            raise self._failure
        now = trio.current_time()
        report_due, listen_due = self._report_due(), self._listen_due()
        if report_due <= now:
            await self._report()
        elif listen_due <= now:
            self._is_listening = True
            nursery.start_soon(self._listen)
        else:
            ends_at = self._has_lingered_until() if self._runner.is_idle else NEVER
            await self._sleep(min(report_due, listen_due, ends_at, self._runner.late_at, self._progress.due))
        self._runner.hand_back_late()
        self._progress.tick()

    async def _sleep(self, until: float) -> None:
        self._asleep_until = until
        with trio.move_on_at(until):
            await self._news.wait()
        self._asleep_until = -NEVER
        self._news = trio.Event()

    def _report_due(self) -> float:
        if self._ledger.has_outcomes or self._runner.has_new_room:
            due = self._last_sent + (0 if self._runner.has_idle_slot else PACE_S)
        elif self._ledger.started_since is not None:
            due = self._ledger.started_since + TELL_STARTED_S
        else:
            return NEVER
        return max(due, self._quiet_until)

    def _listen_due(self) -> float:
        if self._is_listening or self._runner.is_closed:
            return NEVER
        pause_s = LISTEN_SOON_S if self._runner.has_idle_slot else LISTEN_AFTER_S
        if self._runner.is_idle:
            pause_s = 0
        return max(self._last_sent + pause_s, self._quiet_until)

    async def _report(self) -> None:
        batch = self._ledger.take()
        self._runner.has_new_room = False
        self._last_sent = trio.current_time()
        report = ReportWorker(
            worker_id=self._link.worker_id,
            started=batch.started,
            ended=batch.ended,
            returned=batch.returned,
            capacity=self._runner.capacity(),
        )
        try:
            number, answer = await self._ask(report)
        except (Unavailable, Busy) as error:
            self._ledger.restore(trio.current_time())
            self._postpone(error)
        else:
            self._ledger.settle()
            self._on_answer(number, answer)

    async def _listen(self) -> None:
        self._last_sent = trio.current_time()
        report = ReportWorker(
            worker_id=self._link.worker_id,
            capacity=self._runner.capacity(),
            wait_s=WAIT_S,
            lingers=self._linger_s > 0 and self._idle_since is not None,
        )
        try:
            number, answer = await self._ask(report)
        except (Unavailable, Busy) as error:
            self._postpone(error)
        except TorcError as error:
            self._failure = error
        else:
            self._on_answer(number, answer)
        self._is_listening = False
        self._news.set()

    async def _ask(self, report: ReportWorker) -> tuple[int, WorkerAnswer]:
        """The answer, and the number of the report that it answers; they are counted."""
        self._num_asked += 1
        number = self._num_asked
        deadline_s = report.wait_s + WAIT_MARGIN_S if report.wait_s else CALL_DEADLINE_S
        return number, _answer.decode(await self._link.ask(report, deadline_s))

    def _postpone(self, error: TorcError) -> None:
        log.warning("torcd cannot take a report now: %s", error)
        self._quiet_until = trio.current_time() + RETRY_S

    def _on_answer(self, number: int, answer: WorkerAnswer) -> None:
        for refused in answer.refused:
            self._runner.forget(refused, refused.why)
        for stop in answer.stop:
            self._runner.stop_one(stop)
        if answer.jobs:
            self._runner.accept(answer.jobs)
        if number < self._newest_answered:  # a waiting report that a newer one has ended: it knows less
            return
        self._newest_answered = number
        self.is_complete = answer.complete
        self.is_stranded = answer.stranded > 0
        if not (self.is_complete or self.is_stranded):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = trio.current_time()
        if answer.counts:
            self._progress.update(answer.counts)
