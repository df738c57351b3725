"""Many clients, workers and subscribers at once: nothing happens twice, nobody waits for what is not theirs."""

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paper_worker import PaperWorker
from real_system import PATIENCE_S, System, ask, many_files

from torcd.protocol.client import Connection
from torcd.protocol.errors import Conflict
from torcd.protocol.requests import (
    DeleteWorkflow,
    GetStatus,
    GetTask,
    Initialize,
    ListEvents,
    ListJobs,
    Operation,
    Reinit,
    ResetStatus,
    Restart,
    Subscribe,
    UpdateJob,
    UpdateUserData,
    WaitTask,
)
from torcd.protocol.worker_requests import Capacity, ReportWorker


def perform(connection: Connection, request: Operation) -> dict[str, Any]:
    """The task of an operation, ended."""
    task: dict[str, Any] = ask(connection, WaitTask(task_id=ask(connection, request)["task_id"]))
    return task


def living(sessions: list[int]) -> list[int]:
    """The processes of these sessions that live; those that have ended and wait for init do not."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if int(fields[3]) in sessions and fields[0] not in "ZX":
                found.append(int(name))
    return found


# ---- the same operation, and others (SEMANTICS 6) ----


def test_ten_clients_that_ask_for_the_same_get_the_same_task(system: System) -> None:
    """SEMANTICS 6.2"""
    workflow_id = system.create(many_files())
    connections = [system.connect() for _ in range(10)]
    with system.held_scan(workflow_id) as release:
        calls = [connection.begin(Reinit(workflow_id=workflow_id, force=False)) for connection in connections]
        handles = [
            msgspec.json.decode(connection.finish(call)) for connection, call in zip(connections, calls, strict=True)
        ]
        clients = [system.spawn("workflows", "reinit", workflow_id) for _ in range(2)]
        clients.append(system.spawn("workflows", "reinit", workflow_id, "--detect", "mtime"))  # the default
        for client in clients:
            assert client.stderr is not None
            assert f"task {handles[0]['task_id']} does the same already" in client.stderr.readline()
        asynchronous = system.torcctl("workflows", "reinit", workflow_id, "--async", json=True)
        release()
        for client in clients:
            out, _ = client.communicate(timeout=PATIENCE_S)
            assert (client.returncode, out) == (0, "Reset 0 jobs due to changed inputs\n")
    assert asynchronous["existing"] is True
    assert {handle["task_id"] for handle in [*handles, asynchronous]} == {handles[0]["task_id"]}
    assert Counter(handle["existing"] for handle in handles) == {False: 1, True: 9}
    assert system.run_id(workflow_id) == 1
    assert len(system.torcctl("tasks", "list", workflow_id, json=True)["tasks"]) == 1


def test_ten_clients_that_ask_without_waiting_for_each_other_bump_the_run_once_for_each_task(system: System) -> None:
    """SEMANTICS 6.1, 6.2: without anything to hold the scan, each request finds the task or begins the next one"""
    workflow_id = system.create({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    connections = [system.connect() for _ in range(10)]
    calls = [connection.begin(Reinit(workflow_id=workflow_id)) for connection in connections]
    handles = [
        msgspec.json.decode(connection.finish(call)) for connection, call in zip(connections, calls, strict=True)
    ]
    tasks = {handle["task_id"] for handle in handles}
    for task_id in tasks:
        assert ask(connections[0], WaitTask(task_id=task_id))["status"] == "succeeded"
    assert system.run_id(workflow_id) == len(tasks)
    assert sum(not handle["existing"] for handle in handles) == len(tasks)


def test_another_operation_or_an_edit_meets_a_conflict_that_says_with_what(system: System) -> None:
    """SEMANTICS 6.3; INTERFACE 2 (exit 4)"""
    workflow_id = system.create(many_files() | {"user_data": [{"name": "note", "data": 1}]})
    job_id = system.jobs(workflow_id)["maker"]["id"]
    connection = system.connect()
    with system.held_scan(workflow_id) as release:
        task = ask(connection, Reinit(workflow_id=workflow_id, requested_by="me@here"))
        differing = {
            Reinit(workflow_id=workflow_id, force=True): {"force": [False, True]},
            Reinit(workflow_id=workflow_id, stop_live=True): {"stop_live": [False, True]},
            Restart(workflow_id=workflow_id): {"operation": ["reinit", "restart"]},
            Initialize(workflow_id=workflow_id): {"operation": ["reinit", "initialize"]},
            ResetStatus(workflow_id=workflow_id): {"operation": ["reinit", "reset-status"]},
        }
        for request, difference in differing.items():
            with pytest.raises(Conflict) as refused:
                ask(connection, request)
            data = refused.value.data
            assert data["task_id"] == task["task_id"]
            assert data["operation"] == "reinit"
            assert data["params"]["force"] is False
            assert data["requested_by"] == "me@here"
            assert data["created_at"].endswith("Z")
            assert data["differing"] == difference
        for edit in (
            UpdateJob(job_id=job_id, priority=3),
            UpdateUserData(workflow_id=workflow_id, name="note", data=2),
            DeleteWorkflow(workflow_id=workflow_id),
        ):
            with pytest.raises(Conflict) as refused:
                ask(connection, edit)
            assert refused.value.data["task_id"] == task["task_id"]
        failed = system.torcctl("-f", "json", "workflows", "reinit", workflow_id, "--force", check=False)
        assert failed.code == 4
        assert failed.json["error"]["data"]["differing"] == {"force": [False, True]}
        assert str(task["task_id"]) in failed.err

        other = system.create({"name": "another", "jobs": [{"name": "a", "command": "true"}]})
        assert perform(connection, Reinit(workflow_id=other))["status"] == "succeeded"  # is never held up
        assert ask(connection, GetTask(task_id=task["task_id"]))["status"] == "running"
        release()
        assert ask(connection, WaitTask(task_id=task["task_id"]))["status"] == "succeeded"
    assert system.run_id(workflow_id) == 1


def test_claims_ends_and_queries_go_on_while_a_task_scans(system: System) -> None:
    """SEMANTICS 6.3, 6.5: and the plan is computed from the state that it is applied to"""
    document = many_files(depends_on=["before"])
    document["jobs"] += [
        {"name": "before", "command": "true"},
        {"name": "writer", "command": "true", "output_user_data": ["note"]},
        {"name": "late", "command": "true"},
    ]
    document["user_data"] = [{"name": "note"}]
    workflow_id = system.create(document)
    connection = system.connect()
    perform(connection, Initialize(workflow_id=workflow_id))
    worker = PaperWorker(connection, workflow_id)
    other = system.connect()
    with system.held_scan(workflow_id) as release:
        task = ask(other, Reinit(workflow_id=workflow_id))
        worker.report(most=2)  # claims two of the three that are ready
        assert Counter(system.statuses(workflow_id).values()) == {"pending": 2, "ready": 1, "blocked": 1}
        worker.run_held()
        jobs = system.jobs(workflow_id)
        writing = UpdateUserData(
            workflow_id=workflow_id, name="note", data=7, job_id=jobs["writer"]["id"], attempt_id=1
        )
        assert ask(connection, writing)["data"] == 7
        worker.report(most=2)
        assert worker.acknowledged == {(jobs[name]["id"], 1) for name in ("before", "writer")}
        assert len(ask(other, ListJobs(workflow_id=workflow_id))["jobs"]) == 4
        assert ask(other, GetStatus(workflow_id=workflow_id))["active_task"]["task_id"] == task["task_id"]
        assert len(ask(other, ListEvents(workflow_id=workflow_id))["events"]) > 5
        release()
        ended = ask(other, WaitTask(task_id=task["task_id"]))
    assert ended["status"] == "succeeded"
    statuses = system.statuses(workflow_id)
    assert statuses["before"] == statuses["writer"] == "completed"
    assert statuses["late"] == statuses["maker"] == "pending"


def test_a_workflow_can_be_canceled_while_a_task_scans(system: System) -> None:
    """SEMANTICS 6.3"""
    workflow_id = system.create(many_files())
    connection = system.connect()
    perform(connection, Initialize(workflow_id=workflow_id))
    with system.held_scan(workflow_id) as release:
        task = ask(connection, Reinit(workflow_id=workflow_id))
        assert system.torcctl("workflows", "cancel", workflow_id, json=True)["canceled"] == 1
        release()
        assert ask(connection, WaitTask(task_id=task["task_id"]))["status"] == "succeeded"
    assert system.statuses(workflow_id) == {"maker": "canceled"}


def test_a_dry_run_while_a_task_is_active_plans_on_the_committed_state_and_warns(system: System) -> None:
    """SEMANTICS 5.4"""
    workflow_id = system.create(many_files())
    connection, other = system.connect(), system.connect()
    with system.held_scan(workflow_id) as release:
        task = ask(connection, Reinit(workflow_id=workflow_id))
        plan = ask(other, Restart(workflow_id=workflow_id, dry_run=True, only_uninitialized=True))["plan"]
        assert [job["name"] for job in plan["jobs"]] == ["maker"]
        assert str(task["task_id"]) in plan["warnings"][0]
        release()
        ask(connection, WaitTask(task_id=task["task_id"]))


# ---- live jobs (SEMANTICS 5.2, 5.3) ----


def test_an_operation_that_would_change_a_running_job_is_refused_or_stops_it(system: System) -> None:
    """SEMANTICS 5.2"""
    started = system.pipe("started")
    system.write("in.txt", "1")
    workflow_id = system.create(
        {
            "name": "live",
            "files": [{"name": "in", "path": "in.txt"}],
            "jobs": [
                {"name": "first", "command": "true", "input_files": ["in"]},
                {
                    "name": "second",
                    "command": "echo $$ > started; sleep 1000 & wait",
                    "depends_on": ["first"],
                },
                {"name": "other", "command": "true"},
            ],
        }
    )
    run = system.spawn("run", workflow_id)
    group = int(started.read_line())
    system.write("in.txt", "22")
    job_id = system.jobs(workflow_id)["second"]["id"]
    for options in ([], ["--dry-run"], ["--force"]):
        refused = system.torcctl("-f", "json", "workflows", "reinit", workflow_id, *options, check=False)
        assert refused.code == 4
        assert refused.json["error"]["data"]["jobs"] == [job_id]
        assert "--stop-live" in refused.err
    assert system.run_id(workflow_id) == 1

    stopped = system.torcctl("workflows", "reinit", workflow_id, "--stop-live")
    assert stopped.out == "Reset 2 jobs due to changed inputs\n"
    assert int(started.read_line()) != group  # the worker has stopped the first attempt and runs the next one
    assert living([group]) == []
    assert system.attempts(workflow_id) == {"first": 2, "second": 2, "other": 1}
    results = system.sql(
        "SELECT attempt_id, count(*) FROM result WHERE job_id = ? GROUP BY attempt_id ORDER BY attempt_id", job_id
    )
    assert results == [(1, 1)]
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130


def test_a_late_or_repeated_report_writes_no_second_result(system: System) -> None:
    """SEMANTICS 5.3"""
    workflow_id = system.create({"name": "fence", "jobs": [{"name": "a", "command": "true"}]})
    connection = system.connect()
    perform(connection, Initialize(workflow_id=workflow_id))
    worker = PaperWorker(connection, workflow_id)
    worker.report(most=1)
    worker.run_held()
    (attempt, end), *_ = worker.untold.items()
    worker.report(most=0)
    worker.untold[attempt] = end
    worker.report(most=0)  # a replay
    assert worker.refused == []
    worker.ran[attempt] = 1
    worker.untold[attempt] = type(end)(
        **{name: getattr(end, name) for name in end.__struct_fields__} | {"return_code": 1}
    )
    worker.report(most=0)
    assert [refused["why"] for refused in worker.refused] == ["conflict"]
    perform(connection, ResetStatus(workflow_id=workflow_id, reinitialize=True))
    worker.refused.clear()
    worker.report(most=1)  # claims the second attempt
    worker.untold[attempt] = end
    worker.report(most=0)  # the first attempt is known, and its report a replay
    worker.run_held()
    worker.report(most=0)
    assert worker.refused == []
    rows = system.sql("SELECT attempt_id, return_code FROM result WHERE job_id = ? ORDER BY 1", attempt[0])
    assert rows == [(1, 0), (2, 0)]


# ---- workers (SEMANTICS 8) ----


def test_two_runs_of_one_workflow_share_its_jobs(system: System) -> None:
    """SEMANTICS 8.1, 5.3"""
    # one run alone has room for two jobs: the first ones wait for those of the other
    meet = "touch at.$TORC_JOB_NAME; until [ -e all ]; do [ $(ls at.* | wc -l) -gt 2 ] && touch all; sleep 0.02; done"
    workflow_id = system.create(
        {
            "name": "shared",
            "parameters": {"i": "1:40"},
            "jobs": [
                {
                    "name": "a{i}",
                    "command": f'{meet}; echo "$TORC_JOB_NAME" >> ran.txt; sleep 0.02',
                    "use_parameters": ["i"],
                },
                {
                    "name": "last",
                    "command": 'echo "$TORC_JOB_NAME" >> ran.txt',
                    "depends_on_regexes": ["a.*"],
                },
            ],
        }
    )
    runs = [system.spawn("run", workflow_id, "--max-parallel-jobs", 2) for _ in range(2)]
    for run in runs:
        out, err = run.communicate(timeout=PATIENCE_S)
        assert (run.returncode, out) == (0, f"Workflow {workflow_id}: 41 completed\n"), err
    lines = system.read("ran.txt").splitlines()
    assert len(lines) == len(set(lines)) == 41
    assert lines[-1] == "last"
    assert len(set(system.sql("SELECT worker_id FROM result WHERE workflow_id = ?", workflow_id))) == 2
    assert system.run_id(workflow_id) == 1


def running_groups(system: System, script: str, jobs: int) -> tuple[int, "subprocess.Popen[str]", list[int]]:
    """A run of a workflow of more jobs than run at once: its id, its process, the groups of those that run."""
    started = system.pipe("started")
    workflow_id = system.create(
        {
            "name": "interrupted",
            "parameters": {"i": f"1:{jobs}"},
            "jobs": [{"name": "j{i}", "command": script, "use_parameters": ["i"]}],
        }
    )
    run = system.spawn("run", workflow_id, "--max-parallel-jobs", 2)
    return workflow_id, run, [int(started.read_line()) for _ in range(2)]


def test_ctrl_c_stops_the_jobs_with_all_they_started_and_hands_the_rest_back(system: System) -> None:
    """SEMANTICS 2 (running → terminated), 8.2; INTERFACE 2 (run: 130)"""
    # timeout makes a process group of its own, and has done so when its command runs
    script = 'sleep 1000 & (sleep 1000; true) & timeout 1000 bash -c "echo $$ > started; sleep 1000" & wait'
    workflow_id, run, groups = running_groups(system, script, 5)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, out) == (130, "")
    assert f"torcctl workflows restart {workflow_id}" in err
    assert living(groups) == []
    jobs = system.jobs(workflow_id).values()
    told = Counter((job["status"], job["status_reason"]) for job in jobs)
    assert told == {("terminated", "worker_shutdown"): 2, ("ready", None): 3}
    assert [row["status"] for row in system.torcctl("workers", "list", workflow_id, json=True)["workers"]] == ["gone"]


def test_a_second_ctrl_c_does_not_wait_for_jobs_that_will_not_end(system: System) -> None:
    """INTERFACE 2 (run: 130)"""
    told = system.pipe("told")
    script = "trap 'echo TERM > told' TERM; echo $$ > started; while true; do sleep 1000 & wait; done"
    workflow_id, run, groups = running_groups(system, script, 2)
    run.send_signal(signal.SIGINT)
    assert [told.read_line(), told.read_line()] == ["TERM", "TERM"]
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=8)  # less than the grace that one Ctrl-C gives
    assert run.returncode == 130
    assert living(groups) == []
    assert Counter(system.statuses(workflow_id).values()) == {"terminated": 2}


def test_restart_takes_up_what_was_interrupted(system: System) -> None:
    """SEMANTICS 5 (restart)"""
    gate = system.pipe("gate")
    started = system.pipe("started")
    workflow_id = system.create(
        {
            "name": "again",
            "jobs": [
                {"name": "done", "command": "true"},
                {"name": "slow", "command": "echo x > started; read x < gate", "depends_on": ["done"]},
                {"name": "after", "command": "true", "depends_on": ["slow"]},
            ],
        }
    )
    run = system.spawn("run", workflow_id)
    started.read_line()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE_S)
    assert system.statuses(workflow_id) == {"done": "completed", "slow": "terminated", "after": "canceled"}
    assert system.torcctl("workflows", "restart", workflow_id).out.startswith("Restarted 2 jobs")
    assert system.statuses(workflow_id) == {"done": "completed", "slow": "ready", "after": "blocked"}
    gate.write_line()
    assert system.torcctl("run", workflow_id).code == 0
    assert system.attempts(workflow_id) == {"done": 1, "slow": 2, "after": 1}


def test_a_waiting_worker_is_answered_as_soon_as_a_job_is_ready(system: System) -> None:
    """SEMANTICS 8.1: claims wait on the daemon"""
    jobs = [{"name": "a", "command": "true"}, {"name": "b", "command": "true", "depends_on": ["a"]}]
    workflow_id = system.create({"name": "w", "jobs": jobs})
    connection, other = system.connect(), system.connect()
    perform(connection, Initialize(workflow_id=workflow_id))
    busy, waiting = PaperWorker(connection, workflow_id), PaperWorker(other, workflow_id)
    busy.report(most=1)
    call_id = other.begin(ReportWorker(worker_id=waiting.worker_id, capacity=Capacity(jobs=1), wait_s=60))
    assert system.statuses(workflow_id) == {"a": "pending", "b": "blocked"}
    busy.run_held()
    busy.report(most=0)
    answer = msgspec.json.decode(other.finish(call_id, timeout_s=20))
    assert [job["name"] for job in answer["jobs"]] == ["b"]


# ---- events (SEMANTICS 7) ----


def read_events(connection: Connection, last: int) -> list[dict[str, Any]]:
    """The events that a subscription brings, up to one with that number."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["seq"] < last:
        notification = connection.receive(timeout_s=PATIENCE_S)
        assert notification is not None, f"no event after {found[-1:]}"
        if notification.method == "event":
            found.append(msgspec.json.decode(notification.params)["event"])
    return found


