-- The first schema. Conventions:
--   * status, reason, kind: small integers, see torcd/core/status.py
--   * ..._ns, ..._ms: Unix time; ids are never reused (AUTOINCREMENT)
--   * bulk tables are clustered by workflow and carry no foreign keys: a workflow's rows are written and
--     deleted together, and a check per row would double the cost of a large specification
CREATE TABLE workflow (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    user TEXT NOT NULL,
    description TEXT,
    project TEXT,
    metadata TEXT,                              -- JSON
    submission_directory TEXT NOT NULL,
    header TEXT NOT NULL,                       -- JSON: the specification without its long lists
    sort_method TEXT NOT NULL,
    detect TEXT NOT NULL,
    run_id INTEGER NOT NULL DEFAULT 0,
    is_canceled INTEGER NOT NULL DEFAULT 0,
    is_archived INTEGER NOT NULL DEFAULT 0,
    counter INTEGER NOT NULL DEFAULT 0,         -- the last version number given
    event_seq INTEGER NOT NULL DEFAULT 0,       -- the last event's number
    first_job INTEGER NOT NULL DEFAULT 0,       -- its jobs' ids lie in this range, and in the next its files',
                                                -- but for scripts that an edit has added since
    last_job INTEGER NOT NULL DEFAULT -1,
    first_file INTEGER NOT NULL DEFAULT 0,
    last_file INTEGER NOT NULL DEFAULT -1,
    request_key TEXT UNIQUE,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE requirement (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    num_cpus INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    num_gpus INTEGER NOT NULL,
    num_nodes INTEGER NOT NULL,
    runtime_s REAL NOT NULL,
    UNIQUE (workflow_id, name)
) STRICT;

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    command TEXT NOT NULL,
    invocation_script TEXT,
    env TEXT NOT NULL,                          -- JSON
    requirement_id INTEGER,
    scheduler TEXT,
    priority INTEGER NOT NULL,
    cancel_on_failure INTEGER NOT NULL,
    supports_termination INTEGER NOT NULL,
    definition_digest BLOB NOT NULL,
    definition_version INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX job_by_name ON job (workflow_id, name);

-- What changes while a workflow runs, apart from the wide definition. No index on status: it would double
-- the cost of a mass reset.
CREATE TABLE job_state (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    reason INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,         -- number of the latest attempt, 0: none yet
    run_id INTEGER NOT NULL DEFAULT 0,          -- run of the latest attempt
    worker_id INTEGER NOT NULL DEFAULT 0,       -- who holds or held the latest attempt
    claim_counter INTEGER NOT NULL DEFAULT -1,  -- version counter when the latest attempt was claimed
    counter INTEGER NOT NULL DEFAULT -1,        -- version counter of the latest attempt that started
    PRIMARY KEY (workflow_id, job_id)
) STRICT, WITHOUT ROWID;

-- Every definition that an edited job has had; a job that was never edited has no row.
CREATE TABLE job_definition (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    version INTEGER NOT NULL,                   -- in force from this number of the version counter on
    definition TEXT NOT NULL,                   -- JSON
    PRIMARY KEY (workflow_id, job_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_dependency (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    upstream_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, upstream_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,                         -- absolute
    is_script INTEGER NOT NULL DEFAULT 0        -- 1: found in a command, not declared
) STRICT;
CREATE UNIQUE INDEX file_by_name ON file (workflow_id, name, is_script);
CREATE INDEX script_by_workflow ON file (workflow_id, id) WHERE is_script = 1;

CREATE TABLE file_record (
    workflow_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,                      -- -1: absent
    version INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, file_id)
) STRICT, WITHOUT ROWID;

-- Records that were replaced by a changed one.
CREATE TABLE file_history (
    workflow_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, file_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_input (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, file_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_output (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, file_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_data (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    is_ephemeral INTEGER NOT NULL,
    UNIQUE (workflow_id, name)
) STRICT;

-- Every value a user data has had; the newest is the present one. No row: no value yet.
CREATE TABLE user_data_version (
    workflow_id INTEGER NOT NULL,
    user_data_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    data TEXT,                                  -- JSON; NULL: cleared
    digest BLOB,
    PRIMARY KEY (workflow_id, user_data_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_user_data (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    user_data_id INTEGER NOT NULL,
    is_output INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, user_data_id, is_output)
) STRICT, WITHOUT ROWID;

CREATE TABLE result (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    attempt_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    worker_id INTEGER NOT NULL,
    return_code INTEGER,
    status INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER NOT NULL,
    exec_time_s REAL NOT NULL,
    peak_memory_bytes INTEGER,
    cpu_seconds REAL,
    hostname TEXT NOT NULL,
    stdout_path TEXT,
    stderr_path TEXT
) STRICT;
CREATE UNIQUE INDEX result_of_attempt ON result (workflow_id, job_id, attempt_id);
CREATE INDEX result_by_workflow ON result (workflow_id, id);

CREATE TABLE task (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    operation TEXT NOT NULL,
    params TEXT NOT NULL,                       -- JSON: the parameters that change the effect
    status TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    request_key TEXT UNIQUE,
    error TEXT,
    error_code INTEGER,
    error_data TEXT,                            -- JSON
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    finished_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX one_active_task ON task (workflow_id) WHERE status IN ('queued', 'running');
CREATE INDEX task_by_workflow ON task (workflow_id);

CREATE TABLE task_plan (
    task_id INTEGER PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    summary TEXT NOT NULL,                      -- JSON
    jobs BLOB NOT NULL                          -- torcd/core/plan.py, packed arrays
) STRICT;

CREATE TABLE event (
    workflow_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,                         -- JSON
    PRIMARY KEY (workflow_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    hostname TEXT NOT NULL,
    pid INTEGER NOT NULL,
    num_cpus INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    num_gpus INTEGER NOT NULL,
    max_parallel_jobs INTEGER,
    is_gone INTEGER NOT NULL DEFAULT 0,
    registered_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX worker_by_workflow ON worker (workflow_id);
