"""Operations as the rules describe them: what is stale, what is refused, what a plan is, and what it does to the model.

Like `reference_model` it is written from SEMANTICS alone. A new way to be stale goes into `find_changes`, a new refusal
into `check`, a new operation into `OPERATIONS` and `find_reasons`.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from reference_model import (
    ABSENT,
    ENDED,
    LIVE,
    UNKNOWN,
    WAITING,
    Baseline,
    Blueprint,
    Job,
    Model,
    Need,
    Result,
    Seen,
    State,
)

Reason = tuple[object, ...]
"""A kind of reason and what it names."""
Reasons = Mapping[str, tuple[Reason, ...]]
"""Of each job that has any."""

OLDER_NAMES = {"done": {"completed", "failed"}, "submitted": {"running"}, "submitted_pending": {"pending"}}
"""SEMANTICS §2: what filters also accept."""


@dataclass(frozen=True)
class Request:
    """What a user asks for. `jobs`, `stranger`, `status`, `return_code` are those of `jobs reset-status`."""

    operation: str
    force: bool = False
    stop_live: bool = False
    only_uninitialized: bool = False
    failed_only: bool = False
    reinitialize: bool = False
    jobs: tuple[str, ...] = ()
    stranger: bool = False
    """Whether an id is among the keys that no job has."""
    status: str | None = None
    return_code: int | None = None
    retry_unknown: bool = False
    max_runtime_s: int | None = None


@dataclass(frozen=True)
class Traits:
    """What an operation does besides resetting jobs (SEMANTICS §5)."""

    evaluates: bool
    """Uninitialized jobs become ready or blocked."""
    detects: bool
    """Looks for changes, as reinit does."""
    is_run: bool
    """Begins a run: run_id + 1, and the workflow is not canceled any more."""
    looks_at_all: bool
    """Observes every file; an operation that only evaluates observes the inputs of uninitialized jobs (5.1)."""


RERUN = Traits(evaluates=True, detects=True, is_run=True, looks_at_all=True)
EVALUATION = Traits(evaluates=True, detects=False, is_run=False, looks_at_all=False)
RESET = Traits(evaluates=False, detects=False, is_run=False, looks_at_all=False)
OPERATIONS: Mapping[str, Traits] = {
    "initialize": Traits(evaluates=True, detects=False, is_run=True, looks_at_all=True),
    "prepare": EVALUATION,
    "reinit": RERUN,
    "restart": RERUN,
    "restart --only-uninitialized": EVALUATION,
    "reset-status": RESET,
    "jobs reset-status": RESET,
    "recover": EVALUATION,
}


def traits_of(request: Request) -> Traits:
    """SEMANTICS §5: `--reinitialize` continues with reinit in the same transaction."""
    if request.only_uninitialized:
        return OPERATIONS["restart --only-uninitialized"]
    return RERUN if request.reinitialize else OPERATIONS[request.operation]


class Refusal(Exception):
    """An operation is refused, with this code; nothing is changed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Move:
    """One job of a plan."""

    before: State
    after: State
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Plan:
    """What an operation does."""

    request: Request
    run_id: int
    moves: Mapping[str, Move]
    """In topological order."""
    stopped: Collection[str]
    records: Mapping[str, Seen]
    clears_cancel: bool
    needs: Mapping[str, Need]
    """Of the jobs that are given other resource requirements."""

    @property
    def count(self) -> int:
        """The number of "Reset N jobs": what reinit or recover merely evaluates is not counted (SEMANTICS §5)."""
        if self.request.operation not in {"reinit", "recover"} and not self.request.reinitialize:
            return len(self.moves)
        return sum(
            1
            for move in self.moves.values()
            if ("requested",) in move.reasons or (move.reasons and move.before[0] != "uninitialized")
        )


# ---- before: what is asked for, and what has to be looked at -----------------------------------------------------


def resolve(model: Model, request: Request) -> Request:
    """SEMANTICS 5.1: on a workflow that was never initialized `prepare` is initialize."""
    if request.operation == "prepare" and model.run_id == 0:
        return replace(request, operation="initialize")
    return request


def has_nothing_to_do(model: Model, request: Request) -> bool:
    """SEMANTICS 5.1: whether `run` has nothing to prepare."""
    return resolve(model, request).operation == "prepare" and not model.with_status("uninitialized")


