"""The worker: claims jobs of a workflow from the daemon, runs them here and reports how they ended."""

from torcctl.worker.entry import run_worker
from torcctl.worker.session import WorkerOutcome

__all__ = ["WorkerOutcome", "run_worker"]
