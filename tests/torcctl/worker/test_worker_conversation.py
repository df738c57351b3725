"""The order in which a worker takes the daemon's answers; a link that answers by hand, no processes."""

from typing import cast

import msgspec
import trio

from torcctl.worker.conversation import Conversation
from torcctl.worker.ledger import Ledger
from torcctl.worker.link import Link
from torcctl.worker.progress import Progress
from torcctl.worker.runner import Runner
from torcd.protocol.worker_requests import AttemptRef, Capacity, ReportWorker, WorkerAnswer


class IdleRunner:
    """The runner of a worker whose last job has just ended."""

    is_idle = has_idle_slot = True
    is_closed = has_new_room = False
    late_at = float("inf")

    def capacity(self) -> Capacity:
        return Capacity(jobs=1)

    def hand_back_late(self) -> None:
        """Nothing waits."""


class LateLink:
    """Its waiting report is ended by the next report, and answered once that has been."""

    worker_id = 5

    def __init__(self) -> None:
        self.waits = trio.Event()
        self._is_reported = trio.Event()

    async def ask(self, report: ReportWorker, _deadline_s: float) -> bytes:
        if report.wait_s:
            self.waits.set()
            await self._is_reported.wait()
            return msgspec.json.encode(WorkerAnswer(counts={"running": 1}))
        self._is_reported.set()
        return msgspec.json.encode(WorkerAnswer(complete=True, counts={"completed": 1}))


async def test_an_answer_to_an_older_report_changes_nothing_that_a_newer_one_has_told() -> None:
    link, ledger = LateLink(), Ledger()
    progress = Progress(lambda _counts, _total: None)
    conversation = Conversation(
        link=cast(Link, link), runner=cast(Runner, IdleRunner()), ledger=ledger, progress=progress
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.converse)
            await link.waits.wait()
            ledger.add_returned(AttemptRef(job_id=1, attempt_id=1))
            conversation.wake()
    assert conversation.is_complete
    assert progress.counts == {"completed": 1}
