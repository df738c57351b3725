-- Attempts are numbered above this: what was handed out after a backup that was restored keeps its numbers to itself.
ALTER TABLE workflow ADD COLUMN attempt_floor INTEGER NOT NULL DEFAULT 0;
