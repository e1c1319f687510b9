"""Slots of one worker when closed connections still hold theirs for a while."""

from typing import NamedTuple

import numpy as np

from memplan.distributions import poisson_pmf, poisson_sf
from memplan.load_chain import LoadChain


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
    extra = poisson_pmf(np.arange(reach + 1, dtype=np.float64), lingering)
    # Loads below the window hardly occur, and loads above it hardly either.
    load = np.zeros(reach + 1)
    beyond = np.zeros(reach + 1)
    seen = min(reach + 1, len(chain.births))
    load[:seen] = chain.pi[:seen]
    beyond[:seen] = chain.above()[:seen]
    return Held(
        at=float(extra @ load[::-1]),
        above=float(extra @ beyond[::-1]) + poisson_sf(reach, lingering),
    )
