"""Disabled jobs, and thousands of keys, with the real programs (SEMANTICS 2.5; INTERFACE 2)."""

import time
from typing import Any

from real_system import PATIENCE_S, System

CHAIN: dict[str, Any] = {
    "name": "chain",
    "files": [{"name": "part", "path": "part.txt"}],
    "jobs": [
        {"name": "a", "command": "exit 1", "output_files": ["part"]},
        {"name": "b", "command": "cat part.txt", "input_files": ["part"]},
        {"name": "c", "command": "true", "depends_on": ["b"]},
    ],
}


def test_a_job_that_fails_is_disabled_and_the_rest_runs(system: System) -> None:
    """SEMANTICS 2.5: at once; the file that only it makes has to be provided"""
    at = system.create(CHAIN)
    assert system.torcctl("run", at, check=False).code == 1
    assert system.statuses(at) == {"a": "failed", "b": "canceled", "c": "canceled"}
    assert system.torcctl("-k", at, "jobs", "disable", "a").out == "Disabled 1 job\n"
    assert system.statuses(at) == {"a": "disabled", "b": "ready", "c": "blocked"}

    refused = system.torcctl("workflows", "reinit", at, "--dry-run", check=False)
    assert refused.code == 7
    assert "part.txt" in refused.err
    system.write("part.txt", "made by hand")
    assert system.torcctl("run", at).out == f"Workflow {at}: 2 completed, 1 disabled\n"

    again = system.torcctl("-k", at, "jobs", "disable", "a", "c")
    assert (again.out, again.err) == ("Disabled 1 job\n", "1 job was disabled already\n")
    ids = {name: job["id"] for name, job in system.jobs(at).items()}
    enabled = system.torcctl("jobs", "enable", ids["a"], ids["b"], ids["c"], json=True)
    assert enabled == {"workflow_id": at, "enabled": 2, "unchanged": 1, "jobs": [ids["a"], ids["c"]]}
    assert system.statuses(at) == {"a": "uninitialized", "b": "completed", "c": "uninitialized"}
    kinds = [event["kind"] for event in system.torcctl("events", "list", at, json=True)["events"]]
    assert [kind for kind in kinds if kind.startswith("jobs_") and kind != "jobs_changed"] == [
        "jobs_disabled",
        "jobs_disabled",
        "jobs_enabled",
    ]


def test_what_cannot_be_disabled_is_told_and_nothing_is_changed(system: System) -> None:
    """SEMANTICS 2 (any but live); INTERFACE 2 (exit codes)"""
    begun, go = system.pipe("begun"), system.pipe("go")
    at = system.create(
        {
            "name": "w",
            "jobs": [
                {"name": "on", "command": "echo > begun; read line < go"},
                {"name": "next", "command": "true", "depends_on": ["on"]},
            ],
        }
    )
    run = system.spawn("run", at)
    begun.read_line()
    job_id = system.jobs(at)["on"]["id"]
    live = system.torcctl("-f", "json", "-k", at, "jobs", "disable", "next", "on", check=False)
    assert (live.code, live.json["error"]["data"]["jobs"]) == (4, [job_id])
    assert f"{job_id} on (running)" in live.err or f"{job_id} on (pending)" in live.err, "its start may not be told yet"
    assert system.torcctl("-k", at, "jobs", "disable", "next", "nobody", check=False).code == 3
    assert system.torcctl("-k", at + 1, "jobs", "disable", job_id, check=False).code == 3
    nothing = system.torcctl("-f", "json", "jobs", "enable")
    assert (nothing.code, nothing.json["enabled"]) == (0, 0)
    assert "no job was named" in nothing.err
    assert system.statuses(at)["next"] == "blocked"
    go.write_line()
    assert run.wait(PATIENCE_S) == 0


def test_twenty_thousand_keys_fit_on_a_command_line_and_on_standard_input(system: System) -> None:
    """INTERFACE 2 (jobs reset-status KEY…): each command takes a fraction of a second"""
    count = 20_000
    name = "a_job_whose_name_is_about_as_long_as_they_are_{i}"
    spec = {"name": "wide", "parameters": {"i": f"1:{count}"}}
    at = system.create(spec | {"jobs": [{"name": name, "command": "true", "use_parameters": ["i"]}]})
    rows = system.sql("SELECT id, name FROM job WHERE workflow_id = ? ORDER BY id", at)
    ids, names = [row[0] for row in rows], [row[1] for row in rows]
    system.torcctl("workflows", "init", at)

    began = time.monotonic()
    assert system.torcctl("jobs", "reset-status", *ids).out == f"Reset {count} jobs on request\n"
    listed = system.torcctl("-k", at, "jobs", "reset-status", "-", "--reinit", stdin="\n".join(names))
    assert listed.out == f"Reset {count} jobs on request\n"
    by_name = system.torcctl("-k", at, "jobs", "disable", *names, json=True)
    assert (by_name["disabled"], by_name["jobs"]) == (count, ids)
    enabled = system.torcctl("jobs", "enable", "-", stdin="\n".join(map(str, ids)))
    assert enabled.out == f"Enabled {count} jobs\n"
    unknown = system.torcctl("jobs", "reset-status", "-", stdin="\n".join(map(str, [*ids, 10**9])), check=False)
    assert (unknown.code, "1000000000" in unknown.err) == (3, True)
    assert time.monotonic() - began < PATIENCE_S / 2
