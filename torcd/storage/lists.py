"""The lists of every noun: pages of rows in the order of their ids (versions: newest first), filtered in SQL.

A page ends at the caller's limit or at about half a MiB, whichever comes first, so that an answer stays small
enough not to hold up an event loop.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torcd.core.status import StatusReason, find_statuses
from torcd.protocol.errors import Refused

T = TypeVar("T")
Row = tuple[Any, ...]

PAGE_BYTES = 512 * 1024
"""Where a page ends, measured by its texts."""

LAST = 2**63 - 1
"""Above every key."""

TEXT, NUMBER, STATUS, FLAG = "text", "number", "status", "flag"


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """How a noun is listed: `select` up to its WHERE, the column of its ids, what can be filtered."""

    select: str
    where: str
    key: str
    filters: dict[str, tuple[str, str]]
    """Of each filter: the SQL expression and its kind."""
    make: Callable[[Row], T]
    """Makes the struct from a row; column 0 is the key."""
    newest_first: bool = False
    """Whether keys descend; then cursor 0 stands for the beginning."""


def load_page(
    db: sqlite3.Connection,
    listing: Listing[T],
    arguments: Sequence[object],
    filters: Sequence[tuple[str, str]],
    cursor: int,
    limit: int,
) -> tuple[list[T], int | None]:
    """The rows after `cursor`, and the cursor of the next page (None: there is no more). Raises Refused."""
    after, order = ("<", "DESC") if listing.newest_first else (">", "ASC")
    start = LAST if listing.newest_first and cursor == 0 else cursor
    conditions, values = [listing.where, f"{listing.key} {after} ?"], [*arguments, start]
    for key, value in filters:
        condition, more = _condition(listing, key, value)
        conditions.append(condition)
        values += more
    sql = f"{listing.select} WHERE {' AND '.join(conditions)} ORDER BY {listing.key} {order} LIMIT ?"
    found: list[T] = []
    size, last = 0, cursor
    for row in db.execute(sql, (*values, limit + 1)):
        if len(found) == limit or size > PAGE_BYTES:
            return found, last
        found.append(listing.make(row))
        last = row[0]
        size += 200 + sum(len(value) for value in row if isinstance(value, str))
    return found, None


def _condition(listing: Listing[T], key: str, value: str) -> tuple[str, list[object]]:
    known = listing.filters.get(key)
    if known is None:
        raise Refused(
            f"there is no filter {key!r}: use one of {', '.join(sorted(listing.filters))}",
            field="filter",
            value=key,
            known=sorted(listing.filters),
        )
    expression, kind = known
    if kind == STATUS:
        statuses = find_statuses(value)
        return f"{expression} IN ({', '.join('?' * len(statuses))})", list(statuses)
    if value.lower() in {"null", "none"}:
        return f"{expression} IS NULL", []
    if kind == NUMBER:
        return f"{expression} = ?", [_number(key, value)]
    if kind == FLAG:
        if value.lower() not in {"true", "false", "0", "1"}:
            raise Refused(f"filter {key}: {value!r} is neither true nor false", field=key, value=value)
        return f"{expression} = ?", [int(value.lower() in {"true", "1"})]
    return f"{expression} = ?", [value]


def _number(key: str, value: str) -> int | float:
    try:
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 2**63 else number
    except (ValueError, OverflowError) as error:
        raise Refused(f"filter {key}: {value!r} is not a number", field=key, value=value) from error


def reason_filter(column: str) -> str:
    """SQL that gives the name of a stored status reason."""
    cases = " ".join(f"WHEN {reason.value} THEN '{reason.name.lower()}'" for reason in StatusReason if reason)
    return f"CASE {column} {cases} END"
