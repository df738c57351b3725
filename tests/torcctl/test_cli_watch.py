"""`watch`: follows by events, ends with the workflow, recovers no more often than it was told to."""

from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session
from test_cli_recover import BUG, MEMORY, answer, plan


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
    assert cli("watch", "7").err == "1 job to run and nobody runs any; to run them here: torcctl run 7\n"


def test_it_recovers_and_goes_on(daemon: FakeDaemon, cli: Cli) -> None:
    failed, done = status(failed=1), status(completed=1)
    go_through(daemon, failed, failed, status(running=1), done)
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


@pytest.mark.parametrize("options", [("--max-retries", "0"), ("--poll", "0"), ("--poll", "-1")])
def test_wrong_options_are_usage_errors(daemon: FakeDaemon, cli: Cli, options: tuple[str, ...]) -> None:
    """INTERFACE 2 (exit 2)"""
    assert cli("watch", "7", *options).code == 2
    assert daemon.calls == []
