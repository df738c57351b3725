"""Edits of jobs and writes of user data: what is stored, what is refused."""

from collections.abc import Callable

import pytest
from builders import chained, job
from workbench import Workbench

from torcd.core.fingerprint import Definition, definition_digest
from torcd.operations.update import find_value, load_definition, update_job
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import Initialize, UpdateJob, UpdateUserData
from torcd.protocol.specification import ResourceRequirementsSpec, UserDataSpec

Make = Callable[..., Workbench]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """a>b with data, initialized."""
    made = make_bench(
        [
            job("a", output_files=["y"], input_files=["x"], input_user_data=["u"], env={"K": "v"}),
            job("b", depends_on=["a"], output_user_data=["w"]),
        ],
        (),
        [UserDataSpec(name="u", data=1), UserDataSpec(name="w")],
        scripts=[("a", "tool.py")],
        resource_requirements=[ResourceRequirementsSpec(name="big", num_cpus=8)],
    )
    made.disk.write("x", "tool.py")
    made.operate(Initialize)
    return made


def test_a_stored_definition_is_the_one_whose_digest_was_stored(bench: Workbench) -> None:
    """SEMANTICS 4.2: scripts are inputs but no part of the definition"""
    for name in "ab":
        definition = load_definition(bench.db, 1, bench.id(name))
        (stored,) = bench.rows("SELECT definition_digest FROM job WHERE name = ?", name)[0]
        assert definition_digest(definition) == stored
    assert definition.output_user_data == ["w"]
    assert load_definition(bench.db, 1, bench.id("a")).input_files == ["x"]


def test_an_edit_is_stored_with_both_definitions_and_told(bench: Workbench) -> None:
    """SEMANTICS 4.2, 7.1"""
    bench.edit("a", command="new", env={"K": "w"}, priority=3)
    bench.check()
    assert bench.rows("SELECT command, env, priority, definition_version FROM job WHERE name = 'a'") == [
        ("new", '{"K":"w"}', 3, bench.state.version_counter)
    ]
    versions = [version for (version,) in bench.rows("SELECT version FROM job_definition ORDER BY version")]
    assert versions == [0, bench.state.version_counter]
    assert bench.events()[-1][1:] == (
        "job_updated",
        {"job_id": bench.id("a"), "fields": ["command", "env", "priority"]},
    )


def test_a_second_edit_adds_one_definition(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    bench.edit("a", command="new")
    bench.edit("a", command="newer")
    bench.check()
    assert bench.rows("SELECT count(*) FROM job_definition") == [(3,)]


def test_an_edit_of_no_critical_attribute_keeps_the_definition(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    counter = bench.state.version_counter
    bench.edit("a", resource_requirements="big", priority=9, command="run a")
    bench.check()
    assert bench.rows("SELECT count(*) FROM job_definition") == [(0,)]
    assert bench.state.version_counter == counter
    assert [launch.num_cpus for launch in bench.claim()] == [8]


def test_live_jobs_are_not_edited(bench: Workbench) -> None:
    """SEMANTICS 4.2: when they are not live"""
    bench.claim()
    with pytest.raises(Conflict, match="is pending") as no:
        bench.edit("a", command="new")
    assert no.value.data == {"job_id": bench.id("a"), "status": "pending"}
    bench.report(started=[bench.attempt("a")])
    with pytest.raises(Conflict, match="is running"):
        bench.edit("a", priority=1)
    bench.check()
    bench.edit("b", command="new")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "  "}, "must not be empty"),
        ({"command": "a\0b"}, "command.*NUL"),
        ({"invocation_script": "\0"}, "invocation_script.*NUL"),
        ({"env": {"A": "\0"}}, "env.*NUL"),
        ({"env": {"\0": "1"}}, "env.*no name for an environment variable"),
        ({"resource_requirements": "huge"}, "no resource requirements 'huge'"),
    ],
)
def test_a_wrong_edit_is_refused_and_changes_nothing(bench: Workbench, changes: dict, message: str) -> None:
    before = bench.dump()
    with pytest.raises(Refused, match=message):
        bench.edit("a", **changes)
    assert bench.dump() == before
    bench.check()


def test_an_invocation_script_can_be_taken_away(bench: Workbench) -> None:
    bench.edit("a", invocation_script="./w.sh")
    bench.edit("a", invocation_script=None)
    bench.check()
    assert bench.rows("SELECT invocation_script FROM job WHERE name = 'a'") == [(None,)]


def test_a_value_is_stored_with_its_version_and_told(bench: Workbench) -> None:
    """SEMANTICS 4.3, 4.7"""
    before = bench.state.version_counter
    bench.set_value("u", {"b": 2, "a": [1.0, None]})
    bench.check()
    rows = bench.rows(
        "SELECT version, data FROM user_data_version WHERE user_data_id = ? ORDER BY version",
        bench.id("u", "user_data"),
    )
    assert rows == [(0, "1"), (before + 1, '{"b":2,"a":[1.0,null]}')]
    assert bench.events()[-1][1:] == ("user_data_updated", {"user_data_id": bench.id("u", "user_data"), "name": "u"})
    events = len(bench.events())
    bench.set_value("u", {"a": [1, None], "b": 2.0})
    assert len(bench.events()) == events


def test_user_data_is_found_by_name_or_id(bench: Workbench) -> None:
    """INTERFACE §1"""
    wanted = bench.id("w", "user_data")
    assert find_value(bench.state, UpdateUserData(workflow_id=1, name="w", data=1)) == 1
    assert find_value(bench.state, UpdateUserData(user_data_id=wanted, data=1)) == 1
    with pytest.raises(NotFound, match="no user data 'x'"):
        find_value(bench.state, UpdateUserData(workflow_id=1, name="x", data=1))
    with pytest.raises(NotFound, match="no user data 999"):
        find_value(bench.state, UpdateUserData(user_data_id=999, data=1))


def test_a_value_of_an_attempt_that_is_over_is_not_taken(bench: Workbench) -> None:
    """SEMANTICS 5.3"""
    bench.claim()
    bench.finish("a")
    (launch,) = bench.claim()
    bench.set_value("w", 1, job_id=launch.job_id, attempt_id=launch.attempt_id)
    bench.report(started=[bench.attempt("b")])
    bench.report(ended=[bench.end("b")])
    for job_id, attempt in ((launch.job_id, 1), (launch.job_id, 2), (999, 1)):
        with pytest.raises(Conflict, match="not under way any more"):
            bench.set_value("w", 2, job_id=job_id, attempt_id=attempt)
    bench.check()


def test_an_edit_of_a_job_that_does_not_exist_is_refused(make_bench: Make) -> None:
    bench = make_bench(chained("a"))
    with pytest.raises(NotFound, match="no job 77"):
        bench.change(lambda draft: update_job(draft, UpdateJob(job_id=77), Definition(command="x"), None))
