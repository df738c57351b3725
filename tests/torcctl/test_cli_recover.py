"""`recover`: the table, what it sends, the hook, its exit codes."""

from pathlib import Path
from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon
from test_cli_slurm import allocation, scheduled

GIB = 2**30


def diagnosed(number: int, kind: str, **changes: Any) -> dict[str, Any]:
    evidence = {"status": "failed", "return_code": 1}
    fields = {
        "id": number, "name": f"job-{number}", "kind": kind, "recoverable": True, "why": None, "evidence": evidence,
        "adjustments": {}, "resource_requirements": None,
    }  # fmt: skip
    return {**fields, **changes}


MEMORY = diagnosed(
    1, "out_of_memory",
    evidence={"status": "failed", "return_code": 137, "signal": 9, "peak_memory_bytes": GIB, "memory_bytes": GIB,
              "exec_time_s": 75.2, "runtime_s": 3600.0, "stderr": "MemoryError"},
    adjustments={"memory_bytes": {"from": GIB, "to": GIB * 3 // 2}}, resource_requirements="big_r1",
)  # fmt: skip
BUG = diagnosed(2, "failed", recoverable=False, why="unknown_cause")


def plan(*diagnoses: dict[str, Any], **changes: Any) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    for each in diagnoses:
        count = counts.setdefault(each["kind"], {"count": 0, "recoverable": 0})
        count["count"] += 1
        count["recoverable"] += each["recoverable"]
    jobs = [samples.plan_job(each["id"], **{"from": "failed"}) for each in diagnoses if each["recoverable"]]
    cause = f"of {len(diagnoses)} that failed or were terminated"
    found = {"operation": "recover", "cause": cause, "diagnoses": list(diagnoses), "diagnosed": counts}
    return samples.plan(*jobs, **found, **changes)


def answer(daemon: FakeDaemon, found: dict[str, Any], *, existing: bool = False) -> None:
    """Lets the daemon find this, and carry it out."""

    def recover(params: dict[str, Any], session: object) -> Any:
        if params.get("dry_run"):
            shown = {"slurm_jobs": {"suggestions": []}, **found, "dry_run": True}
            return {"plan": shown, "next_cursor": None, "preview": None}
        return samples.task(status="running", operation="recover", existing=existing)

    daemon.on("workflows.recover", recover)
    daemon.on("slurm.suggest", {"suggestions": []})
    daemon.on("tasks.wait", samples.task(operation="recover", result=found))


def test_it_shows_what_it_found_and_recovers(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY, BUG))
    outcome = cli("recover", "7")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].split() == ["id", "name", "diagnosis", "evidence", "change", "recovers"]
    assert outcome.out.splitlines()[-1] == "Recovered 1 job of 2 that failed or were terminated"
    for text in ("SIGKILL; used 1 GiB of 1 GiB; ran 1:15 of 1:00:00; stderr: MemoryError", "memory 1 GiB → 1.5 GiB"):
        assert text in outcome.out
    assert outcome.err == "to run them here: torcctl run 7\n"
    dry, real = daemon.requests("workflows.recover")
    assert (dry["dry_run"], real.get("dry_run", False), len(real["request_key"])) == (True, False, 32)


