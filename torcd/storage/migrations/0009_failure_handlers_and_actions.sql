-- The failure handler that a job names; its rules are in the workflow's header.
ALTER TABLE job ADD COLUMN failure_handler TEXT;
-- How often the job was retried since an operation last touched it.
ALTER TABLE job_state ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;

-- The actions of a workflow, in the order of its specification.
CREATE TABLE action (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL,
    number INTEGER NOT NULL,                    -- its place in the specification, from 1
    spec TEXT NOT NULL,                         -- JSON
    is_armed INTEGER NOT NULL,                  -- whether it fires when its moment comes
    fired INTEGER NOT NULL DEFAULT 0            -- how often it has fired, the number of its last firing
) STRICT;
CREATE INDEX action_by_workflow ON action (workflow_id);

-- The jobs that an action is about; none: the workflow as a whole.
CREATE TABLE action_job (
    workflow_id INTEGER NOT NULL,
    action_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, action_id, job_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE firing (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL,
    action_id INTEGER NOT NULL,
    number INTEGER NOT NULL,                    -- counts the firings of the action
    run_id INTEGER NOT NULL,
    status TEXT NOT NULL,                       -- queued, running, succeeded, failed, interrupted
    fired_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER,
    return_code INTEGER,
    error TEXT,
    stdout_path TEXT,
    stderr_path TEXT,
    allocations TEXT,                           -- JSON: ids
    UNIQUE (action_id, number)
) STRICT;
CREATE INDEX firing_by_workflow ON firing (workflow_id);
CREATE INDEX open_firing ON firing (workflow_id) WHERE status IN ('queued', 'running');
