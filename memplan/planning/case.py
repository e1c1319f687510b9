"""Everything that a plan's warnings look at, gathered once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memplan.answer import Answer, SlotsAnswer
from memplan.constraint import Constraint
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
        limits: The limits that it runs into.
        current: Today's configuration, where given.
        live: A live server, where read.
        useless_savings: Sizes that would save nothing, in words.
        few_clients: What few client tuples make of it, where they are few.
        sensitivity: How the answer moves with the connections, in words.
        unmeasured_high_bytes: High end of the charge's interval where nothing was measured.
        contradictions: What the measurements contradict, in words.
        whose: What the settings looked at are called: `advised`, or those of a change.
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
    limits: tuple[Constraint, ...]
    current: "Configuration | None" = None
    live: "LiveServer | None" = None
    useless_savings: tuple[str, ...] = ()
    few_clients: FewClients | None = None
    sensitivity: str | None = None
    unmeasured_high_bytes: int | None = None
    contradictions: tuple[str, ...] = ()
    whose: str = "as advised"

    @property
    def page_bytes(self) -> int:
        """Size of a page."""
        return self.host.page_bytes or PAGE_BYTES

    def settings_in_question(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield `max_conn` or `max_fd` as it is today and as it is fixed, each with whose it is."""
        fixed = "as you fixed it" if self.whose == "as advised" else self.whose
        for owner, whose in ((self.current, "today's"), (self.goals, fixed)):
            value: int | None = getattr(owner, name, None)
            if value is not None:
                yield value, whose

    def limit(self, name: str) -> Constraint | None:
        """Return the limit of a name; None where it bounds nothing."""
        found = (limit for limit in self.limits if limit.name == name)
        return next((limit for limit in found if limit.allowed is not None), None)

    def overflow(self, max_conn: int, horizon_s: float | None) -> Answer:
        """Return the chance that some worker needs more slots: within a time, or at one moment."""
        if horizon_s is None:
            return self.model.overflow_probability(max_conn)
        return self.model.overflow_within(max_conn, horizon_s)

    def slots_in_question(self) -> Iterator[tuple[SlotLayout, str, str]]:
        """Yield the slots that are or would be used, each with its strategy and whose it is."""
        yield self.layout, self.strategy, self.whose
        if self.current is not None and self.current.says_layout:
            yield self.current.layout, self.current.strategy or self.strategy, "today's"
