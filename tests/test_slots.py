"""Layouts, their pages alone and packed, and how strategies are found."""

import math
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memplan.errors import UsageError
from memplan.slot_layout import FIELD_NAMES
from memplan.slots import (
    CountLaw,
    HostLimits,
    PackedSlots,
    SlotField,
    SlotLayout,
    SlotLoad,
    SlotShape,
    SlotStrategy,
    descriptors_of,
    find_strategy,
    packed_pages,
    strategy_names,
)
from memplan.units import KIB, MIB

SEED_SMALL = SlotLayout.of(state=128, recv=2048, body=512, write=4096)
"""The reference server's later slot, about 6.6 KiB."""

aligns = st.sampled_from([1, 2, 4, 8, 16, 64, 256, 4096])
fields = st.builds(
    lambda size, align: (size, align), st.integers(1, 9000), st.sampled_from([1, 2, 8, 64, 4096])
)


@st.composite
def layouts(draw: st.DrawFn) -> SlotLayout:
    """Return any layout of one to six fields."""
    parts = draw(st.lists(fields, min_size=1, max_size=6))
    return SlotLayout(
        tuple(SlotField(f"f{i}", size, align) for i, (size, align) in enumerate(parts)),
        draw(aligns),
    )


@st.composite
def uses(draw: st.DrawFn) -> tuple[SlotLayout, dict[str, int]]:
    """Return any layout with bytes used of some of its fields."""
    layout = draw(layouts())
    used = {
        one.name: draw(st.integers(0, one.size_bytes + 10))
        for one in layout.fields
        if draw(st.booleans())
    }
    return layout, used


def brute_pages(layout: SlotLayout, offset: int, used: dict[str, int], page: int) -> set[int]:
    """Return the touched pages, byte by byte."""
    pages = set()
    for one, at in zip(layout.fields, layout.offsets, strict=True):
        for byte in range(min(used.get(one.name, one.size_bytes), one.size_bytes)):
            pages.add((offset + at + byte) // page)
    return pages


@given(layouts())
def test_each_field_is_aligned_and_none_overlap(layout: SlotLayout) -> None:
    """Offsets are the first aligned ones after the field before; the slot holds them all."""
    end = 0
    for one, offset in zip(layout.fields, layout.offsets, strict=True):
        assert offset % one.align_bytes == 0
        assert end <= offset < end + one.align_bytes
        end = offset + one.size_bytes
    assert layout.slot_bytes % layout.align_bytes == 0
    assert end <= layout.slot_bytes < end + layout.align_bytes


@given(layouts())
def test_cffi_reads_the_same_offsets(layout: SlotLayout) -> None:
    """The C declaration, read by cffi, has this layout's size and offsets."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(layout.c_declaration("slot", alignas=False))
    assert ffi.sizeof("struct slot") == layout.slot_bytes
    for one, offset in zip(layout.fields, layout.offsets, strict=True):
        assert ffi.offsetof("struct slot", one.name) == offset


@given(st.lists(layouts(), min_size=1, max_size=40, unique=True))
@settings(max_examples=8, deadline=None)
def test_a_c_compiler_lays_out_the_same(many: list[SlotLayout]) -> None:
    """sizeof, offsetof and _Alignof of a C compiler agree with every layout."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    source = "#include <stddef.h>\n" + "".join(
        f"{layout.c_declaration(f't{i}')}\n{layout.c_checks(f't{i}')}\n"
        for i, layout in enumerate(many)
    )
    done = subprocess.run(
        [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-xc", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_c_checks_can_fail() -> None:
    """A wrong offset is refused by the compiler, so that the test above tests something."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    other = SlotLayout.of(state=120)
    source = f"#include <stddef.h>\n{SlotLayout.of().c_declaration()}\n{other.c_checks()}\n"
    command = [compiler, "-std=c11", "-fsyntax-only", "-xc", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "offsetof(struct slot, recv) == 120" in done.stderr


@given(layouts())
def test_pairs_and_text_read_back(layout: SlotLayout) -> None:
    """KEY=VALUE pairs and their text give back the same layout."""
    assert SlotLayout.from_pairs(layout.to_pairs()) == layout
    assert SlotLayout.parse(str(layout)) == layout


def test_usual_layouts() -> None:
    """The seed's slots come out at their sizes, in any order, with zero-sized fields left out."""
    assert SEED_SMALL.slot_bytes == 6784
    assert SEED_SMALL.offsets == (0, 128, 2176, 2688)
    assert SlotLayout.opaque(12 * KIB).slot_bytes == 12 * KIB
    assert SlotLayout.of().slot_bytes == 128 + 3 * 4 * KIB
    assert [one.name for one in SlotLayout.of(body=0).fields] == ["state", "recv", "write"]
    turned = SlotLayout.of(order=("write", "recv", "body", "state"), align={"state": 64})
    assert (turned.offset_of("state"), turned.align_bytes) == (12 * KIB, 64)
    assert SlotLayout.of(recv=13, body=0, write=0, align={"recv": 64}).slot_bytes == 192
    assert SlotLayout.parse("recv=2KiB@64, write=4096, align=128") == SlotLayout(
        (SlotField("recv", 2048, 64), SlotField("write", 4096)), 128
    )
    assert SlotLayout.of(recv=0, body=0, write=0).without("state") is None
    assert SEED_SMALL.size_of("body") == 512
    assert SEED_SMALL.size_of("tls") == 0
    assert [one["offset_bytes"] for one in SEED_SMALL.to_dict()["fields"]] == [0, 128, 2176, 2688]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recv", "NAME=SIZE"),
        ("recv=", "NAME=SIZE"),
        ("recv=4KiB,recv=1", "given twice"),
        ("recv=lots", "no size"),
        ("int=4", "cannot name a field"),
        ("_pad0=4", "cannot name a field"),
        ("a b=4", "cannot name a field"),
        ("recv=4@3", "power of two"),
        ("slot=4KiB,recv=1", "alone"),
        ("recv=0", "at least one field"),
        ("align=8", "at least one field"),
    ],
)
def test_a_wrong_layout_is_told_in_one_line(text: str, says: str) -> None:
    """Each mistake in a layout's text raises a UsageError that names it."""
    with pytest.raises(UsageError, match=says):
        SlotLayout.parse(text)


