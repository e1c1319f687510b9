"""What a slot strategy takes, in the plain numbers that the memory model adds up."""

from dataclasses import dataclass

from memplan.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsMemory:
    """What a slot strategy takes, over all processes, in plain numbers.

    Attributes:
        strategy: Its name.
        virtual_bytes: Address space of slots, pools and tables.
        table_bytes: The part of it that is tables; their touched pages count as resident.
        resident_bytes: Expected resident bytes at the end of the horizon: the high water.
        low_bytes: Lower end of its 95% interval.
        high_bytes: Upper end of its 95% interval.
        mappings: Mappings of one process.
        slot_bytes_now: The part that is resident once all connections are open and none has
            closed yet; the rest of `resident_bytes` is what churn has touched.
    """

    strategy: str
    virtual_bytes: int
    table_bytes: int
    resident_bytes: int
    low_bytes: int
    high_bytes: int
    mappings: int
    slot_bytes_now: int

    def __post_init__(self) -> None:
        if not 0 <= self.low_bytes <= self.resident_bytes <= self.high_bytes:
            raise UsageError(
                f"slots of {self.resident_bytes:,} resident bytes lie outside their own interval"
            )
        if self.virtual_bytes < 0 or self.table_bytes < 0 or self.mappings < 0:
            raise UsageError("a footprint has no negative sizes")
