"""How long a lease is, and what counts of it (SEMANTICS 8.4)."""

import pytest
from actor_rig import House, answer_of
from builders import chained
from trio.testing import MockClock

from torcd.actors.lease import LEASE_S, STEPS, parse_lease
from torcd.protocol.errors import Refused
from torcd.protocol.requests import Initialize


async def test_time_in_which_the_daemon_was_stopped_does_not_count(house: House, mock_clock: MockClock) -> None:
    workflow_id = await house.create(chained("a"))
    await house.run(Initialize, workflow_id)
    hand = await house.hire(workflow_id)
    launches = await hand.claim()
    await hand.hang_up().reply.wait()
    await house.settle(workflow_id)
    mock_clock.jump(LEASE_S * 1.2)  # nothing of this process runs
    await house.settle(workflow_id)
    assert await house.status(workflow_id) == {"a": "pending"}
    other = await house.hire(workflow_id)
    waiting = await other.listen(wait_s=LEASE_S * 10)
    for _ in range(STEPS - 1):
        assert not waiting.reply.is_given
        mock_clock.jump(LEASE_S / STEPS)
        await house.settle(workflow_id)
    assert [launch.name for launch in (await answer_of(waiting)).jobs] == ["a"], "in the end it counts"
    assert launches["a"].attempt_id == 1


@pytest.mark.parametrize(("text", "lease_s"), [(None, LEASE_S), ("1", 1.0), ("90", 90.0), ("2.5", 2.5)])
def test_a_lease_is_given_in_seconds(text: str | None, lease_s: float) -> None:
    assert parse_lease(text) == lease_s


@pytest.mark.parametrize("text", ["0", "0.9", "-1", "nan", "inf", "1e9", "1m", ""])
def test_a_lease_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is no number of seconds from 1 to 604800"):
        parse_lease(text)
