"""The daemon's log: plain lines on standard error, which its starter appends to a file or to the journal."""

import logging
import sys
from typing import Any

from torcd.protocol.visible import make_visible

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Visible(logging.Formatter):
    """One line for each record but its traceback, whatever it quotes: nobody else writes lines of this log."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return make_visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback. Any: what `sys.exc_info` gives, as the base class has it."""
        return make_visible(super().formatException(ei), keeps_lines=True)


def start_log(level: str) -> None:
    """Sends everything of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Visible(FORMAT))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
