"""Updates a workflow from a changed specification: compare, refuse or write, then evaluate on the new graph.

An edit and no task (SEMANTICS 5.7). What is compared is what one snapshot of the database holds; the actor takes it
in its own turn, so that nothing of the workflow changes between that and the commit.
"""

import sqlite3
from dataclasses import dataclass

import numpy as np

from torcd.core.difference_entries import digest_differences, show_differences
from torcd.core.differences import Differences, Present, find_differences, find_new_values, find_redefined
from torcd.core.draft import Draft
from torcd.core.evaluation import evaluate_downstream
from torcd.core.refusals import SHOWN, count_jobs
from torcd.core.status import LIVE, status_name
from torcd.operations.fire import arm_new
from torcd.protocol.errors import Conflict, Refused
from torcd.storage.actions import find_open, match_actions
from torcd.storage.create import Numbering
from torcd.storage.definitions import load_definitions
from torcd.storage.load import load_state
from torcd.storage.present import count_results, find_live_makers, load_present, load_values
from torcd.storage.save import keys_of, save_delta
from torcd.storage.update import Specification, write_differences


@dataclass(frozen=True, slots=True)
class Update:
    """What is to be done to make a workflow what a specification says."""

    specification: Specification
    present: Present
    differences: Differences
    results: dict[int, int]
    """How many results go with each removed job that has any."""
    shown: list[bytes]
    """The differences as users see them, before anything has an id that is added."""
    digest: str


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update has done, once it is committed."""

    numbering: Numbering
    draft: Draft
    """With the state as it is now."""


def find_update(db: sqlite3.Connection, workflow_id: int, specification: Specification, expect: str | None) -> Update:
    """Compares; raises what the update is refused with: Refused, Conflict or NotFound."""
    present, expansion = load_present(db, workflow_id), specification.expansion
    if present.is_archived:
        raise Refused(f"workflow {workflow_id} is archived: unarchive it first", workflow_id=workflow_id)
    redefined = find_redefined(present, expansion).values()
    new_values = find_new_values(present, expansion).values()
    differences = find_differences(
        present,
        specification.header,
        expansion,
        load_definitions(db, workflow_id, list(redefined)),
        load_values(db, workflow_id, new_values),
    )
    _check_live(db, present, differences)
    _check_firing(db, workflow_id, specification)
    results = count_results(db, workflow_id, [job.id for job in differences.jobs.removed])
    shown = list(show_differences(differences, expansion, results))
    digest = digest_differences(workflow_id, differences, expansion, specification.scripts, shown)
    if expect is not None and differences.count and expect != digest:
        raise Conflict(
            f"the update is not the expected one any more: {differences.count} object(s) and fields differ now. Look "
            "at a new dry run and use its digest",
            expected=expect,
            plan_digest=digest,
            count=differences.count,
        )
    return Update(specification, present, differences, results, shown, digest)


def _check_live(db: sqlite3.Connection, present: Present, differences: Differences) -> None:
    """Refuses a change of a live job, and another path for what it makes: its worker looks at the former one."""
    live = {job.id: name for name, job in present.jobs.items() if job.status in LIVE}
    if not live:
        return
    touched = {change.id for change in differences.jobs.changed}
    touched.update(gone.id for gone in differences.jobs.removed)
    moved = [change.id for change in differences.files.changed if change.touches({"path"})]
    touched.update(find_live_makers(db, present.workflow_id, moved))
    ids = sorted(touched & live.keys())
    if not ids:
        return
    names = [live[job_id] for job_id in ids]
    told = [f"{present.jobs[name].id} {name} ({status_name(present.jobs[name].status)})" for name in names[:SHOWN]]
    shown = ", ".join(told)
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    raise Conflict(
        f"workflows update would change {count_jobs(len(ids))} that run now: {shown}{more}. Nothing was changed. Wait "
        "for them, or cancel the workflow",
        workflow_id=present.workflow_id,
        jobs=ids[:1000],
        names=names[:1000],
        count=len(ids),
        options=["wait", "workflows cancel"],
    )


def _check_firing(db: sqlite3.Connection, workflow_id: int, specification: Specification) -> None:
    """Refuses to remove, or to replace, an action that is being carried out: its outcome would be lost."""
    _, removed = match_actions(db, workflow_id, specification.header.actions)
    if busy := find_open(db, removed):
        raise Conflict(
            f"workflows update would remove action(s) {', '.join(map(str, busy))} of workflow {workflow_id}, which "
            "have not ended. Nothing was changed. Wait for them: `torcctl actions list` shows when they have",
            workflow_id=workflow_id,
            actions=busy,
        )


def count_changes(differences: Differences) -> dict[str, dict[str, int]]:
    """Of each section: how many objects are added, changed and removed."""
    return {
        name: {"added": len(section.added), "changed": len(section.changed), "removed": len(section.removed)}
        for name, section in differences.sections().items()
    }


def apply_update(db: sqlite3.Connection, update: Update, now_ms: int) -> Updated:
    """Writes an update, loads what the workflow is then, and evaluates the jobs that wait anew."""
    numbering = write_differences(db, update.present, update.specification, update.differences)
    state = load_state(db, update.present.workflow_id)
    draft = Draft(state, now_ms)
    _evaluate_waiting(draft)
    arm_new(draft)
    draft.notify(
        "workflow_updated",
        {
            **count_changes(update.differences),
            "header": [each.field for each in update.differences.header],
            "results_removed": sum(update.results.values()),
            "plan_digest": update.digest,
        },
    )
    save_delta(db, keys_of(state), draft.finish())
    return Updated(numbering, draft)


def _evaluate_waiting(draft: Draft) -> None:
    """Jobs wait for other jobs now, perhaps, or a failure that had canceled them is gone with its job.

    Uninitialized ones go on to wait for an operation, and all of a canceled workflow.
    """
    state = draft.state
    if state.is_canceled:
        return
    placement = evaluate_downstream(state, np.arange(state.count, dtype=np.int64))
    if len(placement.jobs):
        draft.place(*placement)
