"""Random workflows and random edits, against a reference that knows nothing of how torcd decides.

After every batch of edits a dry run names exactly the jobs that are affected, the operation resets exactly those, a
run executes exactly those, and every file is what a run from scratch would leave (SEMANTICS 4 and 5).

The cases follow from their seeds. TORC_TEST_WORKFLOWS=N has N workflows tried, five batches of edits each.
"""

import hashlib
import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from real_system import System, ask

from torcd.protocol.requests import Operation, Reinit, Restart, UpdateJob, UpdateUserData, WaitTask

WORKFLOWS = int(os.environ.get("TORC_TEST_WORKFLOWS", "6"))
BATCHES = 5


@dataclass
class Job:
    """One job of the model."""

    name: str
    salt: int
    inputs: list[str]
    outputs: list[str]
    values: list[str]
    after: list[str]
    ran_at: int = 0

    @property
    def command(self) -> str:
        """Each output is the checksum of its own name, the job's salt and all inputs."""
        lines = [
            f"{{ echo {output} {self.salt}; cat {' '.join(self.inputs)} /dev/null; }} | md5sum > {output}"
            for output in self.outputs
        ]
        return " && ".join(lines)


@dataclass
class Model:
    """A workflow as the test sees it: what there is, when it changed, when each job last ran."""

    luck: random.Random
    jobs: dict[str, Job] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    """Of the files that no job makes."""
    values: dict[str, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    """Outputs that are gone."""
    now: int = 1
    changed_at: dict[str, int] = field(default_factory=dict)
    """When a file or value last changed."""
    ran_with: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    """Of each job, the salt and the values of its last run: what is changed back is not changed."""

    @classmethod
    def invent(cls, seed: int) -> "Model":
        luck = random.Random(seed)
        model = cls(luck)
        for number in range(luck.randint(1, 5)):
            model.contents[f"u{number}.txt"] = f"user file {number}\n"
        for number in range(luck.randint(0, 3)):
            model.values[f"v{number}"] = number
        density = luck.choice([0.1, 0.3, 0.7])
        for number in range(luck.randint(3, 16)):
            earlier = list(model.jobs.values())
            made = [output for job in earlier for output in job.outputs]
            inputs = [path for path in [*model.contents, *made] if luck.random() < density]
            outputs = [f"out/{number}_{part}.txt" for part in range(luck.choice([1, 1, 1, 2]))]
            values = [name for name in model.values if luck.random() < 0.2]
            after = [job.name for job in earlier if luck.random() < 0.08]
            model.jobs[f"job{number}"] = Job(f"job{number}", luck.randint(0, 99), inputs, outputs, values, after)
        return model

    def specification(self) -> dict[str, Any]:
        made = [output for job in self.jobs.values() for output in job.outputs]
        jobs = [
            {
                "name": job.name,
                "command": job.command,
                "input_files": job.inputs,
                "output_files": job.outputs,
                "input_user_data": job.values,
                "depends_on": job.after,
            }
            for job in self.jobs.values()
        ]
        self.luck.shuffle(jobs)  # the order of a specification means nothing
        return {
            "name": "random",
            "files": [{"name": path, "path": path} for path in [*self.contents, *made]],
            "user_data": [{"name": name, "data": value} for name, value in self.values.items()],
            "jobs": jobs,
        }

    # ---- the reference ----

    def upstream(self, job: Job) -> set[str]:
        """The jobs that a job depends on directly."""
        makers = {output: other.name for other in self.jobs.values() for output in other.outputs}
        return {makers[path] for path in job.inputs if path in makers} | set(job.after)

    def has_reason(self, job: Job) -> bool:
        """Whether a job is stale by itself."""
        salt, values = self.ran_with[job.name]
        return (
            any(self.changed_at.get(path, 0) > job.ran_at for path in job.inputs)
            or any(path in self.deleted for path in [*job.inputs, *job.outputs])
            or salt != job.salt
            or any(values[name] != self.values[name] for name in job.values)
        )

    def closure(self, roots: set[str]) -> set[str]:
        """The jobs that must run again when these must; jobs are in an order in which each follows its upstream."""
        found = set(roots)
        for job in self.jobs.values():
            if self.upstream(job) & found:
                found.add(job.name)
        return found

    def affected(self) -> set[str]:
        return self.closure({job.name for job in self.jobs.values() if self.has_reason(job)})

    def run(self, names: set[str]) -> None:
        """Notes that these jobs have run, in order."""
        for job in self.jobs.values():
            if job.name in names:
                self.now += 1
                job.ran_at = self.now
                self.ran_with[job.name] = (job.salt, dict(self.values))
                for path in job.outputs:
                    self.deleted.discard(path)
                    self.changed_at[path] = self.now

    def from_scratch(self) -> dict[str, str]:
        """The content of every file after a run of everything."""
        contents = dict(self.contents)
        for job in self.jobs.values():
            fed = "".join(contents[path] for path in job.inputs)
            for output in job.outputs:
                text = f"{output} {job.salt}\n{fed}"
                contents[output] = f"{hashlib.md5(text.encode()).hexdigest()}  -\n"
        return contents


class Edits:
    """Makes random changes, to the model and to the real thing alike."""

    def __init__(self, model: Model, system: System, workflow_id: int) -> None:
        self.model = model
        self.system = system
        self.workflow_id = workflow_id
        self.job_ids = {name: job["id"] for name, job in system.jobs(workflow_id).items()}
        self.connection = system.connect()

    def make(self, *, deletes_outputs: bool = True) -> str:
        """One edit, in words."""
        luck = self.model.luck
        kinds = [self.rewrite, self.touch, self.recreate, self.edit, self.edit_and_back, self.set_value, self.look]
        if deletes_outputs:
            kinds += [self.delete, self.touch_output]
        return luck.choice(kinds)()

    def _changed(self, path: str) -> None:
        self.model.now += 1
        self.model.changed_at[path] = self.model.now

    def rewrite(self) -> str:
        path = self.model.luck.choice(list(self.model.contents))
        size = len(self.model.contents[path])
        text = "".join(self.model.luck.choices("abc\n", k=size if self.model.luck.random() < 0.5 else size + 3))
        self.model.contents[path] = text
        self.system.write(path, text)
        self._changed(path)
        return f"rewrote {path}"

    def touch(self, paths: list[str] | None = None) -> str:
        path = self.model.luck.choice(paths or list(self.model.contents))
        before = (self.system.work / path).stat().st_mtime_ns
        after = before + self.model.luck.choice([-1, 1]) * self.model.luck.randint(1, 10**10)
        os.utime(self.system.work / path, ns=(after, after))
        self._changed(path)
        return f"touched {path}"

    def touch_output(self) -> str:
        outputs = [path for job in self.model.jobs.values() for path in job.outputs if path not in self.model.deleted]
        return self.touch(outputs) if outputs else self.touch()

    def recreate(self) -> str:
        path = self.model.luck.choice(list(self.model.contents))
        before = (self.system.work / path).stat().st_mtime_ns
        (self.system.work / path).unlink()
        self.system.write(path, self.model.contents[path])
        if (self.system.work / path).stat().st_mtime_ns == before:
            os.utime(self.system.work / path, ns=(before + 1, before + 1))
        self._changed(path)
        return f"deleted {path} and made it again"

    def delete(self) -> str:
        job = self.model.luck.choice(list(self.model.jobs.values()))
        path = self.model.luck.choice(job.outputs)
        (self.system.work / path).unlink(missing_ok=True)
        self.model.deleted.add(path)
        return f"deleted {path}"

    def _set_command(self, job: Job, salt: int) -> None:
        job.salt = salt
        ask(self.connection, UpdateJob(job_id=self.job_ids[job.name], command=job.command))

    def edit(self) -> str:
        job = self.model.luck.choice(list(self.model.jobs.values()))
        self._set_command(job, job.salt + self.model.luck.randint(1, 9))
        return f"edited {job.name}"

    def edit_and_back(self) -> str:
        job = self.model.luck.choice(list(self.model.jobs.values()))
        salt = job.salt
        self._set_command(job, salt + 100)
        self._set_command(job, salt)
        return f"edited {job.name} and edited it back"

    def set_value(self) -> str:
        if not self.model.values:
            return self.look()
        name = self.model.luck.choice(list(self.model.values))
        value = self.model.luck.randint(0, 3)  # often what it is already
        self.model.values[name] = value
        ask(self.connection, UpdateUserData(workflow_id=self.workflow_id, name=name, data=value))
        return f"set {name} to {value}"

    def look(self) -> str:
        job = self.model.luck.choice(list(self.model.jobs.values()))
        ask(self.connection, UpdateJob(job_id=self.job_ids[job.name], priority=self.model.luck.randint(0, 9)))
        return f"gave {job.name} another priority"


def perform(edits: Edits, request: Operation) -> dict[str, Any]:
    """The plan that an operation carried out."""
    task = ask(edits.connection, request)
    ended = ask(edits.connection, WaitTask(task_id=task["task_id"]))
    assert ended["status"] == "succeeded", ended
    plan: dict[str, Any] = ended["result"]
    return plan


def check_plan(model: Model, plan: dict[str, Any], affected: set[str]) -> None:
    names = [job["name"] for job in plan["jobs"]]
    assert sorted(names) == sorted(affected)
    assert plan["count"] == len(names)
    for place, job in enumerate(plan["jobs"]):
        upstream = model.upstream(model.jobs[job["name"]])
        assert not upstream & set(names[place:]), "not in topological order"
        assert job["from"] == "completed"
        assert job["to"] == ("blocked" if upstream & affected else "ready")
        kinds = [reason["kind"] for reason in job["reasons"]]
        assert ("upstream_stale" in kinds) == bool(upstream & affected)
        assert bool(set(kinds) - {"upstream_stale"}) == model.has_reason(model.jobs[job["name"]])


def run_and_check(model: Model, edits: Edits, names: set[str], expected: dict[str, int]) -> None:
    """Runs the workflow; exactly these jobs must have been executed."""
    assert edits.system.torcctl("run", edits.workflow_id).code == 0
    model.run(names)
    for name in names:
        expected[name] = expected.get(name, 0) + 1
    assert edits.system.attempts(edits.workflow_id) == expected


@pytest.mark.parametrize("seed", range(WORKFLOWS))
def test_exactly_what_the_edits_affect_is_rerun(system: System, seed: int) -> None:
    """SEMANTICS 4.1 to 4.7, 5.1, 5.4"""
    model = Model.invent(seed)
    for path, text in model.contents.items():
        system.write(path, text)
    (system.work / "out").mkdir()
    workflow_id = system.create(model.specification())
    edits = Edits(model, system, workflow_id)
    attempts: dict[str, int] = {}
    run_and_check(model, edits, set(model.jobs), attempts)
    history = []
    for _ in range(BATCHES):
        if model.luck.random() < 0.3:  # somebody reruns a part before all of it is looked at
            history += [edits.make(deletes_outputs=False) for _ in range(model.luck.randint(1, 3))]
            chosen = model.luck.choice(list(model.jobs))
            history.append(f"reset {chosen}")
            system.torcctl("jobs", "reset-status", edits.job_ids[chosen])
            run_and_check(model, edits, model.closure({chosen}), attempts)
        history += [edits.make() for _ in range(model.luck.choice([0, 1, 1, 2, 4]))]
        affected = model.affected()
        kind = model.luck.choice([Reinit, Reinit, Reinit, Restart])
        dry = ask(edits.connection, kind(workflow_id=workflow_id, dry_run=True))["plan"]
        check_plan(model, dry, affected)
        assert set(system.statuses(workflow_id).values()) == {"completed"}, history
        real = perform(edits, kind(workflow_id=workflow_id, expect=dry["plan_digest"]))
        assert {key: real[key] for key in ("count", "plan_digest", "run_id")} == {
            key: dry[key] for key in ("count", "plan_digest", "run_id")
        }
        statuses = system.statuses(workflow_id)
        assert {name for name, status in statuses.items() if status != "completed"} == affected, history
        run_and_check(model, edits, affected, attempts)
        for path, text in model.from_scratch().items():
            assert system.read(path) == text, (path, history)
        assert ask(edits.connection, Reinit(workflow_id=workflow_id, dry_run=True))["plan"]["count"] == 0, history
