"""pooled: an idle connection keeps a header; buffers are borrowed while bytes are in flight.

Each worker has an array of MAX_CONN headers and a pool of buffers. Where few connections are active
at a time, that is far less than a slot with its own buffers for each. A pool run as a ring (an
io_uring buffer ring) hands out the buffer that was returned longest ago, so all of it becomes
resident; a stack touches only as many as were ever out at once.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from memplan.constraint import Constraint
from memplan.errors import PlanError, UsageError
from memplan.slot_layout import SlotField, SlotLayout, Used
from memplan.slot_limits import HostLimits
from memplan.slot_load import CountLaw, SlotLoad, SlotShape
from memplan.slot_pages import PackedSlots, PageCount, packed_pages
from memplan.slots import Footprint, SlotStrategy
from memplan.strategies.model import FreeSlots, Handle, Reuse, SlotModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

HEADER_FIELD = "state"
"""The field that a connection keeps while it is idle."""
HEADER_BYTES = 128
"""Its size where the layout does not tell it: offsets, lengths, flags and a timer."""

_TAIL_SDS = 4.0
_FIXED_SDS = 3.0
_NO_CAP = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSettings:
    """How headers and buffers are made.

    Attributes:
        header_bytes: What an idle connection keeps; none: the layout's `state`, or else 128.
        buffers: Buffers of each worker; none: the power of two that holds what is in flight.
        buffer_bytes: A buffer; none: all fields of the layout but `state`.
        pool: `ring` (first in, first out) or `stack` (last in, first out).
    """

    header_bytes: int | None = None
    buffers: int | None = None
    buffer_bytes: int | None = None
    pool: Literal["ring", "stack"] = "ring"

    def __post_init__(self) -> None:
        for name in ("header_bytes", "buffers", "buffer_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")


class PooledStrategy(SlotStrategy[PooledSettings]):
    """`[workers][max_conn]Header` and `[workers][buffers]Buffer`."""

    name = "pooled"
    summary = "an idle connection keeps a header; buffers are borrowed while bytes are in flight"
    settings_type = PooledSettings

    def footprint(
        self, load: SlotLoad, layout: SlotLayout, settings: PooledSettings | None = None
    ) -> Footprint:
        """Return the memory of the headers, reused last-in first-out, and of the pools.

        A ring is resident whole as soon as anything is in flight. A stack is resident to the most
        buffers that were out at once: `now` has one moment's.
        """
        chosen = self.settings_or_default(settings)
        header, buffer = split(layout, chosen)
        count = buffers_of(load, chosen)
        headers = PackedSlots(header, load.used_now, load.page_bytes)
        used = None if load.used_active is None else {**load.used_active, **_merged(load, layout)}
        pool = PackedSlots(buffer, used, load.page_bytes)

        def head(law: CountLaw, total_sd: float | None) -> PageCount:
            return packed_pages(
                headers,
                law,
                workers=load.workers,
                array_slots=load.max_conn,
                one_array=load.one_process,
                total_sd=total_sd,
            )

        def borrowed(law: CountLaw) -> PageCount:
            return packed_pages(
                pool,
                law,
                workers=load.workers,
                array_slots=count,
                one_array=load.one_process,
            )

        now, high = in_flight(load)
        if chosen.pool == "ring" and load.active_fraction > 0:
            flight_now = flight_high = CountLaw.exactly(count, count)
        else:
            flight_now = CountLaw.spread(*now, count)
            flight_high = CountLaw.maximum(*high, count)
        header_bytes, pool_bytes = load.max_conn * header.slot_bytes, count * buffer.slot_bytes
        workers = load.workers if load.one_process else 1
        idle_bytes = headers.pages_per_slot * load.page_bytes
        return Footprint(
            virtual_bytes=load.workers * (header_bytes + pool_bytes),
            table_bytes=0,
            largest_mapping_bytes=workers * max(header_bytes, pool_bytes),
            now=head(load.load_law(), load.conns_sd) + borrowed(flight_now),
            high_water=head(load.high_law(), None) + borrowed(flight_high),
            idle_conn_bytes=idle_bytes,
            active_conn_bytes=idle_bytes + pool.pages_per_slot * load.page_bytes,
            mappings=2.0,
            mappings_worst=2,
        )

    def limits(
        self,
        load: SlotLoad,
        layout: SlotLayout,
        host: HostLimits,
        settings: PooledSettings | None = None,
    ) -> tuple[Constraint, ...]:
        """Return the pool's own bound, then those of every strategy."""
        chosen = self.settings_or_default(settings)
        needed = buffers_needed(load)
        pool = Constraint(
            name="pool buffers",
            needed=needed,
            allowed=buffers_of(load, chosen),
            unit="slots",
            source="buffers of a worker's pool",
            detail=f"{needed:,} of a worker's connections with bytes in flight at a time",
        )
        return (pool, *super().limits(load, layout, host, settings))

    def model(
        self, layout: SlotLayout, shape: SlotShape, settings: PooledSettings | None = None
    ) -> SlotModel:
        """Return headers and pools as a pure model; arguments as in `SlotStrategy.model`.

        Without `buffers` in the settings, a worker has one for each of its connections.
        """
        return PooledModel(layout, shape, self.settings_or_default(settings))


