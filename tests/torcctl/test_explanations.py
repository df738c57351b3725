"""Explanations as text and as JSON."""

from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon

CHANGED = {
    "kind": "input_changed",
    "file": "x",
    "path": "/data/x",
    "stored": {"mtime_ns": 1_000_000_000, "size": 5},
    "observed": {"mtime_ns": 2_000_000_000, "size": 5},
}


def told(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "job_id": 3,
        "job_key": 3,
        "workflow_id": 7,
        "name": "c",
        "status": "completed",
        "status_reason": None,
        "verdict": "up_to_date",
        "reasons": [],
        "root": None,
        "path": [],
        "path_omitted": 0,
        "waits": [],
        "decisions": [],
        "warnings": [],
    }
    return {**fields, **changes}


def decision(**changes: Any) -> dict[str, Any]:
    fields = {
        "task_id": 4, "operation": "reinit", "run_id": 2, "requested_by": "ann@node",
        "finished_at": "2026-01-02T03:04:05Z",
        "decision": "kept", "from": "completed", "to": "completed", "reasons": [], "why": "up_to_date",
    }  # fmt: skip
    return {**fields, **changes}


STALE = told(
    verdict="would_rerun",
    reasons=[{"kind": "upstream_stale", "root": "a", "root_id": 1, "via": "b"}],
    root={"id": 1, "name": "a", "from": "completed", "to": "ready", "reasons": [CHANGED]},
    path=["a", "b", "c"],
    decisions=[decision(), decision(task_id=1, operation="initialize", run_id=1, decision="changed", why=None,
                                    **{"from": "uninitialized", "to": "blocked"})],
)  # fmt: skip
STALE_TEXT = """\
c (job 3 of workflow 7): completed
a reinit would reset it:
  upstream a must run again, through b
because of a:
  input x (/data/x) changed: modified 1970-01-01T00:00:01.000000000Z, now 1970-01-01T00:00:02.000000000Z
  by way of a → b → c
operations, newest first:
  task 4, reinit, run 2, 2026-01-02T03:04:05Z: left completed: nothing that it takes had changed
  task 1, initialize, run 1, 2026-01-02T03:04:05Z: uninitialized → blocked
"""
WAITS = [
    {"kind": "dependency", "job_id": 2, "name": "b", "status": "blocked"},
    {"kind": "behind", "job_id": 1, "name": "a", "status": "running"},
]
WORKERS = [
    {"kind": "worker", "worker_id": 9, "hostname": "node", "why": "busy with other jobs"},
    {"kind": "no_worker", "why": "no worker is connected"},
    {"kind": "former_attempt", "why": "its former attempt may still be alive"},
]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (STALE, STALE_TEXT),
        (
            told(verdict="would_rerun", root=STALE["root"], path=["a", "b", "c", "d"], path_omitted=99_996),
            "c (job 3 of workflow 7): completed\na reinit would reset it:\nbecause of a:\n"
            f"{STALE_TEXT.splitlines()[4]}\n  by way of a → b → (99,996 more) → c → d\n",
        ),
        (
            told(
                status="canceled", status_reason="upstream_failed", verdict="upstream_failed",
                waits=[
                    {"kind": "failed_upstream", "job_id": 1, "name": "a", "status": "terminated",
                     "status_reason": "walltime"},
                ],
                decisions=[decision(decision="changed", from_reason="by_user", to_reason="upstream_failed",
                                    **{"from": "canceled", "to": "canceled"})],
            ),
            "c (job 3 of workflow 7): canceled (upstream_failed)\ncanceled because of what failed upstream:\n"
            "  a is terminated (walltime)\noperations, newest first:\n"
            "  task 4, reinit, run 2, 2026-01-02T03:04:05Z: canceled (by_user) → canceled (upstream_failed)\n",
        ),
        (
            told(decisions=[decision(why="upstream_failed", **{"from": "canceled", "to": "canceled"})]),
            "c (job 3 of workflow 7): completed\nup to date: a reinit would leave it as it is\n"
            "operations, newest first:\n  task 4, reinit, run 2, 2026-01-02T03:04:05Z: left canceled: it could not run,"
            " whatever had changed: what failed upstream stood\n",
        ),
        (told(), "c (job 3 of workflow 7): completed\nup to date: a reinit would leave it as it is\n"),
        (
            told(status="blocked", verdict="waits", waits=WAITS),
            "c (job 3 of workflow 7): blocked\nit waits:\n  for b (blocked)\n  for a (running), which those wait for\n",
        ),
        (
            told(status="ready", verdict="waits", waits=WORKERS),
            "c (job 3 of workflow 7): ready\nit waits:\n  worker 9 on node is busy with other jobs\n"
            "  for a worker: none is connected\n  its former attempt may still be alive\n",
        ),
        (
            told(
                status="canceled", status_reason="upstream_failed", verdict="upstream_failed",
                waits=[{"kind": "failed_upstream", "job_id": 1, "name": "a", "status": "failed"}],
            ),
            "c (job 3 of workflow 7): canceled (upstream_failed)\ncanceled because of what failed upstream:\n"
            "  a is failed\n",
        ),
        (
            told(status_reason="unchanged_inputs"),
            "c (job 3 of workflow 7): completed (unchanged_inputs)\nit returned to completed without running: all that "
            "it takes turned out unchanged\nup to date: a reinit would leave it as it is\n",
        ),
    ],
)  # fmt: skip
def test_an_explanation_is_told_in_words(daemon: FakeDaemon, cli: Cli, answer: dict[str, Any], text: str) -> None:
    daemon.on("jobs.get", samples.job(3))
    daemon.on("jobs.explain", answer)
    outcome = cli("jobs", "explain", "3")
    assert (outcome.code, outcome.out, outcome.err) == (0, text, "")


def test_programs_get_it_as_it_came_and_a_task_can_be_named(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.get", samples.job(3))
    daemon.on("jobs.explain", STALE)
    assert cli("-f", "json", "jobs", "explain", "3", "--task", "4").json == STALE
    assert daemon.requests("jobs.explain") == [{"job_id": 3, "task_id": 4}]


def test_what_a_reinit_would_warn_of_is_told_on_stderr(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.get", samples.job(3))
    daemon.on("jobs.explain", told(warnings=["an input is missing"]))
    assert cli("jobs", "explain", "3").err == "warning: an input is missing\n"


def test_a_job_may_be_named(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.list", {"jobs": [samples.job(3, name="c")], "next_cursor": None})
    daemon.on("jobs.explain", told())
    assert cli("-k", "7", "jobs", "explain", "c").code == 0
    assert daemon.requests("jobs.explain")[0]["job_id"] == 3
