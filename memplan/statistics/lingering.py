"""Slots of one worker when closed connections still hold theirs for a while."""

from typing import NamedTuple

import numpy as np

from memplan.statistics.distributions import poisson_pmf, poisson_sf
from memplan.statistics.load_chain import LoadChain


class Held(NamedTuple):
    """Stationary chances of a worker's held slots.

    Attributes:
        at: That exactly so many are held.
        above: That more are held.
    """

    at: float
    above: float


def slots_held(chain: LoadChain, lingering: float, level: int) -> Held:
    """Return the chances that a worker holds a number of slots, and more.

    Connections that have left in the last `linger` seconds landed here by picks that say nothing
    of where they are now, so the slots held are the load plus an independent Poisson number.

    Args:
        chain: The load without lingering slots.
        lingering: Lingering slots of this worker, in the mean.
        level: The number of slots.
    """
    reach = level - chain.first
    if reach < 0:
        return Held(at=0.0, above=1.0)
    # Loads above the window hardly occur, and those below it hardly either.
    seen = min(reach + 1, len(chain.births))
    extra = poisson_pmf(np.arange(reach, reach - seen, -1, dtype=np.float64), lingering)
    return Held(
        at=float(extra @ chain.pi[:seen]),
        above=float(extra @ chain.above()[:seen]) + poisson_sf(reach, lingering),
    )
