"""What each strategy says it takes, against known answers, counting, and Monte Carlo."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from memplan.errors import UsageError
from memplan.slots import HostLimits, PageCount, SlotLayout, SlotLoad, SlotShape, find_strategy
from memplan.strategies.fd import FdSettings, FdStrategy
from memplan.strategies.mappings import AddressSpace
from memplan.strategies.model import FreeSlots, Reuse, SlotModel
from memplan.strategies.pooled import PooledSettings, PooledStrategy, buffers_of, in_flight
from memplan.strategies.static import StaticModel, StaticSettings, StaticStrategy
from memplan.units import GIB, KIB, MIB

SLOT_12K = SlotLayout.opaque(12 * KIB)
SMALL = SlotLayout.of(state=128, recv=2048, body=512, write=4096)
HEADERS = SlotLayout.opaque(200)
THIRDS = {"recv": 700, "body": 0, "write": 120}

SEED = SlotLoad.balanced(64, 4096, max_conn=1024)
SEED_CHURNED = replace(SEED, high_mean=93.9, high_sd=3.3, accepts=None)
"""The seed's limited-conn after 5 s: 93.9 slots touched a worker in the mean."""


# The seed's story --------------------------------------------------------------------------------


def test_max_conn_1024_to_128_saves_address_space_alone() -> None:
    """64 x 896 x 12 KiB = 672 MiB less virtual size, and not one resident page less."""
    static = StaticStrategy()
    before = static.footprint(SEED_CHURNED, SLOT_12K)
    after = static.footprint(replace(SEED_CHURNED, max_conn=128), SLOT_12K)
    assert before.virtual_bytes - after.virtual_bytes == 64 * 896 * 12 * KIB == 672 * MIB
    assert before.now.mean == pytest.approx(after.now.mean, abs=1e-6)
    assert before.high_water.mean == pytest.approx(after.high_water.mean, abs=0.01)
    assert before.now.mean_bytes == pytest.approx(4096 * 12 * KIB)
    assert before.now.sd == pytest.approx(0, abs=1e-4)


def test_high_water_explains_22_and_a_half_mib() -> None:
    """A worker that has touched 94 slots where it holds 64: (93.9 - 64) x 64 x 12 KiB."""
    footprint = StaticStrategy().footprint(SEED_CHURNED, SLOT_12K)
    extra = footprint.high_water.mean_bytes - footprint.now.mean_bytes
    assert extra == pytest.approx((93.9 - 64) * 64 * 12 * KIB, rel=1e-3)
    assert extra == pytest.approx(22.5 * MIB, rel=0.005)


def test_a_slot_of_6784_bytes_costs_8_kib_mapped_alone() -> None:
    """The fd strategy pays two whole pages a connection, the packed array the bytes."""
    fd = FdStrategy().footprint(SEED, SMALL)
    assert fd.idle_conn_bytes == 8 * KIB + 8
    tables = 64 * 4291 * 8
    assert fd.now.mean_bytes - 4096 * 8 * KIB == pytest.approx(tables, rel=0.01)
    static = StaticStrategy().footprint(SEED, SMALL)
    assert static.idle_conn_bytes == 6784


def test_a_table_of_4096_descriptors_is_too_small() -> None:
    """The fd table must hold 4,096 connections, 192 descriptors of workers and 3 streams."""
    load = replace(SEED, max_fd=4096)
    limit = FdStrategy().limits(load, SMALL, HostLimits())[0]
    assert (limit.name, limit.needed, limit.allowed, limit.ok) == ("max_fd", 4291, 4096, False)
    assert FdStrategy().limits(replace(load, max_fd=4291), SMALL, HostLimits())[0].ok


def test_fifo_walks_through_all_slots() -> None:
    """Given enough accepts a queue of free slots makes all of them resident."""
    fifo = StaticSettings(reuse="fifo")
    footprint = StaticStrategy().footprint(SEED_CHURNED, SLOT_12K, fifo)
    assert footprint.high_water.mean_bytes == footprint.virtual_bytes == 768 * MIB
    some = replace(SEED_CHURNED, accepts=200.0)
    footprint = StaticStrategy().footprint(some, SLOT_12K, fifo)
    assert footprint.high_water.mean == pytest.approx(64 * 200 * 3)
    assert footprint.now.mean == pytest.approx(4096 * 3)


