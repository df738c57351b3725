"""Updates of a workflow from a changed specification (SEMANTICS 5.7): what differs, is written, is refused."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import DIRECTORY, chained, job, linked, new_workflow
from workbench import Workbench, as_json

from torcd.core.difference_entries import LONGEST_VALUE, show_differences
from torcd.core.differences import FieldChange
from torcd.core.plan import unpack_plan
from torcd.operations.cancel import cancel_workflow
from torcd.operations.update import load_definition, update_job
from torcd.operations.update_workflow import Update
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import Initialize, Prepare, Reinit, Restart, UpdateJob
from torcd.protocol.specification import JobSpec, ResourceRequirementsSpec, UserDataSpec
from torcd.protocol.worker_requests import OutputSeen
from torcd.storage.plans import show_page

Make = Callable[..., Workbench]

FIRST = job("first", input_files=["x"], output_files=["y"])
SECOND = job("second", input_files=["y"], output_files=["z"])
BIG = ResourceRequirementsSpec(name="big", num_cpus=8)


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """first > second, run to the end."""
    made = make_bench([FIRST, SECOND], (), [UserDataSpec(name="u", data={"a": 1})], resource_requirements=[BIG])
    made.disk.write("x")
    made.operate(Initialize)
    assert made.run_all() == ["first", "second"]
    return made


def update(bench: Workbench, *jobs: Any, **options: Any) -> Update:
    """Updates the bench to these jobs; what is not said stays as the fixture has it."""
    data = options.pop("user_data", [UserDataSpec(name="u", data={"a": 1})])
    return bench.update(jobs, options.pop("files", ()), data, **{"resource_requirements": [BIG], **options})


def told(update: Update) -> dict[str, dict[str, list[str]]]:
    """What an update changes: names by section and change, fields in brackets."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in map(msgspec.json.decode, update.shown):
        fields = [each["field"] for each in entry.get("fields", ())]
        text = entry["name"] + (f" ({', '.join(fields)})" if fields else "")
        found.setdefault(entry["section"], {}).setdefault(entry["change"], []).append(text)
    if update.differences.header:
        found["header"] = {"changed": [each.field for each in update.differences.header]}
    return found


def rerun(bench: Workbench) -> list[str]:
    """What a reinit resets and evaluates, and a run then runs."""
    bench.operate(Reinit)
    return bench.run_all()


# ---- nothing differs ----


def test_the_same_specification_changes_nothing(bench: Workbench) -> None:
    """SEMANTICS 5.7: idempotent"""
    before = bench.dump()
    made = update(bench, FIRST, SECOND)
    assert (made.differences.count, told(made)) == (0, {})
    assert bench.dump() == before


def test_an_update_that_is_repeated_finds_nothing(bench: Workbench) -> None:
    """SEMANTICS 5.7: a client that lost the answer asks again, with the digest it expected, too"""
    jobs = [job("first", "other", input_files=["x"], output_files=["y"]), job("third", priority=3)]
    digest = bench.compare(jobs, (), (), description="d").digest
    bench.update(jobs, (), (), description="d", expect=digest)
    before = bench.dump()
    assert bench.update(jobs, (), (), description="d", expect=digest).differences.count == 0
    assert bench.dump() == before


# ---- jobs ----


