"""A number of bytes with an interval that says what it rests on."""

from dataclasses import dataclass
from typing import Any, Literal

from memplan.units import format_bytes

RestsOn = Literal["data", "prior", "data and prior"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes as expected, with an interval.

    Attributes:
        bytes: The point.
        low_bytes: Lower end of the interval, never above the point.
        high_bytes: Upper end of the interval, never below the point.
        level: Chance that the interval is meant to hold.
        rests_on: `data` where measurements alone fix the interval, `prior` where none took part,
            `data and prior` where measurements were carried on by what other servers did.
        method: How the numbers came about, in a few words.
    """

    bytes: int
    low_bytes: int
    high_bytes: int
    level: float = 0.95
    rests_on: RestsOn
    method: str

    def summary(self) -> str:
        """Return one line: the point, the interval, and what it rests on."""
        low, high = format_bytes(self.low_bytes), format_bytes(self.high_bytes)
        return (
            f"{format_bytes(self.bytes)} ({self.level:.0%}: {low} to {high}; "
            f"rests on {self.rests_on}; {self.method})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under their own names."""
        return {
            "bytes": self.bytes,
            "low_bytes": self.low_bytes,
            "high_bytes": self.high_bytes,
            "level": self.level,
            "rests_on": self.rests_on,
            "method": self.method,
        }
