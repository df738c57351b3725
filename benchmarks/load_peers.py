"""Workers and subscribers by the hundreds in one process, each on a connection of its own, speaking the real protocol.

One loop around epoll, because a task for each of them would cost more than the daemon that is to be measured. Workers
run nothing: a job is a time after which it has ended.
"""

import heapq
import itertools
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any

import msgspec

from torcd.protocol import PROTOCOL
from torcd.protocol.requests import Hello, Request, Subscribe
from torcd.protocol.rpc import MAX_FRAME, decode_incoming, encode_call
from torcd.protocol.websocket import PING, PONG, TEXT, Receiver, encode_frame, encode_upgrade, new_key
from torcd.protocol.worker_requests import (
    AttemptEnd,
    AttemptRef,
    Capacity,
    JobLaunch,
    RegisterWorker,
    ReportWorker,
    WorkerAnswer,
)

WAIT_S = 25.0
"""As long as real workers wait for jobs."""

STARTED_AFTER_S = 0.1
"""When a worker tells of a start, unless the job has ended."""

AGAIN_S = 0.05
"""Before a connection is tried again that was refused or lost."""

STEP = 1.1
"""Width of a bucket of times: percentiles are right to a tenth."""


class Times:
    """Many times, in seconds, as counts of buckets."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.most = 0.0

    def add(self, seconds: float) -> None:
        self.most = max(self.most, seconds)
        bucket, edge = 0, 1e-4
        while seconds > edge:
            bucket, edge = bucket + 1, edge * STEP
        self.counts[bucket] += 1

    def merge(self, other: "Times") -> None:
        self.counts.update(other.counts)
        self.most = max(self.most, other.most)

    def percentile(self, part: float) -> float:
        """The time below which `part` of all lie, to a tenth; never above the longest."""
        left = part * self.counts.total()
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return min(float(1e-4 * STEP**bucket), self.most)
        return 0.0


class Plan(msgspec.Struct, frozen=True):
    """What the peers of one process do."""

    path: str
    workflow_id: int
    workers: int
    subscribers: int
    slow: int
    """Subscribers that read a byte at a time."""
    dead: int
    """Subscribers that never read."""
    job_s: tuple[float, float]
    """Least and greatest length of a job."""
    storm_s: float
    """Every so often half of all peers lose their connections at once."""
    end_at: float
    """On the monotonic clock."""
    ends_with_work: bool = False
    """Whether to end when every worker has been told that the workflow is complete."""


class Measured(msgspec.Struct):
    """What the peers of one process saw."""

    herd: Any
    completion: Any
    delivery: Any
    connect: Any
    completed: int = 0
    events: int = 0
    lagged: int = 0
    lost: int = 0
    """Connections that the daemon, and not the peer, has ended."""
    refused: int = 0
    errors: list[str] = []


class Loop:
    """Peers, timers and what is measured."""

    def __init__(self, plan: Plan, gates: "SynchronizedArray[float]") -> None:
        self.plan = plan
        self.gates = gates
        """Of each stage, when the report was sent that made its jobs ready."""
        self.measured = Measured(Times(), Times(), Times(), Times())
        self.epoll = select.epoll()
        self._by_fd: dict[int, Peer] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._complete: set[Peer] = set()

    def on_complete(self, worker: "Peer") -> None:
        """A worker was told that there is nothing left to do."""
        self._complete.add(worker)

    def _is_over(self, now: float) -> bool:
        plan = self.plan
        return now >= plan.end_at or (plan.ends_with_work and len(self._complete) == plan.workers)

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), action))

    def watch(self, peer: "Peer", events: int) -> None:
        fd = peer.socket.fileno()
        if fd in self._by_fd:
            self.epoll.modify(fd, events)
        else:
            self._by_fd[fd] = peer
            self.epoll.register(fd, events)

    def forget(self, peer: "Peer") -> None:
        fd = peer.socket.fileno()
        if self._by_fd.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def run(self) -> Measured:
        plan = self.plan
        peers: list[Peer] = [Worker(self) for _ in range(plan.workers)]
        peers += [Subscriber(self) for _ in range(plan.subscribers)]
        peers += [Slow(self) for _ in range(plan.slow)]
        peers += [Dead(self) for _ in range(plan.dead)]
        for peer in peers:
            peer.open()
        self._storm(peers, first=True)
        while not self._is_over(now := time.monotonic()):
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            until = self._timers[0][0] if self._timers else now + 1
            for fd, event in self.epoll.poll(max(0.0, min(until, plan.end_at) - time.monotonic()), 256):
                peer = self._by_fd.get(fd)
                if peer is not None:
                    peer.on_event(event)
        return self.measured

    def _storm(self, peers: "list[Peer]", *, first: bool = False) -> None:
        if not first:
            for peer in random.sample(peers, len(peers) // 2):
                peer.reopen()
        self.at(time.monotonic() + self.plan.storm_s, lambda: self._storm(peers))


class Peer:
    """A connection that is opened again whenever it is lost."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.measured = loop.measured
        self.socket = socket.socket(socket.AF_UNIX)
        self._is_open = False

    def open(self) -> None:
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self._began = time.monotonic()
        try:
            self.socket.connect(self.loop.plan.path)
        except (BlockingIOError, ConnectionRefusedError):  # the queue of the listener is full
            self.measured.refused += 1
            self.loop.at(time.monotonic() + AGAIN_S, self.open)
            return
        self._is_open = True
        self._receiver = Receiver(MAX_FRAME)
        self._head: bytes | None = b""
        self._out = bytearray(encode_upgrade("localhost", "/v1", new_key()))
        self._waiting: dict[int, Callable[[msgspec.Raw], None]] = {}
        self._last_id = 0
        self.loop.watch(self, select.EPOLLIN | select.EPOLLOUT)

    def reopen(self) -> None:
        """Goes away without a word and comes back."""
        if self._is_open:
            self._is_open = False
            self.loop.forget(self)
            self.open()

    def _on_hello(self, answer: msgspec.Raw) -> None:
        self.measured.connect.add(time.monotonic() - self._began)
        self.begin()

    def begin(self) -> None:
        """What it does once it was greeted."""
        raise NotImplementedError

    def on_notification(self, params: msgspec.Raw, method: str) -> None:
        """What it does with what comes unasked."""

    def call(self, request: Request, then: Callable[[msgspec.Raw], None]) -> None:
        self._last_id += 1
        self._waiting[self._last_id] = then
        was_empty = not self._out
        self._out += encode_frame(TEXT, encode_call(self._last_id, request))
        if was_empty:
            self._flush()

    def on_event(self, event: int) -> None:
        if event & select.EPOLLOUT:
            self._flush()
        if self._is_open and event & ~select.EPOLLOUT:
            try:
                data = self.socket.recv(1 << 18)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if data:
                self.take(data)
            else:
                self._lose()

    def take(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = None
            if not head.startswith(b"HTTP/1.1 101"):
                self.measured.refused += 1
                self._lose()
                return
            self.call(Hello(protocol=PROTOCOL, client="load", version="0"), self._on_hello)
        self._receiver.feed(data)
        for message in self._receiver.messages():
            if message.opcode == TEXT:
                self._on_message(message.payload)
            elif message.opcode == PING:
                self._out += encode_frame(PONG, message.payload)
            if not self._is_open:
                return

    def _on_message(self, payload: bytes) -> None:
        incoming = decode_incoming(payload)
        if incoming.method is not None:
            assert isinstance(incoming.params, msgspec.Raw)
            self.on_notification(incoming.params, incoming.method)
            return
        assert isinstance(incoming.id, int)
        then = self._waiting.pop(incoming.id)
        if incoming.error is not None:
            self.on_error(incoming.error.message)
        else:
            assert isinstance(incoming.result, msgspec.Raw)
            then(incoming.result)

    def on_error(self, message: str) -> None:
        self.measured.errors.append(message)
        self._lose()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self.socket.send(self._out[: 1 << 16])]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
            return
        self.loop.watch(self, select.EPOLLIN | (select.EPOLLOUT if self._out else 0))

    def _lose(self) -> None:
        if self._is_open:
            self.measured.lost += 1
            self._is_open = False
            self.loop.forget(self)
            self.socket.close()
            self.loop.at(time.monotonic() + AGAIN_S * random.uniform(1, 3), self.open)


