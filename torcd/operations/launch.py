"""What a worker is told of the jobs that it was handed out."""

import sqlite3

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.delta import Claim
from torcd.core.placement import NO_REQUIREMENT
from torcd.core.state import State, has_digest
from torcd.operations.retry import load_recoveries
from torcd.protocol.worker_requests import JobLaunch, JobOutput

_decode_env = msgspec.json.Decoder(dict[str, str]).decode


def load_launches(db: sqlite3.Connection, state: State, claim: Claim) -> list[JobLaunch]:
    """All that a worker needs to run the jobs of a claim, in the claim's order."""
    ids = state.jobs.ids.ids[claim.jobs].tolist()
    listed = str(ids)
    rows = {
        row[0]: row
        for row in db.execute(
            "SELECT id, name, command, invocation_script, env, supports_termination FROM job"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (listed,),
        )
    }
    outputs: dict[int, list[JobOutput]] = {}
    reads_content = _read_content(state, claim.jobs)
    for job_id, file_id, path in db.execute(
        "SELECT o.job_id, o.file_id, f.path FROM job_output o JOIN file f ON f.id = o.file_id"
        " WHERE o.workflow_id = ? AND o.job_id IN (SELECT value FROM json_each(?))",
        (state.workflow_id, listed),
    ):
        outputs.setdefault(job_id, []).append(JobOutput(file_id=file_id, path=path))
    recoveries = load_recoveries(db, state, claim.jobs)
    launches = []
    for place, job_id in enumerate(ids):
        _, name, command, script, env, supports_termination = rows[job_id]
        need = state.ready.requirements[int(state.jobs.requirement[int(claim.jobs[place])])]
        runtime_s = 0.0 if need is NO_REQUIREMENT else need.runtime_s
        launches.append(
            JobLaunch(
                job_id=job_id,
                name=name,
                command=command,
                invocation_script=script,
                env=_decode_env(env) if env != "{}" else {},
                run_id=claim.run_id,
                attempt_id=int(claim.attempts[place]),
                outputs=outputs.get(job_id, []),
                num_cpus=need.num_cpus,
                memory_bytes=need.memory_bytes,
                num_gpus=need.num_gpus,
                runtime_s=runtime_s,
                supports_termination=bool(supports_termination),
                reads_content=reads_content[place],
                recovery=recoveries.get(job_id),
            )
        )
    return launches


def _read_content(state: State, jobs: NDArray[np.int64]) -> list[bool]:
    """Of each job, whether its worker shall read the content of its outputs (SEMANTICS 4.9).

    That is so where the workflow says so, and where content has been compared before.
    """
    if state.detect == "content":
        return [True] * len(jobs)
    made, lengths = state.files.outputs.gather(jobs)
    known = np.zeros(len(made) + 1, dtype=np.int64)
    np.cumsum(has_digest(state.files.digest[made]), out=known[1:])
    ends = np.cumsum(lengths)
    reads: list[bool] = (known[ends] > known[ends - lengths]).tolist()
    return reads
