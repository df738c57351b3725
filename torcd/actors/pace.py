"""How often the scheduler is asked, whether it answers, and for how long it is left alone while it does not."""

import logging
from dataclasses import dataclass, replace

import trio

from torcd.actors.clock import now_ms
from torcd.actors.settings import parse_seconds
from torcd.protocol.errors import Unavailable
from torcd.storage.rows import format_time

logger = logging.getLogger(__name__)

POLL_S = 30.0
"""Between looks, unless the user says otherwise: administrators ask for no more than that."""

SHORTEST_S, LONGEST_S = 0.1, 3600.0

LONGEST_PAUSE_S = 600.0
"""Between looks at a scheduler that does not answer, and between submissions to it."""


def parse_poll(text: str | None) -> float:
    """The seconds between looks that a setting stands for; raises Refused."""
    return parse_seconds(
        text,
        name="slurm_poll",
        where="TORCD_SLURM_POLL or config.toml",
        default_s=POLL_S,
        shortest_s=SHORTEST_S,
        longest_s=LONGEST_S,
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """The scheduler does not answer."""

    since_ms: int
    words: str
    pause_s: float
    next_at: float
    """When it may be asked to accept something again, by trio's clock."""

    @property
    def since(self) -> str:
        """Since when, for users."""
        return format_time(self.since_ms)


class Pace:
    """Of one scheduler. `poll_s`: between looks at one that answers."""

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self.trouble: Trouble | None = None

    @property
    def pause_s(self) -> float:
        """Until the next look."""
        left_s = 0.0 if self.trouble is None else self.trouble.next_at - trio.current_time()
        return left_s if left_s > 0 else self._poll_s

    @property
    def is_pausing(self) -> bool:
        """Whether it is left alone now, since it has not answered."""
        return self.trouble is not None and trio.current_time() < self.trouble.next_at

    def note_trouble(self, words: str) -> None:
        """It did not answer: each time it is left alone for twice as long.

        One that a user asks before that time is up has not been left alone: it goes on to be left alone until then.
        """
        former, now = self.trouble, trio.current_time()
        if former is None:
            logger.warning("Slurm does not answer: %s", words)
            self.trouble = Trouble(now_ms(), words, self._poll_s, now + self._poll_s)
        elif now < former.next_at:
            self.trouble = replace(former, words=words)
        else:
            pause_s = min(2 * former.pause_s, LONGEST_PAUSE_S)
            self.trouble = Trouble(former.since_ms, words, pause_s, now + pause_s)

    def note_answer(self) -> None:
        """It answered."""
        if self.trouble is not None:
            logger.info("Slurm answers again")
            self.trouble = None

    def check(self) -> None:
        """Raises Unavailable after trouble, until it is time for one more try."""
        trouble = self.trouble
        if trouble is None:
            return
        wait_s = trouble.next_at - trio.current_time()
        if wait_s > 0:
            raise Unavailable(
                f"Slurm has not answered since {trouble.since} ({trouble.words}): nothing was submitted. The next try "
                f"may be made in {wait_s:.0f} s",
                retry_after_s=round(wait_s, 1),
            )
