"""Durations, memory sizes and walltimes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.protocol.errors import Refused
from torcd.protocol.units import (
    find_slurm_memory,
    parse_duration,
    parse_memory,
    parse_slurm_memory,
    parse_slurm_time,
    parse_walltime,
    round_walltime,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1H", 3600),
        ("P1DT2H30M", 95400),
        ("P0DT1H", 3600),
        ("P2W", 1209600),
        ("PT90S", 90),
        ("PT0.5H", 1800),
        ("PT1,5M", 90),
        ("PT0S", 0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    """SEMANTICS 3.1"""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1DT", "1H", "PT1", "PT1H ", "pt1h", "PT-1H", "PT1.5H30M", "PT1M1H", "P999999D", "04:00:00"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused):
        parse_duration(text)


@pytest.mark.parametrize("text", ["P1Y", "P1M", "P1Y2M3D"])
def test_years_and_months_are_refused_because_their_length_varies(text: str) -> None:
    with pytest.raises(Refused, match="no fixed length"):
        parse_duration(text)


@given(st.integers(0, 999), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_the_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}S") == total


@pytest.mark.parametrize(
    ("text", "size"),
    [("512k", 524288), ("1m", 2**20), ("2g", 2**31), ("1t", 2**40), ("2G", 2**31), ("1.5g", 3 * 2**29), ("4gb", 2**32),
     ("4GiB", 2**32), ("0m", 0)],
)  # fmt: skip
def test_a_memory_size_is_read_in_binary_units(text: str, size: int) -> None:
    """SEMANTICS 3.1"""
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1m", "1x", "1 000m", "1e3m", "9999999999t", "1mm"])
def test_what_is_no_memory_size_is_refused(text: str) -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused):
        parse_memory(text)


def test_memory_without_a_unit_is_refused_as_ambiguous() -> None:
    with pytest.raises(Refused, match="which unit"):
        parse_memory("2000")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("04:00:00", 14400), ("00:30:15", 1815), ("100:00:00", 360000), ("2-00:00:00", 172800), ("1-12:30:00", 131400)],
)
def test_a_walltime_is_read_as_seconds(text: str, seconds: int) -> None:
    """SEMANTICS 3.1"""
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "04:00", "04:60:00", "04:00:61", "1-24:00:00", "-1:00:00", "PT1H", "4:0:0"])
def test_what_is_no_walltime_is_refused(text: str) -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused):
        parse_walltime(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:59", 59.0), ("10:00", 600.0), ("1:00:00", 3600.0), ("2-03:04:05", 183845.0),
        ("UNLIMITED\n", float("inf")), ("infinite", float("inf")),
        ("NOT_SET", None), ("INVALID", None), ("", None), ("-1:00", None), ("9" * 400 + ":00", None),
    ],
)  # fmt: skip
def test_what_slurm_prints_as_a_time(text: str, seconds: float | None) -> None:
    assert parse_slurm_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("300", 300 * 2**20), ("300M", 300 * 2**20), ("8g", 2**33), ("1TB", 2**40), ("512K", 2**19), ("0", 0)],
)
def test_a_size_of_slurms_is_megabytes_unless_it_says_otherwise(text: str, size: int) -> None:
    assert parse_slurm_memory(text) == size
    assert find_slurm_memory(text) == (size or None), "0 asks for all that there is"


@pytest.mark.parametrize("text", ["", "1.5G", "8 G", "8Gi", "-1", "lots", "9999999T", "١"])
def test_what_slurm_would_not_take_for_a_size_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_slurm_memory(text)
    assert find_slurm_memory(text) is None


@pytest.mark.parametrize(("seconds", "rounded"), [(0, 0), (1, 60), (60, 60), (60.5, 120), (3600, 3600)])
def test_limits_of_slurms_are_whole_minutes(seconds: float, rounded: int) -> None:
    assert round_walltime(seconds) == rounded
