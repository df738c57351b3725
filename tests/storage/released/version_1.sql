-- A database as the torcd of schema version 1 left it; @DIRECTORY@ stands for the directory of its workflow.
PRAGMA application_id = 1953460835;
PRAGMA user_version = 1;
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE event (
    workflow_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,                         -- JSON
    PRIMARY KEY (workflow_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO "event" VALUES(1,1,1795720657920,'workflow_created','{"name":"sample","jobs":6}');
INSERT INTO "event" VALUES(1,2,1795720657961,'jobs_changed','{"changes":[{"status":"blocked","status_reason":null,"count":4,"jobs":"2-4,6"},{"status":"ready","status_reason":null,"count":2,"jobs":"1,5"}]}');
INSERT INTO "event" VALUES(1,3,1795720657961,'operation','{"operation":"initialize","task_id":1,"run_id":1,"count":6,"plan_digest":"962afa0be67e31cef3a435d1884938da0fdcac046f9157c9eee63875e6711675"}');
INSERT INTO "event" VALUES(1,4,1795720657961,'task_ended','{"task_id":1,"status":"succeeded"}');
INSERT INTO "event" VALUES(1,5,1795720658515,'jobs_changed','{"changes":[{"status":"pending","status_reason":null,"count":2,"jobs":"1,5"}]}');
INSERT INTO "event" VALUES(1,6,1795720658543,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":2,"jobs":"1,5"},{"status":"completed","status_reason":null,"count":1,"jobs":"1"},{"status":"ready","status_reason":null,"count":2,"jobs":"2-3"},{"status":"pending","status_reason":null,"count":2,"jobs":"2-3"}]}');
INSERT INTO "event" VALUES(1,7,1795720658582,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":2,"jobs":"2-3"},{"status":"completed","status_reason":null,"count":1,"jobs":"2"},{"status":"failed","status_reason":null,"count":1,"jobs":"3"},{"status":"canceled","status_reason":"upstream_failed","count":1,"jobs":"4"}]}');
INSERT INTO "event" VALUES(1,8,1795720659178,'user_data_updated','{"user_data_id":2,"name":"found"}');
INSERT INTO "event" VALUES(1,9,1795720659404,'jobs_changed','{"changes":[{"status":"completed","status_reason":null,"count":1,"jobs":"5"},{"status":"ready","status_reason":null,"count":1,"jobs":"6"},{"status":"pending","status_reason":null,"count":1,"jobs":"6"}]}');
INSERT INTO "event" VALUES(1,10,1795720659446,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":1,"jobs":"6"},{"status":"completed","status_reason":null,"count":1,"jobs":"6"}]}');
INSERT INTO "event" VALUES(1,11,1795720660404,'jobs_changed','{"changes":[{"status":"blocked","status_reason":null,"count":3,"jobs":"2-4"},{"status":"ready","status_reason":null,"count":1,"jobs":"1"}]}');
INSERT INTO "event" VALUES(1,12,1795720660404,'operation','{"operation":"reinit","task_id":2,"run_id":2,"count":4,"plan_digest":"229bc5e7c48452f0e67b1d37e1cf4ff7904a8166126f4fdc150638706f62c026"}');
INSERT INTO "event" VALUES(1,13,1795720660404,'task_ended','{"task_id":2,"status":"succeeded"}');
INSERT INTO "event" VALUES(1,14,1795720661657,'jobs_changed','{"changes":[{"status":"pending","status_reason":null,"count":1,"jobs":"1"}]}');
INSERT INTO "event" VALUES(1,15,1795720661681,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":1,"jobs":"1"},{"status":"completed","status_reason":null,"count":1,"jobs":"1"},{"status":"ready","status_reason":null,"count":2,"jobs":"2-3"},{"status":"pending","status_reason":null,"count":2,"jobs":"2-3"}]}');
INSERT INTO "event" VALUES(1,16,1795720661701,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":2,"jobs":"2-3"},{"status":"completed","status_reason":null,"count":1,"jobs":"2"}]}');
INSERT INTO "event" VALUES(1,17,1795720661727,'jobs_changed','{"changes":[{"status":"failed","status_reason":null,"count":1,"jobs":"3"},{"status":"canceled","status_reason":"upstream_failed","count":1,"jobs":"4"}]}');
INSERT INTO "event" VALUES(1,18,1795720663707,'job_updated','{"job_id":3,"fields":["command"]}');
INSERT INTO "event" VALUES(1,19,1795720664795,'user_data_updated','{"user_data_id":1,"name":"options"}');
INSERT INTO "event" VALUES(1,20,1795720665170,'jobs_changed','{"changes":[{"status":"blocked","status_reason":null,"count":2,"jobs":"4,6"},{"status":"ready","status_reason":null,"count":2,"jobs":"3,5"}]}');
INSERT INTO "event" VALUES(1,21,1795720665170,'operation','{"operation":"reinit","task_id":3,"run_id":3,"count":4,"plan_digest":"b59aaa8dc5df672a16f39f0802dc6ac7444b566a84f401c53676597b9c1d9997"}');
INSERT INTO "event" VALUES(1,22,1795720665170,'task_ended','{"task_id":3,"status":"succeeded"}');
INSERT INTO "event" VALUES(1,23,1795720666810,'jobs_changed','{"changes":[{"status":"pending","status_reason":null,"count":2,"jobs":"3,5"}]}');
INSERT INTO "event" VALUES(1,24,1795720666839,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":2,"jobs":"3,5"},{"status":"failed","status_reason":null,"count":1,"jobs":"3"},{"status":"canceled","status_reason":"upstream_failed","count":1,"jobs":"4"}]}');
INSERT INTO "event" VALUES(1,25,1795720667662,'jobs_changed','{"changes":[{"status":"completed","status_reason":null,"count":1,"jobs":"5"},{"status":"ready","status_reason":null,"count":1,"jobs":"6"},{"status":"pending","status_reason":null,"count":1,"jobs":"6"}]}');
INSERT INTO "event" VALUES(1,26,1795720667681,'jobs_changed','{"changes":[{"status":"running","status_reason":null,"count":1,"jobs":"6"},{"status":"completed","status_reason":null,"count":1,"jobs":"6"}]}');
INSERT INTO "event" VALUES(1,27,1795720668383,'operation','{"operation":"restart","task_id":4,"run_id":4,"count":0,"plan_digest":"50ed68b0e0f87bc28ca760e00f3cbee4d92a6a53e5117680b2cfd8b2ca4be558"}');
INSERT INTO "event" VALUES(1,28,1795720668383,'task_ended','{"task_id":4,"status":"succeeded"}');
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,                         -- absolute
    is_script INTEGER NOT NULL DEFAULT 0        -- 1: found in a command, not declared
) STRICT;
INSERT INTO "file" VALUES(1,1,'in','@DIRECTORY@/in.txt',0);
INSERT INTO "file" VALUES(2,1,'mid','@DIRECTORY@/mid.txt',0);
INSERT INTO "file" VALUES(3,1,'out','@DIRECTORY@/out.txt',0);
INSERT INTO "file" VALUES(4,1,'side','@DIRECTORY@/side.txt',0);
INSERT INTO "file" VALUES(5,1,'@DIRECTORY@/tool.sh','@DIRECTORY@/tool.sh',1);
CREATE TABLE file_history (
    workflow_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, file_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "file_history" VALUES(1,1,1,1795720653631369601,4);
INSERT INTO "file_history" VALUES(1,2,2,1795720658536345995,4);
INSERT INTO "file_history" VALUES(1,3,3,1795720658571075467,4);
CREATE TABLE file_record (
    workflow_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,                      -- -1: absent
    version INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, file_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "file_record" VALUES(1,1,1795720659924705149,6,5);
INSERT INTO "file_record" VALUES(1,2,1795720661680347255,6,6);
INSERT INTO "file_record" VALUES(1,3,1795720661700445931,6,7);
INSERT INTO "file_record" VALUES(1,4,-1,-1,1);
INSERT INTO "file_record" VALUES(1,5,1795720653628457903,17,1);
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
INSERT INTO "job" VALUES(1,1,'first','cat in.txt > mid.txt',NULL,'{}',NULL,NULL,0,1,0,X'9CB472B4B6535353E9223BF78C05498B569F38CC6420976B7EE25EE00362A75C',0);
INSERT INTO "job" VALUES(2,1,'second','bash tool.sh mid.txt out.txt',NULL,'{}',NULL,NULL,3,1,0,X'C23F18FCB99207946B14C7A52F98653ED7072A2913CAF437F501051F290445F4',0);
INSERT INTO "job" VALUES(3,1,'third','exit 4',NULL,'{}',NULL,NULL,0,1,0,X'B5ABA1FAC4A1289531AFEBA554DE6AC8F93F137FC2E725E1F8E8C5966E0C321B',8);
INSERT INTO "job" VALUES(4,1,'fourth','echo 4 > side.txt',NULL,'{}',NULL,NULL,0,1,0,X'288EE2D5D384C6FD59421EB46BF7CE2271C04281430E9B7E581C44A33FE2DD31',0);
INSERT INTO "job" VALUES(5,1,'fifth','torcctl user-data update found --data ''[1]''; true options found',NULL,'{}',NULL,NULL,0,1,0,X'E849A0D5BF64144CD0EA0DD859C17E818113638CE0B9FCE56C191A0287AF6C37',0);
INSERT INTO "job" VALUES(6,1,'sixth','true found',NULL,'{}',NULL,NULL,0,0,0,X'3962F779F877E2C2DC650ADB5D3677796834D4DBA4E5298699E1FFA4B2F826EC',0);
CREATE TABLE job_definition (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    version INTEGER NOT NULL,                   -- in force from this number of the version counter on
    definition TEXT NOT NULL,                   -- JSON
    PRIMARY KEY (workflow_id, job_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_definition" VALUES(1,3,0,'{"command":"exit 3","depends_on":["first"]}');
INSERT INTO "job_definition" VALUES(1,3,8,'{"command":"exit 4","depends_on":["first"]}');
CREATE TABLE job_dependency (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    upstream_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, upstream_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_dependency" VALUES(1,3,1);
INSERT INTO "job_dependency" VALUES(1,4,3);
CREATE TABLE job_input (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, file_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_input" VALUES(1,1,1);
INSERT INTO "job_input" VALUES(1,2,2);
INSERT INTO "job_input" VALUES(1,2,5);
CREATE TABLE job_output (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, file_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_output" VALUES(1,1,2);
INSERT INTO "job_output" VALUES(1,2,3);
INSERT INTO "job_output" VALUES(1,4,4);
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
INSERT INTO "job_state" VALUES(1,1,5,0,2,2,2,5,5);
INSERT INTO "job_state" VALUES(1,2,5,0,2,2,2,6,6);
INSERT INTO "job_state" VALUES(1,3,6,0,3,3,3,9,9);
INSERT INTO "job_state" VALUES(1,4,7,2,0,0,0,-1,-1);
INSERT INTO "job_state" VALUES(1,5,5,0,2,3,3,9,9);
INSERT INTO "job_state" VALUES(1,6,5,0,2,3,3,9,9);
CREATE TABLE job_user_data (
    workflow_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    user_data_id INTEGER NOT NULL,
    is_output INTEGER NOT NULL,
    PRIMARY KEY (workflow_id, job_id, user_data_id, is_output)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_user_data" VALUES(1,5,1,0);
INSERT INTO "job_user_data" VALUES(1,5,2,1);
INSERT INTO "job_user_data" VALUES(1,6,2,0);
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
INSERT INTO "result" VALUES(1,1,1,1,1,1,0,5,0,1795720658528,1795720658539,1.13534590000199386849e-02,38580224,0.002836,'host','@DIRECTORY@/.torc/1/job_1_1.o','@DIRECTORY@/.torc/1/job_1_1.e');
INSERT INTO "result" VALUES(2,1,2,1,1,1,0,5,0,1795720658564,1795720658571,0.00729345000036119,38580224,0.003188,'host','@DIRECTORY@/.torc/1/job_2_1.o','@DIRECTORY@/.torc/1/job_2_1.e');
INSERT INTO "result" VALUES(3,1,3,1,1,1,3,6,0,1795720658572,1795720658581,9.08878300106152892112e-03,38580224,0.00158,'host','@DIRECTORY@/.torc/1/job_3_1.o','@DIRECTORY@/.torc/1/job_3_1.e');
INSERT INTO "result" VALUES(4,1,5,1,1,1,0,5,0,1795720658529,1795720659399,8.70310207999864360317e-01,38580224,0.251869,'host','@DIRECTORY@/.torc/1/job_5_1.o','@DIRECTORY@/.torc/1/job_5_1.e');
INSERT INTO "result" VALUES(5,1,6,1,1,1,0,5,0,1795720659432,1795720659441,8.65843700012192130088e-03,38580224,1.32699999999999983767e-03,'host','@DIRECTORY@/.torc/1/job_6_1.o','@DIRECTORY@/.torc/1/job_6_1.e');
INSERT INTO "result" VALUES(6,1,1,2,2,2,0,5,0,1795720661664,1795720661680,1.63055060002079699188e-02,35123200,0.00284,'host','@DIRECTORY@/.torc/1/job_1_2.o','@DIRECTORY@/.torc/1/job_1_2.e');
INSERT INTO "result" VALUES(7,1,2,2,2,2,0,5,0,1795720661697,1795720661701,3.55195999873103573918e-03,35123200,0.002691,'host','@DIRECTORY@/.torc/1/job_2_2.o','@DIRECTORY@/.torc/1/job_2_2.e');
INSERT INTO "result" VALUES(8,1,3,2,2,2,3,6,0,1795720661699,1795720661702,3.40319499991892371326e-03,35123200,1.16699999999999985168e-03,'host','@DIRECTORY@/.torc/1/job_3_2.o','@DIRECTORY@/.torc/1/job_3_2.e');
INSERT INTO "result" VALUES(9,1,3,3,3,3,4,6,0,1795720666826,1795720666838,1.22048869998252484947e-02,34877440,1.51999999999999986684e-03,'host','@DIRECTORY@/.torc/1/job_3_3.o','@DIRECTORY@/.torc/1/job_3_3.e');
INSERT INTO "result" VALUES(10,1,5,2,3,3,0,5,0,1795720666824,1795720667657,8.33067583000229205936e-01,34877440,2.48726999999999975887e-01,'host','@DIRECTORY@/.torc/1/job_5_2.o','@DIRECTORY@/.torc/1/job_5_2.e');
INSERT INTO "result" VALUES(11,1,6,2,3,3,0,5,0,1795720667673,1795720667679,6.17978900118032470345e-03,35008512,1.62099999999999982817e-03,'host','@DIRECTORY@/.torc/1/job_6_2.o','@DIRECTORY@/.torc/1/job_6_2.e');
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
INSERT INTO "task" VALUES(1,1,'initialize','{"force":false,"stop_live":false}','succeeded','root@host','a720693a7ef578d21889d6956dd89ca8',NULL,NULL,NULL,1795720657948,1795720657948,1795720657961);
INSERT INTO "task" VALUES(2,1,'reinit','{"force":false,"stop_live":false,"detect":"mtime"}','succeeded','root@host','8e8d1b20dbc5ac2609103f2992b9d5a7',NULL,NULL,NULL,1795720660393,1795720660393,1795720660404);
INSERT INTO "task" VALUES(3,1,'reinit','{"force":false,"stop_live":false,"detect":"mtime"}','succeeded','root@host','a3e33a6c49aa90017a1dcde5463a9d96',NULL,NULL,NULL,1795720665161,1795720665161,1795720665170);
INSERT INTO "task" VALUES(4,1,'restart','{"force":false,"stop_live":false,"detect":"mtime","only_uninitialized":false}','succeeded','root@host','cc28ed2f52d0095fd4efe0fb38fde28f',NULL,NULL,NULL,1795720668371,1795720668371,1795720668383);
CREATE TABLE task_plan (
    task_id INTEGER PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    summary TEXT NOT NULL,                      -- JSON
    jobs BLOB NOT NULL                          -- torcd/core/plan.py, packed arrays
) STRICT;
INSERT INTO "task_plan" VALUES(1,'{"workflow_id":1,"operation":"initialize","count":6,"listed":6,"plan_digest":"962afa0be67e31cef3a435d1884938da0fdcac046f9157c9eee63875e6711675","run_id":1,"warnings":[],"cause":"","spared":0}',X'86A46A6F627384A5636F756E7406A36C6F7701A5776964746801A464617461C406000401020503A66265666F726584A5636F756E7406A36C6F7700A5776964746800A464617461C400A5616674657284A5636F756E7406A36C6F7701A5776964746801A464617461C406010100000000A673746172747384A5636F756E7407A36C6F7700A5776964746800A464617461C400A7726561736F6E7387A36A6F6284A5636F756E7400A36C6F7700A5776964746800A464617461C400A46B696E6484A5636F756E7400A36C6F7700A5776964746800A464617461C400A372656684A5636F756E7400A36C6F7700A5776964746800A464617461C400A56F6C645F6184A5636F756E7400A36C6F7700A5776964746800A464617461C400A56F6C645F6284A5636F756E7400A36C6F7700A5776964746800A464617461C400A56E65775F6184A5636F756E7400A36C6F7700A5776964746800A464617461C400A56E65775F6284A5636F756E7400A36C6F7700A5776964746800A464617461C400A764657461696C7390');
INSERT INTO "task_plan" VALUES(2,'{"workflow_id":1,"operation":"reinit","count":4,"listed":4,"plan_digest":"229bc5e7c48452f0e67b1d37e1cf4ff7904a8166126f4fdc150638706f62c026","run_id":2,"warnings":[],"cause":"due to changed inputs","spared":2}',X'86A46A6F627384A5636F756E7404A36C6F7701A5776964746801A464617461C40400010203A66265666F726584A5636F756E7404A36C6F7705A5776964746801A464617461C40400000102A5616674657284A5636F756E7404A36C6F7701A5776964746801A464617461C40401000000A673746172747384A5636F756E7405A36C6F7700A5776964746801A464617461C4050001020304A7726561736F6E7387A36A6F6284A5636F756E7404A36C6F7701A5776964746801A464617461C40400010203A46B696E6484A5636F756E7404A36C6F7701A5776964746801A464617461C40400050505A372656684A5636F756E7404A36C6F7701A5776964746800A464617461C400A56F6C645F6184A5636F756E7404A36C6F7701A5776964746808A464617461C42080B1879B6BAEEB18000000000000000000000000000000000200000000000000A56F6C645F6284A5636F756E7404A36C6F7700A5776964746801A464617461C40404000000A56E65775F6184A5636F756E7404A36C6F7700A5776964746808A464617461C4207D5FA4126DAEEB18000000000000000000000000000000000000000000000000A56E65775F6284A5636F756E7404A36C6F7700A5776964746801A464617461C40406000000A764657461696C7390');
INSERT INTO "task_plan" VALUES(3,'{"workflow_id":1,"operation":"reinit","count":4,"listed":4,"plan_digest":"b59aaa8dc5df672a16f39f0802dc6ac7444b566a84f401c53676597b9c1d9997","run_id":3,"warnings":[],"cause":"due to changed inputs","spared":2}',X'86A46A6F627384A5636F756E7404A36C6F7703A5776964746801A464617461C40402000301A66265666F726584A5636F756E7404A36C6F7705A5776964746801A464617461C40400010002A5616674657284A5636F756E7404A36C6F7701A5776964746801A464617461C40401010000A673746172747384A5636F756E7405A36C6F7700A5776964746801A464617461C4050001020304A7726561736F6E7387A36A6F6284A5636F756E7404A36C6F7703A5776964746801A464617461C40402000301A46B696E6484A5636F756E7404A36C6F7704A5776964746801A464617461C40401000202A372656684A5636F756E7404A36C6F7700A5776964746801A464617461C40401000503A56F6C645F6184A5636F756E7404A36C6F7700A5776964746801A464617461C40400000503A56F6C645F6284A5636F756E7404A36C6F7700A5776964746800A464617461C400A56E65775F6184A5636F756E7404A36C6F7700A5776964746801A464617461C40409000000A56E65775F6284A5636F756E7404A36C6F7700A5776964746800A464617461C400A764657461696C739193A7636F6D6D616E64A6657869742033A6657869742034');
INSERT INTO "task_plan" VALUES(4,'{"workflow_id":1,"operation":"restart","count":0,"listed":0,"plan_digest":"50ed68b0e0f87bc28ca760e00f3cbee4d92a6a53e5117680b2cfd8b2ca4be558","run_id":4,"warnings":[],"cause":"due to unfinished jobs or changed inputs","spared":6}',X'86A46A6F627384A5636F756E7400A36C6F7700A5776964746800A464617461C400A66265666F726584A5636F756E7400A36C6F7700A5776964746800A464617461C400A5616674657284A5636F756E7400A36C6F7700A5776964746800A464617461C400A673746172747384A5636F756E7401A36C6F7700A5776964746800A464617461C400A7726561736F6E7387A36A6F6284A5636F756E7400A36C6F7700A5776964746800A464617461C400A46B696E6484A5636F756E7400A36C6F7700A5776964746800A464617461C400A372656684A5636F756E7400A36C6F7700A5776964746800A464617461C400A56F6C645F6184A5636F756E7400A36C6F7700A5776964746800A464617461C400A56F6C645F6284A5636F756E7400A36C6F7700A5776964746800A464617461C400A56E65775F6184A5636F756E7400A36C6F7700A5776964746800A464617461C400A56E65775F6284A5636F756E7400A36C6F7700A5776964746800A464617461C400A764657461696C7390');
CREATE TABLE user_data (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id INTEGER NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    is_ephemeral INTEGER NOT NULL,
    UNIQUE (workflow_id, name)
) STRICT;
INSERT INTO "user_data" VALUES(1,1,'options',0);
INSERT INTO "user_data" VALUES(2,1,'found',0);
CREATE TABLE user_data_version (
    workflow_id INTEGER NOT NULL,
    user_data_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    data TEXT,                                  -- JSON; NULL: cleared
    digest BLOB,
    PRIMARY KEY (workflow_id, user_data_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "user_data_version" VALUES(1,1,0,'{"depth":3}',X'1F5095EC7A7C8833CEAFA42ACB546B9B253D949E73902C2F7C88AAE1A567234E');
INSERT INTO "user_data_version" VALUES(1,1,9,'{"depth":4}',X'66E41417846F7E0228488FAB3D0BB022511EDB046B0F176536CA34D9EB402209');
INSERT INTO "user_data_version" VALUES(1,2,4,'[1]',X'080A9ED428559EF602668B4C00F114F1A11C3F6B02A435F0BDC154578E4D7F22');
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
INSERT INTO "worker" VALUES(1,1,'host',23939,2,25276510208,0,NULL,1,1795720658492);
INSERT INTO "worker" VALUES(2,1,'host',24526,2,25276510208,0,NULL,1,1795720661647);
INSERT INTO "worker" VALUES(3,1,'host',24932,2,25276510208,0,NULL,1,1795720666791);
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
INSERT INTO "workflow" VALUES(1,'sample','root','what an earlier torcd left behind',NULL,NULL,'@DIRECTORY@','{"name":"sample","description":"what an earlier torcd left behind"}','none','mtime',4,0,0,9,28,1,6,1,5,'6acd24fedb9384a62a573c1aeb93f3bf',1795720657920);
CREATE UNIQUE INDEX job_by_name ON job (workflow_id, name);
CREATE UNIQUE INDEX file_by_name ON file (workflow_id, name, is_script);
CREATE INDEX script_by_workflow ON file (workflow_id, id) WHERE is_script = 1;
CREATE UNIQUE INDEX result_of_attempt ON result (workflow_id, job_id, attempt_id);
CREATE INDEX result_by_workflow ON result (workflow_id, id);
CREATE UNIQUE INDEX one_active_task ON task (workflow_id) WHERE status IN ('queued', 'running');
CREATE INDEX task_by_workflow ON task (workflow_id);
CREATE INDEX worker_by_workflow ON worker (workflow_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('workflow',1);
INSERT INTO "sqlite_sequence" VALUES('job',6);
INSERT INTO "sqlite_sequence" VALUES('file',5);
INSERT INTO "sqlite_sequence" VALUES('user_data',2);
INSERT INTO "sqlite_sequence" VALUES('task',4);
INSERT INTO "sqlite_sequence" VALUES('worker',3);
INSERT INTO "sqlite_sequence" VALUES('result',11);
COMMIT;
