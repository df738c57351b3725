"""`torcctl workers …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.selection import check_id, check_workflow, list_request
from torcd.protocol.lookups import GetWorker
from torcd.protocol.model import Worker
from torcd.protocol.worker_requests import ListWorkers

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {
    "id": "id",
    "host": "hostname",
    "pid": "pid",
    "status": "status",
    "cpus": "num_cpus",
    "memory": "memory_bytes",
    "gpus": "num_gpus",
    "max jobs": "max_parallel_jobs",
    "time left": "time_left_s",
    "allocation": "allocation_id",
    "registered": "registered_at",
}


def list_workers(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the workers of a workflow; the time left is how long a job that one starts now may take."""
    request = list_request(context, ListWorkers, workflow, filters, COLUMNS)
    context.show_rows(request, "workers", Worker, COLUMNS, {"time_left_s": output.duration_text})


def get(worker: int, /, *, context: Context) -> None:
    """Show a worker."""
    raw = context.call(GetWorker(worker_id=check_id(worker, "worker")))
    check_workflow(context, msgspec.json.decode(raw, type=Worker).workflow_id, "worker", worker)
    context.show(raw, Worker, output.write_struct)


VERBS: dict[str, Command] = {"list": list_workers, "get": get}
