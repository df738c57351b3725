"""A worker whose time is limited, up to the end of it: real processes, real frames."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio
from session_rig import TWO, read_pid, until_gone, working
from worker_daemon import FakeDaemon, launch

from torcctl.worker.process import Process
from torcctl.worker.resources import Offer
from torcctl.worker.sampling import Sampler
from torcctl.worker.time_left import TimeLeft
from torcctl.worker.timekeeper import Timekeeper

UNTIL_GO = "while [ ! -e go ]; do sleep 0.01; done"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with FakeDaemon(tmp_path).serving() as daemon:
        yield daemon


class Hourglass(Timekeeper):
    """Time that is nearly up when a test turns it: only grace and margin are left then."""

    def __init__(self, *, grace_s: float) -> None:
        super().__init__(TimeLeft(grace_s=grace_s), limit_s=100_000.0)
        self._turned = trio.Event()

    async def wait_for_drain(self) -> None:
        await self._turned.wait()

    def turn(self) -> None:
        """The grace begins."""
        left_s = self.time_left.grace_s + self.time_left.margin_s
        self.time_left.limit(left_s, trio.current_time())
        self._turned.set()


async def test_a_claim_tells_how_much_time_is_left(daemon: FakeDaemon) -> None:
    """SEMANTICS 8.1"""
    daemon.ready.append(launch(1))
    async with working(daemon, timekeeper=Timekeeper(TimeLeft(grace_s=30), limit_s=1000)) as work:
        await work.result()
    claims = [report.capacity for report in daemon.reports if report.capacity is not None]
    assert claims
    assert {claim.time_left_s for claim in claims} == {1000.0}, "in the beginning all of it"


async def test_without_a_limit_nothing_is_said_of_time(daemon: FakeDaemon) -> None:
    daemon.ready.append(launch(1))
    async with working(daemon) as work:
        await work.result()
    assert {report.capacity.time_left_s for report in daemon.reports if report.capacity is not None} == {None}


async def test_a_job_that_has_no_time_to_end_any_more_is_handed_back(daemon: FakeDaemon) -> None:
    """SEMANTICS 8.1: the worker looks again before it starts a job"""
    daemon.ready.extend([launch(1, runtime_s=500), launch(2, runtime_s=50), launch(3, runtime_s=0)])
    daemon.never_complete = True
    async with working(daemon, timekeeper=Timekeeper(TimeLeft(grace_s=30), limit_s=400)):
        await daemon.until(lambda: len(daemon.ended) == 2 and bool(daemon.returned))
    assert (1, 1) in daemon.returned
    assert set(daemon.ended) == {(2, 1), (3, 1)}


async def test_near_the_end_nothing_is_started_and_only_jobs_that_support_it_are_asked_to_end(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    """SEMANTICS §2, 8.1: the others get all of the time, and end well if they can."""
    hourglass = Hourglass(grace_s=20)
    for number in (1, 2):
        os.mkfifo(tmp_path / f"pipe{number}")
    saves = "trap 'echo saved; exit 0' TERM; echo $$ > pipe1; while :; do sleep 0.01; done"
    daemon.ready.append(launch(1, saves, supports_termination=True))
    daemon.ready.append(launch(2, f"trap 'echo disturbed' TERM; echo $$ > pipe2; {UNTIL_GO}"))
    daemon.ready.append(launch(3))
    async with working(daemon, timekeeper=hourglass, grace_s=1) as work:
        await daemon.until(lambda: len(daemon.running) == 2)
        for number in (1, 2):
            await read_pid(tmp_path / f"pipe{number}")
        hourglass.turn()
        await daemon.until(lambda: (1, 1) in daemon.ended)
        (tmp_path / "go").touch()
        outcome = await work.result()
    assert (daemon.ended[1, 1].stopped, daemon.ended[1, 1].return_code) == ("walltime", 0)
    assert (daemon.ended[2, 1].stopped, daemon.ended[2, 1].return_code) == (None, 0)
    assert [(tmp_path / f".torc/7/job_{n}_1.o").read_text() for n in (1, 2)] == ["saved\n", ""]
    assert [job.job_id for job in daemon.ready] == [3]
    assert (outcome.is_out_of_time, outcome.interrupted, outcome.complete) == (True, False, False)
    assert daemon.left == 1


async def test_what_runs_at_the_end_is_killed_and_reported_before_the_worker_is(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    """SEMANTICS §2: running → terminated (walltime)"""
    hourglass = Hourglass(grace_s=0.2)
    for number in (1, 2):
        os.mkfifo(tmp_path / f"pipe{number}")
    obstinate = "trap '' TERM; echo $$ > pipe$TORC_JOB_ID; sleep 100; :"
    daemon.ready.extend([launch(1, obstinate), launch(2, obstinate, supports_termination=True)])
    async with working(daemon, timekeeper=hourglass) as work:
        for number in (1, 2):
            await read_pid(tmp_path / f"pipe{number}")  # a job that has begun may not have set its trap yet
        await daemon.until(lambda: len(daemon.running) == 2)
        hourglass.turn()
        await work.result()
        assert trio.current_time() < hourglass.time_left.end_at
    assert {(end.stopped, end.return_code) for end in daemon.ended.values()} == {("walltime", 137)}


async def test_a_worker_that_is_told_to_end_when_its_time_is_up_says_that_it_was_that(daemon: FakeDaemon) -> None:
    """SEMANTICS §2: Slurm's own TERM comes at the end of the time"""
    hourglass = Hourglass(grace_s=20)
    daemon.ready.append(launch(1, "sleep 100; :"))
    async with working(daemon, timekeeper=hourglass) as work:
        await daemon.until(lambda: len(daemon.running) == 1)
        hourglass.turn()
        await daemon.until(lambda: daemon.reports[-1].capacity is None)
        work.session.shut_down()
        outcome = await work.result()
    assert daemon.ended[1, 1].stopped == "walltime"
    assert (outcome.is_out_of_time, outcome.interrupted) == (True, True)


