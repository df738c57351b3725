"""How often a worker looks for a daemon that it lost (SEMANTICS 8.4)."""

from itertools import pairwise

import pytest
import trio
import trio.testing

from torcctl.worker import link as link_module
from torcctl.worker.link import AWAY_S, Link
from torcd.protocol.address import Address
from torcd.protocol.errors import Unreachable
from torcd.protocol.worker_requests import RegisterWorker


@pytest.mark.parametrize("lease_s", [1.0, 10.0, 3600.0])
async def test_the_backoff_grows_and_stays_below_a_quarter_of_the_lease(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, lease_s: float
) -> None:
    attempts: list[float] = []

    async def connect(*args: object) -> None:
        await trio.lowlevel.checkpoint()
        attempts.append(trio.current_time())
        raise Unreachable("nobody there")

    monkeypatch.setattr(link_module, "connect", connect)
    request = RegisterWorker(workflow_id=7, hostname="h", pid=1, num_cpus=1, memory_bytes=1)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        link = Link(nursery, address=Address(url="ws+unix:///d"), find_daemon=None)
        with pytest.raises(Unreachable, match="stayed away"):
            await link.reopen(lambda: request, lease_s=lease_s, is_needed=lambda: False, is_busy=lambda: False)
    pauses = [after - before for before, after in pairwise(attempts)]
    assert max(pauses) <= min(lease_s / 4, link_module.MAX_BACKOFF_S)
    assert max(pauses) > pauses[0]
    assert AWAY_S < attempts[-1] - began < AWAY_S + 2 * link_module.MAX_BACKOFF_S
