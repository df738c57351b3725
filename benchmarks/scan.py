"""How fast many files are looked at, beside a C loop of stat, and how late the event loop is meanwhile."""

import tempfile
import time
from pathlib import Path

import trio

from benchmarks.c_stat import compile_floor, measure_floor
from benchmarks.table import Row, median, percentile, print_table
from torcd.files.scan import Observed, Paths, Scanner, scan_now

REPEATS = 5
TICK_S = 0.001


def make_tree(root: Path, size: int) -> list[str]:
    """Creates `size` empty files, a hundred in each directory."""
    names = []
    for first in range(0, size, 100):
        directory = root / f"some/depth/d{first // 100:05}"
        directory.mkdir(parents=True)
        for place in range(first, min(first + 100, size)):
            name = f"{directory}/file_{place:07}.dat"
            open(name, "w").close()
            names.append(name)
    return names


async def tick(stalls: list[float], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Notes how much later than asked each wake-up comes."""
    task_status.started()
    while True:
        asked = trio.current_time() + TICK_S
        await trio.sleep_until(asked)
        stalls.append(trio.current_time() - asked)


async def measure_scanner(paths: Paths) -> tuple[float, list[float], list[float], Observed]:
    """Seconds of the first scan and of later ones, and the loop's delays during the later ones."""
    scanner = Scanner()
    times: list[float] = []
    stalls: list[float] = []
    try:
        async with trio.open_nursery() as nursery:
            for place in range(1 + REPEATS):
                if place == 1:
                    await nursery.start(tick, stalls)
                began = time.perf_counter()
                observed = await scanner.scan("benchmark", paths)
                times.append(time.perf_counter() - began)
            nursery.cancel_scope.cancel()
    finally:
        await scanner.aclose()
    return times[0], times[1:], stalls, observed


def main(size: int = 201_000) -> None:
    """Prints the table for `size` files."""
    with tempfile.TemporaryDirectory(prefix="torc-scan-") as temporary:
        root = Path(temporary)
        names = make_tree(root, size)
        paths = Paths.from_strings(names)
        began = time.perf_counter()
        expected = scan_now(paths)
        plain = time.perf_counter() - began
        first, later, stalls, observed = trio.run(measure_scanner, paths)
        same = (observed.size == expected.size).all() and (observed.mtime_ns == expected.mtime_ns).all()
        if not same:
            raise SystemExit("the scanner and the plain loop disagree")
        program = compile_floor(root)
        if program is not None:
            names_once = list(names)
            floors = {threads: median(measure_floor(program, names_once, threads=threads)) for threads in (1, 2)}
    per_file = 1e6 / size
    rows = [Row("plain os.stat loop, one thread", plain * per_file, "µs/file")]
    for question, seconds in (("first scan, helpers started", first), ("scan", median(later))):
        if program is None:
            rows.append(Row(question, seconds * per_file, "µs/file"))
            continue
        for threads, target in ((1, 1.2), (2, None)):
            beside = f"C, {threads} thread" + "s" * (threads > 1)
            rows.append(Row(question, seconds * per_file, "µs/file", beside, floors[threads] * per_file, target))
    rows.append(Row("event loop late, p99", percentile(stalls, 0.99) * 1e3, "ms", target=5))
    rows.append(Row("event loop late, most", max(stalls) * 1e3, "ms", target=50))
    print_table(f"Scan of {size} files", rows)


if __name__ == "__main__":
    main()
