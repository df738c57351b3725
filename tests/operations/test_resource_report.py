"""Requested against used resources, as the database has them."""

from collections.abc import Iterator

import pytest
from builders import job, new_workflow
from workbench import Workbench

from torcd.protocol.requests import Initialize, ResetStatus
from torcd.protocol.resource_report import JobUse, RequirementUse
from torcd.protocol.specification import ResourceRequirementsSpec
from torcd.storage.resource_use import report_jobs, report_requirements

MIB = 2**20


@pytest.fixture
def bench() -> Iterator[Workbench]:
    """a, b with a requirement, c without, and a requirement that no job has."""
    needs = [
        ResourceRequirementsSpec(name="big", num_cpus=4, memory="1g", runtime="PT1H"),
        ResourceRequirementsSpec(name="idle"),
    ]
    jobs = [job("a", resource_requirements="big"), job("b", resource_requirements="big"), job("c")]
    made = Workbench(new_workflow(jobs, resource_requirements=needs))
    made.operate(Initialize)
    yield made
    made.close()


def end(bench: Workbench, name: str, *, code: int = 0, mib: int | None, seconds: float, cpu: float) -> None:
    bench.report(started=[bench.attempt(name)])
    peak = None if mib is None else mib * MIB
    ended = bench.end(name, code, exec_time_s=seconds, peak_memory_bytes=peak, cpu_seconds=cpu)
    assert bench.report(ended=[ended]) == []


def by_requirement(bench: Workbench, *, all_runs: bool = False) -> dict[str | None, RequirementUse]:
    rows, cursor = report_requirements(bench.db, bench.workflow_id, 0, 100, all_runs=all_runs)
    assert cursor is None
    return {row.name: row for row in rows}


def by_job(bench: Workbench, *, all_runs: bool = False) -> dict[str, JobUse]:
    rows, _ = report_jobs(bench.db, bench.workflow_id, 0, 100, all_runs=all_runs)
    return {row.name: row for row in rows}


def test_each_requirement_is_compared_with_what_its_jobs_used(bench: Workbench) -> None:
    bench.claim()
    end(bench, "a", mib=100, seconds=60, cpu=120)
    end(bench, "b", code=1, mib=300, seconds=30, cpu=15)
    end(bench, "c", mib=None, seconds=5, cpu=1)
    found = by_requirement(bench)
    assert list(found) == ["big", "idle", None]
    big = found["big"]
    assert (big.jobs, big.attempts) == (2, 2)
    assert big.requested is not None
    assert (big.requested.num_cpus, big.requested.memory_bytes, big.requested.runtime_s) == (4, 2**30, 3600.0)
    assert big.used.peak_memory_bytes is not None
    assert big.used.peak_memory_bytes.max == 300 * MIB
    assert (big.proposed.memory_bytes, big.proposed.runtime_s, big.proposed.num_cpus) == (368 * MIB, 120, 2)
    assert (found["idle"].jobs, found["idle"].attempts, found["idle"].used.runtime_s) == (0, 0, None)
    assert (found[None].jobs, found[None].requested, found[None].used.peak_memory_bytes) == (1, None, None)


def test_each_job_is_compared_by_itself_if_it_has_an_attempt(bench: Workbench) -> None:
    bench.claim()
    end(bench, "a", mib=100, seconds=60, cpu=120)
    end(bench, "c", mib=10, seconds=5, cpu=1)
    found = by_job(bench)
    assert list(found) == ["a", "c"]
    assert (found["a"].resource_requirements, found["a"].attempts) == ("big", 1)
    assert (found["c"].resource_requirements, found["c"].requested) == (None, None)


def test_attempts_of_jobs_that_were_reset_count_among_all_runs_only(bench: Workbench) -> None:
    """SEMANTICS 8.5"""
    bench.claim()
    end(bench, "a", mib=900, seconds=60, cpu=1)
    bench.operate(ResetStatus, stop_live=True, reinitialize=True)
    bench.claim()
    end(bench, "a", mib=100, seconds=60, cpu=1)
    assert by_requirement(bench)["big"].attempts == 1
    everything = by_requirement(bench, all_runs=True)["big"]
    assert everything.attempts == 2
    assert everything.used.peak_memory_bytes is not None
    assert everything.used.peak_memory_bytes.max == 900 * MIB
    assert by_job(bench, all_runs=True)["a"].attempts == 2


def test_an_attempt_that_was_lost_says_nothing_of_resources(bench: Workbench) -> None:
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.lose()
    assert by_requirement(bench)["big"].attempts == 0
    assert by_job(bench) == {}


def test_reports_are_paged(bench: Workbench) -> None:
    bench.claim()
    for name in "abc":
        end(bench, name, mib=100, seconds=60, cpu=120)
    names, cursor = [], 0
    while True:
        rows, following = report_requirements(bench.db, bench.workflow_id, cursor, 2, all_runs=False)
        names += [row.name for row in rows]
        if following is None:
            break
        cursor = following
    assert names == ["big", "idle", None]
    first, cursor_of_jobs = report_jobs(bench.db, bench.workflow_id, 0, 2, all_runs=False)
    assert [row.name for row in first] == ["a", "b"]
    assert cursor_of_jobs is not None
    rest, following = report_jobs(bench.db, bench.workflow_id, cursor_of_jobs, 2, all_runs=False)
    assert ([row.name for row in rest], following) == (["c"], None)
