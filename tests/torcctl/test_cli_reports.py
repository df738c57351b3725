"""`torcctl reports resources`: the texts and the documents."""

from typing import Any

from cli_outcome import Cli
from cli_server import FakeDaemon

SPREADS = {
    "peak_memory_bytes": {"max": 300.0 * 2**20, "p95": 290.0 * 2**20},
    "runtime_s": {"max": 4000.0, "p95": 12.34},
    "cpus": {"max": 2.0, "p95": 1.504},
}
BIG: dict[str, Any] = {
    "name": "big",
    "jobs": 3,
    "attempts": 2,
    "requested": {"num_cpus": 4, "memory_bytes": 2**30, "num_gpus": 0, "runtime_s": 3600.0},
    "used": SPREADS,
    "proposed": {"memory_bytes": 368 * 2**20, "runtime_s": 5640, "num_cpus": 2},
}
NONE: dict[str, Any] = {
    "name": None,
    "jobs": 1,
    "attempts": 0,
    "requested": None,
    "used": {"peak_memory_bytes": None, "runtime_s": None, "cpus": None},
    "proposed": {"memory_bytes": None, "runtime_s": None, "num_cpus": None},
}
JOB = {key: value for key, value in BIG.items() if key != "jobs"} | {
    "id": 9, "job_key": 9, "name": "fit", "resource_requirements": "big",
}  # fmt: skip


def answers(daemon: FakeDaemon) -> None:
    daemon.on("reports.resources", {"requirements": [BIG, NONE], "next_cursor": None})
    daemon.on("reports.job_resources", {"jobs": [JOB], "next_cursor": None})


def test_a_line_for_each_resource_of_each_requirement(daemon: FakeDaemon, cli: Cli) -> None:
    answers(daemon)
    assert cli("reports", "resources", "7").out == (
        "requirement  jobs  attempts  resource  requested  max      95 %    proposed\n"
        "big          3     2         memory    1024m      300m     290m    368m\n"
        "big          3     2         runtime   1:00:00    1:06:40  12.3 s  1:34:00\n"
        "big          3     2         cpus      4          2        1.50    2\n"
        "(none)       1     0         memory\n"
        "(none)       1     0         runtime\n"
        "(none)       1     0         cpus\n"
    )
    assert daemon.requests("reports.job_resources") == []


def test_jobs_are_shown_when_they_are_asked_for(daemon: FakeDaemon, cli: Cli) -> None:
    answers(daemon)
    out = cli("reports", "resources", "7", "--jobs", "--all-runs").out
    assert out.split("\n\n")[1].splitlines()[1].split() == [
        "9", "fit", "big", "2", "memory", "1024m", "300m", "290m", "368m",
    ]  # fmt: skip
    assert daemon.requests("reports.job_resources")[0]["all_runs"] is True


def test_programs_get_the_rows_as_the_daemon_sent_them(daemon: FakeDaemon, cli: Cli) -> None:
    """INTERFACE 3"""
    answers(daemon)
    assert cli("-f", "json", "reports", "resources", "7").json == {"requirements": [BIG, NONE]}
    both = cli("-f", "json", "reports", "resources", "7", "--jobs").json
    assert both == {"requirements": [BIG, NONE], "jobs": [JOB]}
