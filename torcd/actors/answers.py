"""What workers are told: what they report is taken, and answered at once, or as soon as there is something for them.

Part of a workflow's roster. What changes here changes after the commit, so that a failed one leaves it as it was.
"""

from typing import TYPE_CHECKING

import trio

from torcd.actors.entries import Entry, Waiting
from torcd.actors.mailbox import Message
from torcd.actors.messages import Nudge, WaitEnded
from torcd.actors.stops import Stops, keys_of
from torcd.actors.turn import Pending, Turn
from torcd.core.status import Status
from torcd.operations.launch import load_launches
from torcd.operations.report import count_stranded, hand_out, judge_doubtful, take_report
from torcd.protocol.errors import NotFound
from torcd.protocol.worker_requests import AttemptRef, Capacity, JobLaunch, RefusedReport, ReportWorker, WorkerAnswer

if TYPE_CHECKING:
    from torcd.actors.workflow import Finish, WorkflowActor

LONGEST_WAIT_S = 60.0
"""A report waits no longer than this, so that an answer shows the connection to be alive."""


class Answers:
    """Those of one workflow; `entries` are the roster's workers."""

    def __init__(self, actor: "WorkflowActor", entries: dict[int, Entry], stops: Stops) -> None:
        self._actor = actor
        self._entries = entries
        self._stops = stops

    def waiting_messages(self) -> list[Message]:
        """The reports that wait."""
        return [entry.waiting.message for entry in self._entries.values() if entry.waiting is not None]

    def on_report(self, turn: Turn, message: Message, request: ReportWorker) -> "Finish":
        """Takes a report and hands out work; with nothing to hand out, the answer may wait."""
        entry = self._entries.get(request.worker_id)
        # one that is away has to come back first: its lease would end while it reports
        if entry is None or entry.session is None or turn.is_ending(entry):
            raise NotFound(
                f"worker {request.worker_id} is not registered (any more): register again",
                noun="worker",
                id=request.worker_id,
            )
        self.end_wait(turn, entry)
        reported = take_report(
            turn.draft, entry.worker_id, entry.hostname, request.started, request.ended, request.returned
        )
        judged: Pending[list[RefusedReport]] | None = None
        if reported.doubtful:
            judged = turn.query(lambda db: judge_doubtful(db, turn.state, entry.worker_id, reported.doubtful))
        if request.capacity is not None:
            entry.take_time(request.capacity)
        launches = self._hand_out(turn, entry, request.capacity)
        over = keys_of([*request.ended, *request.returned])

        def finish() -> WorkerAnswer:
            self._stops.set_free(entry, over)
            refused = reported.refused + (judged.value if judged is not None else [])
            return self._answer(turn, entry, launches, refused)

        has_answer = launches is not None or reported.refused or reported.doubtful
        if request.wait_s > 0 and not has_answer and not self._has_news(entry, lingers=request.lingers):
            waiting = Waiting(message, request.capacity, request.lingers)
            seconds = min(request.wait_s, LONGEST_WAIT_S)
            turn.waits[entry.worker_id] = waiting
            turn.defer(message, lambda: self._begin_wait(turn, entry, waiting, seconds))
        return finish

    def _has_news(self, entry: Entry, *, lingers: bool) -> bool:
        """Whether a worker has to be told what to stop; or, unless it lingers, that it waits in vain."""
        if entry.to_stop and entry.to_stop.keys() - entry.told:
            return True
        state = self._actor.state
        return not lingers and (state.is_complete or bool(count_stranded(state, entry.total_now)))

    def _hand_out(self, turn: Turn, entry: Entry, capacity: Capacity | None) -> Pending[list[JobLaunch]] | None:
        if capacity is None or turn.state.counts[Status.READY] == 0 or turn.state.is_archived:
            return None
        if turn.holds_jobs or self._actor.firings.holds_jobs:
            return None
        capacity = entry.capacity_now(capacity)
        claim = hand_out(turn.draft, entry.worker_id, capacity, entry.total, self._stops.stopping(turn))
        if claim is None:
            return None
        return turn.query(lambda db: load_launches(db, turn.state, claim))

    def _answer(
        self,
        turn: Turn,
        entry: Entry,
        launches: Pending[list[JobLaunch]] | None,
        refused: list[RefusedReport],
    ) -> WorkerAnswer:
        news = [attempt for attempt in entry.to_stop if attempt not in entry.told]
        entry.told.update(news)
        return WorkerAnswer(
            jobs=launches.value if launches is not None else [],
            refused=refused,
            stop=[AttemptRef(job_id=job_id, attempt_id=attempt) for job_id, attempt in news],
            complete=turn.state.is_complete,
            stranded=count_stranded(turn.state, entry.total_now),
            counts=turn.state.counts_by_name(),
        )

    def serve_waiting(self, turn: Turn) -> None:
        """Answers waiting reports for which there is something now."""
        for entry in self._entries.values():
            waiting = entry.waiting
            if waiting is None or turn.is_ending(waiting):
                continue
            launches = self._hand_out(turn, entry, waiting.capacity)
            if launches is not None or self._has_news(entry, lingers=waiting.lingers):
                turn.after(self._waiting_answerer(turn, entry, waiting, launches))

    def _waiting_answerer(
        self, turn: Turn, entry: Entry, waiting: Waiting, launches: Pending[list[JobLaunch]] | None
    ) -> "Finish":
        def answer() -> None:
            entry.waiting = None
            waiting.timer.cancel()
            waiting.message.reply.succeed(self._answer(turn, entry, launches, []))

        return answer

    def _begin_wait(self, turn: Turn, entry: Entry, waiting: Waiting, seconds: float) -> None:
        if turn.is_ending(waiting):
            return  # a later message of the same turn has ended it
        entry.waiting = waiting
        has_ready = self._actor.state.counts[Status.READY] > 0
        can_serve = has_ready or self._has_news(entry, lingers=waiting.lingers)

        async def run() -> None:
            with waiting.timer:
                if can_serve:  # something became ready in the same group, after this report was looked at
                    await self._actor.mailbox.post(Nudge())
                await trio.sleep(seconds)
                await self._actor.mailbox.post(WaitEnded(entry.worker_id, waiting))

        self._actor.nursery.start_soon(run)

    def end_wait(self, turn: Turn, entry: Entry) -> None:
        """Answers a waiting report with nothing: the worker said something newer, or is away."""
        for waiting in (entry.waiting, turn.waits.get(entry.worker_id)):
            if isinstance(waiting, Waiting) and not turn.is_ending(waiting):
                turn.end(waiting)
                turn.before(self._wait_ender(turn, entry, waiting))

    def _wait_ender(self, turn: Turn, entry: Entry, waiting: Waiting) -> "Finish":
        def answer() -> None:
            if entry.waiting is waiting:
                entry.waiting = None
            waiting.timer.cancel()
            waiting.message.reply.succeed(WorkerAnswer(counts=turn.state.counts_by_name()))

        return answer

    def on_wait_ended(self, turn: Turn, ended: WaitEnded) -> "Finish":
        """Answers a report that has waited long enough, unless it was answered meanwhile."""
        entry = self._entries.get(ended.worker_id)
        if entry is not None and entry.waiting is ended.waiting:
            self.end_wait(turn, entry)
        return lambda: None
