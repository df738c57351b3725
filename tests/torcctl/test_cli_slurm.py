"""`schedule-nodes` and `recover`: what they say where this version has nothing to do, and where it cannot."""

from typing import Any

import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon


def status(run_id: int = 1, **counts: int) -> dict[str, Any]:
    return {"workflow_id": 7, "run_id": run_id, "total": sum(counts.values()), "counts": counts, "complete": True}


LINES = [
    ("hpc", "slurm", "schedule-nodes", "-n3", "7"),
    ("hpc", "slurm", "schedule-nodes", "7", "-n3"),
    ("hpc", "slurm", "schedule-nodes", "-n", "3", "7"),
    ("slurm", "schedule-nodes", "--num-hpc-jobs=3", "7"),
    ("slurm", "schedule-nodes", "7"),
    ("-k", "7", "hpc", "slurm", "schedule-nodes", "-n3"),
    ("hpc", "slurm", "schedule-nodes", "-n3", "--workflow-key", "7"),
    ("-n", "hpc", "slurm", "schedule-nodes", "-n12", "7"),
]


@pytest.mark.parametrize("argv", LINES, ids=" ".join)
def test_with_nothing_to_run_nothing_is_scheduled(daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...]) -> None:
    """INTERFACE 2: warns, exits 0"""
    daemon.on("workflows.status", status(completed=2, failed=1, running=1))
    outcome = cli(*argv)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "warning: workflow 7 has no job to run: nothing was scheduled\n"
    assert cli("-f", "json", *argv).json == {"allocations": []}
    assert daemon.requests("workflows.status") == [{"workflow_id": 7}] * 2


@pytest.mark.parametrize(
    ("found", "count"),
    [
        (status(ready=2, blocked=1, completed=1), "3 jobs"),
        (status(uninitialized=1, completed=1), "1 job"),
        (status(run_id=0, uninitialized=4), "4 jobs"),
        (status(run_id=0), "0 jobs"),
    ],
)
def test_with_jobs_to_run_it_says_that_it_cannot_and_what_can(
    daemon: FakeDaemon, cli: Cli, found: dict[str, Any], count: str
) -> None:
    daemon.on("workflows.status", found)
    outcome = cli("-f", "json", "hpc", "slurm", "schedule-nodes", "-n3", "7")
    assert outcome.code == 7
    assert "does not submit to Slurm" in outcome.err
    assert count in outcome.err
    assert "torcctl run 7" in outcome.err
    assert outcome.json["error"]["name"] == "refused"


def test_nodes_of_an_archived_workflow_are_refused(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 5.5"""
    daemon.on("workflows.status", {**status(completed=1), "is_archived": True})
    outcome = cli("slurm", "schedule-nodes", "7")
    assert (outcome.code, "archived" in outcome.err) == (7, True)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("hpc",), "torcctl hpc needs: slurm"),
        (("hpc", "pbs", "schedule-nodes"), "torcctl hpc needs: slurm"),
        (("hpc", "slurm"), "torcctl slurm needs one of: schedule-nodes"),
        (("hpc", "slurm", "schedule-nodes", "-nX", "7"), "see torcctl slurm schedule-nodes --help"),
        (("hpc", "slurm", "schedule-nodes", "-n0", "7"), "at least 1"),
        (("hpc", "slurm", "schedule-nodes", "-n", "-1", "7"), "-n"),
        (("hpc", "slurm", "schedule-nodes", "7", "-k", "8"), "the global option -k stands before the noun"),
    ],
)
def test_a_wrong_command_line_exits_2(daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...], text: str) -> None:
    """INTERFACE 2 (exit 2)"""
    outcome = cli(*argv)
    assert (outcome.code, outcome.out, daemon.calls) == (2, "", [])
    assert text in outcome.err


def test_with_no_failure_there_is_nothing_to_recover(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.status", status(completed=2, canceled=1, ready=1))
    assert cli("recover", "7").out == "Workflow 7: no job failed or was terminated; there is nothing to recover\n"
    outcome = cli("-f", "json", "-k", "7", "recover")
    assert (outcome.code, outcome.json) == (0, {"workflow_id": 7, "failed": 0, "terminated": 0})


def test_failures_are_counted_and_the_commands_named_that_rerun_the_jobs(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.status", status(completed=2, failed=3, terminated=1))
    outcome = cli("-f", "json", "recover", "7")
    assert outcome.code == 7
    for text in (
        "does not diagnose failures",
        "3 failed and 1 were terminated",
        "torcctl workflows reset-status 7 --failed-only --reinitialize",
        "torcctl run 7",
    ):
        assert text in outcome.err
    data = outcome.json["error"]["data"]
    assert (data["failed"], data["terminated"]) == (3, 1)
