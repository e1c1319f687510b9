"""Everything that a plan's warnings look at, gathered once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memplan.answer import Answer, SlotsAnswer
from memplan.descriptors import DescriptorSum
from memplan.planning.goals import Goals
from memplan.slot_layout import PAGE_BYTES, SlotLayout
from memplan.workload import Workload

if TYPE_CHECKING:
    from memplan.planning.configuration import Configuration
    from memplan.profiler.host import HostFacts
    from memplan.profiler.live_server import LiveServer
    from memplan.reuseport_model import ReuseportModel
    from memplan.statistics.frozen_hash import FrozenHashAnswer

BENCHMARK_S = 15.0
"""A usual benchmark: three runs of five seconds against one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FewClients:
    """What few client tuples make of the overflow.

    Attributes:
        max_conn: The slots a worker that it is asked of: today's where said, else the fixed or the
            required ones.
        answer: The chance over boots and between them.
        required: The slots that hold the target over boots.
    """

    max_conn: int
    answer: "FrozenHashAnswer"
    required: SlotsAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The load, the goals, the machine, and what the planner has decided so far.

    Attributes:
        workload: The load.
        goals: What must hold.
        host: The machine's facts.
        model: The spread of connections over workers.
        horizon_s: The time that the target holds over; None for a snapshot.
        required: The smallest MAX_CONN that holds the target.
        max_conn: The MAX_CONN of the plan.
        descriptors: The descriptors of one process.
        strategy: The slot strategy of the plan.
        layout: Its slot.
        virtual_bytes: Address space of its slots.
        current: Today's configuration, where given.
        live: A live server, where read.
        useless_savings: Sizes that would save nothing, in words.
        few_clients: What few client tuples make of it, where they are few.
        sensitivity: How the answer moves with the connections, in words.
        unmeasured_high_bytes: High end of the charge's interval where nothing was measured.
    """

    workload: Workload
    goals: Goals
    host: "HostFacts"
    model: "ReuseportModel"
    horizon_s: float | None
    required: SlotsAnswer
    max_conn: int
    descriptors: DescriptorSum
    strategy: str
    layout: SlotLayout
    virtual_bytes: int
    current: "Configuration | None" = None
    live: "LiveServer | None" = None
    useless_savings: tuple[str, ...] = ()
    few_clients: FewClients | None = None
    sensitivity: str | None = None
    unmeasured_high_bytes: int | None = None

    @property
    def page_bytes(self) -> int:
        """Size of a page."""
        return self.host.page_bytes or PAGE_BYTES

    @property
    def current_max_conn(self) -> int | None:
        """Today's MAX_CONN, where given."""
        return None if self.current is None else self.current.max_conn

    @property
    def current_max_fd(self) -> int | None:
        """Today's MAX_FD, where given."""
        return None if self.current is None else self.current.max_fd

    def overflow(self, max_conn: int, horizon_s: float | None) -> Answer:
        """Return the chance that some worker needs more slots: within a time, or at one moment."""
        if horizon_s is None:
            return self.model.overflow_probability(max_conn)
        return self.model.overflow_within(max_conn, horizon_s)

    def slots_in_question(self) -> Iterator[tuple[SlotLayout, str, str]]:
        """Yield the slots that are or would be used, each with its strategy and whose it is."""
        yield self.layout, self.strategy, "as advised"
        if self.current is not None and self.current.says_layout:
            yield self.current.layout, self.current.strategy or self.strategy, "today's"
