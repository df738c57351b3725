"""recover with its actor: what takes long for many failures does not hold up the daemon."""

import threading

import pytest
from actor_rig import House
from builders import job

from torcd.actors import look_up
from torcd.core.planning import files_to_observe
from torcd.protocol.recover import Recover
from torcd.protocol.requests import Initialize


async def test_failures_are_examined_beside_the_loop(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEMANTICS 6.3: another workflow is never held up, however many jobs have failed."""
    workflow = await house.create([job("a"), job("b")])
    await house.run(Initialize, workflow)
    hand = await house.hire(workflow)
    await hand.finish(*(await hand.claim()).values(), code=1)
    threads = []

    def examine(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return files_to_observe(*arguments)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(look_up, "files_to_observe", examine)
    planned = await house.preview(Recover, workflow, retry_unknown=True)
    assert planned.summary.count == 2
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
