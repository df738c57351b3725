"""A disk that fails when a test wants it: a library for LD_PRELOAD, compiled from `disk_faults.c`."""

import errno
import mmap
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ALL = 255
"""All calls fail, until `heal`."""

LOG, JOURNAL, DATABASE = 1, 2, 3
"""Which file is meant."""


class FaultySwitch:
    """What fails of the disk, in all processes that have the library: see `disk_faults.c`."""

    def __init__(self, control: Path) -> None:
        with control.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 4096)

    def fail(
        self, *, writes: int = 0, syncs: int = 0, reads: int = 0, error: int = errno.EIO, which: int = 0, after: int = 0
    ) -> None:
        """So many of the next calls of each kind fail, on files that are meant, but for the first `after`."""
        self._bytes[3:6] = bytes([error, which, after])
        self._bytes[:3] = bytes([writes, syncs, reads])

    def heal(self) -> None:
        """Nothing fails any more."""
        self._bytes[:6] = bytes(6)


class FaultyDisk(FaultySwitch):
    """The library, and the switch. Skips the test where there is no C compiler."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("there is no C compiler to make the library of faults with")
        library, control = directory / "disk_faults.so", directory / "faults"
        source = Path(__file__).with_name("disk_faults.c")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("the library of faults cannot be compiled")
        control.write_bytes(bytes(4096))
        self.environ = {"LD_PRELOAD": str(library), "TORC_TEST_FAULTS": str(control)}
        """For the processes whose disk is to fail."""
        super().__init__(control)

    @classmethod
    def of_this_process(cls) -> FaultySwitch:
        """The switch, for a process that has the library."""
        return FaultySwitch(Path(os.environ["TORC_TEST_FAULTS"]))
