"""The worker against a daemon: real processes, real frames (SEMANTICS 8)."""

import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from session_rig import is_alive, read_pid, until_gone, working
from worker_daemon import FakeDaemon, launch

from torcctl.worker import outputs
from torcctl.worker.conversation import WAIT_S
from torcctl.worker.resources import Offer
from torcctl.worker.session import WorkerOutcome
from torcd.protocol.address import Address
from torcd.protocol.content import Content, read_content
from torcd.protocol.errors import NotFound, Refused, Unauthorized, Unavailable, Unreachable
from torcd.protocol.worker_requests import AttemptRef, JobOutput

UNTIL_GO = "while [ ! -e go ]; do sleep 0.01; done"
"""A job that runs until a test makes the file."""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with FakeDaemon(tmp_path).serving() as daemon:
        yield daemon


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe in the jobs' directory: opening it waits for the other side."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


# ---- jobs ------------------------------------------------------------------------------------------------


async def test_a_worker_runs_what_there_is_reports_it_and_leaves(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.ready.extend([launch(1, "echo hello > one"), launch(2, "exit 3"), launch(3, "cat one")])
    async with working(daemon) as work:
        outcome = await work.result()
    assert outcome == WorkerOutcome(
        complete=True, counts={"completed": 2, "failed": 1}, interrupted=False, stranded=False
    )
    assert {key[0]: end.return_code for key, end in daemon.ended.items()} == {1: 0, 2: 3, 3: 0}
    assert daemon.left == 1
    end = daemon.ended[3, 1]
    assert end.stdout_path == str(tmp_path / ".torc/7/job_3_1.o")
    assert (tmp_path / ".torc/7/job_3_1.o").read_text() == "hello\n"
    assert end.started_at_ms <= end.ended_at_ms
    assert abs(end.ended_at_ms - time.time() * 1000) < 60_000
    assert end.stopped is None


async def test_a_worker_tells_what_it_offers(daemon: FakeDaemon) -> None:
    async with working(daemon, offer=Offer(num_cpus=3, memory_bytes=5, num_gpus=1, max_parallel_jobs=4)) as work:
        await work.result()
    [registration] = daemon.registrations
    assert (registration.num_cpus, registration.memory_bytes, registration.num_gpus) == (3, 5, 1)
    assert registration.max_parallel_jobs == 4
    assert registration.pid == os.getpid()


async def test_outputs_are_vouched_for_by_the_worker(daemon: FakeDaemon, tmp_path: Path) -> None:
    """SEMANTICS 8.3"""
    outputs = [JobOutput(file_id=n, path=str(tmp_path / f"out{n}")) for n in range(150)]
    daemon.ready.append(launch(1, "echo x > out0; exit 4", outputs=outputs[:2]))
    daemon.ready.append(launch(2, "for n in $(seq 0 148); do echo x > out$n; done", outputs=outputs))
    async with working(daemon) as work:
        await work.result()
    few, many = daemon.ended[1, 1].outputs, daemon.ended[2, 1].outputs
    assert [(seen.file_id, seen.size) for seen in few] == [(0, 2), (1, few[1].size)]
    assert [seen.file_id for seen in many] == list(range(150))
    assert many[10].mtime_ns == (tmp_path / "out10").stat().st_mtime_ns
    assert many[149].mtime_ns is None


async def test_contents_are_read_where_they_are_wanted_and_only_after_success(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    """SEMANTICS 4.9, 8.3"""
    outputs = [JobOutput(file_id=n, path=str(tmp_path / f"out{n}")) for n in range(3)]
    command = "printf abc > out0; mkdir -p out1; rm -f out2"
    daemon.ready.append(launch(1, command, outputs=outputs, reads_content=True))
    daemon.ready.append(launch(2, f"{command}; exit 4", outputs=outputs, reads_content=True))
    daemon.ready.append(launch(3, command, outputs=outputs))
    daemon.ready.append(launch(4, "true", reads_content=True))
    async with working(daemon, offer=Offer(num_cpus=1, memory_bytes=1)) as work:
        await work.result()
    digests = {key[0]: [output.digest for output in end.outputs] for key, end in daemon.ended.items()}
    assert digests == {1: ["6437b3ac38465133ffb63b75273a8db5", "", ""], 2: [""] * 3, 3: [""] * 3, 4: []}
    seen = daemon.ended[1, 1].outputs
    assert [(output.mtime_ns is None, output.error) for output in seen] == [(False, None), (False, None), (True, None)]
    assert seen[0].size == 3


async def test_a_worker_goes_on_while_it_reads_what_a_job_has_left_behind(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large outputs take their time: the job is still its own to the worker, and another one runs meanwhile."""
    go_on = threading.Event()

    def read_slowly(path: str) -> Content:
        assert go_on.wait(30)
        return read_content(path)

    monkeypatch.setattr(outputs, "read_content", read_slowly)
    output = JobOutput(file_id=1, path=str(tmp_path / "large"))
    daemon.ready.append(launch(1, "echo x > large", outputs=[output], reads_content=True))
    daemon.ready.append(launch(2, "true"))
    async with working(daemon, offer=Offer(num_cpus=1, memory_bytes=1)) as work:
        await daemon.until(lambda: (2, 1) in daemon.ended)
        assert (1, 1) not in daemon.ended
        daemon.vanish()
        await daemon.come_back()
        await daemon.until(lambda: len(daemon.registrations) == 2)
        assert AttemptRef(job_id=1, attempt_id=1) in daemon.registrations[1].attempts
        go_on.set()
        await work.result()
    assert daemon.ended[1, 1].outputs[0].digest == read_content(tmp_path / "large").digest.hex()


async def test_a_job_that_cannot_be_started_ends_and_the_others_go_on(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.ready.extend([launch(1, "echo " + "x" * 200_000), launch(2, "true")])
    async with working(daemon) as work:
        outcome = await work.result()
    assert outcome.complete
    end = daemon.ended[1, 1]
    assert end.return_code == 126
    assert end.stderr_path == str(tmp_path / ".torc/7/job_1_1.e")
    assert "larger than this system allows" in (tmp_path / ".torc/7/job_1_1.e").read_text()


async def test_a_job_larger_than_the_worker_is_handed_back(daemon: FakeDaemon) -> None:
    daemon.never_complete = True
    daemon.ready.append(launch(1))
    async with working(daemon):
        await daemon.until(lambda: (1, 1) in daemon.ended)
        daemon.ready.append(launch(2, num_cpus=64))
        daemon._fitting = lambda capacity: list(daemon.ready)  # type: ignore[method-assign]  # a careless daemon
        daemon.poke()
        await daemon.until(lambda: (2, 1) in daemon.returned)
        daemon.ready.clear()


async def test_jobs_run_together_only_as_far_as_the_resources_reach(daemon: FakeDaemon, tmp_path: Path) -> None:
    """SEMANTICS 8.1"""
    watch = "touch run.$TORC_JOB_ID; ls run.* | wc -l; {}; rm run.$TORC_JOB_ID"
    until_all = "until [ -e all ]; do [ $(ls run.* | wc -l) -ge 3 ] && touch all; sleep 0.01; done"
    daemon.ready.extend(launch(n, watch.format(until_all), memory_bytes=2**29) for n in range(1, 4))
    daemon.ready.extend(launch(n, watch.format("sleep 0.03"), memory_bytes=2**29) for n in range(4, 13))
    async with working(daemon, offer=Offer(num_cpus=8, memory_bytes=3 * 2**29)) as work:
        await work.result()
    seen = [int((tmp_path / ".torc/7" / f"job_{n}_1.o").read_text()) for n in range(1, 13)]
    assert max(seen) == 3


async def test_a_running_job_is_told_of_before_it_ends(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.ready.append(launch(1, UNTIL_GO))
    async with working(daemon) as work:
        await daemon.until(lambda: (1, 1) in daemon.running)
        (tmp_path / "go").touch()
        await work.result()
    assert daemon.ended[1, 1].return_code == 0


async def test_work_that_appears_later_is_started_at_once(daemon: FakeDaemon) -> None:
    """SEMANTICS 8.1: no sleeping between polls."""
    daemon.never_complete = True
    async with working(daemon):
        await daemon.until(lambda: bool(daemon.reports))
        for job_id in range(1, 20):
            started = trio.current_time()
            daemon.ready.append(launch(job_id))
            daemon.poke()
            await daemon.until(lambda job_id=job_id: (job_id, 1) in daemon.ended)  # type: ignore[misc]
            assert trio.current_time() - started < WAIT_S / 2
    assert len(daemon.reports) < 19 * 4


async def test_an_idle_worker_says_nothing(daemon: FakeDaemon, autojump_clock: trio.testing.MockClock) -> None:
    daemon.never_complete = True
    async with working(daemon):
        await daemon.until(lambda: bool(daemon.reports))
        await trio.sleep(WAIT_S * 4 + 1)
    assert 4 <= len(daemon.reports) <= 6


async def test_short_jobs_travel_in_batches_and_wait_at_the_worker(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine no job is short: all that is measured in time is a multiple of what it is."""
    monkeypatch.setattr("torcctl.worker.ahead.SHORT_S", 10.0)
    monkeypatch.setattr("torcctl.worker.ahead.SUPPLY_S", 1.0)
    monkeypatch.setattr("torcctl.worker.runner.MAX_WAITING_S", 60.0)
    monkeypatch.setattr("torcctl.worker.conversation.PACE_S", 0.1)
    daemon.ready.extend(launch(n, "true") for n in range(1, 201))
    async with working(daemon) as work:
        outcome = await work.result()
    assert outcome.counts == {"completed": 200}
    assert len(daemon.reports) < 100
    assert max(report.capacity.ahead for report in daemon.reports if report.capacity) > 2


async def test_jobs_that_wait_too_long_at_the_worker_are_handed_back(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torcctl.worker.ahead.SHORT_S", 10.0)  # however busy the machine is
    daemon.ready.extend(launch(n, "true") for n in range(1, 20))
    daemon.ready.extend(launch(n, UNTIL_GO) for n in (20, 21))
    daemon.ready.extend(launch(n, "true") for n in range(30, 40))
    async with working(daemon) as work:
        await daemon.until(lambda: any(job_id >= 30 for job_id, _ in daemon.returned))
        (tmp_path / "go").touch()
        outcome = await work.result()
    assert outcome.counts == {"completed": 31}


async def test_progress_is_shown_with_the_final_state_last(daemon: FakeDaemon) -> None:
    shown: list[tuple[dict[str, int], int]] = []
    daemon.ready.extend(launch(n) for n in range(1, 101))
    started = trio.current_time()
    async with working(daemon, on_progress=lambda *what: shown.append(what)) as work:
        await work.result()
    assert shown[0] == ({"ready": 100}, 100)
    assert shown[-1] == ({"completed": 100}, 100)
    assert len(shown) <= 3 + 10 * (trio.current_time() - started)


async def test_thousands_of_short_jobs(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    count = 1000
    daemon.keep_records = False
    daemon.ready.extend(launch(n) for n in range(1, count + 1))
    started = time.perf_counter()
    async with working(daemon) as work:
        outcome = await work.result(60)
    with capsys.disabled():
        print(f" [{count / (time.perf_counter() - started):.0f} jobs/s, daemon in the same process] ", end="")
    assert outcome.counts == {"completed": count}


# ---- stopping --------------------------------------------------------------------------------------------

FAMILY = "bash -c 'trap \"\" TERM; echo $BASHPID > pipe; while :; do sleep 0.01; done' & wait"
"""A grandchild that survives TERM, and a shell that does not."""


async def test_a_stop_kills_the_whole_family_after_the_grace(daemon: FakeDaemon, pipe: Path) -> None:
    """SEMANTICS 8.2"""
    daemon.ready.extend([launch(1, FAMILY), launch(2, "true")])
    async with working(daemon, grace_s=1) as work:
        pid = await read_pid(pipe)
        assert is_alive(pid)
        daemon.stop.append(AttemptRef(job_id=1, attempt_id=1))
        daemon.poke()
        outcome = await work.result()
    assert not is_alive(pid)
    end = daemon.ended[1, 1]
    assert (end.stopped, end.return_code) == ("by_user", 143)
    assert end.exec_time_s >= 1
    assert outcome.counts == {"completed": 1, "failed": 1}


async def test_a_stopped_job_may_use_its_grace_to_save_its_work(daemon: FakeDaemon, tmp_path: Path, pipe: Path) -> None:
    program = "trap 'sleep 0.1; echo done > saved; exit 0' TERM; echo 1 > pipe; while :; do sleep 0.01; done"
    daemon.ready.append(
        launch(1, f'bash -c "{program}" & wait', outputs=[JobOutput(file_id=1, path=str(tmp_path / "saved"))])
    )
    async with working(daemon) as work:
        await read_pid(pipe)
        daemon.stop.append(AttemptRef(job_id=1, attempt_id=1))
        daemon.poke()
        await work.result()
    assert daemon.ended[1, 1].outputs[0].size == 5
    assert daemon.ended[1, 1].exec_time_s < 9


async def test_a_process_group_that_a_job_made_for_itself_is_stopped_too(daemon: FakeDaemon, pipe: Path) -> None:
    daemon.ready.append(launch(1, "timeout 100 bash -c 'echo $$ > pipe; sleep 100; :'; echo never"))
    async with working(daemon) as work:
        pid = await read_pid(pipe)
        daemon.stop.append(AttemptRef(job_id=1, attempt_id=1))
        daemon.poke()
        await work.result()
    assert not is_alive(pid)


async def test_a_superseded_attempt_is_killed_and_not_spoken_of_again(daemon: FakeDaemon, pipe: Path) -> None:
    """SEMANTICS 5.3, 8.4"""
    daemon.never_complete = True
    daemon.superseded.add((1, 1))
    daemon.ready.append(launch(1, "echo $$ > pipe; sleep 100; :"))
    async with working(daemon):
        pid = await read_pid(pipe)
        await daemon.until(lambda: any(report.started for report in daemon.reports))
        del daemon.pending[1, 1]
        await until_gone(pid)
        heard = len(daemon.reports)
        daemon.ready.append(launch(2))
        daemon.poke()
        await daemon.until(lambda: (2, 1) in daemon.ended)
    assert not any(one.job_id == 1 for report in daemon.reports[heard:] for one in report.ended)


async def test_an_end_that_is_not_accepted_is_handed_back_and_the_worker_goes_on(daemon: FakeDaemon) -> None:
    """SEMANTICS 5.3: the daemon learns that nothing of the attempt is left"""
    daemon.never_complete = True
    daemon.superseded.add((1, 1))
    daemon.ready.append(launch(1))
    async with working(daemon):
        await daemon.until(lambda: any(ref.job_id == 1 for report in daemon.reports for ref in report.returned))
        daemon.ready.append(launch(2))
        daemon.poke()
        await daemon.until(lambda: (2, 1) in daemon.ended)


async def test_shutting_down_stops_reports_hands_back_and_leaves(daemon: FakeDaemon, pipe: Path) -> None:
    daemon.ready.append(launch(1, "echo $$ > pipe; sleep 100; :"))
    daemon.ready.extend(launch(n, "sleep 100") for n in range(2, 6))
    async with working(daemon) as work:
        pid = await read_pid(pipe)
        await daemon.until(lambda: len(daemon.running) == 2)
        work.session.shut_down()
        outcome = await work.result()
    assert outcome.interrupted
    assert not outcome.complete
    assert not is_alive(pid)
    assert {end.stopped for end in daemon.ended.values()} == {"worker_shutdown"}
    assert (len(daemon.ended), len(daemon.ready), len(daemon.pending), daemon.left) == (2, 3, 0, 1)


async def test_an_impatient_second_shutdown_kills_at_once(daemon: FakeDaemon, pipe: Path) -> None:
    daemon.ready.append(launch(1, "trap '' TERM; echo $$ > pipe; while :; do sleep 0.01; done"))
    async with working(daemon, grace_s=100) as work:
        await read_pid(pipe)
        work.session.shut_down()
        work.session.shut_down(at_once=True)
        outcome = await work.result(30)
    assert outcome.interrupted
    assert daemon.ended[1, 1].return_code == 137


async def test_a_shutdown_without_a_daemon_ends_soon(
    daemon: FakeDaemon, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torcctl.worker.session.FLUSH_S", 0.2)
    daemon.ready.append(launch(1, "echo $$ > pipe; sleep 100; :"))
    async with working(daemon) as work:
        pid = await read_pid(pipe)
        daemon.vanish()
        work.session.shut_down()
        outcome = await work.result(20)
    assert outcome.interrupted
    assert not is_alive(pid)


async def test_a_cancelled_session_leaves_no_process_behind(daemon: FakeDaemon, pipe: Path) -> None:
    daemon.ready.append(launch(1, FAMILY))
    async with working(daemon):
        pid = await read_pid(pipe)
    await until_gone(pid)


# ---- losing the daemon -----------------------------------------------------------------------------------


async def test_running_jobs_survive_the_daemon_and_are_presented_to_the_next(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    """SEMANTICS 8.4"""
    daemon.ready.append(launch(1, UNTIL_GO))
    daemon.ready.append(launch(2, "true"))
    async with working(daemon) as work:
        await daemon.until(lambda: (1, 1) in daemon.running and (2, 1) in daemon.ended)
        daemon.vanish()
        (tmp_path / "go").touch()
        await daemon.come_back()
        outcome = await work.result()
    first, second = daemon.registrations
    assert first.worker_id is None
    assert second.worker_id == 5
    assert AttemptRef(job_id=1, attempt_id=1) in second.attempts
    assert outcome.counts == {"completed": 2}


async def test_an_outcome_whose_acknowledgement_was_lost_is_sent_again_unchanged(daemon: FakeDaemon) -> None:
    """SEMANTICS 5.3, 8.4"""
    daemon.ready.extend([launch(1), launch(2)])
    lost: list[object] = []

    def swallow(report: object) -> bool:
        if lost or not report.ended:  # type: ignore[attr-defined]
            return False
        lost.append(report)
        return True

    daemon.swallow = swallow
    async with working(daemon) as work:
        await daemon.until(lambda: bool(lost))
        await daemon.come_back()
        outcome = await work.result()
    assert daemon.replays >= 1
    assert outcome.counts == {"completed": 2}


async def test_an_attempt_superseded_during_the_absence_is_killed(daemon: FakeDaemon, pipe: Path) -> None:
    """SEMANTICS 8.4"""
    daemon.never_complete = True
    daemon.ready.append(launch(1, "echo $$ > pipe; sleep 100; :"))
    async with working(daemon):
        pid = await read_pid(pipe)
        daemon.vanish()
        daemon.superseded.add((1, 1))
        await daemon.come_back()
        await until_gone(pid)
        await daemon.until(lambda: (1, 1) in daemon.returned)  # its successor may begin
    assert not daemon.ended


async def test_the_next_daemon_may_live_elsewhere(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.ready.append(launch(1, UNTIL_GO))
    async with working(daemon, find_daemon=lambda: Address(url=daemon.url)) as work:
        await daemon.until(lambda: (1, 1) in daemon.running)
        daemon.vanish()
        daemon.path = tmp_path / "e.sock"
        await daemon.come_back()
        await daemon.until(lambda: len(daemon.registrations) == 2)
        daemon.ready.append(launch(2, "echo $TORC_URL"))
        daemon.poke()
        (tmp_path / "go").touch()
        await work.result()
    assert (tmp_path / ".torc/7/job_2_1.o").read_text() == f"{daemon.url}\n"


async def test_a_worker_whose_token_is_refused_looks_again_and_keeps_what_runs(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    """SEMANTICS 8.4: the token was replaced, and the connection file has the new one"""
    daemon.ready.append(launch(1, UNTIL_GO))
    looked = trio.Event()

    def find_daemon() -> Address:
        trio.from_thread.run_sync(looked.set)
        return Address(url=daemon.url)

    async with working(daemon, find_daemon=find_daemon) as work:
        await daemon.until(lambda: (1, 1) in daemon.running)
        daemon.unwelcome = Unauthorized("another token")
        daemon.vanish()
        await daemon.come_back()
        await looked.wait()
        looked = trio.Event()
        await looked.wait()
        assert len(daemon.registrations) == 1
        daemon.unwelcome = None
        await daemon.until(lambda: len(daemon.registrations) == 2)
        assert [one.job_id for one in daemon.registrations[1].attempts] == [1]
        (tmp_path / "go").touch()
        assert (await work.result()).complete


async def test_a_worker_without_work_is_told_why_it_was_refused(
    daemon: FakeDaemon, autojump_clock: trio.testing.MockClock
) -> None:
    daemon.never_complete = True
    async with working(daemon) as work:
        await daemon.until(lambda: bool(daemon.reports))
        daemon.unwelcome = Unauthorized("another token")
        daemon.vanish()
        await daemon.come_back()
        with pytest.raises(Unauthorized):
            await work.result(60)


async def test_a_worker_without_work_gives_up_after_half_a_minute(
    daemon: FakeDaemon, autojump_clock: trio.testing.MockClock
) -> None:
    daemon.never_complete = True
    async with working(daemon) as work:
        await daemon.until(lambda: bool(daemon.reports))
        daemon.vanish()
        lost_at = trio.current_time()
        with pytest.raises(Unreachable, match="stayed away"):
            await work.result(60)
        assert 30 < trio.current_time() - lost_at < 40


async def test_without_any_daemon_the_worker_fails_at_once(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path)
    async with working(daemon) as work:
        with pytest.raises(Unreachable, match="no torcd answers"):
            await work.result(20)


async def test_a_peer_that_hangs_up_during_the_handshake_is_no_daemon(tmp_path: Path) -> None:
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "d.sock"))
    listener.listen()

    async def hang_up() -> None:
        peer, _ = await listener.accept()
        peer.close()

    async with trio.open_nursery() as nursery, working(FakeDaemon(tmp_path)) as work:
        nursery.start_soon(hang_up)
        with pytest.raises(Unreachable):
            await work.result(20)
    listener.close()


async def test_a_workflow_that_is_not_there_is_told(daemon: FakeDaemon) -> None:
    async with working(daemon, workflow_id=8) as work:
        with pytest.raises(NotFound, match="workflow 8"):
            await work.result()


async def test_a_daemon_that_is_busy_is_asked_again(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torcctl.worker.conversation.RETRY_S", 0.05)
    daemon.ready.append(launch(1))
    daemon.error = Unavailable("the actor is being restarted")
    async with working(daemon) as work:
        outcome = await work.result()
    assert outcome.complete


async def test_a_refusal_stops_the_jobs_and_is_told(daemon: FakeDaemon, pipe: Path) -> None:
    daemon.ready.append(launch(1, "echo $$ > pipe; sleep 100; :"))
    async with working(daemon) as work:
        pid = await read_pid(pipe)
        daemon.ready.append(launch(2))
        daemon.error = Refused("not with me")
        daemon.poke()
        with pytest.raises(Refused, match="not with me"):
            await work.result()
    assert not is_alive(pid)
    assert daemon.left == 1


async def test_a_worker_that_was_forgotten_registers_again(daemon: FakeDaemon) -> None:
    daemon.ready.append(launch(1))
    daemon.error = NotFound("there is no worker 5")
    async with working(daemon) as work:
        outcome = await work.result()
    assert outcome.complete
    assert len(daemon.registrations) == 2


async def test_a_worker_that_cannot_write_logs_says_so_and_leaves(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / ".torc").touch()
    async with working(daemon) as work:
        with pytest.raises(Refused, match=r"\.torc/7: Not a directory"):
            await work.result()
    assert daemon.left == 1
