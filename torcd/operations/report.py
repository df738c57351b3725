"""What workers tell: attempts that started, ended or were handed back; and what they are handed next.

Fencing (SEMANTICS 5.3): a report counts for exactly the attempt that was handed out. A replay of an accepted
report succeeds and writes nothing, a different one is a conflict, one of a superseded attempt is refused.
"""

import sqlite3
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from torcd.core.delta import Claim, ResultRow
from torcd.core.draft import Draft
from torcd.core.evaluation import evaluate_downstream
from torcd.core.observation import Observation
from torcd.core.placement import Room
from torcd.core.state import ABSENT, DIGEST, State
from torcd.core.status import ENDED, LIVE, WAITING, Status, StatusReason, mask_of
from torcd.operations.retry import is_retried
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, Capacity, RefusedReport
from torcd.storage.save import keys_of, save_results

Int64 = NDArray[np.int64]

IS_LIVE = mask_of(LIVE)
IS_STARTED = mask_of(LIVE | ENDED)
"""The statuses of a job whose latest attempt was not handed back or reset."""

STOPPED = {
    "walltime": (Status.TERMINATED, StatusReason.WALLTIME),
    "worker_shutdown": (Status.TERMINATED, StatusReason.WORKER_SHUTDOWN),
    "by_user": (Status.CANCELED, StatusReason.BY_USER),
    "superseded": (Status.TERMINATED, StatusReason.SUPERSEDED),
}


@dataclass(slots=True)
class Reported:
    """What became of a report."""

    refused: list[RefusedReport] = field(default_factory=list)
    doubtful: list[tuple[AttemptEnd, ResultRow | None]] = field(default_factory=list)
    """Ends of attempts that are not live: replays, or refused; `judge_doubtful` finds out. The end of an
    attempt whose job was canceled comes with the row to store, unless that is there already."""


def take_report(
    draft: Draft,
    worker_id: int,
    hostname: str,
    started: list[AttemptRef],
    ended: list[AttemptEnd],
    returned: list[AttemptRef],
) -> Reported:
    """Moves the jobs of one worker's report; raises nothing: what does not fit is in the answer.

    An attempt that is named twice counts once; a second end of it is judged as a later report would be.
    """
    if not draft.state.count:
        return Reported(refused=[_superseded(ref) for ref in (*started, *ended)])
    reported = Reported()
    _take_started(draft, worker_id, list(dict.fromkeys(started)), reported)
    _take_ended(draft, worker_id, hostname, ended, reported)
    _take_returned(draft, worker_id, list(dict.fromkeys(returned)))
    return reported


def _superseded(ref: AttemptRef) -> RefusedReport:
    return RefusedReport(job_id=ref.job_id, attempt_id=ref.attempt_id, why="superseded")


def take_back(draft: Draft, jobs: Int64) -> None:
    """Attempts that were given up for lost run after all: what their loss canceled, or made ready, waits again.

    SEMANTICS §2, 8.4. What was claimed meanwhile goes on.
    """
    if not len(jobs):
        return
    draft.move(jobs, Status.RUNNING)
    placement = evaluate_downstream(draft.state, jobs)
    if len(placement.jobs):
        draft.place(*placement)


def _find(state: State, refs: list[AttemptRef]) -> tuple[Int64, NDArray[np.bool_]]:
    """The jobs of attempts (-1: unknown), and whether each is its job's latest attempt."""
    jobs = state.jobs.ids.find(np.array([ref.job_id for ref in refs], dtype=np.int64))
    attempts = np.array([ref.attempt_id for ref in refs], dtype=np.int64)
    return jobs, (jobs >= 0) & (state.jobs.attempt[jobs] == attempts)


def _take_started(draft: Draft, worker_id: int, started: list[AttemptRef], reported: Reported) -> None:
    if not started:
        return
    jobs, latest = _find(draft.state, started)
    columns = draft.state.jobs
    mine = latest & (columns.worker[jobs] == worker_id)
    status = columns.status[jobs]
    draft.start(jobs[mine & (status == Status.PENDING)])
    known = mine & IS_STARTED[status]
    for place in np.flatnonzero(~known).tolist():
        reported.refused.append(_superseded(started[place]))


def _take_returned(draft: Draft, worker_id: int, returned: list[AttemptRef]) -> None:
    """Claims that a worker hands back; one that is not its own any more is nobody's loss."""
    if not returned:
        return
    jobs, latest = _find(draft.state, returned)
    columns = draft.state.jobs
    mine = latest & (columns.worker[jobs] == worker_id) & (columns.status[jobs] == Status.PENDING)
    draft.hand_back(jobs[mine])


