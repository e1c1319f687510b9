"""The compiled extension: found or named as missing, declared as its headers say, and sound."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memplan import native
from memplan.errors import MemplanError
from memplan.statistics.churn_simulator import simulate_churn

CSRC = Path(__file__).parent.parent / "csrc"
MASK = 2**64 - 1


def declarations(text: str) -> set[str]:
    """Return the function declarations of C text, without comments and line breaks."""
    code = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    code = re.sub(r"^#.*$", "", code, flags=re.MULTILINE)
    lines = (" ".join(part.split()) for part in code.split(";"))
    return {line for line in lines if line.endswith(")") and "{" not in line}


def test_python_calls_what_the_headers_declare() -> None:
    """Each function in the cdef stands in a header of the prelude, letter by letter."""
    prelude = (CSRC / "memplan.prelude.h").read_text(encoding="utf-8")
    headers = re.findall(r'#include "([^"]+)"', prelude)
    known = set().union(
        *(declarations((CSRC / name).read_text(encoding="utf-8")) for name in headers)
    )
    called = declarations((CSRC / "memplan.cdef.h").read_text(encoding="utf-8"))
    assert called
    assert called <= known


def test_a_missing_extension_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C was not built, one line says so and what to do."""
    monkeypatch.setitem(sys.modules, "memplan._native", None)
    native.load.cache_clear()
    try:
        with pytest.raises(MemplanError, match="reinstall it with 'pip install memplan'"):
            native.load()
    finally:
        native.load.cache_clear()


def test_bad_arguments_make_no_simulation() -> None:
    """The C itself refuses what it could not simulate, instead of reading beyond an array."""
    ffi, lib = native.load()
    good = (4, 10, 0, ffi.NULL, ffi.NULL, 0.0, 16)
    for place, value in (
        (0, 0),  # no workers
        (1, 0),  # no connections
        (2, 9),  # fewer tuples than connections
        (3, ffi.new("double[]", [1.0, 0.0, 1.0, 1.0])),  # a weight of nothing
        (3, ffi.new("double[]", [1.0, float("nan"), 1.0, 1.0])),
        (5, -1.0),  # a linger into the past
        (5, float("nan")),
        (6, 1),  # no levels
    ):
        arguments = list(good)
        arguments[place] = value
        assert lib.churn_sim_new(*arguments) == ffi.NULL
    sim = lib.churn_sim_new(*good)
    assert sim != ffi.NULL
    lib.churn_sim_free(sim)
    lib.churn_sim_free(ffi.NULL)


def xoshiro(seed: int) -> Iterator[int]:
    """Yield xoshiro256++ seeded by splitmix64, as the C draws it."""
    state = []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        state.append(z ^ (z >> 31))

    def rotate(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (64 - bits))) & MASK

    while True:
        yield (rotate((state[0] + state[3]) & MASK, 23) + state[0]) & MASK
        shifted = (state[1] << 17) & MASK
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotate(state[3], 45)


def test_the_seeding_is_splitmix64() -> None:
    """The published first outputs of splitmix64 from 0 give the first of xoshiro256++."""
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    total = (known[0] + known[3]) & MASK
    first = (((total << 23) | (total >> 41)) + known[0]) & MASK
    assert next(xoshiro(0)) == first


@pytest.mark.parametrize("cap", [None, 6])
@pytest.mark.parametrize("tuples", [0, 30])
def test_the_c_plays_the_game_as_python_does(cap: int | None, tuples: int) -> None:
    """Twenty lines of plain Python with the same random numbers end in the same counts."""
    workers, conns, events, seed = 5, 20, 3000, 12345
    draws = xoshiro(seed)

    def below(n: int) -> int:
        return (next(draws) * n) >> 64

    limit = conns if cap is None else cap
    hashes = [below(workers) for _ in range(tuples)]
    pool = list(range(tuples))
    load, owner, refusals = [0] * workers, list[int | None](), 0
    for connection in range(conns):
        worker = hashes[connection] if tuples else below(workers)
        owner.append(worker if load[worker] < limit else None)
        load[worker] += load[worker] < limit
    maxima, rises = load.copy(), [0] * 64
    for _ in range(events):
        connection = below(conns)
        was = owner[connection]
        if tuples:
            pick = below(tuples - conns + 1)
            place = conns + pick - 1 if pick else connection
            pool[place], pool[connection] = pool[connection], pool[place]
            worker = hashes[pool[connection]]
        else:
            worker = below(workers)
        if was is not None:
            load[was] -= 1
        if load[worker] >= limit:
            owner[connection] = None
            refusals += 1
            continue
        load[worker] += 1
        owner[connection] = worker
        maxima[worker] = max(maxima[worker], load[worker])
        rises[load[worker]] += was != worker

    ffi, lib = native.load()
    caps = ffi.NULL if cap is None else ffi.new("uint32_t[]", [cap] * workers)
    sim = ffi.gc(
        lib.churn_sim_new(workers, conns, tuples, ffi.NULL, caps, 0.0, 64), lib.churn_sim_free
    )
    lib.churn_sim_start(sim, seed)
    lib.churn_sim_segment(sim, events, 1.0)
    while lib.churn_sim_run(sim, 700):
        pass
    loads, most = ffi.new("uint32_t[]", workers), ffi.new("uint32_t[]", workers)
    upcrossings, refused = ffi.new("uint64_t[]", 64), ffi.new("uint64_t *")
    lib.churn_sim_read(sim, loads, most, upcrossings, refused)
    assert list(loads) == load
    assert list(most) == maxima
    assert list(upcrossings) == rises
    assert refused[0] == refusals
    assert (refusals > 0) == (cap is not None)


def test_slices_do_not_show() -> None:
    """A run in many slices, as Ctrl-C needs it, is the run in one."""
    ffi, lib = native.load()
    states = []
    for most in (10**6, 37):
        sim = ffi.gc(lib.churn_sim_new(7, 90, 0, ffi.NULL, ffi.NULL, 0.003, 64), lib.churn_sim_free)
        lib.churn_sim_start(sim, 9)
        lib.churn_sim_segment(sim, 5000, 2.0)
        while lib.churn_sim_run(sim, most):
            pass
        loads, maxima = ffi.new("uint32_t[]", 7), ffi.new("uint32_t[]", 7)
        rises, refused = ffi.new("uint64_t[]", 64), ffi.new("uint64_t *")
        lib.churn_sim_read(sim, loads, maxima, rises, refused)
        states.append((list(loads), list(maxima), list(rises), refused[0]))
    assert states[0] == states[1]


def test_the_same_seed_is_the_same_run() -> None:
    """Runs repeat exactly, and differ between seeds and between repeats."""
    runs = [simulate_churn(8, 100, 1000, [0.1, 1.0], repeats=3, seed=seed) for seed in (1, 1, 2)]
    assert (runs[0].maxima == runs[1].maxima).all()
    assert (runs[0].loads == runs[1].loads).all()
    assert (runs[0].loads != runs[2].loads).any()
    assert (runs[0].loads[0] != runs[0].loads[1]).any()
