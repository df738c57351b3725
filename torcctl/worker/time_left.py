"""How much time a worker has left, and what that means for its jobs. Plain arithmetic; it is told the time.

The end is a moment by the clock of this process, made from durations: no two hosts' clocks are compared. Before it lie
a margin, in which the last report gets through, and before that the grace of jobs that can end early:

    … claims … | drain_at  grace: TERM to jobs that support it | kill_at  margin: KILL, report | end_at
"""

from torcd.protocol.errors import Refused
from torcd.protocol.units import parse_time
from torcd.protocol.worker_requests import JobLaunch

GRACE_S = 60.0
"""Most time that jobs get to save their work before the end, unless the user says otherwise."""

MARGIN_S = 15.0
"""For the last kill and its report: a process that hangs is given up after 5 s, a report after 5 more."""

SHARE = 0.1
"""Of a short time, grace, margin and beginning take this much each."""

BEGINNING_S = 60.0
"""So long the whole time counts as left: users ask for as much as their job takes, and no worker would ever have it."""

NEVER = float("inf")


class TimeLeft:
    """A worker's time, without a limit until one is told. `grace_s` None: what suits the limit."""

    def __init__(self, *, grace_s: float | None = None) -> None:
        self._chosen_grace_s = grace_s
        self.grace_s = GRACE_S if grace_s is None else grace_s
        self.margin_s = MARGIN_S
        self.end_at = NEVER
        self._whole_s = 0.0
        self._has_begun_at = 0.0

    def limit(self, left_s: float, now: float, *, whole_s: float | None = None) -> None:
        """So much time is left now. The first time that this is told it is also said how much there was in all.

        Grace and margin follow from the first limit, too.
        """
        if self.end_at == NEVER and left_s != NEVER:
            self._whole_s = left_s if whole_s is None else whole_s
            self._has_begun_at = now + min(BEGINNING_S, SHARE * left_s)
            self.margin_s = min(MARGIN_S, SHARE * left_s)
            if self._chosen_grace_s is None:
                self.grace_s = min(GRACE_S, SHARE * left_s)
        self.end_at = now + left_s

    @property
    def is_limited(self) -> bool:
        """Whether there is an end."""
        return self.end_at != NEVER

    @property
    def kill_at(self) -> float:
        """When what still runs is killed."""
        return self.end_at - self.margin_s

    @property
    def drain_at(self) -> float:
        """From when on no job is started, and those that can end early are asked to."""
        return self.kill_at - self.grace_s

    def for_jobs_s(self, now: float) -> float | None:
        """How long a job that is started now may take; None: as long as it likes.

        In the beginning that is all of the time, although a job that takes so long will be stopped: most end before.
        """
        if not self.is_limited:
            return None
        left_s = max(self.drain_at - now, 0.0)
        return max(left_s, self._whole_s) if now < min(self._has_begun_at, self.drain_at) else left_s

    def allows(self, job: JobLaunch, now: float) -> bool:
        """Whether the job has time to end. Of one that did not say how long it takes it is not known."""
        left_s = self.for_jobs_s(now)
        return left_s is None or job.runtime_s <= left_s


def has_time_for_jobs(limit_s: float, grace_s: float | None) -> bool:
    """Whether there is any before the grace begins."""
    time_left = TimeLeft(grace_s=grace_s)
    time_left.limit(limit_s, 0.0)
    return time_left.drain_at > 0


def parse_limit(text: str, name: str) -> float:
    """The seconds of "[D-]HH:MM:SS" or of an ISO 8601 duration such as PT1H30M. Raises Refused."""
    try:
        seconds = parse_time(text.strip())
    except Refused:
        seconds = 0.0
    if seconds <= 0:
        raise Refused(f"{name}: {text!r} is no time; write HH:MM:SS, D-HH:MM:SS or PT1H30M", value=text)
    return seconds