def test_its_options_are_the_daemons(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    options = ("--memory-multiplier", "2", "--runtime-multiplier=3", "--max-memory", "64g", "--max-runtime", "PT8H")
    assert cli("recover", "7", "--retry-unknown", *options).code == 0
    for request in daemon.requests("workflows.recover"):
        assert {name: request[name] for name in request if name.startswith(("max", "mem", "run", "retry"))} == {
            "memory_multiplier": 2.0, "runtime_multiplier": 3.0, "max_memory": "64g", "max_runtime": "PT8H",
            "retry_unknown": True,
        }  # fmt: skip


def test_a_dry_run_changes_nothing_and_runs_no_hook(daemon: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    """SEMANTICS 5.4"""
    answer(daemon, plan(MEMORY, BUG))
    outcome = cli("recover", "7", "--dry-run", "--exit-code", "--recovery-hook", "touch hooked")
    assert outcome.code == 10
    assert outcome.out.splitlines()[-2:] == [
        "Dry run: 1 job would be recovered of 2 that failed or were terminated", "  - job-1",
    ]  # fmt: skip
    assert len(daemon.requests("workflows.recover")) == 1
    assert not (tmp_path / "hooked").exists()
    answer(daemon, plan(BUG))
    assert cli("recover", "7", "--dry-run", "--exit-code").code == 0


def test_programs_get_the_plan_or_the_task(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    assert cli("-f", "json", "recover", "7", "--dry-run").json["diagnoses"] == [MEMORY]
    task = cli("-f", "json", "recover", "7").json
    assert (task["operation"], task["result"]["diagnosed"]) == (
        "recover", {"out_of_memory": {"count": 1, "recoverable": 1}},
    )  # fmt: skip


def test_where_nothing_can_be_recovered_it_refuses(daemon: FakeDaemon, cli: Cli) -> None:
    """INTERFACE 2 (exit 7)"""
    answer(daemon, plan(BUG))
    outcome = cli("recover", "7")
    assert outcome.code == 7
    assert "none of the 1 job of workflow 7" in outcome.err
    assert "--retry-unknown" in outcome.err
    assert cli("-f", "json", "recover", "7").json["error"]["data"]["diagnosed"]["failed"]["count"] == 1
    assert all(request["dry_run"] for request in daemon.requests("workflows.recover"))


def test_without_failures_there_is_nothing_to_recover(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan())
    outcome = cli("recover", "7")
    assert outcome.out == "Workflow 7: no job failed or was terminated; there is nothing to recover\n"
    assert cli("-f", "json", "-k", "7", "recover").json["diagnoses"] == []
    assert len(daemon.requests("workflows.recover")) == 2


def test_the_hook_runs_first_and_its_output_is_no_result(daemon: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    answer(daemon, plan(MEMORY))
    outcome = cli("-f", "json", "recover", "7", "--recovery-hook", "echo hooked; echo $TORC_WORKFLOW_ID > hooked")
    assert outcome.json["operation"] == "recover"
    assert "hooked" in outcome.err
    assert (tmp_path / "hooked").read_text() == "7\n"


def test_a_hook_that_fails_stops_everything(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    outcome = cli("recover", "7", "--recovery-hook", "exit 3")
    assert outcome.code == 1
    assert "the recovery hook exited with 3: nothing of workflow 7 was changed" in outcome.err
    assert len(daemon.requests("workflows.recover")) == 1


@pytest.mark.parametrize(
    ("option", "code"), [("--async", 2), ("-n-2", 2), ("--memory-multiplier=nan", 2), ("--runtime-multiplier=inf", 2)]
)
def test_what_it_does_not_do_is_refused_before_anything_is_asked(
    daemon: FakeDaemon, cli: Cli, option: str, code: int
) -> None:
    assert cli("recover", "7", option).code == code
    assert daemon.calls == []


def suggestion(**fields: Any) -> dict[str, Any]:
    given = {"scheduler": "main", "count": 2, "jobs": 9, "too_long": 0, "too_large": 0, "pending": 0}
    return {**given, **fields}


def test_slurm_jobs_are_submitted_as_the_daemon_proposes(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    misfits = {"count": 0, "jobs": 0, "too_long": 3, "longest_s": 9000, "max_walltime_s": 7200.0}
    proposed = [suggestion(), suggestion(scheduler="long", **misfits)]
    daemon.on("slurm.suggest", {"suggestions": proposed, "undecided": 1})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12), allocation(13)))
    outcome = cli("recover", "7")
    assert outcome.code == 0
    (request,) = daemon.requests("slurm.schedule_nodes")
    assert (request["count"], request["scheduler"]) == (2, "main")
    for text in (
        "Submitted 2 Slurm jobs for workflow 7: 112, 113 (allocations 12, 13)",
        "3 jobs would take up to 02:30:00, and the partition of the scheduler 'long' allows 02:00:00: name a partition",
        "1 job of workflow 7 name none of its slurm_schedulers",
    ):
        assert text in outcome.err
    assert len(cli("-f", "json", "recover", "7").json["allocations"]) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), ["Would submit 2 Slurm jobs of the scheduler 'main'", "Would submit 1 Slurm job of the scheduler 'big'"]),
        (("-n3",), ["Would submit 3 Slurm jobs"]),
        (("--no-schedule",), []),
    ],
)
def test_a_dry_run_tells_which_slurm_jobs_would_follow(
    daemon: FakeDaemon, cli: Cli, options: tuple[str, ...], told: list[str]
) -> None:
    """SEMANTICS 5.4"""
    proposed = [
        suggestion(),
        suggestion(scheduler="big", count=1),
        suggestion(scheduler="long", count=0, too_long=3, longest_s=9000),
    ]
    found = {"suggestions": proposed, "undecided": 1}
    answer(daemon, plan(MEMORY, slurm_jobs=found))
    daemon.on("slurm.suggest", {"suggestions": [], "schedulers": ["main"]})
    outcome = cli("recover", "7", "--dry-run", *options)
    assert (outcome.code, outcome.out.splitlines()[-1 - len(told) :]) == (0, ["  - job-1", *told])
    assert ("3 jobs would take up to 02:30:00, and the partition of the scheduler 'long'" in outcome.err) == (
        not options
    )
    assert cli("-f", "json", "recover", "7", "--dry-run", *options).json["slurm_jobs"] == found
    assert daemon.requests("slurm.schedule_nodes") == []


