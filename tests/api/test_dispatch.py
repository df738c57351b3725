"""What a client is told when several things go wrong at once. All else of the handlers is shown end to end."""

from typing import Any

import pytest
import trio

from torcd.api.dispatch import Dispatch
from torcd.protocol.errors import NotFound
from torcd.protocol.requests import Reinit


class Stub:
    """A database without anything, a supervisor, and a session whose subscriptions end at once."""

    async def read(self, work: object) -> None:
        await trio.lowlevel.checkpoint()

    async def send(self, workflow_id: int, request: object) -> object:
        raise NotFound(f"there is no workflow {workflow_id}")

    async def subscribe(self, workflow_id: int, from_seq: object, progress: bool) -> int:
        return 1

    def unsubscribe(self, number: int) -> None:
        raise NotFound(f"this connection has no subscription {number}")


async def test_an_operation_on_a_workflow_that_was_just_deleted_is_refused_with_that() -> None:
    """Its events have ended with it."""
    stub: Any = Stub()
    dispatch = Dispatch(stub, stub, stub, stub)
    with pytest.raises(NotFound, match="there is no workflow 7"):
        await dispatch._operate(stub, Reinit(workflow_id=7, follow=True))
