"""Shows what a failure handler did about a job's last failure."""

import sqlite3

import msgspec

from torcd.core.failure_handlers import Verdict, find_rule, judge_failure
from torcd.core.status import Status
from torcd.protocol.model import Handling, Job
from torcd.protocol.specification import Header


def load_handling(db: sqlite3.Connection, job: Job) -> Handling | None:
    """None where the job has no handler, or none of its failures counts any more."""
    if job.failure_handler is None or not (job.status == "failed" or job.retries):
        return None
    failure = db.execute(
        "SELECT attempt_id, return_code FROM result WHERE workflow_id = ? AND job_id = ? AND status = ?"
        " ORDER BY attempt_id DESC LIMIT 1",
        (job.workflow_id, job.id, int(Status.FAILED)),
    ).fetchone()
    if failure is None:  # imported without its results
        return None
    attempt_id, return_code = failure
    text, is_canceled = db.execute(
        "SELECT header, is_canceled FROM workflow WHERE id = ?", (job.workflow_id,)
    ).fetchone()
    handlers = {each.name: each for each in msgspec.json.decode(text, type=Header).failure_handlers}
    handler = handlers[job.failure_handler]
    verdict = Verdict("retry", find_rule(handler, return_code))
    if job.status == "failed":
        has_failed = job.status_reason == "recovery_failed"
        verdict = judge_failure(handler, return_code, job.retries, recovery_failed=has_failed)
        if verdict.is_retry:
            verdict = Verdict("canceled" if is_canceled else "changed_since", verdict.rule)
    rule = verdict.rule
    return Handling(
        failure_handler=handler.name,
        attempt_id=attempt_id,
        return_code=return_code,
        why=verdict.why,
        retries=job.retries,
        max_retries=None if rule is None else rule.max_retries,
        recovery_script=None if rule is None else rule.recovery_script,
    )