@pytest.mark.parametrize(
    ("answer", "supports_termination", "code"), [("exit 5", False, 5), ("exit 0", True, 0)], ids=["fails", "saves"]
)
async def test_a_job_that_saw_slurms_signal_before_its_worker_did_has_not_failed(
    daemon: FakeDaemon, tmp_path: Path, answer: str, supports_termination: bool, code: int
) -> None:
    """SEMANTICS §2: running → terminated, killed by the worker's shutdown; Slurm signals all processes of its job."""
    os.mkfifo(tmp_path / "pipe")
    signalled = f"trap '{answer}' TERM; echo $$ > pipe; while :; do sleep 0.01; done"
    daemon.ready.append(launch(1, signalled, supports_termination=supports_termination))
    daemon.never_complete = True
    async with working(daemon, doubt_s=1000) as work:
        pid = await read_pid(tmp_path / "pipe")
        os.kill(pid, signal.SIGTERM)
        await until_gone(pid)
        work.session.shut_down()
        await work.result()
    assert (daemon.ended[1, 1].stopped, daemon.ended[1, 1].return_code) == ("worker_shutdown", code)


async def test_a_job_that_ends_badly_in_a_slurm_job_is_told_of_a_moment_later(daemon: FakeDaemon) -> None:
    daemon.ready.extend([launch(1, "exit 5"), launch(2)])
    async with working(daemon, doubt_s=0.05) as work:
        outcome = await work.result()
    assert outcome.complete
    assert {key[0]: (end.return_code, end.stopped) for key, end in daemon.ended.items()} == {1: (5, None), 2: (0, None)}


async def test_an_idle_worker_ends_when_its_time_is_nearly_up(daemon: FakeDaemon) -> None:
    daemon.never_complete = True
    hourglass = Hourglass(grace_s=20)
    async with working(daemon, timekeeper=hourglass) as work:
        await daemon.until(lambda: any(report.wait_s for report in daemon.reports))
        hourglass.turn()
        outcome = await work.result(timeout_s=30)
    assert (outcome.is_out_of_time, daemon.left) == (True, 1)


