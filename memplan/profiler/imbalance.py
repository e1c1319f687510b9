"""Whether the hash explains how a server's connections are spread over its workers.

Where the kernel chooses the worker by a hash, each of W workers holds Bin(C, 1/W) of C
connections, and Pearson's statistic sum (count - expected)^2 / expected over the workers follows
a chi-square law with W - 1 degrees of freedom (K. Pearson, 1900). A spread that the law makes
less often than once in 1,000 has another cause: a BPF program or SO_INCOMING_CPU that chooses the
worker, a worker that started later or stopped accepting, clients that open connections until
they like the worker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from memplan.profiler.listeners import ListenerGroup, Worker

UNEXPLAINED_BELOW = 1e-3
"""Chance below which the hash is said not to explain a spread."""
LEAST_EXPECTED = 5.0
"""Expected connections a listener below which the chi-square law is too rough to judge by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imbalance:
    """The test of a server's spread against the hash.

    Attributes:
        explained: Whether the hash explains the spread; None where it cannot be tested.
        verdict: What came out, in a sentence, with its figures or the reason why there are none.
        statistic: Pearson's statistic, summed over the groups that could be tested.
        degrees_of_freedom: Workers less one, summed likewise.
        p_value: Chance that the hash makes a spread at least as uneven.
        workers: The workers that were compared, with their counts.
    """

    explained: bool | None
    verdict: str
    statistic: float | None = None
    degrees_of_freedom: int | None = None
    p_value: float | None = None
    workers: tuple[Worker, ...] = ()


def pearson_statistic(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return Pearson's statistic of the counts against the shares, which are above 0 and add to 1.

    A share of nothing at all is explained by anything: no counts give 0.
    """
    total = sum(counts)
    if total == 0:
        return 0.0
    expected = [total * share for share in shares]
    return sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True))


def judge_imbalance(groups: Sequence[ListenerGroup]) -> Imbalance:
    """Return whether the hash explains how the connections of all groups are spread.

    Groups are independent of each other, so their statistics add up.
    """
    from memplan.statistics.distributions import chi2_sf

    tested = [group for group in groups if _obstacle(group) is None]
    if not tested:
        reasons = dict.fromkeys(f"{group.endpoint}: {_obstacle(group)}" for group in groups)
        return Imbalance(explained=None, verdict="not testable; " + "; ".join(reasons))
    statistic = 0.0
    degrees = 0
    for group in tested:
        counts = [_assigned(worker) for worker in group.workers]
        shares = [worker.listeners / group.listeners for worker in group.workers]
        statistic += pearson_statistic(counts, shares)
        degrees += len(group.workers) - 1
    p_value = chi2_sf(statistic, degrees)
    explained = p_value >= UNEXPLAINED_BELOW
    figures = f"chi-square {statistic:.1f} on {degrees}, p = {p_value:.2g}"
    return Imbalance(
        explained=explained,
        verdict=(
            f"the hash explains it: {figures}"
            if explained
            else f"an imbalance that the hash does not explain: {figures}; {_farthest(tested)}"
        ),
        statistic=statistic,
        degrees_of_freedom=degrees,
        p_value=p_value,
        workers=tuple(worker for group in tested for worker in group.workers),
    )


def _assigned(worker: Worker) -> int:
    """Return what the hash gave to a worker, accepted yet or not."""
    return worker.connections + worker.waiting


def _obstacle(group: ListenerGroup) -> str | None:
    """Return why a group's spread cannot be tested; None where it can."""
    many = len(group.processes)
    if group.listeners == 1 and many > 1:
        return f"{many} processes share one listener, where they race to accept and no hash chooses"
    if group.listeners == 1:
        return "one listener has nothing to be compared with"
    if group.unclear:
        return (
            f"for {group.unclear} of {group.listeners} listeners it is not to be seen which "
            f"of {many} processes accepts from it"
        )
    if len(group.workers) == 1:
        return (
            f"one process holds all {group.listeners} listeners, "
            "and no loop of its own for each is to be seen"
        )
    assigned = sum(_assigned(worker) for worker in group.workers)
    if assigned < LEAST_EXPECTED * group.listeners:
        return (
            f"{assigned} connections on {group.listeners} listeners are too few, "
            f"fewer than {LEAST_EXPECTED:g} a listener"
        )
    return None


def _farthest(groups: Sequence[ListenerGroup]) -> str:
    """Return a clause on the worker that is farthest from what is expected of it."""
    farthest, clause = -1.0, ""
    for group in groups:
        total = sum(_assigned(worker) for worker in group.workers)
        for worker in group.workers:
            share = worker.listeners / group.listeners
            sigma = (total * share * (1 - share)) ** 0.5
            distance = abs(_assigned(worker) - total * share) / sigma
            if distance > farthest:
                farthest = distance
                clause = (
                    f"{worker.label} has {_assigned(worker)} of {total} on {group.endpoint}, "
                    f"where {total * share:.0f} ± {sigma:.0f} are expected"
                )
    return clause
