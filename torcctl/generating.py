"""`slurm generate`: proposes a specification's `slurm_schedulers` for the cluster at hand; changes no file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.partitions import load_partitions
from torcctl.sizing import Need, Sized, choose
from torcctl.specification import load_specification
from torcd.protocol.errors import Refused
from torcd.protocol.specification import ResourceRequirementsSpec
from torcd.protocol.units import parse_duration, parse_memory

if TYPE_CHECKING:
    from torcd.protocol.specification import WorkflowSpec


def generate_schedulers(
    path: Path, environ: Mapping[str, str], *, account: str | None, partition: str | None, single: bool
) -> dict[str, list[dict[str, Any]]]:
    """The schedulers, and which of them each resource requirement goes with. Raises Refused and Unavailable."""
    needs = find_needs(load_specification(path).spec)
    if not needs:
        raise Refused(f"{path} has no jobs: there is nothing to schedule nodes for")
    kinds = load_partitions(environ)
    names = sorted({kind.partition for kind in kinds})
    if partition is not None:
        kinds = [kind for kind in kinds if kind.partition == partition]
        if not kinds:
            raise Refused(f"no partition {partition!r} is up; there are: {', '.join(names)}", partition=partition)
    return _describe(choose(needs, kinds, single=single), account)


def find_needs(spec: "WorkflowSpec") -> list[Need]:
    """What the jobs need, each requirement once, in the order of the jobs. Raises Refused."""
    known = {each.name: each for each in spec.resource_requirements}
    needs: dict[str | None, Need] = {}
    for job in spec.jobs:
        name = job.resource_requirements
        if name not in needs:
            if name is not None and name not in known:
                raise Refused(f"job {job.name!r}: there are no resource requirements {name!r}", value=name)
            needs[name] = _parse(name, ResourceRequirementsSpec(name="") if name is None else known[name])
    return list(needs.values())


def _parse(name: str | None, spec: ResourceRequirementsSpec) -> Need:
    if spec.num_nodes != 1:
        raise Refused(f"{name!r} needs {spec.num_nodes} nodes: write its scheduler by hand", value=spec.num_nodes)
    if spec.num_cpus < 1 or spec.num_gpus < 0:
        raise Refused(f"{name!r}: num_cpus must be at least 1 and num_gpus at least 0", resource_requirements=name)
    try:
        memory_bytes, runtime_s = parse_memory(spec.memory), parse_duration(spec.runtime)
    except Refused as error:
        raise Refused(f"{name!r}: {error.message}", resource_requirements=name) from error
    if not runtime_s:
        raise Refused(f"{name!r}: its runtime is zero", resource_requirements=name)
    return Need(
        name=name, num_cpus=spec.num_cpus, memory_bytes=memory_bytes, num_gpus=spec.num_gpus, runtime_s=runtime_s
    )


def _describe(chosen: Sequence[Sized], account: str | None) -> dict[str, list[dict[str, Any]]]:
    schedulers, requirements = [], []
    for sized in chosen:
        node = sized.node
        name = f"{node.partition}_gpu" if any(need.num_gpus for need in sized.needs) else node.partition
        fields: dict[str, Any] = {"name": name, "account": account, "partition": node.partition, "nodes": 1}
        fields["walltime"] = format_walltime(sized.walltime_s)
        if name != node.partition:
            fields["gres"] = f"gpu:{node.num_gpus}"
        schedulers.append({key: value for key, value in fields.items() if value is not None})
        for need, count in zip(sized.needs, sized.jobs_per_node, strict=True):
            requirements.append({"name": need.name, "scheduler": name, "jobs_per_node": count})
    return {"slurm_schedulers": schedulers, "requirements": requirements}


def format_walltime(seconds: float) -> str:
    """Slurm's HH:MM:SS, with as many hours as it takes."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def yaml_block(answer: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The schedulers as YAML to be pasted into a specification."""
    lines = ["slurm_schedulers:"]
    for scheduler in answer["slurm_schedulers"]:
        for index, (key, value) in enumerate(scheduler.items()):
            lines.append(f"  {'-' if index == 0 else ' '} {key}: {_quote(value)}")
    for each in answer["requirements"]:
        whose = "jobs without resource_requirements" if each["name"] is None else f"jobs of {_quote(each['name'])}"
        lines.append(f"# {whose}: scheduler: {_quote(each['scheduler'])}, {each['jobs_per_node']} at once on a node")
    return "\n".join(lines) + "\n"


def _quote(value: object) -> str:
    return msgspec.json.encode(value).decode()
