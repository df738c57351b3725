"""Plans on graphs that are deep or full of paths: right, without recursion, and at the cost of their edges."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from builders import FIRST_JOB, layered

from torcd.core.changes import Kind
from torcd.core.draft import Draft
from torcd.core.fingerprint import Definition
from torcd.core.plan import Plan, pack_plan, summarize
from torcd.core.planning import Known, make_plan
from torcd.core.state import State
from torcd.core.status import Status, StatusReason
from torcd.protocol.requests import Initialize, Operation, Prepare, Reinit, ResetJobs, ResetStatus, Restart

S = Status

SHAPES = {
    "a chain": [1] * 100_000,
    "a ladder": [2] * 1_000,
    "a ladder of 64 rungs": [2] * 64,  # and 2^63 paths
    "diamonds": [1, 100] * 20 + [1],
}


@dataclass(frozen=True)
class Case:
    """An operation on a workflow whose first job is special; the others of its layer completed, the rest are alike."""

    kind: type[Operation]
    first: Status
    rest: Status
    becomes: tuple[Status, Status]
    """What the first job and the rest are in the plan."""
    parameters: dict[str, Any] = field(default_factory=dict)
    edited: bool = False
    """Whether the first job's command was edited."""
    takes_all: bool = False
    """Whether the others of the first layer become what the first job becomes."""


RUN_AGAIN = (S.READY, S.BLOCKED)
RESET = (S.UNINITIALIZED, S.UNINITIALIZED)
FAILED_ONLY = {"failed_only": True}
CASES = {
    "reinit": Case(Reinit, S.COMPLETED, S.COMPLETED, RUN_AGAIN, edited=True),
    "restart": Case(Restart, S.TERMINATED, S.CANCELED, RUN_AGAIN),
    "restart after an edit": Case(Restart, S.COMPLETED, S.COMPLETED, RUN_AGAIN, edited=True),
    "reset-status": Case(ResetStatus, S.COMPLETED, S.COMPLETED, RESET, takes_all=True),
    "reset-status --failed-only": Case(ResetStatus, S.FAILED, S.CANCELED, RESET, FAILED_ONLY),
    "and --reinitialize": Case(ResetStatus, S.FAILED, S.CANCELED, RUN_AGAIN, {**FAILED_ONLY, "reinitialize": True}),
    "jobs reset-status": Case(ResetJobs, S.COMPLETED, S.COMPLETED, RESET, {"jobs": [FIRST_JOB]}),
    "initialize": Case(Initialize, S.FAILED, S.CANCELED, RUN_AGAIN, takes_all=True),
}


def make_state(case: Case, widths: list[int]) -> State:
    """The workflow of a case."""
    state = layered(*widths)
    state.jobs.status[:] = case.rest
    state.jobs.reason[state.jobs.status == S.CANCELED] = StatusReason.UPSTREAM_FAILED
    state.jobs.status[: widths[0]], state.jobs.reason[: widths[0]] = S.COMPLETED, StatusReason.NONE
    state.jobs.status[0] = case.first
    state.jobs.counter[:] = 0
    if case.edited:
        state.version_counter = 1
        state.definitions[0] = [(0, Definition(command="old")), (1, Definition(command="new"))]
    state.recount()
    return state


def carry_out(state: State, kind: type[Operation], **parameters: Any) -> Plan:
    """Plans, packs and applies, as an operation does."""
    plan = make_plan(state, kind(workflow_id=1, force=True, **parameters), Known())
    pack_plan(plan, state)
    summarize(plan, state)
    Draft(state, 0).place(plan.jobs, plan.after, plan.after_reason)
    return plan


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("widths", SHAPES.values(), ids=SHAPES.keys())
def test_a_deep_plan_lists_each_job_once_with_its_direct_upstream(case: Case, widths: list[int]) -> None:
    """SEMANTICS 2.1, 4.6, §5"""
    state = make_state(case, widths)
    plan = carry_out(state, case.kind, **case.parameters)
    width, count = widths[0], sum(widths)
    starts = range(width) if case.takes_all else [0]
    assert plan.jobs.tolist() == [*starts, *range(width, count)]
    assert plan.after.tolist() == [case.becomes[0]] * len(starts) + [case.becomes[1]] * (count - width)
    inherited = plan.reasons.kind == Kind.UPSTREAM_STALE
    if case.kind is Initialize:
        assert not len(plan.reasons.kind)
        return
    assert plan.reasons.job[inherited].tolist() == list(range(width, count))
    assert not plan.reasons.ref[inherited].any(), "the first root cause is the first job"
    first_upstream = state.graph.upstream.items[state.graph.upstream.start[width:count]]
    assert plan.reasons.old_a[inherited].tolist() == first_upstream.tolist()


@pytest.mark.parametrize("kind", [Prepare, Restart])
@pytest.mark.parametrize("widths", SHAPES.values(), ids=SHAPES.keys())
def test_an_evaluation_below_a_failure_cancels_everything(kind: type[Operation], widths: list[int]) -> None:
    """SEMANTICS §2, 2.1, 5.1"""
    state = make_state(Case(kind, S.FAILED, S.UNINITIALIZED, RESET), widths)
    plan = carry_out(state, kind, **({"only_uninitialized": True} if kind is Restart else {}))
    assert plan.jobs.tolist() == list(range(widths[0], sum(widths)))
    assert set(plan.after.tolist()) == {S.CANCELED}
    assert state.is_complete


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_plan_costs_what_its_edges_cost(case: Case) -> None:
    """SEMANTICS 2.1: four times as long a chain takes about four times as long"""

    def seconds(length: int) -> float:
        state = make_state(case, [1] * length)
        began = time.process_time()
        carry_out(state, case.kind, **case.parameters)
        return time.process_time() - began

    short, long = (min(seconds(length) for _ in range(3)) for length in (5_000, 20_000))
    assert long < 12 * short
