"""The cost of one process, worker or connection: a default that the user may pin."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from memplan.errors import UsageError
from memplan.memory.region import Amount, Provenance
from memplan.memory.slots_memory import SlotsMemory
from memplan.workload import Workload

if TYPE_CHECKING:
    from memplan.profiler.host import HostFacts

PINNABLE = {
    "base_bytes": "user memory of a process that serves nobody yet, without its workers",
    "stack_bytes": "touched stack of a worker",
    "ring_bytes": "io_uring or epoll of a worker, as the process and the group see it",
    "buffer_bytes": "buffers of a worker's loop that no connection owns",
    "socket_bytes": "kernel memory of an open connection that the group is charged for",
    "loop_bytes": "kernel memory of a connection's item in its loop",
    "in_flight_bytes": "socket buffers of a connection with bytes in flight",
    "slow_bytes": "socket buffers of a connection whose client reads slowly",
}
"""What a user may fix, in bytes for one of its kind."""


class Unit(NamedTuple):
    """The bytes of one thing, and where they came from."""

    amount: Amount
    provenance: Provenance


class Server(NamedTuple):
    """What every region's formula looks at."""

    workload: Workload
    slots: SlotsMemory
    pinned: Mapping[str, float]
    host: "HostFacts | None"

    def unit(self, name: str, default: Amount, provenance: Provenance) -> Unit:
        """Return a cost: what the user pinned, or the default."""
        if name in self.pinned:
            pinned = Amount.exactly(self.pinned[name])
            return Unit(pinned, Provenance("pinned", "given by the user"))
        return Unit(default, provenance)

    def per_connection(self, amount: Amount, share: float = 1.0) -> Amount:
        """Return a connection's bytes for all of them, or for a share; ends with their ends."""
        conns = self.workload.conns
        return Amount(
            amount.point * conns.median * share,
            amount.low * conns.low * share,
            amount.high * conns.high * share,
        )


def processes_of(workload: Workload) -> int:
    """Return how many processes serve: one for threads, else one a worker."""
    return workload.workers if workload.process_model == "processes" else 1


def check_pins(pinned: Mapping[str, float]) -> None:
    """Refuse what cannot be pinned.

    Raises:
        UsageError: Something is pinned that is no cost of the model, or to less than nothing.
    """
    for name, value in pinned.items():
        if name not in PINNABLE:
            raise UsageError(f"'{name}' cannot be pinned; what can: {', '.join(PINNABLE)}")
        if not 0 <= value < math.inf:
            raise UsageError(f"{name} must be zero or more bytes, not {value:g}")