async def test_a_worker_may_stay_for_jobs_that_become_ready_later(daemon: FakeDaemon) -> None:
    """SEMANTICS 8.1: it waits on the daemon and does not poll"""
    daemon.ready.append(launch(1))
    async with working(daemon, linger_s=1000) as work:
        await daemon.until(lambda: any(report.lingers for report in daemon.reports))
        daemon.ready.append(launch(2))
        daemon.poke()
        await daemon.until(lambda: (2, 1) in daemon.ended)
        reports = len(daemon.reports)
        await daemon.until(lambda: daemon.reports[-1].lingers)
        assert len(daemon.reports) - reports <= 2
        assert not work.over.is_set()
        work.session.shut_down()
        await work.result()


async def test_a_worker_that_stayed_long_enough_ends(daemon: FakeDaemon) -> None:
    daemon.ready.append(launch(1))
    async with working(daemon, linger_s=0.2) as work:
        outcome = await work.result(timeout_s=30)
    assert outcome.complete
    assert any(report.lingers for report in daemon.reports)


async def test_jobs_get_gpus_of_their_own(daemon: FakeDaemon, tmp_path: Path) -> None:
    """SEMANTICS 8.1"""
    offer = Offer(num_cpus=4, memory_bytes=2**30, num_gpus=3, devices=("4", "5", "7"))
    tell = 'echo "$CUDA_VISIBLE_DEVICES" > gpus.$TORC_JOB_ID; ' + UNTIL_GO
    daemon.ready.extend([launch(1, tell, num_gpus=2), launch(2, tell, num_gpus=1), launch(3, tell)])
    daemon.ready.append(launch(4, tell, num_gpus=1, num_cpus=2))
    async with working(daemon, offer=offer) as work:
        await daemon.until(lambda: len(daemon.running) == 3)
        (tmp_path / "go").touch()
        await work.result()
    told = [(tmp_path / f"gpus.{number}").read_text().strip() for number in (1, 2, 4)]
    assert told[:2] == ["4,5", "7"]
    assert told[2] in {"4", "7"}, "one that was free again"


async def test_what_the_specification_says_of_gpus_is_kept(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.ready.append(
        launch(1, "echo $CUDA_VISIBLE_DEVICES > gpus", num_gpus=1, env={"CUDA_VISIBLE_DEVICES": "none"})
    )
    async with working(daemon, offer=Offer(num_cpus=2, memory_bytes=2**30, num_gpus=1)) as work:
        await work.result()
    assert (tmp_path / "gpus").read_text() == "none\n"


async def test_with_max_parallel_jobs_no_gpus_are_given_out(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEMANTICS 8.1: resources are not counted then"""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    daemon.ready.append(launch(1, 'echo "${CUDA_VISIBLE_DEVICES-unset}" > gpus', num_gpus=1))
    async with working(daemon, offer=Offer(num_cpus=2, memory_bytes=2**30, num_gpus=1, max_parallel_jobs=2)) as work:
        await work.result()
    assert (tmp_path / "gpus").read_text() == "unset\n"


HOLD_TOGETHER = """
import pathlib, sys, time
memory = bytearray(50 << 20)
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
while not other.exists() or time.process_time() < 0.3: pass
while not pathlib.Path("seen").exists(): time.sleep(0.01)
"""
"""Holds its memory until it was seen together with the other's."""


async def test_a_job_that_runs_for_a_while_is_sampled(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEMANTICS 8.5"""
    monkeypatch.setattr("torcctl.worker.sampling.LEAST_PAUSE_S", 0.02)
    monkeypatch.setattr("torcctl.worker.sampling.SHARE", 1.0)
    sample = Sampler.sample

    def sample_and_tell(self: Sampler, running: Mapping[int, Process]) -> None:
        sample(self, running)
        if any(each.sampled_memory_bytes > 80 * 2**20 and each.sampled_cpu_s > 0.5 for each in running.values()):
            (tmp_path / "seen").touch()

    monkeypatch.setattr(Sampler, "sample", sample_and_tell)
    (tmp_path / "burn.py").write_text(HOLD_TOGETHER)
    daemon.ready.append(launch(1, "python3 burn.py a b & python3 burn.py b a & wait"))
    async with working(daemon, offer=TWO) as work:
        await work.result()
    end = daemon.ended[1, 1]
    assert end.peak_memory_bytes is not None
    assert end.peak_memory_bytes > 80 * 2**20, "both at the same time"
    assert end.cpu_seconds is not None
    assert end.cpu_seconds > 0.5
