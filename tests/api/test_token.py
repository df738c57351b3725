"""The token: compared whole, replaced at once, in nobody's log."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from api_rig import Refusal
from tcp_rig import running_tcp_server

from torcd.api.session import Session
from torcd.api.token import Token
from torcd.protocol.errors import Unavailable
from torcd.protocol.remote_requests import RotateToken


def test_tokens_are_random_and_long() -> None:
    values = {Token().value for _ in range(100)}
    assert len(values) == 100
    assert min(map(len, values)) >= 43, "256 bits in base 64"


def test_only_the_whole_token_is_accepted() -> None:
    token = Token()
    assert token.accepts(token.value)
    for wrong in ("", token.value[:-1], token.value + "x", token.value.swapcase(), Token().value):
        assert not token.accepts(wrong)
    assert token.value not in repr(token)


async def test_both_tokens_hold_while_the_new_one_is_saved() -> None:
    """Whoever reads the file the moment it is there must not be refused."""
    token = Token()
    former = token.value

    async def save(new: str) -> None:
        assert token.accepts(new)
        assert token.accepts(former)

    assert await token.replace(save) == 0
    assert not token.accepts(former)


async def test_a_token_that_cannot_be_saved_changes_nothing() -> None:
    token = Token()
    former, ended = token.value, []
    token.admit("session", lambda: ended.append(1))
    tried = []

    async def save(new: str) -> None:
        tried.append(new)
        raise Unavailable("the disk is full")

    with pytest.raises(Unavailable):
        await token.replace(save)
    assert token.accepts(former)
    assert not token.accepts(tried[0])
    assert ended == []


async def test_of_two_replacements_the_later_one_holds() -> None:
    token, saved = Token(), []

    async def save(new: str) -> None:
        await trio.testing.wait_all_tasks_blocked()
        saved.append(new)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(token.replace, save)
        nursery.start_soon(token.replace, save)
    assert token.value == saved[-1]
    assert not token.accepts(saved[0])


async def test_a_new_token_ends_the_sessions_of_the_old_one_but_for_the_one_that_asks(tmp_path: Path) -> None:
    tokens: list[Token] = []

    async def on_rotate(session: Session, request: RotateToken) -> object:
        async def save(new: str) -> None:
            await trio.lowlevel.checkpoint()

        return {"ended": await tokens[0].replace(save, keep=session)}

    async with running_tcp_server(tmp_path, {RotateToken: on_rotate}) as rig, AsyncExitStack() as held:
        tokens.append(rig.token)
        former = rig.token.value
        asker, other = [await held.enter_async_context(rig.greeted()) for _ in range(2)]
        local = await held.enter_async_context(rig.local.greeted())
        async with rig.greeted():
            pass  # one that has left is not counted
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await asker.call("daemon.rotate_token") == {"ended": 1}
        assert await other.goodbye() == (1008, "the token was replaced: say hello with the new one")
        for each in (asker, local):
            assert await each.call("daemon.status") == {"running": True}
        async with rig.connect() as late:
            with pytest.raises(Refusal, match="connection file"):
                await late.hello(token=former)
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
