"""One workflow as the rules describe it, to compare the product with: what there is, and what workers and users do.

Written from SEMANTICS alone, in plain dicts, sets and words. It imports nothing of torcd and shares no idea with it but
the names that users see: no arrays, no deltas, no ids, no columns. Every question is answered by looking at all jobs in
topological order. Each rule stands once, under its number; where the rules leave something open, "Reading" says what is
assumed. Operations are in `reference_operations`.

A new event of a job or a worker is a method in its section here, a step in `side_by_side` that does it to both, and a
rule in `test_stateful` that says when.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

Seen = tuple[int, int] | str
"""What is known of a file: (mtime_ns, size), or one of the next three words."""
ABSENT, UNKNOWN, NEVER = "absent", "unknown", "never"

Need = tuple[str, float]
"""Resource requirements: what those that a recovery makes of them are named after, and the runtime in seconds."""

State = tuple[str, str | None]
"""A job's status and its reason."""
Ref = tuple[str, int]
"""An attempt: the name of its job, and its number."""

LIVE = {"pending", "running"}
WAITING = {"uninitialized", "blocked", "ready"}
BAD = {"failed", "canceled", "terminated"}
ENDED = BAD | {"completed"}
SETTLED = ENDED | {"disabled"}

WHEN_STOPPED: Mapping[str, State] = {
    "walltime": ("terminated", "walltime"),
    "worker_shutdown": ("terminated", "worker_shutdown"),
    "by_user": ("canceled", "by_user"),
    "superseded": ("terminated", "superseded"),
}
"""SEMANTICS §2, 2.4: the status of a job that its worker killed."""


# ---- what is given -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blueprint:
    """One job of a specification. `scripts` are its implicit inputs (SEMANTICS 4.5)."""

    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cancels: bool = True
    priority: int = 0
    need: Need | None = None


@dataclass(frozen=True)
class End:
    """A worker's report of how an attempt ended; `outputs` is what it saw of the declared ones (SEMANTICS 8.3)."""

    ref: Ref
    return_code: int
    started_ms: int
    ended_ms: int
    exec_time_s: float
    stopped: str | None = None
    outputs: Mapping[str, Seen] = field(default_factory=dict)

    def says(self) -> tuple[int, int, int]:
        """What makes two reports of one attempt the same."""
        return self.return_code, self.started_ms, self.ended_ms


# ---- what there is -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Baseline:
    """What an attempt works with, as of its claim (SEMANTICS 4.7).

    Reading: "the start of its last attempt" is the moment of the claim, so that what changes between a claim and the
    start of the process is seen by the next reinit, like what changes while it runs.
    """

    version: int
    values: Mapping[str, object]
    definition: Mapping[str, object]


@dataclass(frozen=True)
class Result:
    """What is kept of an attempt (SEMANTICS 8.5)."""

    return_code: int | None
    status: str
    reason: str | None


@dataclass
class Attempt:
    """A claim and what became of it."""

    ref: Ref
    run_id: int
    worker: int
    baseline: Baseline
    phase: str = "pending"
    """pending, running, ended; lost: its worker stayed away; canceled: with the workflow; void: handed back or
    superseded, nothing that is told of it counts."""
    report: End | None = None
    """Its own report, once that was accepted."""
    result: Result | None = None
    is_stopping: bool = False
    """It was asked to stop, and may still be alive."""


@dataclass
class Job:
    """A job and where it stands."""

    blueprint: Blueprint
    definition: dict[str, object]
    cancels: bool
    priority: int
    need: Need | None
    status: str = "uninitialized"
    reason: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    current: Attempt | None = None
    """The attempt that the status tells of: none before the first, and none after a reset."""
    used: Baseline | None = None
    """That of the last attempt which started."""

    @property
    def state(self) -> State:
        """The status and its reason."""
        return self.status, self.reason

    @property
    def return_code(self) -> int | None:
        """SEMANTICS 8.5: that of the current result."""
        if self.status not in ENDED or self.current is None or self.current.result is None:
            return None
        return self.current.result.return_code


