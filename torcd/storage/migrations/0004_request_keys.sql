-- Requests that were answered with a task that another request had made: repeated under their key they get it again.
CREATE TABLE joined_request (
    request_key TEXT PRIMARY KEY,
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX joined_request_by_task ON joined_request (task_id);
