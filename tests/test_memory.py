"""The garbage collector is put off as long as anybody asks for it."""

import gc

from torcd.memory import CollectionPause


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
