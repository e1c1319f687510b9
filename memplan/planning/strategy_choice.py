"""Each slot strategy at its own best layout, so that the strategies can be compared."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

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
        pairs: The same as typed, those that were.
        layout: Its slot.
        load: The load as it meets it.
        footprint: The memory that it takes.
        ends: The same at the fewest and the most connections, where they are not known exactly.
        limits: The limits that it runs into.
    """

    strategy: SlotStrategy[Any]
    settings: object
    pairs: Mapping[str, str]
    layout: SlotLayout
    load: SlotLoad
    footprint: Footprint
    ends: tuple[Footprint, ...]
    limits: tuple[Constraint, ...]

    @property
    def name(self) -> str:
        """The strategy's name."""
        return self.strategy.name

    @property
    def low_bytes(self) -> float:
        """Low end of the resident high water's 95% interval, at the fewest connections."""
        return min(one.high_water.low_bytes for one in (self.footprint, *self.ends))

    @property
    def high_bytes(self) -> float:
        """High end of the resident high water's 95% interval, at the most connections."""
        return max(one.high_water.high_bytes for one in (self.footprint, *self.ends))


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
        spread = self._spread_at(self.workload.conns.median)
        object.__setattr__(self, "_spread", spread)

    def _spread_at(self, conns: float) -> tuple[float, float, float, float]:
        """Return a worker's load and high water, mean and sd each, at so many connections."""
        model = replace(self.model, conns=conns)
        workers = model.workers
        weights = model.weights or (1.0,) * workers
        alike = Counter(weights)
        loads, highs = [], []
        for weight, count in alike.items():
            worker = weights.index(weight)
            marginal = model.worker_marginal(worker)
            loads.append((count / workers, marginal.mean, marginal.sd))
            if self.horizon_s is not None:
                running = model.running_max(self.horizon_s, worker)
                highs.append((count / workers, running.mean(), running.sd()))
        # The arrays and descriptors of workers that are down are still there; they hold nothing.
        up = workers / self.workload.workers
        mean, sd, high_mean, high_sd = (*_mixed(loads), *_mixed(highs or loads))
        root = math.sqrt(up)
        return mean * up, sd * root, high_mean * up, high_sd * root

    def loads(self, max_conn: int) -> "Loads":
        """Return the load for so many slots a worker, and its ends where it is not known."""
        conns = self.workload.conns
        expected = self.load(max_conn)
        if conns.exact:
            return Loads(expected, expected, ())
        ends = tuple(self.load(max_conn, conns=end) for end in (conns.low, conns.high))
        return Loads(expected, replace(expected, conns_high=self.most_conns), ends)

    def load(self, max_conn: int, conns: float | None = None) -> SlotLoad:
        """Return the load for so many slots a worker at so many connections, or at the median."""
        workload = self.workload
        mean, sd, high_mean, high_sd = self._spread if conns is None else self._spread_at(conns)
        conns = workload.conns.median if conns is None else conns
        rate = workload.reconnects_per_s or 0.0
        return SlotLoad(
            workers=workload.workers,
            max_conn=max_conn,
            conns=conns,
            load_mean=mean,
            load_sd=sd,
            high_mean=high_mean,
            high_sd=high_sd,
            conns_sd=math.sqrt(conns) if workload.population == "open" else 0.0,
            conns_high=conns + self.most_conns - workload.conns.high,
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


class Loads(NamedTuple):
    """The load as it counts for memory, for limits, and at the ends of what is not known.

    Attributes:
        expected: At the median of the connections.
        most: The same, but for the most connections that may be open: what limits must hold.
        ends: At the fewest and at the most connections; empty where they are known exactly.
    """

    expected: SlotLoad
    most: SlotLoad
    ends: tuple[SlotLoad, ...]


def _mixed(parts: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Return the mean and sd over workers of some (share, mean, sd), their differences included."""
    mean = sum(share * part for share, part, _ in parts)
    square = sum(share * (sd * sd + (part - mean) ** 2) for share, part, sd in parts)
    return mean, math.sqrt(square)


def judge(
    name: str,
    *,
    layouts: Iterable[SlotLayout],
    loads: Loads,
    host: HostLimits,
    pairs: Mapping[str, str],
) -> Rival:
    """Return a strategy at the layout that makes least memory resident at the high water.

    Args:
        name: The strategy's name.
        layouts: The layouts to compare, at least one.
        loads: The load.
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
            tried.append((layout, strategy.footprint(loads.expected, layout, settings)))
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
        pairs=pairs,
        layout=layout,
        load=loads.most,
        footprint=footprint,
        ends=tuple(strategy.footprint(end, layout, settings) for end in loads.ends),
        limits=strategy.limits(loads.most, layout, host, settings),
    )
