-- A workflow can get jobs and files after it was created, so its ids do not lie in one range any more: those of
-- its jobs are in job_state, those of its files in this index.
DROP INDEX script_by_workflow;
CREATE INDEX file_by_workflow ON file (workflow_id);
ALTER TABLE workflow DROP COLUMN first_job;
ALTER TABLE workflow DROP COLUMN last_job;
ALTER TABLE workflow DROP COLUMN first_file;
ALTER TABLE workflow DROP COLUMN last_file;
