"""What Slurm's programs answer, word for word as Slurm 22.05 says it, and what is made of it."""

import pytest

from torcd.core.allocations import Seen
from torcd.slurm import commands
from torcd.slurm.commands import Ran

NAME = "torc_7_12_ab12cd34"


@pytest.mark.parametrize(
    ("out", "job_id"),
    [
        ("123\n", 123),
        ("123;cluster\n", 123),
        ("Welcome to the cluster!\n4711\n", 4711),
        ("", None),
        ("Submitted batch job\n", None),
    ],
)
def test_the_job_id_is_found_in_what_sbatch_prints(out: str, job_id: int | None) -> None:
    assert commands.parse_submitted(out) == job_id


def test_allocations_are_found_by_name_among_the_jobs_of_a_user() -> None:
    out = (
        f"8|RUNNING|None|{NAME}\n"
        "9|PENDING|(Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions)"
        "|torc_7_13_00000000\n"
        "10|RUNNING|None|my|odd\n"
        "name of a job|torc_7_14_0000000g\n"
        "11|FAILED|NonZeroExitCode|torc_7_99_ffffffff_not_ours\n"
    )
    assert commands.parse_queue(out) == {
        NAME: Seen(8, "RUNNING", None),
        "torc_7_13_00000000": Seen(
            9,
            "PENDING",
            "(Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions)",
        ),
    }


@pytest.mark.parametrize("states", [("RUNNING", "COMPLETED"), ("COMPLETED", "RUNNING")])
def test_a_script_that_is_submitted_again_by_hand_does_not_end_its_allocation(states: tuple[str, str]) -> None:
    out = "".join(f"{number}|{state}|None|{NAME}\n" for number, state in enumerate(states, 8))
    assert commands.parse_queue(out)[NAME].state == "RUNNING"


def test_of_jobs_with_one_name_the_accounting_knows_the_latest() -> None:
    out = f"8|NODE_FAIL|{NAME}\n8|CANCELLED by 0|{NAME}\n9|RUNNING|torc_7_1_00000000\n"
    assert commands.parse_account(out, [NAME]) == {NAME: Seen(8, "CANCELLED", None)}
    assert commands.parse_account("", [NAME]) == {}


@pytest.mark.parametrize("job_id", ["9" * 19, "9" * 5000, "\N{ARABIC-INDIC DIGIT NINE}", "-1", "1.0", ""])
def test_what_is_no_job_id_is_passed_over(job_id: str) -> None:
    assert commands.parse_submitted(job_id) is None
    assert commands.parse_queue(f"{job_id}|RUNNING|None|{NAME}") == {}
    assert commands.parse_account(f"{job_id}|RUNNING|{NAME}", [NAME]) == {}
    assert commands.parse_shown(f"JobId={job_id} JobName={NAME}", NAME) is None


def test_a_job_that_has_got_the_id_of_an_older_one_is_not_taken_for_it() -> None:
    """Slurm's ids are used again"""
    shown = "JobId=1 JobName={} UserId=root(0) GroupId=root(0) JobState=COMPLETED Reason=None Dependency=(null)"
    assert commands.parse_shown(shown.format(NAME), NAME) == Seen(1, "COMPLETED", None)
    assert commands.parse_shown(shown.format("other"), NAME) is None
    assert commands.parse_shown("slurm_load_jobs error: Invalid job id specified", NAME) is None


def test_a_job_is_never_canceled_by_its_id_alone() -> None:
    assert commands.cancel(NAME, 8) == ["scancel", "--me", f"--name={NAME}", "8"]
    assert commands.cancel(NAME, None) == ["scancel", "--me", f"--name={NAME}"]


@pytest.mark.parametrize(
    ("code", "err", "is_unanswered"),
    [
        (1, "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        (1, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        (1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        (1, "slurm_load_jobs error: Zero Bytes were transmitted or received", True),
        (1, "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode", True),
        (1, "sbatch: error: Batch job submission failed: Invalid partition name specified", False),
        (1, "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
         False),
        (1, "sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
        (-9, "", True),
        (137, "", True),
        (255, "sbatch: unrecognized option '--foo'\nTry \"sbatch --help\" for more information", False),
        (0, "", False),
    ],
)  # fmt: skip
def test_no_answer_is_told_from_a_refusal(code: int, err: str, is_unanswered: bool) -> None:
    """No answer says nothing."""
    assert Ran(code, "", err).got_no_answer is is_unanswered


def test_a_failure_is_told_in_slurms_own_words() -> None:
    ran = Ran(1, "", "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed\n")
    assert ran.words == "sbatch: error: invalid partition specified: nope; sbatch: error: Batch job submission failed"
    assert Ran(3, "", "").words == "exit code 3 without a word"


def test_the_accounting_has_a_row_for_each_job_and_step() -> None:
    job = f"8|{NAME}|TIMEOUT|0:0|00:01:02||00:10.123|2|n[1-2]|2026-11-26T22:16:55|2026-11-26T22:17:57\n"
    out = f"{job}8.batch|batch|bad\n"
    (row,) = commands.parse_details(out)
    assert (row["JobID"], row["State"], row["NodeList"], row["MaxRSS"]) == ("8", "TIMEOUT", "n[1-2]", "")
