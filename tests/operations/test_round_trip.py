"""An imported workflow is the exported one, whatever has happened to that before: its state, and all that follows."""

from collections.abc import Callable

from builders import DIRECTORY, job, new_workflow
from histories import STEPS, WORKERS, Machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transfer_rig import ImportedBench, describe, export, export_text, is_live, show_plan
from workbench import Workbench

from torcd.operations.edit import _replace_scripts
from torcd.protocol.requests import Initialize, Reinit, Restart
from torcd.protocol.specification import ResourceRequirementsSpec, SlurmSchedulerSpec, UserDataSpec
from torcd.storage.load import load_state


@st.composite
def workflows(draw: st.DrawFn) -> Callable[[], Workbench]:
    """Workflows with everything that jobs, files and user data can be."""
    specs = []
    for number in range(draw(st.integers(1, 5))):
        before = [f"f{other}" for other in range(number)]
        specs.append(
            job(
                f"j{number}",
                command=draw(st.sampled_from([f"run {number}", 'echo "${files.odd} {p} §" \\ $HOME'])),
                invocation_script=draw(st.sampled_from([None, "bash x.sh"])),
                env=draw(st.sampled_from([{}, {"A": "1"}, {"ALL": "mine", "Ü": ""}])),
                input_files=sorted(draw(st.sets(st.sampled_from([*before, "x", "z"]), max_size=2))),
                output_files=[f"f{number}"],
                depends_on=sorted(draw(st.sets(st.sampled_from([f"j{o}" for o in range(number)]), max_size=2)))
                if number
                else [],
                input_user_data=["given"] if draw(st.booleans()) else [],
                output_user_data=["made"] if number == 0 and draw(st.booleans()) else [],
                cancel_on_blocking_job_failure=draw(st.booleans()),
                supports_termination=draw(st.booleans()),
                priority=draw(st.integers(-1, 1)),
                resource_requirements=draw(st.sampled_from([None, "large"])),
                scheduler=draw(st.sampled_from([None, "night"])),
            )
        )
    header = draw(
        st.sampled_from(
            [
                {},
                {
                    "detect": "content",
                    "jobs_sort_method": "gpus_runtime_memory",
                    "description": "of\nmany things",
                    "project": "p",
                    "user": "somebody",
                    "metadata": {"a": [1.5, None, "ß"]},
                    "parameters": {"i": "1:3"},
                    "env": {"ALL": "theirs"},
                    "slurm_defaults": {"qos": "low"},
                    "track_scripts": False,
                },
            ]
        )
    )
    needs = [ResourceRequirementsSpec(name="large", memory="3g", num_cpus=2, runtime="PT2H30M")]
    needs += [ResourceRequirementsSpec(name="default")] if draw(st.booleans()) else []
    values = [UserDataSpec(name="given", data={"n": 1.0, "big": 10**19}), UserDataSpec(name="made", is_ephemeral=True)]
    return lambda: Workbench(
        new_workflow(
            specs,
            ["x", "z"],
            values,
            scripts=[("j0", "tool.sh")],
            purgeable=["f0"],
            resource_requirements=needs,
            slurm_schedulers=[SlurmSchedulerSpec(name="night")],
            **header,
        )
    )


class Story(Machine):
    """What a machine of histories does, and an edit of a command that takes other scripts."""

    def take_other_scripts(self) -> None:
        bench = self.bench
        paths = sorted(self.draw(st.sets(st.sampled_from([f"{DIRECTORY}/tool.sh", f"{DIRECTORY}/a/b.sh"]))))
        if bench.status()["j0"] not in ("pending", "running"):
            with bench.db:
                bench.db.execute("BEGIN IMMEDIATE")
                _replace_scripts(bench.db, bench.workflow_id, bench.id("j0"), paths)
            bench.state = load_state(bench.db, bench.workflow_id)


STORY = [*STEPS, Story.take_other_scripts]


def tell(make: Callable[[], Workbench], data: st.DataObject, *, settles: bool) -> Workbench:
    """A workflow to which anything may have happened; `settles`: its workers are gone."""
    bench = make()
    try:
        story = Story(bench, data.draw)
        bench.disk.write("x", "z", "tool.sh")
        if data.draw(st.integers(0, 9)):
            bench.operate(Initialize)
            for step in data.draw(st.lists(st.sampled_from(STORY), max_size=14)):
                step(story)
        if settles:
            for worker in WORKERS:
                bench.lose(worker)
    except BaseException:
        bench.close()
        raise
    return bench


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(workflows(), st.data())
def test_an_import_is_in_the_state_of_what_was_exported(make: Callable[[], Workbench], data: st.DataObject) -> None:
    """Field by field, by name; only live jobs are uninitialized, for nobody holds them."""
    bench = tell(make, data, settles=False)
    before = bench.dump()
    copied = ImportedBench(export(bench))
    try:
        assert bench.dump() == before, "an export changes nothing"
        assert describe(copied) == describe(bench, as_imported=True)
        assert bool(copied.warnings) == is_live(bench.state)
        copied.check()
        if not is_live(bench.state):
            again, first = export(copied), export(bench)
            assert {**again, "source": None} == {**first, "source": None}
    finally:
        bench.close()
        copied.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(workflows(), st.data())
def test_an_import_goes_on_as_what_was_exported_would(make: Callable[[], Workbench], data: st.DataObject) -> None:
    """A reinit has the same plan, for the same reasons; and a run after it ends with the same state."""
    bench = tell(make, data, settles=True)
    copied = ImportedBench(export(bench), bench.disk)
    try:
        kind = data.draw(st.sampled_from([Reinit, Restart]))
        options = {"force": True, "detect": data.draw(st.sampled_from([None, "content"]))}
        plans = [each.preview(kind, **options) for each in (bench, copied)]
        assert show_plan(copied, plans[1]) == show_plan(bench, plans[0])
        assert plans[1].summary.count == plans[0].summary.count
        copied.now_ms, copied.products, copied.answers = bench.now_ms, bench.products, bench.answers
        for each in (bench, copied):
            each.operate(kind, **options)
            each.run_all(failing=["j1"])
        assert describe(copied) == describe(bench)
    finally:
        bench.close()
        copied.close()


def test_an_export_without_results_leaves_them_out() -> None:
    bench = Workbench(new_workflow([job("a")]))
    bench.operate(Initialize)
    bench.run_all()
    assert "results" not in export(bench, results=False)
    copied = ImportedBench(export(bench, results=False))
    assert copied.contents == {"jobs": 1, "files": 0, "user_data": 0, "scripts": 0, "results": 0}
    assert copied.status() == {"a": "completed"}
    assert export_text(bench.db, bench.workflow_id).endswith("\n  ]\n}\n")
    bench.close()
    copied.close()


def test_an_archived_workflow_is_exported_and_imported_unarchived() -> None:
    """SEMANTICS 5.5: reading works."""
    bench = Workbench(new_workflow([job("a")]))
    bench.db.execute("UPDATE workflow SET is_archived = 1")
    document = export(bench)
    assert document["state"] == {"run_id": 0, "version_counter": 0, "is_archived": True}
    copied = ImportedBench(document)
    assert not copied.state.is_archived
    assert copied.warnings == ["the exported workflow was archived; this one is not"]
    bench.close()
    copied.close()
