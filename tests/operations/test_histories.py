"""Any history of claims, ends, losses, operations, edits and writes leaves a state that the database agrees with.

The machine here does at random what clients and workers do; after every step the state in memory must be what
a daemon that starts now would load, and at the end a run must leave nothing stale.
"""

from collections.abc import Callable

import pytest
from builders import job, new_workflow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workbench import Workbench

from torcd.core.status import Status
from torcd.operations.disable import disable_jobs, enable_jobs
from torcd.operations.resume import resume_attempts
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.requests import Initialize, Operation, Prepare, Reinit, ResetJobs, ResetStatus, Restart
from torcd.protocol.specification import JobSpec, UserDataSpec
from torcd.protocol.worker_requests import AttemptRef
from torcd.storage.load import load_state

WORKERS = (1, 2)
OPERATIONS: list[tuple[type[Operation], dict[str, bool]]] = [
    (Initialize, {}),
    (Prepare, {}),
    (Reinit, {}),
    (Restart, {}),
    (Restart, {"only_uninitialized": True}),
    (ResetStatus, {}),
    (ResetStatus, {"failed_only": True}),
    (ResetStatus, {"failed_only": True, "reinitialize": True}),
]


VALUES = [UserDataSpec(name="given", data=1), UserDataSpec(name="made")]


@st.composite
def specifications(draw: st.DrawFn) -> list[JobSpec]:
    count = draw(st.integers(1, 5))
    specs = []
    for number in range(count):
        before = [f"f{other}" for other in range(number)]
        specs.append(
            job(
                f"j{number}",
                input_files=sorted(draw(st.sets(st.sampled_from([*before, "x", "z"]), max_size=2))),
                output_files=[f"f{number}"],
                depends_on=sorted(draw(st.sets(st.sampled_from([f"j{o}" for o in range(number)]), max_size=2)))
                if number
                else [],
                input_user_data=["given"] if draw(st.booleans()) else [],
                output_user_data=["made"] if number == 0 and draw(st.booleans()) else [],
                cancel_on_blocking_job_failure=draw(st.booleans()),
                priority=draw(st.integers(0, 1)),
            )
        )
    return specs


def make_bench(specs: list[JobSpec]) -> Workbench:
    return Workbench(new_workflow(specs, ["x", "z"], VALUES, scripts=[("j0", "tool.sh")]))


class Machine:
    """One step each; what cannot be done now does nothing."""

    def __init__(self, bench: Workbench, draw: Callable) -> None:
        self.bench = bench
        self.draw = draw

    @property
    def names(self) -> list[str]:
        return sorted(self.bench.status())

    def held(self, worker: int, *statuses: str) -> list[str]:
        """The jobs of a worker with one of these statuses."""
        bench = self.bench
        return [
            name
            for name, status in bench.status().items()
            if status in statuses and bench.state.jobs.worker[bench.index(name)] == worker
        ]

    def some(self, names: list[str]) -> list[str]:
        return sorted(self.draw(st.sets(st.sampled_from(names)))) if names else []

    def claim(self) -> None:
        self.bench.claim(self.draw(st.sampled_from(WORKERS)), jobs=self.draw(st.integers(1, 3)))

    def start(self) -> None:
        worker = self.draw(st.sampled_from(WORKERS))
        self.bench.report(
            worker, started=[self.bench.attempt(name) for name in self.some(self.held(worker, "pending"))]
        )

    def end(self) -> None:
        worker = self.draw(st.sampled_from(WORKERS))
        ends = []
        for name in self.some(self.held(worker, "pending", "running", "terminated", "canceled", "completed")):
            if self.draw(st.booleans()):
                self.bench.write_outputs(name, size=self.draw(st.integers(0, 2)))
            ends.append(self.bench.end(name, self.draw(st.sampled_from([0, 0, 1]))))
        self.bench.report(worker, ended=ends)

    def hand_back(self) -> None:
        worker = self.draw(st.sampled_from(WORKERS))
        self.bench.report(
            worker, returned=[self.bench.attempt(name) for name in self.some(self.held(worker, "pending"))]
        )

    def lose(self) -> None:
        self.bench.lose(self.draw(st.sampled_from(WORKERS)))

    def come_back(self) -> None:
        worker = self.draw(st.sampled_from(WORKERS))
        held = self.some(self.held(worker, "pending", "running", "terminated", "canceled", "ready"))
        presented = [self.bench.attempt(name) for name in held] + [AttemptRef(job_id=77, attempt_id=1)]
        self.bench.change(lambda draft: resume_attempts(draft, worker, "host", presented))

    def cancel(self) -> None:
        self.bench.cancel()

    def disable(self) -> None:
        names = self.some(self.names)
        is_live = {"pending", "running"} & {self.bench.status()[name] for name in names}
        try:
            self.bench.change(lambda draft: disable_jobs(draft, [self.bench.id(name) for name in names]))
        except Conflict:
            assert is_live
        else:
            assert not is_live

    def enable(self) -> None:
        names = self.some(self.names)
        self.bench.change(lambda draft: enable_jobs(draft, [self.bench.id(name) for name in names]))

    def operate(self) -> None:
        kind, parameters = self.draw(st.sampled_from(OPERATIONS))
        self.try_operation(kind, **parameters)

    def reset_jobs(self) -> None:
        self.try_operation(ResetJobs, jobs=[self.bench.id(name) for name in self.some(self.names)])

    def try_operation(self, kind: type[Operation], **parameters: object) -> None:
        force, stop = self.draw(st.booleans()), self.draw(st.booleans())
        before = self.bench.dump()
        try:
            self.bench.operate(kind, force=force, stop_live=stop, **parameters)
        except (Conflict, Refused):
            assert self.bench.dump() == before, "what is refused changes nothing"

    def change_a_file(self) -> None:
        disk = self.bench.disk
        name = self.draw(st.sampled_from(["x", "z", "tool.sh", *(f"f{number}" for number in range(len(self.names)))]))
        if disk.stat(name) is not None and self.draw(st.booleans()):
            disk.delete(name)
        else:
            disk.write(name, size=self.draw(st.integers(0, 2)))

    def edit(self) -> None:
        name = self.draw(st.sampled_from(self.names))
        changes = self.draw(
            st.sampled_from([{"command": f"run {name}"}, {"command": "other"}, {"env": {"A": "1"}}, {"priority": 5}])
        )
        is_live = self.bench.status()[name] in ("pending", "running")
        try:
            self.bench.edit(name, **changes)
        except Conflict:
            assert is_live
        else:
            assert not is_live

    def update(self) -> None:
        specs = self.draw(specifications())
        before = self.bench.dump()
        try:
            self.bench.update(specs, ["x", "z"], VALUES, scripts=[("j0", "tool.sh")])
        except Conflict:
            assert self.bench.dump() == before, "what is refused changes nothing"

    def write_a_value(self) -> None:
        self.bench.set_value(self.draw(st.sampled_from(["given", "made"])), self.draw(st.integers(0, 2)))

    def restart_the_daemon(self) -> None:
        self.bench.state = load_state(self.bench.db, self.bench.workflow_id)