def files_to_look_at(model: Model, request: Request) -> set[str]:
    """SEMANTICS 4.1, 5.1: what the operation observes."""
    traits = traits_of(resolve(model, request))
    if traits.looks_at_all:
        return set(model.records)
    if not traits.evaluates:
        return set()
    names = {*model.with_status("uninitialized")}
    if request.operation == "recover":
        cured = cure(model, request)
        names |= {*cured, *model.downstream(cured)}
    return {file for name in names for file in inputs_of(model.jobs[name].blueprint)}


def inputs_of(blueprint: Blueprint) -> tuple[str, ...]:
    """What a job takes, its scripts included."""
    return (*blueprint.inputs, *blueprint.scripts)


def forget_outdated(model: Model, seen: Mapping[str, Seen], version: int) -> dict[str, Seen]:
    """SEMANTICS 6.5, 8.3: what was seen, but for files that were recorded since: their worker saw them later."""
    return {file: what for file, what in seen.items() if model.records[file][-1][0] <= version}


def leave_to_workers(model: Model, seen: Mapping[str, Seen]) -> dict[str, Seen]:
    """SEMANTICS 8.3: what a live job makes is for its worker to tell. Reading: until then it is as it was recorded."""
    made = {file for name in model.with_status(*LIVE) for file in model.jobs[name].blueprint.outputs}
    return {file: what for file, what in seen.items() if file not in made}


# ---- the plan, and its effects -----------------------------------------------------------------------------------


def make_plan(model: Model, request: Request, seen: Mapping[str, Seen]) -> Plan:
    """What an operation does, from what was observed; raises Refusal."""
    request = resolve(model, request)
    traits = traits_of(request)
    seen = leave_to_workers(model, seen)
    observed = {file: what for file, what in seen.items() if what != UNKNOWN}  # 4.8: unchanged, with --force
    own = find_reasons(model, request, traits, observed)
    inherited = spread(model, own)
    reset = {*own, *inherited} if request.operation != "initialize" else set(enabled(model))
    live = [name for name in model.with_status(*LIVE) if name in reset]
    state = model.states() | dict.fromkeys(reset, ("uninitialized", None))
    if traits.evaluates:
        model.evaluate(state, [name for name in model.order if state[name][0] in {"uninitialized", "blocked"}])
    moves = {
        name: Move(model.jobs[name].state, state[name], (*own.get(name, ()), *inherited.get(name, ())))
        for name in model.order
        if name in live or state[name] != model.jobs[name].state
    }
    check(model, request, traits, seen, model.jobs if traits.looks_at_all else moves)
    if live and not request.stop_live:
        raise Refusal(409)  # SEMANTICS 5.2
    # Reading: an evaluation that makes a job ready also takes a cancel back, else the job could not be meant to run
    resumes = traits.evaluates and any(move.after[0] == "ready" for move in moves.values())
    return Plan(
        request=request,
        run_id=model.run_id + traits.is_run,
        moves=moves,
        stopped=live,
        records=observed,
        clears_cancel=traits.is_run or resumes,
        needs=raise_needs(model, request) if request.operation == "recover" else {},
    )


def apply_plan(model: Model, plan: Plan) -> None:
    """SEMANTICS §5: all effects at once."""
    model.run_id = plan.run_id
    model.is_canceled = model.is_canceled and not plan.clears_cancel
    model.accept(plan.records)
    for name, need in plan.needs.items():
        model.jobs[name].need = need
    for name, move in plan.moves.items():
        supersede(model.jobs[name], is_stopped=name in plan.stopped)
        model.move(name, *move.after)


def supersede(job: Job, *, is_stopped: bool) -> None:
    """SEMANTICS 5.2, 8.5: a reset makes the attempt history; results stay. One that runs is stopped and fenced."""
    attempt, job.current = job.current, None
    if attempt is None:
        return
    if attempt.phase == "running":
        attempt.result = Result(None, "terminated", "superseded")
    if attempt.phase != "ended":
        attempt.phase = "void"
    attempt.is_stopping |= is_stopped


# ---- what an operation is refused with ---------------------------------------------------------------------------


