"""How an overflow's chance moves with the number of connections."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from memplan.answer import Answer
from memplan.quantity import Quantity

# Half the relative difference that the slope is taken over: small, but many connections wide.
_STEP = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """An overflow's chance at the ends and the middle of what the connections may be.

    Attributes:
        conns_low: Lowest number of connections.
        conns: Their median.
        conns_high: Highest number.
        low: The chance at the lowest number.
        point: At the median.
        high: At the highest number.
        elasticity: Percent by which the chance grows for one percent more connections, at the
            median: d log P / d log C. Zero where the chance is zero or one.
    """

    conns_low: float
    conns: float
    conns_high: float
    low: Answer
    point: Answer
    high: Answer
    elasticity: float

    def to_dict(self) -> dict[str, object]:
        """Return the fields by name, as JSON takes them."""
        return {
            "conns_low": self.conns_low,
            "conns": self.conns,
            "conns_high": self.conns_high,
            "low": self.low.to_dict(),
            "point": self.point.to_dict(),
            "high": self.high.to_dict(),
            "elasticity": self.elasticity,
        }


def sensitivity(conns: Quantity, overflow: Callable[[float], Answer]) -> Sensitivity:
    """Return how an overflow's chance moves with the connections.

    Args:
        conns: The connections.
        overflow: The chance for a number of them.
    """
    middle = conns.median
    step = max(1.0, round(_STEP * middle))
    above, below = middle + step, max(1.0, middle - step)
    high, low = overflow(above).value, overflow(below).value
    slope = math.log(high / low) / math.log(above / below) if low > 0 and high < 1 else 0.0
    return Sensitivity(
        conns_low=conns.low,
        conns=middle,
        conns_high=conns.high,
        low=overflow(conns.low),
        point=overflow(middle),
        high=overflow(conns.high),
        elasticity=slope,
    )
