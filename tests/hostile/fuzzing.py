"""How long the fuzzers go on.

By default each takes a few seconds, with the same examples every time. `make fuzz` sets TORC_FUZZ to the number by
which that is multiplied, and then the examples are new ones each time.
"""

import os

from hypothesis import HealthCheck, Phase, settings

FACTOR = int(os.environ.get("TORC_FUZZ", "0"))


def fuzzing(examples: int) -> settings:
    """Settings of a fuzzer. What it drives keeps a state, so that its examples cannot be made smaller one by one."""
    return settings(
        max_examples=examples * max(1, FACTOR),
        deadline=None,
        database=None,
        derandomize=not FACTOR,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