def check(model: Model, request: Request, traits: Traits, seen: Mapping[str, Seen], concerned: Collection[str]) -> None:
    """Raises Refusal. Reading: of several causes an unknown job comes first, and live jobs last.

    Reading: an evaluation asks only for the files of the jobs that it moves, who are the `concerned`.
    """
    if request.stranger:
        raise Refusal(404)  # §5, jobs reset-status: all or nothing
    if request.force or not traits.evaluates:
        return
    if request.operation == "initialize" and model.with_status("completed"):
        raise Refusal(422)  # §5, initialize
    if UNKNOWN in seen.values():
        raise Refusal(422)  # 4.8
    if any(seen.get(file) == ABSENT for file in required_files(model, concerned)):
        raise Refusal(422)  # §5. Reading: `run` is refused like this as well, for the files that it looks at
    if traits.is_run and not required_values(model) <= model.values.keys():
        raise Refusal(422)  # §5, initialize. Reading: reinit and what continues as one refuse likewise


def enabled(model: Model) -> dict[str, Blueprint]:
    """SEMANTICS 2.5: disabled jobs keep their status in every operation."""
    return {name: job.blueprint for name, job in model.jobs.items() if job.status != "disabled"}


def required_files(model: Model, names: Collection[str]) -> set[str]:
    """Files that an enabled one of these jobs takes and no enabled job produces (§5, 2.5); never scripts (4.5)."""
    made = {file for each in enabled(model).values() for file in each.outputs}
    return {file for name, each in enabled(model).items() if name in names for file in each.inputs} - made


def required_values(model: Model) -> set[str]:
    """User data that an enabled job reads and no enabled job writes (§5)."""
    made = {value for each in enabled(model).values() for value in each.writes}
    return {value for each in enabled(model).values() for value in each.reads} - made


# ---- what is stale, and why --------------------------------------------------------------------------------------


def find_reasons(model: Model, request: Request, traits: Traits, observed: Mapping[str, Seen]) -> Reasons:
    """Each job's own reasons to be reset."""
    found: dict[str, tuple[Reason, ...]] = {}

    def add(names: Iterable[str], *reasons: Reason) -> None:
        for name in names:
            found[name] = (*found.get(name, ()), *reasons)

    if traits.detects:
        for name in model.order:
            add([name], *find_changes(model, name, observed))
    if request.operation == "restart" and traits.detects:
        for name in model.with_status("terminated", "canceled", *WAITING):
            add([name], ("not_completed", model.jobs[name].status))
    if request.operation == "reset-status":
        add(failed(model) if request.failed_only else enabled(model), ("requested",))
    if request.operation == "recover":
        for name in cure(model, request):
            add([name], ("not_completed", model.jobs[name].status))
    if request.operation == "jobs reset-status":
        add(named(model, request) & enabled(model).keys(), ("requested",))
    return {name: reasons for name, reasons in found.items() if reasons}


def failed(model: Model) -> list[str]:
    """§5, --failed-only: failed, terminated and canceled (upstream_failed)."""
    canceled = [name for name, job in model.jobs.items() if job.state == ("canceled", "upstream_failed")]
    return [*model.with_status("failed", "terminated"), *canceled]


def named(model: Model, request: Request) -> set[str]:
    """§5, jobs reset-status: the keys and what the selectors find."""
    names = set(request.jobs)
    if request.status is not None:
        names |= set(model.with_status(*OLDER_NAMES.get(request.status, {request.status})))
    if request.return_code is not None:
        names |= {name for name, job in model.jobs.items() if job.return_code == request.return_code}
    return names


def find_changes(model: Model, name: str, observed: Mapping[str, Seen]) -> list[Reason]:
    """SEMANTICS §4: what makes a job stale by itself, as it stands against what its last attempt used."""
    job = model.jobs[name]
    reasons: list[Reason] = []
    if job.status == "completed":
        reasons += [("output_missing", file) for file in job.blueprint.outputs if observed.get(file) == ABSENT]  # 4.4
    if job.status in ENDED and job.used is not None:  # else it has no baseline
        reasons += changed_inputs(model, job, job.used, observed)
        reasons += changed_definition(job, job.used)
        reasons += changed_values(model, job, job.used)
    return reasons


