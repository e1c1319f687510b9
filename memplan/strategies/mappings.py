"""How the kernel merges and splits anonymous mappings, modelled exactly.

A new mapping joins the ones before and behind it when their flags agree. But memory that was
written carries the identity of its anon_vma (mm/vma.c: is_mergeable_anon_vma), and two mappings
that were first written apart never join each other, not even when the gap between them is closed:
counting runs of neighbouring addresses gives too few. Splitting keeps the identity on both sides,
so that a hole that is filled again does join.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(slots=True)
class _Mapping:
    start: int
    end: int
    anon: int | None


class AddressSpace:
    """The mappings of like flags that a process has, by address.

    Addresses may be bytes, pages or places: only their order and where they meet counts.
    """

    __slots__ = ("_faulted", "_mappings", "_starts")

    def __init__(self) -> None:
        """Start empty."""
        self._starts: list[int] = []
        self._mappings: list[_Mapping] = []
        self._faulted = 0

    def __len__(self) -> int:
        """Return how many mappings the kernel lists."""
        return len(self._mappings)

    def map(self, start: int, end: int) -> None:
        """Add a mapping that was not written yet; it joins its neighbours where they allow it."""
        at = bisect_left(self._starts, start)
        below = self._mappings[at - 1] if at and self._mappings[at - 1].end == start else None
        above = self._mappings[at] if at < len(self._starts) and self._starts[at] == end else None
        if below and above and (None in {below.anon, above.anon} or below.anon == above.anon):
            below.end = above.end
            below.anon = above.anon if below.anon is None else below.anon
            del self._starts[at], self._mappings[at]
        elif below:
            # Between two that cannot join each other the kernel prefers the lower one.
            below.end = end
        elif above:
            self._starts[at] = above.start = start
        else:
            self._insert(at, _Mapping(start, end, None))

    def unmap(self, start: int, end: int) -> None:
        """Remove a part of one mapping; what is left on either side keeps its identity."""
        at = bisect_right(self._starts, start) - 1
        whole = self._mappings[at]
        del self._starts[at], self._mappings[at]
        if end < whole.end:
            self._insert(at, _Mapping(end, whole.end, whole.anon))
        if whole.start < start:
            self._insert(at, _Mapping(whole.start, start, whole.anon))

    def write(self, address: int) -> None:
        """Write to a mapping: the first write gives it an identity of its own."""
        mapping = self._mappings[bisect_left(self._starts, address + 1) - 1]
        if mapping.anon is None:
            self._faulted += 1
            mapping.anon = self._faulted

    def _insert(self, at: int, mapping: _Mapping) -> None:
        self._starts.insert(at, mapping.start)
        self._mappings.insert(at, mapping)
