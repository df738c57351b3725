"""From any specification to any other: an update, a reinit and a run leave what creating from the other one would.

And they run exactly the jobs that this needs (SEMANTICS 5.7): new ones, those whose definition or inputs changed,
and what is downstream of them.
"""

from collections.abc import Sequence
from typing import Any

from builders import DIRECTORY, job, new_workflow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from workbench import Workbench

from torcd.operations.create import normalize
from torcd.protocol.errors import Conflict
from torcd.protocol.requests import Initialize, Reinit, Restart
from torcd.protocol.specification import JobSpec, ResourceRequirementsSpec, UserDataSpec

NAMES = [f"j{number}" for number in range(6)]
GIVEN = ["x", "z"]
MADE = ["f0", "f1", "f2", "f3"]
NEEDS = [ResourceRequirementsSpec(name="big", num_cpus=2), ResourceRequirementsSpec(name="small")]

Spec = dict[str, Any]
"""What `builders.new_specification` takes."""


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Jobs in any order; each may take what those before it make. Whoever makes user data is called writer."""
    order = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    makes = draw(st.permutations(MADE))
    jobs, before = [], []
    for place, name in enumerate(order):
        made = [makes[place]] if place < len(makes) and draw(st.booleans()) else []
        earlier = [file for each in before for file in each.output_files]
        takes = draw(st.lists(st.sampled_from([*GIVEN, *earlier]), unique=True, max_size=2))
        upstream = [each.name for each in before]
        jobs.append(
            job(
                name,
                draw(st.sampled_from([f"run {name}", f"run {name} otherwise"])),
                input_files=takes,
                output_files=made,
                depends_on=draw(st.lists(st.sampled_from(upstream), unique=True, max_size=2)) if upstream else [],
                input_user_data=draw(st.sampled_from([[], ["given"]])),
                env=draw(st.sampled_from([{}, {"A": "1"}])),
                priority=draw(st.integers(0, 1)),
                resource_requirements=draw(st.sampled_from([None, "big", "small"])),
                cancel_on_blocking_job_failure=name != "j1",
            )
        )
        before.append(jobs[-1])
    return {
        "jobs": jobs,
        "files": GIVEN + draw(st.sampled_from([[], ["unused"]])),
        "user_data": [UserDataSpec(name="given", data=draw(st.integers(0, 1)))],
        "paths": draw(st.sampled_from([{}, {"x": "x2"}, {"f0": "f0_elsewhere"}])),
        "scripts": [(name, "tool.sh") for name in order if name == "j0"],
        "resource_requirements": NEEDS,
        "env": draw(st.sampled_from([{}, {}, {}, {"B": "1"}])),
        "description": draw(st.sampled_from([None, "words"])),
    }


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Spec, Spec]:
    """A specification, and another one: of its own, or the first with a few jobs changed, renamed or left out."""
    old = draw(specs())
    if draw(st.booleans()):
        return old, draw(specs())
    jobs: list[JobSpec] = []
    renamed: dict[str, str] = {}
    for each in old["jobs"]:
        what = draw(st.sampled_from(["keep", "keep", "keep", "rename", "drop", "change"]))
        upstream = [renamed.get(name, name) for name in each.depends_on]
        changed = replace(each, depends_on=[name for name in upstream if any(name == kept.name for kept in jobs)])
        if what == "drop":
            continue
        if what == "rename":
            renamed[each.name] = f"{each.name}_renamed"
            changed = replace(changed, name=renamed[each.name])
        if what == "change":
            changed = replace(changed, command=f"{each.command} again", priority=each.priority + 1)
        jobs.append(changed)
    return old, {
        **old,
        "jobs": jobs,
        "scripts": [script for script in old["scripts"] if any(script[0] == each.name for each in jobs)],
    }


def start(spec: Spec) -> Workbench:
    bench = Workbench(new_workflow(**spec))
    bench.disk.write("x", "x2", "z", "unused", "tool.sh")
    return bench


def picture(bench: Workbench) -> dict[str, Any]:
    """Everything of a workflow that does not depend on its history, by names."""
    rows = bench.rows
    job_rows = rows(
        "SELECT j.name, j.command, j.env, j.definition_digest, q.name, j.priority, j.cancel_on_failure FROM job j"
        " LEFT JOIN requirement q ON q.id = j.requirement_id ORDER BY j.name"
    )
    edges = {
        table: rows(f"SELECT j.name, {what} FROM {table} e JOIN job j ON j.id = e.job_id {join} ORDER BY 1, 2")
        for table, what, join in (
            ("job_input", "o.path, o.is_script", "JOIN file o ON o.id = e.file_id"),
            ("job_output", "o.path", "JOIN file o ON o.id = e.file_id"),
            ("job_dependency", "o.name", "JOIN job o ON o.id = e.upstream_id"),
            ("job_user_data", "o.name, e.is_output", "JOIN user_data o ON o.id = e.user_data_id"),
        )
    }
    values = (
        "SELECT u.name, v.digest, max(v.version) FROM user_data u JOIN user_data_version v ON v.user_data_id = u.id"
    )
    return {
        "jobs": job_rows,
        "edges": edges,
        "files": rows("SELECT name, path, is_script FROM file ORDER BY name, is_script"),
        "values": [row[:2] for row in rows(f"{values} GROUP BY u.id ORDER BY u.name")],
        "needs": rows("SELECT name, num_cpus FROM requirement ORDER BY name"),
        "workflow": rows("SELECT name, description, header FROM workflow"),
    }


# ---- what has to run: told by the specifications alone ----


def stale_jobs(old: Spec, new: Spec, bench: Workbench) -> set[str]:
    """The jobs of `new` that have to run after all of `old` has; `bench` knows which files there are."""
    before = {each.name: each for each in old["jobs"]}
    data = old["user_data"][0].data != new["user_data"][0].data
    moved = {name for name in [*GIVEN, *MADE] if path(old, name) != path(new, name)}
    stale = set()
    for each in new["jobs"]:
        former = before.get(each.name)
        lost = any(bench.disk.stat(path(new, name)) is None for name in each.output_files)
        if (
            former is None
            or critical(former, old) != critical(each, new)
            or (data and each.input_user_data)
            or moved.intersection(each.input_files)
            or lost
        ):
            stale.add(each.name)
    maker = {file: each.name for each in new["jobs"] for file in each.output_files}
    for each in new["jobs"]:  # in an order in which whoever is depended on comes first
        upstream = {*each.depends_on, *(maker[file] for file in each.input_files if file in maker)}
        if upstream & stale:
            stale.add(each.name)
    return stale


def path(spec: Spec, name: str) -> str:
    return normalize(f"{DIRECTORY}/{spec['paths'].get(name, name)}")


def critical(spec: JobSpec, of: Spec) -> tuple[object, ...]:
    """SEMANTICS 4.2"""
    return (
        spec.command,
        {**of["env"], **spec.env},
        set(spec.input_files),
        set(spec.output_files),
        set(spec.depends_on),
        set(spec.input_user_data),
    )


def run(bench: Workbench, failing: Sequence[str] = ()) -> list[str]:
    return bench.run_all(failing=failing)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(pairs())
def test_after_an_update_exactly_what_it_affects_runs_and_all_is_as_if_created_so(pair: tuple[Spec, Spec]) -> None:
    """SEMANTICS 4.2, 4.6, 5.7"""
    old, new = pair
    bench, fresh = start(old), start(new)
    try:
        bench.operate(Initialize, force=True)
        run(bench)
        bench.update(**new)
        expected = stale_jobs(old, new, bench)
        bench.operate(Reinit, force=True)
        assert set(run(bench)) == expected
        fresh.operate(Initialize, force=True)
        run(fresh)
        assert picture(bench) == picture(fresh)
        assert bench.status() == fresh.status()
        assert bench.reasons(bench.preview(Reinit, force=True)) == {}
        assert bench.compare(**new).differences.count == 0
    finally:
        bench.close()
        fresh.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(pairs(), st.sets(st.sampled_from(NAMES), max_size=2), st.data())
def test_in_the_middle_of_a_run_that_fails_here_and_there_an_update_leads_to_the_same_end(
    pair: tuple[Spec, Spec], failing: set[str], data: st.DataObject
) -> None:
    """SEMANTICS §2, 5.7"""
    old, new = pair
    bench, fresh = start(old), start(new)
    try:
        bench.operate(Initialize, force=True)
        for _ in range(data.draw(st.integers(0, 5))):
            for launch in bench.claim(jobs=data.draw(st.integers(1, 2))):
                if data.draw(st.booleans()):
                    bench.finish(launch.name, code=int(launch.name in failing))
        live = any(status in ("pending", "running") for status in bench.status().values())
        try:
            bench.update(**new)
        except Conflict:
            assert live
            bench.lose()
            bench.update(**new)
        bench.lose()
        bench.operate(Restart, force=True)
        run(bench, sorted(failing))
        fresh.operate(Initialize, force=True)
        run(fresh, sorted(failing))
        assert bench.status() == fresh.status()
        assert picture(bench) == picture(fresh)
        assert bench.reasons(bench.preview(Reinit, force=True)) == {}
    finally:
        bench.close()
        fresh.close()


@given(specs(), st.lists(specs(), max_size=3))
def test_there_and_back_again_is_where_it_was(first: Spec, others: list[Spec]) -> None:
    """By names: what was removed on the way comes back as something new."""
    bench = start(first)
    try:
        before = picture(bench)
        for spec in [*others, first]:
            bench.update(**spec)
            assert {row[0] for row in picture(bench)["jobs"]} == {each.name for each in spec["jobs"]}
        assert picture(bench) == before
    finally:
        bench.close()
