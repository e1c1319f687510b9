"""Slots laid out for real: the kernel's resident pages and mappings are the predicted ones."""

import mmap
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memplan.errors import MeasureError, PlanError, UsageError
from memplan.slot_layout import Used
from memplan.slots import (
    CountLaw,
    PackedSlots,
    SlotField,
    SlotLayout,
    SlotLoad,
    SlotStrategy,
    find_strategy,
    packed_pages,
)
from memplan.strategies import realisation
from memplan.strategies.fd import FdSettings, FdStrategy
from memplan.strategies.pooled import PooledSettings, PooledStrategy
from memplan.strategies.realisation import Realisation, Source
from memplan.strategies.static import StaticModel, StaticSettings, StaticStrategy
from memplan.units import KIB, MIB

if TYPE_CHECKING:
    from memplan.strategies.model import Handle

LAYOUTS: dict[str, SlotLayout] = {
    "opaque 12 KiB": SlotLayout.opaque(12 * KIB),
    "seed 6.6 KiB": SlotLayout.of(state=128, recv=2048, body=512, write=4096),
    "default": SlotLayout.of(),
    "below a page": SlotLayout.of(state=100, recv=600, body=0, write=300),
    "odd, unaligned": SlotLayout.of(state=77, recv=1001, body=13, write=4095, align=1),
    "fields on cache lines": SlotLayout.of(align={"state": 64, "recv": 64, "write": 64}),
    "fields on pages": SlotLayout.of(body=100, align={"recv": 4096, "write": 4096}),
    "buffers first": SlotLayout.of(recv=3000, write=9000, order=("write", "recv", "body", "state")),
    "large": SlotLayout.of(state=4000, recv=70_000, body=0, write=33_333, align=8),
}
USES: dict[str, Used | None] = {
    "whole": None,
    "partly": {"state": 50, "recv": 333, "body": 0, "write": 1},
}
CASES: list[tuple[str, SlotStrategy[Any], object]] = [
    ("static lifo", StaticStrategy(), StaticSettings()),
    ("static lowest", StaticStrategy(), StaticSettings(reuse="lowest", align_bytes=64)),
    ("static fifo", StaticStrategy(), StaticSettings(reuse="fifo")),
    ("fd", FdStrategy(), FdSettings()),
    ("fd, one table", FdStrategy(), FdSettings(table="process", entry_bytes=16)),
    ("fd, kept", FdStrategy(), FdSettings(munmap=False)),
    ("pooled ring", PooledStrategy(), PooledSettings(buffers=16)),
    ("pooled stack", PooledStrategy(), PooledSettings(pool="stack", buffers=12)),
]
WORKERS, MAX_CONN = 3, 24


class Server:
    """Connections on realised slots, opened and closed as a server would."""

    def __init__(self, slots: Realisation, used: Used | None, *, pooled: bool) -> None:
        """Start with none."""
        self.slots = slots
        self.used = used
        self.pooled = pooled
        self.live: list[Handle] = []

    def accept(self, worker: int) -> None:
        """Accept a connection and write it; every fourth keeps the buffer that it borrows."""
        one = self.slots.accept(worker)
        if self.pooled:
            self.slots.borrow(one)
        self.slots.touch(one, self.used)
        if self.pooled and one.number % 4:
            self.slots.give_back(one)
        self.live.append(one)

    def close(self, at: int) -> None:
        """Close one of the connections."""
        self.slots.close(self.live.pop(at))

    def check(self) -> None:
        """Assert that the kernel sees what was predicted: pages and mappings, exactly."""
        assert self.slots.resident_pages().pages == self.slots.predicted_pages()
        assert self.slots.mappings() == self.slots.predicted_mappings()


def contiguous(server: Server) -> None:
    """Open connections in turn on each worker and close none."""
    for i in range(WORKERS * 15):
        server.accept(i % WORKERS)


def every_other_closed(server: Server) -> None:
    """Open connections, close every other one, open a few again."""
    contiguous(server)
    for at in range(len(server.live) - 1, -1, -2):
        server.close(at)
    server.check()
    for i in range(5):
        server.accept(i % WORKERS)


def random_churn(server: Server) -> None:
    """Open and close at random, in waves, for some hundred times."""
    rng = random.Random(8)  # noqa: S311 - nothing secret hangs on it
    for step in range(300):
        wanted = 40 if step % 100 < 50 else 12
        if server.live and rng.random() * 2 * wanted < len(server.live):
            server.close(rng.randrange(len(server.live)))
        else:
            server.accept(min(range(WORKERS), key=lambda _: rng.random()))
        if step % 60 == 0:
            server.check()


