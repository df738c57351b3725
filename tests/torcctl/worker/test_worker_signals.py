"""`run_worker` in a process of its own, and the signals a user sends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio
from session_rig import read_pid
from worker_daemon import FakeDaemon, launch

PROGRAM = """
import sys
import msgspec
from pathlib import Path
from torcctl.worker import run_worker
from torcd.protocol.address import Address
outcome = run_worker(
    address=Address(url=sys.argv[1]), reconnect=None, workflow_id=7, max_parallel_jobs=2, num_cpus=None,
    memory_bytes=None, num_gpus=0, output_dir=Path("logs"), on_progress=lambda counts, total: None,
)
print(msgspec.json.encode(outcome).decode())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
async def test_a_signal_ends_the_worker_in_order(tmp_path: Path, number: signal.Signals) -> None:
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.extend(launch(n, "echo $$ > pid.$TORC_JOB_ID; sleep 100; :") for n in (1, 2, 3))
        worker = await trio.lowlevel.open_process(
            [sys.executable, "-c", PROGRAM, daemon.url], cwd=tmp_path, stdout=subprocess.PIPE
        )
        await daemon.until(lambda: len(daemon.running) == 2)
        os.kill(worker.pid, number)
        assert worker.stdout is not None
        with trio.fail_after(30):
            outcome = msgspec.json.decode(await worker.stdout.receive_some())
            assert await worker.wait() == 0
        await worker.stdout.aclose()
    assert outcome["interrupted"]
    assert {end.stopped for end in daemon.ended.values()} == {"worker_shutdown"}
    assert [job.job_id for job in daemon.ready] == [3]
    assert daemon.left == 1
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "job_1_1.e", "job_1_1.o", "job_2_1.e", "job_2_1.o",
    ]  # fmt: skip


async def test_the_second_signal_kills_what_ignores_the_first(tmp_path: Path) -> None:
    async with FakeDaemon(tmp_path).serving() as daemon:
        for name in ("pipe", "asked"):
            os.mkfifo(tmp_path / name)
        obstinate = "trap 'echo asked > asked' TERM; echo $$ > pipe; while :; do sleep 0.01; done"
        daemon.ready.append(launch(1, obstinate))
        worker = await trio.lowlevel.open_process(
            [sys.executable, "-c", PROGRAM, daemon.url], cwd=tmp_path, stdout=subprocess.DEVNULL
        )
        await read_pid(tmp_path / "pipe")  # a job that has begun may not have set its trap yet
        os.kill(worker.pid, signal.SIGINT)
        with trio.fail_after(30):
            await trio.to_thread.run_sync((tmp_path / "asked").read_text, abandon_on_cancel=True)
            os.kill(worker.pid, signal.SIGINT)
            assert await worker.wait() == 0
    assert daemon.ended[1, 1].return_code == 137
    assert daemon.ended[1, 1].exec_time_s < 8


async def test_in_a_slurm_job_the_second_signal_takes_nothing_from_the_grace(tmp_path: Path) -> None:
    """Slurm signals a worker twice: as itself and through `srun`."""
    saves = "trap 'while [ ! -e go ]; do sleep 0.01; done; exit 3' TERM; echo $$ > pipe; while :; do sleep 0.01; done"
    os.mkfifo(tmp_path / "pipe")
    slurm = {"SLURM_JOB_ID": "1", "SLURMD_NODENAME": "n1"}
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 1 1-00:00:00\n")
    squeue.chmod(0o755)
    slurm["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.append(launch(1, saves))
        worker = await trio.lowlevel.open_process(
            [sys.executable, "-c", PROGRAM, daemon.url],
            cwd=tmp_path,
            env={**os.environ, **slurm},
            stdout=subprocess.DEVNULL,
        )
        await read_pid(tmp_path / "pipe")
        os.kill(worker.pid, signal.SIGTERM)
        await daemon.until(lambda: daemon.reports[-1].capacity is None)
        os.kill(worker.pid, signal.SIGTERM)
        await daemon.until(lambda: (1, 1) in daemon.running)
        (tmp_path / "go").touch()
        with trio.fail_after(30):
            assert await worker.wait() == 0
    assert (daemon.ended[1, 1].return_code, daemon.ended[1, 1].stopped) == (3, "worker_shutdown")


async def test_a_worker_whose_parent_ignored_its_children_still_learns_return_codes(tmp_path: Path) -> None:
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.append(launch(1, "exit 7"))
        ignoring = f"import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{PROGRAM}"
        with trio.fail_after(60):
            await trio.run_process([sys.executable, "-c", ignoring, daemon.url], cwd=tmp_path, capture_stdout=True)
    assert daemon.ended[1, 1].return_code == 7


async def test_descriptors_that_the_worker_inherited_do_not_reach_jobs(tmp_path: Path) -> None:
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.append(launch(1, "ls /proc/self/fd"))
        inherited = os.open(tmp_path, os.O_RDONLY)
        with trio.fail_after(60):
            await trio.run_process(
                [sys.executable, "-c", PROGRAM, daemon.url],
                cwd=tmp_path,
                capture_stdout=True,
                pass_fds=[inherited],
            )
        os.close(inherited)
    assert (tmp_path / "logs/job_1_1.o").read_text().split() == ["0", "1", "2", "3"]
