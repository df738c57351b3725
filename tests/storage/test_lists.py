"""Lists: filters, pages, and what a user sees of each noun."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from builders import DIRECTORY, insert, job, new_workflow
from hypothesis import given
from hypothesis import strategies as st
from workbench import Workbench, as_json

from torcd.core.status import Status
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.model import STATUSES
from torcd.protocol.requests import Initialize, ResetJobs, ResetStatus, Restart
from torcd.protocol.specification import ResourceRequirementsSpec, UserDataSpec
from torcd.storage import lists, nouns
from torcd.storage.lists import Listing, load_page
from torcd.storage.nouns import (
    ALL_RESULTS,
    CURRENT_RESULTS,
    EVENTS,
    FILES,
    JOBS,
    TASKS,
    USER_DATA,
    WORKERS,
    WORKFLOWS,
    count_statuses,
    find_owner,
    load_events,
    load_one,
)


@pytest.fixture
def bench() -> Iterator[Workbench]:
    """A workflow with a job in many states: failed, completed, canceled, and with data of every noun."""
    needs = ResourceRequirementsSpec(name="big", num_cpus=2)
    made = Workbench(
        new_workflow(
            [
                job("good", input_files=["x"], output_files=["y"], priority=5),
                job("bad", resource_requirements="big"),
                job("after", depends_on=["bad"]),
            ],
            ["z"],
            [UserDataSpec(name="u", data={"a": 1}), UserDataSpec(name="null", data=None), UserDataSpec(name="unset")],
            resource_requirements=[needs],
            description="words",
            project="p",
            metadata={"m": [1]},
        )
    )
    made.disk.write("x", size=7)
    made.operate(Initialize)
    made.run_all(failing=["bad"])
    yield made
    made.close()


def listed(bench: Workbench, listing: Listing[Any], *filters: tuple[str, str]) -> list[Any]:
    return load_page(bench.db, listing, (bench.workflow_id,), filters, 0, 5000)[0]


def names(bench: Workbench, *filters: tuple[str, str]) -> list[str]:
    return [each.name for each in listed(bench, JOBS, *filters)]


# ---- filters ----


def test_numbers_compare_as_numbers(bench: Workbench) -> None:
    """INTERFACE §2"""
    for text in ("1", "1.0", "01", "1e0", " 1"):
        assert names(bench, ("return_code", text)) == ["bad"]
    assert names(bench, ("return_code", "0")) == ["good"]
    assert names(bench, ("return_code", "1.5")) == []
    assert names(bench, ("id", str(bench.id("after")))) == ["after"]
    assert names(bench, ("priority", "5")) == ["good"]
    assert names(bench, ("id", "99999999999999999999")) == []


@pytest.mark.parametrize("value", ["one", "", "1,2"])
def test_what_is_no_number_is_refused(bench: Workbench, value: str) -> None:
    with pytest.raises(Refused, match=r"return_code.*is not a number"):
        names(bench, ("return_code", value))


def test_statuses_are_filtered_by_their_names_and_older_ones(bench: Workbench) -> None:
    """SEMANTICS §2"""
    assert names(bench, ("status", "failed")) == ["bad"]
    assert names(bench, ("status", "canceled")) == ["after"]
    assert names(bench, ("status", "done")) == ["good", "bad"]
    assert names(bench, ("status", "submitted")) == []
    bench.operate(Restart)
    bench.operate(ResetStatus)
    bench.operate(Restart, only_uninitialized=True)
    bench.claim()
    assert names(bench, ("status", "submitted_pending")) == ["good", "bad"]
    bench.report(started=[bench.attempt("good")])
    assert names(bench, ("status", "submitted")) == ["good"]


def test_an_unknown_status_or_filter_is_refused_naming_the_known_ones(bench: Workbench) -> None:
    with pytest.raises(Refused, match="no status 'finished'") as no:
        names(bench, ("status", "finished"))
    assert all(status in no.value.message for status in STATUSES)
    with pytest.raises(Refused, match=r"no filter 'colour'.*return_code") as no:
        names(bench, ("colour", "red"))
    assert no.value.data["known"] == sorted(JOBS.filters)


def test_null_is_what_is_not_there(bench: Workbench) -> None:
    """INTERFACE §2"""
    assert names(bench, ("return_code", "null")) == ["after"]
    assert names(bench, ("resource_requirements", "null")) == ["good", "after"]
    assert names(bench, ("status_reason", "none")) == ["good", "bad"]
    assert names(bench, ("status_reason", "upstream_failed")) == ["after"]


def test_filters_are_joined_by_and(bench: Workbench) -> None:
    """INTERFACE §2"""
    assert names(bench, ("status", "done"), ("return_code", "1")) == ["bad"]
    assert names(bench, ("status", "done"), ("name", "after")) == []


def test_flags_are_true_or_false(bench: Workbench) -> None:
    def of(value: str) -> list[str]:
        return [each.name for each in listed(bench, USER_DATA, ("is_ephemeral", value))]

    assert of("false") == of("0") == of("False") == ["u", "null", "unset"]
    assert of("true") == []
    with pytest.raises(Refused, match="neither true nor false"):
        of("perhaps")


def test_a_value_is_never_sql(bench: Workbench) -> None:
    assert names(bench, ("name", "' OR '1' = '1")) == []


@pytest.mark.parametrize("listing", [JOBS, FILES, USER_DATA, CURRENT_RESULTS, ALL_RESULTS, TASKS, EVENTS, WORKERS])
def test_every_filter_of_every_noun_works(bench: Workbench, listing: Listing[Any]) -> None:
    for key, (_, kind) in listing.filters.items():
        value = {"status": "completed"}.get(key, "1") if kind != lists.STATUS else "completed"
        listed(bench, listing, (key, value))


def test_workflows_are_filtered_too(bench: Workbench) -> None:
    insert(bench.db, new_workflow([], name="other"))
    found, _ = load_page(bench.db, WORKFLOWS, (), [("name", "other")], 0, 10)
    assert [each.name for each in found] == ["other"]
    for key, (_, kind) in WORKFLOWS.filters.items():
        load_page(bench.db, WORKFLOWS, (), [(key, "true" if kind == lists.FLAG else "1")], 0, 10)


# ---- pages ----


def pages(db: sqlite3.Connection, limit: int, *filters: tuple[str, str]) -> list[list[str]]:
    found, cursor = [], 0
    while True:
        rows, following = load_page(db, JOBS, (1,), filters, cursor, limit)
        found.append([each.name for each in rows])
        if following is None:
            return found
        assert following > cursor
        cursor = following


@given(st.integers(0, 12), st.integers(1, 14))
def test_pages_by_limit_lose_nothing_and_repeat_nothing(count: int, limit: int) -> None:
    wanted = [f"j{number:02d}" for number in range(count)]
    bench = Workbench(new_workflow([job(name) for name in wanted]))
    try:
        found = pages(bench.db, limit)
        assert [name for page in found for name in page] == wanted
        assert all(len(page) == limit for page in found[:-1])
        assert len(found) == max(1, -(-count // limit))
    finally:
        bench.close()


@given(st.lists(st.integers(0, 900), min_size=1, max_size=10))
def test_pages_by_size_lose_nothing_and_repeat_nothing(sizes: list[int]) -> None:
    """INTERFACE §4: one frame is not filled by a list"""
    wanted = [f"j{number:02d}" for number in range(len(sizes))]
    specs = [job(name, "x" * (size + 1)) for name, size in zip(wanted, sizes, strict=True)]
    bench = Workbench(new_workflow(specs))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lists, "PAGE_BYTES", 1000)
            found = pages(bench.db, 5000)
        assert [name for page in found for name in page] == wanted
        assert all(found), "no page is empty, however large its first row is"
        if sum(sizes) > 6000:
            assert len(found) > 1
    finally:
        bench.close()


def test_pages_of_a_filtered_list_are_full() -> None:
    bench = Workbench(new_workflow([job(f"j{number}", priority=number % 2) for number in range(10)]))
    try:
        assert pages(bench.db, 2, ("priority", "1")) == [["j1", "j3"], ["j5", "j7"], ["j9"]]
    finally:
        bench.close()


# ---- what is shown ----


def test_a_job_is_shown_with_its_status_its_latest_attempt_and_its_return_code(bench: Workbench) -> None:
    """INTERFACE §3, SEMANTICS 2.4"""
    good, bad, after = listed(bench, JOBS)
    assert (good.id, good.job_key, good.workflow_id, good.command) == (good.id, good.id, 1, "run good")
    assert (bad.status, bad.status_reason, bad.return_code, bad.attempt_id, bad.run_id) == ("failed", None, 1, 1, 1)
    assert (after.status, after.status_reason, after.return_code, after.attempt_id) == (
        "canceled",
        "upstream_failed",
        None,
        0,
    )
    assert (good.worker_id, bad.resource_requirements) == (None, "big")
    bench.operate(ResetStatus)
    assert {each.return_code for each in listed(bench, JOBS)} == {None}
    bench.operate(Restart, only_uninitialized=True)
    bench.claim(worker=7)
    assert [each.worker_id for each in listed(bench, JOBS)] == [7, 7, None]


def test_a_file_is_shown_with_its_record(bench: Workbench) -> None:
    found = {each.name: (each.recorded, each.size, each.version, each.path) for each in listed(bench, FILES)}
    assert found["x"] == ("present", 7, 1, f"{DIRECTORY}/x")
    assert found["z"] == ("absent", None, 1, f"{DIRECTORY}/z")
    assert found["y"][:3] == ("present", 10, 2)
    fresh = Workbench(new_workflow([job("a", output_files=["f"])]))
    try:
        (file,) = listed(fresh, FILES)
        assert (file.recorded, file.mtime_ns, file.size, file.version) == ("never", None, None, 0)
    finally:
        fresh.close()


def test_user_data_tells_null_from_no_value(bench: Workbench) -> None:
    bench.set_value("u", [2])
    found = {each.name: (each.data, each.is_set, each.version) for each in listed(bench, USER_DATA)}
    assert found == {"u": ([2], True, bench.state.version_counter), "null": (None, True, 0), "unset": (None, False, 0)}


def test_current_results_are_those_of_latest_attempts_of_ended_jobs(bench: Workbench) -> None:
    """SEMANTICS 8.5"""

    def of(listing: Listing[Any]) -> list[tuple[str, int, str]]:
        return [(each.job_name, each.attempt_id, each.status) for each in listed(bench, listing)]

    assert sorted(of(CURRENT_RESULTS)) == sorted(of(ALL_RESULTS)) == [("bad", 1, "failed"), ("good", 1, "completed")]
    bench.operate(ResetStatus, failed_only=True)
    assert of(CURRENT_RESULTS) == [("good", 1, "completed")], "after a reset only under --all-runs"
    assert len(of(ALL_RESULTS)) == 2
    bench.operate(Restart, only_uninitialized=True)
    assert of(CURRENT_RESULTS) == [("good", 1, "completed")]
    bench.run_all()
    assert sorted(of(CURRENT_RESULTS)) == [("after", 1, "completed"), ("bad", 2, "completed"), ("good", 1, "completed")]
    assert {each[:2] for each in of(ALL_RESULTS)} == {("bad", 1), ("bad", 2), ("good", 1), ("after", 1)}


def test_a_job_that_is_canceled_after_a_reset_has_no_current_result(bench: Workbench) -> None:
    """SEMANTICS 8.5: that of a job which was canceled after having run, and no other"""

    def current() -> list[tuple[str, int | None]]:
        return [(each.job_name, each.return_code) for each in listed(bench, CURRENT_RESULTS)]

    bench.operate(ResetStatus)
    bench.operate(Restart, only_uninitialized=True)
    bench.claim()
    bench.report(started=[bench.attempt("bad")])
    bench.cancel()
    bench.report(ended=[bench.end("bad", -15, stopped="by_user")])
    assert current() == [("bad", -15)]
    bench.operate(Restart)
    bench.cancel()
    assert current() == []
    assert {each.return_code for each in listed(bench, JOBS)} == {None}
    assert bench.operate(ResetJobs, return_code=-15).summary.listed == 0


def test_results_have_the_fields_that_scripts_rely_on(bench: Workbench) -> None:
    """INTERFACE §3"""
    shown = as_json(listed(bench, CURRENT_RESULTS, ("return_code", "1"))[0])
    assert set(shown) >= {
        "id", "job_id", "job_key", "job_name", "workflow_id", "run_id", "attempt_id", "return_code", "status",
        "exec_time_minutes", "started_at", "completion_time", "peak_memory_bytes", "cpu_seconds", "hostname",
        "stdout_path", "stderr_path",
    }  # fmt: skip
    assert shown["job_key"] == bench.id("bad")
    assert shown["exec_time_minutes"] == pytest.approx(0.5 / 60)
    assert shown["completion_time"].endswith("Z")


def test_a_workflow_is_shown_with_its_state(bench: Workbench) -> None:
    """INTERFACE §3"""
    one = load_one(bench.db, WORKFLOWS, "workflow", "id = ?", (1,), 1)
    assert (one.id, one.workflow_id, one.key, one.name, one.user) == (1, 1, 1, "test", "tester")
    assert (one.status, one.run_id, one.metadata, one.project) == ("initialized", 1, {"m": [1]}, "p")
    assert one.created_at == "1970-01-01T00:00:01.000Z"
    bench.cancel()
    assert load_one(bench.db, WORKFLOWS, "workflow", "id = ?", (1,), 1).status == "canceled"


def test_what_is_not_there_is_named(bench: Workbench) -> None:
    with pytest.raises(NotFound, match="no job 77") as no:
        load_one(bench.db, JOBS, "job", "j.id = ?", (77,), 77)
    assert (no.value.data["noun"], no.value.data["id"]) == ("job", 77)
    with pytest.raises(NotFound, match="no user data 5"):
        find_owner(bench.db, "user_data", 5)
    assert find_owner(bench.db, "job", bench.id("bad")) == 1
    with pytest.raises(NotFound, match="no workflow 9"):
        nouns.check_workflow(bench.db, 9)


def test_statuses_are_counted_by_name(bench: Workbench) -> None:
    assert count_statuses(bench.db, 1) == {"completed": 1, "failed": 1, "canceled": 1}
    assert bench.state.counts_by_name() == count_statuses(bench.db, 1)
    assert bench.state.counts[Status.FAILED] == 1


def test_a_stretch_of_the_log_comes_after_a_number(bench: Workbench) -> None:
    """SEMANTICS 7.1"""
    everything = load_events(bench.db, 1, 0, 1000)
    assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
    assert everything[0].kind == "workflow_created"
    assert [event.seq for event in load_events(bench.db, 1, 2, 3)] == [3, 4, 5]
    assert load_events(bench.db, 1, len(everything), 10) == []