STEPS = [
    Machine.claim, Machine.claim, Machine.start, Machine.end, Machine.end, Machine.hand_back, Machine.lose,
    Machine.come_back, Machine.cancel, Machine.operate, Machine.operate, Machine.reset_jobs, Machine.change_a_file,
    Machine.edit, Machine.update, Machine.write_a_value, Machine.disable, Machine.enable, Machine.restart_the_daemon,
]  # fmt: skip


def check_rules(bench: Workbench) -> None:
    """What holds at every moment."""
    state = bench.state
    blocked = state.jobs.status == Status.BLOCKED
    assert (state.waiting[blocked] > 0).all(), "a blocked job waits for something"
    assert not state.waiting[state.jobs.status == Status.READY].any(), "a ready job waits for nothing"
    assert bench.rows("SELECT 1 FROM result GROUP BY job_id, attempt_id HAVING count(*) > 1") == []
    events = [seq for seq, _, _ in bench.events()]
    assert events == list(range(1, len(events) + 1)), "SEMANTICS 7.1: numbered without gaps"
    versions = bench.rows("SELECT max(version) FROM file_record UNION ALL SELECT max(version) FROM user_data_version")
    assert all(version is None or version <= state.version_counter for (version,) in versions)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(specifications(), st.data())
def test_after_any_history_the_state_in_memory_is_the_one_in_the_database(
    specs: list[JobSpec], data: st.DataObject
) -> None:
    """SEMANTICS §2, 2.3, 5.3, 7.1, 8.4"""
    bench = make_bench(specs)
    try:
        machine = Machine(bench, data.draw)
        bench.disk.write("x", "z", "tool.sh")
        bench.operate(Initialize)
        for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=14)):
            run = bench.state.run_id
            step(machine)
            bench.check()
            check_rules(bench)
            assert bench.state.run_id >= run, "run_id never decreases"
    finally:
        bench.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(specifications(), st.data())
def test_after_any_history_a_reinit_and_a_run_leave_nothing_stale(specs: list[JobSpec], data: st.DataObject) -> None:
    """SEMANTICS 4.1 to 4.7, 5.1"""
    bench = make_bench(specs)
    try:
        machine = Machine(bench, data.draw)
        bench.disk.write("x", "z", "tool.sh")
        bench.operate(Initialize)
        for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=10)):
            step(machine)
        for worker in WORKERS:
            bench.lose(worker)
        bench.operate(data.draw(st.sampled_from([Reinit, Restart])), force=True)
        bench.run_all(failing=data.draw(st.sets(st.sampled_from(machine.names))))
        assert bench.state.is_complete
        again = bench.preview(Reinit, force=True)
        assert bench.reasons(again) == {}
    finally:
        bench.close()


@pytest.mark.parametrize("kind", [Reinit, Restart])
def test_a_run_without_any_history_leaves_nothing_stale(kind: type[Operation]) -> None:
    """SEMANTICS 4.1"""
    bench = Workbench(new_workflow([job("a", output_files=["x"]), job("b", input_files=["x"])]))
    try:
        bench.operate(Initialize)
        bench.run_all()
        assert bench.operate(kind).summary.listed == 0
    finally:
        bench.close()