_worker_answer = msgspec.json.Decoder(WorkerAnswer)


class _Registered(msgspec.Struct):
    worker_id: int


class Worker(Peer):
    """Claims one job after the other. Through losses of its connection it keeps its number and its attempt."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._worker_id: int | None = None
        self._job: JobLaunch | None = None
        self._ended: AttemptEnd | None = None
        self._speaks_on: socket.socket | None = None
        """The connection on which it is registered."""

    @property
    def _is_registered(self) -> bool:
        return self._is_open and self._speaks_on is self.socket

    def begin(self) -> None:
        attempts = [self._ref(self._job)] if self._job is not None else []
        registration = RegisterWorker(
            workflow_id=self.loop.plan.workflow_id, worker_id=self._worker_id, hostname="load", pid=1, num_cpus=1,
            memory_bytes=2**30, attempts=attempts,
        )  # fmt: skip
        self.call(registration, self._on_registered)

    def on_error(self, message: str) -> None:
        if "is not registered" in message or "NotFound" in message:
            self._worker_id = None
        super().on_error(message)

    def _on_registered(self, answer: msgspec.Raw) -> None:
        self._worker_id = msgspec.json.decode(answer, type=_Registered).worker_id
        self._speaks_on = self.socket
        if self._ended is not None:
            self._report_end()
        elif self._job is None:
            self._wait()

    def _ref(self, job: JobLaunch) -> AttemptRef:
        return AttemptRef(job_id=job.job_id, attempt_id=job.attempt_id)

    def _wait(self) -> None:
        self._report(self._on_answer, capacity=Capacity(jobs=1), wait_s=WAIT_S)

    def _report(self, then: Callable[[msgspec.Raw], None], **fields: Any) -> None:
        assert self._worker_id is not None
        self.call(ReportWorker(worker_id=self._worker_id, **fields), then)

    def _on_answer(self, raw: msgspec.Raw) -> None:
        answer = _worker_answer.decode(raw)
        if answer.jobs:
            self._start(answer.jobs[0])
        elif answer.complete:
            self.loop.on_complete(self)
        else:
            self._wait()

    def _start(self, job: JobLaunch) -> None:
        now = time.monotonic()
        self._job = job
        stage = int(job.name.partition("_")[0][1:])
        is_gate = job.name.endswith("_gate")
        if not is_gate and self.loop.gates[stage]:
            self.measured.herd.add(now - self.loop.gates[stage])
        length_s = 0.0 if is_gate else random.uniform(*self.loop.plan.job_s)
        if length_s > STARTED_AFTER_S:
            self.loop.at(now + STARTED_AFTER_S, lambda: self._tell_start(job))
        self.loop.at(now + length_s, lambda: self._end(job, stage if is_gate else None, length_s))

    def _tell_start(self, job: JobLaunch) -> None:
        if self._is_registered and self._job is job and self._ended is None:
            self._report(lambda answer: None, started=[self._ref(job)], capacity=Capacity(jobs=0))

    def _end(self, job: JobLaunch, gate: int | None, length_s: float) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._ended = AttemptEnd(
            job_id=job.job_id, attempt_id=job.attempt_id, return_code=0, started_at_ms=now_ms - int(length_s * 1000),
            ended_at_ms=now_ms, exec_time_s=length_s,
        )  # fmt: skip
        if gate is not None:
            self.loop.gates[gate + 1] = time.monotonic()
        if self._is_registered:
            self._report_end()

    def _report_end(self) -> None:
        sent_at = time.monotonic()

        def then(raw: msgspec.Raw) -> None:
            self.measured.completion.add(time.monotonic() - sent_at)
            self.measured.completed += 1
            self._job = self._ended = None
            self._on_answer(raw)

        assert self._ended is not None
        self._report(then, ended=[self._ended], capacity=Capacity(jobs=1))


class _Event(msgspec.Struct):
    seq: int
    timestamp: datetime


class _EventParams(msgspec.Struct):
    event: _Event


_event = msgspec.json.Decoder(_EventParams)


class Subscriber(Peer):
    """Reads the events of the workflow, each once and in order, through losses of its connection."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._seq: int | None = None
        self._resumed_at = 0.0

    def begin(self) -> None:
        request = Subscribe(workflow_id=self.loop.plan.workflow_id, from_seq=self._seq, progress=False)
        self._resumed_at = time.time()
        self.call(request, lambda answer: None)

    def on_notification(self, params: msgspec.Raw, method: str) -> None:
        if method == "lagged":
            self.measured.lagged += 1
        if method != "event":
            return
        event = _event.decode(params).event
        if self._seq is not None and event.seq != self._seq + 1:
            self.measured.errors.append(f"event {event.seq} came after {self._seq}")
        self._seq = event.seq
        self.measured.events += 1
        happened = event.timestamp.timestamp()
        if happened > self._resumed_at:  # what is caught up with is not late
            self.measured.delivery.add(max(0.0, time.time() - happened))


class Slow(Subscriber):
    """Reads a byte now and then once it has subscribed."""

    def begin(self) -> None:
        super().begin()
        self.loop.forget(self)
        self._is_open = False
        self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(1)
        except BlockingIOError:
            data = b"?"
        except OSError:
            data = b""
        if data:
            self.loop.at(time.monotonic() + 0.01, self._read)
        else:
            self.measured.lost += 1
            self.open()


class Dead(Subscriber):
    """Never reads once it has subscribed; comes back when it has been dropped."""

    def begin(self) -> None:
        super().begin()
        self._is_open = False
        self._flush()
        self.loop.watch(self, 0)

    def on_event(self, event: int) -> None:
        if not self._is_open and event & select.EPOLLHUP:
            self.loop.forget(self)
            self.measured.lost += 1
            self.open()
        elif self._is_open:
            super().on_event(event)
