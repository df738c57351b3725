"""What a failure is put down to: the evidence that decides, and the evidence that must not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.diagnosis import Case, Finding, diagnose, find_kill, find_last_line, find_line, with_tails
from torcd.core.status import Status, StatusReason

GIB = 2**30


def case(**known: Any) -> Case:
    """A job that asked for 1 GiB and an hour, and failed with return code 1."""
    given: dict[str, Any] = {
        "job_id": 1, "name": "a", "status": Status.FAILED, "reason": StatusReason.NONE, "attempt": 1, "return_code": 1,
        "requirement": "big", "memory_bytes": GIB, "runtime_s": 3600.0,
    }  # fmt: skip
    return Case(**(given | known))


def find(**known: Any) -> Finding:
    return diagnose(case(**known)).finding


def lost(**known: Any) -> Finding:
    """Of a job whose worker did not come back."""
    return find(status=Status.TERMINATED, reason=StatusReason.WORKER_LOST, return_code=None, **known)


@pytest.mark.parametrize(
    "line",
    [
        "MemoryError",
        "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "fork: Cannot allocate memory",
        "java.lang.OutOfMemoryError: Java heap space",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch",
        "slurmstepd: error: Step 7.0 exceeded memory limit (1200 > 1000), being killed",
        "xmalloc: virtual memory exhausted",
        "Error: cannot allocate vector of size 3.0 Gb",
        "memory allocation of 68719476736 bytes failed",
        "forrtl: severe (41): insufficient virtual memory",
        "Unhandled exception. System.OutOfMemoryException: Array dimensions exceeded supported range.",
    ],
)
def test_a_line_about_memory_in_stderr_is_believed(line: str) -> None:
    (told,) = with_tails([case(stderr_path="/e")], {"/e": f"reading input\n{line}\nin cleanup\n"})
    assert diagnose(told).finding is Finding.OUT_OF_MEMORY
    assert diagnose(told).evidence["stderr"] == line


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "cudaMalloc failed: out of memory",
        "hipErrorOutOfMemory: out of memory",
        "KeyError: 'memory'",
        "memory: 12 MB used",
        "reads out of memory-mapped files",
        "",
    ],
)
def test_other_lines_about_memory_are_not(line: str) -> None:
    assert find_line(line) is None
    (told,) = with_tails([case(stderr_path="/e")], {"/e": line, "/other": "MemoryError"})
    assert diagnose(told).finding is Finding.FAILED


def test_of_a_failure_that_nobody_knows_the_cause_of_the_last_line_of_stderr_is_shown() -> None:
    """It is the best clue there is; where the cause is known, other lines say nothing about it."""
    (told,) = with_tails([case(stderr_path="/e")], {"/e": "Traceback\n  KeyError: 'x'  \n\n"})
    assert (diagnose(told).finding, diagnose(told).evidence["stderr"]) == (Finding.FAILED, "KeyError: 'x'")
    (told,) = with_tails([case(stderr_path="/e", return_code=124, exec_time_s=3600.0)], {"/e": "step 7\n"})
    assert (diagnose(told).finding, "stderr" in diagnose(told).evidence) == (Finding.TIMEOUT, False)
    assert find_last_line("y" * 500) == "y" * 200
    assert find_last_line(" \n\n") is None


def test_of_a_long_line_the_part_that_tells_is_shown() -> None:
    assert find_line("x" * 3000 + " std::bad_alloc " + "y" * 500) == "x" * 185 + " std::bad_alloc"
    assert find_line("MemoryError " + "y" * 500) == "MemoryError " + "y" * 188


def test_a_killed_job_that_had_used_what_it_asked_for_ran_out_of_memory() -> None:
    assert find(return_code=137, peak_memory_bytes=GIB * 10 // 11) is Finding.OUT_OF_MEMORY
    assert find(return_code=137, peak_memory_bytes=9 * GIB) is Finding.OUT_OF_MEMORY
    assert find(return_code=134, peak_memory_bytes=GIB) is Finding.OUT_OF_MEMORY
    assert find(return_code=137, peak_memory_bytes=GIB // 10) is Finding.FAILED, "somebody killed it"
    assert find(return_code=137, peak_memory_bytes=None) is Finding.FAILED


def test_a_bug_in_a_job_that_was_not_held_to_its_request_stays_a_bug() -> None:
    """The default request is 1 MiB: every program uses more than that."""
    assert find(peak_memory_bytes=50 * 2**20, memory_bytes=2**20) is Finding.FAILED
    assert find(peak_memory_bytes=GIB) is Finding.OUT_OF_MEMORY
    assert find(peak_memory_bytes=GIB // 2) is Finding.FAILED


def test_a_job_that_asked_for_nothing_is_compared_with_its_workers_memory() -> None:
    asked = {"requirement": None, "memory_bytes": None, "runtime_s": None, "return_code": 137}
    assert find(**asked, peak_memory_bytes=6 * GIB, worker_memory_bytes=8 * GIB) is Finding.OUT_OF_MEMORY
    assert find(**asked, peak_memory_bytes=GIB, worker_memory_bytes=8 * GIB) is Finding.FAILED


def test_time_is_what_ran_out_at_the_walltime_and_near_the_request() -> None:
    assert find(status=Status.TERMINATED, reason=StatusReason.WALLTIME, return_code=143) is Finding.TIMEOUT
    assert find(return_code=124, exec_time_s=3590) is Finding.TIMEOUT
    assert find(return_code=143, exec_time_s=3300) is Finding.TIMEOUT
    assert find(return_code=152) is Finding.TIMEOUT
    assert find(return_code=124, exec_time_s=60) is Finding.FAILED, "its own timeout"
    assert find(return_code=1, exec_time_s=3590) is Finding.FAILED


def test_what_slurm_says_of_an_allocation_decides_about_those_it_lost() -> None:
    assert lost() is Finding.WORKER_LOST
    assert lost(slurm_state="OUT_OF_MEMORY") is Finding.OUT_OF_MEMORY
    assert lost(slurm_state="TIMEOUT") is Finding.TIMEOUT
    assert lost(slurm_state="NODE_FAIL") is Finding.NODE_FAILURE
    assert lost(slurm_state="PREEMPTED") is Finding.WORKER_LOST
    assert find(return_code=137, slurm_state="OUT_OF_MEMORY") is Finding.OUT_OF_MEMORY
    assert find(return_code=1, slurm_state="OUT_OF_MEMORY") is Finding.FAILED, "it had ended before"


LOG = """\
worker: job 7 (MemoryError of old) could not be started
slurmstepd-n1: error: StepId=9.batch exceeded memory limit (291082240 > 209715200), being killed
slurmstepd-n1: error: Exceeded job memory limit
slurmstepd-n1: error: *** JOB 9 ON n1 CANCELLED AT 2026-11-27T01:51:20 ***
"""
KILL = "slurmstepd-n1: error: StepId=9.batch exceeded memory limit (291082240 > 209715200), being killed"


def test_what_slurm_wrote_to_the_allocations_log_decides_about_those_it_lost() -> None:
    """Where Slurm watches memory by itself it calls such an end FAILED, or CANCELLED."""
    assert lost(slurm_state="FAILED", kill=KILL) is Finding.OUT_OF_MEMORY
    assert lost(slurm_state="NODE_FAIL", kill=KILL) is Finding.NODE_FAILURE
    assert find(return_code=137, slurm_state="RUNNING", kill=KILL) is Finding.OUT_OF_MEMORY
    assert find(return_code=1, slurm_state="FAILED", kill=KILL) is Finding.FAILED, "it had ended before"
    known = {"status": Status.TERMINATED, "reason": StatusReason.WORKER_LOST, "return_code": None}
    found = diagnose(case(**known, kill=KILL, worker_memory_bytes=GIB, lost_together=2)).evidence
    assert found["slurm_log"] == KILL
    (told,) = with_tails([case(slurm_log_path="/e")], {"/e": LOG, "/other": "x"})
    assert told.kill == KILL
    assert (found["worker_memory_bytes"], found["lost_together"]) == (GIB, 2)
    assert "slurm_log" not in diagnose(case(kill=KILL)).evidence, "it had ended before, and that speaks for nothing"


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some of the tasks have been OOM Killed.",
            1,
        ),
        ("srun: error: n1: task 0: Out Of Memory", 1),
        ("n1: slurmstepd: error: Step 7.0 exceeded memory limit (2 > 1), being killed", 1),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-27T01:51:20 DUE TO TIME LIMIT ***", 0),
        ("MemoryError", 0),
    ],
)
def test_slurms_own_lines_are_told_from_its_workers(line: str, is_told: int) -> None:
    assert (find_kill(f"before\n{line}\nafter\n") == line) == bool(is_told)


def test_a_worker_that_was_told_to_end_is_not_the_jobs_fault() -> None:
    shutdown = {"status": Status.TERMINATED, "reason": StatusReason.WORKER_SHUTDOWN}
    assert find(**shutdown, return_code=143, exec_time_s=4000) is Finding.WORKER_SHUTDOWN


def test_a_missing_output_is_told_from_an_error() -> None:
    assert find(reason=StatusReason.OUTPUT_MISSING, return_code=0) is Finding.OUTPUT_MISSING


def test_evidence_says_what_is_known_and_nothing_else() -> None:
    found = diagnose(case(return_code=137, peak_memory_bytes=GIB, exec_time_s=1.23456))
    assert found.evidence == {
        "status": "failed", "return_code": 137, "signal": 9, "exec_time_s": 1.235, "runtime_s": 3600.0,
        "peak_memory_bytes": GIB, "memory_bytes": GIB,
    }  # fmt: skip


@given(
    st.builds(
        case,
        status=st.sampled_from([Status.FAILED, Status.TERMINATED]),
        reason=st.sampled_from(StatusReason),
        return_code=st.none() | st.integers(0, 255),
        exec_time_s=st.floats(0, 1e6),
        peak_memory_bytes=st.none() | st.integers(0, 2**40),
        memory_bytes=st.none() | st.integers(0, 2**40),
        runtime_s=st.none() | st.floats(0, 1e6),
        slurm_state=st.sampled_from([None, "OUT_OF_MEMORY", "TIMEOUT", "NODE_FAIL", "COMPLETED"]),
        line=st.none() | st.text(max_size=50),
    )
)
def test_every_case_has_one_diagnosis(some: Case) -> None:
    found = diagnose(some)
    assert found.finding in Finding
    assert found.evidence["status"] in {"failed", "terminated"}
