"""The way to the daemon: opens it, registers the worker on it, and finds it again after a loss.

It speaks for the worker at its beginning and end, passes on what lies between, and knows nothing of jobs.
"""

import logging
import random
from collections.abc import Callable

import msgspec
import trio

from torcctl.worker.connection import CALL_DEADLINE_S, Connection, connect
from torcctl.worker.ledger import MAX_ENTRIES
from torcd.protocol.address import Address
from torcd.protocol.errors import Busy, NotFound, TorcError, Unauthorized, Unavailable, Unreachable
from torcd.protocol.requests import Request
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, LeaveWorker, RegisterWorker, ReportWorker

log = logging.getLogger(__name__)

BACKOFF_S = 0.1
"""First pause before the daemon is looked for again; it doubles."""

MAX_BACKOFF_S = 5.0
"""Longest pause; it also stays below a quarter of the lease, so that none ends for want of trying."""

AWAY_S = 30.0
"""A daemon that is away for longer ends a worker that runs nothing."""

LEAVE_DEADLINE_S = 5.0
"""For the farewell, on which nothing depends."""


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's answer to `workers.register`."""

    worker_id: int
    lease_s: float
    submission_directory: str
    workflow_name: str
    run_id: int
    total: int
    counts: dict[str, int]
    lost: list[AttemptRef] = msgspec.field(default_factory=list)
    """Attempts that the worker presented and that were superseded."""


_registration = msgspec.json.Decoder(Registration)


class Link:
    """One worker's way to its daemon, over any number of connections, one at a time."""

    def __init__(self, nursery: trio.Nursery, *, address: Address, find_daemon: Callable[[], Address] | None) -> None:
        self.address = address
        self._nursery = nursery
        self._find_daemon = find_daemon
        self._worker_id: int | None = None
        self._connection: Connection | None = None
        self._backoff_s = BACKOFF_S
        self._away_since: float | None = None

    @property
    def worker_id(self) -> int:
        """By which the daemon knows this worker since it was first registered."""
        assert self._worker_id is not None
        return self._worker_id

    async def deliver(self, request: RegisterWorker, ended: list[AttemptEnd]) -> None:
        """Tells what another worker, that of the request, could not tell. Raises what the daemon refuses."""
        other = Link(self._nursery, address=self.address, find_daemon=None)
        try:
            await other.open(request)
            for start in range(0, len(ended), MAX_ENTRIES):
                report = ReportWorker(worker_id=other.worker_id, ended=ended[start : start + MAX_ENTRIES])
                await other.ask(report)
            await other.leave()
        finally:
            await other.aclose()

    async def open(self, request: RegisterWorker) -> Registration:
        """Registers the worker for the first time. Raises Unreachable at once when nobody answers."""
        try:
            return await self._register(request)
        except (Unreachable, Unauthorized):
            if self._find_daemon is None:
                raise
        self.address = await trio.to_thread.run_sync(self._find_daemon, abandon_on_cancel=True)
        return await self._register(request)

    async def _register(self, request: RegisterWorker) -> Registration:
        connection = await connect(self._nursery, self.address)
        try:
            registration = _registration.decode(await connection.call(request))
        except BaseException:
            await connection.aclose()
            raise
        connection.notice_silence(registration.lease_s / 2)
        self._connection, self._worker_id = connection, registration.worker_id
        return registration

    async def reopen(
        self,
        request: Callable[[], RegisterWorker],
        *,
        lease_s: float,
        is_needed: Callable[[], bool],
        is_busy: Callable[[], bool],
    ) -> Registration:
        """Registers again, however long it takes.

        Raises Unreachable when the daemon has been away for AWAY_S and the worker does not need it, or Unauthorized
        when its token has been wrong for so long; Unauthorized at once when the daemon speaks another protocol and the
        worker is not busy; and whatever else the daemon refuses.
        """
        is_unwanted = False
        if self._away_since is None:
            self._away_since = trio.current_time()
            log.warning("lost torcd at %s; running jobs go on", self.address.url)
        while True:
            await trio.sleep(self._backoff_s * random.uniform(0.5, 1))
            self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S, lease_s / 5)
            try:
                if self._find_daemon is not None:
                    self.address = await trio.to_thread.run_sync(self._find_daemon, abandon_on_cancel=True)
                return await self._register(request())
            except (Unreachable, Unauthorized, Unavailable, Busy) as error:
                if isinstance(error, Unauthorized) and "protocol" in error.data:  # it was updated: no token helps
                    if not is_busy():
                        raise
                    if not is_unwanted:
                        log.warning("%s. What runs goes on to its end", error.message)
                    is_unwanted = True
                elif not is_needed() and trio.current_time() - self._away_since > AWAY_S:
                    if isinstance(error, Unauthorized):
                        raise
                    raise Unreachable(
                        f"torcd at {self.address.url} stayed away for more than {AWAY_S:.0f} s;"
                        " start it and run the workflow again"
                    ) from error

    async def ask(self, request: Request, deadline_s: float = CALL_DEADLINE_S) -> bytes:
        """The daemon's answer. Raises Unreachable when the connection is lost: `reopen` is next."""
        assert self._connection is not None
        try:
            answer = await self._connection.call(request, deadline_s)
        except NotFound as error:  # it has forgotten the worker, or the workflow is gone: registering tells
            raise Unreachable(error.message) from error
        self._backoff_s, self._away_since = BACKOFF_S, None
        return answer

    async def leave(self) -> None:
        """Says that this worker has no attempts any more, if anyone listens; else its lease will end."""
        if self._connection is None or self._worker_id is None:
            return
        try:
            await self._connection.call(LeaveWorker(worker_id=self._worker_id), LEAVE_DEADLINE_S)
        except TorcError as error:
            log.info("left without saying so: %s", error)

    async def aclose(self) -> None:
        """Closes the connection, if there is one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()
