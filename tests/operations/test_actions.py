"""Which operations, edits and reports fire actions: each once, and again only after a change (SEMANTICS 2.7)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from builders import chained, job, new_specification, new_workflow
from hypothesis import given, settings
from hypothesis import strategies as st
from transfer_rig import ImportedBench, export
from workbench import Workbench

from torcd.core.draft import Draft
from torcd.operations.disable import disable_jobs, enable_jobs
from torcd.operations.fire import fire_due, move_firing
from torcd.protocol.actions import Firing
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.requests import (
    AcceptJobs,
    Initialize,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    Undo,
)
from torcd.protocol.specification import ActionSpec, JobSpec, SlurmSchedulerSpec


class ActionBench(Workbench):
    """A workbench that fires what is due with each change, as an actor does."""

    fired: list[Firing]

    def change(self, decide: Callable[[Draft], Any]) -> Any:
        if not hasattr(self, "fired"):
            self.fired = []

        def decide_and_fire(draft: Draft) -> Any:
            value = decide(draft)
            self.fired += fire_due(draft)
            return value

        return super().change(decide_and_fire)

    def take(self) -> list[int]:
        """The numbers of the actions that have fired since this was last asked."""
        numbers = {action.id: action.number for action in self.state.actions}
        fired, self.fired = getattr(self, "fired", []), []
        return [numbers[firing.action_id] for firing in fired]


def run_commands(trigger: Any, **more: Any) -> ActionSpec:
    return ActionSpec(trigger_type=trigger, action_type="run_commands", commands=["true"], **more)


START, COMPLETE = run_commands("on_workflow_start"), run_commands("on_workflow_complete")
READY, DONE = run_commands("on_jobs_ready", jobs=["b"]), run_commands("on_jobs_complete", jobs=["a"])
ALL = [START, READY, DONE, COMPLETE]
ABC: list[JobSpec] = [job("a", input_files=["x"]), *chained("b>c")]
ABC[1] = job("b", depends_on=["a"])


def make(jobs: list[JobSpec] = ABC, actions: list[ActionSpec] = ALL, **more: Any) -> ActionBench:
    bench = ActionBench(new_workflow(jobs, actions=actions, **more))
    bench.disk.write("x")
    return bench


@pytest.fixture
def bench() -> Iterator[ActionBench]:
    """a>b>c, a takes x; one action of each trigger."""
    made = make()
    yield made
    made.close()


def finish(bench: ActionBench) -> ActionBench:
    bench.operate(Initialize)
    bench.run_all()
    bench.take()
    return bench


def test_each_action_fires_once_at_its_moment(bench: ActionBench) -> None:
    bench.operate(Initialize)
    assert bench.take() == [1]
    bench.claim()
    assert bench.take() == []
    bench.finish("a")
    assert bench.take() == [2, 3]
    bench.run_all()
    assert bench.take() == [4]
    bench.check()
    assert [(status, number) for status, number in bench.rows("SELECT status, number FROM firing")] == [
        ("queued", 1)
    ] * 4
    kinds = [(kind, data.get("number")) for _, kind, data in bench.events() if kind == "action_fired"]
    assert kinds == [("action_fired", number) for number in (1, 2, 3, 4)]


def test_a_reinit_that_changes_nothing_fires_nothing(bench: ActionBench) -> None:
    finish(bench)
    for operation in (Reinit, Restart, Prepare):
        bench.operate(operation)
        assert bench.take() == []
        assert not any(action.is_armed for action in bench.state.actions)


def test_a_change_arms_again_what_is_about_the_jobs_that_it_resets(bench: ActionBench) -> None:
    finish(bench)
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    assert bench.take() == []  # nothing has started
    bench.operate(Prepare)
    assert bench.take() == [1, 2]
    bench.run_all()
    assert bench.take() == [4]  # a was not touched
    bench.disk.write("x")
    bench.operate(Reinit)
    assert bench.take() == [1]
    bench.run_all()
    assert sorted(bench.take()) == [2, 3, 4]
    assert {action.fired for action in bench.state.actions} == {2, 3}


def test_a_retry_or_a_claim_that_returns_arms_nothing(bench: ActionBench) -> None:
    bench.operate(Initialize)
    bench.take()
    bench.claim()
    bench.report(returned=[bench.attempt("a")])
    bench.claim()
    bench.lose()
    assert bench.take() == []


def test_a_failure_completes_what_it_cancels(bench: ActionBench) -> None:
    bench.operate(Initialize)
    bench.take()
    bench.run_all(failing=["a"])
    assert bench.take() == [3, 4]


def test_cancel_completes_a_workflow(bench: ActionBench) -> None:
    bench.operate(Initialize)
    bench.take()
    bench.cancel()
    assert bench.take() == [3, 4]
    bench.operate(Restart)
    assert bench.take() == [1]


def test_disabled_jobs_do_not_hold_an_action_up_and_enabling_one_starts_anew(bench: ActionBench) -> None:
    bench.operate(Initialize)
    bench.claim()
    bench.finish("a")
    bench.take()
    bench.change(lambda draft: disable_jobs(draft, [bench.id("b"), bench.id("c")]))
    assert bench.take() == [4]
    bench.change(lambda draft: enable_jobs(draft, [bench.id("c")]))
    bench.operate(Prepare)
    assert bench.take() == [1]


def test_an_undo_disarms_what_its_operation_had_armed(bench: ActionBench) -> None:
    """SEMANTICS 5.6: what had fired does not fire again because somebody took a reset back."""
    finish(bench)
    bench.operate(ResetStatus)
    assert all(action.is_armed for action in bench.state.actions)
    bench.operate(Undo)
    assert bench.take() == []
    assert not any(action.is_armed for action in bench.state.actions)


def test_an_undo_leaves_armed_what_was_and_does_not_arm_what_has_fired(bench: ActionBench) -> None:
    bench.operate(Initialize)
    bench.run_all(failing=["a"])
    assert bench.take() == [1, 3, 4]
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="fine")
    assert bench.take() == [1, 2, 3]
    bench.operate(Undo)
    assert bench.take() == []
    assert [action.is_armed for action in bench.state.actions] == [False, False, False, False]


# ---- updates, exports ----


def test_an_update_keeps_where_equal_actions_stand(bench: ActionBench) -> None:
    """SEMANTICS 5.7"""
    bench.operate(Initialize)
    bench.take()
    other = run_commands("on_jobs_complete", job_name_regexes=["[ad]"])
    bench.update([*ABC, job("d")], actions=[COMPLETE, other, START])
    assert [(action.number, action.is_armed, action.fired) for action in bench.state.actions] == [
        (1, True, 0), (2, True, 0), (3, False, 1),
    ]  # fmt: skip
    assert bench.state.actions[1].jobs.tolist() == sorted((bench.index("a"), bench.index("d")))


def test_an_action_that_comes_when_its_moment_has_passed_waits_for_an_operation() -> None:
    bench = make(actions=[])
    finish(bench)
    bench.update(ABC, actions=[COMPLETE])
    bench.change(lambda draft: None)
    assert bench.take() == []
    bench.operate(ResetJobs, jobs=[bench.id("c")], reinitialize=True)
    bench.run_all()
    assert bench.take() == [1]
    bench.close()


def test_an_update_does_not_remove_an_action_that_is_being_carried_out(bench: ActionBench) -> None:
    bench.operate(Initialize)
    (firing,) = bench.fired
    with pytest.raises(Conflict, match="which have not ended"):
        bench.compare(ABC, actions=[COMPLETE])
    bench.change(lambda draft: move_firing(draft, firing, "succeeded", ended_at_ms=1, return_code=0))
    bench.update(ABC, actions=[COMPLETE])
    assert bench.rows("SELECT count(*) FROM firing") == [(0,)]


def test_an_import_stands_where_the_export_stood(bench: ActionBench) -> None:
    bench.operate(Initialize)
    bench.claim()
    bench.finish("a")
    document = export(bench)
    assert document["state"]["unarmed_actions"] == [1, 2, 3]
    copy = ImportedBench(document)
    try:
        assert [action.is_armed for action in copy.state.actions] == [False, False, False, True]
    finally:
        copy.close()
    document["state"]["unarmed_actions"] = [5]
    with pytest.raises(Refused) as caught:
        ImportedBench(document)
    assert [each["path"] for each in caught.value.data["errors"]] == ["state.unarmed_actions[0]"]


def test_a_document_by_hand_of_a_workflow_at_its_end_fires_nothing(bench: ActionBench) -> None:
    document = export(finish(bench))
    del document["state"]["unarmed_actions"]
    copy = ImportedBench(document)
    try:
        assert [action.is_armed for action in copy.state.actions] == [True, True, False, False]
    finally:
        copy.close()


# ---- specifications ----


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"trigger_type": "on_jobs_ready"}, "actions[0].jobs"),
        ({"trigger_type": "on_jobs_ready", "jobs": ["z"]}, "actions[0].jobs[0]"),
        ({"trigger_type": "on_jobs_ready", "job_name_regexes": ["z.*"]}, "actions[0].job_name_regexes[0]"),
        ({"trigger_type": "on_workflow_start", "jobs": ["a"]}, "actions[0].jobs"),
        ({"commands": []}, "actions[0].commands"),
        ({"commands": ["true", " "]}, "actions[0].commands[1]"),
        ({"scheduler": "s"}, "actions[0].scheduler"),
        ({"persistent": True}, "actions[0].persistent"),
        ({"action_type": "schedule_nodes"}, "actions[0].commands"),
        ({"action_type": "schedule_nodes", "commands": [], "scheduler": "t"}, "actions[0].scheduler"),
        ({"action_type": "schedule_nodes", "commands": [], "num_allocations": 0}, "actions[0].num_allocations"),
        ({"action_type": "schedule_nodes", "commands": [], "scheduler_type": "local"}, "actions[0].scheduler_type"),
        (
            {"action_type": "schedule_nodes", "commands": [], "trigger_type": "on_workflow_complete"},
            "actions[0].trigger_type",
        ),
    ],
)
def test_actions_that_could_not_be_meant_are_refused(fields: dict[str, Any], path: str) -> None:
    """SEMANTICS 3.5"""
    whole = {"trigger_type": "on_workflow_start", "action_type": "run_commands", "commands": ["true"], **fields}
    with pytest.raises(Refused) as caught:
        new_specification([job("a")], actions=[ActionSpec(**whole)], slurm_schedulers=[SlurmSchedulerSpec(name="s")])
    assert [error["path"] for error in caught.value.data["errors"]] == [path]


@pytest.mark.parametrize(("schedulers", "path"), [([], "actions[0].action_type"), (["s", "t"], "actions[0].scheduler")])
def test_nodes_need_a_scheduler(schedulers: list[str], path: str) -> None:
    """SEMANTICS 3.5"""
    action = ActionSpec(trigger_type="on_workflow_start", action_type="schedule_nodes")
    with pytest.raises(Refused) as caught:
        new_specification(
            [job("a")], actions=[action], slurm_schedulers=[SlurmSchedulerSpec(name=name) for name in schedulers]
        )
    assert [error["path"] for error in caught.value.data["errors"]] == [path]


# ---- once and only once ----

STEPS = st.lists(
    st.sampled_from(["run", "fail", "reinit", "restart", "reset", "reset_b", "touch", "cancel", "undo", "prepare"]),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_nothing_fires_twice_unless_an_operation_changed_a_job_in_between(steps: list[str]) -> None:
    bench = make()
    try:
        bench.operate(Initialize)
        allowed = dict.fromkeys((1, 2, 3, 4), 1)
        about = {1: {"a", "b", "c"}, 2: {"b"}, 3: {"a"}, 4: {"a", "b", "c"}}

        def note(changed: set[str]) -> None:
            for number, jobs in about.items():
                allowed[number] += bool(jobs & changed)

        kinds = {"reinit": Reinit, "restart": Restart, "reset": ResetStatus, "undo": Undo, "prepare": Prepare}
        for step in steps:
            match step:
                case "run":
                    bench.run_all()
                case "fail":
                    bench.run_all(failing=["b"])
                case "touch":
                    bench.disk.write("x")
                case "cancel":
                    bench.cancel()
                case "reset_b":
                    planned = bench.operate(ResetJobs, jobs=[bench.id("b")])
                    note({each.name for each in bench.show(planned)})
                case _:
                    try:
                        planned = bench.operate(kinds[step])
                    except Refused:
                        continue
                    note({each.name for each in bench.show(planned)} if step != "undo" else set())
            bench.check()
        fired = bench.take()
        assert all(fired.count(number) <= allowed[number] for number in allowed), (fired, allowed)
        assert bench.rows("SELECT count(*) FROM firing") == [(len(fired),)]
    finally:
        bench.close()
