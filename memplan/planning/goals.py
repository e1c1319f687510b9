"""What a plan has to reach, and the evidence that it may stand on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memplan.bounds import BUFFER, DESCRIPTORS, SHARE, SLOTS, check_numbers, whole
from memplan.errors import UsageError

if TYPE_CHECKING:
    from memplan.memory.calibration import Point
    from memplan.planning.configuration import Configuration

AUTO = "auto"

_NUMBERS = {
    "overflow": SHARE,
    "memory_limit_bytes": whole(1, 2**63),
    "headroom": SHARE,
    "max_conn": SLOTS,
    "max_fd": DESCRIPTORS,
    "state": BUFFER,
    "recv": BUFFER,
    "body": BUFFER,
    "write": BUFFER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What the plan must hold, and what the user has fixed.

    Attributes:
        overflow: Highest chance, over the horizon, that some worker needs more than max_conn slots.
        memory_limit_bytes: What the container may be charged; None reads it from the cgroup.
        headroom: Share of the memory limit that the plan leaves free.
        strategy: A slot strategy's name, or `auto` for the one that keeps memory lowest.
        max_conn: Slots a worker, where fixed.
        max_fd: Size of a table indexed by descriptor, where fixed.
        state: Bytes of a slot's parser state, where fixed.
        recv: Bytes of a slot's receive buffer, where fixed.
        body: Bytes of a slot's body buffer, where fixed.
        write: Bytes of a slot's write buffer, where fixed.
        pins: Costs of the server that are fixed, in bytes by their names in
            `memplan.memory_model.PINNABLE`, such as `base_bytes`.
    """

    overflow: float = 1e-6
    memory_limit_bytes: int | None = None
    headroom: float = 0.1
    strategy: str = AUTO
    max_conn: int | None = None
    max_fd: int | None = None
    state: int | None = None
    recv: int | None = None
    body: int | None = None
    write: int | None = None
    pins: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_numbers(self, _NUMBERS)
        if not 0 < self.overflow < 1:
            raise UsageError(
                f"overflow is a chance between 0 and 1, such as 1e-6, not {self.overflow:g}"
            )
        if not 0 <= self.headroom < 1:
            raise UsageError(f"headroom is a share from 0 to below 1, not {self.headroom:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What has been measured, and what runs today.

    Attributes:
        rss: The process's memory at some numbers of connections.
        charge: The container's charge at some numbers of connections.
        pid: A live server's process, whose tree is read now.
        current: Today's configuration, for what would change; what was measured was measured in it.
    """

    rss: tuple["Point", ...] = ()
    charge: tuple["Point", ...] = ()
    pid: int | None = None
    current: "Configuration | None" = None
