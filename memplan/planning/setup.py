"""What is known before any decision: the load, the spread of connections, the evidence."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.memory.calibration import Account, Point
from memplan.planning.case import FewClients
from memplan.planning.goals import Evidence, Goals
from memplan.planning.sizing import BufferNeed, buffer_need
from memplan.reuseport_model import ReuseportModel
from memplan.slots import find_strategy
from memplan.units import DAY
from memplan.workload import Workload

if TYPE_CHECKING:
    from memplan.profiler.host import HostFacts
    from memplan.profiler.live_server import LiveServer

DEFAULT_HORIZON_S = 30 * DAY
DEFAULT_STRATEGY = "static"
"""What a configuration that does not say it is taken to use: the simplest."""
PROCESS: Account = "process"
CHARGE: Account = "charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is known before any decision.

    Attributes:
        workload: The load.
        goals: What must hold.
        evidence: What was measured.
        host: The machine.
        live: A live server, where read.
        model: The spread of connections over workers.
        horizon_s: The time that the target holds over; None for a snapshot.
        need: What the traffic asks of the buffers.
    """

    workload: Workload
    goals: Goals
    evidence: Evidence
    host: "HostFacts"
    live: "LiveServer | None"
    model: ReuseportModel
    horizon_s: float | None
    need: BufferNeed

    def overflow(self, max_conn: int, horizon_s: float | None) -> Answer:
        """Return the chance of an overflow within a time, or at one moment."""
        if horizon_s is None:
            return self.model.overflow_probability(max_conn)
        return self.model.overflow_within(max_conn, horizon_s)

    def required(self, horizon_s: float | None) -> SlotsAnswer:
        """Return the smallest MAX_CONN that holds the target."""
        if horizon_s is None:
            return self.model.required_slots(self.goals.overflow)
        return self.model.required_slots_within(self.goals.overflow, horizon_s)

    def most_conns(self) -> float:
        """Return the most connections open at a time, all workers together, within the horizon.

        Where their number is not fixed it is what one worker alone would need to hold the target.
        """
        workload = self.workload
        lingering = (workload.reconnects_per_s or 0.0) * workload.linger_s
        if workload.population == "closed" and not lingering:
            return workload.conns.high
        whole = replace(self, model=replace(self.model, workers=1, weights=None))
        return max(workload.conns.high + lingering, whole.required(self.horizon_s).high)


def set_up(
    workload: Workload,
    goals: Goals,
    evidence: Evidence,
    *,
    host: "HostFacts",
    live: "LiveServer | None" = None,
) -> Setup:
    """Return what is known of a load, its horizon filled in and a live server's memory added.

    Raises:
        UsageError: The wishes contradict each other.
    """
    horizon_s = _horizon(workload)
    return Setup(
        workload=replace(workload, horizon_s=horizon_s),
        goals=goals,
        evidence=_with_live(_with_current(evidence, workload), live),
        host=host,
        live=live,
        model=_model(workload),
        horizon_s=horizon_s,
        need=buffer_need(workload.traffic),
    )


def few_clients_of(setup: Setup, required: SlotsAnswer) -> FewClients | None:
    """Return what few client tuples make of the overflow; None where they are not few."""
    if setup.workload.tuples is None or setup.workload.balance != "hash":
        return None
    current = setup.evidence.current
    today = None if current is None else current.max_conn
    max_conn = today or setup.goals.max_conn or required.slots
    return FewClients(
        max_conn=max_conn,
        answer=setup.model.frozen(max_conn, setup.horizon_s),
        required=setup.model.required_slots_over_boots(setup.goals.overflow, setup.horizon_s),
    )


def _horizon(workload: Workload) -> float | None:
    if workload.reconnects_per_s:
        return DEFAULT_HORIZON_S if workload.horizon_s is None else workload.horizon_s
    if workload.horizon_s is not None and workload.reconnects_per_s is None:
        raise UsageError(
            "a horizon needs a reconnect rate: connections that stay do not move; "
            "give --reconnect-rate, such as 100/s"
        )
    return None


def _model(workload: Workload) -> ReuseportModel:
    model = ReuseportModel(
        workers=workload.workers,
        conns=workload.conns,
        weights=workload.weights,
        population=workload.population,
        reconnects_per_s=workload.reconnects_per_s,
        horizon_s=workload.horizon_s,
        linger_s=workload.linger_s,
        client_tuples=workload.client_tuples,
        client_addresses=workload.client_addresses,
        ports_per_address=workload.ports_per_address,
        balance=workload.balance,
    )
    return model.with_workers_lost(workload.workers_lost) if workload.workers_lost else model


def _with_current(evidence: Evidence, workload: Workload) -> Evidence:
    """Return the evidence with what today's configuration was measured to take, where it says so.

    Raises:
        UsageError: Today's strategy is not known, or has no such setting.
    """
    current = evidence.current
    if current is None:
        return evidence
    # Asked for here, so that a slip is told even where nothing says how large the slots are.
    find_strategy(current.strategy or DEFAULT_STRATEGY).settings_of(current.settings)
    conns = workload.conns.median if current.conns is None else float(current.conns)
    rss, charge = (
        () if size is None else (Point(conns=conns, bytes=size, account=account),)
        for size, account in ((current.rss, PROCESS), (current.charge, CHARGE))
    )
    return replace(evidence, rss=(*evidence.rss, *rss), charge=(*evidence.charge, *charge))


def _with_live(evidence: Evidence, live: "LiveServer | None") -> Evidence:
    """Return the evidence with what the live server takes now as one more point."""
    if live is None:
        return evidence
    conns = float(live.connections)
    rss = (*evidence.rss, Point(conns=conns, bytes=live.pss_bytes, account="process"))
    charge = evidence.charge
    if live.charge is not None and live.charge.is_the_servers:
        size = live.charge.charge.charge_bytes
        charge = (*charge, Point(conns=conns, bytes=size, account="charge"))
    return replace(evidence, rss=rss, charge=charge)
