"""Slots as pure models: which one is taken next, what is refused, and how mappings merge."""

import random

import pytest

from memplan.errors import PlanError, UsageError
from memplan.slots import SlotLayout, SlotShape
from memplan.strategies.fd import FdStrategy
from memplan.strategies.mappings import AddressSpace
from memplan.strategies.model import FreeSlots, Reuse
from memplan.strategies.pooled import PooledSettings, PooledStrategy
from memplan.strategies.static import StaticModel, StaticSettings, StaticStrategy

SMALL = SlotLayout.of(state=128, recv=2048, body=512, write=4096)


def test_lifo_and_lowest_touch_alike_and_fifo_all() -> None:
    """From the same churn `lifo` and `lowest` have the same high water, and `fifo` every slot."""
    high = {}
    for reuse in ("lifo", "lowest", "fifo"):
        shape = SlotShape(workers=4, max_conn=60)
        model = StaticModel(SMALL, shape, StaticSettings(reuse=reuse))
        model.open()
        rng = random.Random(3)  # noqa: S311 - nothing secret hangs on it
        live = [model.accept(rng.randrange(4)) for _ in range(100)]
        for _ in range(2000):
            at = rng.randrange(100)
            model.close(live[at])
            live[at] = model.accept(rng.randrange(4))
        high[reuse] = [model.high_water(worker) for worker in range(4)]
    assert high["lifo"] == high["lowest"]
    assert max(high["lifo"]) < 60
    assert high["fifo"] == [60] * 4


@pytest.mark.parametrize("order", ["lifo", "lowest", "fifo"])
def test_free_slots_come_back_in_their_order(order: Reuse) -> None:
    """Of slots 0..4, freed as 3, 1, 4: the last, the lowest, or the oldest after fresh ones."""
    free = FreeSlots(order, 7)
    assert [free.take() for _ in range(5)] == [0, 1, 2, 3, 4]
    for slot in (3, 1, 4):
        free.put(slot)
    expected = {
        "lifo": [4, 1, 3, 5, 6, None],
        "lowest": [1, 3, 4, 5, 6, None],
        "fifo": [5, 6, 3, 1, 4, None],
    }
    assert [free.take() for _ in range(6)] == expected[order]


def test_models_refuse_what_a_server_could_not_do() -> None:
    """Overflow, unknown workers, closed connections and empty pools are told, not ignored."""
    shape = SlotShape(workers=2, max_conn=2)
    static = StaticStrategy().model(SMALL, shape)
    static.open()
    one = static.accept(0)
    static.accept(0)
    with pytest.raises(PlanError, match="worker 0 has no place left"):
        static.accept(0)
    with pytest.raises(UsageError, match="workers are 0 to 1"):
        static.accept(2)
    static.close(one)
    for late in (static.touch, static.close):
        with pytest.raises(UsageError, match="is not open"):
            late(one)
    with pytest.raises(UsageError, match="only pooled"):
        static.borrow(static.accept(0))
    pooled = PooledStrategy().model(SMALL, shape, PooledSettings(buffers=1))
    pooled.open()
    first, second = pooled.accept(1), pooled.accept(1)
    pooled.borrow(first)
    pooled.borrow(first)
    with pytest.raises(PlanError, match="all 1 buffers"):
        pooled.borrow(second)
    pooled.close(first)
    pooled.borrow(second)
    pooled.give_back(second)
    with pytest.raises(UsageError, match="holds no buffer"):
        pooled.give_back(second)
    fd = FdStrategy().model(SMALL, SlotShape(workers=1, max_conn=9, max_fd=8))
    fd.open()
    fd.accept(0)
    fd.accept(0)
    with pytest.raises(PlanError, match="no place left"):
        fd.accept(0)
    assert fd.connections == 2


def test_a_hole_that_is_filled_again_joins_both_sides() -> None:
    """Splitting keeps the identity of written memory, so that one mapping comes back."""
    space = AddressSpace()
    space.map(0, 9)
    space.write(0)
    space.unmap(3, 5)
    assert len(space) == 2
    space.map(3, 4)
    space.map(4, 5)
    assert len(space) == 1


def test_memory_written_apart_never_joins() -> None:
    """Two mappings that were first written apart stay two when the gap between them closes."""
    space = AddressSpace()
    for start in (0, 2):
        space.map(start, start + 1)
        space.write(start)
    space.map(1, 2)
    assert len(space) == 2
    space.unmap(0, 2)
    assert len(space) == 1
    untouched = AddressSpace()
    for start in (0, 2, 1):
        untouched.map(start, start + 1)
    assert len(untouched) == 1
    untouched.unmap(0, 3)
    assert len(untouched) == 0