def test_wrong_layouts_in_python_are_told() -> None:
    """Constructors refuse what no compiler would lay out."""
    for wrong in (
        lambda: SlotField("recv", 0),
        lambda: SlotField("recv", 8, 0),
        lambda: SlotLayout((SlotField("a", 1), SlotField("a", 1))),
        lambda: SlotLayout.of(order=("state",)),
        lambda: SlotLayout.of(align={"tls": 8}),
        lambda: SEED_SMALL.offset_of("tls"),
        lambda: SEED_SMALL.c_declaration("int"),
        lambda: SEED_SMALL.touched_ranges({"recv": -1}),
    ):
        with pytest.raises(UsageError):
            wrong()


@given(uses(), st.integers(0, 20000), st.sampled_from([4096, 16384]))
def test_touched_pages_are_those_of_the_bytes(
    use: tuple[SlotLayout, dict[str, int]], offset: int, page: int
) -> None:
    """Pages of a slot at an offset are those of its used bytes, counted byte by byte."""
    layout, used = use
    pages = layout.pages_touched(offset, used, page)
    assert list(pages) == sorted(brute_pages(layout, offset, used, page))


def test_pages_alone_and_straddled() -> None:
    """A slot of 6.6 KiB costs 8 KiB mapped alone, and 3 pages in some places of a packed array."""
    assert SEED_SMALL.pages_alone() == 2
    assert SEED_SMALL.most_pages_straddled() == 3
    assert SlotLayout.opaque(12 * KIB).most_pages_straddled() == 3
    one_byte = {"recv": 1, "body": 0, "write": 0, "state": 0}
    assert len(SlotLayout.of(state=4096).pages_touched(0, one_byte)) == 1


