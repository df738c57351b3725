"""Does at random what clients, workers and users do to one workflow: for properties that hold after any history."""

from collections.abc import Callable
from typing import Any

from builders import job, new_workflow
from hypothesis import strategies as st
from workbench import Workbench

from torcd.operations.disable import disable_jobs, enable_jobs
from torcd.operations.resume import resume_attempts
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.recover import Recover
from torcd.protocol.requests import (
    AcceptJobs,
    Initialize,
    Operation,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    Undo,
)
from torcd.protocol.specification import JobSpec, ResourceRequirementsSpec, UserDataSpec
from torcd.protocol.worker_requests import AttemptRef
from torcd.storage.load import load_state

WORKERS = (1, 2)
CONTENTS = (None, "one", "two")
"""What is written into files; None: something new."""
OPERATIONS: list[tuple[type[Operation], dict[str, object]]] = [
    (Initialize, {}),
    (Prepare, {}),
    (Reinit, {}),
    (Reinit, {"detect": "content"}),
    (Reinit, {"detect": "mtime"}),
    (Restart, {}),
    (Restart, {"detect": "content"}),
    (Restart, {"only_uninitialized": True}),
    (ResetStatus, {}),
    (ResetStatus, {"failed_only": True}),
    (ResetStatus, {"failed_only": True, "reinitialize": True}),
    (Recover, {}),
    (Recover, {"retry_unknown": True, "max_memory": "3m"}),
]
SMALL = ResourceRequirementsSpec(name="small", memory="1m")
ENDS = [(0, None), (0, None), (1, None), (137, 2**20)]
"""(return code, peak memory) of attempts: of the last one memory may be what it lacked."""


@st.composite
def specifications(draw: st.DrawFn) -> list[JobSpec]:
    count = draw(st.integers(1, 5))
    says = draw(st.booleans())
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
                input_user_data=sorted(
                    draw(st.sets(st.sampled_from(["given", "made"] if says and number else ["given"])))
                ),
                output_user_data=["made"] if says and number == 0 else [],
                cancel_on_blocking_job_failure=draw(st.booleans()),
                priority=draw(st.integers(0, 1)),
                resource_requirements=draw(st.sampled_from([None, "small"])),
            )
        )
    return specs


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """What `builders.new_specification` takes."""
    specs = draw(specifications())
    return {
        "jobs": specs,
        "files": ["x", "z"],
        "user_data": values_of(is_ephemeral=draw(st.booleans())),
        "scripts": [("j0", "tool.sh")],
        "purgeable": sorted(draw(st.sets(st.sampled_from([spec.output_files[0] for spec in specs])))),
        "detect": draw(st.sampled_from(["mtime", "content"])),
        "resource_requirements": [SMALL],
    }


def benches() -> st.SearchStrategy[Callable[[], Workbench]]:
    return workflows().map(lambda parts: lambda: Workbench(new_workflow(**parts)))


def values_of(*, is_ephemeral: bool) -> list[UserDataSpec]:
    return [UserDataSpec(name="given", data=1), UserDataSpec(name="made", is_ephemeral=is_ephemeral)]


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
                content = self.draw(st.sampled_from(CONTENTS))
                self.bench.products = {} if content is None else {f"f{name[1:]}": content}
                self.bench.write_outputs(name, size=self.draw(st.integers(0, 2)))
                if name in self.held(worker, "pending", "running"):
                    self.bench.answers = {"made": self.draw(st.integers(0, 1))}
                    self.bench.write_answers(name)
            code, peak = self.draw(st.sampled_from(ENDS))
            ends.append(self.bench.end(name, code, peak_memory_bytes=peak))
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

    def try_operation(self, kind: type[Operation], **parameters: object) -> bool:
        """Whether it was carried out."""
        given = {"force": self.draw(st.booleans()), "stop_live": self.draw(st.booleans())} | parameters
        before = self.bench.dump()
        try:
            preview = self.bench.preview(kind, **given)
            real = self.bench.operate(kind, expect=preview.summary.plan_digest, **given)
        except (Conflict, Refused):
            assert self.bench.dump() == before, "what is refused changes nothing"
            return False
        assert real.packed == preview.packed
        return True

    def change_a_file(self) -> None:
        disk = self.bench.disk
        name = self.draw(st.sampled_from(["x", "z", "tool.sh", *(f"f{number}" for number in range(len(self.names)))]))
        if disk.stat(name) is not None and self.draw(st.booleans()):
            self.draw(st.sampled_from([disk.delete, disk.touch]))(name)
        else:
            disk.write(name, size=self.draw(st.integers(0, 2)), content=self.draw(st.sampled_from(CONTENTS)))

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
        parts = self.draw(workflows())
        before = self.bench.dump()
        try:
            self.bench.update(**parts)
        except Conflict:
            assert self.bench.dump() == before, "what is refused changes nothing"

    def write_a_value(self) -> None:
        self.bench.set_value(self.draw(st.sampled_from(["given", "made"])), self.draw(st.integers(0, 2)))

    def accept(self) -> None:
        self.try_operation(AcceptJobs, jobs=[self.bench.id(name) for name in self.some(self.names)], reason="because")

    def undo(self) -> None:
        self.try_operation(Undo)

    def restart_the_daemon(self) -> None:
        self.bench.state = load_state(self.bench.db, self.bench.workflow_id)


STEPS = [
    Machine.claim, Machine.claim, Machine.start, Machine.end, Machine.end, Machine.hand_back, Machine.lose,
    Machine.come_back, Machine.cancel, Machine.operate, Machine.operate, Machine.reset_jobs, Machine.change_a_file,
    Machine.edit, Machine.write_a_value, Machine.accept, Machine.undo, Machine.disable, Machine.enable, Machine.update,
    Machine.restart_the_daemon,
]  # fmt: skip
