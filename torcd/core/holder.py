"""Who holds or held a job's latest attempt: the worker's id, 0 for nobody, negative once that attempt is history.

An attempt is history when its job was reset, accepted, or canceled while it waited: nothing that it says counts then.
The one place that knows of the sign; `storage.holder` has the same in SQL.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Holder = TypeVar("Holder", int, NDArray[np.int32])


def as_history(holder: Holder) -> Holder:
    """The same worker, of an attempt that is history."""
    return -abs(holder)


def as_current(holder: Holder) -> Holder:
    """The same worker, of an attempt that tells of its job."""
    return abs(holder)


def is_history(holder: int) -> bool:
    """Whether it is of an attempt that is history."""
    return holder < 0


def is_current(holders: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which attempts tell of their jobs."""
    current: NDArray[np.bool_] = holders > 0
    return current
