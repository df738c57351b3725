"""Early cutoff compared with a naive reference: SEMANTICS 4.9.

The reference keeps the content of everything that a job took when it last ran, and spares a job that was reset
only because of its upstream exactly when all of that is the same now.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from builders import job, new_workflow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workbench import Workbench

from torcd.protocol.requests import Initialize, Reinit, ResetStatus
from torcd.protocol.specification import JobSpec, UserDataSpec
from torcd.storage.load import load_state

USER_FILES = ("x", "z")


@st.composite
def specifications(draw: st.DrawFn) -> list[JobSpec]:
    """Random graphs: files, user data and plain dependencies; jobs with none, one or two outputs."""
    specs: list[JobSpec] = []
    for number in range(draw(st.integers(2, 7))):
        before = [f"j{other}" for other in range(number)]
        files = [file for spec in specs for file in spec.output_files]
        values = [value for spec in specs for value in spec.output_user_data]
        specs.append(
            job(
                f"j{number}",
                input_files=sorted(draw(st.sets(st.sampled_from([*USER_FILES, *files, *files]), max_size=3))),
                output_files=draw(st.sampled_from([[f"f{number}"], [f"f{number}", f"g{number}"], []])),
                depends_on=sorted(draw(st.sets(st.sampled_from(before), max_size=1))) if before else [],
                input_user_data=sorted(draw(st.sets(st.sampled_from(["given", *values]), max_size=2))),
                output_user_data=draw(st.sampled_from([[], [], [f"u{number}"]])),
                cancel_on_blocking_job_failure=draw(st.sampled_from([True, True, False])),
            )
        )
    return specs


Snapshot = dict[str, Any]


SETTLED = ("completed", "failed", "canceled")


@dataclass
class Reference:
    """What is known without versions, counters or marks; jobs in topological order."""

    specs: dict[str, JobSpec]
    content: dict[str, str] = field(default_factory=dict)
    """Of files and of user data."""
    command: dict[str, str] = field(default_factory=dict)
    used: dict[str, Snapshot] = field(default_factory=dict)
    """What each job took when it last ran."""
    status: dict[str, str] = field(default_factory=dict)
    must_run: set[str] = field(default_factory=set)
    """Jobs that were reset for a reason of their own, were not completed, or are behind one that tells nothing."""

    def __post_init__(self) -> None:
        self.command = {name: spec.command for name, spec in self.specs.items()}
        self.status = dict.fromkeys(self.specs, "blocked")
        self.must_run = set(self.specs)
        self.settle()

    def makers(self, name: str) -> set[str]:
        """The jobs of which one takes something."""
        spec = self.specs[name]
        taken = {*spec.input_files, *spec.input_user_data}
        return {other.name for other in self.specs.values() if {*other.output_files, *other.output_user_data} & taken}

    def upstream(self, name: str) -> set[str]:
        """The jobs that have to come before one."""
        return self.makers(name) | set(self.specs[name].depends_on)

    def taken(self, name: str) -> Snapshot:
        """All that a job takes, and what those leave behind of which it takes nothing, as it is now."""
        spec = self.specs[name]
        things = [*spec.input_files, *spec.input_user_data]
        for other in self.upstream(name) - self.makers(name):
            things += [*self.specs[other].output_files, *self.specs[other].output_user_data]
        return {"command": self.command[name], **{thing: self.content.get(thing) for thing in things}}

    def is_stale(self, name: str) -> bool:
        """Whether a job has a reason of its own."""
        if name not in self.used:
            return False  # it never ran: there is no baseline
        now, then, spec = self.taken(name), self.used[name], self.specs[name]
        return any(now[thing] != then[thing] for thing in ("command", *spec.input_files, *spec.input_user_data))

    def stays_canceled(self, name: str) -> bool:
        """Whether a job is below a failure that stands: it cannot run, and what follows it has nothing to follow."""
        bad = {"failed", "canceled"} & {self.status[other] for other in self.upstream(name)}
        return self.status[name] == "canceled" and bool(bad)

    def reinit(self, *, retries: bool) -> None:
        """Resets what is stale, with `retries` also what failed and what that canceled, and all that follows."""
        own = {name for name in self.specs if self.is_stale(name)}
        if retries:
            own |= {name for name, status in self.status.items() if status in ("failed", "canceled")}
        followed = own if retries else {name for name in own if not self.stays_canceled(name)}
        for name in self.specs:
            if self.upstream(name) & followed:
                followed = followed | {name}
        reset = own | followed
        mute = {name for name, spec in self.specs.items() if not (spec.output_files or spec.output_user_data)}
        self.must_run = own | {
            name for name in reset if self.status[name] != "completed" or self.upstream(name) & reset & mute
        }
        self.status |= dict.fromkeys(reset, "blocked")
        self.settle()

    def settle(self) -> None:
        """What becomes of the jobs whose upstream has ended."""
        for name, spec in self.specs.items():
            before = {self.status[other] for other in self.upstream(name)}
            if self.status[name] != "blocked" or not before <= set(SETTLED):
                continue
            if before - {"completed"}:
                self.status[name] = "canceled" if spec.cancel_on_blocking_job_failure else "ready"
            elif name not in self.must_run and self.taken(name) == self.used[name]:
                self.status[name] = "completed"
            else:
                self.status[name] = "ready"


class Pair:
    """A workbench and its reference, doing the same."""

    def __init__(self, specs: list[JobSpec], draw: Callable[..., Any]) -> None:
        values = [value for spec in specs for value in spec.output_user_data]
        user_data = [UserDataSpec(name="given", data="first"), *(UserDataSpec(name=value) for value in values)]
        self.bench = Workbench(new_workflow(specs, USER_FILES, user_data, detect="content"))
        self.reference = Reference({spec.name: spec for spec in specs})
        self.draw = draw
        self.number = 0
        self.reference.content["given"] = "first"
        for file in USER_FILES:
            self.write(file)
        self.bench.operate(Initialize)

    def check(self) -> None:
        """Fails unless both say the same of every job."""
        assert self.bench.status() == self.reference.status
        self.bench.check()

    def something_new(self) -> str:
        """A content that nothing has had yet."""
        self.number += 1
        return f"number {self.number}"

    def write(self, file: str) -> None:
        """A user writes a file."""
        self.reference.content[file] = self.something_new()
        self.bench.disk.write(file, content=self.reference.content[file])

    def change(self) -> None:
        """What a user does between two runs."""
        bench, reference = self.bench, self.reference
        made = [file for spec in reference.specs.values() for file in spec.output_files if file in reference.content]
        for file in sorted(self.draw(st.sets(st.sampled_from([*USER_FILES, *made]), max_size=2))):
            self.write(file)
        for file in sorted(self.draw(st.sets(st.sampled_from([*USER_FILES, *made]), max_size=2))):
            bench.disk.touch(file)
        for name in self.draw(st.sets(st.sampled_from(sorted(reference.specs)), max_size=1)):
            reference.command[name] = self.draw(st.sampled_from([f"run {name}", "otherwise"]))
            bench.edit(name, command=reference.command[name])
        if self.draw(st.sampled_from([False, False, True])):
            reference.content["given"] = self.draw(st.sampled_from(["first", "second"]))
            bench.set_value("given", reference.content["given"])

    def reinit(self) -> None:
        """Resets, and perhaps tries again what failed."""
        retries = self.draw(st.booleans())
        if retries:
            self.bench.operate(ResetStatus, failed_only=True, reinitialize=True)
        else:
            self.bench.operate(Reinit)
        self.reference.reinit(retries=retries)
        self.check()

    def run(self) -> None:
        """Runs one job after the other until nothing is left, and compares after each."""
        while launches := self.bench.claim(jobs=1):
            self.run_one(launches[0].name)
            self.check()
            self.disturb()

    def run_one(self, name: str) -> None:
        """Has a job take what there is and leave something behind, perhaps the same as before."""
        bench, reference, spec = self.bench, self.reference, self.reference.specs[name]
        reference.used[name] = reference.taken(name)
        fails = self.draw(st.sampled_from([False, False, False, False, True]))
        for thing in () if fails else (*spec.output_files, *spec.output_user_data):
            if thing not in reference.content or self.draw(st.sampled_from([False, False, True])):
                reference.content[thing] = self.something_new()
            written = bench.products if thing in spec.output_files else bench.answers
            written[thing] = reference.content[thing]
        bench.finish(name, code=int(fails))
        reference.status[name] = "failed" if fails else "completed"
        reference.settle()

    def disturb(self) -> None:
        """What makes no difference between the end of one job and the start of the next."""
        what = self.draw(st.sampled_from(["nothing", "nothing", "reload", "touch", "reinit"]))
        if what == "reload":
            self.bench.state = load_state(self.bench.db, self.bench.workflow_id)
        elif what == "touch":
            self.bench.disk.touch("x")
        elif what == "reinit" and not {"failed", "canceled"} & set(self.reference.status.values()):
            self.bench.operate(Reinit)
            self.check()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(specifications(), st.data())
def test_a_job_is_spared_exactly_when_all_that_it_takes_is_what_it_used(
    specs: list[JobSpec], data: st.DataObject
) -> None:
    """SEMANTICS 4.9"""
    pair = Pair(specs, data.draw)
    try:
        pair.check()
        pair.run()
        for _ in range(data.draw(st.integers(1, 3))):
            pair.change()
            pair.reinit()
            pair.run()
    finally:
        pair.bench.close()
