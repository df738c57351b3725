"""What groups of attempts used, and what to ask for instead."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torcd.protocol.resource_report import Proposed, Spread, Used
from torcd.protocol.units import MIB

Floats = NDArray[np.float64]

MEMORY_RESERVE = 1.2
RUNTIME_RESERVE = 1.4
"""Times the most that was seen: runs differ, and too little costs an attempt."""

SIGNIFICANT_BITS = 5
"""Proposed sizes are rounded up to so many: a proposal of 1,287,651,328 bytes would claim to know better."""

LEAST_RUN_S = 1.0
"""Of shorter attempts the processors are not told: they mostly start."""

CPU_TOLERANCE = 0.1
"""Such a part of a processor, on average, is no reason to ask for one more."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Columns over attempts; not a number: not known."""

    group: NDArray[np.int64]
    exec_time_s: Floats
    peak_memory_bytes: Floats
    cpu_seconds: Floats


NOTHING = Used(peak_memory_bytes=None, runtime_s=None, cpus=None)


def summarize(attempts: Attempts) -> dict[int, tuple[int, Used]]:
    """Of each group, how many attempts it has and what they used."""
    long_enough = attempts.exec_time_s >= LEAST_RUN_S
    cpus = np.where(long_enough, attempts.cpu_seconds / np.where(long_enough, attempts.exec_time_s, 1.0), np.nan)
    memory, runtime, processors = (
        _spread(attempts.group, column) for column in (attempts.peak_memory_bytes, attempts.exec_time_s, cpus)
    )
    groups, counts = np.unique(attempts.group, return_counts=True)
    return {
        group: (
            count,
            Used(peak_memory_bytes=memory.get(group), runtime_s=runtime.get(group), cpus=processors.get(group)),
        )
        for group, count in zip(groups.tolist(), counts.tolist(), strict=True)
    }


def _spread(group: NDArray[np.int64], values: Floats) -> dict[int, Spread]:
    """Of each group of which values are known; all groups at once, for most jobs have but one attempt."""
    known = np.flatnonzero(~np.isnan(values))
    known = known[np.lexsort((values[known], group[known]))]
    groups, starts, counts = np.unique(group[known], return_index=True, return_counts=True)
    ordered, places = values[known], starts + (95 * counts + 99) // 100 - 1
    columns = (groups, ordered[starts + counts - 1], ordered[places])
    return {
        each: Spread(max=most, p95=p95)
        for each, most, p95 in zip(*(column.tolist() for column in columns), strict=True)
    }


def propose(used: Used) -> Proposed:
    """What would have been enough for the greatest of the attempts, with some to spare."""
    memory, runtime, cpus = used.peak_memory_bytes, used.runtime_s, used.cpus
    return Proposed(
        memory_bytes=None if memory is None else _round_size(memory.max * MEMORY_RESERVE),
        runtime_s=None if runtime is None else max(math.ceil(runtime.max * RUNTIME_RESERVE / 60), 1) * 60,
        num_cpus=None if cpus is None else max(math.ceil(cpus.max - CPU_TOLERANCE), 1),
    )


def _round_size(size: float) -> int:
    """Up to few significant bits, and to whole MiB."""
    whole = math.ceil(size)
    step = max(MIB, 1 << max(whole.bit_length() - SIGNIFICANT_BITS, 0))
    return -(-whole // step) * step
