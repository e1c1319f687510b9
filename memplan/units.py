"""Bytes, rates, durations and shares: parsed from what people type, formatted as they read.

Bytes are integers, durations seconds, rates events a second, shares fractions of one.
Decimal prefixes (kB, MB, GB) are powers of 1000, binary ones (KiB, MiB, GiB) powers of 1024;
a bare K, M or G is binary, as in nginx, docker and systemd.
"""

import math
import re

from memplan.errors import UsageError

KIB = 1024
MIB = 1024**2
GIB = 1024**3
TIB = 1024**4

SECOND = 1.0
MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0
MONTH = 30 * DAY
YEAR = 365 * DAY

_BYTE_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kib": KIB,
    "kb": 1000,
    "m": MIB,
    "mib": MIB,
    "mb": 1000**2,
    "g": GIB,
    "gib": GIB,
    "gb": 1000**3,
    "t": TIB,
    "tib": TIB,
    "tb": 1000**4,
}
_DURATION_UNITS = {
    "ms": 1e-3,
    "s": SECOND,
    "sec": SECOND,
    "min": MINUTE,
    "m": MINUTE,
    "h": HOUR,
    "d": DAY,
    "w": 7 * DAY,
    "mo": MONTH,
    "y": YEAR,
}
_NUMBER = r"([0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
_WITH_UNIT = re.compile(rf"\s*{_NUMBER}\s*([A-Za-z]*)\s*\Z")
_RATE = re.compile(rf"\s*{_NUMBER}\s*([kM]?)\s*(?:/\s*([A-Za-z]+))?\s*\Z")
_RATE_PREFIX = {"": 1.0, "k": 1e3, "M": 1e6}


def parse_bytes(text: str) -> int:
    """Return the bytes meant by a text such as `12KiB`, `75MiB`, `1.5G` or `4096`.

    Raises:
        UsageError: The text is no size, or is below one byte but not zero.
    """
    match = _WITH_UNIT.match(text)
    if match is None or match[2].lower() not in _BYTE_UNITS:
        raise UsageError(f"'{text}' is no size; write bytes, or a unit as in 12KiB, 75MiB, 1.5GiB")
    exact = float(match[1].replace("_", "")) * _BYTE_UNITS[match[2].lower()]
    if not math.isfinite(exact) or exact >= 2.0**63:
        raise UsageError(f"'{text}' is more than any address space holds")
    value = round(exact)
    if value == 0 and exact > 0:
        raise UsageError(f"'{text}' is less than one byte")
    return value


def format_bytes(value: float) -> str:
    """Return bytes as people read them: three digits or a whole number, in binary units."""
    sign = "-" if value < 0 else ""
    size = abs(value)
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        # What would round to 1024 of the smaller unit moves up.
        if size >= 0.9995 * factor:
            return f"{sign}{_three_digits(size / factor)} {unit}"
    return f"{sign}{_three_digits(size)} B"


def _three_digits(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def parse_duration(text: str) -> float:
    """Return the seconds meant by `15s`, `1h`, `30d` or `1y`; a bare number is seconds.

    Raises:
        UsageError: The text is no duration.
    """
    match = _WITH_UNIT.match(text)
    unit = match[2].lower() if match and match[2] else "s"
    if match is None or unit not in _DURATION_UNITS:
        raise UsageError(f"'{text}' is no duration; write seconds, or a unit as in 15s, 1h, 30d")
    value = float(match[1].replace("_", "")) * _DURATION_UNITS[unit]
    if not math.isfinite(value):
        raise UsageError(f"'{text}' is longer than can be reckoned with")
    return value


def format_duration(seconds: float) -> str:
    """Return a duration in its largest fitting unit: `15 s`, `1 h`, `30 d`, `1 y`."""
    for unit, factor in (("y", YEAR), ("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def parse_rate(text: str) -> float:
    """Return events a second for a text such as `260000/s`, `260k/s`, `5/min` or `260000`.

    Raises:
        UsageError: The text is no rate.
    """
    match = _RATE.match(text)
    unit = match[3].lower() if match and match[3] else "s"
    if match is None or unit not in _DURATION_UNITS:
        raise UsageError(f"'{text}' is no rate; write events a second, as in 260000/s, 5/min")
    value = float(match[1].replace("_", "")) * _RATE_PREFIX[match[2]] / _DURATION_UNITS[unit]
    if not math.isfinite(value):
        raise UsageError(f"'{text}' is faster than can be reckoned with")
    return value


def format_rate(per_second: float) -> str:
    """Return a rate as `260,000/s`, or a day's count where it is slow."""
    if per_second >= 1:
        return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.3g}/s"
    return f"{per_second * DAY:.3g}/d"


def format_probability(value: float) -> str:
    """Return a probability with two significant digits: `0.12`, `7.5e-07`."""
    if value <= 0 or value >= 1:
        return f"{value:.0f}"
    return f"{value:.2g}"
