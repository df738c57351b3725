"""User data whose values end when the job that writes them is to run again (`is_ephemeral`)."""

from collections.abc import Callable
from typing import Any

import pytest
from builders import job
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.protocol.errors import Refused
from torcd.protocol.requests import Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart, Undo
from torcd.protocol.specification import UserDataSpec
from torcd.storage.load import load_state

Make = Callable[..., Workbench]

JOBS = [
    job("a", input_files=["x"], output_user_data=["short", "long"]),
    job("b", input_user_data=["short"], output_files=["b.out"]),
    job("c", input_user_data=["long"], output_files=["c.out"]),
    job("other", output_user_data=["apart"]),
]
VALUES = [
    UserDataSpec(name="short", is_ephemeral=True),
    UserDataSpec(name="long"),
    UserDataSpec(name="apart", is_ephemeral=True),
]
ANSWERS = {"short": 1, "long": 2, "apart": 3}


@pytest.fixture(params=["mtime", "content"])
def bench(make_bench: Make, request: pytest.FixtureRequest) -> Workbench:
    """Run to its end; its jobs say the same every time."""
    made = make_bench(JOBS, (), VALUES, detect=request.param)
    made.answers = dict(ANSWERS)
    made.products = {"b.out": "same", "c.out": "same"}
    made.disk.write("x")
    made.operate(Initialize)
    assert set(made.run_all()) == {"a", "b", "c", "other"}
    assert made.operate(Reinit).summary.listed == 0
    return made


def values(bench: Workbench) -> dict[str, Any]:
    """The present values; what has none is left out."""
    rows = bench.rows(
        "SELECT u.name, v.data FROM user_data u JOIN user_data_version v ON v.user_data_id = u.id AND v.version ="
        " (SELECT max(version) FROM user_data_version WHERE user_data_id = u.id) WHERE v.data IS NOT NULL"
    )
    return {name: int(data) for name, data in rows}


def change(bench: Workbench) -> None:
    """Gives x other content."""
    bench.disk.write("x")


def run_again(bench: Workbench) -> None:
    """Runs to the end; nothing is stale then and every value is there."""
    bench.run_all()
    assert set(bench.status().values()) == {"completed"}
    assert values(bench) == ANSWERS
    assert bench.operate(Reinit).summary.listed == 0


@pytest.mark.parametrize(
    "operate",
    [
        lambda bench: (change(bench), bench.operate(Reinit)),
        lambda bench: (change(bench), bench.operate(Restart)),
        lambda bench: bench.operate(ResetJobs, jobs=[bench.id("a")], reinitialize=True),
        lambda bench: (bench.operate(ResetJobs, jobs=[bench.id("a")]), bench.operate(Prepare)),
        lambda bench: (bench.operate(ResetJobs, jobs=[bench.id("a")]), bench.operate(Restart)),
        lambda bench: (bench.operate(ResetJobs, jobs=[bench.id("a")]), bench.operate(Restart, only_uninitialized=True)),
    ],
    ids=["reinit", "restart", "reset and reinit", "prepare", "reset, restart", "only uninitialized"],
)
def test_an_ephemeral_value_ends_when_its_writer_is_to_run_again_and_others_stay(
    bench: Workbench, operate: Callable[[Workbench], object]
) -> None:
    operate(bench)
    assert values(bench) == {"long": 2, "apart": 3}
    assert bench.status()["a"] == "ready"
    run_again(bench)


def test_an_initialize_ends_all_of_them(bench: Workbench) -> None:
    bench.operate(Initialize, force=True)
    assert values(bench) == {"long": 2}
    run_again(bench)


def test_a_reset_alone_ends_none(bench: Workbench) -> None:
    """The job may yet be left as it is: nothing runs before it is evaluated."""
    bench.operate(ResetJobs, jobs=[bench.id("a")])
    assert values(bench) == ANSWERS


def test_a_no_op_ends_none(bench: Workbench) -> None:
    for kind in (Reinit, Restart):
        bench.operate(kind)
    assert values(bench) == ANSWERS


def test_a_value_ends_once_and_not_with_every_operation(bench: Workbench) -> None:
    change(bench)
    bench.operate(Reinit)
    versions = bench.rows("SELECT count(*) FROM user_data_version")
    bench.operate(Reinit)
    bench.operate(Restart)
    assert bench.rows("SELECT count(*) FROM user_data_version") == versions


def test_a_blocked_writers_value_ends_too(make_bench: Make) -> None:
    bench = make_bench(
        [job("a", input_files=["x"], output_files=["y"]), job("b", input_files=["y"], output_user_data=["short"])],
        (),
        VALUES[:1],
    )
    bench.answers = {"short": 1}
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    assert values(bench) == {}
    bench.run_all(failing=["a"])
    assert bench.status() == {"a": "failed", "b": "canceled"}
    assert bench.operate(Reinit).summary.listed == 0


def test_a_value_that_a_failed_attempt_wrote_ends_before_the_next(bench: Workbench) -> None:
    change(bench)
    bench.operate(Reinit)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    ref = bench.attempt("a")
    bench.set_value("short", 9, job_id=ref.job_id, attempt_id=ref.attempt_id)
    bench.report(ended=[bench.end("a", 1)])
    assert values(bench)["short"] == 9
    bench.operate(ResetStatus, failed_only=True, reinitialize=True)
    assert "short" not in values(bench)
    run_again(bench)


def test_a_writer_that_is_lost_and_restarted_starts_without_a_value(bench: Workbench) -> None:
    """SEMANTICS 8.4"""
    change(bench)
    bench.operate(Reinit)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    ref = bench.attempt("a")
    bench.set_value("short", 9, job_id=ref.job_id, attempt_id=ref.attempt_id)
    bench.lose()
    bench.operate(Restart)
    assert "short" not in values(bench)
    run_again(bench)


