-- Detection by content, intermediates that may go missing, jobs that an unchanged rerun spares, and undo.
ALTER TABLE file ADD COLUMN may_be_missing INTEGER NOT NULL DEFAULT 0;  -- 1: on_missing: ignore

ALTER TABLE file_record ADD COLUMN digest BLOB;              -- 16 bytes of BLAKE3; NULL: content never read
ALTER TABLE file_record ADD COLUMN is_racy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file_history ADD COLUMN digest BLOB;

ALTER TABLE job_state ADD COLUMN may_return INTEGER NOT NULL DEFAULT 0;

-- What the last operation replaced, until another one comes or something that it made runnable has started.
CREATE TABLE task_undo (
    task_id INTEGER PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    before BLOB NOT NULL                        -- torcd/core/undo.py, packed arrays
) STRICT;
