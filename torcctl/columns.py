"""How wide the columns of a table are on a terminal. Nothing here knows what they hold."""

from collections.abc import Sequence

GAP = 2
"""Between two columns."""

LEAST_WIDTH = 12
"""What is left to a column of free text, however narrow the terminal is: its heading, and parts that can be read."""


def share_width(widths: Sequence[int], shrinks: Sequence[bool], room: int) -> list[int]:
    """The widths of columns, given what they want and which of them may be narrower than that.

    Those that may share what the others leave of `room`, each as much as it wants as long as there is enough for
    all. Together they are wider than `room` when the others and LEAST_WIDTH for each of them are.
    """
    free = room - GAP * (len(widths) - 1) - sum(width for width, may in zip(widths, shrinks, strict=True) if not may)
    waiting = sorted((width for width, may in zip(widths, shrinks, strict=True) if may), reverse=True)
    limit = LEAST_WIDTH
    while waiting:
        limit = max(LEAST_WIDTH, free // len(waiting))
        if waiting[-1] > limit:
            break
        free -= waiting.pop()
    return [min(width, limit) if may else width for width, may in zip(widths, shrinks, strict=True)]
