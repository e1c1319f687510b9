"""Slots laid out in this process for real, so that the kernel's page counts prove the model's.

Every region of a `SlotModel` becomes a private anonymous mapping without huge pages, and every
write of the model a write to it. The kernel then tells which of exactly these pages are resident.
"""

import mmap
import os
import re
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np

from memplan.errors import MeasureError
from memplan.slot_layout import Used, round_up
from memplan.strategies.mappings import AddressSpace
from memplan.strategies.model import Handle, Region, SlotModel

Source = Literal["pagemap", "smaps", "mincore"]

# MAP_NORESERVE, which the mmap module names only since Python 3.12 or not at all: untouched slots
# must not be refused for their size, and the flag tells our mappings from the interpreter's own,
# which would else merge with them.
_NORESERVE = getattr(
    mmap, "MAP_NORESERVE", 0x40 if os.uname().machine.startswith(("ppc", "sparc")) else 0x4000
)
_PRESENT_OR_SWAPPED = 62
_ENTRY_BYTES = 8
_CHUNK_PAGES = 1 << 16
_RANGE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ")
_SIZE = re.compile(r"(Rss|Swap): +([0-9]+) kB")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReading:
    """Resident pages as the kernel counts them.

    Attributes:
        pages: Pages present or swapped out. mincore does not see the swapped ones.
        source: What told it: `pagemap`, or where that is not readable `smaps` or `mincore`.
    """

    pages: int
    source: Source


class Realisation:
    """Slots in this process; enter it as a context manager, which closes all of it at the end.

    Only one at a time should be laid out: two may lie side by side and merge, which the predicted
    mappings of neither can know. Where overcommit is off (mode 2) the kernel ignores the flag that
    keeps the interpreter's mappings apart, and mappings may be off by those at the ends.

    Attributes:
        model: The same connections without a kernel.
    """

    def __init__(self, model: SlotModel) -> None:
        """Take a model that has not been opened."""
        self.model = model
        self._arenas: dict[Region, tuple[mmap.mmap, int, int]] = {}
        self._space = AddressSpace()

    def __enter__(self) -> Self:
        """Map what is there before the first connection."""
        self.model.observer = self
        try:
            self.model.open()
        except BaseException:
            self._unmap_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unmap everything, whatever happened."""
        self._unmap_all()

    def _unmap_all(self) -> None:
        self.model.observer = None
        while self._arenas:
            _, (arena, _, _) = self._arenas.popitem()
            arena.close()

    # What a server does -------------------------------------------------------------------------

    def accept(self, worker: int) -> Handle:
        """Return a new connection on a worker, as `SlotModel.accept` does."""
        return self.model.accept(worker)

    def touch(self, handle: Handle, used: Used | None = None) -> None:
        """Write the first bytes of each field of a connection, as `SlotModel.touch` does."""
        self.model.touch(handle, used)

    def borrow(self, handle: Handle) -> None:
        """Take a buffer for a connection of pooled slots, as `SlotModel.borrow` does."""
        self.model.borrow(handle)

    def give_back(self, handle: Handle) -> None:
        """Return a connection's buffer, as `SlotModel.give_back` does."""
        self.model.give_back(handle)

    def close(self, handle: Handle) -> None:
        """Close a connection, as `SlotModel.close` does."""
        self.model.close(handle)

    # What the model does to memory: the observer ------------------------------------------------

    def map(self, region: Region, size_bytes: int) -> None:
        """Map a region in whole pages.

        Raises:
            MeasureError: The kernel has no room for it.
        """
        length = round_up(size_bytes, mmap.PAGESIZE)
        try:
            arena = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        except (OSError, ValueError, OverflowError) as error:
            raise MeasureError(f"the kernel does not map {length:,} bytes: {error}") from error
        # A kernel that was built without huge pages knows no such advice, and needs none.
        with suppress(OSError):
            arena.madvise(mmap.MADV_NOHUGEPAGE)
        start = int(np.frombuffer(arena, np.uint8).ctypes.data)
        self._arenas[region] = (arena, start, length)
        self._space.map(start, start + length)

    def unmap(self, region: Region) -> None:
        """Unmap a region."""
        arena, start, length = self._arenas.pop(region)
        arena.close()
        self._space.unmap(start, start + length)

    def write(self, region: Region, offset_bytes: int, size_bytes: int) -> None:
        """Write bytes into a region, all of them, so that the kernel alone decides on pages."""
        arena, start, _ = self._arenas[region]
        arena[offset_bytes : offset_bytes + size_bytes] = b"\xa5" * size_bytes
        self._space.write(start + offset_bytes)

    # What comes of it ---------------------------------------------------------------------------

    def predicted_pages(self) -> int:
        """Return the resident pages by the model."""
        return self.model.pages()

    def resident_pages(self, source: Source | None = None) -> PageReading:
        """Return the resident pages by the kernel, of exactly the mapped regions.

        Args:
            source: What to ask; None takes the first that answers of pagemap, smaps and mincore.

        Raises:
            MeasureError: What was asked for does not answer.
        """
        ranges = sorted((start, start + length) for _, start, length in self._arenas.values())
        sources: tuple[Source, ...] = ("pagemap", "smaps", "mincore")
        reasons = []
        for one in (source,) if source else sources:
            try:
                return PageReading(pages=_READERS[one](ranges), source=one)
            except OSError as error:
                reasons.append(f"{one}: {error}")
        raise MeasureError(f"resident pages cannot be read ({'; '.join(reasons)})")

    def predicted_mappings(self) -> int:
        """Return the mappings that the regions make up by the model of merging."""
        return len(self._space)

    def mappings(self) -> int:
        """Return the mappings in which /proc/self/maps lists the regions."""
        starts = sorted(start for _, start, _ in self._arenas.values())
        count = 0
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - read as a stream of the kernel's
            for line in file:
                low, high = _range_of(line) or (0, 0)
                at = bisect_left(starts, low)
                count += at < len(starts) and starts[at] < high
        return count


