"""stdout and stderr as torcctl writes to them: whatever the characters and whatever becomes of the other end.

A character that the encoding lacks is escaped as in JSON, so that documents stay valid. What stdout cannot take is an
error of its own kind, to tell it from others; what stderr cannot take is lost, for there is nowhere to tell it.
"""

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ESCAPE = "torcctl.escape"
"""The name under which codecs know `_escape`."""


class StdoutError(OSError):
    """Standard output cannot be written: its disk is full, or its terminal gone."""


class _Stdout(io.FileIO):
    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(error.errno, error.strerror) from error


class _Stderr(io.FileIO):
    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


def open_streams() -> None:
    """Makes `sys.stdout` and `sys.stderr` such streams. One that was closed at the start keeps nothing."""
    codecs.register_error(ESCAPE, _escape)
    sys.stdout = _open(_Stdout, 1, sys.stdout)
    sys.stderr = _open(_Stderr, 2, sys.stderr)


def drop_stdout() -> None:
    """Has what is written to stdout from now on, and what waits to be, go nowhere; Python flushes it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _open(kind: type[io.FileIO], descriptor: int, former: TextIO | None) -> io.TextIOWrapper:
    if former is None:  # else the next thing that is opened, a socket perhaps, would be standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    raw = kind(descriptor, "w", closefd=False)
    encoding = "utf-8" if former is None else former.encoding
    by_lines = kind is _Stderr or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=ESCAPE, line_buffering=by_lines)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """`\\u00f6` for what cannot be encoded, and two such for what lies beyond the first plane."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end
