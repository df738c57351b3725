"""`watch`: follows by events, ends with the workflow, recovers no more often than it was told to."""

from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session
from test_cli_recover import BUG, MEMORY, answer, plan, suggestion
from test_cli_slurm import allocation, scheduled

from torcd.protocol.errors import Conflict, Refused, Unavailable


def status(**counts: int) -> dict[str, Any]:
    total = sum(counts.values())
    is_complete = not counts.get("ready", 0) and not counts.get("running", 0)
    return {"workflow_id": 7, "run_id": 1, "total": total, "counts": counts, "complete": is_complete}


def go_through(daemon: FakeDaemon, *states: dict[str, Any]) -> None:
    """Each look at the status finds the next of these, the last one for ever; an event announces each."""
    left = list(states)

    def look(params: dict[str, Any], session: Session) -> Any:
        session.notify("event", subscription=1, event=samples.event(4))
        return left.pop(0) if len(left) > 1 else left[0]

    daemon.on("events.subscribe", {"subscription": 1})
    daemon.on("workflows.status", look)
    daemon.on("jobs.list", {"jobs": [], "next_cursor": None})
    have_allocations(daemon)


def have_allocations(daemon: FakeDaemon, *allocations: dict[str, Any]) -> None:
    """Lists those of the status that is asked for."""

    def find(params: dict[str, Any], session: Session) -> Any:
        ((_, wanted),) = params["filters"]
        return {"allocations": [each for each in allocations if each["status"] == wanted], "next_cursor": None}

    daemon.on("allocations.list", find)


def test_it_ends_with_the_workflow(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(running=2), status(running=1, completed=1), status(completed=2))
    outcome = cli("watch", "7")
    assert (outcome.code, outcome.out) == (0, "Workflow 7: 2 completed\n")
    assert len(daemon.requests("events.subscribe")) == 1


def test_it_exits_1_when_something_failed(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(completed=1, failed=1))
    assert cli("watch", "7").code == 1
    assert cli("-f", "json", "watch", "7").json["counts"] == {"completed": 1, "failed": 1}


def test_it_says_once_that_nobody_runs_what_waits(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(ready=1), status(ready=1), status(completed=1))
    assert cli("watch", "7").err == "1 job to run: nobody runs any; to run them here: torcctl run 7\n"


@pytest.mark.parametrize(
    ("allocations", "told"),
    [
        ([allocation(1, slurm_reason="Priority"), allocation(2, slurm_reason="Priority")],
         "2 allocations are queued (Priority)"),
        ([allocation(1, slurm_reason="Resources"), allocation(2, status="submitting", slurm_state=None)],
         "2 allocations are queued (Resources)"),
        ([allocation(1)], "1 allocation is queued"),
        ([allocation(1), allocation(2, status="active")],
         "1 allocation is queued; 1 allocation is running, with no worker yet"),
        ([allocation(2, status="active", workers=2), allocation(3, status="complete")],
         "1 allocation is running, with 2 workers"),
    ],
)  # fmt: skip
def test_it_says_once_what_it_waits_for(
    daemon: FakeDaemon, cli: Cli, allocations: list[dict[str, Any]], told: str
) -> None:
    go_through(daemon, status(ready=3), status(ready=2), status(completed=3))
    have_allocations(daemon, *allocations)
    assert cli("watch", "7").err == f"3 jobs to run: {told}\n"


def test_when_what_it_waits_for_changes_it_says_so(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(ready=1))
    states = [[allocation(1)], [allocation(1, slurm_reason="Priority")], [allocation(1)], []]
    looks = 0

    def look(params: dict[str, Any], session: Session) -> Any:
        nonlocal looks
        session.notify("event", subscription=1, event=samples.event(4))
        have_allocations(daemon, *states[min(looks, 3)])
        looks += 1
        return status(ready=1) if looks <= 4 else status(completed=1)

    daemon.on("workflows.status", look)
    assert cli("watch", "7").err.splitlines() == [
        "1 job to run: 1 allocation is queued",
        "1 job to run: 1 allocation is queued (Priority)",
        "1 job to run: nobody runs any; to run them here: torcctl run 7",
    ]


