"""A small daemon for worker tests: real websocket frames over a Unix socket, jobs from a list, no database.

It follows the contract of `workers.*` closely enough to find a worker's mistakes: it hands out what the
capacity allows, holds back waiting reports, knows which attempts it has heard of, accepts replays, and
refuses what contradicts. As a program (`python worker_daemon.py SOCKET N COMMAND`) it serves N jobs.
"""

import os
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from torcd.protocol.errors import BadRequest, NotFound, TorcError
from torcd.protocol.requests import Hello, Request
from torcd.protocol.rpc import decode_call, decode_request, encode_error, encode_result
from torcd.protocol.worker_requests import (
    AttemptEnd,
    AttemptRef,
    Capacity,
    JobLaunch,
    JobOutput,
    LeaveWorker,
    RefusedReport,
    RegisterWorker,
    ReportWorker,
    WorkerAnswer,
)

Key = tuple[int, int]


def launch(
    job_id: int,
    command: str = "true",
    *,
    attempt_id: int = 1,
    name: str | None = None,
    invocation_script: str | None = None,
    env: dict[str, str] | None = None,
    outputs: list[JobOutput] | None = None,
    num_cpus: int = 1,
    memory_bytes: int = 1,
    num_gpus: int = 0,
    runtime_s: float = 60,
    supports_termination: bool = False,
    reads_content: bool = False,
) -> JobLaunch:
    """A job as the daemon hands it out."""
    return JobLaunch(
        job_id=job_id, name=name or f"job{job_id}", command=command, invocation_script=invocation_script,
        env=env or {}, run_id=1, attempt_id=attempt_id, outputs=outputs or [], num_cpus=num_cpus,
        memory_bytes=memory_bytes, num_gpus=num_gpus, runtime_s=runtime_s,
        supports_termination=supports_termination, reads_content=reads_content,
    )  # fmt: skip