def test_slurm_jobs_are_as_large_as_the_jobs_need_them(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 5.9"""
    answer(daemon, plan(MEMORY))
    larger = {"walltime": "05:00:00", "mem": "1664M", "jobs": 1, "count": 1}
    daemon.on("slurm.suggest", {"suggestions": [suggestion(), suggestion(**larger)]})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12)))
    assert "1 job needs more than the scheduler 'main' says: asking Slurm with --walltime 05:00:00 --mem 1664M" in (
        cli("recover", "7").err
    )
    large, plain = daemon.requests("slurm.schedule_nodes")
    assert (plain["count"], plain["walltime"], plain["mem"]) == (2, None, None)
    assert (large["count"], large["walltime"], large["mem"]) == (1, "05:00:00", "1664M")


def test_a_number_of_slurm_jobs_that_is_given_is_of_those_that_all_jobs_fit_in(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    sizes = [suggestion(), suggestion(walltime="05:00:00"), suggestion(walltime="1-00:00:00", mem="9G")]
    daemon.on("slurm.suggest", {"suggestions": sizes, "schedulers": ["main"]})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12)))
    assert cli("recover", "7", "-n3").code == 0
    (request,) = daemon.requests("slurm.schedule_nodes")
    sent = {name: request[name] for name in ("count", "scheduler", "walltime", "mem")}
    assert sent == {"count": 3, "scheduler": "main", "walltime": "1-00:00:00", "mem": "9G"}


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_no_slurm_job_is_submitted_in_which_nothing_could_run(
    daemon: FakeDaemon, cli: Cli, options: tuple[str, ...]
) -> None:
    answer(daemon, plan(MEMORY))
    misfits = {"count": 0, "jobs": 0, "too_large": 2, "largest_bytes": 9 * GIB, "max_memory_bytes": 8 * GIB}
    daemon.on("slurm.suggest", {"suggestions": [suggestion(**misfits)], "schedulers": ["main"]})
    outcome = cli("recover", "7", *options)
    assert outcome.code == 1
    assert "of whose partition no node has more than 8 GiB (up to 9 GiB" in outcome.err
    assert daemon.requests("slurm.schedule_nodes") == []


def test_so_many_slurm_jobs_are_submitted_as_it_is_told(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    daemon.on("slurm.suggest", {"suggestions": [], "schedulers": ["main"]})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12, status="refused", slurm_job_id=None, error="no")))
    outcome = cli("recover", "7", "-n3")
    assert (outcome.code, "allocation 12 (refused): no" in outcome.err) == (1, True)
    assert daemon.requests("slurm.schedule_nodes")[0]["count"] == 3


@pytest.mark.parametrize(
    ("schedulers", "told"), [([], "says nothing of Slurm"), (["main", "long"], "schedule-nodes -nX 7 --scheduler NAME")]
)
@pytest.mark.parametrize("command", [("recover",), ("watch", "--recover")])
def test_a_number_of_slurm_jobs_that_cannot_be_submitted_is_refused_before_anything_is_recovered(
    daemon: FakeDaemon, cli: Cli, command: tuple[str, ...], schedulers: list[str], told: str
) -> None:
    """INTERFACE 2 (exit 7)"""
    answer(daemon, plan(MEMORY))
    daemon.on("slurm.suggest", {"suggestions": [], "schedulers": schedulers})
    outcome = cli(*command, "7", "-n3")
    assert (outcome.code, told in outcome.err) == (7, True)
    assert daemon.requests("workflows.recover") == []


def test_where_nothing_is_ready_for_slurm_nobody_is_told_to_run_it_here(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    daemon.on("slurm.suggest", {"suggestions": [], "schedulers": ["main", "long"], "undecided": 1})
    outcome = cli("recover", "7")
    assert (outcome.code, "torcctl run" in outcome.err) == (0, False)


def test_no_slurm_job_is_submitted_where_none_is_wanted(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    assert cli("recover", "7", "--no-schedule").code == 0
    assert daemon.requests("slurm.suggest") == []


def test_what_a_recovery_before_could_not_submit_is_submitted(daemon: FakeDaemon, cli: Cli) -> None:
    """A client that was killed in between, or a Slurm that refused, leaves jobs ready and nobody at work."""
    answer(daemon, plan())
    daemon.on("slurm.suggest", {"suggestions": [suggestion()], "at_work": 0})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12), allocation(13)))
    outcome = cli("recover", "7")
    assert (outcome.code, "Submitted 2 Slurm jobs for workflow 7: 112, 113 (allocations 12, 13)" in outcome.err) == (
        0,
        True,
    )
    assert len(cli("-f", "json", "recover", "7").json["allocations"]) == 2
    assert cli("recover", "7", "--no-schedule").code == 0
    daemon.on("slurm.suggest", {"suggestions": [suggestion()], "at_work": 1})
    assert cli("-f", "json", "recover", "7").json["allocations"] == []
    assert len(daemon.requests("slurm.schedule_nodes")) == 2


def test_of_two_that_recover_at_once_one_submits(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.2"""
    answer(daemon, plan(MEMORY), existing=True)
    daemon.on("slurm.suggest", {"suggestions": [suggestion()], "at_work": 0})
    outcome = cli("recover", "7")
    assert (outcome.code, "nothing was submitted here" in outcome.err) == (0, True)
    assert daemon.requests("slurm.schedule_nodes") == []


def test_a_hook_that_has_done_it_all_leaves_nothing_to_others(daemon: FakeDaemon, cli: Cli) -> None:
    answer(daemon, plan(MEMORY))
    daemon.on("tasks.wait", samples.task(operation="recover", result=plan()))
    assert cli("recover", "7").err == "to run them here: torcctl run 7\n"
