"""What a request is refused with before anything is written: unknown files, missing inputs, live jobs, jobs that do not
exist, and a workflow that is archived.

With `--force` the first two are warnings; the others are never forced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torcd.core.observation import Observation
from torcd.core.purged import find_taken
from torcd.core.state import ABSENT, UNKNOWN, State
from torcd.core.status import WAITING, Status, mask_of, status_name
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import Operation

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
SHOWN = 20
"""How many objects an error names."""


def count_jobs(count: int) -> str:
    """How many jobs, in words: 1 job, 2 jobs."""
    return "1 job" if count == 1 else f"{count} jobs"


def _paths(state: State, files: Int64) -> list[str]:
    return [state.files.path(index).decode(errors="surrogateescape") for index in files[:SHOWN].tolist()]


def _listing(paths: list[str], total: int) -> str:
    more = f" and {total - len(paths)} more" if total > len(paths) else ""
    return ", ".join(paths) + more


def name_jobs(state: State, jobs: Int64) -> str:
    """The ids of jobs with their statuses, as an error names them."""
    shown = zip(state.jobs.ids.ids[jobs[:SHOWN]].tolist(), state.jobs.status[jobs[:SHOWN]].tolist(), strict=True)
    return _listing([f"{job_id} ({status_name(status)})" for job_id, status in shown], len(jobs))


def find_jobs(state: State, ids: Sequence[int]) -> Int64:
    """The indexes of jobs by their ids: all of them, or NotFound."""
    found = state.jobs.ids.find(np.array(ids, dtype=np.int64))
    unknown = [job_id for job_id, index in zip(ids, found.tolist(), strict=True) if index < 0]
    if unknown:
        named = _listing([str(job_id) for job_id in unknown[:SHOWN]], len(unknown))
        raise NotFound(
            f"workflow {state.workflow_id} has no job {named}; nothing was changed",
            noun="job",
            id=unknown[0],
            ids=unknown[:1000],
        )
    return found


def check_not_archived(state: State) -> None:
    """SEMANTICS 5.5: an archived workflow can only be read, or deleted."""
    if state.is_archived:
        raise Refused(
            f"workflow {state.workflow_id} is archived: unarchive it first with `workflows unarchive "
            f"{state.workflow_id}`",
            workflow_id=state.workflow_id,
        )


def accept_unknown(state: State, request: Operation, seen: Observation, warnings: list[str]) -> Observation:
    """SEMANTICS 4.8: unknown files refuse the operation; with force they count as unchanged."""
    unknown = seen.unknown
    if not len(unknown):
        return seen
    paths = _paths(state, unknown)
    listing = ", ".join(
        f"{path} ({seen.errors.get(index, 'unknown error')})"
        for path, index in zip(paths, unknown.tolist(), strict=False)
    )
    text = f"{len(unknown)} file(s) could not be examined: {listing}"
    if not request.force:
        raise Refused(
            f"{text}. Nothing was changed. Make them readable, or use --force to count them as unchanged",
            workflow_id=state.workflow_id,
            paths=paths,
            count=len(unknown),
        )
    warnings.append(f"{text}; counted as unchanged")
    return replace(seen.rows(seen.size != UNKNOWN), errors={})


def _user_inputs(state: State, takers: Mask | None) -> Mask:
    """Declared files that no job, or only a disabled one, produces and that an enabled job (of `takers`) takes."""
    files, disabled = state.files, state.jobs.status == Status.DISABLED
    made = files.producer >= 0
    made[made] = ~disabled[files.producer[made]]
    taken = find_taken(state, ~disabled if takers is None else takers & ~disabled)
    mask: Mask = taken & ~made & ~files.is_script
    return mask


def check_missing_inputs(
    state: State, request: Operation, seen: Observation, warnings: list[str], takers: Mask | None = None
) -> None:
    """Missing user inputs (of `takers`, a mask over jobs) refuse; with force they are a warning (SEMANTICS §5)."""
    if not len(seen.absent):
        return
    missing = seen.files[(seen.size == ABSENT) & _user_inputs(state, takers)[seen.files]]
    if len(missing):
        paths = _paths(state, missing)
        text = f"{len(missing)} input file(s) that no job produces do not exist: {_listing(paths, len(missing))}"
        advice = "Create them, or use --force to go on without them"
        _refuse_or_warn(state, request, warnings, text, advice, paths=paths, count=len(missing))


def check_purged(state: State, request: Operation, purged: Mask, warnings: list[str]) -> None:
    """Files that may be missing refuse likewise where nothing is done to have them made again.

    Those whose producer has yet to run are not missed.
    """
    status = state.jobs.status
    missing = np.flatnonzero(purged & find_taken(state, mask_of(WAITING)[status]))
    missing = missing[status[state.files.producer[missing]] == Status.COMPLETED]
    if len(missing):
        paths = _paths(state, missing)
        text = f"{len(missing)} file(s) that may be missing are gone and are needed: {_listing(paths, len(missing))}"
        advice = "Have them made again with `workflows restart` or `reinit`, or use --force to go on without them"
        _refuse_or_warn(state, request, warnings, text, advice, paths=paths, count=len(missing))


def check_missing_values(state: State, request: Operation, warnings: list[str]) -> None:
    """User data that a job takes, without a value and without a producer, refuses likewise."""
    values = state.values
    missing = sorted(
        {
            index
            for job, index in values.inputs
            if values.latest(index)[1] is None
            and (values.producer[index] < 0 or state.jobs.status[int(values.producer[index])] == Status.DISABLED)
            and state.jobs.status[job] != Status.DISABLED
        }
    )
    if missing:
        names = [values.names[index] for index in missing[:SHOWN]]
        text = f"{len(missing)} user data that no job produces have no value: {_listing(names, len(missing))}"
        advice = "Set them with `user-data update`, or use --force to go on without"
        _refuse_or_warn(state, request, warnings, text, advice, user_data=names, count=len(missing))


def _refuse_or_warn(state: State, request: Operation, warnings: list[str], text: str, advice: str, **data: Any) -> None:
    if not request.force:
        raise Refused(f"{text}. Nothing was changed. {advice}", workflow_id=state.workflow_id, **data)
    warnings.append(text)


def warn_of_disabled(state: State, jobs: Int64, warnings: list[str]) -> None:
    """Tells which of the jobs that were meant are disabled and so are left as they are (SEMANTICS 2.5)."""
    disabled = jobs[state.jobs.status[jobs] == Status.DISABLED]
    if len(disabled):
        is_left = "is left as it is" if len(disabled) == 1 else "are left as they are"
        named = name_jobs(state, disabled)
        warnings.append(f"{count_jobs(len(disabled))} of those meant {is_left}: {named}. See `jobs enable`")


class LiveConflict(Conflict):
    """A request is refused because of live jobs (SEMANTICS 5.2). What decides knows them by their ids alone."""

    def __init__(self, what: str, live: list[tuple[int, str]], advice: str, **data: Any) -> None:
        super().__init__(_live_text(what, live, advice, data, {}), **data)
        self.ids = [job_id for job_id, _ in live]
        self._parts = what, live, advice, data

    def named(self, names: Mapping[int, str]) -> Conflict:
        """The same with the names of the jobs."""
        return Conflict(_live_text(*self._parts, names), **self.data)


def live_conflict(state: State, what: str, live: Int64, advice: str | None = None, **data: Any) -> LiveConflict:
    """What is refused because of live jobs, with their statuses and what to do.

    `what` is the sentence up to their number: "reinit would change".
    """
    ids, statuses = state.jobs.ids.ids[live[:1000]].tolist(), state.jobs.status[live[:SHOWN]].tolist()
    return LiveConflict(
        what,
        [(job_id, status_name(status)) for job_id, status in zip(ids, statuses, strict=False)],
        advice or f"Wait for them, or cancel them with `workflows cancel {state.workflow_id}`",
        workflow_id=state.workflow_id,
        jobs=ids,
        count=len(live),
        **data,
    )


def _live_text(
    what: str, live: list[tuple[int, str]], advice: str, data: Mapping[str, Any], names: Mapping[int, str]
) -> str:
    told = [
        f"{job_id} {names[job_id]} ({status})" if job_id in names else f"{job_id} ({status})" for job_id, status in live
    ]
    return f"{what} {count_jobs(data['count'])} under way: {_listing(told, data['count'])}. {advice}"
