"""The wall clock, for what users see. Nothing is decided by it."""

import time


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
