"""`slurm …` and `allocations …`: what they ask the daemon for, and how they tell of it."""

from typing import Any

import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcd.protocol.errors import NotFound


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


def allocation(number: int = 12, **fields: Any) -> dict[str, Any]:
    times = dict.fromkeys(("submitted_at", "started_at", "ended_at"), None)
    return {
        "id": number,
        "allocation_id": number,
        "workflow_id": 7,
        "status": "pending",
        "scheduler": "main",
        "slurm_job_id": 100 + number,
        "job_name": f"torc_7_{number}_ab12cd34",
        "num_nodes": 1,
        "walltime_s": 3600,
        "slurm_state": "PENDING",
        "slurm_reason": None,
        "error": None,
        "workers": 0,
        "created_at": "2026-11-26T22:00:00.000Z",
        **times,
        **fields,
    }


def scheduled(*allocations: dict[str, Any], warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"allocations": list(allocations), "warnings": list(warnings)}


@pytest.fixture
def ready(daemon: FakeDaemon) -> FakeDaemon:
    """Workflow 7 has a job to run."""
    daemon.on("workflows.status", status(ready=1))
    daemon.on("workflows.prepare", {"task": None})
    return daemon


def test_jobs_are_prepared_and_submitted_with_the_users_environment(ready: FakeDaemon, cli: Cli) -> None:
    ready.on("slurm.schedule_nodes", scheduled(allocation(12), allocation(13), warnings=("local",)))
    env = {"GREETING": "hello", "SLURM_JOB_ID": "5", "SBATCH_ACCOUNT": "x", "SLURM_CONF": "/etc/slurm.conf"}
    outcome = cli("hpc", "slurm", "schedule-nodes", "-n2", "7", "--scheduler", "main", "--max-parallel-jobs=3",
                  "--walltime=2-00:00:00", "--mem", "16G", **env)  # fmt: skip
    assert (outcome.code, outcome.out) == (0, "Submitted 2 Slurm jobs for workflow 7: 112, 113 (allocations 12, 13)\n")
    assert outcome.err == "warning: local\n"
    assert len(ready.requests("workflows.prepare")) == 1
    (request,) = ready.requests("slurm.schedule_nodes")
    assert (request["count"], request["scheduler"], request["max_parallel_jobs"]) == (2, "main", 3)
    assert (request["walltime"], request["mem"]) == ("2-00:00:00", "16G")
    assert request["request_key"]
    sent = request["environment"]
    assert (sent["GREETING"], sent["SLURM_CONF"]) == ("hello", "/etc/slurm.conf")
    assert not [name for name in sent if name.startswith(("TORC", "SBATCH")) or name == "SLURM_JOB_ID"]
    shown = cli("-f", "json", "slurm", "schedule-nodes", "7").json
    assert [each["slurm_job_id"] for each in shown["allocations"]] == [112, 113]


def test_when_slurm_refuses_some_that_is_told_and_exits_1(ready: FakeDaemon, cli: Cli) -> None:
    refused = allocation(13, status="refused", slurm_job_id=None, error="Invalid qos specification")
    ready.on("slurm.schedule_nodes", scheduled(allocation(12), refused))
    outcome = cli("slurm", "schedule-nodes", "7", "-n2")
    assert (outcome.code, outcome.out) == (1, "Submitted 1 Slurm job for workflow 7: 112 (allocation 12)\n")
    assert "allocation 13 (refused): Invalid qos specification" in outcome.err


def test_an_answer_that_gets_lost_is_asked_for_again_under_the_same_key(ready: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.4"""
    calls: list[str] = []

    def answer(params: dict[str, Any], session: Session) -> dict[str, Any]:
        calls.append(params["request_key"])
        if len(calls) == 1:
            session.drop()
        return scheduled(allocation())

    ready.on("slurm.schedule_nodes", answer)
    assert cli("slurm", "schedule-nodes", "7").code == 0
    assert calls == [calls[0]] * 2


def test_allocations_are_listed_shown_and_looked_at(daemon: FakeDaemon, cli: Cli) -> None:
    row = allocation(slurm_state="RUNNING", status="active")
    daemon.on("allocations.list", {"allocations": [row], "next_cursor": None})
    daemon.on("allocations.get", row)
    daemon.on("slurm.status", scheduled(row, warnings=("it waits in vain",)))
    assert cli("-f", "json", "allocations", "list", "7").json == {"allocations": [row]}
    assert "RUNNING" in cli("allocations", "list", "7", "-f", "status=active").out
    assert daemon.requests("allocations.list")[1]["filters"] == [["status", "active"]]
    assert "job_name: torc_7_12_ab12cd34\n" in cli("allocations", "get", "12").out
    outcome = cli("slurm", "status", "7")
    assert ("RUNNING" in outcome.out, outcome.err) == (True, "warning: it waits in vain\n")
    assert cli("-k", "8", "allocations", "get", "12").code == 3


def test_allocations_are_canceled_by_id_or_all_of_a_workflow(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("allocations.get", allocation())
    daemon.on("slurm.cancel", scheduled(allocation(status="complete", slurm_state="CANCELLED")))
    assert cli("slurm", "cancel", "12").out == "Canceled 1 allocation of workflow 7\n"
    assert cli("-k", "7", "slurm", "cancel").code == 0
    assert [each["ids"] for each in daemon.requests("slurm.cancel")] == [[12], None]
    assert cli("slurm", "cancel", "x").code == 3
    daemon.on("allocations.get", NotFound("there is no allocation 112", noun="allocation", id=112))
    refused = cli("slurm", "cancel", "112")
    told = "there is no allocation 112; allocations have their own ids, not Slurm's: see `torcctl allocations list`"
    assert (refused.code, refused.err) == (3, f"error: {told}\n")


def test_what_the_accounting_has_is_shown(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("slurm.account", {"account": [{"JobID": "112", "State": "TIMEOUT"}]})
    assert cli("slurm", "sacct", "7").out == "JobID  State\n112    TIMEOUT\n"
    assert cli("-f", "json", "slurm", "sacct", "7").json == {"account": [{"JobID": "112", "State": "TIMEOUT"}]}


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
        (("slurm", "schedule-nodes", "7", "--max-parallel-jobs", "0"), "at least 1"),
        (("hpc", "slurm", "schedule-nodes", "7", "-k", "8"), "the global option -k stands before the noun"),
    ],
)
def test_a_wrong_command_line_exits_2(daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...], text: str) -> None:
    """INTERFACE 2 (exit 2)"""
    outcome = cli(*argv)
    assert (outcome.code, outcome.out, daemon.calls) == (2, "", [])
    assert text in outcome.err


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("slurm schedule-nodes", "1 by default"),
        ("recover", "as many as the jobs need"),
        ("watch", "as many as the jobs need"),
    ],
)
def test_help_says_how_many_slurm_jobs_are_submitted_by_default(cli: Cli, command: str, default: str) -> None:
    assert default in " ".join(cli(*command.split(), "--help").out.replace("│", " ").split())
