"""The command lines of Slurm's programs, and what their answers mean. Pure: nothing here runs them.

Formats are asked for by letter (`-o`), which all versions of Slurm understand alike; its JSON changes with every one.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from torcd.core.allocations import COMPLETE, PENDING, Seen, status_of

NAME = re.compile(r"torc_\d+_\d+_[0-9a-f]{8}")
"""The job names of allocations. They are unique, which Slurm's job ids are not: those are used again."""

QUEUE = ("squeue", "--me", "--noheader", "--states=all", "--format=%A|%T|%r|%j")
"""All jobs of this user that the controller still knows; ended ones stay for some minutes."""

VERSION = ("sbatch", "--version")
"""Reads the configuration and asks nobody."""
LONGEST_ID = 18
"""Digits of a job id, at most."""

# fmt: off
NO_ANSWER = (
    "unable to contact", "connect failure", "connection refused", "communication connection failure", "timed out",
    "timeout", "zero bytes were transmitted", "transport endpoint", "standby mode", "unexpected message", "send/recv",
    "temporarily unavailable", "protocol authentication", "munge", "no route to host", "broken pipe", "reset by peer",
    "controller not responding", "slurm_persist_conn", "retrying in",
)
# fmt: on
"""What Slurm's programs say when the controller did not answer them: it may have done what it was asked for."""


class Ran(NamedTuple):
    """What became of one program."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What it said about its failure, on one line, in its own words."""
        lines = [line.strip() for line in (self.err.strip() or self.out.strip()).splitlines()]
        return "; ".join(line for line in lines if line) or f"exit code {self.code} without a word"

    @property
    def got_no_answer(self) -> bool:
        """Whether it failed because nobody answered, or it was killed before it could tell, and not because it was
        refused."""
        said = self.words.lower()
        is_killed = self.code < 0 or 128 < self.code <= 192  # the latter as a program has it that runs another one
        return is_killed or (self.code != 0 and any(each in said for each in NO_ANSWER))


def submit(script: str) -> list[str]:
    """Submits a batch script; what it asks for stands in the script."""
    return ["sbatch", "--parsable", script]


def parse_submitted(out: str) -> int | None:
    """The job id in what `sbatch --parsable` prints, "123" or "123;cluster"; others may have printed before it."""
    for line in reversed(out.split()):
        job_id = _job_id(line.partition(";")[0])
        if job_id is not None:
            return job_id
    return None


def parse_queue(out: str) -> dict[str, Seen]:
    """The allocations among the jobs of QUEUE, by name. A requeued one is listed once, under its id.

    Somebody may have submitted a script of ours by hand: of jobs of one name those that have ended count less.
    """
    found = {}
    for line in out.splitlines():
        number, _, rest = line.partition("|")
        state, _, rest = rest.partition("|")
        reason, _, name = rest.rpartition("|")
        job_id = _job_id(number)
        if job_id is None or not NAME.fullmatch(name):
            continue
        if name not in found or status_of(state, PENDING) != COMPLETE:
            found[name] = Seen(job_id, state, _reason(reason))
    return found


def account(names: Sequence[str], since: str) -> list[str]:
    """Asks the accounting for the jobs of some names that were there after `since`, a local time."""
    return [
        "sacct", "--noheader", "--parsable2", "--allocations", f"--name={','.join(names)}", f"--starttime={since}",
        "--format=JobIDRaw,State,JobName",
    ]  # fmt: skip


def parse_account(out: str, names: Sequence[str]) -> dict[str, Seen]:
    """The latest job of each name; "CANCELLED by 1000" is its state without by whom."""
    wanted, found = set(names), {}
    for line in out.splitlines():
        fields = line.split("|")
        if len(fields) >= 3 and (job_id := _job_id(fields[0])) is not None and fields[2] in wanted:
            found[fields[2]] = Seen(job_id, fields[1].partition(" ")[0], None)
    return found


def show(job_id: int) -> list[str]:
    """Asks the controller for one job."""
    return ["scontrol", "--oneliner", "show", "job", str(job_id)]


def parse_shown(out: str, name: str) -> Seen | None:
    """The job, if it is the one of that name."""
    fields = dict(word.split("=", 1) for word in out.split() if "=" in word)
    job_id = _job_id(fields.get("JobId", ""))
    if fields.get("JobName") != name or job_id is None:
        return None
    return Seen(job_id, fields.get("JobState", "UNKNOWN"), _reason(fields.get("Reason", "")))


def cancel(name: str, job_id: int | None) -> list[str]:
    """Cancels the job of that name: one that has got its id since is left alone."""
    return ["scancel", "--me", f"--name={name}", *([] if job_id is None else [str(job_id)])]


JOB_ENDED = ("invalid job id", "already completing or completed")
"""What scancel says of a job that has ended: nothing is left to cancel."""


DETAILS = (
    "JobID",
    "JobName",
    "State",
    "ExitCode",
    "Elapsed",
    "MaxRSS",
    "TotalCPU",
    "NNodes",
    "NodeList",
    "Start",
    "End",
)
"""What `slurm sacct` shows."""


def account_details(names: Sequence[str], since: str) -> list[str]:
    """Asks the accounting for all it knows of some jobs and their steps."""
    return [
        "sacct", "--noheader", "--parsable2", f"--name={','.join(names)}", f"--starttime={since}",
        f"--format={','.join(DETAILS)}",
    ]  # fmt: skip


def parse_details(out: str) -> list[dict[str, str]]:
    """A row for each job and step, by the names of DETAILS."""
    rows = (line.split("|") for line in out.splitlines())
    return [dict(zip(DETAILS, fields, strict=True)) for fields in rows if len(fields) == len(DETAILS)]


def _job_id(text: str) -> int | None:
    """The id that a word is, if it can be one; what is longer would not even fit into the database."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_ID else None


def _reason(text: str) -> str | None:
    return None if text in ("", "None") else text
