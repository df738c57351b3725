"""Durations, memory sizes and walltimes as users write them, and times as Slurm prints them, as numbers.

Nothing here knows which field it reads: the caller adds the place to the message.
"""

import math
import re
from typing import NoReturn

from torcd.protocol.errors import Refused

MIB = 2**20

MAX_BYTES = 2**62
"""Larger sizes are typing errors; all below fit the integers of the database."""

MAX_SECONDS = 100 * 366 * 86400
"""A hundred years: longer durations are typing errors."""

MINUTE_S = 60

_NUMBER = r"(\d{1,12}(?:[.,]\d{1,9})?)"
_DURATION = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", re.ASCII
)
_DURATION_UNITS = (604800, 86400, 3600, 60, 1)
_CALENDAR = re.compile(r"P[\d.,]*[0-9][YM]", re.ASCII)
_MEMORY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([kmgt])(?:i?b)?", re.ASCII | re.IGNORECASE)
_MEMORY_UNITS = {"k": 2**10, "m": MIB, "g": 2**30, "t": 2**40}
_SLURM_MEMORY = re.compile(r"(\d{1,15})([KMGT]?)B?", re.ASCII | re.IGNORECASE)
_WALLTIME = re.compile(r"(?:(\d{1,5})-)?(\d{1,7}):(\d{2}):(\d{2})", re.ASCII)
_SLURM_TIME = re.compile(r"(?:(?:(\d{1,9})-)?(\d{1,9}):)?(\d{1,9}):(\d{1,9})", re.ASCII)


def parse_duration(text: str) -> float:
    """The seconds of an ISO 8601 duration of fixed length: weeks, days, hours, minutes, seconds.

    Only its last number may have a fraction. Raises Refused; years and months are refused because they
    have no fixed length.
    """
    match = _DURATION.fullmatch(text)
    numbers = [number for number in match.groups() if number is not None] if match else []
    if match is None or not numbers or any(not number.isdigit() for number in numbers[:-1]):
        _refuse_duration(text)
    seconds = 0.0
    for number, unit in zip(match.groups(), _DURATION_UNITS, strict=True):
        if number is not None:
            seconds += float(number.replace(",", ".")) * unit
    if seconds > MAX_SECONDS:
        raise Refused(f"{text!r} is longer than a hundred years", value=text)
    return seconds


def _refuse_duration(text: str) -> NoReturn:
    if _CALENDAR.match(text):
        raise Refused(
            f"{text!r}: years and months have no fixed length; write days, such as P30D"
            " (minutes stand after a T: PT5M)",
            value=text,
        )
    raise Refused(f"{text!r} is not an ISO 8601 duration; write for example PT30M, PT1H or P1DT12H", value=text)


def parse_memory(text: str) -> int:
    """The bytes of a size such as "512k", "1m", "1.5g" or "2T": binary units, in either case.

    A number without a unit is refused: some programs take it as bytes, others as megabytes.
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        hint = " (which unit?)" if text.isdigit() else ""
        raise Refused(f"{text!r} is not a memory size{hint}; write a number and k, m, g or t, such as 512m", value=text)
    number, unit = match.groups()
    whole, _, fraction = number.partition(".")
    factor = _MEMORY_UNITS[unit.lower()]
    size = int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
    if size > MAX_BYTES:
        raise Refused(f"{text!r} is more memory than any machine has", value=text)
    return size


def parse_slurm_memory(text: str) -> int:
    """The bytes of a size as Slurm's `--mem` takes it, "300M" or "8G"; without a unit it is megabytes there."""
    match = _SLURM_MEMORY.fullmatch(text)
    if match is None:
        raise Refused(f"{text!r} is no memory size of Slurm's; write a number and M, G or T, such as 16G", value=text)
    size = int(match[1]) * _MEMORY_UNITS[(match[2] or "m").lower()]
    if size > MAX_BYTES:
        raise Refused(f"{text!r} is more memory than any machine has", value=text)
    return size


def find_slurm_memory(text: str | None) -> int | None:
    """As `parse_slurm_memory`; None for what says no size, as 0 does, which asks for all that a node has."""
    try:
        return parse_slurm_memory(text or "0") or None
    except Refused:
        return None


def parse_walltime(text: str) -> int:
    """The seconds of a Slurm walltime, "HH:MM:SS" or "D-HH:MM:SS"."""
    match = _WALLTIME.fullmatch(text)
    if match is not None:
        days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
        if minutes < 60 and seconds < 60 and (match[1] is None or hours < 24):
            return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    raise Refused(
        f"{text!r} is not a walltime; write HH:MM:SS or D-HH:MM:SS, such as 04:00:00 or 2-00:00:00",
        value=text,
    )


def round_walltime(seconds: float) -> int:
    """What Slurm makes of a limit: whole minutes, rounded up."""
    return math.ceil(seconds / MINUTE_S) * MINUTE_S


def format_walltime(seconds: float) -> str:
    """A Slurm walltime, HH:MM:SS with as many hours as it takes."""
    whole = math.ceil(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def parse_time(text: str) -> float:
    """The seconds of a walltime or, without a colon, of an ISO 8601 duration."""
    return float(parse_walltime(text)) if ":" in text else parse_duration(text)


def parse_slurm_time(text: str) -> float | None:
    """The seconds of a time as Slurm's programs print it, "D-HH:MM:SS" or less of it; None for NOT_SET, INVALID and
    others. Infinite for UNLIMITED, or infinite.
    """
    word = text.strip()
    if word in ("UNLIMITED", "infinite"):
        return float("inf")
    found = _SLURM_TIME.fullmatch(word)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