def test_it_recovers_and_goes_on(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(failed=1), status(running=1), status(completed=1))
    answer(daemon, plan(MEMORY))
    outcome = cli("watch", "7", "--recover")
    assert outcome.code == 0
    assert "recovered 1 job of 1 that failed; 1 job will run again" in outcome.err
    assert [request.get("dry_run", False) for request in daemon.requests("workflows.recover")] == [True, False]


def test_it_gives_up_after_so_many_retries(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(failed=1))
    answer(daemon, plan(MEMORY))
    outcome = cli("watch", "7", "--recover", "--max-retries", "2")
    assert outcome.code == 1
    assert "was recovered 2 times" in outcome.err
    assert len(daemon.requests("workflows.recover")) == 4


def test_it_stops_when_nothing_can_be_recovered(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(failed=1))
    answer(daemon, plan(BUG))
    outcome = cli("watch", "7", "--recover")
    assert (outcome.code, len(daemon.requests("workflows.recover"))) == (1, 1)


def recover_with(daemon: FakeDaemon, *suggestions: dict[str, Any]) -> None:
    """One recovery, then the workflow completes; the daemon proposes these Slurm jobs."""
    go_through(daemon, status(failed=1), status(running=1), status(completed=1))
    answer(daemon, plan(MEMORY))
    daemon.on("slurm.suggest", {"suggestions": list(suggestions), "schedulers": ["main"]})


def test_while_enough_slurm_jobs_wait_it_submits_no_more(daemon: FakeDaemon, cli: Cli) -> None:
    recover_with(daemon, suggestion(count=0, pending=2))
    outcome = cli("watch", "7", "--recover")
    assert (outcome.code, daemon.requests("slurm.schedule_nodes")) == (0, [])
    assert "2 Slurm jobs of the scheduler 'main' wait already: they are enough" in outcome.err


@pytest.mark.parametrize(("pending", "submitted"), [(0, [3]), (1, [2]), (3, []), (5, [])])
def test_with_a_number_of_slurm_jobs_it_submits_what_is_missing_of_it(
    daemon: FakeDaemon, cli: Cli, pending: int, submitted: list[int]
) -> None:
    recover_with(daemon, suggestion(count=1, pending=pending))
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12)))
    assert cli("watch", "7", "--recover", "-n3").code == 0
    assert [each["count"] for each in daemon.requests("slurm.schedule_nodes")] == submitted


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Refused("Slurm refused allocation 13: Invalid qos"), 7),
        (Unavailable("allocation 13 was handed to Slurm, which did not answer"), 1),
        (scheduled(allocation(13, status="refused", slurm_job_id=None, error="Invalid qos")), 1),
    ],
)
def test_when_slurm_takes_no_more_it_gives_up_only_without_another_allocation(
    daemon: FakeDaemon, cli: Cli, reply: object, code: int
) -> None:
    recover_with(daemon, suggestion())
    daemon.on("slurm.schedule_nodes", reply)
    assert cli("watch", "7", "--recover").code == code
    recover_with(daemon, suggestion())
    have_allocations(daemon, allocation(12))
    outcome = cli("watch", "7", "--recover")
    assert (outcome.code, "allocation 13" in outcome.err) == (0, True)


def test_the_deletion_of_the_workflow_ends_it(daemon: FakeDaemon, cli: Cli) -> None:
    """INTERFACE 2 (exit 3)"""
    go_through(daemon, status(running=1))
    daemon.on(
        "workflows.status",
        lambda params, session: (session.notify("ended", subscription=1, reason="deleted"), status(running=1))[1],
    )
    outcome = cli("watch", "7")
    assert (outcome.code, outcome.err) == (3, "error: workflow 7 was deleted\n")


def test_it_looks_now_and_then_without_news(daemon: FakeDaemon, cli: Cli) -> None:
    states = [status(running=1), status(running=1), status(completed=1)]
    daemon.on("events.subscribe", {"subscription": 1})
    daemon.on("workflows.status", lambda params, session: states.pop(0) if len(states) > 1 else states[0])
    assert cli("watch", "7", "--poll", "0.01").code == 0


