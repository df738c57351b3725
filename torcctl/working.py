"""Has this process work on a workflow, and shows how far the workflow is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torcctl.progress import Progress, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from torcctl.parameters import WorkerOptions
    from torcctl.worker import WorkerOutcome
    from torcd.protocol.address import Address

ENDED = ("completed", "disabled", "failed", "terminated", "canceled")
"""The statuses of jobs with which a workflow is done."""


def work(
    workflow_id: int, *, address: Address, find_daemon: Callable[[], Address], options: WorkerOptions, **limits: Any
) -> WorkerOutcome:
    """Runs jobs until nothing is left for this worker; `limits` are those that `run_worker` takes besides."""
    from torcctl.worker import run_worker

    with Progress(f"workflow {workflow_id}") as progress:
        return run_worker(
            address=address,
            reconnect=find_daemon,
            workflow_id=workflow_id,
            max_parallel_jobs=options.max_parallel_jobs,
            num_cpus=options.num_cpus,
            memory_bytes=options.memory_bytes,
            num_gpus=options.num_gpus,
            output_dir=None if options.output_dir is None else Path(options.output_dir),
            on_progress=lambda counts, total: progress.show(count_progress(counts, total)),
            **limits,
        )


def count_progress(counts: dict[str, int], total: int) -> Step:
    """How far a workflow is, by how many jobs have which status."""
    return Step(phase="jobs", done=sum(counts.get(status, 0) for status in ENDED), total=total)
