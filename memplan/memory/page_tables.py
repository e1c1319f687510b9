"""Memory of the page tables that map touched pages, as /proc/PID/status counts it in VmPTE.

x86-64 and arm64 with 4 KiB pages: a table of 512 entries of 8 bytes at each level, so one page of
table maps 2 MiB, a page of the next level 1 GiB, and one above that 512 GiB (Linux counts these
three; the top level is not counted). A table exists once a page below it was touched.
"""

import math
from collections.abc import Iterable

PAGE_BYTES = 4096
TABLE_BYTES = 4096
ENTRIES = 512
LEVEL_SPANS = (PAGE_BYTES * ENTRIES, PAGE_BYTES * ENTRIES**2, PAGE_BYTES * ENTRIES**3)
"""Bytes of address space that one table of each counted level maps."""


def page_table_bytes(touched: Iterable[tuple[int, int]]) -> int:
    """Return the exact bytes of page tables for touched pieces of address space.

    Args:
        touched: Start address and length in bytes of each piece; all of its pages are touched by
            4 KiB pages. Pieces may be in any order and may share tables.
    """
    pieces = [(start, start + length) for start, length in touched if length > 0]
    return TABLE_BYTES * sum(_tables(pieces, span) for span in LEVEL_SPANS)


def _tables(pieces: Iterable[tuple[int, int]], span: int) -> int:
    count, seen = 0, -1
    for first, last in sorted((start // span, (end - 1) // span) for start, end in pieces):
        count += max(0, last - max(first, seen + 1) + 1)
        seen = max(seen, last)
    return count


def expected_page_table_bytes(resident_bytes: int, virtual_bytes: int, runs: int) -> float:
    """Return the expected bytes of page tables for touched pages whose addresses are not known.

    Args:
        resident_bytes: Touched bytes.
        virtual_bytes: Address space that they lie in.
        runs: Contiguous pieces that they come in, at addresses spread evenly over page offsets:
            a run of n pages meets (n + 511) / 512 tables of the lowest level in the mean.
    """
    if resident_bytes <= 0:
        return 0.0
    pages = resident_bytes / PAGE_BYTES
    runs = max(1, min(runs, math.ceil(pages)))
    total, units, space = 0.0, pages, virtual_bytes / PAGE_BYTES
    for _ in LEVEL_SPANS:
        # No more tables than the whole address space meets, as one run of its own.
        units = min((units + runs * (ENTRIES - 1)) / ENTRIES, (space + ENTRIES - 1) / ENTRIES)
        space = (space + ENTRIES - 1) / ENTRIES
        total += units
    return TABLE_BYTES * total


def page_table_bounds(resident_bytes: int, virtual_bytes: int) -> tuple[int, int]:
    """Return the fewest and the most bytes of page tables that touched pages may need.

    The fewest when they lie densely from a boundary; the most when each page lies by itself, as
    far as the address space reaches.
    """
    if resident_bytes <= 0:
        return 0, 0
    pages = math.ceil(resident_bytes / PAGE_BYTES)
    fewest = sum(math.ceil(resident_bytes / span) for span in LEVEL_SPANS)
    most = sum(min(pages, math.ceil(virtual_bytes / span) + 1) for span in LEVEL_SPANS)
    return TABLE_BYTES * fewest, TABLE_BYTES * max(fewest, most)