def test_an_archived_workflow_of_which_nothing_runs_any_more_ends_it(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 5.5"""
    go_through(
        daemon, status(running=1, ready=1) | {"is_archived": True}, status(completed=1, ready=1) | {"is_archived": True}
    )
    outcome = cli("watch", "7", "--recover")
    assert outcome.code == 1
    assert "archived" in outcome.err
    assert daemon.requests("workflows.recover") == []


def test_a_workflow_that_was_canceled_is_not_recovered(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(failed=1, canceled=1) | {"is_canceled": True})
    answer(daemon, plan(MEMORY))
    outcome = cli("watch", "7", "--recover")
    assert (outcome.code, daemon.requests("workflows.recover")) == (1, [])
    assert "workflow 7 was canceled: nothing of it is recovered" in outcome.err


def test_what_another_one_has_recovered_is_followed(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(failed=1), status(running=1), status(running=1), status(completed=1))
    answer(daemon, plan())
    outcome = cli("watch", "7", "--recover")
    assert (outcome.code, len(daemon.requests("workflows.recover"))) == (0, 1)


def test_slurm_jobs_are_left_to_whoever_has_recovered_first(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.2"""
    go_through(daemon, status(failed=1), status(running=1), status(completed=1))
    answer(daemon, plan(MEMORY), existing=True)
    daemon.on("slurm.suggest", {"suggestions": [suggestion()], "at_work": 1})
    assert cli("watch", "7", "--recover").code == 0
    assert daemon.requests("slurm.schedule_nodes") == []


def test_another_operation_under_way_is_waited_for(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.3"""
    go_through(daemon, status(failed=1), status(completed=1))

    def recover(params: dict[str, Any], session: Session) -> Any:
        if params.get("dry_run"):
            return {"plan": {**plan(MEMORY), "dry_run": True}, "next_cursor": None, "preview": None}
        raise Conflict("recover is refused: task 9 (restart) is active", task_id=9)

    daemon.on("workflows.recover", recover)
    outcome = cli("watch", "7", "--recover")
    assert (outcome.code, "task 9 (restart) is active" in outcome.err) == (0, True)


def test_slurm_jobs_are_submitted_again_when_jobs_wait_and_nobody_is_at_work(daemon: FakeDaemon, cli: Cli) -> None:
    states = [status(ready=2), status(ready=2), status(completed=2)]
    daemon.on("events.subscribe", {"subscription": 1})
    daemon.on("workflows.status", lambda params, session: states.pop(0) if len(states) > 1 else states[0])
    answer(daemon, plan())
    have_allocations(daemon)
    daemon.on("slurm.suggest", {"suggestions": [suggestion()], "at_work": 0})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12), allocation(13)))
    outcome = cli("watch", "7", "--recover", "--poll", "0.01")
    assert outcome.code == 0
    assert "Submitted 2 Slurm jobs for workflow 7: 112, 113 (allocations 12, 13)" in outcome.err


def test_jobs_that_slurm_refused_are_not_said_to_be_too_large_for_this_machine(daemon: FakeDaemon, cli: Cli) -> None:
    go_through(daemon, status(failed=1), status(ready=1))
    answer(daemon, plan(MEMORY))
    daemon.on("slurm.suggest", {"suggestions": [suggestion()], "at_work": 0})
    daemon.on("slurm.schedule_nodes", scheduled(allocation(12, status="refused", slurm_job_id=None, error="no")))
    outcome = cli("watch", "7", "--recover")
    assert outcome.code == 1
    assert outcome.err.endswith("1 jobs did not run; see: torcctl workflows status 7\n")


@pytest.mark.parametrize("found", [{"suggestions": [suggestion()], "at_work": 1}, {"suggestions": [], "at_work": 0}])
def test_nothing_is_submitted_while_somebody_is_at_work(daemon: FakeDaemon, cli: Cli, found: dict[str, Any]) -> None:
    states = [status(ready=2), status(ready=2), status(ready=2), status(completed=2)]
    daemon.on("events.subscribe", {"subscription": 1})
    daemon.on("workflows.status", lambda params, session: states.pop(0) if len(states) > 1 else states[0])
    daemon.on("slurm.suggest", found)
    have_allocations(daemon)
    assert cli("watch", "7", "--recover", "--poll", "0.01").code == 0
    assert daemon.requests("slurm.schedule_nodes") == []


@pytest.mark.parametrize("options", [("--max-retries", "0"), ("--poll", "0"), ("--poll", "-1")])
def test_wrong_options_are_usage_errors(daemon: FakeDaemon, cli: Cli, options: tuple[str, ...]) -> None:
    """INTERFACE 2 (exit 2)"""
    assert cli("watch", "7", *options).code == 2
    assert daemon.calls == []
