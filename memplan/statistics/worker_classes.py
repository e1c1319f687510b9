"""Workers that are alike, counted: the same chance of a connection, the same slots."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from memplan.errors import UsageError


class WorkerClass(NamedTuple):
    """Workers with one chance and one cap.

    Attributes:
        workers: How many they are.
        share: Chance of each one to get a new connection.
        cap: Slots of each one; it overflows beyond that.
    """

    workers: int
    share: float
    cap: int


def normalised(workers: int, weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return weights as shares of one; None where all are equal.

    Raises:
        UsageError: There is not one positive weight for each worker.
    """
    if weights is None:
        return None
    if len(weights) != workers:
        raise UsageError(f"{workers} workers need {workers} weights, not {len(weights)}")
    if not all(0 < weight < math.inf for weight in weights):
        raise UsageError("weights must be positive numbers")
    if min(weights) == max(weights):
        return None
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def classes_of(
    workers: int, shares: Sequence[float] | None, caps: int | Sequence[int]
) -> tuple[WorkerClass, ...]:
    """Return the distinct (share, cap) of workers with their counts.

    Args:
        workers: Number of workers, W.
        shares: Chance of each worker, adding up to one; None for 1/W each.
        caps: Slots of every worker, or of each one.

    Raises:
        UsageError: There is not one cap for each worker.
    """
    if isinstance(caps, int) and shares is None:
        return (WorkerClass(workers, 1.0 / workers, caps),)
    if not isinstance(caps, int) and len(caps) != workers:
        raise UsageError(f"{workers} workers need {workers} caps, not {len(caps)}")
    each_share: Iterable[float] = repeat(1.0 / workers, workers) if shares is None else shares
    each_cap: Iterable[int] = repeat(caps) if isinstance(caps, int) else caps
    counted = Counter(zip(each_share, each_cap, strict=False))
    return tuple(
        WorkerClass(count, share, int(cap)) for (share, cap), count in sorted(counted.items())
    )


def alike(classes: Iterable[WorkerClass], cap: int) -> tuple[WorkerClass, ...]:
    """Return the same workers, all with this cap; those of one share make one class."""
    workers: dict[float, int] = {}
    for worker in classes:
        workers[worker.share] = workers.get(worker.share, 0) + worker.workers
    return tuple(WorkerClass(count, share, cap) for share, count in workers.items())
