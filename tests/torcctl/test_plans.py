"""Plans as text."""

from typing import Any

import cli_samples as samples
import msgspec
import pytest

from torcctl.plans import reason_text, sentence, size_text, time_text, write_plan
from torcd.protocol.model import Plan

SECOND = 1_000_000_000


def plan(*jobs: dict[str, Any], **changes: Any) -> Plan:
    return msgspec.convert(samples.plan(*jobs, **changes), Plan)


@pytest.mark.parametrize(("count", "words"), [(0, "0 jobs"), (1, "1 job"), (3, "3 jobs")])
def test_the_sentence_counts(count: int, words: str) -> None:
    assert sentence(plan(count=count)) == f"Reset {words} due to changed inputs"
    assert sentence(plan(count=count, dry_run=True)) == f"Dry run: {words} would be reset due to changed inputs"


def test_jobs_that_are_only_evaluated_are_not_listed_among_the_reset_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """SEMANTICS 5, reinit"""
    fresh = samples.plan_job(2, **{"from": "uninitialized"})
    stale = samples.plan_job(1, reasons=[{"kind": "requested"}])
    waiting = samples.plan_job(3, **{"from": "canceled"})
    write_plan(plan(stale, fresh, waiting, dry_run=True, count=1), explain=False)
    assert capsys.readouterr().out == (
        "Dry run: 1 job would be reset due to changed inputs\n  - job-1\n2 other jobs would be evaluated\n"
    )


def test_an_explanation_stands_below_each_job(capsys: pytest.CaptureFixture[str]) -> None:
    job = samples.plan_job(1, reasons=[{"kind": "output_missing", "file": "out", "path": "/d/out"}])
    write_plan(plan(job, dry_run=True), explain=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["  - job-1 (completed → ready)", "      output out (/d/out) is missing"]


def test_statuses_are_shown_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """SEMANTICS 2.4"""
    job = samples.plan_job(
        1, from_reason="by_user", to_reason="upstream_failed", **{"from": "canceled", "to": "canceled"}
    )
    write_plan(plan(job, dry_run=True), explain=True)
    assert capsys.readouterr().out.splitlines()[1:] == ["  - job-1 (canceled (by_user) → canceled (upstream_failed))"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            {"kind": "input_changed", "file": "a", "path": "/d/a", "stored": {"mtime_ns": SECOND, "size": 2048}}
            | {"observed": {"mtime_ns": SECOND + 1, "size": 2048}},
            "input a (/d/a) changed: modified 1970-01-01T00:00:01.000000000Z, now 1970-01-01T00:00:01.000000001Z",
        ),
        (
            {"kind": "input_changed", "file": "a", "path": "/d/a", "stored": {"mtime_ns": 5, "size": 2048}}
            | {"observed": {"mtime_ns": 5, "size": 3 << 20}},
            "input a (/d/a) changed: size 2 KiB, now 3 MiB",
        ),
        (
            {"kind": "input_changed", "file": "a", "path": "/d/a", "stored": {"mtime_ns": 5, "size": 1048577}}
            | {"observed": {"mtime_ns": 5, "size": 1048578}},
            "input a (/d/a) changed: size 1048577 bytes, now 1048578 bytes",
        ),
        (
            {"kind": "input_changed", "file": "a", "path": "/d/a", "stored": None, "observed": {"mtime_ns": 1}},
            "input a (/d/a) appeared",
        ),
        (
            {"kind": "input_missing", "file": "a", "path": "/d/a", "stored": {"mtime_ns": 0, "size": 1}},
            "input a (/d/a) disappeared; it was modified 1970-01-01T00:00:00.000000000Z, 1 bytes",
        ),
        (
            {"kind": "input_missing", "file": "a", "path": "/d/a", "stored": None},
            "input a (/d/a) does not exist",
        ),
        ({"kind": "output_missing", "file": "o", "path": "/d/o"}, "output o (/d/o) is missing"),
        (
            {"kind": "definition_changed", "field": "command", "old": "a\n", "new": "b"},
            'command changed from "a\\n" to "b"',
        ),
        (
            {"kind": "user_data_changed", "name": "lr", "old": 0.1, "new": None},
            "user data lr changed from 0.1 to null",
        ),
        (
            {"kind": "upstream_stale", "root": "pre", "root_id": 1, "via": "mid"},
            "upstream pre must run again, through mid",
        ),
        ({"kind": "upstream_stale", "root": "pre", "root_id": 1, "via": "pre"}, "upstream pre must run again"),
        ({"kind": "not_completed", "status": "ready", "status_reason": None}, "it is ready"),
        (
            {"kind": "not_completed", "status": "terminated", "status_reason": "walltime"},
            "it is terminated (walltime)",
        ),
        ({"kind": "requested"}, "asked for"),
        ({"kind": "newer", "x": 1}, '{"kind":"newer","x":1}'),
    ],
)
def test_every_reason_is_a_sentence(reason: dict[str, Any], text: str) -> None:
    assert reason_text(reason) == text


def test_times_and_sizes_keep_what_matters() -> None:
    assert time_text(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
    assert [size_text(size) for size in (0, 1023, 1536, 5 << 30)] == ["0 bytes", "1023 bytes", "1.5 KiB", "5 GiB"]
