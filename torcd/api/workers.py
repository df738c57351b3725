"""The calls of workers, each of which is tied to the connection it registered on; and what is shown of them."""

from collections.abc import Mapping

from msgspec import structs

from torcd.actors.messages import Disconnected, Register
from torcd.actors.supervisor import Supervisor
from torcd.api.session import Handler, Session
from torcd.protocol.errors import NotFound
from torcd.protocol.lookups import GetWorker
from torcd.protocol.model import Worker
from torcd.protocol.requests import Request
from torcd.protocol.worker_requests import LeaveWorker, ListWorkers, RegisterWorker, ReportWorker
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.lists import load_page
from torcd.storage.workers import find_workflow_of_worker


class Workers:
    """Their handlers, and which worker speaks where."""

    def __init__(self, database: Database, supervisor: Supervisor) -> None:
        self._database = database
        self._supervisor = supervisor
        self._workflow_of: dict[int, tuple[int, Session]] = {}
        """Of each connected worker, the workflow it serves and the connection it speaks on."""

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {
            RegisterWorker: self._register,
            ReportWorker: self._to_actor,
            LeaveWorker: self._to_actor,
            ListWorkers: self._list,
            GetWorker: self._get,
        }

    async def _register(self, session: Session, request: RegisterWorker) -> object:
        workflow_id, worker_id = request.workflow_id, request.worker_id
        await check_exists(self._database, self._supervisor, workflow_id)
        if worker_id is not None and not self._supervisor.serves(workflow_id, worker_id):
            serves = await self._database.read(lambda db: find_workflow_of_worker(db, worker_id))
            if serves != workflow_id:
                raise NotFound(f"worker {worker_id} serves workflow {serves}", noun="worker", id=worker_id)
        # before it is sent: the connection may go while the actor is at it
        session.on_close(lambda: self._on_session_gone(workflow_id, session))
        answer = await self._supervisor.send(workflow_id, Register(request, session, session.closed))
        number: int = answer["worker_id"]  # type: ignore[index]  # the roster's answer
        self._workflow_of[number] = workflow_id, session
        return answer

    def _on_session_gone(self, workflow_id: int, session: Session) -> None:
        for worker_id in [each for each, served in self._workflow_of.items() if served == (workflow_id, session)]:
            del self._workflow_of[worker_id]
        self._supervisor.tell(workflow_id, Disconnected(session))

    async def _to_actor(self, session: Session, request: ReportWorker | LeaveWorker) -> object:
        workflow_id, speaks_on = self._workflow_of.get(request.worker_id, (0, None))
        if speaks_on is not session:
            raise NotFound(
                f"worker {request.worker_id} is not registered on this connection: register first",
                noun="worker",
                id=request.worker_id,
            )
        return await self._supervisor.send(workflow_id, request)

    async def _list(self, session: Session, request: ListWorkers) -> object:
        workflow_id = request.workflow_id
        await self._database.read(lambda db: nouns.check_workflow(db, workflow_id))
        found, cursor = await self._database.read(
            lambda db: load_page(db, nouns.WORKERS, (workflow_id,), request.filters, request.cursor, request.limit)
        )
        times_left = self._supervisor.times_left(workflow_id)
        return {"workers": [_with_time(each, times_left) for each in found], "next_cursor": cursor}

    async def _get(self, session: Session, request: GetWorker) -> object:
        wanted = request.worker_id
        found = await self._database.read(
            lambda db: nouns.load_one(db, nouns.WORKERS, "worker", "id = ?", (wanted,), wanted)
        )
        return _with_time(found, self._supervisor.times_left(found.workflow_id))


def _with_time(worker: Worker, times_left: Mapping[int, float | None]) -> Worker:
    return structs.replace(worker, time_left_s=times_left.get(worker.id))


async def check_exists(database: Database, supervisor: Supervisor, workflow_id: int) -> None:
    """Raises NotFound. A thousand peers may come at once: the database is asked only when no actor runs."""
    if supervisor.published(workflow_id) is None:
        await database.read(lambda db: nouns.check_workflow(db, workflow_id))