class FakeDaemon:
    """Its state is public: tests look at it, change it and call `poke`."""

    def __init__(self, directory: Path, path: Path | None = None) -> None:
        self.directory = directory
        self.path = path or directory / "d.sock"
        self.ready: deque[JobLaunch] = deque()
        self.pending: dict[Key, JobLaunch] = {}
        self.running: dict[Key, JobLaunch] = {}
        self.ended: dict[Key, AttemptEnd] = {}
        self.returned: list[Key] = []
        self.superseded: set[Key] = set()
        self.stop: list[AttemptRef] = []
        self.registrations: list[RegisterWorker] = []
        self.reports: list[ReportWorker] = []
        self.replays = 0
        self.left = 0
        self.never_complete = False
        self.keep_records = True
        self.unwelcome: TorcError | None = None
        """The answer to a hello."""
        self.error: TorcError | None = None
        """Raised for the next report."""
        self.swallow: Callable[[ReportWorker], bool] = lambda report: False
        """Reports that are carried out, but whose answer is lost with the connection."""
        self._poked = trio.Event()
        self._changed = trio.Event()
        self._waiting: trio.Event | None = None
        self._scope = trio.CancelScope()

    @property
    def url(self) -> str:
        return f"ws+unix://{self.path}"

    def poke(self) -> None:
        """Something changed: waiting reports look again, and so do waiting tests."""
        self._poked.set()
        self._poked = trio.Event()
        self._tell_tests()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Waits until the condition holds; it is looked at after every message."""
        with trio.fail_after(timeout_s):
            while not condition():
                await self._changed.wait()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeDaemon"]:
        async with trio.open_nursery() as self._nursery:
            await self.come_back()
            yield self
            self._nursery.cancel_scope.cancel()

    async def come_back(self) -> None:
        """Serves, for the first time or after `vanish`."""
        await self._nursery.start(self._serve)

    async def _serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.path))
        listening.listen(16)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        with trio.CancelScope() as self._scope:
            await trio.serve_listeners(self._handle, [listener], task_status=task_status)

    def vanish(self) -> None:
        """Stops serving at once, as a killed daemon does."""
        self.path.unlink(missing_ok=True)
        self._scope.cancel()

    async def _handle(self, stream: trio.SocketStream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream, max_message_size=2**24)
                websocket = await request.accept()
                try:
                    while True:
                        frame = await websocket.get_message()
                        assert isinstance(frame, str), "the protocol's frames are text"
                        nursery.start_soon(self._answer, websocket, frame)
                except ConnectionClosed:
                    nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, websocket: WebSocketConnection, frame: str) -> None:
        call = decode_call(frame)
        try:
            result = await self._do(decode_request(call))
            answer = encode_result(call.id, result)  # type: ignore[arg-type]
        except TorcError as error:
            answer = encode_error(call.id, error)  # type: ignore[arg-type]
        try:
            if answer is not None:
                await websocket.send_message(answer.decode())
        except ConnectionClosed:
            pass
        finally:
            self._tell_tests()

    def _tell_tests(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _do(self, request: Request) -> object:
        match request:
            case Hello():
                if self.unwelcome is not None:
                    raise self.unwelcome
                return {}
            case RegisterWorker():
                return self._register(request)
            case ReportWorker():
                return await self._report(request)
            case LeaveWorker():
                self.left += 1
                return {}
        raise BadRequest(f"not for a worker: {request}")

    def _register(self, request: RegisterWorker) -> dict[str, object]:
        if request.workflow_id != 7:
            raise NotFound(f"there is no workflow {request.workflow_id}")
        self.registrations.append(request)
        presented = {(one.job_id, one.attempt_id) for one in request.attempts}
        for key in [key for key in self.pending if key not in presented]:
            self.ready.appendleft(self.pending.pop(key))
        return {
            "worker_id": request.worker_id or 5,
            "lease_s": 60.0,
            "submission_directory": str(self.directory),
            "workflow_name": "w",
            "run_id": 1,
            "total": len(self.ready) + len(self.pending) + len(self.running) + len(self.ended),
            "counts": self.counts(),
            "lost": [one for one in request.attempts if (one.job_id, one.attempt_id) in self.superseded],
        }

    def counts(self) -> dict[str, int]:
        found = Counter("completed" if end.return_code == 0 else "failed" for end in self.ended.values())
        found.update(ready=len(self.ready), pending=len(self.pending), running=len(self.running))
        return {status: count for status, count in found.items() if count}

    async def _report(self, report: ReportWorker) -> WorkerAnswer:
        assert report.worker_id in {5, *(each.worker_id for each in self.registrations)}
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.keep_records:
            self.reports.append(report)
        if self._waiting is not None:
            self._waiting.set()
        refused = self._take_in(report)
        self._tell_tests()
        if self.swallow(report):
            self.vanish()
            await trio.sleep_forever()
        if report.wait_s and not self._has_word_for(report):
            mine = self._waiting = trio.Event()
            with trio.move_on_after(report.wait_s):
                while not self._has_word_for(report) and not mine.is_set():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._first, nursery, mine)
                        nursery.start_soon(self._first, nursery, self._poked)
            if self._waiting is mine:
                self._waiting = None
        stop, self.stop = self.stop, []
        return WorkerAnswer(
            jobs=self._hand_out(report.capacity),
            refused=refused,
            stop=stop,
            complete=self._is_complete(),
            counts=self.counts(),
        )

    async def _first(self, nursery: trio.Nursery, event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    def _is_complete(self) -> bool:
        return not (self.ready or self.pending or self.running or self.never_complete)

    def _has_word_for(self, report: ReportWorker) -> bool:
        is_over = self._is_complete() and not report.lingers
        return bool(self.stop or is_over or self._fitting(report.capacity))

    def _take_in(self, report: ReportWorker) -> list[RefusedReport]:
        refused = []
        for one in [*report.started, *report.ended, *report.returned]:
            key = (one.job_id, one.attempt_id)
            if key in self.superseded and one not in report.returned:
                refused.append(RefusedReport(job_id=one.job_id, attempt_id=one.attempt_id, why="superseded"))
            elif isinstance(one, AttemptEnd):
                if key in self.ended:
                    assert self.ended[key] == one, "a replay must be exact"
                    self.replays += 1
                    continue
                assert key in self.running, "an attempt ends after it has started"
                del self.running[key]
                self.ended[key] = one
            elif one in report.returned:
                if key in self.pending:
                    self.ready.append(self.pending.pop(key))
                self.returned.append(key)
            elif key in self.pending:
                self.running[key] = self.pending.pop(key)
        return refused

    def _fitting(self, capacity: Capacity | None) -> list[JobLaunch]:
        """The ready jobs that fit the capacity, in order, those ahead of it last."""
        if capacity is None:
            return []
        jobs, ahead = capacity.jobs, capacity.ahead
        cpus = 10**9 if capacity.num_cpus is None else capacity.num_cpus
        memory = 10**18 if capacity.memory_bytes is None else capacity.memory_bytes
        chosen = []
        for job in self.ready:
            if jobs > 0 and job.num_cpus <= cpus and job.memory_bytes <= memory:
                jobs, cpus, memory = jobs - 1, cpus - job.num_cpus, memory - job.memory_bytes
            elif ahead > 0:
                ahead -= 1
            else:
                break
            chosen.append(job)
        return chosen

    def _hand_out(self, capacity: Capacity | None) -> list[JobLaunch]:
        chosen = self._fitting(capacity)
        for job in chosen:
            self.ready.popleft()
            self.pending[job.job_id, job.attempt_id] = job
        return chosen


async def main(path: str, count: int, command: str) -> None:
    directory = Path(path).parent
    daemon = FakeDaemon(directory, Path(path))
    daemon.keep_records = False
    daemon.ready.extend(launch(number, command) for number in range(1, count + 1))
    async with daemon.serving():
        await daemon.until(lambda: bool(daemon.left), timeout_s=120)


if __name__ == "__main__":
    started = time.process_time()
    trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3])
    print(f"daemon cpu {time.process_time() - started:.2f} s", file=sys.stderr)
    os._exit(0)