def _take_ended(draft: Draft, worker_id: int, hostname: str, ended: list[AttemptEnd], reported: Reported) -> None:
    if not ended:
        return
    state = draft.state
    jobs, latest = _find(state, list(ended))
    columns = state.jobs
    status, reason = columns.status[jobs], columns.reason[jobs]
    mine = latest & (columns.worker[jobs] == worker_id)
    live = mine & ((status == Status.PENDING) | (status == Status.RUNNING))
    # an attempt that was given up for lost, or whose job was canceled, still leaves its result behind
    late = mine & (status == Status.TERMINATED) & (reason == StatusReason.WORKER_LOST)
    canceled = mine & (status == Status.CANCELED) & (reason == StatusReason.BY_USER)
    accepted = (live | late) & _first_mentions(jobs, mine)
    for place in np.flatnonzero(~accepted).tolist():
        end, job = ended[place], int(jobs[place])
        row = _result_row(state, job, worker_id, hostname, end, STOPPED["by_user"]) if canceled[place] else None
        reported.doubtful.append((end, row))
    draft.start(jobs[accepted & (status == Status.PENDING)])
    take_back(draft, jobs[accepted & late])
    places = np.flatnonzero(accepted).tolist()
    _record_outputs(draft, [ended[place] for place in places])
    groups: dict[tuple[Status, StatusReason], list[int]] = {}
    rows = []
    retried = []
    for place in places:
        job, end = int(jobs[place]), ended[place]
        outcome = _judge(state, job, end)
        if outcome[0] == Status.FAILED and is_retried(state, job, end):
            retried.append(job)
        else:
            groups.setdefault(outcome, []).append(job)
        rows.append(_result_row(state, job, worker_id, hostname, end, outcome))
    draft.add_results(rows)
    for (after, why), moved in groups.items():
        draft.move(np.array(moved, dtype=np.int64), after, why)
    draft.retry(np.array(retried, dtype=np.int64))


