"""The workers of one group, and what a known number of connections does to them at one moment."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.statistics.occupancy import Chances, chances, chances_open
from memplan.statistics.slot_search import required_slots, required_slots_open
from memplan.statistics.worker_classes import WorkerClass, classes_of, normalised
from memplan.workload import Balance, Population

if TYPE_CHECKING:
    from numpy.typing import NDArray

Caps = int | Sequence[int]
"""Slots of every worker (max_conn), or of each one."""

# A cap over a share, and a share of all, that should be whole are off by their rounding at most.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """Workers and how connections fall on them.

    Attributes:
        workers: How many they are.
        weights: Chance of each one to get a connection, up to a factor; None for equal.
        population: `closed` for a fixed number of connections, `open` for Poisson arrivals.
        balance: `hash` for chance, `exact` where connections are handed out evenly.
        shares: The weights as shares of one; None for equal.
    """

    workers: int
    weights: tuple[float, ...] | None
    population: Population
    balance: Balance
    shares: tuple[float, ...] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"workers must be at least 1, not {self.workers}")
        if self.population not in {"closed", "open"}:
            raise UsageError(f"population is closed or open, not '{self.population}'")
        if self.balance not in {"hash", "exact"}:
            raise UsageError(f"balance is hash or exact, not '{self.balance}'")
        if self.balance == "exact" and self.population == "open":
            raise UsageError("an exact balance is reckoned for a closed population only")
        object.__setattr__(self, "shares", normalised(self.workers, self.weights))

    def share(self, worker: int) -> float:
        """Return the share of one worker, counted from 0."""
        if not 0 <= worker < self.workers:
            raise UsageError(f"workers are counted from 0 to {self.workers - 1}, not {worker}")
        return 1 / self.workers if self.shares is None else self.shares[worker]

    @property
    def largest_share(self) -> float:
        """The share of the heaviest worker."""
        return 1 / self.workers if self.shares is None else max(self.shares)

    def classes(self, caps: Caps) -> tuple[WorkerClass, ...]:
        """Return the workers with their slots, counted by class.

        Connections handed out evenly are over when all together are more than some number; then
        the group is as one worker with that many slots.
        """
        if not isinstance(caps, int):
            caps = [int(cap) for cap in caps]
        lowest = caps if isinstance(caps, int) else min(caps, default=0)
        if lowest < 0:
            raise UsageError(f"max_conn must be zero or more, not {lowest}")
        classes = classes_of(self.workers, self.shares, caps)
        if self.balance == "hash":
            return classes
        if self.shares is None:
            return (WorkerClass(1, 1.0, self.workers * lowest),)
        room = min(int(cap / share + _ROUNDING) for _, share, cap in classes)
        return (WorkerClass(1, 1.0, room),)

    def chances(self, conns: float, caps: Caps) -> Chances:
        """Return the chance that some worker has more connections than slots, and that none has."""
        if self.population == "open":
            return chances_open(conns, self.classes(caps))
        return chances(round(conns), self.classes(caps))

    def required_slots(self, conns: float, overflow: float) -> SlotsAnswer:
        """Return the fewest slots a worker that keep the chance of any overflow within a target."""
        if self.balance == "exact":
            slots = self.even_load(conns)
            none = Answer.exactly(0.0, "certain")
            return SlotsAnswer(
                slots=slots, low=slots, high=slots, overflow=none, method=none.method
            )
        classes = self.classes(0)
        if self.population == "open":
            return required_slots_open(conns, classes, overflow)
        return required_slots(round(conns), classes, overflow)

    def even_load(self, conns: float, worker: int | None = None) -> int:
        """Return the most connections of a worker, or of any, when they are handed out evenly."""
        share = self.largest_share if worker is None else self.share(worker)
        return math.ceil(round(conns) * share - _ROUNDING)

    def sample(
        self, conns: "NDArray[np.float64]", rng: "np.random.Generator"
    ) -> "NDArray[np.int64]":
        """Return loads of all workers, one row for each number of connections."""
        shares = np.full(self.workers, 1 / self.workers) if self.shares is None else self.shares
        whole = np.rint(conns)
        if self.balance == "exact":
            # Loads within one of their shares, adding up to the connections.
            ends = np.rint(np.outer(whole, np.cumsum(shares)))
            return np.diff(ends, axis=1, prepend=0.0).astype(np.int64)
        if self.population == "open":
            return rng.poisson(np.outer(conns, shares))
        return rng.multinomial(whole.astype(np.int64), shares)

    def without(self, lost: int) -> tuple[int, tuple[float, ...] | None]:
        """Return number and weights of the workers left when the lightest so many are gone."""
        if not 0 <= lost < self.workers:
            raise UsageError(f"workers lost must leave at least one of {self.workers}, not {lost}")
        left = self.workers - lost
        if self.weights is None:
            return left, None
        return left, tuple(sorted(self.weights, reverse=True)[:left])
