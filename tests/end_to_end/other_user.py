"""Doing something as another user of this machine. Needs root."""

import encodings.idna  # noqa: F401  # which connecting by name imports, see as_user
import json
import os
import select
import warnings
from collections.abc import Callable
from typing import Any

OTHER = 65534
VICTIM = 20_000 + os.getpid() % 40_000
"""Who is attacked: another one in each run, so that runs do not meet in /tmp."""

PATIENCE_S = 30.0


def why_not() -> str | None:
    """Why one cannot become another user here; None when one can."""
    if os.getuid() != 0:
        return "needs root, to become another user"
    try:
        return None if as_user(OTHER, os.getuid) == OTHER else "setuid had no effect"
    except (OSError, AssertionError) as error:
        return f"needs CAP_SETUID: {error}"


def fork() -> int:
    """`os.fork`. What it may warn of, threads that hold locks, the child has no use for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def become(uid: int) -> None:
    """Makes this process that user's, for good."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def as_user(uid: int, work: Callable[[], Any]) -> Any:
    """What `work` returns (JSON) in a child process of that user, or the name of the exception it raises.

    A fork, not a new program: the interpreter need not be readable for that user. What `work` imports, however, has to
    be imported before.
    """
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        try:
            become(uid)
            try:
                answer: Any = work()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what the test wants to know
                answer = f"{type(error).__name__}: {error}"
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        received = b""
        while True:
            ready, _, _ = select.select([reader], [], [], PATIENCE_S)
            assert ready, "the other user's process hangs"
            data = os.read(reader, 65536)
            if not data:
                break
            received += data
    finally:
        os.close(reader)
        os.waitpid(child, 0)
    assert received, "the other user's process died"
    return json.loads(received)