def _first_mentions(jobs: Int64, counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the entries that count, the first of each job."""
    listed = jobs[counts].tolist()
    if len(set(listed)) == len(listed):
        return counts
    first = np.zeros(len(jobs), dtype=np.bool_)
    places = np.flatnonzero(counts)
    first[places[np.unique(jobs[places], return_index=True)[1]]] = True
    return first


def _judge(state: State, job: int, end: AttemptEnd) -> tuple[Status, StatusReason]:
    """The status that an ended attempt gives its job (SEMANTICS §2)."""
    if end.stopped is not None:
        return STOPPED[end.stopped]
    if end.recovery_failed is True:
        return Status.FAILED, StatusReason.RECOVERY_FAILED
    if end.return_code != 0:
        return Status.FAILED, StatusReason.NONE
    declared = state.files.outputs.row(job)
    if len(declared):
        present = {output.file_id for output in end.outputs if output.mtime_ns is not None}
        if any(int(file_id) not in present for file_id in state.files.ids.ids[declared]):
            return Status.FAILED, StatusReason.OUTPUT_MISSING
    for index in state.values.outputs_of.get(job, ()):
        if state.values.latest(index)[1] is None:
            return Status.FAILED, StatusReason.OUTPUT_MISSING
    return Status.COMPLETED, StatusReason.NONE


def _result_row(
    state: State,
    job: int,
    worker_id: int,
    hostname: str,
    end: AttemptEnd,
    outcome: tuple[Status, StatusReason],
) -> ResultRow:
    return ResultRow(
        job=job,
        attempt_id=end.attempt_id,
        run_id=int(state.jobs.run_id[job]),
        worker_id=worker_id,
        return_code=end.return_code,
        status=outcome[0],
        reason=outcome[1],
        started_at_ms=end.started_at_ms,
        ended_at_ms=end.ended_at_ms,
        exec_time_s=end.exec_time_s,
        peak_memory_bytes=end.peak_memory_bytes,
        cpu_seconds=end.cpu_seconds,
        hostname=hostname,
        stdout_path=end.stdout_path,
        stderr_path=end.stderr_path,
    )


def _record_outputs(draft: Draft, ended: list[AttemptEnd]) -> None:
    """The worker's own stats become the records (SEMANTICS 8.3); unknown ones change nothing."""
    seen = [output for end in ended for output in end.outputs if output.error is None]
    if not seen or not len(draft.state.files.size):  # an update may have removed them while the worker was away
        return
    files = draft.state.files.ids.find(np.array([output.file_id for output in seen], dtype=np.int64))
    mtime_ns = np.array([-1 if o.mtime_ns is None else o.mtime_ns for o in seen], dtype=np.int64)
    size = np.array([ABSENT if o.mtime_ns is None else (o.size or 0) for o in seen], dtype=np.int64)
    made_by = np.array([end.job_id for end in ended for output in end.outputs if output.error is None])
    producer = draft.state.files.producer[files]
    own = (files >= 0) & (producer >= 0) & (draft.state.jobs.ids.ids[producer] == made_by)
    digest = is_racy = None
    if any(output.digest for output in seen):
        digest = np.array([_parse_digest(output.digest) for output in seen], dtype=f"V{DIGEST.itemsize}").view(DIGEST)
        is_racy = np.array([output.is_racy for output in seen], dtype=np.bool_)
    draft.record(Observation(files, mtime_ns, size, digest=digest, is_racy=is_racy).rows(own))


def _parse_digest(text: str) -> bytes:
    return bytes.fromhex(text) if text else bytes(DIGEST.itemsize)


def judge_doubtful(
    db: sqlite3.Connection, state: State, worker_id: int, doubtful: list[tuple[AttemptEnd, ResultRow | None]]
) -> list[RefusedReport]:
    """Compares ends of attempts that are not live with the stored results: equal ones are replays."""
    refused = []
    for end, new in doubtful:
        row = db.execute(
            "SELECT worker_id, return_code, started_at_ms, ended_at_ms FROM result"
            " WHERE workflow_id = ? AND job_id = ? AND attempt_id = ?",
            (state.workflow_id, end.job_id, end.attempt_id),
        ).fetchone()
        has_reported = row is not None and row[2] is not None  # else it has no row, or one that was noted for it
        if new is not None and not has_reported:
            save_results(db, keys_of(state), [new])
        elif row != (worker_id, end.return_code, end.started_at_ms, end.ended_at_ms):
            why = "conflict" if has_reported else "superseded"
            refused.append(RefusedReport(job_id=end.job_id, attempt_id=end.attempt_id, why=why))
    return refused


MOST_CLAIMED = 1_000
"""Jobs handed out at once; a worker that wants more asks again."""
MOST_CLAIMED_BYTES = 4 * 1024 * 1024
"""And the length of their commands and paths: an answer has to fit into a frame."""


def hand_out(
    draft: Draft, worker_id: int, capacity: Capacity, total: Room, stopping: AbstractSet[int] = frozenset()
) -> Claim | None:
    """Claims what fits for a worker, but no job of `stopping` (ids): its former attempt may still be alive."""
    state = draft.state
    status, ids = state.jobs.status, state.jobs.ids.ids
    bounded = structs.replace(capacity, jobs=min(capacity.jobs, MOST_CLAIMED), ahead=min(capacity.ahead, MOST_CLAIMED))

    def is_ready(job: int) -> bool:
        return bool(status[job] == Status.READY) and not (stopping and int(ids[job]) in stopping)

    jobs = np.array(state.ready.take(bounded, total, is_ready), dtype=np.int64)
    if not len(jobs):
        return None
    fitting = max(int(np.searchsorted(np.cumsum(state.jobs.length[jobs]), MOST_CLAIMED_BYTES)), 1)
    state.ready.add(jobs[fitting:])
    return draft.claim(jobs[:fitting], worker_id)


def count_stranded(state: State, total: Room) -> int:
    """The jobs that have not ended, when none is under way and this worker can take none that is ready; else 0.

    `total` is all that the worker has, with the time that it has left. Of an archived workflow nobody can take any.
    """
    if state.counts[Status.PENDING] or state.counts[Status.RUNNING] or state.is_complete:
        return 0
    if state.counts[Status.READY] and not state.is_archived:
        misfits = state.ready.misfits(total)
        needs = state.jobs.requirement[state.jobs.status == Status.READY] if misfits else None
        if needs is None or not np.isin(needs, misfits).all():
            return 0
    return int(state.counts[list(WAITING)].sum())


def lose_unknown_workers(draft: Draft, worker_ids: list[int]) -> None:
    """Live jobs of workers that nobody knows any more: without this they would stay live for ever."""
    columns = draft.state.jobs
    live = np.flatnonzero(IS_LIVE[columns.status])
    for worker_id in set(columns.worker[live].tolist()) - set(worker_ids):
        lose_worker(draft, worker_id, "")


def lose_worker(draft: Draft, worker_id: int, hostname: str) -> list[tuple[int, int]]:
    """A worker whose lease ended: pending claims return, running jobs are terminated (SEMANTICS 8.4).

    The attempts that may have been running: (job id, attempt).
    """
    state = draft.state
    held = np.flatnonzero(state.jobs.worker == worker_id)
    status = state.jobs.status[held]
    draft.hand_back(held[status == Status.PENDING])
    running = held[status == Status.RUNNING]
    draft.add_results([lost_row(state, int(job), draft.now_ms, hostname, StatusReason.WORKER_LOST) for job in running])
    draft.move(running, Status.TERMINATED, StatusReason.WORKER_LOST)
    live = held[IS_LIVE[status]]
    return list(zip(state.jobs.ids.ids[live].tolist(), state.jobs.attempt[live].tolist(), strict=True))


def lost_row(
    state: State,
    job: int,
    at_ms: int,
    hostname: str,
    reason: StatusReason,
    status: Status = Status.TERMINATED,
) -> ResultRow:
    """The result of an attempt that did not live to report its own."""
    return ResultRow(
        job=job,
        attempt_id=int(state.jobs.attempt[job]),
        run_id=int(state.jobs.run_id[job]),
        worker_id=int(state.jobs.worker[job]),
        return_code=None,
        status=status,
        reason=reason,
        started_at_ms=None,
        ended_at_ms=at_ms,
        exec_time_s=0.0,
        hostname=hostname,
    )
