"""The allocator: what it submits, follows and cancels, and what it does while Slurm does not answer."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel
from actor_rig import House, answer_of, open_house, ref
from builders import job, new_workflow
from fake_slurm import DEAD, FakeSlurm
from trio.testing import MockClock

from torcd.actors import submission
from torcd.actors.allocation_notes import MarkCanceled
from torcd.actors.allocator import SETTLE_S, Allocator
from torcd.actors.messages import SyncWorkers
from torcd.actors.pace import LONGEST_PAUSE_S, Pace, parse_poll
from torcd.protocol.address import Places
from torcd.protocol.edits import ArchiveWorkflow
from torcd.protocol.errors import NotFound, Refused, TorcError, Unavailable
from torcd.protocol.requests import CancelWorkflow, DeleteWorkflow, Initialize
from torcd.protocol.slurm import Allocation, ScheduleNodes
from torcd.protocol.specification import ResourceRequirementsSpec, SlurmSchedulerSpec
from torcd.protocol.sync import Synced
from torcd.storage.allocations import load_allocations, load_ids
from torcd.storage.create import insert_workflow


class Office:
    """A house with an allocator, whose looks a test has made one by one."""

    def __init__(self, house: House, slurm: FakeSlurm, allocator: Allocator, directory: Path) -> None:
        self.house = house
        self.slurm = slurm
        self.allocator = allocator
        self.directory = directory

    async def create(self, *schedulers: SlurmSchedulerSpec, jobs: int = 1, **options: Any) -> int:
        """A workflow of ready jobs."""
        new = new_workflow([job(f"j{n}") for n in range(jobs)])
        header = msgspec.structs.replace(
            new.header, slurm_schedulers=list(schedulers or (SlurmSchedulerSpec(name="main"),)), **options
        )
        made = msgspec.structs.replace(new, header=header, directory=str(self.directory))
        workflow_id = await self.house.database.commit(lambda db: insert_workflow(db, made))
        await self.house.run(Initialize, workflow_id)
        return workflow_id

    async def schedule(self, workflow_id: int, count: int = 1, **fields: Any) -> list[Allocation]:
        """Schedules nodes."""
        request = ScheduleNodes(workflow_id=workflow_id, count=count, environment={"PATH": "/bin"}, **fields)
        try:
            return (await self.allocator.schedule(workflow_id, request)).allocations
        finally:
            await self.look()  # which it does by itself after a submission, sooner or later

    async def look(self, times: int = 1) -> None:
        """Has the allocator look."""
        for _ in range(times):
            await self.allocator.refresh()

    async def rows(self, workflow_id: int) -> list[Allocation]:
        """The workflow's allocations."""
        return await self.house.database.read(lambda db: load_allocations(db, load_ids(db, workflow_id)))

    async def statuses(self, workflow_id: int) -> list[str]:
        """Their statuses."""
        return [each.status for each in await self.rows(workflow_id)]


@asynccontextmanager
async def open_office(tmp_path: Path, slurm: FakeSlurm, poll_s: float = 3600) -> AsyncIterator[Office]:
    places = Places(
        database=tmp_path / "torc.db",
        socket=tmp_path / "torcd.sock",
        connection_file=tmp_path / "connect.json",
        log=tmp_path / "torcd.log",
    )
    async with open_house(places.database) as house:
        allocator = Allocator(house.database, house.supervisor, slurm, places, poll_s=poll_s)  # type: ignore[arg-type]  # fakes
        async with trio.open_nursery() as nursery:
            await nursery.start(allocator.run)
            yield Office(house, slurm, allocator, tmp_path)
            nursery.cancel_scope.cancel()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(tmp_path, FakeSlurm()) as opened:
        yield opened


async def test_each_allocation_is_a_job_of_its_own_with_a_script_and_a_log_entry(office: Office) -> None:
    workflow_id = await office.create()
    found = await office.schedule(workflow_id, 2, requested_by="me@host")
    assert [(each.status, each.slurm_job_id) for each in found] == [("pending", 101), ("pending", 102)]
    assert [each.job_name for each in found] == office.slurm.submissions
    assert len(list((office.directory / f".torc/{workflow_id}").glob("slurm_*.sh"))) == 2
    kinds = await office.house.rows("SELECT kind, data FROM event WHERE workflow_id = ? ORDER BY seq", workflow_id)
    assert [kind for kind, _ in kinds][-2:] == ["nodes_scheduled", "allocations_changed"]


