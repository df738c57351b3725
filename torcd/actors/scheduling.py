"""Carries out requests to schedule nodes, each once: whoever repeats one under its key gets the same answer.

That holds across a caller that goes away and comes back, across daemons, and across times without an answer of Slurm's:
what was submitted is found, and what was not is submitted.
"""

import logging
from collections.abc import Awaitable, Callable

import msgspec
import trio

from torcd.actors.mailbox import Reply
from torcd.actors.pace import Pace
from torcd.actors.submission import Submitter
from torcd.core.allocations import SUBMITTING, Row, is_lost
from torcd.protocol.errors import TorcError
from torcd.protocol.slurm import ScheduleNodes
from torcd.storage.allocations import find_scheduled
from torcd.storage.database import Database

logger = logging.getLogger(__name__)

Made = tuple[list[int], list[str]]
"""The ids of allocations that a request has made, and warnings."""


class Scheduling:
    """The requests that are under way; part of the allocator. `look` has it ask Slurm."""

    def __init__(
        self, database: Database, submitter: Submitter, pace: Pace, look: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._submitter = submitter
        self._pace = pace
        self._look = look
        self._replies: dict[tuple[int, str], Reply[Made]] = {}
        """By workflow and key."""

    def begin(self, nursery: trio.Nursery, workflow_id: int, request: ScheduleNodes) -> Reply[Made]:
        """Where the answer will be. It is worked for in the nursery: nobody's leaving may interrupt that."""
        key = request.request_key
        reply = None if key is None else self._replies.get((workflow_id, key))
        if reply is None:
            reply = Reply[Made]()
            if key is not None:
                self._replies[workflow_id, key] = reply
            nursery.start_soon(self._carry_out, workflow_id, request, reply)
        return reply

    async def _carry_out(self, workflow_id: int, request: ScheduleNodes, reply: Reply[Made]) -> None:
        try:
            reply.succeed(await self._find_or_submit(workflow_id, request))
        except TorcError as error:
            reply.fail(error)
        except Exception:
            # The boundary of a request: a bug costs one answer, never the daemon.
            logger.exception("%s for workflow %d failed unexpectedly", request.METHOD, workflow_id)
            reply.fail(TorcError(f"{request.METHOD} failed because of a bug in torcd: its log has the traceback"))
        finally:
            if request.request_key is not None:
                del self._replies[workflow_id, request.request_key]

    async def _find_or_submit(self, workflow_id: int, request: ScheduleNodes) -> Made:
        made = await self._find_made(workflow_id, request.request_key)
        ids = [row.id for row in made if not is_lost(row)]
        count = min(request.count - len(ids), len(made) - len(ids)) if made else request.count
        if not count or any(row.status == SUBMITTING for row in made):
            return ids, []
        order, warnings = await self._submitter.plan(workflow_id, msgspec.structs.replace(request, count=count))
        return ids + await self._submitter.submit(workflow_id, order), warnings

    async def _find_made(self, workflow_id: int, key: str | None) -> list[Row]:
        """What a request with this key has made, once it is known of each whether Slurm has it.

        While Slurm does not answer that may be never, and is not waited for.
        """
        has_looked = False
        while True:
            made = await self._database.read(lambda db: find_scheduled(db, workflow_id, key))
            if self._pace.is_pausing or all(row.status != SUBMITTING for row in made):
                return made
            if has_looked:
                await trio.sleep(self._pace.pause_s)
            await self._look()
            has_looked = True
