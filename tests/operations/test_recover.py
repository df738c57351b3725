"""recover: what runs again, what is asked for then, and what it leaves alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import chained, job
from histories import ENDS, STEPS, Machine, benches
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from workbench import Workbench, as_json

from torcd.api.suggestions import suggest
from torcd.core.sizing import Limits
from torcd.core.status import Status, StatusReason
from torcd.operations.operate import Planned
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.recover import Recover
from torcd.protocol.requests import Initialize, Prepare, Reinit, ResetStatus, Undo
from torcd.protocol.specification import ResourceRequirementsSpec, SlurmSchedulerSpec
from torcd.protocol.units import MAX_BYTES, MAX_SECONDS
from torcd.storage.ready import load_demand

Make = Callable[..., Workbench]
GIB = 2**30
NEEDS = [
    ResourceRequirementsSpec(name="big", num_cpus=2, memory="1g", runtime="PT1H"),
    ResourceRequirementsSpec(name="small", memory="1m", runtime="PT10M"),
]
KILLED: dict[str, Any] = {"code": 137, "peak_memory_bytes": GIB}
OVERDUE: dict[str, Any] = {"code": 143, "stopped": "walltime", "exec_time_s": 3700.0}


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """Three jobs that need much, of which each has one that depends on it, and one that depends on all; started."""
    jobs = [job(name, resource_requirements="big", output_files=[f"{name}.out"]) for name in "abc"]
    jobs += [job(f"{name}2", input_files=[f"{name}.out", "x"]) for name in "abc"]
    made = make_bench([*jobs, job("last", depends_on=["a2", "b2", "c2"])], resource_requirements=NEEDS)
    made.disk.write("x")
    made.operate(Initialize)
    made.claim()
    made.report(started=[made.attempt(name) for name in "abc"])
    return made


def end(bench: Workbench, name: str, **fields: Any) -> None:
    assert bench.report(ended=[bench.end(name, **fields)]) == []


def diagnoses(planned: Planned) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in as_json(planned.summary.diagnoses)}


def needs(bench: Workbench) -> dict[str, str | None]:
    """The name of what each job asks for."""
    sql = "SELECT j.name, q.name FROM job j LEFT JOIN requirement q ON q.id = j.requirement_id"
    return dict(bench.rows(sql))


def test_a_job_that_lacked_memory_gets_more_and_runs_again_with_what_follows(bench: Workbench) -> None:
    """SEMANTICS 5.9"""
    end(bench, "a", **KILLED)
    end(bench, "b", code=1)
    bench.write_outputs("c")
    end(bench, "c")
    bench.run_all()
    assert bench.status()["last"] == "canceled"
    planned = bench.operate(Recover)
    assert bench.status() == {
        "a": "ready", "a2": "blocked", "b": "failed", "b2": "canceled", "c": "completed", "c2": "completed",
        "last": "blocked",
    }  # fmt: skip
    assert planned.summary.count == 3
    found = diagnoses(planned)
    assert found["a"] == {
        "id": bench.id("a"), "name": "a", "kind": "out_of_memory", "recoverable": True, "why": None,
        "evidence": {"status": "failed", "return_code": 137, "signal": 9, "exec_time_s": 0.5, "runtime_s": 3600.0,
                     "peak_memory_bytes": GIB, "memory_bytes": GIB},
        "adjustments": {"memory_bytes": {"from": GIB, "to": GIB * 3 // 2}}, "resource_requirements": "big_r1",
    }  # fmt: skip
    assert (found["b"]["kind"], found["b"]["recoverable"], found["b"]["why"]) == ("failed", False, "unknown_cause")
    assert as_json(planned.summary.diagnosed) == {
        "out_of_memory": {"count": 1, "recoverable": 1}, "failed": {"count": 1, "recoverable": 0},
    }  # fmt: skip
    assert (needs(bench)["a"], needs(bench)["b"]) == ("big_r1", "big")
    assert bench.rows("SELECT num_cpus, memory_bytes, runtime_s FROM requirement WHERE name = 'big_r1'") == [
        (2, GIB * 3 // 2, 3600.0)
    ]
    (launch,) = bench.claim()
    assert (launch.name, launch.memory_bytes) == ("a", GIB * 3 // 2)


def test_jobs_that_lacked_the_same_share_new_requirements_and_others_get_their_own(bench: Workbench) -> None:
    end(bench, "a", **KILLED)
    end(bench, "b", **(KILLED | {"peak_memory_bytes": 2 * GIB}))
    end(bench, "c", **OVERDUE)
    found = diagnoses(bench.operate(Recover, memory_multiplier=2))
    assert {name: needs(bench)[name] for name in "abc"} == {"a": "big_r1", "b": "big_r1", "c": "big_r2"}
    assert found["a"]["adjustments"] == {"memory_bytes": {"from": GIB, "to": 4 * GIB}}, "the largest use counts"
    assert found["c"]["adjustments"] == {"runtime_s": {"from": 3600.0, "to": 5180.0}}
    assert found["c"]["kind"] == "timeout"


def test_what_is_recovered_again_gets_the_next_number(bench: Workbench) -> None:
    end(bench, "a", **KILLED)
    bench.operate(Recover)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    end(bench, "a", **(KILLED | {"peak_memory_bytes": 3 * GIB}))
    end(bench, "b", **KILLED)
    found = diagnoses(bench.operate(Recover))
    assert found["a"]["adjustments"] == {"memory_bytes": {"from": GIB * 3 // 2, "to": GIB * 9 // 2}}
    assert (needs(bench)["a"], needs(bench)["b"]) == ("big_r2", "big_r1"), "what is there already is used"


def test_at_a_ceiling_a_job_stays_as_it_is(bench: Workbench) -> None:
    end(bench, "a", **KILLED)
    end(bench, "b", **(KILLED | {"peak_memory_bytes": 3 * GIB}))
    end(bench, "c", **OVERDUE)
    planned = bench.preview(Recover, max_memory="1g", max_runtime="PT1H")
    assert [each["why"] for each in diagnoses(planned).values()] == ["at_ceiling"] * 3
    assert planned.summary.count == 0
    found = diagnoses(bench.operate(Recover, max_memory="1.25g", max_runtime="01:06:40"))
    assert found["a"]["adjustments"] == {"memory_bytes": {"from": GIB, "to": GIB * 5 // 4}}
    assert found["b"]["why"] == "at_ceiling", "it is known to need more than that"
    assert found["c"]["adjustments"] == {"runtime_s": {"from": 3600.0, "to": 4000.0}}


def test_jobs_with_other_requirements_that_end_at_the_same_ones_share_them(bench: Workbench) -> None:
    end(bench, "a", **KILLED)
    bench.operate(Recover)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    end(bench, "a", **(KILLED | {"peak_memory_bytes": 3 * GIB // 2}))
    end(bench, "b", **KILLED)
    assert (needs(bench)["a"], needs(bench)["b"]) == ("big_r1", "big")
    bench.operate(Recover, memory_multiplier=3, max_memory="2g")
    assert (needs(bench)["a"], needs(bench)["b"]) == ("big_r2", "big_r2")
    assert bench.rows("SELECT memory_bytes FROM requirement WHERE name = 'big_r2'") == [(2 * GIB,)]
    bench.operate(Undo)
    assert (needs(bench)["a"], needs(bench)["b"]) == ("big_r1", "big")


def test_nothing_is_asked_for_that_cannot_be_stored(bench: Workbench) -> None:
    end(bench, "a", **(KILLED | {"peak_memory_bytes": MAX_BYTES // 10}))
    end(bench, "b", code=143, stopped="walltime", exec_time_s=MAX_SECONDS / 10)
    found = diagnoses(bench.operate(Recover, memory_multiplier=1000, runtime_multiplier=1000))
    assert found["a"]["adjustments"]["memory_bytes"]["to"] == MAX_BYTES
    assert found["b"]["adjustments"]["runtime_s"]["to"] == MAX_SECONDS
    bench.claim()
    bench.report(started=[bench.attempt("a"), bench.attempt("b")])
    end(bench, "a", **(KILLED | {"peak_memory_bytes": MAX_BYTES}))
    end(bench, "b", code=143, stopped="walltime", exec_time_s=float(MAX_SECONDS))
    found = diagnoses(bench.preview(Recover))
    assert (found["a"]["why"], found["b"]["why"]) == ("at_ceiling", "at_ceiling")


def test_jobs_that_did_nothing_wrong_run_again_as_they_are(bench: Workbench) -> None:
    end(bench, "a", code=143, stopped="worker_shutdown")
    bench.lose()
    found = diagnoses(bench.operate(Recover))
    assert {name: found[name]["kind"] for name in "abc"} == {
        "a": "worker_shutdown", "b": "worker_lost", "c": "worker_lost",
    }  # fmt: skip
    assert all(each["adjustments"] == {} for each in found.values())
    assert {bench.status()[name] for name in "abc"} == {"ready"}
    assert bench.rows("SELECT count(*) FROM requirement") == [(2,)]


def test_jobs_of_unknown_cause_run_again_only_on_request(bench: Workbench) -> None:
    end(bench, "a", code=1)
    end(bench, "b")  # without its output
    assert bench.reason("b") == StatusReason.OUTPUT_MISSING
    planned = bench.preview(Recover)
    assert {each["kind"] for each in diagnoses(planned).values()} == {"failed", "output_missing"}
    assert planned.summary.listed == 0
    bench.operate(Recover, retry_unknown=True)
    assert (bench.status()["a"], bench.status()["b"]) == ("ready", "ready")
    assert needs(bench)["a"] == "big"


def test_a_job_without_requirements_gets_some_where_its_use_is_known(make_bench: Make) -> None:
    bench = make_bench([job("a"), job("b")])
    bench.operate(Initialize)
    bench.db.execute("INSERT INTO worker (id, workflow_id, hostname, pid, num_cpus, memory_bytes, num_gpus,"
                     " registered_at_ms) VALUES (1, 1, 'host', 1, 1, ?, 0, 0)", (2 * GIB,))  # fmt: skip
    bench.claim()
    bench.report(started=[bench.attempt("a"), bench.attempt("b")])
    end(bench, "a", **(KILLED | {"peak_memory_bytes": GIB}))
    end(bench, "b", code=152)
    found = diagnoses(bench.operate(Recover))
    assert found["a"]["adjustments"]["memory_bytes"] == {"from": 0, "to": GIB * 3 // 2}
    assert found["b"]["adjustments"] == {"runtime_s": {"from": 0.0, "to": 1.0}}
    assert needs(bench) == {"a": "recovered_r1", "b": "recovered_r2"}


@pytest.mark.parametrize(("ran_s", "runtime_s"), [(1.0, 60.0), (20_000.0, 28_000.0)])
def test_a_job_that_said_nothing_of_its_time_is_not_taken_for_one_of_an_hour(
    make_bench: Make, ran_s: float, runtime_s: float
) -> None:
    """A worker with less time left would never run it again."""
    bench = make_bench([job("a")])
    bench.operate(Initialize)
    allocate(bench)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    end(bench, "a", **(KILLED | {"peak_memory_bytes": 3 * GIB, "exec_time_s": ran_s}))
    found = diagnoses(bench.operate(Recover))
    assert found["a"]["adjustments"]["runtime_s"] == {"from": 0.0, "to": runtime_s}
    assert [launch.name for launch in bench.claim(time_left_s=runtime_s)] == ["a"]


def test_what_asked_for_nothing_and_left_no_figure_runs_again_only_on_request(make_bench: Make) -> None:
    bench = make_bench([job("a")])
    bench.operate(Initialize)
    allocate(bench, slurm_state="OUT_OF_MEMORY")
    bench.db.execute("UPDATE worker SET memory_bytes = 0")
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.lose()
    found = diagnoses(bench.preview(Recover))
    assert (found["a"]["kind"], found["a"]["why"]) == ("out_of_memory", "no_request")
    found = diagnoses(bench.operate(Recover, retry_unknown=True))
    assert (found["a"]["adjustments"], needs(bench)["a"], bench.status()["a"]) == ({}, None, "ready")


def test_undo_takes_requirements_back_too(bench: Workbench) -> None:
    """SEMANTICS 5.6"""
    end(bench, "a", **KILLED)
    tables = ("job", "requirement", "job_state", "file_record")
    before = {name: bench.rows(f"SELECT * FROM {name}") for name in tables}
    bench.operate(Recover)
    bench.operate(Prepare)
    bench.operate(Undo)
    assert {name: bench.rows(f"SELECT * FROM {name}") for name in tables} == before


def test_undo_leaves_requirements_that_were_chosen_since(bench: Workbench) -> None:
    """SEMANTICS 5.6"""
    end(bench, "a", **KILLED)
    bench.operate(Recover)
    bench.edit("a", resource_requirements="small")
    bench.edit("b2", resource_requirements="big_r1")
    bench.operate(Undo)
    assert (needs(bench)["a"], needs(bench)["b2"]) == ("small", "big_r1")


def test_a_recover_tells_of_itself_in_the_log(bench: Workbench) -> None:
    """SEMANTICS 7.1"""
    end(bench, "a", **KILLED)
    bench.operate(Recover)
    told = {kind: data for _, kind, data in bench.events()}
    assert told["requirements_adjusted"] == {
        "adjustments": [
            {"resource_requirements": "big_r1", "memory_bytes": GIB * 3 // 2, "runtime_s": 3600.0, "count": 1,
             "jobs": str(bench.id("a"))}
        ]
    }  # fmt: skip
    assert told["operation"]["operation"] == "recover"


def test_the_digest_tells_other_adjustments_apart(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    end(bench, "a", **KILLED)
    digest = bench.preview(Recover).summary.plan_digest
    assert bench.preview(Recover).summary.plan_digest == digest
    assert bench.preview(Recover, memory_multiplier=2).summary.plan_digest != digest
    with pytest.raises(Conflict, match="not the expected one"):
        bench.preview(Recover, memory_multiplier=2, expect=digest)
    bench.operate(Recover, expect=digest)


def test_inputs_that_changed_meanwhile_are_accepted_for_the_jobs_that_run_again(bench: Workbench) -> None:
    """SEMANTICS 5.1"""
    end(bench, "a", **KILLED)
    bench.write_outputs("b")
    end(bench, "b")
    bench.finish(*[launch.name for launch in bench.claim()])
    bench.disk.write("x", size=77)
    bench.operate(Recover)
    assert bench.run_all()[:2] == ["a", "a2"]
    end(bench, "c", code=1)
    assert [each.name for each in bench.show(bench.preview(Reinit))][:1] == ["b2"], "a2 has seen the new x"


def test_a_missing_input_refuses_unless_forced(bench: Workbench) -> None:
    """SEMANTICS 5"""
    end(bench, "a", **KILLED)
    bench.disk.delete("x")
    with pytest.raises(Refused, match="/submitted/x"):
        bench.preview(Recover)
    assert "/submitted/x" in bench.operate(Recover, force=True).summary.warnings[0]


def test_live_jobs_that_are_not_downstream_run_on(bench: Workbench) -> None:
    """SEMANTICS 5.2"""
    end(bench, "a", **KILLED)
    bench.operate(Recover)
    assert (bench.status()["b"], bench.status()["c"]) == ("running", "running")


def test_a_live_job_downstream_refuses(make_bench: Make) -> None:
    """SEMANTICS 5.2"""
    bench = make_bench(chained("a>b", cancel_on_blocking_job_failure=False))
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    end(bench, "a", code=143, stopped="walltime")
    bench.claim()
    with pytest.raises(Conflict, match="recover would change"):
        bench.preview(Recover)
    bench.operate(Recover, stop_live=True)
    assert bench.status() == {"a": "ready", "b": "blocked"}


def test_of_a_workflow_without_failures_nothing_changes(bench: Workbench) -> None:
    planned = bench.operate(Recover)
    assert (planned.summary.listed, planned.summary.diagnoses, planned.summary.diagnosed) == (0, [], {})


def test_other_plans_have_no_diagnoses(bench: Workbench) -> None:
    """INTERFACE 3"""
    end(bench, "a", code=1)
    assert "diagnoses" not in as_json(bench.preview(ResetStatus, failed_only=True, stop_live=True).summary)


def run_with_failures(bench: Workbench, data: st.DataObject) -> None:
    """Some jobs end, the first of them badly."""
    is_first = True
    while launches := bench.claim():
        for launch in launches:
            code, peak = (137, 2**20) if is_first else data.draw(st.sampled_from(ENDS))
            is_first = False
            bench.report(started=[bench.attempt(launch.name)])
            bench.write_outputs(launch.name)
            bench.report(ended=[bench.end(launch.name, code, peak_memory_bytes=peak)])


def would_rerun(bench: Workbench) -> set[str]:
    """What a reinit would reset that has ended."""
    planned = bench.plan(Reinit(workflow_id=bench.workflow_id, force=True, stop_live=True, detect="mtime"))
    return {each.name for each in bench.show(planned) if each.from_ in ("completed", "failed", "terminated")}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(benches(), st.data())
def test_a_recover_makes_no_other_job_stale_and_resets_exactly_what_it_recovers(
    make: Callable[[], Workbench], data: st.DataObject
) -> None:
    """SEMANTICS 4.2, 5.9"""
    bench = make()
    try:
        machine = Machine(bench, data.draw)
        bench.disk.write("x", "z", "tool.sh")
        bench.operate(Initialize)
        run_with_failures(bench, data)
        for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=6)):
            step(machine)
        assume({"failed", "terminated"} & set(bench.status().values()))
        stale, before = would_rerun(bench), bench.status()
        parameters = {"retry_unknown": data.draw(st.booleans()), "force": True, "stop_live": True}
        planned = bench.operate(Recover, **parameters)
        recovered = {name for name, each in diagnoses(planned).items() if each["recoverable"]}
        closure = below(bench, recovered)
        moved = {name for name, status in bench.status().items() if status != before[name]}
        remade = {
            name for name, reasons in bench.reasons(planned).items()
            if any(reason["kind"] == "output_missing" for reason in reasons)
        }  # fmt: skip
        waited = {name for name, status in before.items() if status in ("uninitialized", "blocked")}
        assert recovered <= moved
        assert moved <= closure | waited | below(bench, remade)
        assert {bench.status()[name] for name in recovered} <= {"ready", "blocked", "canceled"}
        assert would_rerun(bench) <= stale
        bench.check()
    finally:
        bench.close()


def below(bench: Workbench, roots: set[str]) -> set[str]:
    """Jobs and everything downstream of them; it ends at disabled jobs."""
    reached, todo = set(roots), [bench.index(name) for name in roots]
    names, ids = bench.names(), bench.state.jobs.ids.ids
    while todo:
        for other in bench.state.graph.downstream.row(todo.pop()).tolist():
            name = names[int(ids[other])]
            if name not in reached and bench.state.jobs.status[other] != Status.DISABLED:
                reached.add(name)
                todo.append(other)
    return reached


@pytest.mark.parametrize(
    "wrong", [{"max_memory": "12"}, {"max_memory": "0k"}, {"max_runtime": "1h"}, {"max_runtime": "0:00:00"}]
)
def test_a_ceiling_that_is_none_is_refused(bench: Workbench, wrong: dict[str, str]) -> None:
    with pytest.raises(Refused):
        bench.preview(Recover, **wrong)


def allocate(bench: Workbench, **columns: Any) -> None:
    """The worker of these tests belongs to an allocation."""
    bench.db.execute(
        "INSERT INTO allocation (id, workflow_id, status, scheduler, job_name, num_nodes, walltime_s, slurm_state,"
        " requested_by, created_at_ms) VALUES (5, 1, :status, 'main', 'torc', 1, 3600, :slurm_state, 'me', 0)",
        {"status": "complete", "slurm_state": None} | columns,
    )
    bench.db.execute(
        "INSERT INTO worker (id, workflow_id, hostname, pid, num_cpus, memory_bytes, num_gpus, registered_at_ms,"
        " allocation_id) VALUES (1, 1, 'host', 1, 4, ?, 0, 0, 5)",
        (4 * GIB,),
    )


def test_what_slurm_says_of_a_lost_worker_decides(bench: Workbench) -> None:
    allocate(bench, slurm_state="OUT_OF_MEMORY")
    bench.lose()
    found = diagnoses(bench.operate(Recover))
    assert {each["kind"] for each in found.values()} == {"out_of_memory"}
    assert (found["a"]["evidence"]["slurm_state"], found["a"]["evidence"]["allocation_id"]) == ("OUT_OF_MEMORY", 5)
    assert found["a"]["adjustments"] == {"memory_bytes": {"from": GIB, "to": 2 * GIB}}, "three shared 4 GiB"


def test_a_job_that_had_all_the_time_of_its_slurm_job_gets_more_than_that(bench: Workbench) -> None:
    """SEMANTICS 5.9"""
    allocate(bench)
    bench.db.execute("UPDATE allocation SET walltime_s = 1200")
    end(bench, "a", **(OVERDUE | {"exec_time_s": 1000.0}))
    end(bench, "b", **(OVERDUE | {"exec_time_s": 1060.0}))
    found = diagnoses(bench.operate(Recover))
    assert found["a"]["adjustments"] == {}, "it was cut off early"
    assert found["b"]["adjustments"] == {"runtime_s": {"from": 3600.0, "to": 5040.0}}
    assert found["b"]["evidence"]["walltime_s"] == 1200


def test_jobs_that_were_lost_for_memory_are_counted_with_their_share_of_the_workers(bench: Workbench) -> None:
    """SEMANTICS 5.9. Nobody has measured them; the same number side by side would be too many again."""
    allocate(bench, slurm_state="OUT_OF_MEMORY")
    bench.db.execute("UPDATE requirement SET memory_bytes = ?", (2**20,))
    bench.state.requirements[:] = [replace(each, memory_bytes=2**20) for each in bench.state.requirements]
    end(bench, "a", code=1)
    bench.lose()
    found = diagnoses(bench.operate(Recover))
    assert found["b"]["evidence"]["lost_together"] == 2
    assert {needs(bench)[name] for name in "bc"} == {"big_r1"}
    assert found["b"]["adjustments"] == {"memory_bytes": {"from": 2**20, "to": 3 * GIB}}


def test_slurm_jobs_are_proposed_for_what_is_ready(make_bench: Make) -> None:
    main = SlurmSchedulerSpec(name="main", walltime="01:00:00")
    jobs = [job(f"j{number}", resource_requirements="big") for number in range(7)]
    bench = make_bench(jobs, resource_requirements=NEEDS, slurm_schedulers=[main])
    bench.operate(Initialize)
    assert as_json(suggest(load_demand(bench.db, 1)))["suggestions"][0]["count"] == 7, "nobody has seen a node"
    allocate(bench)
    assert as_json(suggest(load_demand(bench.db, 1))) == {
        "suggestions": [
            {"scheduler": "main", "count": 4, "walltime": None, "mem": None, "jobs": 7, "too_long": 0, "longest_s": 0,
             "max_walltime_s": None, "too_large": 0, "largest_bytes": 0, "max_memory_bytes": None, "pending": 0},
        ],
        "schedulers": ["main"], "undecided": 0, "at_work": 1,
    }  # fmt: skip
    bench.db.execute("UPDATE allocation SET status = 'pending'")
    assert suggest(load_demand(bench.db, 1)).suggestions[0].count == 3
    assert suggest(load_demand(bench.db, 1)).at_work == 2
    bench.db.execute("UPDATE worker SET is_gone = 1")
    assert suggest(load_demand(bench.db, 1)).at_work == 1
    bench.db.execute("UPDATE allocation SET cancel_reason = 'by me'")
    assert suggest(load_demand(bench.db, 1)).suggestions[0].count == 4, "one that is to be canceled is no help"


def test_a_dry_run_foresees_the_slurm_jobs_that_the_recovery_is_followed_by(make_bench: Make) -> None:
    """SEMANTICS 5.4"""
    main = SlurmSchedulerSpec(name="main", walltime="01:00:00")
    jobs = [job(name, resource_requirements="big") for name in "abcd"]
    bench = make_bench([*jobs, job("last", depends_on=["a"])], resource_requirements=NEEDS, slurm_schedulers=[main])
    bench.operate(Initialize)
    bench.claim(jobs=3)
    allocate(bench)
    bench.report(started=[bench.attempt(name) for name in "abc"])
    end(bench, "a", code=137, peak_memory_bytes=2 * GIB)  # gets 3 GiB: a node of 4 has room for one
    end(bench, "b", code=1)
    end(bench, "c", **OVERDUE)  # gets more time than there is
    before = suggest(load_demand(bench.db, 1))
    assert [(each.jobs, each.count) for each in before.suggestions] == [(1, 1)]
    planned = bench.preview(Recover)
    foreseen = suggest(load_demand(bench.db, 1, planned.outlook))
    assert [(each.jobs, each.count, each.walltime) for each in foreseen.suggestions] == [
        (2, 2, None), (1, 1, "01:29:00"),
    ]  # fmt: skip
    bench.operate(Recover)
    assert suggest(load_demand(bench.db, 1)) == foreseen


def test_what_was_raised_beyond_the_scheduler_gets_slurm_jobs_of_its_size(bench: Workbench) -> None:
    """SEMANTICS 5.9"""
    bench.db.execute(
        "UPDATE workflow SET header = json_set(header, '$.slurm_schedulers', json(?))",
        ('[{"name": "main", "walltime": "01:00:00", "mem": "1200M"}]',),
    )
    end(bench, "a", **KILLED)
    end(bench, "b", **OVERDUE)
    end(bench, "c", **OVERDUE)
    bench.operate(Recover)
    (larger,) = suggest(load_demand(bench.db, 1)).suggestions
    assert (larger.count, larger.jobs, larger.walltime, larger.mem) == (3, 3, "01:29:00", "1664M")
    limits = {"main": Limits(walltime_s=5000.0, memory_bytes=GIB)}
    (none,) = suggest(load_demand(bench.db, 1), limits).suggestions
    assert (none.count, none.jobs, none.too_long, none.too_large) == (0, 0, 2, 1)
    assert (none.longest_s, none.max_walltime_s) == (5180.0, 5000.0)


def test_jobs_without_a_scheduler_are_undecided_where_there_are_several(make_bench: Make) -> None:
    several = [SlurmSchedulerSpec(name="main"), SlurmSchedulerSpec(name="other")]
    bench = make_bench([job("a"), job("b", scheduler="other")], slurm_schedulers=several)
    bench.operate(Initialize)
    found = suggest(load_demand(bench.db, 1))
    assert ([each.scheduler for each in found.suggestions], found.undecided) == (["other"], 1)
