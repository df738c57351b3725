"""Plans as text: the sentence, the list of a dry run and the reason for every job."""

import datetime
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from torcctl.output import cell, count_jobs, status_text
from torcd.protocol.model import Decision, Plan, PlanJob

VERBS = {
    "restart": "restarted", "initialize": "initialized", "prepare": "made ready", "jobs accept": "accepted",
    "undo": "put back", "recover": "recovered",
}  # fmt: skip
"""What an operation does to jobs, for a sentence; every other one resets them."""


def sentence(plan: Plan) -> str:
    """`Reset 3 jobs due to changed inputs`, or what a dry run says instead."""
    verb = VERBS.get(plan.operation, "reset")
    jobs = count_jobs(plan.count)
    if plan.dry_run:
        return f"Dry run: {jobs} would be {verb} {plan.cause}".rstrip()
    return f"{verb.capitalize()} {jobs} {plan.cause}".rstrip()


def write_plan(plan: Plan, *, explain: bool) -> None:
    """Prints the sentence and, for a dry run or with `explain`, a line per job in topological order.

    The lines are those of the jobs that the sentence counts. Others change, too, when uninitialized jobs are
    evaluated on the way; they are summed up, and listed with `explain`.
    """
    lines = [sentence(plan)]
    if plan.dry_run or explain:
        counted, others = _split(plan)
        for job in counted:
            lines += _job_lines(job, explain=explain)
        if others:
            lines.append(_sum_up(plan, len(others)))
            if explain:
                lines += [line for job in others for line in _job_lines(job, explain=True)]
    sys.stdout.write("\n".join(lines) + "\n")


def _sum_up(plan: Plan, count: int) -> str:
    """A line for the jobs that the sentence does not count."""
    noun = "job" if count == 1 else "jobs"
    if plan.operation == "jobs accept":
        return f"{count} {noun} downstream {'would no longer wait' if plan.dry_run else 'no longer wait'}"
    be = "would be" if plan.dry_run else "was" if count == 1 else "were"
    return f"{count} other {noun} {be} evaluated"


def _split(plan: Plan) -> tuple[list[PlanJob], list[PlanJob]]:
    """The jobs that `count` counts, and the rest."""
    if len(plan.jobs) == plan.count:
        return plan.jobs, []
    if plan.operation == "jobs accept":
        is_counted = [any(reason["kind"] == "accepted" for reason in job.reasons) for job in plan.jobs]
    else:
        is_counted = [_is_reset(job) for job in plan.jobs]
    pairs = list(zip(plan.jobs, is_counted, strict=True))
    return [job for job, counts in pairs if counts], [job for job, counts in pairs if not counts]


def _is_reset(job: PlanJob) -> bool:
    """Whether a reinit, or what goes on as one, counts a job: what it merely evaluates it does not."""
    is_requested = any(reason["kind"] == "requested" for reason in job.reasons)
    return is_requested or (bool(job.reasons) and job.from_ != "uninitialized")


def _job_lines(job: PlanJob, *, explain: bool) -> list[str]:
    if not explain:
        return [f"  - {cell(job.name)}"]
    head = f"  - {cell(job.name)} ({move_text(job)})"
    return [head, *(f"      {reason_text(reason)}" for reason in job.reasons)]


def move_text(job: PlanJob | Decision) -> str:
    """From which status to which, with their reasons."""
    return f"{status_text(job.from_, job.from_reason)} → {status_text(job.to, job.to_reason)}"


# ---- reasons ------------------------------------------------------------------------------------------


def reason_text(reason: dict[str, Any]) -> str:
    """One reason in words. A kind that this client does not know is shown as it came."""
    describe = REASONS.get(str(reason.get("kind")))
    return cell(describe(reason) if describe else msgspec.json.encode(reason).decode())


def _input_changed(reason: dict[str, Any]) -> str:
    stored, observed = reason.get("stored") or {}, reason.get("observed") or {}
    name = _input_name(reason)
    if stored.get("mtime_ns") is None:
        return f"{name} appeared"
    changes = []
    if stored["mtime_ns"] != observed.get("mtime_ns"):
        changes.append(f"modified {time_text(stored['mtime_ns'])}, now {time_text(observed.get('mtime_ns'))}")
    if stored.get("size") != observed.get("size"):
        changes.append(f"size {_size_change(stored.get('size'), observed.get('size'))}")
    return f"{name} changed: {'; '.join(changes) or 'content'}"


def _input_missing(reason: dict[str, Any]) -> str:
    stored = reason.get("stored") or {}
    known = stored.get("mtime_ns")
    was = f"; it was modified {time_text(known)}, {size_text(stored.get('size'))}" if known is not None else ""
    return f"{_input_name(reason)} {'disappeared' if was else 'does not exist'}{was}"


def _input_name(reason: dict[str, Any]) -> str:
    """A declared input by its name and path; a script that a command names has only a path."""
    return f"script {reason['path']}" if reason["file"] == reason["path"] else f"input {_file(reason)}"


def _file(reason: dict[str, Any]) -> str:
    """A file by name and path; that of one which the workflow has no more is not known."""
    return str(reason["file"]) if reason["path"] is None else f"{reason['file']} ({reason['path']})"


def _output_missing(reason: dict[str, Any]) -> str:
    needed_by = reason.get("needed_by")
    who = "" if needed_by is None else f", and {needed_by} needs it"
    return f"output {_file(reason)} is missing{who}"


def _definition_changed(reason: dict[str, Any]) -> str:
    return f"{reason['field']} changed from {_value(reason['old'])} to {_value(reason['new'])}"


def _user_data_changed(reason: dict[str, Any]) -> str:
    return f"user data {reason['name']} changed from {_value(reason['old'])} to {_value(reason['new'])}"


def _upstream_stale(reason: dict[str, Any]) -> str:
    root, via = reason["root"], reason["via"]
    return f"upstream {root} must run again" + ("" if via in (root, None) else f", through {via}")


def _not_completed(reason: dict[str, Any]) -> str:
    return f"it is {status_text(reason['status'], reason.get('status_reason'))}"


def _requested(reason: dict[str, Any]) -> str:
    return "asked for"


def _accepted(reason: dict[str, Any]) -> str:
    return f"accepted by {reason['by'] or 'somebody'}: {reason['reason']}"


def _upstream_settled(reason: dict[str, Any]) -> str:
    return f"upstream {reason['upstream']} counts as completed"


def _undone(reason: dict[str, Any]) -> str:
    return f"task {reason['task_id']} is taken back"


REASONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "input_changed": _input_changed,
    "input_missing": _input_missing,
    "output_missing": _output_missing,
    "definition_changed": _definition_changed,
    "user_data_changed": _user_data_changed,
    "upstream_stale": _upstream_stale,
    "worker_gone": lambda reason: f"worker {reason['worker_id']} (pid {reason['pid']} on {reason['hostname']}) is gone",
    "not_completed": _not_completed,
    "requested": _requested,
    "accepted": _accepted,
    "upstream_settled": _upstream_settled,
    "undone": _undone,
}


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()


def time_text(time_ns: int | None) -> str:
    """A file time in UTC with all its digits: two versions may differ in the last one."""
    if time_ns is None:
        return "never"
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return f"{moment.isoformat()}.{rest_ns:09d}Z"


def size_text(size: int | None) -> str:
    """A number of bytes for people."""
    if size is None:
        return "no size"
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"


def _size_change(stored: int | None, observed: int | None) -> str:
    before, after = size_text(stored), size_text(observed)
    if before == after:  # rounding would hide the difference
        return f"{stored} bytes, now {observed} bytes"
    return f"{before}, now {after}"
