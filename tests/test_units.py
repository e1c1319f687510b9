"""Bytes, rates and durations are read as people type them and written as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memplan.errors import UsageError
from memplan.units import (
    format_bytes,
    format_duration,
    format_probability,
    format_rate,
    parse_bytes,
    parse_duration,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4096", 4096),
        ("12KiB", 12288),
        ("12k", 12288),
        ("75 MiB", 75 * 1024**2),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("1kB", 1000),
        ("2TB", 2 * 1000**4),
        ("1_000", 1000),
        ("0", 0),
    ],
)
def test_sizes_are_read(text: str, value: int) -> None:
    """A bare prefix is binary, kB is decimal, and a bare number is bytes."""
    assert parse_bytes(text) == value


@pytest.mark.parametrize(
    "text", ["", "x", "12 XiB", "-1", "1e400", "0.1", "nan", "inf", "1 2", "9e18k"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """A text that is no size raises one clear error and nothing else."""
    with pytest.raises(UsageError):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("15s", 15),
        ("1h", 3600),
        ("30d", 2592000),
        ("1y", 31536000),
        ("5", 5),
        ("2min", 120),
        ("90ms", 0.09),
    ],
)
def test_durations_are_read(text: str, value: float) -> None:
    """A duration has one unit, and a bare number is seconds."""
    assert parse_duration(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("260000/s", 260000), ("260k/s", 260000), ("260000", 260000), ("6/min", 0.1), ("1M/s", 1e6)],
)
def test_rates_are_read(text: str, value: float) -> None:
    """A rate is events over a unit of time, a second where none is given."""
    assert parse_rate(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "fast", "1/fortnight", "-3/s", "1e999"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """A text that is no rate raises one clear error."""
    with pytest.raises(UsageError):
        parse_rate(text)


def test_what_is_no_duration_is_refused() -> None:
    """A text that is no duration raises one clear error."""
    for text in ("", "soon", "3 parsecs", "1e999y"):
        with pytest.raises(UsageError):
            parse_duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (6758, "6.6 KiB"),
        (672 * 1024**2, "672 MiB"),
        (-672 * 1024**2, "-672 MiB"),
        (31.14 * 1024, "31.1 KiB"),
        (1024**3 - 1, "1 GiB"),
        (1023.4 * 1024**2, "1023 MiB"),
        (8192, "8 KiB"),
    ],
)
def test_sizes_are_written_with_three_digits(value: float, text: str) -> None:
    """Three significant digits in the unit that fits."""
    assert format_bytes(value) == text


@given(st.integers(min_value=0, max_value=2**62))
def test_a_written_size_reads_back_within_its_digits(value: int) -> None:
    """Formatting loses at most half of the last digit shown."""
    assert parse_bytes(format_bytes(value)) == pytest.approx(value, rel=6e-3, abs=0.5)


def test_times_rates_and_chances_are_written_short() -> None:
    """Each is written in the unit in which people speak of it."""
    assert format_duration(15) == "15 s"
    assert format_duration(2592000) == "30 d"
    assert format_rate(260000) == "260,000/s"
    assert format_rate(1.5) == "1.5/s"
    assert format_rate(1 / 86400) == "1/d"
    assert format_probability(7.5e-7) == "7.5e-07"
    assert format_probability(0.1214) == "0.12"
    assert format_probability(0) == "0"
