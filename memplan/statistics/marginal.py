"""One worker's load at one moment."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from memplan.quantity import Quantity
from memplan.statistics.distributions import binomial_pmf, poisson_pmf
from memplan.statistics.uncertain import spread, variance

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Values that stand for connections that are not known exactly.
_VALUES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMarginal:
    """How many connections one worker has: Bin(C, p), or Poisson(C p) in an open population.

    Attributes:
        conns: Connections in all, C; the law is a mixture where they are not known exactly.
        share: The worker's chance of a new connection, p.
        population: `closed` for a fixed number of connections, `open` for Poisson arrivals.
    """

    conns: Quantity
    share: float
    population: Literal["closed", "open"] = "closed"

    @property
    def mean(self) -> float:
        """The mean."""
        return self.conns.mean() * self.share

    @property
    def sd(self) -> float:
        """The standard deviation."""
        own = self.mean * (1.0 - self.share if self.population == "closed" else 1.0)
        return math.sqrt(own + variance(self.conns) * self.share**2)

    def pmf(self, k: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """Return P(k connections) for an array of counts, of the same shape."""
        total = np.zeros(np.shape(k))
        values = spread(self.conns, _VALUES)
        for conns in values:
            if self.population == "closed":
                total += binomial_pmf(k, round(conns), self.share)
            else:
                total += poisson_pmf(k, conns * self.share)
        return total / len(values)
