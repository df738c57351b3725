"""A worker's session in this process, and the processes of its jobs."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from worker_daemon import FakeDaemon

from torcctl.worker.resources import Offer
from torcctl.worker.session import Session, WorkerOutcome
from torcctl.worker.timekeeper import Timekeeper
from torcd.protocol.address import Address

TWO = Offer(num_cpus=2, memory_bytes=2**30)


class Work:
    """A session that runs in the background."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.outcome: WorkerOutcome | None = None
        self.error: Exception | None = None
        self.over = trio.Event()

    async def run(self) -> None:
        try:
            self.outcome = await self.session.run()
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.error = error
        self.over.set()

    async def result(self, timeout_s: float = 60) -> WorkerOutcome:
        with trio.fail_after(timeout_s):
            await self.over.wait()
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome


@asynccontextmanager
async def working(
    daemon: FakeDaemon,
    *,
    offer: Offer = TWO,
    workflow_id: int = 7,
    find_daemon: Callable[[], Address] | None = None,
    grace_s: float = 10,
    timekeeper: Timekeeper | None = None,
    linger_s: float = 0.0,
    doubt_s: float = 0.0,
    on_progress: Callable[[dict[str, int], int], None] = lambda counts, total: None,
) -> AsyncIterator[Work]:
    work = Work(
        Session(
            address=Address(url=daemon.url), find_daemon=find_daemon, workflow_id=workflow_id, offer=offer,
            output_dir=None, on_progress=on_progress, grace_s=grace_s, timekeeper=timekeeper, linger_s=linger_s,
            doubt_s=doubt_s,
        )
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        yield work
        nursery.cancel_scope.cancel()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def read_pid(pipe: Path) -> int:
    """The number that a job writes there."""
    with trio.fail_after(30):
        return int(await trio.to_thread.run_sync(pipe.read_text, abandon_on_cancel=True))


async def until_gone(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(pidfd)
    os.close(pidfd)
