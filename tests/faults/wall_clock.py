"""A wall clock that the harness can set for the processes it starts, where a C compiler is there."""

import mmap
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")


class WallClock:
    """The offset of the wall clock of every process that was started with `environ`."""

    def __init__(self, directory: Path) -> None:
        self.environ: dict[str, str] = {}
        """What makes a process go by this clock; empty where there is no compiler."""
        offset = directory / "wall-clock"
        offset.write_bytes(bytes(8))
        with offset.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is not None:
            shim = directory / "clock_shim.so"
            subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, SOURCE, "-ldl"], check=True)
            self.environ = {"LD_PRELOAD": str(shim), "FAULTS_CLOCK": str(offset)}

    @property
    def is_settable(self) -> bool:
        """Whether steps have an effect."""
        return bool(self.environ)

    def set(self, offset_s: int) -> None:
        """Sets the clock so many seconds ahead of the true one; at once, for all of these processes."""
        self._page[:] = offset_s.to_bytes(8, "little", signed=True)
