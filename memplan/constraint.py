"""Something that must hold: what is needed against what is allowed."""

from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["", "bytes", "descriptors", "mappings", "slots", "probability"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """Something that must hold: what is needed against what is allowed.

    Attributes:
        name: `overflow`, `memory limit`, `max_fd`, `nofile`, `max_map_count`, ...
        needed: What the plan takes.
        allowed: What there is; None where nothing bounds it.
        unit: What both count.
        source: Where the allowed value came from.
        detail: The sum behind `needed`, in words.
    """

    name: str
    needed: float
    allowed: float | None
    unit: Unit
    source: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.allowed is None or self.needed <= self.allowed

    @property
    def use(self) -> float:
        """Needed over allowed; 0 where nothing bounds it."""
        if self.allowed is None:
            return 0.0
        return self.needed / self.allowed if self.allowed > 0 else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and whether it holds."""
        return {
            "name": self.name,
            "needed": self.needed,
            "allowed": self.allowed,
            "unit": self.unit,
            "source": self.source,
            "detail": self.detail,
            "ok": self.ok,
        }
