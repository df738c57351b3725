-- A long campaign has thousands of both: without it a list of allocations takes seconds.
CREATE INDEX worker_by_allocation ON worker (allocation_id, workflow_id, is_gone) WHERE allocation_id IS NOT NULL;
