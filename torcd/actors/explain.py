"""Explains one job: looks at the files around it, plans a reinit as it would be now, and asks who could run it.

Nothing is written and no slot is taken; like a dry run it goes on beside tasks.
"""

from typing import TYPE_CHECKING

import msgspec
import trio

from torcd.actors.look_up import LookUp
from torcd.actors.messages import Explain, ExplainReady, Explanation
from torcd.core.explanation import explain, files_around, find_ancestors, find_related
from torcd.core.observation import drop_outdated
from torcd.core.plan import pack_plan
from torcd.core.planning import Known, plan_rerun
from torcd.core.status import Status
from torcd.protocol.errors import NotFound, TorcError
from torcd.protocol.requests import Reinit

if TYPE_CHECKING:
    from torcd.actors.workflow import Finish, WorkflowActor


class Explainer:
    """Part of a workflow's actor."""

    def __init__(self, actor: "WorkflowActor") -> None:
        self._actor = actor
        self.waiting: set[Explain] = set()
        """Questions that somebody waits to have answered."""

    def start(self, question: Explain) -> "Finish":
        """Starts to look; its own reply gets the answer. Raises NotFound."""
        job = self._find(question)
        self.waiting.add(question)
        self._actor.nursery.start_soon(self._look, question, job)
        return lambda: None

    def _find(self, question: Explain) -> int:
        job = self._actor.state.jobs.ids.find_one(question.job_id)
        if job < 0:
            raise NotFound(f"there is no job {question.job_id}", noun="job", id=question.job_id)
        return job

    async def _look(self, question: Explain, job: int) -> None:
        state = self._actor.state
        counter, mtime_ns = state.version_counter, state.files.mtime_ns.copy()
        look_up = LookUp(self._actor, self._request())
        known: Known | TorcError
        try:
            around = await trio.to_thread.run_sync(lambda: files_around(state, find_related(state, job)))
            known = await look_up.run(around)
        except TorcError as error:
            known = error
        await self._actor.mailbox.post(ExplainReady(question, state, counter, mtime_ns, known))

    def _request(self) -> Reinit:
        """Nothing refuses a question: what would need force or stopping is only told."""
        return Reinit(workflow_id=self._actor.workflow_id, force=True, stop_live=True)

    async def finish(self, ready: ExplainReady) -> "Finish":
        """Answers from the state as it is now; looks again when that was loaded anew meanwhile."""
        question, state = ready.explain, self._actor.state
        if isinstance(ready.known, TorcError):
            return self._answer(question, ready.known)
        try:
            job = self._find(question)
        except NotFound as error:
            return self._answer(question, error)
        if ready.state is not state:
            self._actor.nursery.start_soon(self._look, question, job)
            return lambda: None
        known = ready.known
        seen = drop_outdated(state, known.seen, ready.counter, ready.mtime_ns)

        def work() -> Explanation:
            plan = plan_rerun(state, self._request(), Known(seen=seen, history=known.history), own=[], cause="")
            explained = explain(state, plan, job, find_ancestors(state, job))
            return Explanation(explained, pack_plan(plan, state), plan.warnings)

        return self._answer(question, await trio.to_thread.run_sync(work))

    def on_failed(self, ready: ExplainReady, error: TorcError) -> None:
        """Tells whoever waits that the actor could not even answer."""
        self._answer(ready.explain, error)()

    def _answer(self, question: Explain, answer: Explanation | TorcError) -> "Finish":
        def finish() -> None:
            self.waiting.discard(question)
            if isinstance(answer, TorcError):
                question.reply.fail(answer)
            else:
                question.reply.succeed(self._complete(question, answer))

        return finish

    def _complete(self, question: Explain, answer: Explanation) -> Explanation:
        """Adds what workers have to do with it, and puts ids for indexes."""
        state, explained = self._actor.state, answer.explained
        ids, waits = state.jobs.ids.ids, explained.waits
        job = state.jobs.ids.find_one(question.job_id)
        if int(state.jobs.status[job]) == Status.READY and not waits:
            waits = self._actor.roster.find_hindrances(job)
        waits = [msgspec.structs.replace(wait, job=int(ids[wait.job])) if wait.job >= 0 else wait for wait in waits]
        path = [int(ids[each]) for each in explained.path]
        return Explanation(msgspec.structs.replace(explained, path=path, waits=waits), answer.plan, answer.warnings)
