"""What the jobs of a stored workflow need, against what they needed when it was created."""

from builders import insert, job, new_workflow, open_memory

from torcd.core.expansion import Expansion
from torcd.core.status import Status
from torcd.core.workload import group_new_jobs
from torcd.protocol.specification import ResourceRequirementsSpec, SlurmSchedulerSpec
from torcd.storage.create import NewWorkflow
from torcd.storage.workload import Workload, load_workload


def diamond() -> NewWorkflow:
    """One job, then three that need a lot, then one; the last but one names a scheduler."""
    return new_workflow(
        [
            job("first", output_files=["f"]),
            *(job(f"wide{n}", input_files=["f"], resource_requirements="big") for n in range(2)),
            job("named", input_files=["f"], resource_requirements="big", scheduler="s"),
            job("last", depends_on=["wide0", "wide1", "named"]),
        ],
        files=["f"],
        resource_requirements=[ResourceRequirementsSpec(name="big", memory="2g", num_cpus=4, runtime="PT2H")],
        slurm_schedulers=[SlurmSchedulerSpec(name="s")],
    )


def shapes(workload: Workload | Expansion) -> list[tuple[str | None, str | None, int, list[int], list[int]]]:
    groups = group_new_jobs(workload) if isinstance(workload, Expansion) else workload.groups
    return [(each.name, each.scheduler, each.jobs, each.levels.tolist(), each.counts.tolist()) for each in groups]


def test_a_stored_workflow_needs_what_it_needed_before() -> None:
    new, db = diamond(), open_memory()
    workload = load_workload(db, insert(db, new))
    assert shapes(workload) == shapes(new.expansion)
    assert shapes(workload) == [(None, None, 2, [0, 2], [1, 1]), ("big", None, 2, [1], [2]), ("big", "s", 1, [1], [1])]
    assert workload.groups[1].need.memory_bytes == 2 * 2**30
    assert (workload.header.slurm_schedulers[0].name, workload.pending) == ("s", {})
    db.close()


def test_jobs_that_are_done_do_not_count_nor_hold_others_back() -> None:
    db = open_memory()
    workflow_id = insert(db, diamond())
    db.execute(
        "UPDATE job_state SET status = ?"
        " WHERE job_id IN (SELECT id FROM job WHERE name IN ('first', 'wide0', 'wide1'))",
        (int(Status.COMPLETED),),
    )
    assert shapes(load_workload(db, workflow_id)) == [
        (None, None, 2, [1], [1]),
        ("big", None, 2, [], []),
        ("big", "s", 1, [0], [1]),
    ]
    db.close()