def test_a_changed_definition_is_stale_at_the_next_reinit_and_not_before(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    before = bench.state.version_counter
    made = update(bench, job("first", "better", input_files=["x"], output_files=["y"], env={"K": "v"}), SECOND)
    assert told(made) == {"jobs": {"changed": ["first (command, env)"]}}
    assert set(bench.status().values()) == {"completed"}
    assert bench.state.version_counter == before + 1
    assert bench.rows("SELECT command, env, definition_version FROM job WHERE name = 'first'") == [
        ("better", '{"K":"v"}', before + 1)
    ]
    assert [row[0] for row in bench.rows("SELECT version FROM job_definition ORDER BY version")] == [0, before + 1]
    reasons = bench.reasons(bench.preview(Reinit))
    assert [(each["field"], each["old"], each["new"]) for each in reasons["first"]] == [
        ("command", "run first", "better"),
        ("env", {}, {"K": "v"}),
    ]
    assert rerun(bench) == ["first", "second"]
    assert bench.operate(Reinit).summary.count == 0


def test_a_definition_that_is_changed_back_makes_nothing_stale(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    update(bench, job("first", "better", input_files=["x"], output_files=["y"]), SECOND)
    update(bench, FIRST, SECOND)
    assert bench.operate(Reinit).summary.count == 0
    assert len(bench.rows("SELECT 1 FROM job_definition")) == 3


def test_attributes_that_are_not_critical_make_nothing_stale(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    changed = msgspec.structs.replace(
        FIRST,
        priority=4,
        resource_requirements="big",
        cancel_on_blocking_job_failure=False,
        supports_termination=True,
    )
    counter = bench.state.version_counter
    made = update(bench, changed, SECOND)
    fields = "priority, resource_requirements, cancel_on_blocking_job_failure, supports_termination"
    assert told(made) == {"jobs": {"changed": [f"first ({fields})"]}}
    assert bench.state.version_counter == counter
    row = "SELECT priority, cancel_on_failure, supports_termination, requirement_id FROM job WHERE name = 'first'"
    assert bench.rows(row) == [(4, 0, 1, bench.id("big", "requirement"))]
    assert bench.operate(Reinit).summary.count == 0
    assert update(bench, FIRST, SECOND).differences.jobs.count == 1
    assert bench.rows(row) == [(0, 1, 0, None)]


def test_an_added_job_is_uninitialized_until_the_next_operation(bench: Workbench) -> None:
    made = update(bench, FIRST, SECOND, job("third", input_files=["z"], output_files=["t"]))
    assert told(made) == {"jobs": {"added": ["third"]}, "files": {"added": ["t"]}}
    assert bench.status() == {"first": "completed", "second": "completed", "third": "uninitialized"}
    bench.operate(Prepare)
    assert bench.run_all() == ["third"]


def test_what_depends_on_an_added_job_runs_again_after_it(bench: Workbench) -> None:
    """SEMANTICS 4.6: `second` is what it was, but its input will be made anew"""
    made = update(bench, SECOND, job("maker", input_files=["x"], output_files=["y"]))
    assert told(made) == {"jobs": {"added": ["maker"], "removed": ["first"]}}
    planned = bench.operate(Reinit)
    upstream = {"kind": "upstream_stale", "root": "maker", "root_id": bench.id("maker"), "via": "maker"}
    assert bench.reasons(planned) == {"maker": [], "second": [upstream]}
    assert planned.summary.count == 1
    assert bench.status() == {"maker": "ready", "second": "blocked"}
    assert bench.run_all() == ["maker", "second"]
    assert bench.operate(Reinit).summary.count == 0


@pytest.mark.parametrize("claimed", [False, True])
def test_what_ended_before_its_new_upstream_is_stale_while_that_waits_or_runs(bench: Workbench, claimed: bool) -> None:
    """SEMANTICS 4.6: an update and a run without a reinit between them"""
    update(bench, SECOND, job("maker", input_files=["x"], output_files=["y"]))
    bench.operate(Prepare)
    if claimed:
        bench.claim()
    assert list(bench.reasons(bench.operate(Reinit))) == ["second"]
    if claimed:
        bench.finish("maker")
    assert bench.run_all() == (["second"] if claimed else ["maker", "second"])


def test_a_removed_job_goes_with_all_that_is_its_own(bench: Workbench) -> None:
    update(bench, job("first", "better", input_files=["x"], output_files=["y"]), SECOND)
    rerun(bench)
    gone = bench.id("first")
    made = update(bench, SECOND)
    assert told(made)["jobs"] == {"removed": ["first"]}
    assert made.results == {gone: 2}
    for table in (
        "job_state",
        "job_definition",
        "job_dependency",
        "job_input",
        "job_output",
        "job_user_data",
        "result",
    ):
        assert bench.rows(f"SELECT count(*) FROM {table} WHERE job_id = ?", gone) == [(0,)], table
    assert bench.rows("SELECT name FROM job") == [("second",)]
    assert bench.operate(Reinit).summary.count == 0, "its input is still what it was"


def test_a_job_that_comes_back_is_a_new_one(bench: Workbench) -> None:
    former = bench.id("first")
    update(bench, SECOND)
    update(bench, FIRST, SECOND)
    assert bench.id("first") > former
    assert bench.status()["first"] == "uninitialized"


def test_all_jobs_can_be_removed_and_others_added(bench: Workbench) -> None:
    update(bench)
    assert bench.state.is_complete
    assert bench.rows("SELECT count(*) FROM file") == [(0,)]
    update(bench, *chained("p>q"))
    assert rerun(bench) == ["p", "q"]


def test_links_of_changed_jobs_are_replaced(make_bench: Make) -> None:
    data = [UserDataSpec(name="u", data=1), UserDataSpec(name="w", data=2)]
    a = job("a", input_files=["x"], output_files=["y"], input_user_data=["u"])
    bench = make_bench([a, job("b"), job("c", depends_on=["a"])], ["t"], data, scripts=[("a", "tool.sh")])
    a = job("a", input_files=["t"], output_files=["v"], input_user_data=["w"])
    made = bench.update([a, job("b"), job("c", depends_on=["b"])], ["x", "y"], data, scripts=[("a", "never looked at")])
    assert told(made)["jobs"] == {"changed": ["a (input_files, output_files, input_user_data)", "c (depends_on)"]}
    inputs = bench.rows("SELECT f.name FROM job_input i JOIN file f ON f.id = i.file_id ORDER BY f.id")
    assert inputs == [("t",), (f"{DIRECTORY}/tool.sh",)], "its command is the same, and so are its scripts"
    assert bench.rows("SELECT f.name FROM job_output o JOIN file f ON f.id = o.file_id") == [("v",)]
    assert bench.rows("SELECT u.name FROM job_user_data d JOIN user_data u ON u.id = d.user_data_id") == [("w",)]
    assert bench.rows("SELECT job_id, upstream_id FROM job_dependency") == [(bench.id("c"), bench.id("b"))]


# ---- waiting jobs ----


def test_waiting_jobs_are_evaluated_on_the_new_graph(make_bench: Make) -> None:
    """SEMANTICS §2: ready → blocked, blocked → ready, blocked → canceled"""
    bench = make_bench([job("bad"), job("ready"), job("held"), job("blocked", depends_on=["held"]), job("doomed")])
    bench.operate(Initialize)
    bench.claim(jobs=1)
    bench.finish("bad", code=1)
    events = len(bench.events())
    bench.update(
        [
            job("bad"),
            job("new"),
            job("ready", depends_on=["new"]),
            job("held"),
            job("blocked"),
            job("doomed", depends_on=["bad"]),
            job("further", depends_on=["doomed"]),
        ]
    )
    assert bench.status() == {
        "bad": "failed", "new": "uninitialized", "ready": "blocked", "held": "ready", "blocked": "ready",
        "doomed": "canceled", "further": "uninitialized",
    }  # fmt: skip
    moved, updated = bench.events()[events:]
    assert moved[1] == "jobs_changed"
    assert {each["status"]: each["count"] for each in moved[2]["changes"]} == {"blocked": 1, "ready": 1, "canceled": 1}
    assert updated[1] == "workflow_updated"
    assert updated[2]["jobs"] == {"added": 2, "changed": 3, "removed": 0}
    bench.operate(Prepare)
    assert bench.status()["further"] == "canceled"
    assert sorted(bench.run_all()) == ["blocked", "held", "new", "ready"]


@pytest.mark.parametrize("rest", [[job("bad"), job("after")], [job("after")]])
def test_a_job_is_not_canceled_any_more_by_a_failure_that_is_not_upstream_of_it_now(
    make_bench: Make, rest: list[JobSpec]
) -> None:
    """SEMANTICS 2.1: failure propagates from statuses"""
    bench = make_bench(chained("bad>after"))
    bench.operate(Initialize)
    bench.run_all(failing=["bad"])
    bench.update(rest)
    assert bench.status()["after"] == "ready"
    assert bench.run_all() == ["after"]


def test_an_update_makes_nothing_run_in_a_canceled_workflow(make_bench: Make) -> None:
    bench = make_bench(chained("bad>after", "free"))
    bench.operate(Initialize)
    bench.claim(jobs=1)
    bench.finish("bad", code=1)
    bench.change(cancel_workflow)
    bench.update([job("after"), job("free")])
    assert bench.status() == {"after": "canceled", "free": "canceled"}
    bench.operate(Restart)
    assert sorted(bench.run_all()) == ["after", "free"]


def test_a_workflow_that_never_ran_is_updated_like_any_other(make_bench: Make) -> None:
    bench = make_bench(chained("a>b"))
    bench.update(chained("a>c", "b>c"))
    assert set(bench.status().values()) == {"uninitialized"}
    bench.operate(Initialize)
    assert bench.run_all() == ["a", "b", "c"]


# ---- live jobs ----


def test_live_jobs_are_neither_changed_nor_removed(make_bench: Make) -> None:
    """SEMANTICS 4.2, 5.2"""
    bench = make_bench([job("a", output_files=["y"]), job("b"), job("c")])
    bench.operate(Initialize)
    bench.claim(jobs=2)
    bench.report(started=[bench.attempt("a")])
    a, b, c = job("a", output_files=["y"]), job("b"), job("c")
    for jobs, options in (
        ([job("a", "other", output_files=["y"]), b, c], {}),
        ([msgspec.structs.replace(a, priority=1), b, c], {}),
        ([b, c], {}),
        ([a, b, c], {"paths": {"y": "elsewhere"}}),
        ([a, b, c], {"env": {"A": "1"}}),
    ):
        with pytest.raises(Conflict, match="run now") as no:
            bench.compare(jobs, **options)
        assert bench.id("a") in no.value.data["jobs"]
        assert no.value.data["names"][0] == "a"
    with pytest.raises(
        Conflict, match=r"2 jobs that run now: \d+ a \(running\), \d+ b \(pending\)\. Nothing was changed"
    ):
        bench.compare([c])
    bench.update([a, b, job("c", "other"), job("d")])


def test_live_jobs_that_are_not_affected_run_on_and_complete(bench: Workbench) -> None:
    """SEMANTICS 5.2"""
    update(bench, job("first", "better", input_files=["x"], output_files=["y"]), SECOND)
    bench.operate(Reinit)
    bench.claim()
    bench.report(started=[bench.attempt("first")])
    first = job("first", "better", input_files=["x"], output_files=["y"])
    update(bench, first, job("other", "more", input_files=["y"]), files=["z"])
    bench.finish("first")
    assert bench.status() == {"first": "completed", "other": "uninitialized"}
    assert rerun(bench) == ["other"]


def test_a_live_job_may_have_an_input_moved_or_a_value_written(make_bench: Make) -> None:
    """SEMANTICS 4.1, 4.3: it has used the former ones, and the next reinit sees that"""
    live = job("a", input_files=["x"], input_user_data=["u"])
    bench = make_bench([live], (), [UserDataSpec(name="u", data=1)])
    bench.disk.write("x", "moved")
    bench.operate(Initialize)
    bench.claim()
    bench.update([live], (), [UserDataSpec(name="u", data=2)], paths={"x": "moved"})
    bench.finish("a")
    kinds = [each["kind"] for each in bench.reasons(bench.preview(Reinit))["a"]]
    assert kinds == ["input_changed", "user_data_changed"]


def test_a_late_report_of_a_job_that_was_removed_is_refused_and_harms_nobody(make_bench: Make) -> None:
    """SEMANTICS 5.3"""
    bench = make_bench([job("a", output_files=["y"])])
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    ref, end = bench.attempt("a"), bench.end("a")
    bench.cancel()
    bench.update([])
    assert [each.why for each in bench.report(ended=[end])] == ["superseded"]
    bench.update([job("b")])
    assert [each.why for each in bench.report(started=[ref], ended=[end])] == ["superseded", "superseded"]
    bench.check()


def test_an_attempt_that_comes_back_after_its_outputs_were_removed_is_taken(make_bench: Make) -> None:
    """SEMANTICS 8.4"""
    bench = make_bench([job("a", output_files=["y"])])
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    end = bench.end("a")
    bench.lose()
    bench.update([job("a")])
    seen = [OutputSeen(file_id=output.file_id, mtime_ns=1, size=1) for output in end.outputs]
    assert bench.report(ended=[msgspec.structs.replace(end, outputs=seen)]) == []
    assert bench.status() == {"a": "completed"}
    assert list(bench.reasons(bench.preview(Reinit))) == ["a"], "it ran with another definition"


# ---- files ----


def test_a_file_at_another_path_keeps_its_record_so_that_the_change_is_seen(bench: Workbench) -> None:
    """SEMANTICS 4.1"""
    (record,) = bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id("x", "file"))
    bench.disk.write("other")
    made = update(bench, FIRST, SECOND, paths={"x": "other"})
    assert told(made) == {"files": {"changed": ["x (path)"]}}
    assert bench.rows("SELECT path FROM file WHERE name = 'x'") == [(f"{DIRECTORY}/other",)]
    assert bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id("x", "file")) == [record]
    (reason,) = bench.reasons(bench.preview(Reinit))["first"]
    assert (reason["kind"], reason["path"]) == ("input_changed", f"{DIRECTORY}/other")
    assert rerun(bench) == ["first", "second"]


def test_a_removed_file_goes_with_its_record_and_its_history(bench: Workbench) -> None:
    bench.disk.touch("x")
    rerun(bench)
    gone = bench.id("x", "file")
    assert bench.rows("SELECT count(*) FROM file_history WHERE file_id = ?", gone) == [(1,)]
    made = update(bench, job("first", output_files=["y"]), SECOND)
    assert told(made)["files"] == {"removed": ["x"]}
    for table in ("file_record", "file_history", "job_input"):
        assert bench.rows(f"SELECT count(*) FROM {table} WHERE file_id = ?", gone) == [(0,)]
    assert bench.rows("SELECT name FROM file ORDER BY id") == [("y",), ("z",)]


# ---- scripts ----


def test_scripts_are_looked_for_in_new_texts_only(make_bench: Make) -> None:
    """SEMANTICS 4.5"""
    bench = make_bench([job("a"), job("b")], scripts=[("a", "one.sh"), ("b", "one.sh")])
    kept = bench.id(f"{DIRECTORY}/one.sh", "file")
    found = [("a", "two.sh"), ("b", "two.sh"), ("c", "one.sh"), ("c", "three.sh")]
    bench.update([job("a"), job("b", "other"), job("c")], scripts=found)

    def inputs(name: str) -> list[str]:
        sql = "SELECT f.path FROM job_input i JOIN file f ON f.id = i.file_id WHERE i.job_id = ? ORDER BY f.path"
        return [path.removeprefix(f"{DIRECTORY}/") for (path,) in bench.rows(sql, bench.id(name))]

    assert [inputs(name) for name in "abc"] == [["one.sh"], ["two.sh"], ["one.sh", "three.sh"]]
    assert bench.id(f"{DIRECTORY}/one.sh", "file") == kept
    bench.update([job("a"), job("b", "third")])
    assert [inputs(name) for name in "ab"] == [["one.sh"], []]
    assert bench.rows("SELECT path FROM file") == [(f"{DIRECTORY}/one.sh",)], "nobody names the others any more"


def test_a_script_that_appears_before_the_update_is_another_update(make_bench: Make) -> None:
    """SEMANTICS 5.4: the digest changes with everything that would happen"""
    bench = make_bench([job("a")])
    digests = {
        bench.compare([job("a", "tool.sh")], scripts=scripts).digest
        for scripts in ([], [("a", "tool.sh")], [("a", "tool.sh")])
    }
    assert len(digests) == 2
    assert (
        bench.compare([job("a"), job("b")], scripts=[("a", "x")]).digest == bench.compare([job("a"), job("b")]).digest
    )


# ---- user data ----


def test_another_value_is_a_new_version(bench: Workbench) -> None:
    """SEMANTICS 4.3: compared in the canonical form"""
    versions = "SELECT version, data FROM user_data_version ORDER BY version"
    assert update(bench, FIRST, SECOND, user_data=[UserDataSpec(name="u", data={"a": 1.0})]).differences.count == 0
    before = bench.state.version_counter
    made = update(bench, FIRST, SECOND, user_data=[UserDataSpec(name="u", data=[2])])
    (entry,) = as_json([msgspec.Raw(each) for each in made.shown])
    assert entry["fields"] == [{"field": "data", "old": {"a": 1}, "new": [2]}]
    assert bench.rows(versions) == [(0, '{"a":1}'), (before + 1, "[2]")]


def test_a_value_that_is_left_out_stays_and_the_flag_is_updated(bench: Workbench) -> None:
    made = update(bench, FIRST, SECOND, user_data=[UserDataSpec(name="u", is_ephemeral=True)])
    assert told(made) == {"user_data": {"changed": ["u (is_ephemeral)"]}}
    assert bench.rows("SELECT data, is_ephemeral FROM user_data_version JOIN user_data") == [('{"a":1}', 1)]


def test_user_data_come_and_go(bench: Workbench) -> None:
    made = update(bench, FIRST, SECOND, user_data=[UserDataSpec(name="v", data=None), UserDataSpec(name="w")])
    assert told(made) == {"user_data": {"added": ["v", "w"], "removed": ["u"]}}
    assert bench.rows("SELECT name FROM user_data ORDER BY id") == [("v",), ("w",)]
    assert bench.rows("SELECT data FROM user_data_version") == [("null",)]


def test_a_written_value_makes_its_consumers_stale(make_bench: Make) -> None:
    """SEMANTICS 4.3"""
    jobs = [job("a", input_user_data=["u"]), job("b")]
    bench = make_bench(jobs, (), [UserDataSpec(name="u", data=1)])
    bench.operate(Initialize)
    bench.run_all()
    bench.update(jobs, (), [UserDataSpec(name="u", data=2)])
    assert rerun(bench) == ["a"]


# ---- requirements and header ----


def test_requirements_come_change_and_go(bench: Workbench) -> None:
    needs = [ResourceRequirementsSpec(name="big", num_cpus=2, memory="2m"), ResourceRequirementsSpec(name="small")]
    worker = msgspec.structs.replace(FIRST, resource_requirements="small")
    made = update(bench, worker, SECOND, resource_requirements=needs)
    assert told(made) == {
        "jobs": {"changed": ["first (resource_requirements)"]},
        "resource_requirements": {"added": ["small"], "changed": ["big (num_cpus, memory_bytes)"]},
    }
    assert bench.rows("SELECT name, num_cpus, memory_bytes FROM requirement ORDER BY id") == [
        ("big", 2, 2 * 2**20), ("small", 1, 2**20)
    ]  # fmt: skip
    made = update(bench, FIRST, SECOND, resource_requirements=[])
    assert told(made)["resource_requirements"] == {"removed": ["big", "small"]}
    assert bench.rows("SELECT count(*) FROM requirement") == [(0,)]
    assert bench.rows("SELECT requirement_id FROM job") == [(None,), (None,)]


def test_jobs_that_name_no_requirement_get_a_new_default(bench: Workbench) -> None:
    needs = [BIG, ResourceRequirementsSpec(name="default")]
    made = update(bench, FIRST, SECOND, resource_requirements=needs)
    assert told(made)["jobs"] == {"changed": ["first (resource_requirements)", "second (resource_requirements)"]}


def test_the_header_is_replaced_and_the_directory_stays(bench: Workbench) -> None:
    header = {
        "name": "renamed", "description": "d", "project": "p", "metadata": {"m": [1]}, "user": "else",
        "jobs_sort_method": "gpus_runtime_memory", "track_scripts": False,
    }  # fmt: skip
    made = update(bench, FIRST, SECOND, **header)
    assert set(told(made)["header"]["changed"]) == set(header)
    row = "SELECT name, description, project, metadata, user, sort_method, submission_directory FROM workflow"
    assert bench.rows(row) == [("renamed", "d", "p", '{"m":[1]}', "else", "gpus_runtime_memory", DIRECTORY)]
    assert (bench.state.name, bench.state.sort_method) == ("renamed", "gpus_runtime_memory")
    update(bench, FIRST, SECOND)
    assert bench.rows(row) == [("test", None, None, None, "else", "none", DIRECTORY)], "nobody else was named"


def test_an_environment_for_all_jobs_is_a_change_of_each(bench: Workbench) -> None:
    made = update(bench, FIRST, SECOND, env={"A": "1"})
    assert told(made) == {"jobs": {"changed": ["first (env)", "second (env)"]}, "header": {"changed": ["env"]}}


# ---- what is shown, and refused ----


def test_the_digest_is_that_of_what_would_happen(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    jobs = [FIRST, job("third")]
    digest = bench.compare(jobs).digest
    assert bench.compare(jobs).digest == digest
    others = [
        bench.compare([FIRST, job("third", "else")]).digest,
        bench.compare([FIRST, job("third", priority=1)]).digest,
        bench.compare(jobs, description="d").digest,
        bench.compare(jobs, ["more"]).digest,
        bench.compare(jobs, (), [UserDataSpec(name="n", data=1)]).digest,
        bench.compare(jobs, (), [UserDataSpec(name="n", data=2)]).digest,
        bench.compare(jobs, resource_requirements=[ResourceRequirementsSpec(name="r")]).digest,
        bench.compare(jobs, resource_requirements=[ResourceRequirementsSpec(name="r", num_cpus=2)]).digest,
    ]
    assert len({digest, *others}) == 9


def test_an_update_that_is_not_the_expected_one_is_a_conflict(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    jobs = [FIRST, job("third")]
    digest = bench.compare(jobs).digest
    bench.edit("first", command="by hand")
    with pytest.raises(Conflict, match="not the expected one") as no:
        bench.update(jobs, expect=digest)
    assert no.value.data["expected"] == digest
    assert no.value.data["plan_digest"] == bench.compare(jobs).digest
    bench.update(jobs, expect=bench.compare(jobs).digest)


def test_a_result_more_of_a_removed_job_is_another_update(bench: Workbench) -> None:
    digest = bench.compare([SECOND]).digest
    bench.disk.touch("x")
    rerun(bench)
    assert bench.compare([SECOND]).digest != digest


def test_long_values_are_cut(bench: Workbench) -> None:
    """A page holds at least one job, and stays a message."""
    made = update(bench, job("first", "x" * (LONGEST_VALUE + 1), input_files=["x"], output_files=["y"]), SECOND)
    (entry,) = as_json([msgspec.Raw(each) for each in made.shown])
    (field,) = entry["fields"]
    assert field["old"] == "run first"
    assert field["new"] == "x" * 200 + f"… ({LONGEST_VALUE + 3} bytes)"


def test_added_objects_are_shown_with_their_ids_once_they_have_any(bench: Workbench) -> None:
    made = bench.compare([job("new", output_files=["n"])], (), [UserDataSpec(name="d")], resource_requirements=[BIG])
    ids = {"jobs": [77], "files": [78], "user_data": [79], "resource_requirements": [80]}
    expansion = made.specification.expansion
    shown = as_json([msgspec.Raw(each) for each in show_differences(made.differences, expansion, made.results, ids)])
    added = {each["section"]: each["id"] for each in shown if each["change"] == "added"}
    assert added == {"jobs": 77, "files": 78, "user_data": 79}
    assert [each["results"] for each in shown if each["section"] == "jobs" and each["change"] == "removed"] == [1, 1]


def test_an_archived_workflow_is_not_updated(bench: Workbench) -> None:
    """SEMANTICS 5.5"""
    bench.rows("UPDATE workflow SET is_archived = 1")
    with pytest.raises(Refused, match="archived: unarchive it first"):
        bench.compare([FIRST])


def test_a_workflow_that_does_not_exist_is_not_updated(bench: Workbench) -> None:
    bench.workflow_id = 9
    with pytest.raises(NotFound, match="no workflow 9"):
        bench.compare([FIRST])


def test_requirements_that_an_update_removed_are_not_given_to_a_job(bench: Workbench) -> None:
    """The edit had looked them up before."""
    bench.edit("first", resource_requirements="big")
    former = bench.id("big", "requirement")
    update(bench, FIRST, SECOND, resource_requirements=[])
    request = UpdateJob(job_id=bench.id("first"), resource_requirements="big")
    definition = load_definition(bench.db, bench.workflow_id, request.job_id)
    with pytest.raises(Refused, match="no resource requirements 'big'"):
        bench.change(lambda draft: update_job(draft, request, definition, former))


# ---- what was stored before ----


def test_a_stored_plan_names_what_was_removed_by_its_number(bench: Workbench) -> None:
    """SEMANTICS 5.7: plans are kept for ever"""
    jobs = [
        job("gone", input_files=["in", "lost"], output_files=["out"], input_user_data=["v"]),
        job("after", input_files=["out"]),
    ]
    data = [UserDataSpec(name="v", data=1)]
    bench.disk.write("in", "lost")
    bench.update(jobs, (), data)
    bench.operate(Reinit)
    bench.run_all()
    bench.disk.touch("in")
    bench.disk.delete("out", "lost")
    bench.set_value("v", 2)
    planned = bench.preview(Reinit, force=True)
    ids = {name: bench.id(name) for name in ("gone", "after")}
    files = {name: bench.id(name, "file") for name in ("in", "lost", "out")}
    value = bench.id("v", "user_data")
    bench.update([])
    shown = as_json(show_page(bench.db, unpack_plan(planned.packed), 0, 10)[0])
    assert [each["name"] for each in shown] == [f"removed job {ids['gone']}", f"removed job {ids['after']}"]
    assert [(each["kind"], each.get("file", each.get("name"))) for each in shown[0]["reasons"]] == [
        ("input_changed", f"removed file {files['in']}"),
        ("input_missing", f"removed file {files['lost']}"),
        ("output_missing", f"removed file {files['out']}"),
        ("user_data_changed", f"removed user data {value}"),
    ]
    assert {each["path"] for each in shown[0]["reasons"] if "path" in each} == {None}
    assert shown[0]["reasons"][-1]["old"] is None
    upstream = shown[1]["reasons"][-1]
    assert (upstream["root"], upstream["via"]) == (f"removed job {ids['gone']}",) * 2


# ---- many ----


def test_updates_of_workflows_that_grow_by_turns_keep_them_apart(make_bench: Make) -> None:
    """Their ids lie among each other's."""
    bench = make_bench(chained("a>b"))
    other = Workbench(new_workflow(chained("p>q")), db=bench.db)
    for count in range(1, 5):
        for each, first in ((bench, "a"), (other, "p")):
            each.update(chained(f"{first}>" + ">".join(f"j{number}" for number in range(count * 10))))
    for each in (bench, other):
        each.operate(Initialize)
        assert len(each.run_all()) == 41
    assert not np.isin(bench.state.jobs.ids.ids, other.state.jobs.ids.ids).any()


def test_what_a_file_s_absence_means_can_be_changed(make_bench: Make) -> None:
    """SEMANTICS 4.10"""
    bench = make_bench(linked("a", "b"), purgeable=["a.out"])
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.delete("a.out")
    assert bench.preview(Reinit).summary.count == 0
    update = bench.update(linked("a", "b"))
    assert [change.fields for change in update.differences.files.changed] == [
        [FieldChange("on_missing", "ignore", "rerun")]
    ]
    assert set(bench.reasons(bench.operate(Reinit))) == {"a", "b"}
