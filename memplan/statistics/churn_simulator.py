"""Churn simulated at full scale, in C: the check on the formulas of `churn`.

Every event is played: a connection closes and opens again on a worker drawn afresh (or by its
tuple's frozen hash). `csrc/churn_sim.h` states the rules. An event costs a few nanoseconds, so that
a minute of 260,000 reconnects a second takes a tenth of a second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memplan.errors import MemplanError, UsageError
from memplan.native import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Events in one call into C: some tens of milliseconds, so that Ctrl-C is soon heard.
_SLICE = 4_000_000
_MOST = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChurnSimulation:
    """What was counted. Axes: r repeats, t checkpoints, w workers, k levels of load.

    Attributes:
        checkpoints_s: Times since the start at which the counts were read; shape (t,).
        events: Reconnects up to each checkpoint; shape (r, t).
        loads: Slots taken at each checkpoint; shape (r, t, w).
        maxima: Most slots taken up to each checkpoint, the start included; shape (r, t, w).
        upcrossings: How often a worker's load rose from k - 1 to k up to each checkpoint, over all
            workers, at index k; the last index also counts all above it; shape (r, t, k).
        refusals: Reconnects that a full worker turned away; shape (r, t).
    """

    checkpoints_s: "NDArray[np.float64]"
    events: "NDArray[np.int64]"
    loads: "NDArray[np.uint32]"
    maxima: "NDArray[np.uint32]"
    upcrossings: "NDArray[np.uint64]"
    refusals: "NDArray[np.uint64]"

    def overflows(self, max_conn: int) -> "NDArray[np.int64]":
        """Return in how many repeats some worker had held more slots, by checkpoint; shape (t,).

        Meaningful where the simulation had no caps.
        """
        over = (self.maxima > max_conn).any(axis=2)
        counts: NDArray[np.int64] = over.sum(axis=0, dtype=np.int64)
        return counts


def simulate_churn(
    workers: int,
    conns: int,
    reconnects_per_s: float,
    checkpoints_s: Sequence[float],
    *,
    repeats: int,
    seed: int,
    weights: Sequence[float] | None = None,
    max_conn: int | Sequence[int] | None = None,
    linger_s: float = 0.0,
    client_tuples: int | None = None,
) -> ChurnSimulation:
    """Play the churn of a closed population, event by event.

    Args:
        workers: Listening sockets in the group.
        conns: Connections; each is always open or about to try again.
        reconnects_per_s: Reconnects each second, in all; their times are a Poisson process.
        checkpoints_s: Increasing times since the start at which to read the counts.
        repeats: Independent runs, each from a fresh placement (and a fresh boot's hash).
        seed: The same seed gives the same runs on every machine.
        weights: Chance of each worker, on any scale; equal if not given.
        max_conn: Slots a worker, for all or each; no caps if not given. A refused connection tries
            again at its next reconnect.
        linger_s: Time for which a closed connection still holds its slot.
        client_tuples: Distinct client tuples with a frozen hash; each reconnect is hashed afresh if
            not given.

    Raises:
        UsageError: An argument is out of range.
        MemplanError: The extension is missing, or memory is short.
    """
    _check(workers, conns, reconnects_per_s, checkpoints_s, repeats, linger_s, client_tuples)
    ffi, lib = load()
    shares = np.full(workers, 1 / workers) if weights is None else _shares(weights, workers)
    caps = None if max_conn is None else _caps(max_conn, workers)
    levels = _levels(conns, float(shares.max()), reconnects_per_s * linger_s)
    sim = lib.churn_sim_new(
        workers,
        conns,
        client_tuples or 0,
        ffi.NULL if weights is None else ffi.from_buffer("double[]", shares),
        ffi.NULL if caps is None else ffi.from_buffer("uint32_t[]", caps),
        linger_s,
        levels,
    )
    if sim == ffi.NULL:
        raise MemplanError("the simulation does not fit into memory")
    sim = ffi.gc(sim, lib.churn_sim_free)

    times = np.asarray(checkpoints_s, dtype=np.float64)
    shape = repeats, len(times)
    result = ChurnSimulation(
        checkpoints_s=times,
        events=np.zeros(shape, np.int64),
        loads=np.zeros((*shape, workers), np.uint32),
        maxima=np.zeros((*shape, workers), np.uint32),
        upcrossings=np.zeros((*shape, levels), np.uint64),
        refusals=np.zeros(shape, np.uint64),
    )
    rng = np.random.default_rng(seed)
    spans = np.diff(times, prepend=0.0)
    result.events[:] = rng.poisson(reconnects_per_s * spans, size=shape).cumsum(axis=1)
    for repeat, start in enumerate(rng.integers(0, 2**64, size=repeats, dtype=np.uint64)):
        lib.churn_sim_start(sim, int(start))
        done = 0
        for i, until in enumerate(times.tolist()):
            total = int(result.events[repeat, i])
            _run(lib, sim, total - done, until)
            done = total
            _read(ffi, lib, sim, result, (repeat, i))
    return result


def _run(lib: Any, sim: Any, events: int, until_s: float) -> None:  # noqa: ANN401 - cffi objects
    """Run one segment in slices; a KeyboardInterrupt comes through between them."""
    lib.churn_sim_segment(sim, events, until_s)
    while (left := lib.churn_sim_run(sim, _SLICE)) > 0:
        pass
    if left < 0:
        raise MemplanError("memory is too short for the connections that linger")


def _read(ffi: Any, lib: Any, sim: Any, result: ChurnSimulation, at: tuple[int, int]) -> None:  # noqa: ANN401 - cffi objects
    lib.churn_sim_read(
        sim,
        ffi.from_buffer("uint32_t[]", result.loads[at], require_writable=True),
        ffi.from_buffer("uint32_t[]", result.maxima[at], require_writable=True),
        ffi.from_buffer("uint64_t[]", result.upcrossings[at], require_writable=True),
        ffi.from_buffer(
            "uint64_t[]", result.refusals[at[0], at[1] : at[1] + 1], require_writable=True
        ),
    )


def _check(
    workers: int,
    conns: int,
    reconnects_per_s: float,
    checkpoints_s: Sequence[float],
    repeats: int,
    linger_s: float,
    client_tuples: int | None,
) -> None:
    for name, value in (("workers", workers), ("conns", conns), ("repeats", repeats)):
        if not 1 <= value <= _MOST:
            raise UsageError(f"{name} must be between 1 and {_MOST:,}, not {value:,}")
    for name, rate in (("reconnects_per_s", reconnects_per_s), ("linger_s", linger_s)):
        if not 0 <= rate < math.inf:
            raise UsageError(f"{name} must be zero or more, not {rate:g}")
    if not len(checkpoints_s) or not all(
        a <= b for a, b in zip((0.0, *checkpoints_s), checkpoints_s, strict=False)
    ):
        raise UsageError("checkpoints must be one or more increasing times, from 0 s on")
    if client_tuples is not None and not conns <= client_tuples <= _MOST:
        raise UsageError(f"{client_tuples:,} client tuples cannot hold {conns:,} connections")


def _shares(weights: Sequence[float], workers: int) -> "NDArray[np.float64]":
    shares = np.array(weights, dtype=np.float64)
    if len(shares) != workers or not np.all((shares > 0) & np.isfinite(shares)):
        raise UsageError(f"{workers} workers need {workers} positive weights")
    shares /= shares.sum()
    return shares


def _caps(max_conn: int | Sequence[int], workers: int) -> "NDArray[np.uint32]":
    caps = np.broadcast_to(np.asarray(max_conn), (workers,))
    if caps.min() < 0 or caps.max() > _MOST:
        raise UsageError(f"max_conn must be between 0 and {_MOST:,}")
    return caps.astype(np.uint32)


def _levels(conns: int, share: float, lingering: float) -> int:
    """Return a number of levels that the load of the likeliest worker stays below."""
    mean = (conns + lingering) * share
    return math.ceil(min(conns + 2 * lingering, mean + 14 * math.sqrt(mean))) + 64
