"""static: every worker has an array of MAX_CONN slots, packed, there from the start.

Pages that nobody touches are not resident, so a generous MAX_CONN costs address space alone. What
is touched stays: resident are the slots of a worker's high water, not those in use.
"""

import math
from dataclasses import dataclass
from typing import Literal

from memplan.slot_layout import SlotLayout, Used
from memplan.slot_load import CountLaw, SlotLoad, SlotShape
from memplan.slot_pages import PackedSlots, packed_pages
from memplan.slots import Footprint, SlotStrategy
from memplan.statistics.distributions import normal_sf
from memplan.strategies.model import FreeSlots, Handle, SlotModel


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSettings:
    """How static slots are reused and aligned.

    Attributes:
        reuse: Which free slot is taken next: the one freed last (`lifo`), the first of the array
            (`lowest`), or the one freed longest ago (`fifo`, which walks through all slots).
        align_bytes: Alignment of each slot, raised to that of its layout.
    """

    reuse: Literal["lifo", "lowest", "fifo"] = "lifo"
    align_bytes: int = 1


class StaticStrategy(SlotStrategy[StaticSettings]):
    """`[workers][max_conn]Slot`, packed."""

    name = "static"
    summary = "an array of MAX_CONN slots for each worker; resident is what has been touched"
    settings_type = StaticSettings

    def footprint(
        self, load: SlotLoad, layout: SlotLayout, settings: StaticSettings | None = None
    ) -> Footprint:
        """Return the memory of the arrays: touched are the first slots of each, to its high water.

        With `fifo` the slots touched are those accepted so far, to all of them.
        """
        chosen = self.settings_or_default(settings)
        slot = layout.aligned(chosen.align_bytes)
        slots = PackedSlots(slot, load.used_now, load.page_bytes)
        array_bytes = load.max_conn * slot.slot_bytes
        high = high_water_law(load, chosen.reuse)
        now = packed_pages(
            slots,
            load.load_law(),
            workers=load.workers,
            array_slots=load.max_conn,
            one_array=load.one_process,
            total_sd=load.conns_sd,
        )
        # At one moment the workers' loads add up to the connections; their maxima are free to vary.
        moment = (load.high_mean, load.high_sd) == (load.load_mean, load.load_sd)
        high_water = packed_pages(
            slots,
            high,
            workers=load.workers,
            array_slots=load.max_conn,
            one_array=load.one_process,
            total_sd=load.conns_sd if moment and chosen.reuse != "fifo" else None,
        )
        conn_bytes = slots.pages_per_slot * load.page_bytes
        free_tail = max(high.mean - last_in_use(load, chosen.reuse, high.mean), 0.0)
        return Footprint(
            virtual_bytes=load.workers * array_bytes,
            table_bytes=0,
            largest_mapping_bytes=array_bytes * (load.workers if load.one_process else 1),
            now=now,
            high_water=high_water,
            idle_conn_bytes=conn_bytes,
            active_conn_bytes=conn_bytes,
            trimmable_bytes=load.workers * free_tail * conn_bytes,
        )

    def model(
        self, layout: SlotLayout, shape: SlotShape, settings: StaticSettings | None = None
    ) -> SlotModel:
        """Return the arrays as a pure model; arguments as in `SlotStrategy.model`."""
        return StaticModel(layout, shape, self.settings_or_default(settings))


def high_water_law(load: SlotLoad, reuse: str) -> CountLaw:
    """Return the law of the slots that a worker has touched by the end of the horizon."""
    if reuse != "fifo":
        return load.high_law()
    if load.accepts is None:
        return CountLaw.exactly(load.max_conn, load.max_conn)
    # A queue of all slots hands out a fresh one at each accept until all have had their turn. The
    # start's connections vary as the load does, the later accepts are a Poisson count.
    later = max(load.accepts - load.load_mean, 0.0)
    return CountLaw.spread(load.accepts, math.sqrt(load.load_sd**2 + later), load.max_conn)


def last_in_use(load: SlotLoad, reuse: str, high: float) -> float:
    """Return the slots up to the last one in use, once the load has settled below its high water.

    Free slots in the middle cannot be trimmed. `lifo` and `fifo` leave the slots in use anywhere
    among those touched, as if drawn at random: the last of n among h is expected at
    n (h + 1) / (n + 1). `lowest` keeps them dense: by the ordered hunt of M/M/inf, E[slots in use
    beyond k] = a B(k, a) with B Erlang's loss (Wilkinson 1956), and P(any) is no more than that or
    1; summed over k in the limit a B(a + x s) = s phi(x) / Phi(x), s the load's sd. An upper bound.
    """
    mean, sd = load.load_mean, load.load_sd
    if reuse != "lowest" or sd <= 0:
        return high if sd <= 0 else min(mean * (high + 1) / (mean + 1), high)

    def beyond(x: float) -> float:
        return sd * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / normal_sf(-x)

    low, top = -1.0, 40.0
    while top - low > 1e-6:
        middle = (low + top) / 2
        low, top = (middle, top) if beyond(middle) > 1 else (low, middle)
    return min(mean + sd * low - sd * sd * math.log1p(-normal_sf(low)), high)


class StaticModel(SlotModel):
    """Static slots as a pure model: one array a process, a list of free slots a worker."""

    def __init__(self, layout: SlotLayout, shape: SlotShape, settings: StaticSettings) -> None:
        """Start with all slots fresh."""
        super().__init__(layout.aligned(settings.align_bytes), shape)
        self._free = [FreeSlots(settings.reuse, shape.max_conn) for _ in range(shape.workers)]

    def open(self) -> None:
        """Map the arrays."""
        slots = self.shape.workers // self.shape.processes * self.shape.max_conn
        for process in range(self.shape.processes):
            self._map(("slots", process), slots * self.layout.slot_bytes)

    def high_water(self, worker: int) -> int:
        """Return how many of a worker's slots have been used at least once."""
        return self._free[worker].high_water

    def _accept(self, worker: int) -> int | None:
        return self._free[worker].take()

    def _touch(self, handle: Handle, place: int, used: Used | None) -> None:
        process, slot = self.shape.find(handle.worker, place, self.shape.max_conn)
        self._write_slot(("slots", process), slot * self.layout.slot_bytes, self.layout, used)

    def _close(self, handle: Handle, place: int) -> None:
        self._free[handle.worker].put(place)
