"""fd: a table indexed by descriptor, and a mapping of its own for each connection.

A mapping is whole pages, taken at accept and given back at close, so memory follows the
connections down again. What it costs: rounding up to pages, a table whose entries are thinly spread
where each worker has its own, and mappings, which the kernel bounds.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from memplan.constraint import Constraint
from memplan.slot_layout import SlotLayout, Used, round_up
from memplan.slot_limits import HostLimits, descriptors_of, most_fragments, table_limit
from memplan.slot_load import CountLaw, SlotLoad, SlotShape
from memplan.slot_pages import PackedSlots, PageCount, packed_pages
from memplan.slots import Footprint, SlotStrategy
from memplan.strategies.model import FreeSlots, Handle, Region, SlotModel

RUNS_PER_ROOT = 0.78
"""Mappings of a process after much churn, over the root of its mean connections.

The kernel fills the highest gap first, so that mappings of one size are the ordered hunt of
M/M/inf. Its exact chain of two neighbouring places, summed over places, gives runs of 0.81 roots at
a mean of 16 and 0.79 at 64; simulated with the kernel's rules of merging it is 0.84 at 16, 0.79 at
64, 0.78 at 256 and 0.76 at 1,024: within 8% of this. A process whose connections are fixed in
number fills each gap as it opens, and has one."""

_MOST_TABLES = 64
_MOST_PAGES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FdSettings:
    """How the table and the mappings are made.

    Attributes:
        entry_bytes: An entry of the table: a pointer.
        table: One table for each worker, or one for each process.
        munmap: Whether a closed connection's mapping is given back; else the worker keeps it for
            its next connection.
    """

    entry_bytes: int = 8
    table: Literal["worker", "process"] = "worker"
    munmap: bool = True


class FdStrategy(SlotStrategy[FdSettings]):
    """`[max_fd]?*Slot`, and a mapping for each slot."""

    name = "fd"
    summary = "a table by descriptor; a mapping for each connection, given back at close"
    settings_type = FdSettings
    fragments_detail = "every other connection closed, the rest not neighbours any more"

    def footprint(
        self, load: SlotLoad, layout: SlotLayout, settings: FdSettings | None = None
    ) -> Footprint:
        """Return the memory of the open connections' mappings, and of the tables."""
        chosen = self.settings_or_default(settings)
        pages = len(layout.pages_touched(0, load.used_now, load.page_bytes))
        mapped_bytes = layout.pages_alone(load.page_bytes) * load.page_bytes
        high, variance = load.most_conns, load.conns_sd**2
        if not chosen.munmap:
            law = load.high_law()
            high, variance = load.workers * law.mean, load.workers * law.variance
        now = PageCount.normal(
            load.conns * pages, load.conns_sd**2 * pages**2, page_bytes=load.page_bytes
        )
        most = PageCount.normal(high * pages, variance * pages**2, page_bytes=load.page_bytes)
        tables = load.workers if chosen.table == "worker" else load.processes
        table_bytes = tables * max_fd_of(load) * chosen.entry_bytes
        one_table = table_bytes // (1 if load.one_process else load.workers)
        of_a_process = high / load.processes
        mean, sd = (
            (load.conns, load.conns_sd) if load.one_process else (load.load_mean, load.load_sd)
        )
        runs = min(max(RUNS_PER_ROOT * math.sqrt(mean), 1.0), of_a_process) if sd > 0 else 1.0
        conn_bytes = float(pages * load.page_bytes + chosen.entry_bytes)
        return Footprint(
            virtual_bytes=math.ceil(high) * mapped_bytes + table_bytes,
            table_bytes=table_bytes,
            # Where all neighbours merge, the mappings of a process are one piece to the kernel,
            # but each was asked for on its own, and overcommit judges what is asked for.
            largest_mapping_bytes=max(mapped_bytes, one_table),
            now=now + _table_pages(load, chosen, churned=False),
            high_water=most + _table_pages(load, chosen, churned=True),
            idle_conn_bytes=conn_bytes,
            active_conn_bytes=conn_bytes,
            mappings=1 + (runs if chosen.munmap else 1),
            mappings_worst=1
            + (most_fragments(load.most_conns_of_a_process) if chosen.munmap else 1),
        )

    def limits(
        self,
        load: SlotLoad,
        layout: SlotLayout,
        host: HostLimits,
        settings: FdSettings | None = None,
    ) -> tuple[Constraint, ...]:
        """Return the table's own bound, then those of every strategy."""
        return (table_limit(load), *super().limits(load, layout, host, settings))

    def model(
        self, layout: SlotLayout, shape: SlotShape, settings: FdSettings | None = None
    ) -> SlotModel:
        """Return tables and mappings as a pure model; arguments as in `SlotStrategy.model`."""
        return FdModel(layout, shape, self.settings_or_default(settings))


def max_fd_of(load: SlotLoad) -> int:
    """Return the entries of a table: as given, or just enough for all descriptors of a process."""
    return descriptors_of(load).total if load.max_fd is None else load.max_fd


