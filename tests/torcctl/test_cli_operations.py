"""Operations, from the command line to the exit code."""

from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcctl import context as context_module
from torcd.protocol.errors import Conflict, Refused, TimedOut

STALE = samples.plan(samples.plan_job(1), samples.plan_job(2), samples.plan_job(3))


def succeed(daemon: FakeDaemon, method: str, result: dict[str, Any], number: int = 12) -> None:
    """Lets an operation run: progress, then its end."""

    def wait(params: dict[str, Any], session: Session) -> Any:
        assert params["follow"]
        session.notify("progress", subscription=1, progress={"phase": "scan", "done": 1, "total": 2})
        session.notify("event", subscription=1, event=samples.event(4))
        return samples.task(number, result=result)

    daemon.on(method, samples.task(number, status="running"))
    daemon.on("tasks.wait", wait)


def without_jobs(plan: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plan.items() if name != "jobs"}


def test_a_reinit_prints_its_sentence_and_nothing_else(daemon: FakeDaemon, cli: Cli) -> None:
    succeed(daemon, "workflows.reinit", without_jobs(STALE))
    outcome = cli("workflows", "reinit", "7")
    assert (outcome.code, outcome.out, outcome.err) == (0, "Reset 3 jobs due to changed inputs\n", "")
    (request,) = daemon.requests("workflows.reinit")
    assert len(request["request_key"]) == 32
    assert "@" in request["requested_by"]
    assert daemon.requests("tasks.plan") == []


@pytest.mark.parametrize(
    ("argv", "method", "operation", "cause", "sentence"),
    [
        (
            ("restart",),
            "restart",
            "restart",
            "that did not complete",
            "Restarted 1 job that did not complete",
        ),
        (("init",), "initialize", "initialize", "", "Initialized 1 job"),
        (("reset-job-status",), "reset_status", "reset-status", "as requested", "Reset 1 job as requested"),
    ],
)
def test_every_operation_has_its_verb(
    daemon: FakeDaemon,
    cli: Cli,
    argv: tuple[str, ...],
    method: str,
    operation: str,
    cause: str,
    sentence: str,
) -> None:
    plan = samples.plan(samples.plan_job(1), operation=operation, cause=cause)
    succeed(daemon, f"workflows.{method}", plan)
    assert cli("workflows", *argv, "7").out == sentence + "\n"


@pytest.mark.parametrize("argv", [("workflows", "undo", "7"), ("jobs", "accept", "3", "--reason", "r")])
def test_operations_that_never_stop_a_job_take_no_stop_live(
    daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...]
) -> None:
    """SEMANTICS 5.2, 5.6"""
    outcome = cli(*argv, "--stop-live")
    assert outcome.code == 2
    assert "--stop-live" in outcome.err
    assert daemon.requests("workflows.undo") == daemon.requests("jobs.accept") == []


def test_programs_get_the_task_with_the_whole_plan(daemon: FakeDaemon, cli: Cli) -> None:
    pages = {
        0: {"jobs": STALE["jobs"][:2], "next_cursor": 2},
        2: {"jobs": STALE["jobs"][2:], "next_cursor": None},
    }
    succeed(daemon, "workflows.reinit", without_jobs(STALE))
    daemon.on("tasks.plan", lambda params, session: pages[params.get("cursor", 0)])
    task = cli("-f", "json", "workflows", "reinit", "7").json
    assert task["task_id"] == 12
    assert task["result"] == STALE