def test_processes_and_threads_differ() -> None:
    """Processes have arrays, tables and descriptors of their own; threads share one process."""
    apart = replace(SEED, process_model="processes", max_conn=100)
    threads = replace(SEED, max_conn=100)
    static = StaticStrategy()
    assert static.footprint(apart, SMALL).largest_mapping_bytes == 100 * 6784
    assert static.footprint(threads, SMALL).largest_mapping_bytes == 64 * 100 * 6784
    fd = FdStrategy()
    assert fd.footprint(apart, SMALL).table_bytes == 64 * 8 * (100 + 6)
    assert fd.footprint(threads, SMALL).table_bytes == 64 * 8 * 4291
    once = FdSettings(table="process")
    assert fd.footprint(threads, SMALL, once).table_bytes == 8 * 4291
    table = fd.footprint(threads, SMALL, once).now.mean - fd.footprint(threads, SMALL).now.mean
    assert table == pytest.approx(9 - 64 * 8.4, rel=0.02)


def test_idle_connections_that_never_spoke_touch_their_state_alone() -> None:
    """With no bytes ever in flight the buffers of a slot are not resident."""
    idle = replace(SEED, active_fraction=0.0)
    spread = SlotLayout.of(state=4096)
    assert StaticStrategy().footprint(idle, spread).now.mean == pytest.approx(4096)
    assert StaticStrategy().footprint(SEED, spread).now.mean == pytest.approx(4 * 4096)
    pooled = PooledStrategy().footprint(idle, spread)
    assert pooled.now.mean == pytest.approx(4096)


def test_a_used_byte_costs_its_page() -> None:
    """One byte used of each 4 KiB buffer costs the same as all of it."""
    whole = StaticStrategy().footprint(SEED, SlotLayout.of(state=4096))
    one = replace(SEED, used_active={"recv": 1, "body": 1, "write": 1})
    assert StaticStrategy().footprint(one, SlotLayout.of(state=4096)).now == whole.now
    none = replace(SEED, used_active={"recv": 1, "body": 0, "write": 1})
    less = StaticStrategy().footprint(none, SlotLayout.of(state=4096))
    assert less.now.mean == pytest.approx(whole.now.mean * 3 / 4)


def dice(seed: int) -> random.Random:
    """Return draws that are the same at every run."""
    return random.Random(seed)  # noqa: S311 - nothing secret hangs on them


# Monte Carlo -------------------------------------------------------------------------------------


def loads(workers: int, conns: int, size: int) -> Iterator[list[int]]:
    """Yield exact multinomial loads."""
    rng = np.random.default_rng(workers * 1000 + conns)
    for row in rng.multinomial(conns, [1 / workers] * workers, size):
        yield [int(count) for count in row]


def agrees(found: PageCount, seen: list[int], *, sd_within: float = 0.3) -> None:
    """Assert that a prediction's mean and sd are those of a sample."""
    mean, sd = float(np.mean(seen)), float(np.std(seen, ddof=1))
    assert abs(found.mean - mean) < 4 * sd / math.sqrt(len(seen)) + 0.02 + 1e-4 * mean
    assert abs(found.sd - sd) < sd_within * max(sd, found.sd) + 0.5
    if sd > 1:
        inside = np.mean([found.low <= pages <= found.high for pages in seen])
        assert inside >= 0.88


def fill(model: SlotModel, row: list[int], used: dict[str, int] | None) -> int:
    """Open the connections of a load, write them, and return the pages."""
    model.open()
    for worker, count in enumerate(row):
        for _ in range(count):
            model.touch(model.accept(worker), used)
    return model.pages()


