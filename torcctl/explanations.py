"""Explanations of jobs as text."""

import sys
from typing import Any

from torcctl.output import cell, status_text
from torcctl.plans import move_text, reason_text
from torcd.protocol.model import Decision, Explanation, Handling

VERDICTS = {
    "would_rerun": "a reinit would reset it:",
    "up_to_date": "up to date: a reinit would leave it as it is",
    "not_retried": "what it takes has not changed, so a reinit would not retry it; use restart or reset-status",
    "upstream_failed": "canceled because of what failed upstream:",
    "waits": "it waits:",
    "runs": "it runs now",
    "disabled": "disabled: operations leave it as it is, and staleness ends here",
}

WAITS = {
    "not_evaluated": "until `run`, `restart` or `reinit` makes it ready or blocked",
    "no_worker": "for a worker: none is connected",
    "archived": "the workflow is archived",
}

KEPT = {
    "up_to_date": "nothing that it takes had changed",
    "not_selected": "it was not among the jobs that were meant",
    "unchanged_and_not_retried": "nothing that it takes had changed, and it is not retried for its failure",
    "upstream_failed": "it could not run, whatever had changed: what failed upstream stood",
    "waits_already": "it was going to run anyway",
    "runs": "it ran, and nothing affected it",
    "disabled": "it was disabled",
}

REASONS = {
    "unchanged_inputs": "it returned to completed without running: all that it takes turned out unchanged",
    "accepted": "it counts as completed because somebody accepted it as it is",
    "recovery_failed": "the script that comes before a retry did not succeed, so the command was not run again",
}
"""Status reasons that say more than their name."""


def write_explanation(told: Explanation) -> None:
    """Prints an explanation."""
    status = status_text(told.status, told.status_reason)
    lines = [f"{cell(told.name)} (job {told.job_id} of workflow {told.workflow_id}): {status}"]
    if told.status_reason in REASONS:
        lines.append(REASONS[told.status_reason])
    if told.handling is not None:
        lines.append(_handling_text(told.handling))
    lines.append(VERDICTS.get(told.verdict, told.verdict))
    lines += [f"  {reason_text(reason)}" for reason in told.reasons]
    if told.root is not None:
        lines.append(f"because of {cell(told.root.name)}:")
        lines += [f"  {reason_text(reason)}" for reason in told.root.reasons]
        lines.append(f"  by way of {' → '.join(_path_names(told))}")
    lines += [f"  {_wait_text(wait)}" for wait in told.waits]
    if told.decisions:
        lines.append("operations, newest first:")
        lines += [line for decision in told.decisions for line in _decision_lines(decision)]
    sys.stdout.write("\n".join(lines) + "\n")


def _handling_text(handling: Handling) -> str:
    """What the failure handler did, and why."""
    handler, code = cell(handling.failure_handler), handling.return_code
    failed = f"attempt {handling.attempt_id} failed with return code {code}"
    match handling.why:
        case "retry":
            retry = f"retry {handling.retries} of {handling.max_retries or handling.retries}"
            script = "" if handling.recovery_script is None else f", after {cell(handling.recovery_script)}"
            return f"{failed}; failure handler {handler} had it tried again ({retry}{script})"
        case "no_rule":
            return f"{failed}, for which failure handler {handler} has no rule"
        case "exhausted" if not handling.retries:
            return f"{failed}, after which failure handler {handler} tries nothing again"
        case "exhausted":
            times = "once" if handling.retries == 1 else f"{handling.retries} times"
            return f"{failed}; failure handler {handler} had it tried again {times}, which is all it may"
        case "recovery_failed":
            return f"{failed} in the recovery script of failure handler {handler}, which does not try it again then"
        case "canceled":
            return f"{failed}; failure handler {handler} does not try it again in a canceled workflow"
        case _:
            return f"{failed}; failure handler {handler} would have it tried again now, but was another then"


def _path_names(told: Explanation) -> list[str]:
    """The jobs of the path; in the middle, how many are not told."""
    names = [cell(name) for name in told.path]
    if told.path_omitted:
        names.insert(len(names) // 2, f"({told.path_omitted:,} more)")
    return names


def _wait_text(wait: dict[str, Any]) -> str:
    match wait["kind"]:
        case "dependency":
            return f"for {cell(wait['name'])} ({_status_of(wait)})"
        case "behind":
            return f"for {cell(wait['name'])} ({_status_of(wait)}), which those wait for"
        case "failed_upstream":
            return f"{cell(wait['name'])} is {_status_of(wait)}"
        case "worker":
            return f"worker {wait['worker_id']} on {cell(wait['hostname'])} is {wait['why']}"
        case kind:
            return WAITS.get(kind) or cell(wait.get("why") or kind)


def _status_of(wait: dict[str, Any]) -> str:
    return status_text(wait["status"], wait.get("status_reason"))


def _decision_lines(decision: Decision) -> list[str]:
    head = f"  task {decision.task_id}, {decision.operation}, run {decision.run_id}, {decision.finished_at}"
    if decision.decision == "kept":
        left, why = status_text(decision.from_, decision.from_reason), KEPT.get(decision.why or "", decision.why)
        return [f"{head}: left {left}: {why}"]
    return [
        f"{head}: {move_text(decision)}",
        *(f"      {reason_text(reason)}" for reason in decision.reasons),
    ]
