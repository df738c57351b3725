"""What the daemon has not acknowledged yet: attempts that started, ended or are handed back.

Nothing is dropped before an answer to the report that carried it; after a lost connection the same entries
are sent again, unchanged, and the daemon takes a replay for what it is. No I/O here.
"""

import msgspec

from torcd.protocol.worker_requests import AttemptEnd, AttemptRef

MAX_ENTRIES = 1000
"""Most attempts in one report: with their log paths some 400 KiB."""

MAX_OUTPUTS = 4000
"""A report is closed once it holds this many observed outputs: each is some 70 bytes on the wire."""

Key = tuple[int, int]


def key_of(attempt: AttemptRef) -> Key:
    """The attempt's identity in this process."""
    return attempt.job_id, attempt.attempt_id


class Batch(msgspec.Struct, frozen=True):
    """The entries of one report."""

    started: list[AttemptRef]
    ended: list[AttemptEnd]
    returned: list[AttemptRef]


class Ledger:
    """Entries by attempt. One batch at most is on its way."""

    def __init__(self) -> None:
        self._started: dict[Key, AttemptRef] = {}
        self._ended: dict[Key, AttemptEnd] = {}
        self._returned: dict[Key, AttemptRef] = {}
        self._sent: Batch | None = None
        self.started_since: float | None = None
        """Since when the oldest unsent start waits."""

    @property
    def is_empty(self) -> bool:
        """Whether the daemon knows everything."""
        return self._sent is None and not (self._started or self._ended or self._returned)

    @property
    def has_outcomes(self) -> bool:
        """Whether there is more to send than starts."""
        return bool(self._ended or self._returned)

    def ends(self) -> list[AttemptEnd]:
        """The ends that were not acknowledged."""
        sent = [] if self._sent is None else self._sent.ended
        return [*sent, *self._ended.values()]

    def add_started(self, attempt: AttemptRef, now: float) -> None:
        """The attempt's process was started."""
        self._started[key_of(attempt)] = attempt
        if self.started_since is None:
            self.started_since = now

    def add_ended(self, end: AttemptEnd) -> None:
        """The attempt ended; a start that was not sent yet goes along."""
        self._ended[key_of(end)] = end

    def add_returned(self, attempt: AttemptRef) -> None:
        """The attempt was never started and is handed back."""
        self._returned[key_of(attempt)] = attempt

    def take(self) -> Batch:
        """The next batch, which is then on its way until `settle` or `restore`."""
        assert self._sent is None
        ended: list[AttemptEnd] = []
        outputs = 0
        for end in self._ended.values():
            if len(ended) >= MAX_ENTRIES or outputs >= MAX_OUTPUTS:
                break
            ended.append(end)
            outputs += len(end.outputs)
        if len(ended) == len(self._ended):
            self._ended = {}
        else:
            for end in ended:
                del self._ended[key_of(end)]
        self._sent = Batch(list(self._started.values()), ended, list(self._returned.values()))
        self._started, self._returned, self.started_since = {}, {}, None
        return self._sent

    def settle(self) -> None:
        """The batch that was on its way is acknowledged."""
        self._sent = None

    def restore(self, now: float) -> None:
        """The batch that was on its way, if any, may not have arrived: it must be sent again."""
        if self._sent is None:
            return
        sent, self._sent = self._sent, None
        self._started = {key_of(one): one for one in sent.started} | self._started
        self._ended = {key_of(one): one for one in sent.ended} | self._ended
        self._returned = {key_of(one): one for one in sent.returned} | self._returned
        if self._started and self.started_since is None:
            self.started_since = now

    def forget(self, key: Key) -> None:
        """The daemon wants to hear nothing about this attempt."""
        for entries in (self._started, self._ended, self._returned):
            entries.pop(key, None)

    def attempts(self) -> list[AttemptRef]:
        """Ended and handed back attempts that are not acknowledged. Nothing may be on its way."""
        assert self._sent is None
        ends = [AttemptRef(job_id=job_id, attempt_id=attempt_id) for job_id, attempt_id in self._ended]
        return ends + list(self._returned.values())
