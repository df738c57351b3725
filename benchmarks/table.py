"""Results as a Markdown table: what was measured, beside what, and whether the target is met."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One answer. `target` is the most `ratio` (or, without a peer, `value`) may be."""

    question: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    target: float | None = None
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        return measured >= self.target if self.at_least else measured <= self.target

    def cells(self) -> list[str]:
        """The row's text, column by column."""
        sign = "≥" if self.at_least else "≤"
        goal = "" if self.target is None else f"{sign} {self.target:g}" + (" ×" if self.peer else f" {self.unit}")
        return [
            self.question,
            f"{self.value:.4g} {self.unit}",
            self.peer,
            "" if self.peer_value is None else f"{self.peer_value:.4g} {self.unit}",
            "" if self.ratio is None else f"{self.ratio:.2f} ×",
            goal,
            {None: "", True: "met", False: "**missed**"}[self.is_met],
        ]


HEAD = ["question", "torc", "beside", "took", "ratio", "target", ""]


def print_table(title: str, rows: list[Row], *notes: str) -> None:
    """Prints rows, padded so that the table is readable as text too."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    print(f"\n### {title}\n")
    for place, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if place == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for note in notes:
        print(f"\n{note}")
    print(flush=True)


def percentile(values: list[float], part: float) -> float:
    """The value below which `part` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


__all__ = ["Row", "median", "percentile", "print_table"]