def _table_pages(load: SlotLoad, settings: FdSettings, *, churned: bool) -> PageCount:
    """Return the pages of the tables: the kernel gives the lowest free number, so they are dense.

    Args:
        load: The load.
        settings: The strategy's settings.
        churned: At the end of the horizon, when every descriptor has had many connections.
    """
    first = load.other_fds_of_a_process
    if load.one_process and settings.table == "worker" and load.workers > 1:
        return _thin_tables(load, settings, churned=churned)
    entries = PackedSlots(SlotLayout.opaque(settings.entry_bytes), None, load.page_bytes)
    if load.one_process:
        law = CountLaw.exactly(load.most_conns if churned else load.conns, max_fd_of(load))
        dense = entries.pages(first, law.values)
        return PageCount.normal(float(dense @ law.probs), 0.0, page_bytes=load.page_bytes)
    # One process, one worker, one table: its own connections, from its first free descriptor.
    shifted = load.high_law() if churned else load.load_law()
    below = int(entries.pages(0, first)) - int(entries.joined(first))
    counts = CountLaw(shifted.values + first, shifted.probs)
    pages = packed_pages(
        entries, counts, workers=load.workers, array_slots=max_fd_of(load), one_array=False
    )
    return PageCount.normal(
        pages.mean - load.workers * below, pages.sd**2, page_bytes=load.page_bytes
    )


def _thin_tables(load: SlotLoad, settings: FdSettings, *, churned: bool) -> PageCount:
    """Return the pages of the tables of workers that share one process's descriptors.

    A descriptor belongs to worker i with chance 1 / W, whatever the others do, so a page that
    holds k entries which may be used is untouched with chance (1 - 1/W)^k; with n connections for
    each entry in turn, (1 - 1/W)^(k n). Pages are negatively associated: the variance is a bound.
    """
    page, size = load.page_bytes, max_fd_of(load) * settings.entry_bytes
    first = load.other_fds_of_a_process * settings.entry_bytes
    conns = load.most_conns if churned else load.conns
    used = max(min(math.ceil(conns) * settings.entry_bytes, size - first), 0)
    turns = 1.0
    if churned:
        accepts = math.inf if load.accepts is None else load.accepts * load.workers
        turns = max(accepts / max(conns, 1.0), 1.0)
    share = math.log1p(-1 / load.workers)
    # Whole pages in the midst of a table are all alike; they are counted once and cut out, which
    # leaves every table's start and end where they were on their pages.
    cut = max(used // page - 2, 0)
    inner = -math.expm1(page // settings.entry_bytes * turns * share)
    size, used = size - cut * page, used - cut * page
    # So many tables stand for all; they are packed behind each other and may share pages.
    tables = max(1, min(load.workers, _MOST_TABLES, _MOST_PAGES * page // size))
    edges = np.arange(-(-tables * size // page) + 1) * page
    before = np.minimum(edges, tables * size) // size * used
    before += np.where(edges < tables * size, np.clip(edges % size - first, 0, used), 0)
    entries = np.diff(before) / settings.entry_bytes
    touched = -np.expm1(entries[entries > 0] * turns * share)
    scale = load.workers / tables
    mean = scale * float(touched.sum()) + load.workers * cut * inner
    variance = scale * float((touched * (1 - touched)).sum())
    variance += load.workers * cut * inner * (1 - inner)
    return PageCount.normal(mean, variance, page_bytes=page)


class FdModel(SlotModel):
    """Tables and mappings as a pure model; a place is a descriptor."""

    def __init__(self, layout: SlotLayout, shape: SlotShape, settings: FdSettings) -> None:
        """Start with no connection and the descriptors that each process has open anyway."""
        super().__init__(layout, shape)
        full = SlotLoad.full(shape)
        self._settings = settings
        self._max_fd = max_fd_of(full)
        self._first_fd = full.other_fds_of_a_process
        # The kernel hands out the lowest free descriptor; POSIX has it so.
        free = max(self._max_fd - self._first_fd, 0)
        self._fds = [FreeSlots("lowest", free) for _ in range(shape.processes)]
        self._open_of = [0] * shape.workers
        self._mapping: dict[Handle, Region] = {}
        self._kept: list[list[Region]] = [[] for _ in range(shape.workers)]
        self._mapped = 0

    def open(self) -> None:
        """Map the tables."""
        workers = self.shape.workers // self.shape.processes
        tables = workers if self._settings.table == "worker" else 1
        for process in range(self.shape.processes):
            self._map(("table", process), tables * self._max_fd * self._settings.entry_bytes)

    def _accept(self, worker: int) -> int | None:
        if self._open_of[worker] == self.shape.max_conn:
            return None
        return self._fds[self.shape.find(worker, 0, 0)[0]].take()

    def accept(self, worker: int) -> Handle:
        """Return a new connection: its slot is mapped and its table entry written."""
        handle = super().accept(worker)
        self._open_of[worker] += 1
        if self._kept[worker]:
            self._mapping[handle] = self._kept[worker].pop()
        else:
            region: Region = ("slot", self._mapped)
            self._mapped += 1
            self._mapping[handle] = region
            self._map(region, round_up(self.layout.slot_bytes, self.shape.page_bytes))
        self._write_entry(handle)
        return handle

    def _write_entry(self, handle: Handle) -> None:
        array = self._max_fd if self._settings.table == "worker" else 0
        fd = self.place_of(handle) + self._first_fd
        process, entry = self.shape.find(handle.worker, fd, array)
        size = self._settings.entry_bytes
        self._write(("table", process), entry * size, size)

    def _touch(self, handle: Handle, place: int, used: Used | None) -> None:
        del place  # a descriptor; the mapping says where the slot is
        self._write_slot(self._mapping[handle], 0, self.layout, used)

    def _close(self, handle: Handle, place: int) -> None:
        self._write_entry(handle)
        self._fds[self.shape.find(handle.worker, 0, 0)[0]].put(place)
        self._open_of[handle.worker] -= 1
        region = self._mapping.pop(handle)
        if self._settings.munmap:
            self._unmap(region)
        else:
            self._kept[handle.worker].append(region)
