"""Each slot strategy at its own best layout, so that the strategies can be compared."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memplan.errors import UsageError
from memplan.planning.sizing import BufferNeed
from memplan.reuseport_model import ReuseportModel
from memplan.slots import Constraint, Footprint, HostLimits, SlotLayout, SlotLoad, SlotStrategy
from memplan.slots import find_strategy as strategy_of
from memplan.workload import Workload

_SAME = 1.005
"""Layouts within half a percent of the least memory count as equal: the roomier one is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A strategy with the layout that it is judged by.

    Attributes:
        strategy: The strategy.
        settings: Its own settings.
        layout: Its slot.
        load: The load as it meets it.
        footprint: The memory that it takes.
        limits: The limits that it runs into.
    """

    strategy: SlotStrategy[Any]
    settings: object
    layout: SlotLayout
    load: SlotLoad
    footprint: Footprint
    limits: tuple[Constraint, ...]

    @property
    def name(self) -> str:
        """The strategy's name."""
        return self.strategy.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMaker:
    """Makes the load of a strategy from the spread of connections, worked out once.

    Attributes:
        workload: The load.
        model: The spread of connections over workers.
        need: What the traffic writes of each field.
        horizon_s: The time over which memory reaches its high water; None for a snapshot.
        most_conns: The most connections open at a time, over all workers.
        max_fd: Entries of a table indexed by descriptor; None makes it as large as is needed.
        page_bytes: Size of a page.
    """

    workload: Workload
    model: ReuseportModel
    need: BufferNeed
    horizon_s: float | None
    most_conns: float
    max_fd: int | None
    page_bytes: int
    _spread: tuple[float, float, float, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        workers = self.model.workers
        weights = self.model.weights or (1.0,) * workers
        alike = Counter(weights)
        loads, highs = [], []
        for weight, count in alike.items():
            worker = weights.index(weight)
            marginal = self.model.worker_marginal(worker)
            loads.append((count / workers, marginal.mean, marginal.sd))
            if self.horizon_s is not None:
                running = self.model.running_max(self.horizon_s, worker)
                highs.append((count / workers, running.mean(), running.sd()))
        # The arrays and descriptors of workers that are down are still there; they hold nothing.
        up = workers / self.workload.workers
        mean, sd, high_mean, high_sd = (*_mixed(loads), *_mixed(highs or loads))
        root = math.sqrt(up)
        object.__setattr__(self, "_spread", (mean * up, sd * root, high_mean * up, high_sd * root))

    def load(self, max_conn: int) -> SlotLoad:
        """Return the load for so many slots a worker."""
        workload = self.workload
        mean, sd, high_mean, high_sd = self._spread
        rate = workload.reconnects_per_s or 0.0
        return SlotLoad(
            workers=workload.workers,
            max_conn=max_conn,
            conns=workload.conns.median,
            load_mean=mean,
            load_sd=sd,
            high_mean=high_mean,
            high_sd=high_sd,
            conns_sd=math.sqrt(workload.conns.median) if workload.population == "open" else 0.0,
            conns_high=self.most_conns,
            max_fd=self.max_fd,
            active_fraction=workload.active_fraction,
            used_active=self.used,
            accepts=mean + rate * (self.horizon_s or 0.0) / workload.workers,
            process_model=workload.process_model,
            page_bytes=self.page_bytes,
        )

    @property
    def used(self) -> Mapping[str, int]:
        """Bytes that an active connection writes of each field; unknown ones are written whole."""
        sizes = {"recv": self.need.recv, "body": self.need.body, "write": self.need.write}
        return {name: size for name, size in sizes.items() if size is not None}


def _mixed(parts: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Return the mean and sd over workers of some (share, mean, sd), their differences included."""
    mean = sum(share * part for share, part, _ in parts)
    square = sum(share * (sd * sd + (part - mean) ** 2) for share, part, sd in parts)
    return mean, math.sqrt(square)


def judge(
    name: str,
    *,
    layouts: Iterable[SlotLayout],
    load: SlotLoad,
    host: HostLimits,
    pairs: Mapping[str, str],
) -> Rival:
    """Return a strategy at the layout that makes least memory resident at the high water.

    Args:
        name: The strategy's name.
        layouts: The layouts to compare, at least one.
        load: The load.
        host: What the machine allows.
        pairs: The strategy's own settings, as typed.

    Raises:
        UsageError: There is no such strategy, a setting does not fit it, or it refuses every one
            of the layouts.
    """
    strategy = strategy_of(name)
    settings = strategy.settings_of(pairs)
    tried, refusals = [], []
    for layout in layouts:
        try:
            tried.append((layout, strategy.footprint(load, layout, settings)))
        except UsageError as refusal:
            refusals.append(refusal)
    if not tried:
        raise refusals[0]
    least = min(footprint.high_water.mean for _, footprint in tried)
    layout, footprint = max(
        (one for one in tried if one[1].high_water.mean <= least * _SAME),
        key=lambda one: one[0].slot_bytes,
    )
    return Rival(
        strategy=strategy,
        settings=settings,
        layout=layout,
        load=load,
        footprint=footprint,
        limits=strategy.limits(load, layout, host, settings),
    )
