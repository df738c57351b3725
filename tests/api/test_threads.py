"""Work in threads that is refused leaves nothing behind."""

import gc
import weakref

import pytest

from torcd.api.threads import work_in_thread
from torcd.protocol.errors import Refused


class Large:
    """Stands for hundreds of megabytes that were made before the refusal."""


async def test_what_refused_work_made_is_freed_at_once() -> None:
    """The garbage collector of the daemon looks at the oldest generation seldom: cycles would pile up."""
    made: list[weakref.ref[Large]] = []

    def refuse() -> None:
        large = Large()
        made.append(weakref.ref(large))
        try:
            raise KeyError(large)
        except KeyError as error:
            raise Refused("no") from error

    gc.disable()
    try:
        with pytest.raises(Refused, match="no"):
            await work_in_thread(refuse)
        assert made[0]() is None
    finally:
        gc.enable()


async def test_a_result_and_a_bug_come_out_as_they_are() -> None:
    assert await work_in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await work_in_thread(divmod, 7, 0)
