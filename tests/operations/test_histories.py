"""Any history of claims, ends, losses, operations, edits and writes leaves a state that the database agrees with.

The machine here does at random what clients and workers do; after every step the state in memory must be what
a daemon that starts now would load, and at the end a run must leave nothing stale.
"""

from collections.abc import Callable

import pytest
from builders import job, new_workflow
from histories import STEPS, WORKERS, Machine, benches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workbench import Workbench

from torcd.core.status import Status
from torcd.protocol.requests import Initialize, Operation, Reinit, Restart


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
@given(benches(), st.data())
def test_after_any_history_the_state_in_memory_is_the_one_in_the_database(
    make: Callable[[], Workbench], data: st.DataObject
) -> None:
    """SEMANTICS §2, 2.3, 5.3, 7.1, 8.4"""
    bench = make()
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
@given(benches(), st.data())
def test_after_any_history_a_reinit_and_a_run_leave_nothing_stale(
    make: Callable[[], Workbench], data: st.DataObject
) -> None:
    """SEMANTICS 4.1 to 4.7, 5.1"""
    bench = make()
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