class Model:
    """A workflow."""

    def __init__(self, blueprints: Iterable[Blueprint], values: Mapping[str, object]) -> None:
        """`values` is the user data that has a value from the beginning."""
        self.jobs: dict[str, Job] = {
            each.name: Job(each, {"command": f"run {each.name}", "env": {}}, each.cancels, each.priority, each.need)
            for each in blueprints
        }
        self.producer = {file: name for name, job in self.jobs.items() for file in job.blueprint.outputs}
        self.writer = {value: name for name, job in self.jobs.items() for value in job.blueprint.writes}
        self.upstream = {name: self._find_upstream(job.blueprint) for name, job in self.jobs.items()}
        self.order = self._sort()
        self.run_id = 0
        self.is_canceled = False
        self.version = 0
        """The counter of accepted changes (SEMANTICS 4.7)."""
        self.values = dict(values)
        self.records: dict[str, list[tuple[int, Seen]]] = {
            file: [(0, NEVER)]
            for job in self.jobs.values()
            for file in (*job.blueprint.inputs, *job.blueprint.scripts, *job.blueprint.outputs)
        }
        """Of each file, what was accepted of it with which version, oldest first."""

    def _find_upstream(self, blueprint: Blueprint) -> set[str]:
        """SEMANTICS §1: explicit dependencies, and those implied by files and user data."""
        implied = {self.producer[file] for file in blueprint.inputs if file in self.producer}
        implied |= {self.writer[value] for value in blueprint.reads if value in self.writer}
        return implied | set(blueprint.after)

    def _sort(self) -> list[str]:
        """Topological order. Reading: by the longest way to a job, then as in the specification."""
        level: dict[str, int] = {}
        while len(level) < len(self.jobs):
            for name, upstream in self.upstream.items():
                if upstream <= level.keys():
                    level[name] = max((level[up] + 1 for up in upstream), default=0)
        return sorted(self.jobs, key=level.__getitem__)  # stable

    # ---- questions ----

    @property
    def is_complete(self) -> bool:
        """SEMANTICS 2.2"""
        return all(job.status in SETTLED for job in self.jobs.values())

    def with_status(self, *statuses: str) -> list[str]:
        """The jobs with one of these statuses, in topological order."""
        return [name for name in self.order if self.jobs[name].status in statuses]

    def downstream(self, names: Collection[str]) -> list[str]:
        """Everything that depends on these jobs, but not through disabled ones (SEMANTICS 2.5)."""
        found: set[str] = set()
        for name in self.order:
            if self.upstream[name] & (found | set(names)) and self.jobs[name].status != "disabled":
                found.add(name)
        return [name for name in self.order if name in found]

    def attempt(self, ref: Ref) -> Attempt | None:
        """An attempt that was handed out."""
        attempts = self.jobs[ref[0]].attempts if ref[0] in self.jobs else []
        return attempts[ref[1] - 1] if 0 < ref[1] <= len(attempts) else None

    def attempts_of(self, worker: int) -> list[Attempt]:
        """Everything that a worker was ever handed."""
        return [each for job in self.jobs.values() for each in job.attempts if each.worker == worker]

    def claimable(self, time_left_s: float | None = None) -> list[str]:
        """The jobs that may be handed to a worker with so much time, best first (SEMANTICS 8.1).

        SEMANTICS 5.2: not one whose former attempt was asked to stop and may still be alive.
        """
        free = [name for name in self.with_status("ready") if not any(a.is_stopping for a in self.jobs[name].attempts)]
        fitting = [name for name in free if self.ends_within(name, time_left_s)]
        return sorted(fitting, key=lambda name: -self.jobs[name].priority)

    def ends_within(self, name: str, time_left_s: float | None) -> bool:
        """SEMANTICS 8.1. Reading: a job without requirements has not said how long it takes, and always fits."""
        need = self.jobs[name].need
        return time_left_s is None or need is None or need[1] <= time_left_s

    def count_stranded(self, time_left_s: float | None) -> int:
        """The jobs that wait, when nothing is under way and nothing that is ready fits into so much time; else 0."""
        if self.with_status(*LIVE) or any(self.ends_within(name, time_left_s) for name in self.with_status("ready")):
            return 0
        return len(self.with_status(*WAITING))

    def record(self, file: str) -> Seen:
        """What was last accepted of a file."""
        return self.records[file][-1][1]

    def is_stuck_rightly(self, name: str) -> bool:
        """Whether a job that nobody works on any more has a reason: it has settled, or waits for an evaluation."""
        status = self.jobs[name].status
        if status == "blocked":
            return any(not self._is_settled(up) and self.is_stuck_rightly(up) for up in self.upstream[name])
        return status in SETTLED | {"uninitialized"}

    def _is_settled(self, name: str) -> bool:
        return self.jobs[name].status in SETTLED

    # ---- §2: what a status makes of those downstream ----

    def judge(self, name: str, state: Mapping[str, State]) -> State:
        """SEMANTICS §2, 2.1: ready, blocked or canceled, from the statuses of the direct dependencies alone."""
        statuses = {state[up][0] for up in self.upstream[name]}
        if not statuses <= SETTLED:
            return "blocked", None
        if statuses & BAD and self.jobs[name].cancels:
            return "canceled", "upstream_failed"
        return "ready", None

    def states(self) -> dict[str, State]:
        return {name: job.state for name, job in self.jobs.items()}

    def evaluate(self, state: dict[str, State], candidates: Collection[str]) -> None:
        """Gives each candidate its status in `state`; upstream first, so that everything follows at once."""
        for name in self.order:
            if name in candidates:
                state[name] = self.judge(name, state)

    def move(self, name: str, status: str, reason: str | None = None) -> None:
        job = self.jobs[name]
        job.status, job.reason = status, reason

    def _push(self) -> None:
        """SEMANTICS §2: a blocked job whose last dependency settles becomes ready or canceled at once."""
        state = self.states()
        self.evaluate(state, self.with_status("blocked"))
        for name, after in state.items():
            self.move(name, *after)

    # ---- 8.1: claims ----

    def claim(self, worker: int, name: str) -> Attempt:
        """ready → pending"""
        assert name in self.claimable(), f"{name} is handed out though it is {self.jobs[name]}"
        job = self.jobs[name]
        baseline = Baseline(self.version, dict(self.values), dict(job.definition))
        attempt = Attempt((name, len(job.attempts) + 1), self.run_id, worker, baseline)
        job.attempts.append(attempt)
        job.current = attempt
        self.move(name, "pending")
        return attempt

    # ---- 5.3, 8.2, 8.3: what workers report ----

    def report(
        self, worker: int, started: Iterable[Ref] = (), ended: Iterable[End] = (), returned: Iterable[Ref] = ()
    ) -> list[tuple[Ref, str]]:
        """Takes a report: first what started, then what ended, then what is handed back. Tells what is refused."""
        refused = [(ref, "superseded") for ref in dict.fromkeys(started) if not self._take_start(worker, ref)]
        accepted = []
        for end in ended:
            verdict = self._find_verdict(worker, end)
            if verdict == "accepted":
                self._take_end(end)
                accepted.append(end)
            elif verdict != "replay":
                refused.append((end.ref, verdict))
        settled = [end for end in accepted if self._settle_end(end)]
        self.accept({file: seen for end in settled for file, seen in end.outputs.items() if seen != UNKNOWN})
        self._push()
        for ref in returned:
            self._take_return(worker, ref)
        return refused

    def _take_start(self, worker: int, ref: Ref) -> bool:
        """pending → running. Told again, or late, it changes nothing; of a superseded attempt it is refused."""
        attempt = self.attempt(ref)
        if attempt is None or attempt.worker != worker or self.jobs[ref[0]].current is not attempt:
            return False
        if attempt.phase == "pending":
            self._start(attempt)
        return True

    def _start(self, attempt: Attempt) -> None:
        attempt.phase = "running"
        self.jobs[attempt.ref[0]].used = attempt.baseline
        self.move(attempt.ref[0], "running")

    def _find_verdict(self, worker: int, end: End) -> str:
        """SEMANTICS 5.3: accepted for exactly that attempt; a replay; a conflict; or superseded."""
        attempt = self.attempt(end.ref)
        if attempt is None:
            return "superseded"
        if attempt.report is not None:
            same = attempt.worker == worker and attempt.report.says() == end.says()
            return "replay" if same else "conflict"
        if attempt.worker != worker or attempt.phase == "void":
            return "superseded"
        return "accepted"

    def _take_end(self, end: End) -> None:
        attempt = self.attempt(end.ref)
        assert attempt is not None
        attempt.report = end
        if attempt.phase == "pending":
            self._start(attempt)  # its start was never told
        elif attempt.phase == "lost":
            self._take_back(attempt)

    def _settle_end(self, end: End) -> bool:
        """running → completed, failed, terminated or canceled; whether the job has moved.

        Reading: the end of a canceled attempt leaves its result and nothing else: no output of it is recorded.
        """
        attempt = self.attempt(end.ref)
        assert attempt is not None
        if attempt.phase == "canceled":
            attempt.result = Result(end.return_code, *WHEN_STOPPED["by_user"])
            return False
        outcome = self._judge_end(end)
        attempt.phase = "ended"
        attempt.result = Result(end.return_code, *outcome)
        self.move(end.ref[0], *outcome)
        return True

    def _judge_end(self, end: End) -> State:
        """SEMANTICS §2, 8.2. Reading: user data that has a value from before the attempt is not missing."""
        if end.stopped is not None:
            return WHEN_STOPPED[end.stopped]
        if end.return_code != 0:
            return "failed", None
        blueprint = self.jobs[end.ref[0]].blueprint
        is_there = all(isinstance(end.outputs.get(file), tuple) for file in blueprint.outputs)
        if is_there and all(value in self.values for value in blueprint.writes):
            return "completed", None
        return "failed", "output_missing"

    def _take_return(self, worker: int, ref: Ref) -> None:
        """pending → ready: the worker hands the claim back. What is not its claim any more is nobody's loss."""
        attempt = self.attempt(ref)
        if attempt is not None and attempt.worker == worker and attempt.phase == "pending":
            self._hand_back(attempt)

    def _hand_back(self, attempt: Attempt) -> None:
        attempt.phase = "void"
        self.jobs[attempt.ref[0]].current = None
        self.move(attempt.ref[0], "ready")

    def note_over(self, worker: int, refs: Iterable[Ref]) -> None:
        """What a worker has said of an attempt's end, accepted or not: its process is no more (SEMANTICS 5.2).

        Reading: the job is free for the reports after that, not yet for the one that says so.
        """
        for attempt in map(self.attempt, refs):
            if attempt is not None and attempt.worker == worker:
                attempt.is_stopping = False

    # ---- 8.4: workers that stay away, and those that come back ----

    def lose(self, worker: int) -> None:
        """A session expires, or a worker leaves: pending claims return, running jobs are terminated (worker_lost)."""
        self._give_up(worker, keeps=())
        for attempt in self.attempts_of(worker):
            attempt.is_stopping = False  # nobody is left to ask

    def come_back(self, worker: int, presented: Iterable[Ref]) -> list[Ref]:
        """A worker registers again with the attempts it holds; tells which of them it has lost.

        Reading: an attempt that has ended may be presented, since the answer to its report may have been lost, as
        long as its job was not reset. What the worker is to stop it is told anew.
        """
        lost, keeps = [], set()
        for each in self.attempts_of(worker):
            each.is_stopping = False
        for ref in presented:
            attempt = self.attempt(ref)
            if attempt is None or attempt.worker != worker or self.jobs[ref[0]].current is not attempt:
                lost.append(ref)
                continue
            keeps.add(ref)
            if attempt.phase == "lost":
                self._take_back(attempt)
            attempt.is_stopping = self.jobs[ref[0]].status == "canceled"
        self._give_up(worker, keeps)
        return lost

    def _give_up(self, worker: int, keeps: Collection[Ref]) -> None:
        for attempt in self.attempts_of(worker):
            if attempt.ref in keeps:
                continue
            if attempt.phase == "pending":
                self._hand_back(attempt)
            elif attempt.phase == "running":
                attempt.phase = "lost"
                attempt.result = Result(None, "terminated", "worker_lost")
                self.move(attempt.ref[0], "terminated", "worker_lost")
        self._push()

    def _take_back(self, attempt: Attempt) -> None:
        """terminated (worker_lost) → running.

        Reading: what the loss has decided downstream is decided anew. Jobs that it canceled wait again, and so do those
        that became ready because they do not mind (`cancel_on_blocking_job_failure` is false).
        """
        attempt.phase = "running"
        self.move(attempt.ref[0], "running")
        state = self.states()
        for name in self.downstream([attempt.ref[0]]):
            before, after = state[name], self.judge(name, state)
            if before == ("canceled", "upstream_failed") or (before[0], after[0]) == ("ready", "blocked"):
                state[name] = after
                self.move(name, *after)

    def crash(self, registered: Collection[int]) -> None:
        """What dies with an actor or a daemon: whom it had asked to stop. `registered`: the workers that are not gone.

        Reading: until a worker is back, or gone, each attempt of which it has not told the end may be alive (8.4).
        """
        for job in self.jobs.values():
            is_free = job.status not in (*LIVE, "completed", "failed", "disabled")
            for attempt in job.attempts:
                is_latest = attempt is job.attempts[-1]
                attempt.is_stopping = is_free and is_latest and attempt.report is None and attempt.worker in registered

    # ---- the user: cancel and edits ----

    def cancel(self) -> int:
        """Everything that has not ended becomes canceled (by_user); attempts under way are stopped."""
        names = self.with_status(*WAITING, *LIVE)
        for name in names:
            job = self.jobs[name]
            if job.current is not None:
                if job.current.phase == "running":
                    job.current.result = Result(None, "canceled", "by_user")
                job.current.phase = "canceled"
                job.current.is_stopping = True
            self.move(name, "canceled", "by_user")
        self.is_canceled = True
        return len(names)

    def edit(self, name: str, **fields: object) -> bool:
        """SEMANTICS 4.2: a job that is not live; whether it was accepted."""
        job = self.jobs[name]
        if job.status in LIVE:
            return False
        for key, value in fields.items():
            if key == "priority":
                job.priority = int(value)  # type: ignore[call-overload]
            elif key == "cancels":
                job.cancels = bool(value)
            elif job.definition[key] != value:
                job.definition[key] = value
                self.version += 1
        return True

    def write_value(self, value: str, data: object, writer: Ref | None = None) -> bool:
        """SEMANTICS 4.3, 5.3: an equal value is no change; a job writes during its own latest attempt only."""
        if writer is not None:
            attempt = self.attempt(writer)
            if attempt is None or attempt.phase not in LIVE or self.jobs[writer[0]].current is not attempt:
                return False
        if value not in self.values or self.values[value] != data:
            self.version += 1
            self.values[value] = data
        return True

    def accept(self, observed: Mapping[str, Seen]) -> None:
        """SEMANTICS 4.1, 4.7: what differs from its record is accepted, with a new version."""
        changed = {file: seen for file, seen in observed.items() if seen != self.record(file)}
        self.version += bool(changed)
        for file, seen in changed.items():
            self.records[file].append((self.version, seen))