@pytest.mark.parametrize(
    ("layout", "used", "workers", "conns", "max_conn", "sd_within"),
    [
        (SLOT_12K, None, 8, 160, 64, 0.3),
        (SMALL, None, 8, 160, 41, 0.3),
        (SMALL, THIRDS, 8, 160, 41, 0.3),
        (SlotLayout.of(state=100, recv=1001, body=13, align=1), None, 5, 100, 37, 0.3),
        (HEADERS, None, 16, 320, 33, 0.3),
        (HEADERS, None, 30, 60, 7, 2.0),
        (SlotLayout.of(), THIRDS, 8, 160, 41, 0.3),
    ],
)
def test_static_pages_are_those_of_drawn_loads(
    layout: SlotLayout,
    used: dict[str, int] | None,
    workers: int,
    conns: int,
    max_conn: int,
    sd_within: float,
) -> None:
    """Expected pages, sd and interval of a snapshot agree with exact multinomial draws.

    The sd of arrays smaller than a page is only a bound, and may be off by more.
    """
    load = SlotLoad.balanced(workers, conns, max_conn=max_conn, used_active=used)
    shape = SlotShape(workers=workers, max_conn=max_conn)
    seen = [
        fill(StaticStrategy().model(layout, shape), row, used)
        for row in loads(workers, conns, 250)
        if max(row) <= max_conn
    ]
    agrees(StaticStrategy().footprint(load, layout).now, seen, sd_within=sd_within)


def churn(model: StaticModel, rng: random.Random, conns: int, events: int) -> dict[int, set[int]]:
    """Open connections at random, then close and reopen; return the places in use by worker."""
    workers = model.shape.workers
    model.open()
    live = [model.accept(rng.randrange(workers)) for _ in range(conns)]
    for one in live:
        model.touch(one)
    for _ in range(events):
        at = rng.randrange(conns)
        model.close(live[at])
        live[at] = model.accept(rng.randrange(workers))
        model.touch(live[at])
    places: dict[int, set[int]] = {worker: set() for worker in range(workers)}
    for one in live:
        places[one.worker].add(model.place_of(one))
    return places


@pytest.mark.parametrize("reuse", ["lifo", "lowest"])
def test_high_water_and_what_can_be_trimmed(reuse: Reuse) -> None:
    """After churn the resident pages are the high water's; `lowest` frees its tail, `lifo` not."""
    workers, conns, max_conn = 6, 150, 80
    rng = dice(7)
    pages, highs, tails = [], [], []
    for _ in range(60):
        shape = SlotShape(workers=workers, max_conn=max_conn)
        model = StaticModel(SMALL, shape, StaticSettings(reuse=reuse))
        places = churn(model, rng, conns, 1500)
        pages.append(model.pages())
        for worker, used in places.items():
            highs.append(model.high_water(worker))
            tails.append(model.high_water(worker) - max(used) - 1)
    load = replace(
        SlotLoad.balanced(workers, conns, max_conn=max_conn),
        high_mean=float(np.mean(highs)),
        high_sd=float(np.std(highs)),
    )
    footprint = StaticStrategy().footprint(load, SMALL, StaticSettings(reuse=reuse))
    assert footprint.high_water.mean == pytest.approx(np.mean(pages), rel=0.005)
    assert footprint.high_water.sd >= 0.8 * float(np.std(pages))
    trimmable = footprint.trimmable_bytes / workers / 6784
    if reuse == "lowest":
        assert 0.3 * float(np.mean(tails)) < trimmable <= float(np.mean(tails))
        assert np.mean(tails) > 2
    else:
        assert trimmable == pytest.approx(np.mean(tails), rel=0.3)
        assert np.mean(tails) < 1