async def test_a_request_that_is_repeated_under_its_key_submits_nothing_again(office: Office) -> None:
    """SEMANTICS 6.4"""
    workflow_id = await office.create()
    first = await office.schedule(workflow_id, 2, request_key="k")
    again = await office.schedule(workflow_id, 2, request_key="k")
    assert [each.id for each in again] == [each.id for each in first]
    assert len(office.slurm.submissions) == 2


async def test_allocations_are_followed_with_one_look_for_all_workflows(office: Office) -> None:
    one, two = await office.create(), await office.create()
    await office.schedule(one)
    await office.schedule(two)
    office.slurm.move("RUNNING")
    await office.look()
    before = office.slurm.looks
    await office.look()
    assert office.slurm.looks == before + 1
    assert await office.statuses(one) == await office.statuses(two) == ["active"]
    office.slurm.move("TIMEOUT")
    await office.look()
    (row,) = await office.rows(one)
    assert (row.status, row.slurm_state) == ("complete", "TIMEOUT")
    assert None not in (row.submitted_at, row.started_at, row.ended_at)


async def test_nothing_is_asked_of_slurm_while_no_allocation_is_open(office: Office) -> None:
    workflow_id = await office.create()
    await office.look()
    assert office.slurm.looks == 0
    await office.schedule(workflow_id)
    office.slurm.move("COMPLETED")
    await office.look()
    looks = office.slurm.looks
    await office.look()
    assert office.slurm.looks == looks


