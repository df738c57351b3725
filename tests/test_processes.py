"""How the daemon ends what workers left behind; that it does so is shown in `actors/test_stops.py`."""

import pytest
import trio

from torcd import processes
from torcd.processes import JobProcesses


async def test_what_hangs_in_the_kernel_is_looked_at_more_and_more_rarely(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Each look reads all of /proc, and a dead file server may hold a process for days."""
    looks = 0

    def look() -> dict[str, list[int]]:
        nonlocal looks
        looks += 1
        return {"mark": [7]} if trio.from_thread.run_sync(trio.current_time) < 600 else {}

    monkeypatch.setattr(processes, "find_marked", look)
    monkeypatch.setattr(processes, "_kill", lambda pid, mark: None)
    assert await JobProcesses().end("mark") == 1
    assert looks < 150
