"""The batch script of an allocation: what it asks of Slurm, and the workers that it starts. Pure.

Everything stands in the script, so that a user can read it, and submit it by hand. Options of sbatch come in this
order, of which the later ones win: `slurm_defaults`, the scheduler's own fields, its `extra`, what torcd needs.
"""

import shlex
from itertools import pairwise
from typing import Any

import msgspec

from torcd.core.allocations import find_log
from torcd.protocol.errors import Refused
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import parse_walltime

SRUN = (
    "srun --overlap --nodes=$SLURM_JOB_NUM_NODES --ntasks=$SLURM_JOB_NUM_NODES --ntasks-per-node=1 --mem=0"
    " --cpus-per-task=$SLURM_CPUS_ON_NODE --kill-on-bad-exit=0 --wait=0"
)
"""One worker a node, each with all of it; one that ends leaves the others alone."""

FIELDS = {"nodes": "nodes", "time": "walltime"}
"""Options that torcd has to know the values of: a scheduler's fields give them, and `extra` must not."""

OURS = ("clusters", "job-name", "output", "error", "array", "wrap", "wait", "test-only", "parsable", "open-mode")
"""Options that torcd sets, or that would keep it from following the allocation."""

SHORT = {
    "J": "job-name", "o": "output", "e": "error", "a": "array", "W": "wait", "A": "account", "p": "partition",
    "N": "nodes", "t": "time", "q": "qos", "n": "ntasks", "c": "cpus-per-task", "s": "oversubscribe", "C": "constraint",
    "x": "exclude", "w": "nodelist", "L": "licenses", "G": "gpus", "D": "chdir", "d": "dependency", "H": "hold",
    "b": "begin", "M": "clusters",
}  # fmt: skip

SPECIFIC = ("nodes", "time", "walltime", "name")
"""Options that a default for all schedulers must not set: each scheduler has its own."""

SHARES_NODES = ("exclusive", "cpus-per-task", "oversubscribe", "ntasks", "ntasks-per-node", "ntasks-per-core",
                "ntasks-per-socket", "ntasks-per-gpu")  # fmt: skip
"""Options by which a user says how much of a node is wanted; without one of them it is all of it."""

MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a script is made of."""

    workflow_id: int
    allocation_id: int
    job_name: str
    scheduler: SlurmSchedulerSpec
    defaults: dict[str, Any]
    max_parallel_jobs: int | None
    output_dir: str
    connection_file: str
    database: str
    socket: str
    python: str


def make_script(plan: Plan) -> str:
    """The script. Raises Refused for an option that is torcd's own, or that is none."""
    options = [*find_options(plan.scheduler, plan.defaults), *_own_options(plan)]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), ""]
    lines += [
        f"export TORC_ALLOCATION_ID={plan.allocation_id}",
        f"export TORC_WALLTIME_S={parse_walltime(plan.scheduler.walltime)}",
        f"export TORCD_CONNECTION_FILE={shlex.quote(plan.connection_file)}",
        f"export TORCD_DATABASE={shlex.quote(plan.database)}",
        f"export TORCD_SOCKET={shlex.quote(plan.socket)}",
        "export TORC_NO_AUTOSTART=1",
    ]
    return "\n".join([*lines, _start(plan), ""])


def _start(plan: Plan) -> str:
    words = [plan.python, "-m", "torcctl", "worker", str(plan.workflow_id)]
    if plan.max_parallel_jobs is not None:
        words += ["--max-parallel-jobs", str(plan.max_parallel_jobs)]
    worker = shlex.join(words)
    return f"exec {worker}" if plan.scheduler.nodes == 1 else f"exec {SRUN} {worker}"


def find_options(scheduler: SlurmSchedulerSpec, defaults: dict[str, Any]) -> list[str]:
    """What a scheduler asks for. Raises Refused."""
    extra = _split(scheduler.extra or "")
    given = _find_given(scheduler, defaults)
    chosen = {*given, *(_name_of(word) for word in extra if word.startswith("-"))}
    for name in chosen:
        if any(each.startswith(name) for each in OURS):  # sbatch takes the beginning of a name for the whole
            raise Refused(f"Slurm's option --{name} is set by torcd itself: leave it out", option=name)
    for word in extra:
        if word.startswith("-") and (field := FIELDS.get(_name_of(word))):
            raise Refused(f"extra: {word!r} is given as `{field}` of the scheduler", value=word)
    if not chosen.intersection(SHARES_NODES):
        given["exclusive"] = ""
        if not chosen.intersection(MEMORY):
            given["mem"] = "0"
    options = [f"--{name}={quote(value)}" if value else f"--{name}" for name, value in given.items()]
    return options + ([" ".join(quote(word) for word in extra)] if extra else [])


