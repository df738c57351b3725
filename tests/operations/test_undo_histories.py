"""After any history an operation that is taken back leaves no trace but the number of the run: SEMANTICS 5.6."""

from collections.abc import Callable
from typing import Any

from histories import STEPS, Machine, benches
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from workbench import Workbench

from torcd.operations.operate import UNDOABLE
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

TABLES = (
    "job_state",
    "file_record",
    "file_history",
    "user_data_version",
    "result",
    "job_definition",
    "job",
    "requirement",
)
TAKEN_BACK: list[tuple[type[Operation], dict[str, Any]]] = [
    (Reinit, {}),
    (Reinit, {"detect": "content"}),
    (Restart, {}),
    (Restart, {"only_uninitialized": True}),
    (ResetStatus, {}),
    (ResetStatus, {"failed_only": True}),
    (ResetStatus, {"reinitialize": True}),
    (Recover, {}),
    (Recover, {"retry_unknown": True}),
]


def contents(bench: Workbench) -> dict[str, list[tuple[Any, ...]]]:
    """All that an undo has to put back."""
    found = {table: bench.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}
    return found | {"workflow": bench.rows("SELECT is_canceled FROM workflow")}


def plan_of(bench: Workbench) -> Any:
    """What a reinit would do, or why it would not."""
    request = Reinit(workflow_id=bench.workflow_id, force=True, detect="content")
    try:
        planned = bench.plan(request)
    except (Conflict, Refused) as error:
        return error.message
    return [(each.name, each.from_, each.to, each.reasons) for each in bench.show(planned)]


def run_through(machine: Machine, data: st.DataObject) -> None:
    """Some history."""
    machine.bench.disk.write("x", "z", "tool.sh")
    machine.bench.operate(Initialize)
    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=12)):
        step(machine)


def some_operation(machine: Machine, data: st.DataObject) -> tuple[type[Operation], dict[str, Any]]:
    """Any of those that can be taken back."""
    chosen = {"jobs": [machine.bench.id(name) for name in machine.some(machine.names)]}
    operations = [*TAKEN_BACK, (ResetJobs, chosen), (ResetJobs, chosen | {"reinitialize": True})]
    return data.draw(st.sampled_from([*operations, (AcceptJobs, chosen | {"reason": "because"})]))


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(benches(), st.data())
def test_an_operation_and_its_undo_leave_everything_as_it_was(
    make: Callable[[], Workbench], data: st.DataObject
) -> None:
    bench = make()
    try:
        machine = Machine(bench, data.draw)
        run_through(machine, data)
        before, plan, run_id = contents(bench), plan_of(bench), bench.state.run_id
        kind, parameters = some_operation(machine, data)
        assert kind.NAME in UNDOABLE
        assume(machine.try_operation(kind, stop_live=False, **parameters))
        if data.draw(st.booleans()):
            machine.try_operation(Prepare, stop_live=False)
        if data.draw(st.booleans()):
            machine.restart_the_daemon()
        bench.operate(Undo)
        assert contents(bench) == before
        assert plan_of(bench) == plan
        assert bench.state.run_id >= run_id
    finally:
        bench.close()


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(benches(), st.data())
def test_an_undo_after_whatever_went_on_meanwhile_is_refused_or_leaves_a_sound_state(
    make: Callable[[], Workbench], data: st.DataObject
) -> None:
    """Nothing that it made runnable has been touched then, and no job counts as up to date that is not."""
    bench = make()
    try:
        machine = Machine(bench, data.draw)
        run_through(machine, data)
        kind, parameters = some_operation(machine, data)
        assume(machine.try_operation(kind, **parameters))
        for step in data.draw(st.lists(st.sampled_from(MEANWHILE), max_size=4)):
            step(machine)
        is_canceled = bench.state.is_canceled
        if machine.try_operation(Undo):
            assert bench.state.is_canceled >= is_canceled
            blocked = bench.state.jobs.status == 1
            assert (bench.state.waiting[blocked] > 0).all()
    finally:
        bench.close()


MEANWHILE = [
    Machine.claim, Machine.start, Machine.end, Machine.end, Machine.hand_back, Machine.lose, Machine.come_back,
    Machine.cancel, Machine.change_a_file, Machine.edit, Machine.write_a_value, Machine.restart_the_daemon,
]  # fmt: skip
