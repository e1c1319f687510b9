"""Many classes of workers made few, so that the answer moves to a known side only.

Both directions are couplings, connection by connection. Downwards, each worker's share is lowered
to its group's least, and what is taken away goes to one more worker that is never over: every load
can only shrink. Upwards, each share is raised to its group's greatest, which makes T > 1 in all:
of n' connections thrown by the raised shares over T, each is a real one with chance 1/T whatever
its worker, and if at least n are real, every load is at least the true one.
"""

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

from memplan.statistics.distributions import log_binomial_cdf
from memplan.statistics.worker_classes import WorkerClass

# Workers that together are this small part of the risk are not worth a group of their own.
_SAFE_PART = 1e-4


class Groups(NamedTuple):
    """Classes of workers in groups of similar ones, and those that hardly count.

    Attributes:
        groups: Classes by group, the groups as many as were allowed at most.
        safe_share: Sum of the shares of all workers left out.
        safe_risk: Sum of their chances to be over.
    """

    groups: tuple[tuple[WorkerClass, ...], ...]
    safe_share: float
    safe_risk: float


class Raised(NamedTuple):
    """A problem with heavier workers and more connections.

    Attributes:
        conns: Connections thrown, n'.
        classes: Workers, at most as many classes as there were groups and one more.
        log_short: Log of the chance that fewer than n of them are real.
    """

    conns: int
    classes: tuple[WorkerClass, ...]
    log_short: float


def grouped(
    conns: int,
    classes: Sequence[WorkerClass],
    tails: Sequence[float],
    *,
    most: int,
    leave_out: bool,
) -> Groups:
    """Return classes in groups, finest where the risk is.

    Args:
        conns: Connections in all.
        classes: All workers.
        tails: Log of the chance to be over, for one worker of each class.
        most: Groups allowed.
        leave_out: Whether workers of next to no risk may be left out.
    """
    risks = [worker.workers * math.exp(tail) for worker, tail in zip(classes, tails, strict=True)]
    by_risk = sorted(range(len(classes)), key=risks.__getitem__)
    allowed = _SAFE_PART * math.fsum(risks) if leave_out else -1.0
    safe_risk = 0.0
    safe = 0
    while safe < len(by_risk) - 1 and safe_risk + risks[by_risk[safe]] <= allowed:
        safe_risk += risks[by_risk[safe]]
        safe += 1
    out = [classes[i] for i in by_risk[:safe]]
    everyone = [(classes[i], risks[i]) for i in by_risk[safe:]]
    heap = [_Group.of(conns, everyone)]
    while len(heap) < most and heap[0].priority < 0:
        for part in heapq.heappop(heap).halves(conns):
            heapq.heappush(heap, part)
    return Groups(
        tuple(tuple(worker for worker, _ in group.members) for group in heap),
        math.fsum(worker.workers * worker.share for worker in out),
        safe_risk,
    )


def lowered(conns: int, groups: Groups) -> tuple[WorkerClass, ...]:
    """Return workers of which any is over at most as likely as of the true ones."""
    classes = [
        WorkerClass(
            sum(worker.workers for worker in group),
            min(worker.share for worker in group),
            max(worker.cap for worker in group),
        )
        for group in groups.groups
    ]
    rest = 1.0 - math.fsum(worker.workers * worker.share for worker in classes)
    return (*classes, WorkerClass(1, rest, conns)) if rest > 0 else tuple(classes)


def raised(conns: int, groups: Groups, log_short: float) -> Raised:
    """Return workers of which any is over at least as likely, but for those left out.

    Args:
        conns: Connections in all, n.
        groups: The workers.
        log_short: About the log of the chance allowed for too few real connections.
    """
    classes = [
        WorkerClass(
            sum(worker.workers for worker in group),
            max(worker.share for worker in group),
            min(worker.cap for worker in group),
        )
        for group in groups.groups
    ]
    total = math.fsum(worker.workers * worker.share for worker in classes) + groups.safe_share
    # n' / T real ones are expected, with a variance of n (T - 1) / T.
    spread = math.sqrt(-2 * log_short * conns * max(total - 1, 0.0)) - log_short * (total - 1)
    thrown = math.ceil(conns * total + spread * total)
    lighter = [worker._replace(share=worker.share / total) for worker in classes]
    if groups.safe_share > 0:
        lighter.append(WorkerClass(1, groups.safe_share / total, thrown))
    short = log_binomial_cdf(conns - 1, thrown, 1.0 / total) if total > 1 else -math.inf
    return Raised(thrown, tuple(lighter), short)


class _Group(NamedTuple):
    """Classes with their risks; the one most in need of a split sorts first."""

    priority: float
    order: int  # distinct, so that members are never compared
    members: list[tuple[WorkerClass, float]]

    @classmethod
    def of(cls, conns: int, members: list[tuple[WorkerClass, float]]) -> "_Group":
        by_share, by_cap = _spreads(conns, members)
        risk = math.fsum(risk for _, risk in members)
        return cls(-(by_share + by_cap) * risk, id(members), members)

    def halves(self, conns: int) -> "tuple[_Group, _Group]":
        """Return the two parts, below and above the middle of what differs most."""
        by_share, by_cap = _spreads(conns, self.members)
        at = 1 if by_share >= by_cap else 2
        values = [worker[at] for worker, _ in self.members]
        middle = (min(values) + max(values)) / 2
        low = [member for member in self.members if member[0][at] <= middle]
        high = [member for member in self.members if member[0][at] > middle]
        return self.of(conns, low), self.of(conns, high)


def _spreads(conns: int, members: list[tuple[WorkerClass, float]]) -> tuple[float, float]:
    """Return how far shares and caps differ, in standard deviations of a load."""
    shares = [worker.share for worker, _ in members]
    caps = [worker.cap for worker, _ in members]
    sd = math.sqrt(conns * max(shares))
    return conns * (max(shares) - min(shares)) / sd, (max(caps) - min(caps)) / sd
