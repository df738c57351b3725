-- Slurm jobs that start workers. A row is written before sbatch is called, so that none is ever forgotten; by its name,
-- which is unique for ever, the job is found again.
CREATE TABLE allocation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    status TEXT NOT NULL,                       -- torcd/core/allocations.py
    scheduler TEXT,
    job_name TEXT NOT NULL UNIQUE,
    slurm_job_id INTEGER,
    num_nodes INTEGER NOT NULL,
    walltime_s INTEGER NOT NULL,
    slurm_state TEXT,
    slurm_reason TEXT,
    cancel_reason TEXT,                         -- why it is to be canceled; NULL: it is not
    error TEXT,                                 -- Slurm's words when it was refused
    requested_by TEXT NOT NULL,
    request_key TEXT,
    created_at_ms INTEGER NOT NULL,
    submitted_at_ms INTEGER,
    started_at_ms INTEGER,
    ended_at_ms INTEGER
) STRICT;
CREATE INDEX allocation_by_workflow ON allocation (workflow_id);
CREATE INDEX open_allocation ON allocation (status) WHERE status IN ('submitting', 'pending', 'active');
CREATE INDEX allocation_by_request ON allocation (request_key) WHERE request_key IS NOT NULL;
