"""What is stored about jobs that failed or were terminated: the evidence for diagnoses."""

import sqlite3
from collections import Counter

from torcd.core.allocations import find_log
from torcd.core.diagnosis import Case
from torcd.core.paths import find_output_dir
from torcd.core.recovery import FAILURES
from torcd.core.status import StatusReason

STATUSES = f"({', '.join(str(int(status)) for status in sorted(FAILURES))})"

SELECT = (
    "SELECT j.id, j.name, s.status, s.reason, s.attempt, r.return_code, coalesce(r.exec_time_s, 0),"
    " r.peak_memory_bytes, q.name, q.memory_bytes, q.runtime_s, w.memory_bytes, w.allocation_id,"
    " a.slurm_state, r.stderr_path, r.worker_id, f.submission_directory, a.walltime_s"
    " FROM job_state s JOIN workflow f ON f.id = s.workflow_id"
    " JOIN job j ON j.id = s.job_id AND +j.workflow_id = s.workflow_id"
    " LEFT JOIN result r ON r.workflow_id = s.workflow_id AND r.job_id = s.job_id AND r.attempt_id = s.attempt"
    " LEFT JOIN requirement q ON q.id = j.requirement_id LEFT JOIN worker w ON w.id = r.worker_id"
    " LEFT JOIN allocation a ON a.id = w.allocation_id"
    f" WHERE s.workflow_id = ? AND s.status IN {STATUSES} ORDER BY j.id"
)


def load_cases(db: sqlite3.Connection, workflow_id: int) -> tuple[Case, ...]:
    """Every job that failed or was terminated, with its last attempt; not yet what it wrote to stderr."""
    rows = db.execute(SELECT, (workflow_id,)).fetchall()
    lost = Counter(row[15] for row in rows if row[3] == StatusReason.WORKER_LOST)
    return tuple(
        Case(
            job_id=row[0],
            name=row[1],
            status=row[2],
            reason=row[3],
            attempt=row[4],
            return_code=row[5],
            exec_time_s=row[6],
            peak_memory_bytes=row[7],
            requirement=row[8],
            memory_bytes=row[9],
            runtime_s=row[10],
            worker_memory_bytes=row[11],
            allocation_id=row[12],
            slurm_state=row[13],
            walltime_s=row[17],
            slurm_log_path=None if row[12] is None else f"{find_log(find_output_dir(row[16], workflow_id), row[12])}.e",
            lost_together=max(lost[row[15]], 1) if row[3] == StatusReason.WORKER_LOST else 1,
            stderr_path=row[14],
        )
        for row in rows
    )
