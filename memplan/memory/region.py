"""A term of the memory model: a named number of bytes, and where it came from."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from memplan.units import format_bytes

Scope = Literal["process", "worker", "slots", "connection", "deploy", "whole"]
Origin = Literal["measured", "pinned", "default", "kernel", "predicted"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number came from.

    Attributes:
        kind: `measured` on the server, `pinned` by the user, `default` of memplan, read from or
            fixed by the `kernel`, or `predicted` by a model from the configuration.
        source: The same in words.
    """

    kind: Origin
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Bytes that one cause takes, over the whole server.

    Each account has its point and its 95% interval; bytes may be negative in `unexplained` only.

    Attributes:
        name: What it is.
        scope: What it grows with.
        virtual_bytes: Address space that it reserves.
        process_bytes: What it adds to the processes' PSS.
        process_low_bytes: Lower end of that.
        process_high_bytes: Upper end of that.
        charge_bytes: What it adds to the container's charge.
        charge_low_bytes: Lower end of that.
        charge_high_bytes: Upper end of that.
        provenance: Where the numbers came from.
    """

    name: str
    scope: Scope
    virtual_bytes: int = 0
    process_bytes: int = 0
    process_low_bytes: int = 0
    process_high_bytes: int = 0
    charge_bytes: int = 0
    charge_low_bytes: int = 0
    charge_high_bytes: int = 0
    provenance: Provenance

    def summary(self) -> str:
        """Return one line: the name, both accounts, and the provenance."""
        return (
            f"{self.name}: process {format_bytes(self.process_bytes)}, "
            f"charge {format_bytes(self.charge_bytes)} "
            f"({self.provenance.kind}: {self.provenance.source})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, each account with its interval."""
        return {
            "name": self.name,
            "scope": self.scope,
            "virtual_bytes": self.virtual_bytes,
            "process_bytes": self.process_bytes,
            "process_interval_bytes": [self.process_low_bytes, self.process_high_bytes],
            "charge_bytes": self.charge_bytes,
            "charge_interval_bytes": [self.charge_low_bytes, self.charge_high_bytes],
            "provenance": {"kind": self.provenance.kind, "source": self.provenance.source},
        }


class Amount(NamedTuple):
    """Bytes with a 95% interval; `low <= point <= high`."""

    point: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> "Amount":
        """Return bytes that are known."""
        return cls(value, value, value)

    def times(self, count: float) -> "Amount":
        """Return the bytes of `count` such things that differ alike, so that ends add up too."""
        return Amount(self.point * count, self.low * count, self.high * count)


NOTHING = Amount(0.0, 0.0, 0.0)


def region(
    name: str,
    scope: Scope,
    provenance: Provenance,
    *,
    virtual: float = 0.0,
    process: Amount = NOTHING,
    charge: Amount = NOTHING,
) -> Region:
    """Return the region with whole bytes, its intervals rounded outwards."""
    return Region(
        name=name,
        scope=scope,
        virtual_bytes=round(virtual),
        process_bytes=round(process.point),
        process_low_bytes=min(math.floor(process.low), round(process.point)),
        process_high_bytes=max(math.ceil(process.high), round(process.point)),
        charge_bytes=round(charge.point),
        charge_low_bytes=min(math.floor(charge.low), round(charge.point)),
        charge_high_bytes=max(math.ceil(charge.high), round(charge.point)),
        provenance=provenance,
    )


def process_sum(regions: Iterable[Region]) -> Amount:
    """Return the sum of the process's bytes; errors are taken as independent, a side at a time."""
    return _sum(
        [(r.process_bytes, r.process_low_bytes, r.process_high_bytes) for r in regions],
    )


def charge_sum(regions: Iterable[Region]) -> Amount:
    """Return the sum of the charged bytes; errors are taken as independent, a side at a time."""
    return _sum([(r.charge_bytes, r.charge_low_bytes, r.charge_high_bytes) for r in regions])


def _sum(amounts: list[tuple[int, int, int]]) -> Amount:
    total = sum(point for point, _, _ in amounts)
    below = math.hypot(*(point - low for point, low, _ in amounts))
    above = math.hypot(*(high - point for point, _, high in amounts))
    return Amount(total, total - below, total + above)
