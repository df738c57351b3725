"""One group of messages on its way to one transaction."""

import sqlite3
from collections.abc import Callable
from typing import Generic, TypeVar

from torcd.actors.mailbox import Message
from torcd.core.draft import Draft
from torcd.core.state import State
from torcd.protocol.errors import TorcError
from torcd.storage.database import Database
from torcd.storage.save import keys_of, save_delta

T = TypeVar("T")


class Pending(Generic[T]):
    """What a query in the transaction will have found, once that is committed."""

    __slots__ = ("value",)
    value: T


class Turn:
    """Collects changes, queries and answers; after the commit the answers are given."""

    def __init__(self, state: State, now_ms: int) -> None:
        self.state = state
        self.now_ms = now_ms
        self.draft = Draft(state, now_ms)
        self._queries: list[tuple[Callable[[sqlite3.Connection], object], Pending[object]]] = []
        self._answers: list[tuple[Message, Callable[[], object]]] = []
        self._deferred: set[Message] = set()
        self._before: list[Callable[[], object]] = []
        self._after: list[Callable[[], object]] = []
        self._ending: dict[int, object] = {}  # by identity; a herd of workers comes and goes in one turn
        self._renewed: dict[int, object] = {}
        self.stopping: set[int] = set()
        """The jobs whose attempts are asked to stop with this turn and, with `knows_stopping`, those asked before."""
        self.knows_stopping = False
        self.redrawn: Callable[[], Draft] | None = None
        """After a commit whose queries have changed what the workflow consists of: the draft on what it is now."""
        self.holds_jobs = False
        """Whether something begins with this turn whose end jobs have to wait for."""
        self.waits: dict[int, object] = {}
        """Of each worker whose report begins to wait with this turn, what waits."""

    def query(self, function: Callable[[sqlite3.Connection], T]) -> Pending[T]:
        """Runs in the transaction, after the changes were written; it may run twice, see `Database.commit`."""
        pending: Pending[T] = Pending()
        self._queries.append((function, pending))  # type: ignore[arg-type]  # each pair shares its own T
        return pending

    def answer(self, message: Message, finish: Callable[[], object]) -> None:
        """Answers a message after the commit with what `finish` returns, or with the TorcError it raises."""
        self._answers.append((message, finish))

    def defer(self, message: Message, begin: Callable[[], object]) -> None:
        """Leaves a message unanswered for now; `begin` is called after the commit and sees to its answer."""
        self._deferred.add(message)
        self._after.append(begin)

    def end(self, waiting: object) -> None:
        """Notes that something (a wait, a worker, a task) ends with this turn: nobody else of the turn may serve it."""
        self._ending[id(waiting)] = waiting

    def is_ending(self, waiting: object) -> bool:
        """Whether that was noted."""
        return id(waiting) in self._ending

    def renew(self, worker: object) -> None:
        """Notes that a worker has come back with this turn."""
        self._renewed[id(worker)] = worker

    def is_renewed(self, worker: object) -> bool:
        """Whether that was noted."""
        return id(worker) in self._renewed

    def before(self, callback: Callable[[], object]) -> None:
        """Has something done after the commit, before the answers are given."""
        self._before.append(callback)

    def after(self, callback: Callable[[], object]) -> None:
        """Has something done after the commit, when the answers are given."""
        self._after.append(callback)

    async def commit(self, database: Database) -> None:
        """Writes everything in one transaction; raises what that raises."""
        delta = self.draft.finish()
        if delta.is_empty and not self._queries:
            return
        keys = keys_of(self.state)
        queries = [function for function, _ in self._queries]

        def work(db: sqlite3.Connection) -> list[object]:
            if not delta.is_empty:
                save_delta(db, keys, delta)
            return [function(db) for function in queries]

        values = await database.commit(work)
        for (_, pending), value in zip(self._queries, values, strict=True):
            pending.value = value

    def finish(self) -> None:
        """After the commit: gives the answers and does what was to be done."""
        for callback in self._before:
            callback()
        for message, finish in self._answers:
            if message in self._deferred:
                continue
            try:
                message.reply.succeed(finish())
            except TorcError as error:
                message.reply.fail(error)
        for callback in self._after:
            callback()
