"""Overflow over time: connections close and reopen, each on a fresh worker.

A worker's load is a `LoadChain`. What one worker does is then known to ten digits; what the group
does is a bracket around a point:

- high: the union bound, P(any worker over at time 0) plus the chance of each worker to rise above
  its cap later;
- low: 1 - prod(1 - P_i), by negative association: given when which connection reconnects, each
  reconnect picks one worker, picks are independent, and each worker's overflow is an increasing
  function of its own picks. That is exact given those times; their own randomness is of second
  order, a relative 1/(reconnects within the horizon);
- point: the snapshot, exactly, and from there on independent workers.

An open population (Poisson arrivals) has independent workers, and all three agree.

A connection that reopens before the server has seen its close holds two slots for a while
(`linger_s`). Then the point takes the lingering slots as further connections, in the mean; low
leaves them out; high counts every rise above the cap, which needs no independence over time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.statistics.lingering import slots_held
from memplan.statistics.load_chain import RELATIVE_ERROR, LoadChain
from memplan.statistics.occupancy import chances
from memplan.statistics.running_maximum import RunningMaximum
from memplan.statistics.worker_classes import WorkerClass, alike

Classes = Sequence[WorkerClass]
"""All workers of the group; shares add up to one."""

MOST_CLASSES = 256
"""Classes up to which each has its own chain; beyond, neighbours are merged into a bracket."""

_CLOSED = "first passage, union of workers"
_OPEN = "first passage, independent workers"
_LINGERING = "first passage, lingering slots in the mean (approximation)"
# The snapshot is made exact where its two cheap bounds, which differ by half the square of the
# sum, would show in the answer.
_SHOWS = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """How connections come and go.

    Attributes:
        conns: Connections in all (closed) or in the mean (open).
        reconnects_per_s: Connections that close and reopen each second, in all.
        linger_s: Time for which a closed connection still holds its slot.
        population: `closed` for a fixed number of connections, `open` for Poisson arrivals.
    """

    conns: float
    reconnects_per_s: float
    linger_s: float = 0.0
    population: Literal["closed", "open"] = "closed"

    def __post_init__(self) -> None:
        if not 0 < self.conns < math.inf:
            raise UsageError(f"churn needs connections, not {self.conns:g}")
        for name in ("reconnects_per_s", "linger_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be zero or more, not {getattr(self, name):g}")

    @property
    def lingering(self) -> float:
        """Slots that closed connections still hold, over all workers, in the mean."""
        return self.reconnects_per_s * self.linger_s

    def lengthened(self) -> "Churn":
        """Return the same churn with its lingering slots as further connections, in the mean."""
        return replace(self, conns=self.conns + self.lingering, linger_s=0.0)

    def turnovers(self, horizon_s: float) -> float:
        """Return how often each connection reconnects within the horizon, in the mean."""
        if not 0 <= horizon_s < math.inf:
            raise UsageError(f"a horizon is zero or more seconds, not {horizon_s:g}")
        return self.reconnects_per_s * horizon_s / self.conns

    def chain(self, share: float) -> LoadChain:
        """Return the load of one worker with this share, without lingering slots."""
        if self.population == "open":
            return LoadChain.open(self.conns * share)
        return LoadChain.closed(self.conns, share)

    def overflow_within(self, classes: Classes, horizon_s: float) -> Answer:
        """Return the chance that some worker has more connections than slots within a horizon.

        Being over at the start counts; a horizon of zero is the snapshot.

        Args:
            classes: All workers with their caps.
            horizon_s: The horizon, in seconds.
        """
        if len(classes) > MOST_CLASSES:
            return between(self, classes, lambda part: self.overflow_within(part, horizon_s))
        if self.lingering > 0:
            return self._overflow_lingering(classes, horizon_s)
        turnovers = self.turnovers(horizon_s)
        chains = [(self.chain(share), cap) for _, share, cap in classes]
        start = [chain.exceeds(cap, 0.0) for chain, cap in chains]
        end = [chain.exceeds(cap, turnovers) for chain, cap in chains]
        if self.population == "open":
            return Answer.exactly(any_of(classes, end), _OPEN, RELATIVE_ERROR)
        return self.together(classes, start, end)

    def together(self, classes: Classes, start: Sequence[float], end: Sequence[float]) -> Answer:
        """Return the chance that any worker overflows, from those of one worker of each class.

        Args:
            classes: All workers with their caps.
            start: Chance to be over at time 0.
            end: Chance to have been over by the end of the horizon.
        """
        risen = sum(c.workers * (b - a) for c, a, b in zip(classes, start, end, strict=True))
        snapshot = self._snapshot(classes, start, beside=risen)
        later = [(b - a) / (1 - a) if a < 1 else 0.0 for a, b in zip(start, end, strict=True)]
        value = snapshot.value + (1 - snapshot.value) * any_of(classes, later)
        low = max(any_of(classes, end), snapshot.low)
        return bracketed(value, low, min(1.0, snapshot.high + risen), _CLOSED)

    def required_slots_within(
        self, classes: Classes, overflow: float, horizon_s: float
    ) -> SlotsAnswer:
        """Return the fewest slots a worker that keep overflow within a target over a horizon.

        Args:
            classes: All workers; their caps are not looked at, all get the same.
            overflow: The target, between 0 and 1.
            horizon_s: The horizon, in seconds.
        """
        return fewest_slots(
            lambda slots: self.overflow_within(alike(classes, slots), horizon_s),
            overflow,
            self._about_enough(classes, overflow, horizon_s),
        )

    def lasts_s(self, classes: Classes, overflow: float) -> float:
        """Return for how many seconds the point of an overflow's chance stays within a target.

        Zero if the snapshot is beyond it already; infinite if a horizon of 1e12 turnovers is not.

        Args:
            classes: All workers with their caps.
            overflow: The target, between 0 and 1.
        """

        def within(horizon_s: float) -> bool:
            return self.overflow_within(classes, horizon_s).value <= overflow

        if not within(0.0):
            return 0.0
        if self.reconnects_per_s == 0:
            return math.inf
        unit_s = self.conns / self.reconnects_per_s
        low, high = math.log(1e-12), math.log(1e12)
        if within(math.exp(high) * unit_s):
            return math.inf
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if within(math.exp(middle) * unit_s) else (low, middle)
        return math.exp(low) * unit_s

    def running_maximum(self, share: float, horizon_s: float) -> RunningMaximum:
        """Return the law of one worker's running maximum over a horizon.

        Exact but for lingering slots, which are taken as further connections, in the mean.

        Args:
            share: The worker's chance of a new connection.
            horizon_s: The horizon, in seconds.
        """
        churn = self.lengthened() if self.lingering > 0 else self
        return RunningMaximum.of_chain(churn.chain(share), churn.turnovers(horizon_s))

    def _snapshot(self, classes: Classes, start: Sequence[float], *, beside: float) -> Answer:
        """Return the chance of an overflow at time 0, exactly where that shows beside the rest."""
        union = sum(c.workers * chance for c, chance in zip(classes, start, strict=True))
        whole = math.isclose(sum(c.workers * c.share for c in classes), 1.0, rel_tol=1e-9)
        shows = union * union > _SHOWS * (union + beside)
        if shows and whole and self.conns == int(self.conns):
            return chances(int(self.conns), classes).overflow()
        independent = any_of(classes, start)
        return bracketed(independent, independent, min(1.0, union), "Bonferroni bound")

    def _overflow_lingering(self, classes: Classes, horizon_s: float) -> Answer:
        low = replace(self, linger_s=0.0).overflow_within(classes, horizon_s)
        point = self.lengthened().overflow_within(classes, horizon_s)
        high = 0.0
        for workers, share, cap in classes:
            held = slots_held(self.chain(share), self.lingering * share, cap)
            crossings = self.reconnects_per_s * horizon_s * share * held.at
            high += workers * (held.above + crossings)
        return bracketed(point.value, low.low, min(1.0, high), _LINGERING)

    def _about_enough(self, classes: Classes, overflow: float, horizon_s: float) -> int:
        """Return the slots at which the expected number of overflows is about a target."""
        churn = self.lengthened() if self.lingering > 0 else self
        chain = churn.chain(max(c.share for c in classes))
        expected = chain.above() + churn.turnovers(horizon_s) * chain.flux()
        workers = sum(c.workers for c in classes)
        return chain.first + int((workers * expected > overflow).sum())


def any_of(classes: Classes, each: Sequence[float]) -> float:
    """Return the chance of any of independent events, one for each worker.

    Args:
        classes: All workers.
        each: The chance for one worker of each class.
    """
    if max(each) >= 1:
        return 1.0
    none = sum(c.workers * math.log1p(-chance) for c, chance in zip(classes, each, strict=True))
    return 0.0 - math.expm1(none)


def between(churn: Churn, classes: Classes, answer: Callable[[Classes], Answer]) -> Answer:
    """Answer by merged classes, for a quantity that grows with shares and falls with caps.

    Neighbouring classes are merged twice: with the least share and the largest cap of each group
    for the low end, with the greatest share and the smallest cap for the high end.
    """
    merged = sorted(classes, key=lambda c: (c.cap - churn.conns * c.share) / math.sqrt(c.share))
    size = math.ceil(len(merged) / MOST_CLASSES)
    groups = [merged[i : i + size] for i in range(0, len(merged), size)]
    low, high = (
        answer(
            [
                WorkerClass(
                    sum(c.workers for c in group),
                    pick(c.share for c in group),
                    other(c.cap for c in group),
                )
                for group in groups
            ]
        )
        for pick, other in ((min, max), (max, min))
    )
    value = math.sqrt(low.value * high.value)
    return bracketed(value, low.low, high.high, f"{high.method}, classes merged")


def fewest_slots(answer: Callable[[int], Answer], overflow: float, guess: int) -> SlotsAnswer:
    """Return the fewest slots whose overflow is within a target, by point and by bracket.

    Args:
        answer: The overflow at a number of slots, falling.
        overflow: The target, between 0 and 1.
        guess: Where to begin.
    """
    if not 0 < overflow < 1:
        raise UsageError(f"an overflow target lies between 0 and 1, not at {overflow:g}")
    known: dict[int, Answer] = {}

    def at(slots: int) -> Answer:
        if slots not in known:
            known[slots] = answer(slots)
        return known[slots]

    slots = _fewest(lambda m: at(m).value <= overflow, guess)
    return SlotsAnswer(
        slots=slots,
        low=_fewest(lambda m: at(m).low <= overflow, slots),
        high=_fewest(lambda m: at(m).high <= overflow, slots),
        overflow=at(slots),
        method=at(slots).method,
    )


def _fewest(enough: Callable[[int], bool], guess: int) -> int:
    """Return the smallest number from 0 on that is enough, in growing steps from a guess."""
    step = 1
    if enough(guess):
        bad, good = guess - 1, guess
        while bad >= 0 and enough(bad):
            step *= 2
            bad, good = max(bad - step, -1), bad
    else:
        bad, good = guess, guess + 1
        while not enough(good):
            step *= 2
            bad, good = good, good + step
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if enough(middle) else (middle, good)
    return good


def bracketed(value: float, low: float, high: float, method: str) -> Answer:
    """Return the answer, with a point and a low end pulled in where rounding put them outside."""
    high = max(low, high)
    return Answer(
        value=min(max(value, low), high),
        low=low,
        high=high,
        method=method,
        relative_error=RELATIVE_ERROR,
    )
