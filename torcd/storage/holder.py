"""`core.holder` in SQL: expressions over `job_state.worker_id`, negative once the latest attempt is history."""

AS_HISTORY = "-abs(worker_id)"
"""The same worker, of an attempt that is history."""
AS_CURRENT = "abs(worker_id)"
"""The same worker, of an attempt that tells of its job."""
IS_CURRENT = "worker_id > 0"
"""Whether the latest attempt tells of its job."""