def test_events_are_replayed_without_gaps_across_a_restart_of_the_daemon(alone: System) -> None:
    """SEMANTICS 7.1"""
    alone.start_daemon()
    workflow_id = alone.create(
        {
            "name": "w",
            "parameters": {"i": "1:20"},
            "jobs": [{"name": "j{i}", "command": "true", "use_parameters": ["i"]}],
        }
    )
    watch = alone.spawn("-f", "json", "events", "watch", workflow_id, "--from-seq", 1)
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    connection = alone.connect()
    ask(connection, Subscribe(workflow_id=workflow_id, from_seq=0))
    seen = []
    worker = PaperWorker(alone.connect(), workflow_id)
    perform(alone.connect(), Initialize(workflow_id=workflow_id))
    for _ in range(10):
        worker.report(most=1)
        worker.run_held()
    seen += read_events(connection, 10)
    alone.kill_daemon()
    alone.torcctl("daemon", "start")  # unless the watcher has done it
    connection = alone.connect()
    ask(connection, Subscribe(workflow_id=workflow_id, from_seq=seen[-1]["seq"]))
    worker.resume(alone.connect())
    worker.work(most=3)
    logged = ask(alone.connect(), ListEvents(workflow_id=workflow_id))["events"]
    seen += read_events(connection, logged[-1]["seq"])
    assert seen == logged
    assert [event["seq"] for event in logged] == list(range(1, len(logged) + 1))
    assert [first] + [json.loads(watch.stdout.readline()) for _ in logged[1:]] == logged


def test_a_subscriber_that_does_not_read_holds_nobody_up(system: System) -> None:
    """SEMANTICS 7.2"""
    workflow_id = system.create(
        {
            "name": "w",
            "parameters": {"i": "1:3000"},
            "jobs": [{"name": "j{i}", "command": "true", "use_parameters": ["i"]}],
        }
    )
    lazy = [system.connect() for _ in range(3)]
    for connection in lazy:
        ask(connection, Subscribe(workflow_id=workflow_id, from_seq=0))
    connection = system.connect()
    perform(connection, Initialize(workflow_id=workflow_id))
    PaperWorker(connection, workflow_id).work(most=10)
    logged = system.sql("SELECT max(seq) FROM event WHERE workflow_id = ?", workflow_id)[0][0]
    assert logged > 300
    for connection in lazy:
        assert [event["seq"] for event in read_events(connection, logged)] == list(range(1, logged + 1))
