"""The daemon's log: plain lines on standard error, which its starter appends to a file or to the journal."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_log(level: str) -> None:
    """Sends everything of `level` and above to standard error."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=FORMAT, force=True)
