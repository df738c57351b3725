"""Workers: reports that wait, claims that are never lost, leases, returns, and what must be stopped."""

from pathlib import Path
from typing import Any

import pytest
import trio
from actor_rig import Hand, House, answer_of, error_of, open_house, ref
from builders import chained, job
from fakes import FakeDisk

from torcd.actors import answers as answers_module
from torcd.actors.messages import LeaseEnded
from torcd.protocol.errors import NotFound
from torcd.protocol.requests import CancelWorkflow, Initialize, ResetStatus, Restart
from torcd.protocol.specification import ResourceRequirementsSpec
from torcd.protocol.worker_requests import AttemptRef, LeaveWorker, ReportWorker


@pytest.fixture
async def workflow(house: House) -> int:
    """a>d, b, c: three jobs are ready."""
    workflow_id = await house.create(chained("a>d", "b", "c"))
    await house.run(Initialize, workflow_id)
    return workflow_id


def names(answer: Any) -> list[str]:
    return [launch.name for launch in answer.jobs]


# ---- coming and going ----


async def test_a_registration_tells_a_worker_all_it_needs(house: House, workflow: int) -> None:
    """SEMANTICS 8.1, 8.4"""
    hand = await house.hire(workflow, hostname="node1", num_cpus=2)
    assert hand.registration == {
        "worker_id": 1,
        "lease_s": 60.0,
        "submission_directory": "/submitted",
        "workflow_name": "test",
        "run_id": 1,
        "total": 4,
        "counts": {"ready": 3, "blocked": 1},
        "lost": [],
    }
    assert await house.rows("SELECT hostname, num_cpus, is_gone FROM worker") == [("node1", 2, 0)]


async def test_a_worker_that_leaves_is_gone_and_its_claims_return(house: House, workflow: int) -> None:
    """SEMANTICS §2: pending → ready"""
    hand = await house.hire(workflow)
    await hand.claim(2)
    assert await house.send(workflow, LeaveWorker(worker_id=hand.worker_id)) == {"worker_id": 1}
    assert await house.rows("SELECT is_gone FROM worker") == [(1,)]
    assert await house.status(workflow) == {"a": "ready", "b": "ready", "c": "ready", "d": "blocked"}
    with pytest.raises(NotFound, match="register again"):
        await hand.report(jobs=1)
    assert await house.send(workflow, LeaveWorker(worker_id=hand.worker_id)) == {"worker_id": 1}


async def test_a_worker_that_never_registered_is_refused(house: House, workflow: int) -> None:
    with pytest.raises(NotFound, match="worker 77 is not registered"):
        await house.send(workflow, ReportWorker(worker_id=77))


# ---- claims ----


async def test_an_end_and_the_next_claim_travel_together(house: House, workflow: int) -> None:
    """SEMANTICS §2: what an end frees is handed out in the same answer"""
    hand = await house.hire(workflow)
    launches = await hand.claim(3)
    answer = await hand.report(ended=[hand.end(launches["a"])], jobs=1)
    assert names(answer) == ["d"]
    assert answer.counts == {"completed": 1, "pending": 3}


async def test_a_worker_gets_what_fits_all_of_it(house: House) -> None:
    """SEMANTICS 8.1"""
    needs = [ResourceRequirementsSpec(name="big", num_cpus=16), ResourceRequirementsSpec(name="small", num_cpus=1)]
    specs = [job("big", resource_requirements="big", priority=9), job("small", resource_requirements="small")]
    workflow_id = await house.create(specs, resource_requirements=needs)
    await house.run(Initialize, workflow_id)
    small = await house.hire(workflow_id, num_cpus=4)
    assert list(await small.claim()) == ["small"]
    ignoring = await house.hire(workflow_id, num_cpus=1, max_parallel_jobs=1)
    assert list(await ignoring.claim()) == ["big"]


async def test_a_worker_is_told_that_nothing_that_is_left_fits_it(house: House) -> None:
    needs = [ResourceRequirementsSpec(name="big", num_cpus=16)]
    workflow_id = await house.create([job("big", resource_requirements="big")], resource_requirements=needs)
    await house.run(Initialize, workflow_id)
    hand = await house.hire(workflow_id, num_cpus=4)
    answer = await hand.report(jobs=5, wait_s=60)
    assert (answer.jobs, answer.stranded, answer.complete) == ([], 1, False)


async def test_the_last_end_tells_that_the_workflow_is_complete(house: House, workflow: int) -> None:
    """SEMANTICS 2.2"""
    hand = await house.hire(workflow)
    assert await hand.work() == ["a", "b", "c", "d"]
    answer = await hand.report(jobs=1, wait_s=60)
    assert (answer.complete, answer.jobs) == (True, [])