def changed_inputs(model: Model, job: Job, used: Baseline, observed: Mapping[str, Seen]) -> list[Reason]:
    """4.1, 4.5, 4.7: an input has a newer version than the one that the job's last attempt started with."""
    reasons: list[Reason] = []
    for file in (*job.blueprint.inputs, *job.blueprint.scripts):
        version, record = model.records[file][-1]
        now = observed.get(file, record)
        if now == record and version <= used.version:
            continue
        known = [seen for version, seen in model.records[file] if version <= used.version][-1]
        stored = known if isinstance(known, tuple) else None
        reasons.append(("input_missing", file, stored) if now == ABSENT else ("input_changed", file, stored, now))
    return reasons


def changed_definition(job: Job, used: Baseline) -> list[Reason]:
    """4.2: field by field."""
    then, now = used.definition, job.definition
    return [("definition_changed", field, then[field], now[field]) for field in now if then[field] != now[field]]


def changed_values(model: Model, job: Job, used: Baseline) -> list[Reason]:
    """4.3: an input value differs from the one that the last attempt consumed."""
    return [
        ("user_data_changed", value, used.values.get(value), model.values[value])
        for value in job.blueprint.reads
        if value in model.values and (value not in used.values or used.values[value] != model.values[value])
    ]


def spread(model: Model, own: Reasons) -> Reasons:
    """4.6: everything downstream of a stale job is stale, for the first root cause and by the first way to it."""
    place = {name: number for number, name in enumerate(model.order)}
    root_of: dict[str, str] = {}
    inherited: dict[str, tuple[Reason, ...]] = {}
    for name in model.order:
        if model.jobs[name].status == "disabled":  # 2.5: staleness stops there
            continue
        stale = model.upstream[name] & root_of.keys()
        if stale:
            root, via = min(((root_of[up], up) for up in stale), key=lambda each: (place[each[0]], place[each[1]]))
            inherited[name] = (("upstream_stale", root, via),)
            root_of[name] = root
        elif has_to_run(model, name, own.get(name, ())):
            root_of[name] = name
    return inherited


def has_to_run(model: Model, name: str, reasons: Collection[Reason]) -> bool:
    """Whether a job with these reasons of its own has to run again, which is what stale means (§1).

    Reading: a job canceled because of an upstream failure stays so while that failure stands (§5, restart). Until then
    it makes nothing stale that has completed below it, whatever its reasons; unless it is what the user asks for.
    """
    if model.jobs[name].status == "canceled" and ("requested",) not in reasons:
        return bool(reasons) and model.judge(name, model.states())[0] != "canceled"
    return bool(reasons)


# ---- recover -----------------------------------------------------------------------------------------------------

NEAR = 0.9
MULTIPLIER = 1.4
BLAMELESS = {"worker_lost", "worker_shutdown"}
"""Why a job was terminated that did nothing wrong."""


def cure(model: Model, request: Request) -> dict[str, float | None]:
    """SEMANTICS 5.9: the jobs that run again, and the runtime that each would need; None: what it has."""
    cured: dict[str, float | None] = {}
    for name in model.with_status("failed", "terminated"):
        job = model.jobs[name]
        if job.reason in BLAMELESS:
            cured[name] = None
        elif job.reason == "walltime":
            assert job.current is not None
            assert job.current.report is not None
            asked = 0.0 if job.need is None else job.need[1]
            used, most = job.current.report.exec_time_s, request.max_runtime_s
            if used < NEAR * asked:  # it was begun too late, and may well fit into another worker's time
                cured[name] = None
            elif most is None or (asked < most and used <= most):
                wanted = float(math.ceil(max(asked, used) * MULTIPLIER))
                cured[name] = wanted if most is None else min(wanted, most)
        elif request.retry_unknown:
            cured[name] = None
    return cured


def raise_needs(model: Model, request: Request) -> dict[str, Need]:
    """SEMANTICS 5.9: what the cured jobs ask for. Reading: of jobs with the same needs the longest decides for all."""
    found = {name: runtime_s for name, runtime_s in cure(model, request).items() if runtime_s is not None}
    longest: dict[Need | None, float] = {}
    for name, runtime_s in found.items():
        need = model.jobs[name].need
        longest[need] = max(longest.get(need, 0.0), runtime_s)
    needs = {name: model.jobs[name].need for name in found}
    return {name: (need[0] if need else "recovered", longest[need]) for name, need in needs.items()}