def test_a_dry_run_lists_each_job_once_in_the_order_of_the_plan(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 5.4"""
    plan = samples.plan(*(samples.plan_job(number) for number in (5, 1)), dry_run=True, count=3)
    rest = {"plan": {**plan, "jobs": [samples.plan_job(3)]}, "next_cursor": None, "preview": "token"}
    daemon.on("workflows.reinit", {"plan": plan, "next_cursor": 2, "preview": "token"})
    daemon.on("workflows.preview", lambda params, session: rest if params["preview"] == "token" else None)
    outcome = cli("workflows", "reinit", "--dry-run", "7")
    assert outcome.code == 0
    assert outcome.out == ("Dry run: 3 jobs would be reset due to changed inputs\n  - job-5\n  - job-1\n  - job-3\n")
    (request,) = daemon.requests("workflows.reinit")
    assert request.get("request_key") is None


@pytest.mark.parametrize(("plan", "code"), [(STALE, 10), (samples.plan(), 0)])
def test_exit_code_tells_whether_a_dry_run_found_changes(
    daemon: FakeDaemon, cli: Cli, plan: dict[str, Any], code: int
) -> None:
    daemon.on("workflows.restart", {"plan": {**plan, "dry_run": True}, "next_cursor": None, "preview": None})
    assert cli("workflows", "restart", "7", "--dry-run", "--exit-code").code == code


def test_warnings_of_a_plan_go_to_stderr(daemon: FakeDaemon, cli: Cli) -> None:
    succeed(daemon, "workflows.reinit", samples.plan(warnings=["input a is missing"]))
    outcome = cli("workflows", "reinit", "7")
    assert outcome.err == "warning: input a is missing\n"
    assert outcome.out == "Reset 0 jobs due to changed inputs\n"


def test_async_prints_the_handle_and_does_not_wait(daemon: FakeDaemon, cli: Cli) -> None:
    succeed(daemon, "workflows.reinit", STALE)
    outcome = cli("-f", "json", "workflows", "reinit", "7", "--async")
    assert outcome.json["task_id"] == 12
    assert daemon.requests("tasks.wait") == []


@pytest.mark.parametrize(
    ("changes", "code", "name"),
    [
        ({"error": "input a is missing", "error_code": 422}, 7, "refused"),
        ({"error": "the plan has drifted", "error_code": 409}, 4, "conflict"),
        ({"error": "workflow 7 has no job 1", "error_code": 404}, 3, "not_found"),
        ({"error": "disk full", "error_code": 503}, 1, "task_failed"),
        ({"error": None, "status": "canceled"}, 1, "task_failed"),
    ],
)
def test_a_failed_task_decides_the_exit_code(
    daemon: FakeDaemon, cli: Cli, changes: dict[str, Any], code: int, name: str
) -> None:
    succeed(daemon, "workflows.reinit", STALE)
    daemon.on("tasks.wait", samples.task(**{"status": "failed", **changes}))
    outcome = cli("-f", "json", "workflows", "reinit", "7")
    assert outcome.code == code
    assert outcome.json["error"]["name"] == name
    assert outcome.json["error"]["data"]["task_id"] == 12


def test_a_refusal_says_what_the_daemon_said(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.restart", Conflict("task 4 (reinit) is active", task=4))
    outcome = cli("workflows", "restart", "7")
    assert (outcome.code, outcome.err) == (4, "error: task 4 (reinit) is active\n")


def test_a_wait_that_times_out_says_how_to_go_on(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.7"""
    daemon.on("workflows.reinit", samples.task(status="running"))
    daemon.on("tasks.wait", TimedOut("still running"))
    outcome = cli("workflows", "reinit", "7", "--wait-timeout", "0.01")
    assert outcome.code == 6
    assert "torcctl tasks wait 12" in outcome.err


def test_a_lost_answer_is_asked_for_again_under_the_same_key(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.4"""
    keys: list[str] = []

    def operate(params: dict[str, Any], session: Session) -> Any:
        keys.append(params["request_key"])
        if len(keys) == 1:
            session.drop()
        return samples.task(status="succeeded", existing=True)

    daemon.on("workflows.reinit", operate)
    daemon.on("tasks.wait", samples.task(result=STALE))
    assert cli("workflows", "reinit", "7").code == 0
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_a_daemon_that_restarts_during_the_task_is_asked_how_it_ended(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 6.6"""

    def operate(params: dict[str, Any], session: Session) -> Any:
        session.drop_after_answer()
        return samples.task(status="running")

    error = "daemon restarted while the task was in progress; nothing was changed"
    daemon.on("workflows.reinit", operate)
    daemon.on("tasks.wait", samples.task(status="failed", error=error))
    outcome = cli("workflows", "reinit", "7")
    assert outcome.code == 1
    assert error in outcome.err
    assert len(daemon.requests("workflows.reinit")) == 1


def test_a_daemon_that_stays_away_is_given_up(daemon: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "RECONNECT_S", 0.05)

    def operate(params: dict[str, Any], session: Session) -> Any:
        daemon.close_listener()
        session.drop()

    daemon.on("workflows.reinit", operate)
    assert cli("workflows", "reinit", "7").code == 5


# ---- tasks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (samples.task(result=STALE), 0),
        (samples.task(status="failed", error="no", error_code=422), 1),
        (samples.task(status="canceled"), 1),
    ],
)
def test_waiting_for_an_ended_task_shows_it_and_tells_how_it_ended(
    daemon: FakeDaemon, cli: Cli, task: dict[str, Any], code: int
) -> None:
    daemon.on("tasks.wait", task)
    outcome = cli("-f", "json", "tasks", "wait", "--timeout", "300", "12")
    assert (outcome.code, outcome.json) == (code, task)
    assert daemon.requests("tasks.wait")[0]["timeout_s"] == pytest.approx(300, abs=10)


def test_waiting_too_long_exits_6(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("tasks.wait", TimedOut("still running"))
    assert cli("tasks", "wait", "12", "--timeout", "1").code == 6


def test_canceling_a_task_that_commits_is_refused(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("tasks.cancel", Refused("too late"))
    assert cli("tasks", "cancel", "12").code == 7


@pytest.mark.parametrize(
    "words",
    [
        "workflows reinit 7 --wait-timeout -1",
        "workflows reinit 7 --wait-timeout nan",
        "workflows reinit 7 --dry-run --wait-timeout inf",
        "workflows restart 7 --exit-code",
        "workflows restart 7 --dry-run --async",
        "jobs reset-status --exit-code",
        "tasks wait 12 --timeout nan",
        "tasks wait 12 --timeout -0.5",
    ],
)
def test_options_that_mean_nothing_are_usage_errors(daemon: FakeDaemon, cli: Cli, words: str) -> None:
    outcome = cli(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert any(word in outcome.err for word in words.split() if word.startswith("--"))
    assert daemon.calls == []
