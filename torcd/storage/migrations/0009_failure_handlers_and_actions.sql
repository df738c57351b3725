-- The failure handler that a job names; its rules are in the workflow's header.
ALTER TABLE job ADD COLUMN failure_handler TEXT;
-- How often the job was retried since an operation last touched it.
ALTER TABLE job_state ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
