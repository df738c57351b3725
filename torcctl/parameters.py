"""The types that commands' parameters have in common, without anything about how they are parsed.

A command names its parameters' types by these words, in annotations that are not evaluated. `grammar` gives
the words their meaning for cyclopts, `shortcut` for the few command lines that do without it; thus a command
can be imported and called without importing cyclopts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import CO_VARARGS
from math import inf
from pathlib import Path
from types import FunctionType
from typing import Literal

from torcctl.exits import UsageError
from torcd.protocol.errors import Refused

Command = Callable[..., int | None]
"""A verb: takes what its parameters say and `context`; returns an exit code, None for 0."""

WorkflowId = int | None
"""The optional positional `<workflow>`."""

Key = str
"""One of the keys of a command that takes many: an id or a name."""


class PlainKey(str):
    """A key that stood behind `--`: neither an option nor standard input, whatever it begins with."""


Filters = tuple[str, ...]
"""`-f/--filter key=value` after a list command."""

Detect = Literal["mtime", "content"] | None
"""How a changed file is told: by its time and size, or by its content."""

Follow = bool
"""`-f/--follow`: goes on as more is written."""

Reinitialize = bool
"""`--reinitialize`, also `--reinit`."""

FLAG_NAMES = {"Reinitialize": ("--reinitialize", "--reinit")}
"""The names of flags that have more than one."""

Switch = bool | None
"""An option with a `--no-…` form; None when neither was given."""

Source = Path
"""A file to be read, or `-` for standard input."""

NewFile = Path | None
"""`-o/--output`: a file to be written, which must not be there."""

HpcJobs = int
"""`-n/--num-hpc-jobs`: how many Slurm jobs to submit."""

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What every operation takes; all that one takes which never stops a job.

    Args:
        dry_run: Show what would change and change nothing.
        force: Go on in spite of missing inputs or files that cannot be examined.
        async_: Print the task and do not wait for it.
        wait_timeout: Wait at most so many seconds (then exit 6; the task goes on).
        expect: Apply only if the plan still has this digest.
        exit_code: With --dry-run: exit 10 when there are changes.
        explain: Show the reasons of each job.
    """

    dry_run: bool = False
    force: bool = False
    async_: bool = False
    wait_timeout: float | None = None
    expect: str | None = None
    exit_code: bool = False
    explain: bool = False


@dataclass(frozen=True, kw_only=True)
class OperationOptions(PlanOptions):
    """What an operation takes that may meet running jobs.

    Args:
        stop_live: Stop running jobs that stand in the way.
    """

    stop_live: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker on this machine may use; in a Slurm job, "all" is what that was given.

    Args:
        max_parallel_jobs: Run at most so many jobs at once, whatever they need.
        num_cpus: Processors to use; all by default.
        memory: Memory to use, as 512k, 1m, 2g; all by default.
        num_gpus: GPUs to use; none by default, in a Slurm job all.
        output_dir: Directory of the jobs' stdout and stderr.
    """

    max_parallel_jobs: int | None = None
    num_cpus: int | None = None
    memory: str | None = None
    num_gpus: int | None = None
    output_dir: str | None = None

    @property
    def memory_bytes(self) -> int | None:
        """`memory` as a number. Raises Refused."""
        return None if self.memory is None else parse_size(self.memory)

    def check(self) -> None:
        """Raises Refused for what no worker could be given; before anything is done for it."""
        _ = self.memory_bytes


@dataclass(frozen=True, kw_only=True)
class RunOptions(WorkerOptions):
    """What `run` takes besides.

    Args:
        force: Run in spite of missing inputs or files that cannot be examined.
    """

    force: bool = False


@dataclass(frozen=True, kw_only=True)
class RecoverOptions:
    """How failures are recovered.

    Args:
        memory_multiplier: Ask for so many times the memory where that ran out; 1.5 by default.
        runtime_multiplier: Ask for so many times the runtime where that ran out; 1.4 by default.
        max_memory: Never ask for more memory, as 512m, 2g; jobs at that ceiling are left as they are.
        max_runtime: Never ask for more runtime, as PT1H or 01:00:00.
        retry_unknown: Also run jobs again whose failure has no known cure, without any change.
        recovery_hook: A command for bash to run first; if it fails nothing is changed.
        no_schedule: Submit no Slurm jobs.
    """

    memory_multiplier: float | None = None
    runtime_multiplier: float | None = None
    max_memory: str | None = None
    max_runtime: str | None = None
    retry_unknown: bool = False
    recovery_hook: str | None = None
    no_schedule: bool = False


PLAN_DEFAULTS = PlanOptions()
RECOVER_DEFAULTS = RecoverOptions()
OPERATION_DEFAULTS = OperationOptions()
WORKER_DEFAULTS = WorkerOptions()
RUN_DEFAULTS = RunOptions()

SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def check_options(options: PlanOptions) -> None:
    """Raises UsageError for options that mean nothing together, or by themselves."""
    check_timeout(options.wait_timeout, "--wait-timeout")
    check_exit_code(options.exit_code, options.dry_run)
    if options.dry_run and options.async_:
        raise UsageError("--async starts a task, which --dry-run does not; leave one of them out")


def check_exit_code(exit_code: bool, dry_run: bool) -> None:
    """Raises UsageError for `--exit-code` without `--dry-run`, which alone tells whether there are changes."""
    if exit_code and not dry_run:
        raise UsageError("--exit-code is for --dry-run: it exits 10 when there would be changes")


def check_timeout(timeout_s: float | None, name: str) -> None:
    """Raises UsageError when an option is no time to wait."""
    if timeout_s is not None and not 0 <= timeout_s < inf:
        raise UsageError(f"{name}: {timeout_s:g} is no number of seconds to wait; leave it out to wait for ever")


def cut_plain_keys(function: Command, tokens: list[str]) -> tuple[list[str], list[PlainKey]]:
    """A command's tokens without what stands behind `--`, and that as keys if it takes many; else as they are."""
    assert isinstance(function, FunctionType)
    if not function.__code__.co_flags & CO_VARARGS or "--" not in tokens:
        return tokens, []
    at = tokens.index("--")
    return tokens[:at], [PlainKey(token) for token in tokens[at + 1 :]]


def parse_size(text: str) -> int:
    """The bytes of "512k", "1m", "2g" (powers of 1024). Raises Refused."""
    number = text.strip().lower().removesuffix("b")
    unit = number[-1:] if number[-1:].isalpha() else ""
    digits = number.removesuffix(unit)
    if not digits.isdecimal() or unit not in SIZES or int(digits) == 0:
        raise Refused(f"--memory: {text!r} is no memory size; write it as 512k, 1m or 2g", value=text)
    return int(digits) * SIZES[unit]


def parse_filters(filters: Filters, columns: Mapping[str, str]) -> list[tuple[str, str]]:
    """Filters as the daemon takes them; `columns` says which field stands under a heading, which is a name for it too.

    Raises UsageError, which knows what `-f json` was meant to be.
    """
    pairs = []
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals:
            hint = ""
            if text in ("json", "table"):
                hint = f"; the format stands before the noun (torcctl -f {text} …) or is written --format {text}"
            raise UsageError(f"-f after a list is a filter and {text!r} is not key=value{hint}", value=text)
        pairs.append((columns.get(key.strip(), key.strip()), value))
    return pairs
