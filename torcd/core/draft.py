"""A delta under construction on an actor's state.

Each change is made to the state at once, so that the next message of the same group sees it, and is noted in
the delta. When the delta cannot be committed, the state is thrown away with it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torcd.core.cascade import cancel_downstream
from torcd.core.cutoff import find_returning
from torcd.core.delta import (
    Adjustment,
    Change,
    Claim,
    Delta,
    Mark,
    Move,
    Notice,
    Rebase,
    Records,
    ResultRow,
    Retries,
    Start,
    UserDataRestored,
    UserDataWrite,
)
from torcd.core.holder import as_history
from torcd.core.moves import merge_moves
from torcd.core.observation import Observation, has_changed, needs_recording
from torcd.core.ranges import format_ranges
from torcd.core.state import DIGEST, Files, State, has_digest
from torcd.core.status import WAITING, By, Status, StatusReason, check_moves, mask_of, reason_name, status_name

Indexes = NDArray[np.int64]
IS_WAITING = mask_of(WAITING)


class Draft:
    """Changes to one state, from one group of messages, at one time."""

    def __init__(self, state: State, now_ms: int) -> None:
        self.state = state
        self.now_ms = now_ms
        self.delta = Delta()
        self._moved: list[Move] = []

    # ---- jobs ----

    def move(self, jobs: Indexes, status: Status, reason: StatusReason = StatusReason.NONE) -> None:
        """Moves jobs to a status; downstream jobs that this settles become ready or are canceled."""
        if not len(jobs):
            return
        self._check(jobs, status)
        ready, canceled = self.state.set_status(jobs, status, reason)
        self._note(Move(jobs=jobs, status=status, reason=reason))
        if status == Status.READY:
            self.state.ready.add(jobs)
        if len(canceled):
            self._check(canceled, Status.CANCELED)
            canceled, spared = cancel_downstream(self.state, canceled)
            self._note(Move(jobs=canceled, status=Status.CANCELED, reason=StatusReason.UPSTREAM_FAILED))
            ready = np.concatenate((ready, spared))
        returning = find_returning(self.state, ready)
        if len(returning):
            ready = ready[~np.isin(ready, returning)]
            self.move(returning, Status.COMPLETED, StatusReason.UNCHANGED_INPUTS)
        self.move(ready, Status.READY)  # which pushes nothing further

    def place(self, jobs: Indexes, status: NDArray[np.uint8], reason: NDArray[np.uint8], by: By = By.RESET) -> None:
        """Gives each job its final status in a plan.

        The plan has followed every consequence already: nothing further is moved. The state's derived
        counters are computed anew.
        """
        check_moves(self.state.jobs.status[jobs], status, by)
        self._count_anew(jobs[IS_WAITING[status]])
        self.state.jobs.status[jobs] = status
        self.state.jobs.reason[jobs] = reason
        kinds = status.astype(np.int64) << 8 | reason
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():
            chosen = jobs[kinds == kind]
            self._note(Move(jobs=chosen, status=kind >> 8, reason=kind & 0xFF))
            self.state.jobs.settle_attempts(chosen, kind >> 8, kind & 0xFF)
            if kind >> 8 == Status.READY:
                self.state.ready.add(chosen)
        self.state.recount()

    def stop(self, jobs: Indexes) -> None:
        """Fences live attempts that an operation supersedes; their jobs' final status follows by `place`."""
        status = self.state.jobs.status[jobs]
        self.put(jobs[status == Status.RUNNING], Status.TERMINATED, StatusReason.SUPERSEDED)
        self.put(jobs[status == Status.PENDING], Status.READY)

    def put(self, jobs: Indexes, status: Status, reason: StatusReason = StatusReason.NONE) -> None:
        """Moves jobs to a status and nothing else: what follows from it is the caller's to `place`."""
        if len(jobs):
            self._check(jobs, status)
            self.state.set_status(jobs, status, reason)
            self._note(Move(jobs=jobs, status=status, reason=reason))

    def retry(self, jobs: Indexes) -> None:
        """Has jobs whose attempts failed tried again."""
        if len(jobs):
            self.count_retries(jobs, self.state.jobs.retries[jobs] + 1)
            self.move(jobs, Status.READY, StatusReason.RETRY)

    def hand_back(self, jobs: Indexes) -> None:
        """Makes claimed jobs ready again, for the reason for which they were."""
        is_retry = self.state.jobs.retries[jobs] > 0
        self.move(jobs[~is_retry], Status.READY)
        self.move(jobs[is_retry], Status.READY, StatusReason.RETRY)

    def count_retries(self, jobs: Indexes, counts: NDArray[np.int32]) -> None:
        """Says how often jobs count as retried."""
        if len(jobs):
            self.state.jobs.retries[jobs] = counts
            self.write(Retries(jobs=jobs, counts=counts))

    def _count_anew(self, jobs: Indexes) -> None:
        retried = jobs[self.state.jobs.retries[jobs] > 0]
        self.count_retries(retried, np.zeros(len(retried), dtype=np.int32))

    def claim(self, jobs: Indexes, worker_id: int) -> Claim:
        """Gives ready jobs to a worker, each as a new attempt."""
        state = self.state
        self._check(jobs, Status.PENDING)
        claim = Claim(
            jobs=jobs,
            attempts=np.maximum(state.jobs.attempt[jobs], state.attempt_floor) + 1,
            run_id=state.run_id,
            worker_id=worker_id,
            counter=state.version_counter,
        )
        state.set_status(jobs, Status.PENDING, StatusReason.NONE)
        state.jobs.attempt[jobs] = claim.attempts
        state.jobs.run_id[jobs] = claim.run_id
        state.jobs.worker[jobs] = worker_id
        state.jobs.claim_counter[jobs] = claim.counter
        self.delta.changes.append(claim)
        self._moved.append(Move(jobs=jobs, status=Status.PENDING, reason=0))
        return claim

    def start(self, jobs: Indexes) -> None:
        """Marks claimed jobs as running."""
        if not len(jobs):
            return
        state = self.state
        self._check(jobs, Status.RUNNING)
        state.set_status(jobs, Status.RUNNING, StatusReason.NONE)
        state.jobs.counter[jobs] = state.jobs.claim_counter[jobs]
        state.jobs.may_return[jobs] = False
        self.delta.changes.append(Start(jobs=jobs))
        self._moved.append(Move(jobs=jobs, status=Status.RUNNING, reason=0))

    def mark(self, jobs: Indexes, *, may_return: bool) -> None:
        """Says of jobs whether they may return to completed."""
        if len(jobs):
            self.state.jobs.may_return[jobs] = may_return
            self.write(Mark(jobs=jobs, may_return=may_return))

    def rebase(self, jobs: Indexes) -> None:
        """Lets jobs count as last started with everything as it is now.

        The attempt of one that had not completed is history: it does not tell of the job any more.
        """
        if len(jobs):
            workers = self.state.jobs.worker[jobs]
            workers = np.where(self.state.jobs.status[jobs] == Status.COMPLETED, workers, as_history(workers))
            self.put_attempts_back(jobs, np.full(len(jobs), self.state.version_counter, dtype=np.int64), workers)

    def put_attempts_back(self, jobs: Indexes, counters: NDArray[np.int64], workers: NDArray[np.int32]) -> None:
        """Lets jobs count as last started when the version counter stood there, by these workers."""
        if len(jobs):
            self.state.jobs.counter[jobs] = counters
            self.state.jobs.worker[jobs] = workers
            self.write(Rebase(jobs=jobs, counters=counters, workers=workers))

    def add_results(self, rows: list[ResultRow]) -> None:
        """Stores what ended attempts left behind."""
        self.delta.results += rows

    def adjust(self, adjustment: Adjustment) -> None:
        """Gives jobs, none of which waits in the queue, other resource requirements."""
        state, need = self.state, adjustment.need
        if adjustment.is_new and need is not None:
            state.requirements.append(need)
            state.ready.add_requirement(need)
        names = [each.name for each in state.requirements]
        state.jobs.requirement[adjustment.jobs] = -1 if need is None else names.index(need.name)
        self.write(adjustment)

    # ---- files and user data ----

    def record(self, seen: Observation) -> None:
        """Accepts what was seen of files; those that are another version than the recorded one get one new number.

        The same content with a new time is recorded under its old number (SEMANTICS 4.9).
        """
        known = self.state.files
        changed = has_changed(known, seen)
        refreshed = needs_recording(known, seen) & ~changed
        if changed.any():
            chosen = seen.rows(changed)
            version = np.full(len(chosen.files), self.next_version(), dtype=np.int64)
            self._replace_records(chosen, version, is_new=True)
        if refreshed.any():
            chosen = seen.rows(refreshed)
            self._replace_records(chosen, known.version[chosen.files], is_new=False)

    def put_back(self, records: Records) -> None:
        """Puts records back, under the numbers they had."""
        if len(records.files):
            self.write(records)
            put_records(self.state.files, records)

    def _replace_records(self, seen: Observation, version: NDArray[np.int64], *, is_new: bool) -> None:
        count = len(seen.files)
        digest = np.zeros(count, dtype=DIGEST) if seen.digest is None else seen.digest
        is_racy = np.zeros(count, dtype=np.bool_) if seen.is_racy is None else seen.is_racy & has_digest(digest)
        records = Records(
            files=seen.files,
            mtime_ns=seen.mtime_ns,
            size=seen.size,
            digest=digest,
            is_racy=is_racy,
            version=version,
            is_new=is_new,
        )
        self.put_back(records)

    def write_user_data(self, index: int, data: str, digest: bytes) -> None:
        """Accepts a new value of a user data; an equal one changes nothing."""
        if self.state.values.latest(index)[1] == digest:
            return
        self._add_value(index, data, digest)

    def clear_user_data(self, index: int) -> None:
        """Ends a value: from now on there is none."""
        self._add_value(index, None, None)

    def _add_value(self, index: int, data: str | None, digest: bytes | None) -> None:
        write = UserDataWrite(user_data=index, version=self.next_version(), data=data, digest=digest)
        self.state.values.history[index].append((write.version, digest))
        self.write(write)

    def restore_user_data(self, index: int, version: int) -> None:
        """Takes the newest version of a user data back."""
        last, _ = self.state.values.history[index].pop()
        assert last == version, "only the newest version can be taken back"
        self.write(UserDataRestored(user_data=index, version=version))

    def next_version(self) -> int:
        """A new number of the workflow's version counter (SEMANTICS 4.7)."""
        self.state.version_counter += 1
        self.delta.workflow["counter"] = self.state.version_counter
        return self.state.version_counter

    # ---- the workflow and its log ----

    def set_run_id(self, run_id: int) -> None:
        """Sets the run number."""
        self.state.run_id = self.delta.workflow["run_id"] = run_id

    def set_canceled(self, canceled: bool) -> None:
        """Sets or clears the canceled flag."""
        if self.state.is_canceled != canceled:
            self.state.is_canceled = canceled
            self.delta.workflow["is_canceled"] = int(canceled)

    def set_archived(self, archived: bool) -> None:
        """Sets or clears the archived flag."""
        self.state.is_archived = archived
        self.delta.workflow["is_archived"] = int(archived)

    def write(self, change: Change) -> None:
        """Notes a change whose effect on the state the caller makes."""
        self.delta.changes.append(change)

    def notify(self, kind: str, data: dict[str, Any]) -> None:
        """Appends an event to the workflow's log, after one for all of the jobs that moved before it."""
        self._tell_moves()
        self._append(kind, data)

    def finish(self) -> Delta:
        """The delta, complete with its events (SEMANTICS 7.1)."""
        self._tell_moves()
        return self.delta

    def _tell_moves(self) -> None:
        if self._moved:
            moved, self._moved = self._moved, []
            self._append("jobs_changed", {"changes": [self._describe(move) for move in merge_moves(moved)]})

    def _append(self, kind: str, data: dict[str, Any]) -> None:
        self.state.event_seq += 1
        self.delta.workflow["event_seq"] = self.state.event_seq
        self.delta.notices.append(Notice(seq=self.state.event_seq, at_ms=self.now_ms, kind=kind, data=data))

    def _check(self, jobs: Indexes, status: Status) -> None:
        check_moves(self.state.jobs.status[jobs], np.full(len(jobs), status, dtype=np.uint8))

    def _note(self, move: Move) -> None:
        self.delta.changes.append(move)
        self._moved.append(move)

    def _describe(self, move: Move) -> dict[str, Any]:
        ids = np.sort(self.state.jobs.ids.ids[move.jobs])
        return {
            "status": status_name(move.status),
            "status_reason": reason_name(move.reason),
            "count": len(ids),
            "jobs": format_ranges(ids),
        }


def put_records(files: Files, records: Records) -> None:
    """Replaces records in a state."""
    files.mtime_ns[records.files] = records.mtime_ns
    files.size[records.files] = records.size
    files.digest[records.files] = records.digest
    files.is_racy[records.files] = records.is_racy
    files.version[records.files] = records.version
