"""Results on stdout, as tables or as one JSON document. Nothing here knows what is shown.

rich is imported on a terminal only. Without one a table is plain text in full width, whose cells are never
cut or wrapped. On one only columns of free text are wrapped, and nothing is cut either: a line that has no room for
the others is longer than the terminal is wide.
"""

import os
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from torcctl.columns import GAP, share_width
from torcctl.exits import name_of
from torcd.protocol.errors import TorcError
from torcd.protocol.visible import make_visible


def write_json(document: Any) -> None:
    """Prints one JSON document."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    sys.stdout.write(text.decode() + "\n")


def write_json_line(document: Any) -> None:
    """Prints one JSON document of a stream, on a line of its own, at once."""
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


def write_error(error: TorcError, *, as_json: bool) -> None:
    """`error: …` on stderr and, for programs, one document on stdout."""
    print(f"error: {make_visible(error.message, keeps_lines=True)}", file=sys.stderr)
    if as_json:
        data = {key: value for key, value in error.data.items() if key != "name" or value != error.name}
        write_json(
            {
                "error": {
                    "code": error.code,
                    "name": name_of(error),
                    "message": error.message,
                    "data": data,
                }
            }
        )


def cell(value: object) -> str:
    """A value as one line of text: None is empty, and control characters are made visible."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return make_visible(msgspec.json.encode(value).decode() if isinstance(value, (dict, list)) else str(value))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, free_text: Collection[str] = ()) -> None:
    """Prints rows under their columns' names. Columns of `free_text` may be wrapped to fit a terminal."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _write_rich_table(columns, cells, free_text)
    else:
        sys.stdout.write(plain_table(columns, cells))


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The text of a table, columns two spaces apart, no line longer than its cells need."""
    widths = [max(map(len, texts)) for texts in zip(columns, *rows, strict=True)]
    lines = []
    for row in (columns, *rows):
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        lines.append("  ".join(padded).rstrip() + "\n")
    return "".join(lines)


def _write_rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], free_text: Collection[str]) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    wanted = [max(map(cell_len, texts)) for texts in zip(columns, *rows, strict=True)]
    widths = share_width(wanted, [name in free_text for name in columns], shutil.get_terminal_size().columns)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for name, width in zip(columns, widths, strict=True):
        table.add_column(name, width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))  # Text: a name may hold what looks like rich's markup
    whole = sum(widths) + GAP * (len(widths) - 1)  # rich would cut what is wider than its console
    Console(width=whole).print(table)  # rich itself heeds NO_COLOR


def status_text(status: str, reason: str | None) -> str:
    """A status as people are shown it, with why where the status alone does not say it (SEMANTICS 2.4)."""
    return status if reason is None else f"{status} ({reason})"


def format_size(count: int) -> str:
    """Bytes as people read them, with three digits: 512 B, 1.46 MiB."""
    number, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:.3g} {unit}" if unit != "B" else f"{count} B"


def duration_text(seconds: float) -> str:
    """A length of time for people: 0.5 s, 42 s, 1:05, 2:03:04."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def count_of(number: int, noun: str) -> str:
    """How many, in words: 1 worker, 2 workers."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def count_jobs(count: int) -> str:
    """How many jobs, in words: 1 job, 2 jobs."""
    return count_of(count, "job")


def write_struct(answer: msgspec.Struct) -> None:
    """Prints an answer's fields, without those that only repeat `id` under its old name."""
    fields = msgspec.structs.asdict(answer)
    own = {name: value for name, value in fields.items() if not name.endswith("_key")}
    write_fields(own.items())


def write_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Prints one object as `name: value` lines."""
    for name, value in pairs:
        sys.stdout.write(f"{name}: {cell(value)}\n")