PATTERNS: tuple[Callable[[Server], None], ...] = (contiguous, every_other_closed, random_churn)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("strategy", "own"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_kernel_holds_the_predicted_pages_and_mappings(
    strategy: SlotStrategy[Any],
    own: object,
    layout: str,
    pattern: Callable[[Server], None],
    use: str,
) -> None:
    """Resident pages and mappings by the kernel equal those of the model, page for page."""
    pooled = isinstance(strategy, PooledStrategy)
    with strategy.realise(
        LAYOUTS[layout], workers=WORKERS, max_conn=MAX_CONN, settings=own
    ) as slots:
        server = Server(slots, USES[use], pooled=pooled)
        pattern(server)
        server.check()
        reading = slots.resident_pages()
        assert reading.pages > 0
        assert reading.source == "pagemap" or not os.access("/proc/self/pagemap", os.R_OK)


@pytest.mark.parametrize(
    ("strategy", "own"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_processes_are_laid_out_apart(strategy: SlotStrategy[Any], own: object) -> None:
    """Workers as processes have arrays and tables of their own, predicted as exactly."""
    layout = LAYOUTS["seed 6.6 KiB"]
    with strategy.realise(
        layout, workers=3, max_conn=MAX_CONN, process_model="processes", settings=own
    ) as slots:
        server = Server(slots, None, pooled=isinstance(strategy, PooledStrategy))
        random_churn(server)
        server.check()
        assert {number for name, number in slots.model.regions if name != "slot"} == {0, 1, 2}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=120),
    st.integers(1, 9000),
    st.booleans(),
)
def test_any_pattern_of_mappings_is_counted(
    steps: list[tuple[bool, int]],
    slot_bytes: int,
    written: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Whatever is opened, written and closed, the kernel's merging is the model's."""
    layout = SlotLayout.opaque(slot_bytes)
    live: list[Handle] = []
    with FdStrategy().realise(layout, workers=1, max_conn=200) as slots:
        for opens, at in steps:
            if opens or not live:
                live.append(slots.accept(0))
                if written or at % 3 == 0:
                    slots.touch(live[-1])
            else:
                slots.close(live.pop(at % len(live)))
            assert slots.mappings() == slots.predicted_mappings()
        assert slots.resident_pages().pages == slots.predicted_pages()


def test_written_apart_stays_apart_in_the_kernel_too() -> None:
    """Written apart, two neighbouring mappings stay two: there are more than runs of addresses.

    The highest mappings of the lowest run are closed and opened again from the top: the kernel
    gives the new memory an identity of its own, and does not join it when the gap closes. Slots
    are large, so that few fit into gaps between the process's other mappings.
    """
    with FdStrategy().realise(SlotLayout.opaque(MIB), workers=1, max_conn=64) as slots:
        live = {}
        for _ in range(40):
            one = slots.accept(0)
            slots.touch(one, {"slot": 1})
            live[next(reversed(slots._arenas.values()))[1]] = one
        lowest = [start for start in sorted(live) if start - min(live) < len(live) * MIB]
        joined, runs = slots.mappings(), len(runs_of(slots))
        assert len(lowest) > 20
        for start in lowest[-8:]:
            slots.close(live[start])
        for _ in range(8):
            slots.touch(slots.accept(0), {"slot": 1})
        assert len(runs_of(slots)) == runs
        assert slots.mappings() == slots.predicted_mappings() == joined + 1


def runs_of(slots: Realisation) -> list[tuple[int, int]]:
    """Return the addresses of all regions, neighbours joined."""
    runs: list[tuple[int, int]] = []
    for start, end in sorted(ranges_of(slots)):
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def test_max_conn_1024_against_128_is_no_resident_page() -> None:
    """At the seed's size, for real: 768 MiB of slots or 96, the same pages for the same load."""
    pages, sizes = [], []
    for max_conn in (1024, 128):
        with StaticStrategy().realise(
            SlotLayout.opaque(12 * KIB), workers=64, max_conn=max_conn
        ) as slots:
            for i in range(512):
                slots.touch(slots.accept(i % 64))
            pages.append(slots.resident_pages().pages)
            sizes.append(sum(slots.model.regions.values()))
    assert pages == [512 * 3, 512 * 3]
    assert sizes[0] - sizes[1] == 672 * MIB


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_footprint_of_a_full_house_is_the_kernels(layout: str) -> None:
    """Where every worker holds the same known count, the closed form gives the kernel's pages."""
    chosen, count = LAYOUTS[layout], 9
    load = replace(
        SlotLoad.balanced(WORKERS, WORKERS * count, max_conn=MAX_CONN, used_active=USES["partly"]),
        load_sd=0.0,
        high_sd=0.0,
    )
    with StaticStrategy().realise(chosen, workers=WORKERS, max_conn=MAX_CONN) as slots:
        for i in range(WORKERS * count):
            slots.touch(slots.accept(i % WORKERS), USES["partly"])
        kernel = slots.resident_pages().pages
    footprint = StaticStrategy().footprint(load, chosen)
    assert footprint.now.mean == pytest.approx(kernel)
    assert footprint.now.sd == 0
    again = packed_pages(
        PackedSlots(chosen, USES["partly"]),
        CountLaw.exactly(count, MAX_CONN),
        workers=WORKERS,
        array_slots=MAX_CONN,
        one_array=True,
    )
    assert again == footprint.now


def test_lifo_and_lowest_touch_the_same_pages_and_fifo_all() -> None:
    """The kernel sees it too: the same churn, the same high water, or every page of the array."""
    seen = {}
    for reuse in ("lifo", "lowest", "fifo"):
        chosen = find_strategy("static").settings_of({"reuse": reuse})
        with StaticStrategy().realise(
            LAYOUTS["seed 6.6 KiB"], workers=WORKERS, max_conn=MAX_CONN, settings=chosen
        ) as slots:
            random_churn(Server(slots, None, pooled=False))
            model = slots.model
            assert isinstance(model, StaticModel)
            seen[reuse] = slots.resident_pages().pages
            if reuse == "fifo":
                assert seen[reuse] == -(-WORKERS * MAX_CONN * 6784 // 4096)
                assert [model.high_water(worker) for worker in range(WORKERS)] == [MAX_CONN] * 3
    assert seen["lifo"] == seen["lowest"] < seen["fifo"]


@pytest.mark.parametrize("source", ["pagemap", "smaps", "mincore"])
def test_every_source_tells_the_same(source: Source) -> None:
    """pagemap, smaps and mincore count the same pages of the same slots."""
    with PooledStrategy().realise(LAYOUTS["default"], workers=2, max_conn=50) as slots:
        server = Server(slots, USES["partly"], pooled=True)
        for i in range(60):
            server.accept(i % 2)
        reading = slots.resident_pages(source)
        assert (reading.pages, reading.source) == (slots.predicted_pages(), source)


def test_an_unreadable_source_is_replaced_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pagemap another source answers under its own name; without any it is an error."""

    def refused(_: object) -> int:
        raise PermissionError(13, "refused")

    with StaticStrategy().realise(LAYOUTS["default"], workers=1, max_conn=4) as slots:
        slots.touch(slots.accept(0))
        monkeypatch.setitem(realisation._READERS, "pagemap", refused)
        assert slots.resident_pages() == realisation.PageReading(pages=4, source="smaps")
        monkeypatch.setitem(realisation._READERS, "smaps", refused)
        assert slots.resident_pages() == realisation.PageReading(pages=4, source="mincore")
        monkeypatch.setitem(realisation._READERS, "mincore", refused)
        with pytest.raises(MeasureError, match=r"pagemap: .*refused"):
            slots.resident_pages()


def ranges_of(slots: Realisation) -> Iterator[tuple[int, int]]:
    """Yield the addresses of all regions."""
    for _, start, length in slots._arenas.values():
        yield start, start + length


def mapped_without_huge_pages(ranges: list[tuple[int, int]]) -> int:
    """Return how many of the ranges lie in a mapping marked `nh` with reserve left out."""
    found, inside = 0, False
    with open("/proc/self/smaps", encoding="utf-8") as file:  # noqa: PTH123 - a stream of the kernel's
        for line in file:
            bounds = realisation._range_of(line)
            if bounds is not None:
                inside = any(bounds[0] <= start < bounds[1] for start, _ in ranges)
            elif inside and line.startswith("VmFlags:"):
                assert {"nh", "nr", "rd", "wr"} <= set(line.split())
                assert "sh" not in line.split()
                found += 1
    return found


def test_everything_is_unmapped_at_the_end_whatever_happens() -> None:
    """After an error inside, no region of the slots is mapped any more."""
    with pytest.raises(PlanError, match="no place left"):  # noqa: SIM117, PT012 - the error is raised inside the slots
        with FdStrategy().realise(LAYOUTS["default"], workers=1, max_conn=5) as slots:
            for _ in range(5):
                slots.touch(slots.accept(0))
            ranges = list(ranges_of(slots))
            assert mapped_without_huge_pages(ranges) == slots.mappings()
            slots.accept(0)
    assert mapped_without_huge_pages(ranges) == 0
    assert slots.mappings() == 0


def test_what_does_not_fit_is_told_and_leaves_nothing_behind() -> None:
    """More than the address space holds is a MeasureError, and what was mapped is given back."""
    slots = PooledStrategy().realise(
        SlotLayout((SlotField("state", 64), SlotField("recv", 1 << 46))),
        workers=1,
        max_conn=1 << 10,
    )
    with pytest.raises(MeasureError, match="does not map"), slots:
        pass
    assert slots._arenas == {}


def test_borrowing_from_other_slots_is_told() -> None:
    """Only pooled slots lend buffers, and a closed connection is no connection."""
    with StaticStrategy().realise(LAYOUTS["default"], workers=1, max_conn=4) as slots:
        one = slots.accept(0)
        for call in (slots.borrow, slots.give_back):
            with pytest.raises(UsageError, match="only pooled"):
                call(one)
        slots.close(one)
        with pytest.raises(UsageError, match="not open"):
            slots.touch(one)


def test_the_machines_page_is_the_models() -> None:
    """The model of a realisation counts in the pages that this machine has."""
    slots = StaticStrategy().realise(LAYOUTS["default"], workers=1, max_conn=4)
    assert slots.model.shape.page_bytes == mmap.PAGESIZE