def read_options(scheduler: SlurmSchedulerSpec, defaults: dict[str, Any]) -> dict[str, str]:
    """The values of all that a scheduler asks for, by long name; an option without one has "". Raises Refused."""
    found = _find_given(scheduler, defaults)
    for word, following in pairwise([*_split(scheduler.extra or ""), "-"]):
        if not word.startswith("-"):
            continue
        value = word.partition("=")[2] if word.startswith("--") else word[2:]
        found[_name_of(word)] = value or ("" if following.startswith("-") else following)
    return found


def fixes_memory(scheduler: SlurmSchedulerSpec) -> bool:
    """Whether its `extra` says how much memory, so that no other field does. Raises Refused."""
    return any(word.startswith("-") and _name_of(word) in MEMORY for word in _split(scheduler.extra or ""))


def find_partitions(scheduler: SlurmSchedulerSpec, defaults: dict[str, Any]) -> list[str]:
    """Those it may run in; none: Slurm's default one. Raises Refused."""
    return [name for name in read_options(scheduler, defaults).get("partition", "").split(",") if name]


def _find_given(scheduler: SlurmSchedulerSpec, defaults: dict[str, Any]) -> dict[str, str]:
    """The options of the defaults and of the scheduler's fields, which exclude other ways to say the same."""
    fields = _own_fields(scheduler)
    excluded = MEMORY if "mem" in fields else ()
    return {**{name: value for name, value in _read_defaults(defaults).items() if name not in excluded}, **fields}


def _read_defaults(defaults: dict[str, Any]) -> dict[str, str]:
    given = {}
    for key, value in defaults.items():
        plain = key.lstrip("-")
        name = SHORT.get(plain, plain).replace("_", "-")
        if name in SPECIFIC:
            raise Refused(f"slurm_defaults.{key}: give it to each of slurm_schedulers, not to all of them", field=key)
        if not name or not all(part.isalnum() for part in name.split("-")):
            raise Refused(f"slurm_defaults.{key}: is no option of sbatch", field=key)
        if value is None or value is False:
            continue
        if isinstance(value, list | dict):
            raise Refused(f"slurm_defaults.{key}: must be a text or a number, or true for an option without", field=key)
        given[name] = "" if value is True else str(value)
    return given


def _own_fields(scheduler: SlurmSchedulerSpec) -> dict[str, str]:
    fields = {
        "account": scheduler.account,
        "partition": scheduler.partition,
        "nodes": str(scheduler.nodes),
        "time": scheduler.walltime,
        "mem": scheduler.mem,
        "gres": scheduler.gres,
        "qos": scheduler.qos,
        "ntasks-per-node": None if scheduler.ntasks_per_node is None else str(scheduler.ntasks_per_node),
        "tmp": scheduler.tmp,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _own_options(plan: Plan) -> list[str]:
    log = find_log(plan.output_dir, plan.allocation_id).replace("%", "%%")
    return [
        f"--job-name={plan.job_name}",
        f"--output={quote(log + '.o')}",
        f"--error={quote(log + '.e')}",
        "--open-mode=append",
    ]


def _split(extra: str) -> list[str]:
    try:
        return shlex.split(extra)
    except ValueError as error:
        raise Refused(f"extra: {extra!r} is no list of options: {error}", value=extra) from error


def _name_of(word: str) -> str:
    """The long name of an option as it stands on a command line."""
    if word.startswith("--"):
        return word[2:].partition("=")[0]
    return SHORT.get(word[1:2], word[1:2])


def quote(value: str) -> str:
    """A value as sbatch reads it in a script. Raises Refused for one that would end the line."""
    if not value.isprintable():
        raise Refused(f"{value!r}: what is handed to Slurm must not hold line breaks or control characters")
    if value and all(char.isalnum() or char in "-_=,.:/+@%[]()*" for char in value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
