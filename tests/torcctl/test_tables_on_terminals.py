"""Every list on a real terminal, from a narrow one to a wide one."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any

import cli_samples as samples
import pytest
from cli_server import FakeDaemon

PROGRAM = """
import os, sys
from torcctl.app import run
for words in sys.argv[1:]:
    print("#", words, flush=True)
    run(words.split(), os.environ)
"""

NAME = "a-name-of-a-job-that-is-rather-long"
PATH = "/data/of/a/study/in-a-directory/" + NAME
COMMAND = f"python3 -m analysis --input {PATH} --output {PATH}.out"

FILE = {
    "id": 123458, "file_key": 123458, "workflow_id": 7, "name": NAME, "path": PATH,
    "recorded": "present", "is_script": False,
    "mtime_ns": 1766948706123456789, "size": 98765432101, "version": 4711,
}  # fmt: skip
WORKER = {
    "id": 8123, "worker_id": 8123, "workflow_id": 7, "hostname": "node17.cluster.example.org",
    "pid": 987654, "status": "connected",
    "num_cpus": 128, "memory_bytes": 540_000_000_000, "num_gpus": 8, "max_parallel_jobs": 64,
    "registered_at": "2026-01-02T03:04:05Z", "allocation_id": 4812, "time_left_s": 86399.4,
}  # fmt: skip
VERSION = {
    "file_id": 123458, "version": 4711, "recorded": "present", "mtime_ns": 1766948706123456789, "size": 98765432101,
}  # fmt: skip
USER_DATA = {
    "id": 9123, "user_data_key": 9123, "workflow_id": 7, "name": NAME, "is_set": True, "is_ephemeral": False,
    "version": 815, "data": {"key": NAME},
}  # fmt: skip
WORKFLOW = samples.workflow(70123, name=NAME, submission_directory=PATH, run_id=77)
JOB = samples.job(
    580123, name=NAME, command=COMMAND, status="uninitialized", status_reason="upstream_failed", run_id=77,
    attempt_id=665544, return_code=137,
)  # fmt: skip
RESULT = samples.result(
    12612, job_id=580123, job_name=NAME, status="terminated", status_reason="worker_lost", attempt_id=665544,
    return_code=137, exec_time_minutes=123.457, hostname="node17.cluster.example.org",
)  # fmt: skip

LISTS: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "workflows list": (
        "workflows.list", "workflows", WORKFLOW,
        ["70123", "77", "ready", "2026-01-02T03:04:05Z"],
    ),
    "jobs list 7": (
        "jobs.list", "jobs", JOB, ["580123", "uninitialized", "upstream_failed", "77", "665544", "137"],
    ),
    "results list 7": (
        "results.list", "results", RESULT,
        ["12612", "580123", "665544", "137", "terminated", "worker_lost", "123.457", "2026-01-02T03:04:05Z"],
    ),
    "files list 7": (
        "files.list", "files", FILE, ["123458", "present", "98765432101", "1766948706123456789", "4711", "false"],
    ),
    "user-data list 7": ("user_data.list", "user_data", USER_DATA, ["9123", "true", "815"]),
    "tasks list 7": (
        "tasks.list", "tasks", samples.task(31415, operation="jobs reset-status", error=f"no {PATH}"),
        ["31415", "jobs reset-status", "succeeded"],
    ),
    "events list 7": (
        "events.list", "events", samples.event(27182, kind="jobs_changed", data={"names": [NAME]}),
        ["27182", "2026-01-02T03:04:05Z", "jobs_changed"],
    ),
    "files history x": (
        "files.history", "history", VERSION, ["4711", "present", "98765432101", "1766948706123456789"],
    ),
    "workers list 7": (
        "workers.list", "workers", WORKER,
        ["8123", "987654", "connected", "128", "540000000000", "8", "64", "2026-01-02T03:04:05Z", "4812",
         "23:59:59"],
    ),
}  # fmt: skip


def show(daemon: FakeDaemon, columns: int) -> dict[str, list[str]]:
    """What a terminal of so many columns is sent by each list."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {"TORC_URL": daemon.url, "NO_COLOR": "1", "TERM": "xterm", "LANG": "C.UTF-8"}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *LISTS], stdin=subprocess.DEVNULL, stdout=slave, env=environ
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # how a terminal ends
            break
        if not data:
            break
        shown += data
    os.close(master)
    assert child.wait() == 0
    tables: dict[str, list[str]] = {}
    text = re.sub(r"\x1b\[\d*m", "", shown.decode().replace("\r\n", "\n"))
    for part in text.split("# ")[1:]:
        words, *lines = part.splitlines()
        tables[words] = lines
    return tables


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_ids_numbers_and_statuses_are_whole_and_text_is_only_wrapped(daemon: FakeDaemon, columns: int) -> None:
    for method, key, sample, _ in LISTS.values():
        daemon.on(method, {key: [sample], "next_cursor": None})
    daemon.on("files.get", FILE)
    tables = show(daemon, columns)
    assert list(tables) == list(LISTS)
    for words, (_, _, _, whole) in LISTS.items():
        heading, _, row, *_ = tables[words]
        for cell in whole:
            assert f" {cell} " in f" {row} ", words
        texts = [word for word in heading.split() if word in ("name", "path", "directory", "command")]
        for text in texts:
            at = heading.index(text)
            column = [line[at:].split("  ")[0].strip() for line in tables[words][2:]]
            wanted = {"name": NAME, "path": PATH, "directory": PATH, "command": COMMAND}[text]
            assert "".join(column).replace(" ", "") == wanted.replace(" ", ""), words
        if columns >= 200:
            assert max(map(len, tables[words])) <= columns