def test_a_job_that_does_not_write_its_ephemeral_value_this_time_fails(bench: Workbench) -> None:
    """SEMANTICS 8.2: the value of the run before does not count."""
    change(bench)
    bench.operate(Reinit)
    del bench.answers["short"]
    bench.run_all()
    assert bench.status()["a"] == "failed"
    assert bench.reason("a") == StatusReason.OUTPUT_MISSING
    assert bench.status()["b"] == "canceled"


def test_ephemeral_user_data_without_a_writer_never_ends(make_bench: Make) -> None:
    bench = make_bench(
        [job("a", input_user_data=["given"])], (), [UserDataSpec(name="given", data=1, is_ephemeral=True)]
    )
    bench.operate(Initialize)
    bench.run_all()
    bench.operate(Initialize, force=True)
    assert values(bench) == {"given": 1}
    bench.run_all()


def test_a_value_that_a_user_set_before_the_first_run_ends_with_it(make_bench: Make) -> None:
    bench = make_bench(
        [job("a", output_user_data=["short"])], (), [UserDataSpec(name="short", is_ephemeral=True, data=7)]
    )
    bench.operate(Initialize)
    assert values(bench) == {}
    bench.answers = {"short": 1}
    assert bench.run_all() == ["a"]


# ---- what it makes stale, and spares ----


def test_a_cleared_value_makes_nothing_stale_by_itself(bench: Workbench) -> None:
    """SEMANTICS 4.3: the readers are reset because their upstream is."""
    change(bench)
    reasons = bench.reasons(bench.operate(Reinit))
    assert [reason["kind"] for reason in reasons["b"]] == ["upstream_stale"]
    assert "other" not in reasons
    again = bench.operate(Reinit)
    assert again.summary.count == 0


def test_a_reader_of_a_value_that_is_written_again_as_it_was_is_spared(bench: Workbench) -> None:
    """SEMANTICS 4.9"""
    change(bench)
    bench.operate(Reinit, detect="content")
    ran = bench.run_all()
    if bench.state.detect == "content":
        assert ran == ["a"]
    assert values(bench) == ANSWERS


def test_a_reader_of_another_value_runs(bench: Workbench) -> None:
    """SEMANTICS 4.9"""
    change(bench)
    bench.operate(Reinit)
    bench.answers["short"] = 8
    ran = bench.run_all()
    assert ran == (["a", "b"] if bench.state.detect == "content" else ["a", "b", "c"])


def test_a_job_that_writes_an_ephemeral_value_is_not_spared_and_others_keep_theirs(make_bench: Make) -> None:
    """SEMANTICS 4.9: its value ends with the reset, so it has to be written again."""
    bench = make_bench(
        [
            job("a", input_files=["x"], output_files=["y"]),
            job("b", input_files=["y"], output_user_data=["short"]),
            job("c", input_files=["y"], output_user_data=["long"]),
        ],
        (),
        VALUES[:2],
        detect="content",
    )
    bench.answers = {"short": 1, "long": 2}
    bench.products = {"y": "same"}
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    assert values(bench) == {"long": 2}
    assert bench.run_all() == ["a", "b"]
    assert values(bench) == {"short": 1, "long": 2}


# ---- undo, dry run, restart of the daemon ----


@pytest.mark.parametrize("prepares", [False, True])
def test_undo_brings_the_value_back(bench: Workbench, prepares: bool) -> None:
    """SEMANTICS 5.6"""
    history = "SELECT user_data_id, version, data FROM user_data_version ORDER BY user_data_id, version"
    before = bench.rows(history)
    if prepares:
        bench.operate(ResetJobs, jobs=[bench.id("a")])
        bench.operate(Prepare)
    else:
        change(bench)
        bench.operate(Reinit)
    assert values(bench) != ANSWERS
    bench.operate(Undo)
    assert bench.rows(history) == before
    assert values(bench) == ANSWERS
    assert set(bench.status().values()) == {"completed"}


def test_undo_leaves_a_value_that_a_user_has_written_since(bench: Workbench) -> None:
    """SEMANTICS 5.6"""
    change(bench)
    bench.operate(Reinit)
    bench.set_value("short", 5)
    bench.operate(Undo)
    assert values(bench)["short"] == 5
    assert "b" in bench.reasons(bench.preview(Reinit))


def test_a_dry_run_tells_of_it_by_its_digest_and_ends_nothing(make_bench: Make) -> None:
    """SEMANTICS 5.4"""
    digests = []
    for is_ephemeral in (False, True):
        bench = make_bench([job("a", output_user_data=["u"])], (), [UserDataSpec(name="u", is_ephemeral=is_ephemeral)])
        bench.answers = {"u": 1}
        bench.operate(Initialize)
        bench.run_all()
        digests.append(bench.preview(ResetStatus, reinitialize=True).summary.plan_digest)
        assert values(bench) == {"u": 1}
    assert digests[0] != digests[1]


def test_a_restarted_daemon_knows_that_a_value_has_ended(bench: Workbench) -> None:
    change(bench)
    bench.operate(Reinit)
    bench.state = load_state(bench.db, bench.workflow_id)
    assert bench.state.values.latest(bench.state.values.by_name["short"])[1] is None
    run_again(bench)


def test_a_refused_operation_ends_nothing(bench: Workbench) -> None:
    bench.disk.delete("x")
    with pytest.raises(Refused):
        bench.operate(Reinit)
    assert values(bench) == ANSWERS
