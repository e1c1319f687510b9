"""The law of the most connections that one worker has held at a time: its high water."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from memplan.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memplan.statistics.load_chain import LoadChain

    FloatArray = NDArray[np.float64]

# A maximum is followed up to where its tail counts in no digit of its mean.
_NEGLIGIBLE = 1e-18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunningMaximum:
    """The law of a worker's running maximum over a horizon.

    Attributes:
        first: A load that it surely reaches; the law lives on `first` and above.
        exceeded: P(maximum > first + i) at index i, down to where it is negligible; shape (n,).
    """

    first: int
    exceeded: "FloatArray"

    @classmethod
    def of_chain(cls, chain: "LoadChain", turnovers: float) -> "RunningMaximum":
        """Return the law of a chain's maximum up to a time, counted in turnovers."""
        # The expected rises above a level bound the chance of one.
        expected = chain.above() + turnovers * chain.flux()
        last = chain.first + int(np.flatnonzero(expected >= _NEGLIGIBLE).max(initial=0))
        return cls(first=chain.first, exceeded=chain.exceeded(turnovers, last=last))

    def mean(self) -> float:
        """Return the expected maximum."""
        return self.first + float(self.exceeded.sum())

    def variance(self) -> float:
        """Return its variance."""
        # E (M - first)^2 = sum over i of (2i + 1) P(M > first + i)
        above = float(self.exceeded.sum())
        square = float((2 * np.arange(len(self.exceeded)) + 1) @ self.exceeded)
        return max(square - above * above, 0.0)

    def sd(self) -> float:
        """Return its standard deviation."""
        return math.sqrt(self.variance())

    def quantile(self, level: float) -> int:
        """Return the smallest load that it stays within with this probability, 0 < level < 1."""
        if not 0 < level < 1:
            raise UsageError(f"a quantile's level lies between 0 and 1, not at {level:g}")
        within = np.searchsorted(-self.exceeded, -(1 - level))
        return self.first + int(within)

    def pmf(self) -> "FloatArray":
        """Return P(maximum = first + i) at index i; shape (n + 1,)."""
        return -np.diff(self.exceeded, prepend=1.0, append=0.0)

    def capped(self, max_conn: int) -> "RunningMaximum":
        """Return the law under a cap, which turns away what would go beyond it.

        Up to the cap nothing changes: below it a worker's load has the same rates with refusals
        (a refused connection tries again at its next reconnect) as without.
        """
        if max_conn >= self.first:
            return replace(self, exceeded=self.exceeded[: max_conn - self.first])
        return RunningMaximum(first=max_conn, exceeded=self.exceeded[:0])
