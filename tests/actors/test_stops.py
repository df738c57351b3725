"""Jobs whose former attempt may be alive wait for its end: after leases, returns and restarts; and sync-status."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from actor_rig import Hand, House, answer_of, open_house, ref
from builders import chained
from fakes import FakeDisk

from torcd.actors import strays
from torcd.actors.messages import LeaseEnded, SyncWorkers
from torcd.protocol.process import MARK, has_ended, identify_process, mark_of
from torcd.protocol.requests import CancelWorkflow, Initialize, ResetStatus, Restart
from torcd.protocol.sync import Synced


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "GUARDIAN_S", 0.0)


class WorkerProcess:
    """A process that a worker, or a job, could be."""

    def __init__(self, **environ: str) -> None:
        self._process = subprocess.Popen(["sleep", "1000"], env=environ)
        self.traits: dict[str, Any] = {"pid": self._process.pid, "process": identify_process(self._process.pid)}

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def process() -> Iterator[WorkerProcess]:
    made = WorkerProcess()
    yield made
    made.end()


@pytest.fixture
async def workflow(house: House) -> int:
    """a, b: both are ready."""
    workflow_id = await house.create(chained("a", "b"))
    await house.run(Initialize, workflow_id)
    return workflow_id


async def end_lease(house: House, hand: Hand) -> None:
    await answer_of(hand.hang_up())
    lease = house.actor(hand.workflow_id).roster._entries[hand.worker_id].lease
    assert lease is not None
    await house.send(hand.workflow_id, LeaseEnded(hand.worker_id, lease))


async def lose_a_running_job(house: House, workflow: int, process: WorkerProcess) -> tuple[Hand, dict[str, Any]]:
    """A worker is lost that runs `a` and has claimed `b`; then the workflow is restarted."""
    hand = await house.hire(workflow, **process.traits)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"])])
    await end_lease(house, hand)
    assert await house.status(workflow) == {"a": "terminated", "b": "ready"}
    await house.run(Restart, workflow)
    return hand, launches


# ---- after a lease ----


async def test_jobs_of_a_worker_that_was_given_up_wait_for_the_end_of_its_process(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4: also one that was only claimed, since its start may not have been told."""
    await lose_a_running_job(house, workflow, process)
    other = await house.hire(workflow)
    assert await other.claim() == {}
    waiting = await other.listen()
    process.end()
    answer = await answer_of(waiting)
    assert sorted(launch.name for launch in answer.jobs) == ["a", "b"]
    await house.check(workflow)