@given(layouts())
def test_the_worst_slot_straddles_what_is_said(layout: SlotLayout) -> None:
    """Over a whole period of a packed array the most pages of one slot are as computed."""
    period = PackedSlots(layout).period_slots
    counts = []
    for slot in range(min(period, 4096)):
        start = slot * layout.slot_bytes
        counts.append((start + layout.slot_bytes - 1) // 4096 - start // 4096 + 1)
    assert max(counts) == layout.most_pages_straddled()


@given(uses(), st.integers(0, 700), st.integers(0, 300))
@settings(deadline=None)
def test_a_row_of_packed_slots_counts_shared_pages_once(
    use: tuple[SlotLayout, dict[str, int]], first: int, count: int
) -> None:
    """The closed form for a row of slots equals the union of their touched pages."""
    layout, used = use
    union: set[int] = set()
    for slot in range(first, first + count):
        union.update(layout.pages_touched(slot * layout.slot_bytes, used))
    slots = PackedSlots(layout, used)
    assert int(slots.pages(first, count)) == len(union)
    if count:
        before = layout.pages_touched((first - 1) * layout.slot_bytes, used) if first else ()
        own = layout.pages_touched(first * layout.slot_bytes, used)
        assert bool(slots.joined(first)) == bool(set(before) & set(own[:1]))


@given(
    uses(),
    st.integers(1, 12),
    st.integers(1, 30),
    st.lists(st.integers(0, 30), min_size=12, max_size=12),
    st.booleans(),
)
@settings(deadline=None)
def test_known_counts_of_all_workers_are_exact(
    use: tuple[SlotLayout, dict[str, int]],
    workers: int,
    array_slots: int,
    counts: list[int],
    one_array: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Where every worker's count is the same and known, expected pages are the union's pages."""
    layout, used = use
    count = min(counts[0], array_slots)
    union = set()
    for worker in range(workers):
        for slot in range(count):
            at = slot + (worker * array_slots if one_array else 0)
            for page in layout.pages_touched(at * layout.slot_bytes, used):
                union.add((0 if one_array else worker, page))
    found = packed_pages(
        PackedSlots(layout, used),
        CountLaw.exactly(count, array_slots),
        workers=workers,
        array_slots=array_slots,
        one_array=one_array,
    )
    assert found.mean == pytest.approx(len(union), abs=1e-9)
    assert found.sd == pytest.approx(0, abs=1e-9)


def test_a_binomial_comes_back_exactly() -> None:
    """From its mean and sd alone, Bin(C, p) comes back term by term."""
    scipy_stats = pytest.importorskip("scipy.stats")
    for n, p in ((4096, 1 / 64), (512, 1 / 64), (65536, 1 / 65536), (10, 0.5), (3, 1 / 3)):
        law = CountLaw.spread(n * p, math.sqrt(n * p * (1 - p)), n)
        exact = scipy_stats.binom.pmf(law.values, n, p)
        np.testing.assert_allclose(law.probs, exact, atol=1e-13)


def test_poisson_and_negative_binomial_come_back_exactly() -> None:
    """A variance equal to or above the mean gives the law of its family."""
    scipy_stats = pytest.importorskip("scipy.stats")
    law = CountLaw.spread(64, 8, 10**6)
    np.testing.assert_allclose(law.probs, scipy_stats.poisson.pmf(law.values, 64), atol=1e-13)
    law = CountLaw.spread(20, 10, 10**6)
    exact = scipy_stats.nbinom.pmf(law.values, 20**2 / (100 - 20), 20 / 100)
    np.testing.assert_allclose(law.probs, exact, atol=1e-7)


@given(st.floats(0, 1e7), st.floats(0, 1e4), st.integers(0, 10**7))
def test_laws_are_laws(mean: float, sd: float, cap: int) -> None:
    """Every law sums to one, increases, and stays between 0 and its cap."""
    for law in (
        CountLaw.spread(mean, sd, cap),
        CountLaw.maximum(mean, sd, cap),
        CountLaw.exactly(mean, cap),
    ):
        assert law.probs.sum() == pytest.approx(1)
        assert (law.probs >= 0).all()
        assert (np.diff(law.values) > 0).all()
        assert law.values[0] >= 0
        assert law.values[-1] <= cap


@pytest.mark.parametrize(("mean", "sd"), [(93.9, 3.2), (17.4, 1.7), (5.2, 0.8), (70000.0, 300.0)])
def test_a_maximum_keeps_its_moments(mean: float, sd: float) -> None:
    """The law of a running maximum has the mean and the sd that it is made from."""
    law = CountLaw.maximum(mean, sd, 10**9)
    assert law.mean == pytest.approx(mean, rel=1e-3)
    assert math.sqrt(law.variance) == pytest.approx(sd, rel=0.02)


def test_strategies_are_found_by_name() -> None:
    """The built-in names resolve, with their settings parsed from text; others are told."""
    assert strategy_names()[:3] == ("static", "fd", "pooled")
    for name in strategy_names()[:3]:
        strategy = find_strategy(name)
        assert isinstance(strategy, SlotStrategy)
        assert strategy.name == name
        assert strategy.settings_of({}) == strategy.settings_type()
    assert find_strategy("static").settings_of({"reuse": "fifo", "align_bytes": "64"}) == (
        find_strategy("static").settings_type(reuse="fifo", align_bytes=64)
    )
    assert find_strategy("fd").settings_of({"munmap": "no"}).munmap is False
    pooled = find_strategy("pooled")
    assert pooled.settings_of({"buffer_bytes": "1KiB", "buffers": "64"}).buffer_bytes == KIB
    assert pooled.settings_of({"buffers": "none"}).buffers is None


@pytest.mark.parametrize(
    ("name", "pairs", "says"),
    [
        ("slab", {}, "no slot strategy 'slab'; known are static, fd, pooled"),
        ("static", {"reuse": "random"}, "one of lifo, lowest, fifo"),
        ("static", {"munmap": "yes"}, "no setting of the strategy static"),
        ("fd", {"munmap": "maybe"}, "yes or no"),
        ("fd", {"entry_bytes": "big"}, "no size"),
        ("pooled", {"buffers": "many"}, "a number"),
        ("pooled", {"buffers": "0"}, "at least 1"),
    ],
)
def test_wrong_names_and_settings_are_told(name: str, pairs: dict[str, str], says: str) -> None:
    """What is no strategy or no setting of it raises a UsageError that says what would be."""
    with pytest.raises(UsageError, match=says):
        find_strategy(name).settings_of(pairs)


def test_a_built_in_name_reads_no_metadata() -> None:
    """Finding a built-in strategy loads neither importlib.metadata nor anything heavy."""
    script = (
        "import sys\n"
        "from memplan.slots import find_strategy\n"
        "[find_strategy(name) for name in ('static', 'fd', 'pooled')]\n"
        "heavy = {'importlib.metadata', 'cffi', 'psutil', 'scipy', 'ctypes.util', 'mmap'}\n"
        "before = set(sys.modules) & (heavy - {'mmap'})\n"
        "print(sorted(before), 'memplan.strategies.realisation' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["[]", "False"]


def test_descriptors_add_up_by_process_model() -> None:
    """MAX_FD 4096 is too small for 4,096 connections of 64 threads; processes need each its own."""
    load = SlotLoad.balanced(64, 4096, max_conn=1024)
    assert descriptors_of(load).total == 4096 + 3 * 64 + 3
    assert "4,096 connections + 64 listeners" in descriptors_of(load).words()
    apart = SlotLoad.full(SlotShape(workers=64, max_conn=128, process_model="processes"))
    assert descriptors_of(apart).total == 128 + 3 + 3


def test_limits_come_from_the_host() -> None:
    """Each limit is judged against the host's own figure, and unknown ones bound nothing."""
    load = SlotLoad.balanced(64, 4096, max_conn=1024)
    layout = SlotLayout.opaque(12 * KIB)
    tight = HostLimits(
        max_map_count=2000,
        nofile_soft=1024,
        nofile_hard=4096,
        overcommit_memory=2,
        commit_limit_bytes=100 * MIB,
        mem_total_bytes=512 * MIB,
    )
    fd = {one.name: one for one in find_strategy("fd").limits(load, layout, tight)}
    assert (fd["nofile"].needed, fd["nofile"].allowed, fd["nofile"].ok) == (4291, 4096, False)
    assert "soft limit is 1,024" in fd["nofile"].detail
    assert fd["max_map_count"].needed == 2048 + 1 + 64 + 5 * 64
    assert not fd["max_map_count"].ok
    static = {one.name: one for one in find_strategy("static").limits(load, layout, tight)}
    assert static["overcommit"].needed == 768 * MIB
    assert not static["overcommit"].ok
    assert static["max_map_count"].ok
    heuristic = HostLimits(overcommit_memory=0, mem_total_bytes=512 * MIB)
    static = {one.name: one for one in find_strategy("static").limits(load, layout, heuristic)}
    assert not static["overcommit"].ok
    assert static["nofile"].allowed is None
    assert static["nofile"].ok
    for one in fd.values():
        assert one.to_dict()["ok"] == one.ok


def test_field_names_are_those_of_the_layout() -> None:
    """The usual fields are named once for all."""
    assert tuple(one.name for one in SlotLayout.of().fields) == FIELD_NAMES


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"max_conn": 0},
        {"load_sd": -1.0},
        {"conns": math.inf},
        {"active_fraction": 2.0},
        {"page_bytes": 1000},
    ],
)
def test_wrong_loads_are_told(wrong: dict[str, Any]) -> None:
    """A load that cannot be is refused."""
    with pytest.raises(UsageError):
        replace(SlotLoad.balanced(8, 64, max_conn=16), **wrong)
