"""Slots without a kernel: connections come and go, and the pages that they touch are counted.

A strategy's model decides where each connection's bytes lie. It tells an observer of every region
that it maps, unmaps and writes to, so that `realisation` can do the same to real memory.
"""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal, Protocol

from memplan.errors import PlanError, UsageError
from memplan.slot_layout import SlotLayout, Used
from memplan.slot_load import SlotShape

Reuse = Literal["lifo", "lowest", "fifo"]

Region = tuple[str, int]
"""Names one mapping: what it holds, and which of its kind it is."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A connection that was accepted: its worker, and a number that no other one ever has."""

    worker: int
    number: int


class Observer(Protocol):
    """Who is told of what a model does to memory."""

    def map(self, region: Region, size_bytes: int) -> None:
        """Take a region, at least one page."""

    def unmap(self, region: Region) -> None:
        """Give a region back."""

    def write(self, region: Region, offset_bytes: int, size_bytes: int) -> None:
        """Write so many bytes into a region."""


class FreeSlots:
    """The slots of one worker that are free, in the order in which they are taken again.

    A slot that was never used is fresh; fresh ones are taken in rising order. `lifo` and `lowest`
    take one only when no used slot is free; `fifo` takes all fresh ones first, as a queue that
    held every slot at the start would.
    """

    __slots__ = ("_fresh", "_heap", "_queue", "_reuse", "_size")

    def __init__(self, reuse: Reuse, size: int) -> None:
        """Start with `size` fresh slots."""
        self._reuse = reuse
        self._size = size
        self._fresh = 0
        self._queue: deque[int] = deque()
        self._heap: list[int] = []

    @property
    def high_water(self) -> int:
        """Slots that have been taken at least once: these are the first ones."""
        return self._fresh

    def take(self) -> int | None:
        """Return the next slot to use; None where all are taken."""
        fresh = self._fresh < self._size
        if self._heap:
            return heappop(self._heap)
        if self._queue and not (self._reuse == "fifo" and fresh):
            return self._queue.popleft() if self._reuse == "fifo" else self._queue.pop()
        if not fresh:
            return None
        self._fresh += 1
        return self._fresh - 1

    def put(self, slot: int) -> None:
        """Give a slot back."""
        if self._reuse == "lowest":
            heappush(self._heap, slot)
        else:
            self._queue.append(slot)


class SlotModel(ABC):
    """Connections on workers, and the pages that they have made resident.

    Attributes:
        layout: The slot.
        shape: How many there are.
        observer: Who is told of what happens to memory; None for nobody.
    """

    def __init__(self, layout: SlotLayout, shape: SlotShape) -> None:
        """Start with no connection; a subclass maps its arrays in `open`."""
        self.layout = layout
        self.shape = shape
        self.observer: Observer | None = None
        self._touched: dict[Region, set[int]] = {}
        self._sizes: dict[Region, int] = {}
        self._accepted = 0
        self._places: dict[Handle, int] = {}

    # What a subclass says ---------------------------------------------------------------------

    @abstractmethod
    def open(self) -> None:
        """Map what is there before the first connection."""

    @abstractmethod
    def _accept(self, worker: int) -> int | None:
        """Return the place of a new connection; None where there is none free."""

    @abstractmethod
    def _touch(self, handle: Handle, place: int, used: Used | None) -> None:
        """Write the bytes that a connection uses of each field."""

    @abstractmethod
    def _close(self, handle: Handle, place: int) -> None:
        """Free the place of a connection."""

    def borrow(self, handle: Handle) -> None:  # noqa: ARG002 - for those that override this
        """Take a buffer for a connection that has bytes in flight.

        Raises:
            UsageError: The strategy's slots hold their own buffers.
        """
        raise UsageError("only pooled slots borrow buffers; these hold their own")

    def give_back(self, handle: Handle) -> None:  # noqa: ARG002 - as above
        """Return a connection's buffer to its pool.

        Raises:
            UsageError: The connection has borrowed none.
        """
        raise UsageError("only pooled slots borrow buffers; these hold their own")

    # What a user does -------------------------------------------------------------------------

    def accept(self, worker: int) -> Handle:
        """Return a new connection on a worker; where it lies is decided, nothing is written yet.

        Raises:
            UsageError: There is no such worker.
            PlanError: The worker has no place left: an overflow.
        """
        if not 0 <= worker < self.shape.workers:
            raise UsageError(f"workers are 0 to {self.shape.workers - 1}, not {worker}")
        place = self._accept(worker)
        if place is None:
            raise PlanError(f"worker {worker} has no place left for a connection")
        handle = Handle(worker, self._accepted)
        self._accepted += 1
        self._places[handle] = place
        return handle

    def touch(self, handle: Handle, used: Used | None = None) -> None:
        """Write the first bytes of each field of a connection's slot.

        Args:
            handle: The connection.
            used: Bytes of each field; None writes all. See `Used` for what is not named.
        """
        self._touch(handle, self.place_of(handle), used)

    def close(self, handle: Handle) -> None:
        """Close a connection; its place is free for the next one."""
        place = self.place_of(handle)
        self._close(handle, place)
        del self._places[handle]

    def place_of(self, handle: Handle) -> int:
        """Return where a connection lies: its slot's number on its worker, or its descriptor.

        Raises:
            UsageError: It is closed, or was never accepted here.
        """
        if handle not in self._places:
            raise UsageError(f"connection {handle.number} is not open")
        return self._places[handle]

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._places)

    @property
    def regions(self) -> dict[Region, int]:
        """The regions mapped now, each with its bytes."""
        return dict(self._sizes)

    def pages(self) -> int:
        """Return the resident pages: those written at least once since they were mapped."""
        return sum(map(len, self._touched.values()))

    def touched_pages(self, region: Region) -> frozenset[int]:
        """Return the numbers of the resident pages of a region."""
        return frozenset(self._touched[region])

    # What moves memory --------------------------------------------------------------------------

    def _map(self, region: Region, size_bytes: int) -> None:
        self._touched[region] = set()
        self._sizes[region] = size_bytes
        if self.observer is not None:
            self.observer.map(region, size_bytes)

    def _unmap(self, region: Region) -> None:
        del self._touched[region], self._sizes[region]
        if self.observer is not None:
            self.observer.unmap(region)

    def _write(self, region: Region, offset_bytes: int, size_bytes: int) -> None:
        """Write bytes that are no slot, such as a table's entry."""
        first, last = offset_bytes, offset_bytes + size_bytes - 1
        self._touched[region].update(
            range(first // self.shape.page_bytes, last // self.shape.page_bytes + 1)
        )
        if self.observer is not None:
            self.observer.write(region, offset_bytes, size_bytes)

    def _write_slot(
        self, region: Region, offset_bytes: int, layout: SlotLayout, used: Used | None
    ) -> None:
        """Write a slot at an offset of a region."""
        self._touched[region].update(
            layout.pages_touched(offset_bytes, used, self.shape.page_bytes)
        )
        if self.observer is not None:
            for start, end in layout.touched_ranges(used):
                self.observer.write(region, offset_bytes + start, end - start)
