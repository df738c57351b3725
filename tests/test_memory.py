"""The garbage collector is put off as long as anybody asks for it, and looks at everything now and then."""

import gc
import weakref

import trio
import trio.testing

from torcd.memory import COLLECT_S, FEW_OBJECTS, GC_THRESHOLD, CollectionPause, collect_regularly


def test_collecting_goes_on_when_the_last_holder_has_ended() -> None:
    pause = CollectionPause()
    assert gc.isenabled()
    try:
        with pause.held():
            with pause.held():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled()
    finally:
        gc.enable()


class Cycle:
    """Something that only the collector frees, once it is old."""

    def __init__(self) -> None:
        self.itself = self


async def test_cycles_are_freed_when_something_was_made_since(autojump_clock: trio.testing.MockClock) -> None:
    """A connection that was there for minutes is one: the thresholds alone would keep it for days."""
    was = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLD)
    gc.collect()
    try:
        cycle = Cycle()
        old = weakref.ref(cycle)
        gc.collect(1)  # it is old now
        del cycle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect_regularly)
            made: list[list[int]] = [[] for _ in range(FEW_OBJECTS + 1)]
            assert old() is not None
            await trio.sleep(COLLECT_S * 1.5)
            assert old() is None
            nursery.cancel_scope.cancel()
        assert made
    finally:
        gc.set_threshold(*was)