@pytest.mark.parametrize("max_fd", [None, 4096])
def test_tables_of_workers_are_thin(max_fd: int | None) -> None:
    """Pages of per-worker tables agree with descriptors dealt to workers at random."""
    workers, conns = 24, 1500
    load = replace(SlotLoad.balanced(workers, conns, max_conn=200), max_fd=max_fd)
    rng = np.random.default_rng(5)
    first = load.other_fds_of_a_process
    entries = first + conns if max_fd is None else max_fd
    fds = np.arange(first, first + conns)
    seen = []
    for _ in range(400):
        cells = rng.integers(workers, size=conns) * entries + fds
        seen.append(len(np.unique(cells * 8 // 4096)))
    fd = FdStrategy()
    now = fd.footprint(load, SLOT_12K).now
    assert now.mean - conns * 3 == pytest.approx(np.mean(seen), abs=0.1)
    assert now.sd >= 0.95 * np.std(seen)
    churned = fd.footprint(replace(load, accepts=None), SLOT_12K).high_water
    every = {(w * entries + fd) * 8 // 4096 for w in range(workers) for fd in fds.tolist()}
    assert churned.mean - conns * 3 == pytest.approx(len(every), abs=1e-6)


def test_tables_of_processes_are_dense() -> None:
    """Each process's own table is touched from its first free descriptor to its load."""
    workers, conns = 12, 6000
    load = replace(SlotLoad.balanced(workers, conns, max_conn=700), process_model="processes")
    seen = [
        sum(len({(6 + i) * 8 // 4096 for i in range(count)}) for count in row)
        for row in loads(workers, conns, 300)
    ]
    found = FdStrategy().footprint(load, SLOT_12K).now
    assert found.mean - conns * 3 == pytest.approx(np.mean(seen), abs=0.2)


@pytest.mark.parametrize(("conns", "workers"), [(128, 2), (512, 8), (4096, 64), (2048, 8)])
def test_mappings_after_churn(conns: int, workers: int) -> None:
    """A process's mappings after churn are as expected, by the kernel's rules of merging."""
    rng = dice(11)
    free, space, live = FreeSlots("lowest", conns), AddressSpace(), []

    def accept() -> None:
        place = free.take()
        assert place is not None
        live.append(place)
        space.map(-place - 1, -place)
        space.write(-place - 1)

    for _ in range(conns // workers):
        accept()
    seen = []
    for event in range(120_000):
        births = (conns - len(live)) / workers
        if rng.random() * (births + len(live) * (1 - 1 / workers)) < births:
            accept()
        else:
            at = rng.randrange(len(live))
            live[at], live[-1] = live[-1], live[at]
            place = live.pop()
            space.unmap(-place - 1, -place)
            free.put(place)
        if event > 20_000 and event % 50 == 0:
            seen.append(len(space))
    load = SlotLoad.balanced(workers, conns, max_conn=conns)
    footprint = FdStrategy().footprint(replace(load, process_model="processes"), SLOT_12K)
    assert footprint.mappings - 1 == pytest.approx(np.mean(seen), rel=0.12)
    assert max(seen) <= (free.high_water + 1) // 2 <= footprint.mappings_worst
    fixed = FdStrategy().footprint(load, SLOT_12K)
    assert fixed.mappings == 2


# Pools -------------------------------------------------------------------------------------------


def test_a_ring_is_resident_whole_and_a_stack_in_part() -> None:
    """Buffers of a ring all become resident; a stack keeps to those ever out at once."""
    load = replace(SEED, active_fraction=0.05)
    layout = SlotLayout.of(state=128, recv=2048, body=0, write=1920)
    ring = PooledStrategy().footprint(load, layout, PooledSettings(buffers=64))
    stack = PooledStrategy().footprint(load, layout, PooledSettings(buffers=64, pool="stack"))
    headers = PooledStrategy().footprint(replace(load, active_fraction=0.0), layout)
    buffer_pages = -(-64 * 64 * 3968 // 4096)
    assert ring.now.mean - headers.now.mean == pytest.approx(buffer_pages, abs=0.1)
    assert stack.high_water.mean < ring.high_water.mean / 3
    assert ring.idle_conn_bytes == 128
    assert ring.active_conn_bytes == 128 + 3968


@pytest.mark.parametrize("active", [0.05, 0.3])
def test_a_stack_agrees_with_drawn_activity(active: float) -> None:
    """Headers and borrowed buffers of one moment agree with draws of load and activity."""
    workers, conns, max_conn = 8, 240, 60
    layout = SlotLayout.of(state=128, recv=2048, body=512, write=1024)
    settings = PooledSettings(pool="stack", buffers=max_conn)
    load = replace(SlotLoad.balanced(workers, conns, max_conn=max_conn), active_fraction=active)
    rng = dice(2)
    seen = []
    for row in loads(workers, conns, 250):
        model = PooledStrategy().model(
            layout, SlotShape(workers=workers, max_conn=max_conn), settings
        )
        model.open()
        for worker, count in enumerate(row):
            for _ in range(count):
                one = model.accept(worker)
                if rng.random() < active:
                    model.borrow(one)
                model.touch(one)
        seen.append(model.pages())
    agrees(PooledStrategy().footprint(load, layout, settings).now, seen)


def test_a_pool_holds_what_is_in_flight() -> None:
    """The pool is a power of two that holds the high water; a smaller one is a broken limit."""
    load = replace(SEED_CHURNED, active_fraction=0.1)
    (_, now_sd), (high, high_sd) = in_flight(load)
    assert now_sd == pytest.approx(math.sqrt(0.01 * load.load_sd**2 + 0.09 * 64))
    assert 6.4 < high < 93.9
    assert buffers_of(load, PooledSettings()) == 32
    assert high + 4 * high_sd < 32
    limits = PooledStrategy().limits(load, SMALL, HostLimits(), PooledSettings(buffers=8))
    assert [one.ok for one in limits if one.name == "pool buffers"] == [False]
    now, high_water = in_flight(SEED_CHURNED)
    assert now == pytest.approx((64, SEED.load_sd))
    assert high_water == pytest.approx((93.9, 3.3))


def highest(load: SlotLoad, active_rate: float, rng: random.Random) -> tuple[int, int]:
    """Simulate one worker for a second: its highest load, and its highest activity.

    Each connection reconnects ten times a second; an active one falls idle at `active_rate`.
    """
    share, reconnects = load.active_fraction, 10.0
    own = 1 / load.workers
    held = sum(rng.random() < own for _ in range(round(load.conns)))
    active = sum(rng.random() < share for _ in range(held))
    most, clock = (held, active), 0.0
    while clock < 1.0:
        births = reconnects * (load.conns - held) * own
        deaths = reconnects * held * (1 - own)
        wakes = active_rate * share / (1 - share) * (held - active)
        total = births + deaths + wakes + active_rate * active
        clock += rng.expovariate(total)
        event = rng.random() * total
        if event < births:
            held, active = held + 1, active + (rng.random() < share)
        elif event < births + deaths:
            held, active = held - 1, active - (rng.random() < active / held)
        else:
            active += 1 if event < births + deaths + wakes else -1
        most = (max(most[0], held), max(most[1], active))
    return most


def test_the_high_water_in_flight_is_nearly_that_of_a_simulation() -> None:
    """The approximation is some percent low, as it says, and the advised pool holds every run."""
    rng = dice(4)
    load = replace(SlotLoad.balanced(64, 4096, max_conn=256), active_fraction=0.1)
    runs = [highest(load, 100.0, rng) for _ in range(40)]
    loads_seen, active_seen = ([run[i] for run in runs] for i in (0, 1))
    known = replace(load, high_mean=float(np.mean(loads_seen)), high_sd=float(np.std(loads_seen)))
    _, (mean, _) = in_flight(known)
    assert 0.8 * float(np.mean(active_seen)) < mean < 1.02 * float(np.mean(active_seen))
    assert max(active_seen) <= buffers_of(known, PooledSettings())


def test_pooled_splits_any_slot_and_refuses_one_that_is_all_header() -> None:
    """An opaque slot gives up its header's bytes; nothing left for a buffer is told."""
    opaque = PooledStrategy().footprint(SEED, SLOT_12K, PooledSettings(buffers=1))
    assert opaque.virtual_bytes == 64 * (1024 * 128 + 12 * KIB - 128)
    own = PooledStrategy().footprint(SEED, SLOT_12K, PooledSettings(buffers=4, buffer_bytes=KIB))
    assert own.virtual_bytes == 64 * (1024 * 128 + 4 * KIB)
    for wrong in (SlotLayout.opaque(100), SlotLayout.of(recv=0, body=0, write=0)):
        with pytest.raises(UsageError, match="all header"):
            PooledStrategy().footprint(SEED, wrong)


@pytest.mark.parametrize("name", ["static", "fd", "pooled"])
def test_huge_loads_are_answered_too(name: str) -> None:
    """65,536 workers with 10^9 connections give finite, ordered figures of the right size."""
    load = replace(
        SlotLoad.balanced(65536, 10**9, max_conn=20_000, used_active=THIRDS),
        high_mean=15_800.0,
        high_sd=25.0,
        active_fraction=0.01,
    )
    footprint = find_strategy(name).footprint(load, SMALL)
    for count in (footprint.now, footprint.high_water):
        assert 0 < count.low <= count.mean <= count.high < math.inf
    assert footprint.now.mean <= footprint.high_water.mean
    least = 10**9 * (128 if name == "pooled" else 6 * KIB)
    assert least < footprint.now.mean_bytes < 20_000 * GIB
    assert footprint.to_dict()["virtual_bytes"] == footprint.virtual_bytes