def split(layout: SlotLayout, settings: PooledSettings) -> tuple[SlotLayout, SlotLayout]:
    """Return a slot as the header that an idle connection keeps, and the buffer that it borrows.

    Raises:
        UsageError: Nothing is left for a buffer.
    """
    header_bytes = settings.header_bytes or layout.size_of(HEADER_FIELD) or HEADER_BYTES
    header = SlotLayout((SlotField(HEADER_FIELD, header_bytes),), min(layout.align_bytes, 64))
    if settings.buffer_bytes is not None:
        return header, SlotLayout((SlotField("buffer", settings.buffer_bytes),))
    if layout.size_of(HEADER_FIELD):
        rest = layout.without(HEADER_FIELD)
    else:
        left = layout.slot_bytes - header_bytes
        rest = SlotLayout.opaque(left) if left > 0 else None
    if rest is None:
        raise UsageError(f"a slot of {header_bytes} bytes is all header; pooled needs a buffer")
    return header, rest


def _merged(load: SlotLoad, layout: SlotLayout) -> dict[str, int]:
    """Return what is written of a buffer whose size is set on its own, not field by field."""
    used = load.used_active or {}
    parts = [one for one in layout.fields if one.name != HEADER_FIELD]
    return {"buffer": sum(min(one.size_bytes, used.get(one.name, one.size_bytes)) for one in parts)}


def in_flight(load: SlotLoad) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (mean, sd) of a worker's connections with bytes in flight, now and at high water.

    Each connection is active by itself, so of a load N they are Bin(N, f): variance f^2 Var N +
    f (1 - f) E N. Their high water is taken to be as rare a count as the load's is among loads,
    and no higher than that. An approximation: activity that changes faster than the load has more
    chances to peak. Simulated, it is 3% low where both change alike, 11% where activity is ten
    times as fast, 25% at a hundred times; the four sd that `buffers_needed` adds cover that.
    """
    share, mean = load.active_fraction, load.load_mean
    sd = math.sqrt(share**2 * load.load_sd**2 + share * (1 - share) * mean)
    if load.load_sd <= 0 or sd <= 0:
        return (share * mean, sd), (min(share * mean + _FIXED_SDS * sd, load.high_mean), sd / 2)
    loads, load_tail = _tail(mean, load.load_sd)
    counts, count_tail = _tail(share * mean, sd)
    rarity = float(np.interp(load.high_mean, loads, load_tail))
    high = float(np.interp(-rarity, -count_tail, counts))
    ratio = min(sd / load.load_sd, 1.0)
    return (share * mean, sd), (min(high, load.high_mean), load.high_sd * ratio)


def _tail(mean: float, sd: float) -> "tuple[IntArray, FloatArray]":
    """Return counts and the logarithms of the chances of that many or more."""
    law = CountLaw.spread(mean, sd, _NO_CAP)
    tail = law.at_least(law.values)
    likely = tail > 0
    return law.values[likely], np.log(tail[likely])


def buffers_needed(load: SlotLoad) -> int:
    """Return the buffers that a worker needs: its high water in flight, with four sd to spare."""
    _, (mean, sd) = in_flight(load)
    return max(min(math.ceil(mean + _TAIL_SDS * sd), load.max_conn), 1)


def buffers_of(load: SlotLoad, settings: PooledSettings) -> int:
    """Return the buffers of each worker's pool; a ring's number is a power of two."""
    if settings.buffers is not None:
        return settings.buffers
    return 1 << (buffers_needed(load) - 1).bit_length()


class PooledModel(SlotModel):
    """Headers and pools as a pure model; a place is a header."""

    def __init__(self, layout: SlotLayout, shape: SlotShape, settings: PooledSettings) -> None:
        """Start with all headers and buffers fresh."""
        super().__init__(layout, shape)
        self._header, self._buffer = split(layout, settings)
        self._buffers = settings.buffers or shape.max_conn
        reuse: Reuse = "fifo" if settings.pool == "ring" else "lifo"
        self._free = [FreeSlots("lifo", shape.max_conn) for _ in range(shape.workers)]
        self._pool = [FreeSlots(reuse, self._buffers) for _ in range(shape.workers)]
        self._borrowed: dict[Handle, int] = {}

    def open(self) -> None:
        """Map the headers and the pools."""
        workers = self.shape.workers // self.shape.processes
        headers_bytes = workers * self.shape.max_conn * self._header.slot_bytes
        for process in range(self.shape.processes):
            self._map(("headers", process), headers_bytes)
            self._map(("buffers", process), workers * self._buffers * self._buffer.slot_bytes)

    def borrow(self, handle: Handle) -> None:
        """Take a buffer of the worker's pool; one that is already held stays.

        Raises:
            PlanError: All of them are out (ENOBUFS to an io_uring recv).
        """
        self.place_of(handle)
        if handle in self._borrowed:
            return
        buffer = self._pool[handle.worker].take()
        if buffer is None:
            raise PlanError(
                f"all {self._buffers} buffers of worker {handle.worker}'s pool are in use"
            )
        self._borrowed[handle] = buffer

    def give_back(self, handle: Handle) -> None:
        """Return the buffer of a connection that has nothing in flight any more."""
        if handle not in self._borrowed:
            raise UsageError(f"connection {handle.number} holds no buffer")
        self._pool[handle.worker].put(self._borrowed.pop(handle))

    def _accept(self, worker: int) -> int | None:
        return self._free[worker].take()

    def _touch(self, handle: Handle, place: int, used: Used | None) -> None:
        """Write the header, and the buffer where one is borrowed."""
        process, slot = self.shape.find(handle.worker, place, self.shape.max_conn)
        self._write_slot(("headers", process), slot * self._header.slot_bytes, self._header, used)
        if handle in self._borrowed:
            process, slot = self.shape.find(handle.worker, self._borrowed[handle], self._buffers)
            self._write_slot(
                ("buffers", process), slot * self._buffer.slot_bytes, self._buffer, used
            )

    def _close(self, handle: Handle, place: int) -> None:
        if handle in self._borrowed:
            self.give_back(handle)
        self._free[handle.worker].put(place)