async def test_while_slurm_does_not_answer_no_status_changes(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.move("RUNNING")
    await office.look()
    office.slurm.is_dead = True
    await office.look(3)
    (row,) = await office.rows(workflow_id)
    shown = office.allocator.show(row)
    assert (row.status, shown.status) == ("active", "active")
    assert shown.slurm_state is not None
    assert shown.slurm_state.startswith("unknown since 2")
    assert DEAD in (shown.slurm_reason or "")
    health = office.allocator.health()
    assert health is not None
    assert (health.open_allocations, health.error) == (1, f"squeue: {DEAD}")
    office.slurm.is_dead = False
    await office.look()
    assert office.allocator.show(row).slurm_state == "RUNNING"


async def test_a_scheduler_that_stays_silent_is_asked_ever_more_rarely(autojump_clock: MockClock) -> None:
    pace, pauses = Pace(30), []
    for _ in range(8):
        pace.note_trouble("silent")
        pauses.append(pace.pause_s)
        await trio.sleep(pace.pause_s)
    assert pauses == [30, 60, 120, 240, 480, *[LONGEST_PAUSE_S] * 3]
    pace.note_answer()
    assert pace.pause_s == 30


async def test_users_who_ask_again_and_again_do_not_put_off_the_next_look(autojump_clock: MockClock) -> None:
    pace = Pace(30)
    pace.note_trouble("silent")
    for _ in range(9):
        await trio.sleep(3)
        pace.note_trouble("silent still")
    assert pace.pause_s == 3
    await trio.sleep(3)
    pace.check()
    assert pace.pause_s == 30


async def test_a_refusal_stops_the_request_and_is_told_in_slurms_words_with_advice(office: Office) -> None:
    workflow_id = await office.create()
    office.slurm.refusal = "sbatch: error: Batch job submission failed: Invalid account"
    with pytest.raises(Refused, match=r"Invalid account.*sacctmgr show associations") as caught:
        await office.schedule(workflow_id, 3)
    assert len(office.slurm.submissions) == 1
    assert await office.statuses(workflow_id) == ["refused"] * 3
    assert caught.value.data["allocations"] == [each.id for each in await office.rows(workflow_id)]
    office.slurm.refusal = None
    assert [each.status for each in await office.schedule(workflow_id)] == ["pending"]


async def test_after_no_answer_nothing_more_is_submitted_until_it_is_time_for_one_try(office: Office) -> None:
    workflow_id = await office.create()
    office.slurm.is_dead = True
    with pytest.raises(Unavailable, match="looked up by its name"):
        await office.schedule(workflow_id, 3)
    assert len(office.slurm.submissions) == 1
    assert await office.statuses(workflow_id) == ["submitting", "refused", "refused"]
    with pytest.raises(Unavailable, match=r"nothing was submitted\. The next try may be made in"):
        await office.schedule(workflow_id, 3)
    assert len(office.slurm.submissions) == 1
    office.slurm.is_dead = False
    await office.look()  # it answers
    assert [each.status for each in await office.schedule(workflow_id, 2)] == ["pending"] * 2


async def test_a_job_that_was_accepted_without_an_answer_is_adopted_and_not_submitted_again(office: Office) -> None:
    workflow_id = await office.create()
    office.slurm.takes_and_dies = 1
    with suppress(Unavailable):  # it is told of, unless a look has found it by then
        await office.schedule(workflow_id)
    await office.look()
    (row,) = await office.rows(workflow_id)
    assert (row.status, row.slurm_job_id, row.error) == ("pending", 101, None)
    assert len(office.slurm.submissions) == 1


async def test_a_job_that_was_not_accepted_is_refused_once_slurm_says_so_and_it_is_settled(office: Office) -> None:
    workflow_id = await office.create()
    office.slurm.is_dead = True
    with pytest.raises(Unavailable):
        await office.schedule(workflow_id)
    office.slurm.is_dead = False
    await office.house.database.commit(lambda db: db.execute("UPDATE allocation SET created_at_ms = 1"))
    await office.look(3)
    assert await office.statuses(workflow_id) == ["submitting"]  # for however long another daemon was at it
    (row,) = await office.rows(workflow_id)
    office.allocator._missed_at[row.id] -= SETTLE_S
    await office.look()
    (row,) = await office.rows(workflow_id)
    assert (row.status, row.error) == ("refused", f"sbatch: {DEAD}; Slurm does not have it")


async def test_rows_of_a_daemon_that_was_killed_before_the_answer_are_adopted_by_the_next(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    async with open_office(tmp_path, slurm) as office:
        workflow_id = await office.create()
        await office.schedule(workflow_id, 2)
        await office.house.database.commit(
            lambda db: db.execute("UPDATE allocation SET status = 'submitting', slurm_job_id = NULL")
        )
    async with open_office(tmp_path, slurm) as office:
        await office.look()
        assert [(each.status, each.slurm_job_id) for each in await office.rows(workflow_id)] == [
            ("pending", 101),
            ("pending", 102),
        ]
        assert len(slurm.submissions) == 2


async def test_what_left_the_queue_is_looked_for_in_the_accounting_after_two_looks(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    ((name, seen),) = office.slurm.jobs.items()
    office.slurm.jobs, office.slurm.ended = {}, {name: seen._replace(state="OUT_OF_MEMORY")}
    await office.look()
    assert await office.statuses(workflow_id) == ["pending"]
    await office.look()
    (row,) = await office.rows(workflow_id)
    assert (row.status, row.slurm_state) == ("complete", "OUT_OF_MEMORY")


async def test_what_nobody_knows_any_more_has_ended_in_an_unknown_way(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.jobs = {}
    await office.look(3)
    (row,) = await office.rows(workflow_id)
    assert (row.status, row.slurm_state) == ("complete", "UNKNOWN")


async def test_one_that_is_requeued_after_its_end_is_open_again(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    other = (await office.schedule(workflow_id))[0]
    first = (await office.rows(workflow_id))[0]
    office.slurm.jobs[first.job_name] = office.slurm.jobs[first.job_name]._replace(state="COMPLETED")
    await office.look()
    assert await office.statuses(workflow_id) == ["complete", "pending"]
    office.slurm.move("RUNNING")
    await office.look()
    assert await office.statuses(workflow_id) == ["active", "active"]
    assert (await office.rows(workflow_id))[0].ended_at is None
    assert other.id != first.id


async def test_queued_ones_are_canceled_by_name_when_their_workflow_has_nothing_left(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id, 2)
    first, second = await office.rows(workflow_id)
    office.slurm.jobs[first.job_name] = office.slurm.jobs[first.job_name]._replace(state="RUNNING")
    await office.look()
    assert office.slurm.cancels == []
    hand = await office.house.hire(workflow_id)
    await hand.work()
    await office.look()
    assert office.slurm.cancels == [(second.job_name, second.slurm_job_id)]
    await office.look()
    assert await office.statuses(workflow_id) == ["active", "complete"]


async def test_queued_ones_are_kept_when_their_workflow_got_something_to_do_meanwhile(office: Office) -> None:
    workflow_id = await office.create()
    (made,) = await office.schedule(workflow_id)
    late = MarkCanceled([made.id], "its workflow has nothing left to run", only_if_over=True)
    assert await office.house.send(workflow_id, late) == ()
    await office.look()
    assert office.slurm.cancels == []


async def test_queued_ones_are_canceled_when_their_workflow_is_archived(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    await office.house.send(workflow_id, ArchiveWorkflow(workflow_id=workflow_id))
    await office.look(2)
    assert await office.statuses(workflow_id) == ["complete"]


async def test_cancel_of_a_workflow_takes_queued_ones_at_once_and_active_ones_after_a_while(
    office: Office,
) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.move("RUNNING")
    await office.look()
    await office.house.send(workflow_id, CancelWorkflow(workflow_id=workflow_id))
    await office.look()
    assert office.slurm.cancels == []
    office.allocator._canceled_at[workflow_id] -= 61
    await office.look()
    assert len(office.slurm.cancels) == 1


async def test_a_user_cancels_some_or_all_and_what_slurm_could_not_be_told_is_told_later(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id, 3)
    first, *_ = await office.rows(workflow_id)
    done = await office.allocator.cancel(workflow_id, [first.id], "me@host")
    assert [each.id for each in done.allocations] == [first.id]
    assert [name for name, _ in office.slurm.cancels] == [first.job_name]
    office.slurm.is_dead = True
    told = await office.allocator.cancel(workflow_id, None, "me@host")
    assert "Slurm has not answered since" in told.warnings[-1]
    office.slurm.is_dead = False
    await office.look(2)
    assert await office.statuses(workflow_id) == ["complete"] * 3
    with pytest.raises(NotFound, match="no allocation 99"):
        await office.allocator.cancel(workflow_id, [99], "")


async def test_a_workflow_with_open_allocations_is_not_deleted(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    with pytest.raises(Refused, match=r"an allocation of Slurm.*slurm cancel"):
        await office.house.send(workflow_id, DeleteWorkflow(workflow_id=workflow_id))
    office.slurm.move("COMPLETED")
    await office.look()
    await office.house.send(workflow_id, DeleteWorkflow(workflow_id=workflow_id))
    assert await office.house.rows("SELECT count(*) FROM allocation") == [(0,)]


A, B = SlurmSchedulerSpec(name="a"), SlurmSchedulerSpec(name="b")


@pytest.mark.parametrize(
    ("schedulers", "name", "error", "told"),
    [
        ([A, B], None, Refused, "2 Slurm schedulers: say which one, --scheduler a or b"),
        ([A, B], "c", NotFound, "no Slurm scheduler 'c'; it has: a, b"),
        ([SlurmSchedulerSpec(extra="--array=1-3")], None, Refused, "--array is set by torcd itself"),
    ],
)
async def test_what_cannot_be_submitted_is_refused_before_there_is_a_row(
    office: Office, schedulers: list[SlurmSchedulerSpec], name: str | None, error: type[TorcError], told: str
) -> None:
    workflow_id = await office.create(*schedulers)
    with pytest.raises(error, match=told):
        await office.schedule(workflow_id, scheduler=name)
    assert await office.rows(workflow_id) == []


async def test_time_and_memory_that_are_asked_for_go_before_the_schedulers(office: Office) -> None:
    scheduler = SlurmSchedulerSpec(name="main", walltime="01:00:00", mem="1G")
    workflow_id = await office.create(scheduler)
    (row,) = await office.schedule(workflow_id, walltime="02:30:00", mem="2G")
    assert (row.walltime_s, row.memory_bytes) == (9000, 2 * 2**30)
    script = (office.directory / ".torc" / str(workflow_id) / f"slurm_{row.id}.sh").read_text()
    for line in ("#SBATCH --time=02:30:00", "#SBATCH --mem=2G", "export TORC_WALLTIME_S=9000"):
        assert line in script
    (row,) = await office.schedule(workflow_id)
    assert (row.walltime_s, row.memory_bytes) == (3600, None)


@pytest.mark.parametrize("wrong", [{"walltime": "2h"}, {"walltime": "00:00:00"}, {"mem": "much"}, {"mem": "1G"}])
async def test_time_and_memory_that_cannot_be_asked_for_are_refused(office: Office, wrong: dict[str, str]) -> None:
    workflow_id = await office.create(SlurmSchedulerSpec(name="main", extra="--mem-per-cpu=1G"))
    with pytest.raises(Refused):
        await office.schedule(workflow_id, **wrong)
    assert await office.rows(workflow_id) == []


async def test_nodes_of_an_archived_workflow_and_in_a_missing_directory_are_refused(office: Office) -> None:
    """SEMANTICS 5.5"""
    workflow_id = await office.create()
    await office.house.send(workflow_id, ArchiveWorkflow(workflow_id=workflow_id))
    with pytest.raises(Refused, match="archived"):
        await office.schedule(workflow_id)
    office.directory = office.directory / "gone"
    with pytest.raises(Refused, match="gone is not there"):
        await office.schedule(await office.create())


async def test_a_job_that_slurm_will_never_start_is_warned_of(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.move("PENDING", "PartitionTimeLimit")
    (warning,) = (await office.allocator.load_open(workflow_id)).warnings
    assert "waits in vain, says Slurm: PartitionTimeLimit" in warning


async def test_jobs_that_no_worker_of_an_allocation_would_start_are_warned_of(office: Office) -> None:
    """SEMANTICS 8.1"""
    needs = [ResourceRequirementsSpec(name="hour"), ResourceRequirementsSpec(name="long", runtime="PT1H1S")]
    jobs = [
        job("a", resource_requirements="hour"),
        job("b", resource_requirements="long"),
        job("c", resource_requirements="long", scheduler="other", depends_on=["b"]),
        job("d"),
    ]
    schedulers = [SlurmSchedulerSpec(name=name, walltime="01:00:00") for name in ("main", "other")]
    new = new_workflow(jobs, resource_requirements=needs, slurm_schedulers=schedulers)
    made = msgspec.structs.replace(new, directory=str(office.directory))
    workflow_id = await office.house.database.commit(lambda db: insert_workflow(db, made))
    for name, told in (("main", "1 of 3 jobs can never start"), ("other", "2 of 4 jobs can never start")):
        request = ScheduleNodes(workflow_id=workflow_id, scheduler=name, environment={"PATH": "/bin"})
        warnings = (await office.allocator.schedule(workflow_id, request)).warnings
        assert told in warnings[-1]
        assert "1:00:01 ('long')" in warnings[-1]


async def test_what_could_not_be_written_is_found_out_again(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.move("RUNNING")
    office.house.database.failing_commits = 1
    await office.look()
    assert await office.statuses(workflow_id) == ["pending"]
    await office.look()
    assert await office.statuses(workflow_id) == ["active"]


@pytest.mark.parametrize("text", ["soon", "0", "nan", "4000"])
def test_an_interval_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="slurm_poll"):
        parse_poll(text)


async def test_a_worker_that_is_away_is_let_go_of_when_slurm_says_that_its_allocation_has_ended(office: Office) -> None:
    """INTERFACE §2: sync-status; one that is connected is there, whatever Slurm says"""
    workflow_id = await office.create(jobs=2)
    (made,) = await office.schedule(workflow_id)
    away = await office.house.hire(workflow_id, hostname="node1", allocation_id=made.id)
    there = await office.house.hire(workflow_id, hostname="node2", allocation_id=made.id)
    launches = await away.claim(1)
    await away.report(started=[ref(launch) for launch in launches.values()])
    await there.claim(1)
    await answer_of(away.hang_up())

    async def sync() -> Synced:
        ended = await office.allocator.find_ended(workflow_id)
        synced = await office.house.send(workflow_id, SyncWorkers(dry_run=False, ended=ended))
        assert isinstance(synced, Synced)
        return synced

    assert (await sync()).count == 0
    office.slurm.move("TIMEOUT")
    synced = await sync()
    (lost,) = synced.jobs
    assert (lost.from_, lost.to) == ("running", "terminated")
    assert lost.reasons[0]["allocation_id"] == made.id
    assert lost.reasons[0]["slurm_state"] == "TIMEOUT"
    assert [(each.id, each.allocation_id, each.is_released) for each in synced.workers] == [
        (away.worker_id, made.id, True),
        (there.worker_id, made.id, False),
    ]


async def test_whoever_repeats_a_request_while_it_is_carried_out_waits_for_its_answer(office: Office) -> None:
    """SEMANTICS 6.4"""
    workflow_id = await office.create()
    answers: list[list[int]] = []

    async def ask() -> None:
        answers.append([each.id for each in await office.schedule(workflow_id, 3, request_key="k")])

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert answers == [answers[0]] * 3
    assert len(office.slurm.submissions) == 3


@pytest.mark.parametrize("environment", [{"A": "\0"}, {"A=B": "c"}, {"": "x"}])
async def test_an_environment_that_no_process_can_have_is_refused(office: Office, environment: dict[str, str]) -> None:
    workflow_id = await office.create()
    request = ScheduleNodes(workflow_id=workflow_id, environment=environment)
    with pytest.raises(Refused, match="is no variable that a process can be given"):
        await office.allocator.schedule(workflow_id, request)
    with pytest.raises(NotFound, match="no workflow 99"):
        await office.allocator.schedule(99, request)


async def test_a_request_whose_caller_was_lost_before_its_turn_came_is_not_carried_out_twice(office: Office) -> None:
    """SEMANTICS 6.4"""
    one, two = await office.create(), await office.create()
    office.slurm.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.schedule, one)
        while not office.slurm.submissions:
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(0.1):
            await office.schedule(two, 2, request_key="k")
        office.slurm.gate.set()
        again = await office.schedule(two, 2, request_key="k")
    assert [each.status for each in again] == ["pending"] * 2
    assert await office.statuses(two) == ["pending"] * 2
    assert len(office.slurm.submissions) == 3


async def test_a_directory_that_another_request_makes_at_the_same_time_stands_in_nobodys_way(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await office.create()
    mkdir = os.mkdir

    def late(path: str) -> None:
        mkdir(path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", late)
    assert [each.status for each in await office.schedule(workflow_id)] == ["pending"]


async def test_keys_are_a_workflows_own(office: Office) -> None:
    one, two = await office.create(), await office.create()
    office.slurm.gate = trio.Event()
    made: dict[int, list[int]] = {}

    async def ask(workflow_id: int) -> None:
        made[workflow_id] = [each.workflow_id for each in await office.schedule(workflow_id, request_key="k")]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, one)
        nursery.start_soon(ask, two)
        while not office.slurm.submissions:
            await trio.lowlevel.checkpoint()
        office.slurm.gate.set()
    assert made == {one: [one], two: [two]}


async def test_what_a_killed_daemon_did_not_come_to_is_submitted_when_the_request_is_repeated(tmp_path: Path) -> None:
    """What Slurm has is found first: nothing is submitted twice, and nothing forgotten."""
    slurm = FakeSlurm()
    async with open_office(tmp_path, slurm) as office:
        workflow_id = await office.create()
        _, adopted, lost = await office.schedule(workflow_id, 3, request_key="k")
        await office.house.database.commit(
            lambda db: db.execute(
                "UPDATE allocation SET status = 'submitting', slurm_job_id = NULL, slurm_state = NULL WHERE id > 1"
            )
        )
        del slurm.jobs[lost.job_name]
    async with open_office(tmp_path, slurm, poll_s=0.1) as office:
        with trio.fail_after(10):
            for _ in range(2):
                found = await office.schedule(workflow_id, 3, request_key="k")
                assert [(each.id, each.status) for each in found] == [(1, "pending"), (2, "pending"), (4, "pending")]
        assert found[1].slurm_job_id == adopted.slurm_job_id
        assert await office.statuses(workflow_id) == ["pending", "pending", "refused", "pending"]
        assert len(slurm.submissions) == 4


async def test_what_slurm_did_not_answer_is_submitted_when_the_request_is_repeated(tmp_path: Path) -> None:
    """Once it is known that Slurm does not have it; until then a repetition makes nothing new."""
    async with open_office(tmp_path, slurm := FakeSlurm(), poll_s=0.1) as office:
        workflow_id = await office.create()
        slurm.is_dead = True
        for _ in range(3):
            with pytest.raises(Unavailable):
                await office.schedule(workflow_id, 2, request_key="k")
            await trio.sleep(0.1)
        assert await office.statuses(workflow_id) == ["submitting", "refused"]
        slurm.is_dead = False
        await office.look()  # it answers
        with trio.fail_after(10):
            found = await office.schedule(workflow_id, 2, request_key="k")
        assert [(each.id, each.status) for each in found] == [(3, "pending"), (4, "pending")]
        assert await office.statuses(workflow_id) == ["refused", "refused", "pending", "pending"]


async def test_what_slurm_has_refused_is_not_submitted_again(office: Office) -> None:
    workflow_id = await office.create()
    office.slurm.refusal = "sbatch: error: Batch job submission failed: Invalid account"
    for _ in range(2):
        with pytest.raises(Refused, match="Invalid account"):
            await office.schedule(workflow_id, 2, request_key="k")
    assert len(office.slurm.submissions) == 1


async def test_while_nobody_can_tell_what_became_of_an_allocation_it_stays_as_it_was(office: Office) -> None:
    """squeue may answer with nothing although the controller is not there: that says nothing."""
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.jobs, office.slurm.is_half_dead = {}, True
    await office.look(3)
    assert await office.statuses(workflow_id) == ["pending"]
    assert office.allocator.pace.trouble is not None
    office.slurm.is_half_dead = False
    await office.look()
    assert await office.statuses(workflow_id) == ["complete"]


async def test_after_a_cancel_without_an_answer_the_others_wait_for_the_next_look(office: Office) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id, 3)
    office.slurm.is_deaf = True
    await office.allocator.cancel(workflow_id, None, "me@host")
    assert len(office.slurm.cancels) == 1
    office.slurm.is_deaf = False
    await office.look(2)
    assert await office.statuses(workflow_id) == ["complete"] * 3


async def test_what_slurm_does_not_list_is_not_canceled_in_vain(office: Office) -> None:
    """After a night without the daemon hundreds may have ended, each of which would be a call of scancel."""
    workflow_id = await office.create()
    await office.schedule(workflow_id, 2)
    kept, _ = await office.rows(workflow_id)
    office.slurm.jobs = {kept.job_name: office.slurm.jobs[kept.job_name]}
    await office.allocator.cancel(workflow_id, None, "me@host")
    assert [name for name, _ in office.slurm.cancels] == [kept.job_name]


@pytest.mark.parametrize("cancels_workflow", [True, False])
async def test_what_is_canceled_before_its_turn_is_not_submitted(office: Office, cancels_workflow: bool) -> None:
    workflow_id = await office.create()
    office.slurm.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.schedule, workflow_id, 3)
        while not office.slurm.submissions:
            await trio.lowlevel.checkpoint()
        if cancels_workflow:
            await office.house.send(workflow_id, CancelWorkflow(workflow_id=workflow_id))
            await office.look()
        else:
            await office.allocator.cancel(workflow_id, None, "me@host")
        office.slurm.gate.set()
    await office.look()
    rows = await office.rows(workflow_id)
    assert [each.status for each in rows] == ["complete", "refused", "refused"]
    assert rows[2].error == "canceled before it was submitted"
    assert len(office.slurm.submissions) == 1


async def test_those_that_are_submitted_are_followed_while_the_rest_of_their_request_waits(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "FLUSH_S", -1.0)
    workflow_id = await office.create()
    second = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.schedule, workflow_id, 2)
        while not office.slurm.submissions:
            await trio.lowlevel.checkpoint()
        office.slurm.gate = second
        while len(office.slurm.submissions) < 2:
            await trio.lowlevel.checkpoint()
        office.slurm.move("RUNNING")
        await office.look()
        assert await office.statuses(workflow_id) == ["active", "submitting"]
        second.set()


async def test_a_bug_costs_a_look_or_a_request_and_nothing_else(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    workflow_id = await office.create()
    await office.schedule(workflow_id)
    office.slurm.bug = ValueError("no such thing")
    await office.look()
    with pytest.raises(TorcError, match="because of a bug in torcd"):
        await office.schedule(workflow_id)
    office.slurm.bug = None
    office.slurm.move("RUNNING")
    await office.look()
    assert (await office.statuses(workflow_id))[0] == "active"
    assert "no such thing" in caplog.text


async def test_jobs_that_nobody_gives_an_environment_do_not_get_what_is_the_daemons_alone(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("COLOUR", "blue")
    workflow_id = await office.create()
    await office.allocator.schedule(workflow_id, ScheduleNodes(workflow_id=workflow_id))
    assert office.slurm.environment["COLOUR"] == "blue"
    assert "NOTIFY_SOCKET" not in office.slurm.environment


async def test_a_script_is_not_written_through_what_another_user_may_have_put_in_its_place(office: Office) -> None:
    """Slurm would run what stands there."""
    workflow_id = await office.create()
    output, target = office.directory / f".torc/{workflow_id}", office.directory / "precious"
    output.mkdir(parents=True)
    target.write_text("kept")
    (output / "slurm_1.sh").symlink_to(target)
    await office.schedule(workflow_id)
    assert target.read_text() == "kept"
    assert (output / "slurm_1.sh").stat().st_mode & 0o777 == 0o700
