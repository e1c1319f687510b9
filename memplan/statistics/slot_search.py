"""The fewest slots that keep a chance within a target, and quantiles of the maximum.

Bounds that cost microseconds enclose the answer; what lies between them, mostly nothing, is
settled by the full answer.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.statistics.occupancy import Chances, chances, chances_open, log_bounds
from memplan.statistics.worker_classes import WorkerClass, alike

Classes = Sequence[WorkerClass]


def check_target(overflow: float) -> None:
    """Raise UsageError unless a target is a probability that can be aimed at."""
    if not 0 < overflow < 1:
        raise UsageError(f"an overflow target lies between 0 and 1, not at {overflow:g}")


def required_slots(conns: int, classes: Classes, overflow: float) -> SlotsAnswer:
    """Return the fewest slots a worker with P(any worker over) within a target.

    Args:
        conns: Connections in all.
        classes: All workers; their caps are not looked at.
        overflow: The target, between 0 and 1.
    """
    check_target(overflow)

    def bounds(cap: int) -> tuple[float, float]:
        if cap >= conns:
            return -math.inf, -math.inf
        return log_bounds(conns, alike(classes, cap))

    def answer(cap: int) -> Answer:
        return chances(conns, alike(classes, cap)).overflow()

    search = _Search(conns, classes, overflow, bounds)
    return settled(answer, overflow, *search.ends())


def required_slots_open(mean: float, classes: Classes, overflow: float) -> SlotsAnswer:
    """Return the same for Poisson arrivals with a mean of so many connections."""
    check_target(overflow)

    @cache
    def known(cap: int) -> Chances:
        return chances_open(mean, alike(classes, cap))

    search = _Search(mean, classes, overflow, lambda cap: known(cap).over[1:])
    return settled(lambda cap: known(cap).overflow(), overflow, *search.ends())


def settled(answer: Callable[[int], Answer], overflow: float, low: int, high: int) -> SlotsAnswer:
    """Return the fewest slots within a target, known to lie in low..high by any end of a bracket.

    Args:
        answer: The overflow's chance for a number of slots, falling.
        overflow: The target.
        low: Fewer are within it by no end of the bracket.
        high: So many are within it by all.
    """
    known = cache(answer)
    slots = fewest(lambda cap: known(cap).value <= overflow, low, high)
    return SlotsAnswer(
        slots=slots,
        low=fewest(lambda cap: known(cap).low <= overflow, low, slots),
        high=fewest(lambda cap: known(cap).high <= overflow, slots, high),
        overflow=known(slots),
        method=known(slots).method,
    )


def maximum_quantile(known: Callable[[int], Chances], level: float, least: int) -> Answer:
    """Return the smallest m with P(no worker has more than m) >= level.

    Args:
        known: The chances at a cap.
        level: The level; up to 1/2, since beyond it is better told by the chance of more.
        least: A cap below which the answer cannot lie.
    """
    at = cache(known)
    target = math.log(level)

    def first(end: int) -> int:
        bad, step = least - 1, 1
        while at(bad + step).within[end] < target:
            bad, step = bad + step, 2 * step
        return fewest(lambda cap: at(cap).within[end] >= target, bad + 1, bad + step)

    value, high, low = map(first, range(3))
    method = at(value).method
    return Answer(
        value=float(value), low=float(low), high=float(high), method=method, relative_error=0.0
    )


def fewest(enough: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number in low..high that is enough; `high` is."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


class _Search:
    """Where the bounds of log P(any worker over) pass a target."""

    def __init__(
        self,
        conns: float,
        classes: Classes,
        overflow: float,
        bounds: Callable[[int], tuple[float, ...]],
    ) -> None:
        self._bounds = cache(bounds)
        self._target = math.log(overflow)
        share = max(worker.share for worker in classes)
        workers = sum(worker.workers for worker in classes)
        self._sd = math.sqrt(conns * share)
        # The normal tail's first-order quantile, and the skewness of the load.
        log_each = max(math.log(workers) - self._target, 0.5)
        z = math.sqrt(2 * log_each) - math.log(4 * math.pi * log_each) / math.sqrt(8 * log_each)
        self._guess = int(conns * share + z * self._sd * math.sqrt(1 - share) + (z * z - 1) / 6)

    def ends(self) -> tuple[int, int]:
        """Return the first cap at which the lower bound is within the target, and the upper."""
        high = self._first(1, self._guess)
        return self._first(0, high), high

    def _first(self, end: int, guess: int) -> int:
        at = partial(self._excess, end)
        step = 1 + int(self._sd / 8)
        if at(guess) <= 0:
            good, bad = guess, guess - 1 if end == 0 else guess - step
            while bad >= 0 and at(bad) <= 0:
                good, bad, step = bad, bad - step, 2 * step
            bad = max(bad, -1)
        else:
            bad, good = guess, guess + step
            while at(good) > 0:
                step *= 2
                bad, good = good, good + step
        halve = False
        while good - bad > 1:
            middle = (bad + good) // 2
            if bad >= 0 and not halve and math.isfinite(at(good)):
                # Logs of tails are nearly straight: a chord finds the place in a few steps.
                part = at(bad) / (at(bad) - at(good))
                middle = min(max(bad + math.ceil(part * (good - bad)), bad + 1), good - 1)
            width = good - bad
            bad, good = (bad, middle) if at(middle) <= 0 else (middle, good)
            halve = 2 * (good - bad) > width
        return good

    def _excess(self, end: int, cap: int) -> float:
        return self._bounds(cap)[end] - self._target
