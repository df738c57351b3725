"""`workflows sync-status` as text."""

import sys

from torcctl.output import cell, count_jobs
from torcd.protocol.sync import Synced


def write_synced(synced: Synced) -> None:
    """Prints the sentence and, for a dry run, a line per job."""
    jobs = count_jobs(synced.count)
    if synced.dry_run:
        lines = [f"Dry run: {jobs} of workers that are gone would be released"]
        lines += [f"  - {cell(job.name)}" for job in synced.jobs]
    else:
        lines = [f"Released {jobs} of workers that are gone"]
    sys.stdout.write("\n".join(lines) + "\n")
