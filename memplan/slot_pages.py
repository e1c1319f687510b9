"""Pages of a packed array of slots, in closed form.

Slot k of an array starts at k times the slot's size, so the way that slots fall on pages repeats
after page / gcd(slot, page) slots. One period is counted once; every other count is arithmetic.
"""

import math
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from memplan.slot_layout import PAGE_BYTES, SlotLayout, Used
from memplan.slot_load import CountLaw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

_Z95 = 1.959963984540054
_MOST_STARTS = 64


class PackedSlots:
    """Counts the pages that neighbouring slots of a packed array touch together.

    Slots are numbered over the whole array, slot 0 at the start of a page. All slots counted are
    written alike; pages that two of them share count once.

    Attributes:
        layout: The slot; its size is the array's stride.
        page_bytes: Size of a page.
        period_slots: Slots after which the pattern of slots on pages repeats.
        pages_per_period: Pages that so many slots add, in the middle of a long row of them.
    """

    __slots__ = (
        "_joined", "_last_end", "_new_before", "_touches",
        "layout", "page_bytes", "pages_per_period", "period_slots",
    )  # fmt: skip

    def __init__(
        self, layout: SlotLayout, used: Used | None = None, page_bytes: int = PAGE_BYTES
    ) -> None:
        """Count one period.

        Args:
            layout: The slot.
            used: Bytes written of each field of each slot; None writes every field whole.
            page_bytes: Size of a page.
        """
        self.layout = layout
        self.page_bytes = page_bytes
        stride = layout.slot_bytes
        self.period_slots = page_bytes // gcd(stride, page_bytes)
        ranges = layout.touched_ranges(used)
        self._touches = bool(ranges)
        self._last_end = ranges[-1][1] if ranges else 0
        self._new_before = np.zeros(self.period_slots + 1, np.int64)
        self._joined = np.zeros(self.period_slots, np.int64)
        if ranges:
            starts = np.arange(self.period_slots, dtype=np.int64)[:, None] * stride
            first = (starts + np.array([start for start, _ in ranges])) // page_bytes
            last = (starts + np.array([end - 1 for _, end in ranges])) // page_bytes
            # Ranges come in rising order, so a page was seen before only if it is the page on
            # which the range before ended. The range before the first is the last of slot -1.
            before = np.empty_like(last)
            before[:, 1:] = last[:, :-1]
            before[1:, 0] = last[:-1, -1]
            before[0, 0] = (self._last_end - 1 - stride) // page_bytes
            new = last - np.maximum(first, before + 1) + 1
            np.cumsum(new.sum(axis=1), out=self._new_before[1:])
            self._joined[:] = first[:, 0] == before[:, 0]
        self.pages_per_period = int(self._new_before[-1])

    @property
    def pages_per_slot(self) -> float:
        """Pages that one more slot of a long row costs, in the mean."""
        return self.pages_per_period / self.period_slots

    def pages(self, first: "int | IntArray", count: "int | IntArray") -> "IntArray":
        """Return the pages that a row of slots touches.

        Args:
            first: Number of the row's first slot; an array broadcasts against `count`.
            count: Slots of the row; 0 touches nothing.
        """
        start, size = np.asarray(first, np.int64), np.asarray(count, np.int64)
        added = self._before(start + size) - self._before(start)
        # The row's first page is new to this row, even where the slot before it touches it too.
        pages: IntArray = np.where(size > 0, added + self._joined[start % self.period_slots], 0)
        return pages

    def _before(self, slot: "IntArray") -> "IntArray":
        periods, phase = np.divmod(slot, self.period_slots)
        before: IntArray = periods * self.pages_per_period + self._new_before[phase]
        return before

    def joined(self, slot: "int | IntArray") -> "IntArray":
        """Return 1 where a slot's first touched page is also touched by the slot before it."""
        return self._joined[np.asarray(slot, np.int64) % self.period_slots]

    def first_joined(self, slot: "int | IntArray") -> "IntArray":
        """Return the first slot whose touched bytes reach the page that a slot joins.

        Only meaningful where `joined` is 1: then the slots from the one returned up to the one
        before `slot` all touch the page on which `slot` starts.
        """
        page = np.asarray(slot, np.int64) * self.layout.slot_bytes // self.page_bytes
        reach = page * self.page_bytes - self._last_end + 1
        return -(-reach // self.layout.slot_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCount:
    """Resident pages as a distribution.

    Attributes:
        mean: Expected pages.
        sd: Their standard deviation.
        low: Lower end of the 95% interval.
        high: Upper end of it.
        page_bytes: Size of a page.
    """

    mean: float
    sd: float
    low: float
    high: float
    page_bytes: int = PAGE_BYTES

    @classmethod
    def normal(
        cls, mean: float, variance: float, *, most: float = math.inf, page_bytes: int = PAGE_BYTES
    ) -> "PageCount":
        """Return the count of a sum over many connections or workers, which is nearly normal.

        Args:
            mean: Expected pages.
            variance: Their variance; rounding below zero is taken as zero.
            most: Pages that there are at all.
            page_bytes: Size of a page.
        """
        sd = math.sqrt(max(variance, 0.0))
        low, high = max(mean - _Z95 * sd, 0.0), min(mean + _Z95 * sd, most)
        return cls(mean=mean, sd=sd, low=low, high=max(high, mean), page_bytes=page_bytes)

    def __add__(self, other: "PageCount") -> "PageCount":
        """Return the count of both, as if they varied independently."""
        mean, variance = self.mean + other.mean, self.sd**2 + other.sd**2
        return PageCount.normal(mean, variance, page_bytes=self.page_bytes)

    @property
    def mean_bytes(self) -> float:
        """Expected resident bytes."""
        return self.mean * self.page_bytes

    @property
    def sd_bytes(self) -> float:
        """Their standard deviation."""
        return self.sd * self.page_bytes

    @property
    def low_bytes(self) -> float:
        """Lower end of the 95% interval, in bytes."""
        return self.low * self.page_bytes

    @property
    def high_bytes(self) -> float:
        """Upper end of the 95% interval, in bytes."""
        return self.high * self.page_bytes

    def to_dict(self) -> dict[str, float]:
        """Return the distribution in bytes."""
        return {
            "mean_bytes": self.mean_bytes,
            "sd_bytes": self.sd_bytes,
            "low_bytes": self.low_bytes,
            "high_bytes": self.high_bytes,
        }


def packed_pages(
    slots: PackedSlots,
    law: CountLaw,
    *,
    workers: int,
    array_slots: int,
    one_array: bool,
    total_sd: float | None = None,
) -> PageCount:
    """Return the pages that workers touch who each fill their own array from its start.

    Args:
        slots: The slots, and how each is written.
        law: How many slots a worker has touched, the first ones of its array.
        workers: Workers, alike.
        array_slots: Slots of a worker's array.
        one_array: Whether the workers' arrays are packed behind each other, so that neighbours may
            share a page; else each starts on a page of its own.
        total_sd: Standard deviation of the sum over workers of what the law counts, where it is
            known (0 where connections are fixed in number); None takes workers as independent.

    Where workers' arrays start at more than 64 different places on a page, 64 evenly chosen of
    them stand for all, with an error below a tenth of a page a worker. Where arrays are smaller
    than a page and share it, the standard deviation is an upper bound.
    """
    starts = (
        _starts(workers, array_slots, slots.period_slots) if one_array else np.zeros(1, np.int64)
    )
    pages = slots.pages(starts[:, None], law.values).astype(np.float64)
    means = pages @ law.probs
    off = pages - means[:, None]
    mean = workers * float(means.mean())
    variance = workers * float((off**2 @ law.probs).mean())
    law_variance = law.variance
    if total_sd is not None and workers > 1 and law_variance > 0:
        # Pages follow the count along a line but for page steps; along the line, what one worker
        # has more the others have less: Cov(N_i, N_j) summed over pairs is Var(sum) - sum Var.
        slope = float((off @ (law.probs * (law.values - law.mean))).mean()) / law_variance
        variance += slope**2 * (total_sd**2 - workers * law_variance)
    if one_array:
        mean -= workers * float(_shared(slots, law, starts, array_slots).mean())
    pages_of_all = int(slots.pages(0, array_slots)) * workers
    return PageCount.normal(mean, variance, most=pages_of_all, page_bytes=slots.page_bytes)


def _starts(workers: int, array_slots: int, period: int) -> "IntArray":
    """Return the places on a page where workers' arrays start, as first slots within a period."""
    different = min(workers, period // gcd(array_slots, period))
    chosen = np.arange(different)
    if different > _MOST_STARTS:
        chosen = np.linspace(0, different - 1, _MOST_STARTS).astype(np.int64)
    elif different < workers and workers % different and workers <= _MOST_STARTS:
        chosen = np.arange(workers)
    starts: IntArray = chosen * array_slots % period
    return starts


def _shared(
    slots: PackedSlots, law: CountLaw, starts: "IntArray", array_slots: int
) -> "NDArray[np.float64]":
    """Return the chance that an array's first page is also touched by a worker before it."""
    depth = starts - slots.first_joined(starts)
    untouched = np.ones(len(starts))
    back = 1
    # Tiny arrays: several workers before this one may reach into its first page.
    while back == 1 or np.any(depth > (back - 1) * array_slots):
        least = np.maximum(back * array_slots - depth + 1, 1)
        reaches = np.where(depth > (back - 1) * array_slots, law.at_least(least), 0.0)
        untouched *= 1 - reaches
        back += 1
    own = law.at_least(np.ones(1, np.int64))
    shared: NDArray[np.float64] = slots.joined(starts) * (1 - untouched) * own
    return shared
