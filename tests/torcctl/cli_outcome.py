"""What a run of torcctl in this process leaves behind."""

from collections.abc import Callable
from typing import Any

import msgspec


class Outcome(msgspec.Struct, frozen=True):
    """What a run of torcctl left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return msgspec.json.decode(self.out)


Cli = Callable[..., Outcome]
