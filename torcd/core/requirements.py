"""Checks what a specification's header says: resource requirements, Slurm schedulers, features."""

from torcd.core.expansion import NewRequirement
from torcd.core.problems import Problems
from torcd.protocol.depth import MAX_DEPTH, is_too_deep
from torcd.protocol.errors import Refused
from torcd.protocol.specification import Header, ResourceRequirementsSpec, SlurmSchedulerSpec
from torcd.protocol.units import parse_duration, parse_memory, parse_walltime

MAX_COUNT = 2**31 - 1
"""Counts of processors, devices and nodes stay within 32 bits."""


def is_bad_name(name: str) -> bool:
    """Whether a name is empty or would break a list with one name a line."""
    return not name or "\n" in name or "\r" in name or "\0" in name


BAD_NAME = "a name must not be empty and must not hold a line break or NUL"


def check_name(where: str, name: str, names: set[str], plural: str, problems: Problems) -> None:
    """Notes a bad name, and one that is among `names` already; adds it to them."""
    if is_bad_name(name):
        problems.add(f"{where}.name", name, BAD_NAME)
    elif name in names:
        problems.add(f"{where}.name", name, f"there are two {plural} named {name!r}")
    names.add(name)


def check_env(env: dict[str, str], where: str, problems: Problems) -> None:
    """Notes variables that no process can be given; `where` is the path of their mapping."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            problems.add(f"{where}.{name}", name, f"{name!r} is no name for an environment variable")
        elif "\0" in value:
            problems.add(f"{where}.{name}", value, "the value of a variable must not hold NUL")


def check_header(header: Header, problems: Problems) -> None:
    """Notes what is wrong in a header, apart from its requirements, parameters, failure handlers and actions."""
    if is_bad_name(header.name):
        problems.add("name", header.name, BAD_NAME)
    for field, value in (("metadata", header.metadata), ("slurm_defaults", header.slurm_defaults)):
        if is_too_deep(value):
            problems.add(field, None, f"nested more than {MAX_DEPTH} deep")
    names: set[str] = set()
    for index, scheduler in enumerate(header.slurm_schedulers):
        _check_scheduler(scheduler, f"slurm_schedulers[{index}]", names, problems)


def _check_scheduler(scheduler: SlurmSchedulerSpec, where: str, names: set[str], problems: Problems) -> None:
    if scheduler.name is not None:
        check_name(where, scheduler.name, names, "schedulers", problems)
    try:
        if parse_walltime(scheduler.walltime) == 0:
            problems.add(f"{where}.walltime", scheduler.walltime, "the walltime is zero")
    except Refused as error:
        problems.add(f"{where}.walltime", scheduler.walltime, error.message)
    check_count(f"{where}.nodes", scheduler.nodes, 1, problems)
    if scheduler.ntasks_per_node is not None:
        check_count(f"{where}.ntasks_per_node", scheduler.ntasks_per_node, 1, problems)


def check_count(where: str, value: int, least: int, problems: Problems) -> None:
    """Notes a number that is smaller than `least`, or too large."""
    if value < least:
        problems.add(where, value, f"{value} is too small; it must be at least {least}")
    elif value > MAX_COUNT:
        problems.add(where, value, f"{value} is too large")


def parse_requirements(specs: list[ResourceRequirementsSpec], problems: Problems) -> list[NewRequirement]:
    """The requirements with their units resolved. An entry with a problem is noted and has zeros."""
    names: set[str] = set()
    requirements = []
    for index, spec in enumerate(specs):
        where = f"resource_requirements[{index}]"
        check_name(where, spec.name, names, "resource requirements", problems)
        check_count(f"{where}.num_cpus", spec.num_cpus, 1, problems)
        check_count(f"{where}.num_gpus", spec.num_gpus, 0, problems)
        check_count(f"{where}.num_nodes", spec.num_nodes, 1, problems)
        requirements.append(
            NewRequirement(
                name=spec.name,
                num_cpus=spec.num_cpus,
                memory_bytes=_parse_memory(spec.memory, f"{where}.memory", problems),
                num_gpus=spec.num_gpus,
                num_nodes=spec.num_nodes,
                runtime_s=_parse_runtime(spec.runtime, f"{where}.runtime", problems),
            )
        )
    return requirements


def _parse_memory(text: str, where: str, problems: Problems) -> int:
    try:
        return parse_memory(text)
    except Refused as error:
        problems.add(where, text, error.message)
        return 0


def _parse_runtime(text: str, where: str, problems: Problems) -> float:
    try:
        runtime_s = parse_duration(text)
    except Refused as error:
        problems.add(where, text, error.message)
        return 0
    if runtime_s == 0:
        problems.add(where, text, "a runtime of zero would stop every job at once")
    return runtime_s
