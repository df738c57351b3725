"""Diagnoses as text: a line for each job that failed, with what speaks for the finding and what is changed."""

from typing import Any

from torcctl import output
from torcctl.output import count_of, duration_text
from torcctl.plans import size_text
from torcd.protocol.recover import Diagnosed

COLUMNS = ("id", "name", "diagnosis", "evidence", "change", "recovers")

WHY_NOT = {
    "unknown_cause": "no: unknown cause",
    "at_ceiling": "no: at the ceiling",
    "no_request": "no: it asked for nothing that could be raised",
}

SIGNALS = {6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM", 24: "SIGXCPU"}


def write_diagnoses(diagnoses: list[Diagnosed]) -> None:
    """Prints a table of what was found out about each job."""
    rows = [
        (each.id, each.name, each.kind, evidence_text(each.evidence), change_text(each), _verdict(each))
        for each in diagnoses
    ]
    output.write_table(COLUMNS, rows, free_text=["name", "evidence", "change", "recovers"])


def _verdict(diagnosed: Diagnosed) -> str:
    return "yes" if diagnosed.recoverable else WHY_NOT.get(diagnosed.why or "", f"no: {diagnosed.why}")


def change_text(diagnosed: Diagnosed) -> str:
    """What a job asks for now and will ask for: `memory 1 GiB → 1.5 GiB`."""
    parts = []
    for field, change in diagnosed.adjustments.items():
        name, text = ("memory", _size) if field == "memory_bytes" else ("runtime", duration_text)
        parts.append(f"{name} {text(change['from']) if change['from'] else 'none'} → {text(change['to'])}")
    return ", ".join(parts)


def evidence_text(evidence: dict[str, Any]) -> str:
    """What speaks for a finding, in words; what this client does not know is left out."""
    parts = []
    if (reason := evidence.get("status_reason")) is not None:
        parts.append(str(reason))
    if (signal := evidence.get("signal")) is not None:
        parts.append(SIGNALS.get(signal, f"signal {signal}"))
    elif (code := evidence.get("return_code")) is not None:
        parts.append(f"exit {code}")
    if (peak := evidence.get("peak_memory_bytes")) is not None:
        asked = evidence.get("memory_bytes")
        parts.append(f"used {_size(peak)}" + (f" of {_size(asked)}" if asked else ""))
    if seconds := evidence.get("exec_time_s"):
        asked = evidence.get("runtime_s")
        parts.append(f"ran {duration_text(seconds)}" + (f" of {duration_text(asked)}" if asked else ""))
    if (state := evidence.get("slurm_state")) is not None:
        parts.append(f"allocation {evidence.get('allocation_id')}: {state}")
    if (walltime_s := evidence.get("walltime_s")) is not None:
        parts.append(f"with a walltime of {duration_text(walltime_s)}")
    if (together := evidence.get("lost_together")) is not None:
        parts.append(f"lost together with {count_of(together - 1, 'other job')}")
    if (memory := evidence.get("worker_memory_bytes")) is not None:
        parts.append(f"its worker had {_size(memory)}")
    if (line := evidence.get("slurm_log")) is not None:
        parts.append(f"Slurm: {line}")
    if (line := evidence.get("stderr")) is not None:
        parts.append(f"stderr: {line}")
    return "; ".join(parts)


def _size(count: float) -> str:
    return size_text(int(count))
