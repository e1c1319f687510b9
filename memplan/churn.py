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
from memplan.lingering import slots_held
from memplan.load_chain import RELATIVE_ERROR, LoadChain
from memplan.running_maximum import RunningMaximum

Caps = int | Sequence[int]
"""Slots a worker, max_conn: one number for all, or one for each class of workers."""

# Beyond that many classes, neighbours are merged, downwards for one end and upwards for the other.
_MOST_CLASSES = 256
_CLOSED = "first passage, union of workers"
_OPEN = "first passage, independent workers"
_LINGERING = "first passage, lingering slots in the mean (approximation)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """Workers of one group, by classes of equal chance, and how connections come and go.

    Attributes:
        conns: Connections in all (closed) or in the mean (open).
        counts: Number of workers in each class.
        chances: Chance of one worker of each class to get a new connection.
        reconnects_per_s: Connections that close and reopen each second, in all.
        linger_s: Time for which a closed connection still holds its slot.
        population: `closed` for a fixed number of connections, `open` for Poisson arrivals.
    """

    conns: float
    counts: tuple[int, ...]
    chances: tuple[float, ...]
    reconnects_per_s: float
    linger_s: float = 0.0
    population: Literal["closed", "open"] = "closed"

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.chances) or not self.counts:
            raise UsageError("each class of workers needs one count and one chance")
        if min(self.counts) < 1 or not all(0 < chance <= 1 for chance in self.chances):
            raise UsageError("a class needs at least one worker and a chance in (0, 1]")
        if not (self.conns > 0 and 0 <= self.reconnects_per_s < math.inf):
            raise UsageError("churn needs connections, and reconnects of zero or more a second")
        if not 0 <= self.linger_s < math.inf:
            raise UsageError(f"linger must be zero or more seconds, not {self.linger_s:g}")

    @property
    def lingering(self) -> float:
        """Slots that closed connections still hold, over all workers, in the mean."""
        return self.reconnects_per_s * self.linger_s

    @property
    def mergeable(self) -> bool:
        """Whether there are so many classes that neighbours are merged."""
        return len(self.counts) > _MOST_CLASSES

    def turnovers(self, horizon_s: float) -> float:
        """Return how often each connection reconnects within the horizon, in the mean."""
        if not 0 <= horizon_s < math.inf:
            raise UsageError(f"a horizon is zero or more seconds, not {horizon_s:g}")
        return self.reconnects_per_s * horizon_s / self.conns

    def chain(self, chance: float) -> LoadChain:
        """Return the load of one worker with this chance, without lingering slots."""
        if self.population == "open":
            return LoadChain.open(self.conns * chance)
        return LoadChain.closed(self.conns, chance)

    def lengthened(self) -> "Churn":
        """Return the same churn with its lingering slots as further connections, in the mean."""
        return replace(self, conns=self.conns + self.lingering, linger_s=0.0)

    def caps_by_class(self, caps: Caps) -> tuple[int, ...]:
        """Return the slots a worker of each class, checked."""
        by_class = (caps,) * len(self.counts) if isinstance(caps, int) else tuple(caps)
        if len(by_class) != len(self.counts):
            raise UsageError(f"{len(self.counts)} classes need as many caps, not {len(by_class)}")
        if min(by_class) < 0:
            raise UsageError(f"max_conn must be zero or more, not {min(by_class)}")
        return by_class

    def overflow_within(self, caps: Caps, horizon_s: float) -> Answer:
        """Return the chance that some worker has more connections than slots within a horizon.

        Being over at the start counts; a horizon of zero is the snapshot.

        Args:
            caps: Slots a worker, for all or for each class.
            horizon_s: The horizon, in seconds.
        """
        caps = self.caps_by_class(caps)
        if self.mergeable:
            return between(self, caps, lambda part, own: part.overflow_within(own, horizon_s))
        if self.lingering > 0:
            return self._overflow_lingering(caps, horizon_s)
        turnovers = self.turnovers(horizon_s)
        chains = [self.chain(chance) for chance in self.chances]
        start = [chain.exceeds(cap, 0.0) for chain, cap in zip(chains, caps, strict=True)]
        end = [chain.exceeds(cap, turnovers) for chain, cap in zip(chains, caps, strict=True)]
        if self.population == "open":
            return Answer.exactly(any_of(self.counts, end), _OPEN, RELATIVE_ERROR)
        return self.together(caps, start, end)

    def together(
        self, caps: tuple[int, ...], start: Sequence[float], end: Sequence[float]
    ) -> Answer:
        """Return the chance that any worker overflows, from those of one worker of each class.

        Args:
            caps: Slots a worker of each class.
            start: Chance to be over at time 0.
            end: Chance to have been over by the end of the horizon.
        """
        risen = sum(n * (b - a) for n, a, b in zip(self.counts, start, end, strict=True))
        snapshot = self._snapshot(caps, start, worth=risen)
        later = [(b - a) / (1 - a) if a < 1 else 0.0 for a, b in zip(start, end, strict=True)]
        value = snapshot.value + (1 - snapshot.value) * any_of(self.counts, later)
        low = max(any_of(self.counts, end), snapshot.low)
        return bracketed(value, low, min(1.0, snapshot.high + risen), _CLOSED)

    def required_slots_within(self, overflow: float, horizon_s: float) -> SlotsAnswer:
        """Return the fewest slots a worker that keep overflow within a target over a horizon.

        Args:
            overflow: The target, between 0 and 1.
            horizon_s: The horizon, in seconds.
        """
        if not 0 < overflow < 1:
            raise UsageError(f"an overflow target lies between 0 and 1, not at {overflow:g}")
        known: dict[int, Answer] = {}

        def answer(slots: int) -> Answer:
            if slots not in known:
                known[slots] = self.overflow_within(slots, horizon_s)
            return known[slots]

        guess = self._about_enough(overflow, horizon_s)
        slots = fewest(lambda m: answer(m).value <= overflow, guess)
        return SlotsAnswer(
            slots=slots,
            low=fewest(lambda m: answer(m).low <= overflow, slots),
            high=fewest(lambda m: answer(m).high <= overflow, slots),
            overflow=answer(slots),
            method=answer(slots).method,
        )

    def lasts_s(self, caps: Caps, overflow: float) -> float:
        """Return for how many seconds the point of an overflow's chance stays within a target.

        Zero if the snapshot is beyond it already; infinite if a horizon of 1e12 turnovers is not.
        """
        if self.overflow_within(caps, 0.0).value > overflow:
            return 0.0
        if self.reconnects_per_s == 0:
            return math.inf
        unit_s = self.conns / self.reconnects_per_s
        low, high = math.log(1e-12), math.log(1e12)
        if self.overflow_within(caps, math.exp(high) * unit_s).value <= overflow:
            return math.inf
        while high - low > 1e-6:
            middle = (low + high) / 2
            if self.overflow_within(caps, math.exp(middle) * unit_s).value <= overflow:
                low = middle
            else:
                high = middle
        return math.exp(low) * unit_s

    def running_maximum(self, horizon_s: float) -> tuple[RunningMaximum, ...]:
        """Return the law of one worker's running maximum over a horizon, for each class.

        Exact but for lingering slots, which are taken as further connections, in the mean.
        """
        part = self.lengthened() if self.lingering > 0 else self
        turnovers = part.turnovers(horizon_s)
        return tuple(
            RunningMaximum.of_chain(part.chain(chance), turnovers) for chance in self.chances
        )

    def _snapshot(self, caps: tuple[int, ...], start: Sequence[float], *, worth: float) -> Answer:
        """Return the chance of an overflow at time 0.

        Exact unless it does not matter beside what comes later, which is `worth`.
        """
        union = sum(n * chance for n, chance in zip(self.counts, start, strict=True))
        return Answer(
            value=any_of(self.counts, start),
            low=any_of(self.counts, start),
            high=min(1.0, union),
            method="Bonferroni bound",
            relative_error=RELATIVE_ERROR,
        )

    def _overflow_lingering(self, caps: tuple[int, ...], horizon_s: float) -> Answer:
        low = replace(self, linger_s=0.0).overflow_within(caps, horizon_s)
        point = self.lengthened().overflow_within(caps, horizon_s)
        high = 0.0
        for count, chance, cap in zip(self.counts, self.chances, caps, strict=True):
            held = slots_held(self.chain(chance), self.lingering * chance, cap)
            crossings = self.reconnects_per_s * horizon_s * chance * held.at
            high += count * (held.above + crossings)
        return bracketed(point.value, low.low, min(1.0, high), _LINGERING)

    def _about_enough(self, overflow: float, horizon_s: float) -> int:
        """Return slots that keep the expected number of overflows within a target, or nearly so."""
        part = self.lengthened() if self.lingering > 0 else self
        turnovers = part.turnovers(horizon_s)
        biggest = part.chain(max(part.chances))
        expected = sum(part.counts) * (biggest.above() + turnovers * biggest.flux())
        return biggest.first + int((expected > overflow).sum())


def any_of(counts: Sequence[int], chances: Sequence[float]) -> float:
    """Return the chance of any of independent events, so many of each chance."""
    if any(chance >= 1 for chance in chances):
        return 1.0
    return 0.0 - math.expm1(sum(n * math.log1p(-p) for n, p in zip(counts, chances, strict=True)))


def between(
    churn: Churn,
    caps: tuple[int, ...],
    answer: Callable[[Churn, tuple[int, ...]], Answer],
) -> Answer:
    """Answer by merged classes, for a quantity that grows with chances and falls with caps.

    Neighbouring classes are merged twice: with the least chance and the largest cap of each group
    for the low end, with the greatest chance and the smallest cap for the high end.
    """
    merged = sorted(
        zip(churn.counts, churn.chances, caps, strict=True),
        key=lambda worker: (worker[2] - churn.conns * worker[1]) / math.sqrt(worker[1]),
    )
    size = math.ceil(len(merged) / _MOST_CLASSES)
    groups = [merged[i : i + size] for i in range(0, len(merged), size)]
    counts = tuple(sum(n for n, _, _ in group) for group in groups)
    ends: list[Answer] = []
    for pick, other in ((min, max), (max, min)):
        chances = tuple(pick(p for _, p, _ in group) for group in groups)
        part = replace(churn, counts=counts, chances=chances)
        ends.append(answer(part, tuple(other(cap for _, _, cap in group) for group in groups)))
    low, high = ends
    return bracketed(
        math.sqrt(low.value * high.value), low.low, high.high, f"{high.method}, classes merged"
    )


def fewest(enough: Callable[[int], bool], guess: int) -> int:
    """Return the smallest number from 0 on that is enough, searched in growing steps from a guess.

    Args:
        enough: False up to some number and true from there on.
        guess: Where to begin.
    """
    step = 1
    if enough(guess):
        good, bad = guess, -1
        while good > 0:
            trial = max(good - step, 0)
            if not enough(trial):
                bad = trial
                break
            good, step = trial, 2 * step
    else:
        bad, good = guess, guess + step
        while not enough(good):
            step *= 2
            bad, good = good, good + step
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if enough(middle) else (middle, good)
    return good


def bracketed(value: float, low: float, high: float, method: str) -> Answer:
    """Return the answer, the point pulled into the bracket where rounding put it outside."""
    high = max(low, high)
    return Answer(
        value=min(max(value, low), high),
        low=low,
        high=high,
        method=method,
        relative_error=RELATIVE_ERROR,
    )