# ---- reports that wait ----


@pytest.fixture
async def pair(house: House, workflow: int) -> tuple[Hand, Hand, dict[str, Any]]:
    """Two workers; the first holds all ready jobs."""
    busy, idle = await house.hire(workflow), await house.hire(workflow)
    return busy, idle, await busy.claim()


async def test_a_report_waits_until_an_end_makes_work(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    """SEMANTICS 8.1: claims wait on the daemon"""
    busy, idle, launches = pair
    waiting = await idle.listen(jobs=1)
    assert not waiting.reply.is_given
    await busy.report(ended=[busy.end(launches["b"])])
    await house.settle(idle.workflow_id)
    assert not waiting.reply.is_given
    await busy.report(ended=[busy.end(launches["a"])])
    assert names(await answer_of(waiting)) == ["d"]
    await house.check(idle.workflow_id)


async def test_a_report_waits_until_an_operation_makes_work(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 8.1, §5"""
    busy, idle, launches = pair
    await busy.finish(launches["b"], code=1)
    waiting = await idle.listen()
    await house.run(ResetStatus, idle.workflow_id, failed_only=True)
    assert not waiting.reply.is_given
    await house.run(Restart, idle.workflow_id, only_uninitialized=True)
    assert names(await answer_of(waiting)) == ["b"]


async def test_a_worker_does_not_wait_for_work_that_only_a_user_can_make(house: House) -> None:
    """Nothing is ready and nothing is under way."""
    workflow_id = await house.create(chained("a>b"))
    hand = await house.hire(workflow_id)
    answer = await hand.report(jobs=1, wait_s=60)
    assert (answer.jobs, answer.stranded, answer.complete) == ([], 2, False)


async def test_a_report_waits_until_a_claim_is_handed_back(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    waiting = await idle.listen(jobs=5)
    await busy.report(returned=[ref(launches["b"]), ref(launches["c"])])
    assert names(await answer_of(waiting)) == ["b", "c"]


async def test_a_report_that_does_not_fit_the_work_goes_on_waiting(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    waiting = await idle.listen(jobs=0)
    await busy.report(returned=[ref(launches["b"])])
    await house.settle(idle.workflow_id)
    assert not waiting.reply.is_given


async def test_two_that_wait_share_the_work(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    busy, first, launches = pair
    second = await house.hire(first.workflow_id)
    waits = [await first.listen(jobs=1), await second.listen(jobs=1)]
    await busy.report(returned=[ref(launches["b"]), ref(launches["c"])])
    assert sorted(names(await answer_of(waits[0])) + names(await answer_of(waits[1]))) == ["b", "c"]


async def test_a_report_that_waits_is_answered_when_everything_is_over(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 2.2"""
    busy, idle, launches = pair
    waiting = await idle.listen()
    await busy.report(ended=[busy.end(launch, code=1) for launch in launches.values()])
    answer = await answer_of(waiting)
    assert (answer.complete, answer.jobs) == (True, [])


async def test_a_report_waits_no_longer_than_it_wants_to(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    _, idle, _ = pair
    answer = await idle.report(jobs=1, wait_s=0.01)
    assert (answer.jobs, answer.counts) == ([], {"pending": 3, "blocked": 1})
    assert list((await idle.report(jobs=1)).jobs) == []


async def test_no_report_waits_longer_than_the_daemon_lets_it(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "LONGEST_WAIT_S", 0.01)
    _, idle, _ = pair
    assert (await idle.report(jobs=1, wait_s=9999)).jobs == []


async def test_the_next_report_ends_a_wait(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    _, idle, _ = pair
    first = await idle.listen(jobs=1)
    second = await idle.listen(jobs=1)
    assert (await answer_of(first)).jobs == []
    assert not second.reply.is_given


async def test_the_next_report_of_the_same_group_ends_a_wait(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """Both are looked at in one turn: the first has not begun to wait."""
    _, idle, _ = pair
    first, second = house.post(idle.workflow_id, idle.request(jobs=1, wait_s=60), idle.request())
    assert (await answer_of(first)).jobs == []
    assert (await answer_of(second)).jobs == []
    third, fourth = house.post(idle.workflow_id, idle.request(jobs=1, wait_s=60), idle.request(jobs=1, wait_s=60))
    assert (await answer_of(third)).jobs == []
    await house.settle(idle.workflow_id)
    assert not fourth.reply.is_given


async def test_of_two_reports_of_one_worker_only_the_newer_gets_the_work(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """No claim goes to an answer that nobody awaits any more."""
    busy, idle, launches = pair
    first = await idle.listen(jobs=1)
    second, _ = house.post(
        idle.workflow_id, idle.request(jobs=1, wait_s=60), busy.request(returned=[ref(launches["b"])])
    )
    assert (await answer_of(first)).jobs == []
    assert names(await answer_of(second)) == ["b"]
    await house.check(idle.workflow_id)


async def test_a_lost_connection_ends_a_wait_and_gets_nothing(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    waiting = await idle.listen(jobs=5)
    hang_up = idle.hang_up()
    (back,) = house.post(idle.workflow_id, busy.request(returned=[ref(launches["b"])]))
    await answer_of(hang_up)
    await answer_of(back)
    assert (await answer_of(waiting)).jobs == []
    assert (await house.status(idle.workflow_id))["b"] == "ready", "it was not claimed for nobody"


async def test_a_report_and_the_loss_of_its_connection_in_one_group_leave_nobody_waiting(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    (waiting,) = house.post(idle.workflow_id, idle.request(jobs=5, wait_s=60))
    hang_up = idle.hang_up()
    await answer_of(hang_up)
    assert (await answer_of(waiting)).jobs == []
    await busy.report(returned=[ref(launches["b"])])
    await house.settle(idle.workflow_id)
    assert (await house.status(idle.workflow_id))["b"] == "ready"


async def test_a_report_and_a_leave_in_one_group_leave_nobody_waiting(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    waiting, left = house.post(idle.workflow_id, idle.request(jobs=5, wait_s=60), LeaveWorker(worker_id=idle.worker_id))
    await answer_of(left)
    assert (await answer_of(waiting)).jobs == []
    await busy.report(returned=[ref(launches["b"])])
    await house.settle(idle.workflow_id)
    assert (await house.status(idle.workflow_id))["b"] == "ready"


async def test_work_that_appears_in_the_same_group_as_a_wait_is_not_missed(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    waiting, _ = house.post(
        idle.workflow_id, idle.request(jobs=1, wait_s=60), busy.request(returned=[ref(launches["b"])])
    )
    assert names(await answer_of(waiting)) == ["b"]


async def test_a_cancel_in_the_same_group_as_a_wait_is_told(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    _, idle, _ = pair
    waiting, canceled = house.post(
        idle.workflow_id, idle.request(jobs=1, wait_s=60), CancelWorkflow(workflow_id=idle.workflow_id)
    )
    assert (await answer_of(canceled))["canceled"] == 4
    assert (await answer_of(waiting)).complete


async def test_what_is_refused_of_a_report_is_told_at_once_though_it_would_wait(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 5.3, 8.4: a worker kills what was superseded"""
    _, idle, _ = pair
    stranger = AttemptRef(job_id=1, attempt_id=9)
    answer = await idle.report(started=[stranger], jobs=1, wait_s=60)
    assert [(each.job_id, each.why) for each in answer.refused] == [(1, "superseded")]


async def test_a_replayed_end_is_answered_at_once(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    """SEMANTICS 5.3"""
    busy, _, launches = pair
    end = busy.end(launches["b"])
    await busy.report(ended=[end])
    answer = await busy.report(ended=[end], jobs=0, wait_s=60)
    assert answer.refused == []
    different = busy.end(launches["b"], code=1)
    answer = await busy.report(ended=[different], wait_s=60)
    assert [each.why for each in answer.refused] == ["conflict"]


# ---- stopping ----


async def test_a_waiting_worker_is_told_at_once_what_to_stop(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS §2, 5.2"""
    busy, idle, launches = pair
    await busy.report(started=[ref(launches["a"])])
    waiting = await busy.listen(jobs=None)
    await house.send(busy.workflow_id, CancelWorkflow(workflow_id=busy.workflow_id))
    answer = await answer_of(waiting)
    if not answer.stop:  # told that it is over, then what to stop
        answer = await busy.report()
    assert sorted(each.job_id for each in answer.stop) == sorted(launch.job_id for launch in launches.values())
    ends = [busy.end(launch, code=-15, stopped="by_user") for launch in launches.values()]
    answer = await busy.report(ended=ends)
    assert (answer.stop, answer.refused, answer.complete) == ([], [], True)
    assert (await idle.report()).stop == []


async def test_stopped_attempts_of_an_operation_are_told_and_fenced(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 5.2"""
    busy, idle, launches = pair
    waiting = await busy.listen(jobs=None)
    task = await house.run(ResetStatus, busy.workflow_id, stop_live=True, reinitialize=True)
    assert task.status == "succeeded"
    answer = await answer_of(waiting)
    if not answer.stop:
        answer = await busy.report()
    assert sorted(each.job_id for each in answer.stop) == sorted(launch.job_id for launch in launches.values())
    assert await idle.claim() == {}, "their processes may still be alive"
    late = await busy.report(ended=[busy.end(launch) for launch in launches.values()])
    assert [each.why for each in late.refused] == ["superseded"] * len(launches)
    taken = await idle.claim()
    assert {name: launch.attempt_id for name, launch in taken.items()} == dict.fromkeys("abc", 2)
    await house.check(busy.workflow_id)


async def test_a_live_task_conflict_names_the_jobs(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    """SEMANTICS 5.2"""
    busy, _, launches = pair
    task = await house.run(ResetStatus, busy.workflow_id)
    assert (task.status, task.error_code) == ("failed", 409)
    assert task.error_data is not None
    assert sorted(task.error_data["jobs"]) == sorted(launch.job_id for launch in launches.values())


# ---- 8.4 leases and returns ----


async def end_lease(house: House, hand: Hand) -> None:
    """Has the lease of a worker that is away end now."""
    lease = house.actor(hand.workflow_id).roster._entries[hand.worker_id].lease
    assert lease is not None
    await house.send(hand.workflow_id, LeaseEnded(hand.worker_id, lease))


async def test_a_worker_that_stays_away_loses_its_jobs(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    """SEMANTICS 8.4"""
    busy, idle, launches = pair
    await busy.report(started=[ref(launches["a"])])
    await answer_of(busy.hang_up())
    assert (await house.status(busy.workflow_id))["a"] == "running", "it has its lease"
    waiting = await idle.listen()
    await end_lease(house, busy)
    assert names(await answer_of(waiting)) == ["b", "c"]
    assert await house.status(busy.workflow_id) == {"a": "terminated", "b": "pending", "c": "pending", "d": "canceled"}
    assert await house.rows("SELECT is_gone FROM worker ORDER BY id") == [(1,), (0,)]
    await house.check(busy.workflow_id)


async def test_a_lease_ends_by_itself(house: House, pair: tuple[Hand, Hand, dict[str, Any]]) -> None:
    """SEMANTICS 8.4"""
    busy, idle, _ = pair
    house.actor(busy.workflow_id).lease_s = 0.01
    waiting = await idle.listen()
    busy.hang_up()
    assert names(await answer_of(waiting)) == ["a", "b", "c"]


async def test_a_worker_that_comes_back_in_time_keeps_its_jobs(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 8.4"""
    busy, _, launches = pair
    await busy.report(started=[ref(launches["a"])])
    await answer_of(busy.hang_up())
    lease = house.actor(busy.workflow_id).roster._entries[busy.worker_id].lease
    assert lease is not None
    await busy.register(busy.worker_id, [ref(launch) for launch in launches.values()])
    assert busy.registration["lost"] == []
    await house.send(busy.workflow_id, LeaseEnded(busy.worker_id, lease))
    assert await house.status(busy.workflow_id) == {"a": "running", "b": "pending", "c": "pending", "d": "blocked"}
    assert lease.cancel_called


async def test_the_end_of_an_older_connection_does_not_begin_a_lease(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 8.4"""
    busy, _, launches = pair
    older = busy.session
    await busy.register(busy.worker_id, [ref(launch) for launch in launches.values()])
    busy.session, newer = older, busy.session
    await answer_of(busy.hang_up())
    entry = house.actor(busy.workflow_id).roster._entries[busy.worker_id]
    assert (entry.session, entry.lease) == (newer, None)


async def test_a_worker_that_comes_back_late_delivers_what_was_not_superseded(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 8.4"""
    busy, idle, launches = pair
    await busy.report(started=[ref(launch) for launch in launches.values()])
    await answer_of(busy.hang_up())
    await end_lease(house, busy)
    await house.run(Restart, busy.workflow_id)
    taken = await idle.claim(1)
    assert list(taken) == ["a"]
    await busy.register(busy.worker_id, [ref(launch) for launch in launches.values()])
    assert [each.job_id for each in busy.registration["lost"]] == [launch.job_id for launch in launches.values()]
    assert (await house.rows("SELECT is_gone FROM worker WHERE id = ?", busy.worker_id)) == [(0,)]


async def test_running_jobs_of_a_lost_worker_go_on_when_it_returns(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 8.4, §2: terminated (worker_lost) → running"""
    busy, _, launches = pair
    await busy.report(started=[ref(launch) for launch in launches.values()])
    await answer_of(busy.hang_up())
    await end_lease(house, busy)
    assert (await house.status(busy.workflow_id))["b"] == "terminated"
    await busy.register(busy.worker_id, [ref(launch) for launch in launches.values()])
    assert busy.registration["lost"] == []
    answer = await busy.finish(launches["b"])
    assert answer.refused == []
    assert (await house.status(busy.workflow_id))["b"] == "completed"
    await house.check(busy.workflow_id)


async def test_a_worker_that_comes_back_is_told_what_was_canceled(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 8.4"""
    busy, _, launches = pair
    await busy.report(started=[ref(launches["a"])])
    await answer_of(busy.hang_up())
    await house.send(busy.workflow_id, CancelWorkflow(workflow_id=busy.workflow_id))
    await busy.register(busy.worker_id, [ref(launch) for launch in launches.values()])
    answer = await busy.report(wait_s=60)
    assert sorted(each.job_id for each in answer.stop) == sorted(launch.job_id for launch in launches.values())


async def test_registering_again_ends_the_wait_on_the_older_connection(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, idle, launches = pair
    waiting = await idle.listen()
    await idle.register(idle.worker_id)
    assert (await answer_of(waiting)).jobs == []
    await busy.report(returned=[ref(launches["b"])])
    assert list(await idle.claim()) == ["b"]


async def test_after_a_restart_of_the_daemon_leases_begin_anew_and_attempts_are_taken_up(tmp_path: Path) -> None:
    """SEMANTICS 8.4"""
    path, disk = tmp_path / "daemon.db", FakeDisk()
    async with open_house(path, disk) as house:
        workflow_id = await house.create(chained("a>b"))
        await house.run(Initialize, workflow_id)
        hand = await house.hire(workflow_id)
        launches = await hand.claim()
        await hand.report(started=[ref(launches["a"])])
    async with open_house(path, disk) as house:
        hand.house = house
        with pytest.raises(NotFound, match="register again"):
            await hand.report()
        entry = house.actor(workflow_id).roster._entries[hand.worker_id]
        assert (entry.session, entry.lease is not None) == (None, True)
        await hand.register(hand.worker_id, [ref(launches["a"])])
        assert entry.lease is None
        answer = await hand.report(ended=[hand.end(launches["a"])], jobs=1)
        assert (names(answer), answer.refused) == (["b"], [])
        await house.check(workflow_id)


async def test_a_report_whose_answer_was_lost_may_be_sent_again(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    """SEMANTICS 5.3, 8.4"""
    busy, _, launches = pair
    end = busy.end(launches["a"])
    report = busy.request(started=[ref(launches["b"])], ended=[end], returned=[ref(launches["c"])])
    for _ in range(2):
        answer = await house.send(busy.workflow_id, report)
        assert answer.refused == []
    assert await house.status(busy.workflow_id) == {"a": "completed", "b": "running", "c": "ready", "d": "ready"}
    assert await house.rows("SELECT count(*) FROM result") == [(1,)]


async def test_an_unknown_worker_in_a_group_hinders_nobody(
    house: House, pair: tuple[Hand, Hand, dict[str, Any]]
) -> None:
    busy, _, launches = pair
    unknown, known = house.post(
        busy.workflow_id, ReportWorker(worker_id=99), busy.request(ended=[busy.end(launches["a"])])
    )
    assert isinstance(await error_of(unknown), NotFound)
    assert (await answer_of(known)).refused == []


async def test_a_storm_of_workers_runs_every_job_once(house: House) -> None:
    """SEMANTICS 5.3, 8.1: no claim is lost and none is given twice"""
    specs = [job(f"j{number:03d}", depends_on=[f"j{number - 40:03d}"] if number >= 40 else []) for number in range(160)]
    workflow_id = await house.create(specs)
    await house.run(Initialize, workflow_id)
    ran: list[str] = []

    async def live() -> None:
        hand = await house.hire(workflow_id)
        answer = await hand.report(jobs=3, wait_s=60)
        while not answer.complete:
            ran.extend(launch.name for launch in answer.jobs)
            ends = [hand.end(launch) for launch in answer.jobs]
            answer = await hand.report(ended=ends, jobs=3, wait_s=60)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(live)
    assert sorted(ran) == [spec.name for spec in specs]
    assert await house.rows("SELECT count(*) FROM result") == [(160,)]
    await house.check(workflow_id)