def _range_of(line: str) -> tuple[int, int] | None:
    match = _RANGE.match(line)
    return (int(match[1], 16), int(match[2], 16)) if match else None


def _from_pagemap(ranges: Iterable[tuple[int, int]]) -> int:
    """Count the pages present (bit 63) or swapped out (bit 62) of each range."""
    pages = 0
    descriptor = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, end in ranges:
            last = end // mmap.PAGESIZE
            for first in range(start // mmap.PAGESIZE, last, _CHUNK_PAGES):
                size = (min(first + _CHUNK_PAGES, last) - first) * _ENTRY_BYTES
                data = os.pread(descriptor, size, first * _ENTRY_BYTES)
                if len(data) < size:
                    raise OSError(f"{len(data)} bytes where {size} were asked for")
                entries = np.frombuffer(data, np.uint64)
                pages += int(np.count_nonzero(entries >> np.uint64(_PRESENT_OR_SWAPPED)))
    finally:
        os.close(descriptor)
    return pages


def _from_smaps(ranges: Iterable[tuple[int, int]]) -> int:
    """Sum Rss and Swap of the mappings that cover the ranges, if they cover nothing else."""
    merged: list[tuple[int, int]] = []
    for start, end in ranges:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    covered = kib = 0
    ours = False
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - read as a stream of the kernel's
        for line in file:
            bounds = _range_of(line)
            if bounds is not None:
                low, high = bounds
                meets = [one for one in merged if one[0] < high and low < one[1]]
                ours = bool(meets)
                if any(low < start or end < high for start, end in meets):
                    raise OSError("a mapping holds other memory as well")
                covered += (high - low) * ours
            elif ours and (size := _SIZE.match(line)):
                kib += int(size[2])
    if covered != sum(end - start for start, end in merged):
        raise OSError("the mappings have changed meanwhile")
    return kib * 1024 // mmap.PAGESIZE


def _from_mincore(ranges: Iterable[tuple[int, int]]) -> int:
    """Ask mincore(2), which for private anonymous memory tells the pages present."""
    import ctypes

    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    pages = 0
    for start, end in ranges:
        vector = np.zeros((end - start) // mmap.PAGESIZE, np.uint8)
        if mincore(start, end - start, vector.ctypes.data):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        pages += int(np.count_nonzero(vector & 1))
    return pages


_READERS = {"pagemap": _from_pagemap, "smaps": _from_smaps, "mincore": _from_mincore}
