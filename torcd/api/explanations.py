"""The handler of `jobs.explain`: asks the workflow's actor, and puts names to its answer."""

from collections.abc import Mapping

from torcd.actors.messages import Explain
from torcd.actors.supervisor import Supervisor
from torcd.api.session import Handler, Session
from torcd.protocol import requests as r
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.explanations import show_explanation


class Explanations:
    """Explains jobs."""

    def __init__(self, database: Database, supervisor: Supervisor) -> None:
        self._database = database
        self._supervisor = supervisor

    def handlers(self) -> Mapping[type[r.Request], Handler]:
        """The table."""
        return {r.ExplainJob: self._explain}

    async def _explain(self, session: Session, request: r.ExplainJob) -> object:
        job_id = request.job_id
        job = await self._database.read(lambda db: nouns.load_one(db, nouns.JOBS, "job", "j.id = ?", (job_id,), job_id))
        question = Explain(job_id)
        await self._supervisor.send(job.workflow_id, question)
        answer = await question.reply.wait()
        return await self._database.read(
            lambda db: show_explanation(db, job, answer.explained, answer.plan, answer.warnings, request.task_id),
            long=True,
        )