async def test_a_worker_that_waits_gets_nothing_that_may_be_alive_when_a_lease_ends(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4: what was claimed is ready again in the same turn"""
    hand = await house.hire(workflow, **process.traits)
    await hand.claim()
    other = await house.hire(workflow)
    waiting = await other.listen()
    await end_lease(house, hand)
    assert await house.status(workflow) == {"a": "ready", "b": "ready"}
    assert not waiting.reply.is_given
    process.end()
    assert sorted(launch.name for launch in (await answer_of(waiting)).jobs) == ["a", "b"]


async def test_jobs_of_a_worker_that_ended_are_free_with_its_lease(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4"""
    process.end()
    await lose_a_running_job(house, workflow, process)
    other = await house.hire(workflow)
    answer = await answer_of(await other.listen())
    assert sorted(launch.name for launch in answer.jobs) == ["a", "b"]


async def test_a_worker_that_was_given_up_and_returns_hands_back_what_was_superseded(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4"""
    hand, launches = await lose_a_running_job(house, workflow, process)
    await hand.register(hand.worker_id, [ref(launches["a"])], **process.traits)
    assert hand.registration["lost"] == [ref(launches["a"])]
    other = await house.hire(workflow)
    assert list(await other.claim()) == ["b"], "of which the worker knows nothing any more"
    waiting = await other.listen()
    await hand.report(returned=[ref(launches["a"])])
    answer = await answer_of(waiting)
    assert [launch.name for launch in answer.jobs] == ["a"]


async def test_what_a_returning_worker_knows_nothing_of_is_handed_to_whoever_waits(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4"""
    hand, launches = await lose_a_running_job(house, workflow, process)
    other = await house.hire(workflow)
    waiting = await other.listen()
    await hand.register(hand.worker_id, [ref(launches["a"])], **process.traits)
    answer = await answer_of(waiting)
    assert [launch.name for launch in answer.jobs] == ["b"]


async def test_a_worker_that_was_given_up_and_returns_in_time_keeps_its_job(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4"""
    hand = await house.hire(workflow, **process.traits)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"])])
    await end_lease(house, hand)
    await hand.register(hand.worker_id, [ref(launches["a"])], **process.traits)
    assert hand.registration["lost"] == []
    assert await house.status(workflow) == {"a": "running", "b": "ready"}
    answer = await hand.report(ended=[hand.end(launches["a"])], jobs=5)
    assert (answer.refused, [launch.name for launch in answer.jobs]) == ([], ["b"])


async def test_a_worker_of_an_older_version_cannot_hand_back_and_is_not_waited_for(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    hand, launches = await lose_a_running_job(house, workflow, process)
    await hand.register(hand.worker_id, [ref(launches["a"])])
    assert hand.registration["lost"] == [ref(launches["a"])]
    assert sorted(await hand.claim()) == ["a", "b"]


# ---- after a restart of the daemon ----


async def test_after_a_restart_every_attempt_counts_as_alive_whose_end_was_not_told(tmp_path: Path) -> None:
    """SEMANTICS 5.2, 8.4: --stop-live just before the end of the daemon, or a cancel"""
    path, disk = tmp_path / "daemon.db", FakeDisk()
    async with open_house(path, disk) as house:
        workflow_id = await house.create(chained("a", "b", "c"))
        await house.run(Initialize, workflow_id)
        hand = await house.hire(workflow_id)
        launches = await hand.claim()
        await hand.report(started=[ref(launches[name]) for name in "ab"], ended=[hand.end(launches["c"], code=1)])
        await house.run(ResetStatus, workflow_id, stop_live=True, reinitialize=True)
    async with open_house(path, disk) as house:
        other = await house.hire(workflow_id)
        assert list(await other.claim()) == ["c"], "which has ended"
        waiting = await other.listen()
        hand.house = house
        await hand.register(hand.worker_id, [ref(launches["a"])])
        answer = await answer_of(waiting)
        assert sorted(launch.name for launch in answer.jobs) == ["a", "b"]
        await house.check(workflow_id)


async def test_after_a_restart_a_worker_that_was_given_up_is_watched_again(
    tmp_path: Path, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4"""
    path, disk = tmp_path / "daemon.db", FakeDisk()
    async with open_house(path, disk) as house:
        workflow_id = await house.create(chained("a", "b"))
        await house.run(Initialize, workflow_id)
        await lose_a_running_job(house, workflow_id, process)
    async with open_house(path, disk) as house:
        other = await house.hire(workflow_id)
        assert await other.claim() == {}
        waiting = await other.listen()
        assert not waiting.reply.is_given
        process.end()
        answer = await answer_of(waiting)
        assert sorted(launch.name for launch in answer.jobs) == ["a", "b"]


# ---- sync-status ----


async def sync(house: House, workflow: int, *, dry_run: bool = False) -> Synced:
    answer = await house.send(workflow, SyncWorkers(dry_run))
    assert isinstance(answer, Synced)
    return answer


async def test_a_worker_that_is_gone_is_let_go_of_at_once(house: House, workflow: int, process: WorkerProcess) -> None:
    """INTERFACE §2: sync-status"""
    hand = await house.hire(workflow, **process.traits)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"])])
    await answer_of(hand.hang_up())
    other = await house.hire(workflow)
    waiting = await other.listen()
    assert (await sync(house, workflow)).count == 0, "it may come back"
    process.end()
    before = await house.rows("SELECT * FROM job_state, worker, event")
    preview = await sync(house, workflow, dry_run=True)
    assert await house.rows("SELECT * FROM job_state, worker, event") == before
    synced = await sync(house, workflow)
    assert [(job.id, job.from_, job.to, job.to_reason) for job in synced.jobs] == [
        (launches["a"].job_id, "running", "terminated", "worker_lost"),
        (launches["b"].job_id, "pending", "ready", None),
    ]
    assert synced.jobs[0].reasons == [
        {"kind": "worker_gone", "worker_id": hand.worker_id, "hostname": "host", "pid": process.traits["pid"]}
    ]
    assert (preview.jobs, preview.workers, preview.dry_run) == (synced.jobs, synced.workers, True)
    assert [(worker.id, worker.process, worker.is_released) for worker in synced.workers] == [
        (hand.worker_id, "gone", True),
        (other.worker_id, "unknown", False),
    ]
    assert [launch.name for launch in (await answer_of(waiting)).jobs] == ["b"]
    assert await house.status(workflow) == {"a": "terminated", "b": "pending"}
    assert (await sync(house, workflow)).count == 0
    await house.check(workflow)


async def test_what_a_worker_and_its_guardian_left_is_killed_before_its_jobs_are_handed_out(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 8.4: both were killed at once, as by `killall -9 python3`"""
    hand = await house.hire(workflow, **process.traits)
    launches = await hand.claim(1)
    await hand.report(started=[ref(launches["a"])])
    mark = mark_of(process.traits["pid"], process.traits["process"])
    left, spared = WorkerProcess(**{MARK: mark}), WorkerProcess(**{MARK: mark + "0"})
    try:
        process.end()
        assert (await sync(house, workflow)).count == 1
        await house.run(Restart, workflow)
        other = await house.hire(workflow)
        assert list(await other.claim()) == ["b"]
        answer = await answer_of(await other.listen())
        assert [launch.name for launch in answer.jobs] == ["a"]
        assert (left.code, spared.code) == (-signal.SIGKILL, None)
    finally:
        left.end()
        spared.end()


async def test_a_workers_number_may_be_that_of_a_thread_by_now(house: House, workflow: int) -> None:
    """Processes and threads share their numbers, but only a process can be waited for."""
    boot_and_namespace = identify_process(os.getpid()).rpartition(" ")[0]
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    try:
        hand = await house.hire(workflow, pid=thread.native_id, process=f"{boot_and_namespace} 1")
        launches = await hand.claim(1)
        await hand.report(started=[ref(launches["a"])])
        assert (await sync(house, workflow)).count == 1
        await house.run(Restart, workflow)
        other = await house.hire(workflow)
        names = set(await other.claim())
        while names != {"a", "b"}:
            names |= {launch.name for launch in (await answer_of(await other.listen())).jobs}
    finally:
        is_over.set()
        thread.join()


async def test_workers_that_cannot_be_judged_are_told_of(house: House, workflow: int, process: WorkerProcess) -> None:
    far = await house.hire(workflow, hostname="node7", pid=12, process="another-boot pid:[1] 5")
    await answer_of(far.hang_up())
    await lose_a_running_job(house, workflow, process)
    remote, given_up = (await sync(house, workflow)).warnings
    assert remote == (
        "worker 1 (pid 12 on node7) has lost its connection; it cannot be seen from here, so its jobs are its own"
        " until its lease ends"
    )
    assert "has lost its jobs, and those wait for its end: its process is alive" in given_up


async def test_an_attempt_that_was_canceled_is_held_while_its_worker_is_away(
    house: House, workflow: int, process: WorkerProcess
) -> None:
    """SEMANTICS 5.2"""
    hand = await house.hire(workflow, **process.traits)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"]), ref(launches["b"])])
    await house.send(workflow, CancelWorkflow(workflow_id=workflow))
    await end_lease(house, hand)
    await house.run(Restart, workflow)
    other = await house.hire(workflow)
    assert await other.claim() == {}
    process.end()
    assert sorted(launch.name for launch in (await answer_of(await other.listen())).jobs) == ["a", "b"]


# ---- processes ----


def test_a_process_is_told_from_another_with_its_pid(process: WorkerProcess) -> None:
    pid, identity = process.traits["pid"], process.traits["process"]
    boot, namespace, started = identity.split()
    assert has_ended(pid, identity) is False
    assert has_ended(pid, f"{boot} {namespace} {int(started) + 1}") is True
    assert has_ended(pid, f"{boot} pid:[1] {started}") is None
    assert has_ended(pid, "") is None
    process.end()
    assert has_ended(pid, identity) is True
