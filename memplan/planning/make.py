"""From a set-up to a plan."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from memplan.answer import SlotsAnswer
from memplan.constraint import Constraint
from memplan.errors import UsageError
from memplan.plan import Plan, RegionChange
from memplan.planning.case import Case, FewClients
from memplan.planning.cautions import cautions
from memplan.planning.changes import region_changes
from memplan.planning.comparison import (
    Comparison,
    compare,
    fitted,
    load_maker,
    predicted,
    rival_of,
    today,
)
from memplan.planning.constraints import (
    binding_of,
    memory_constraint,
    of_the_plan,
    overflow_constraint,
)
from memplan.planning.goals import Evidence, Goals
from memplan.planning.settings import settings_of
from memplan.planning.setup import Setup, few_clients_of, set_up
from memplan.planning.sizing import generous
from memplan.planning.strategy_choice import Rival
from memplan.planning.tables import churn_table, probabilities, slots_table
from memplan.slot_layout import SlotLayout
from memplan.slot_limits import table_limit
from memplan.slots import descriptors_of
from memplan.units import format_bytes, format_duration, format_rate
from memplan.workload import Workload

if TYPE_CHECKING:
    from memplan.planning.configuration import Configuration
    from memplan.profiler.host import HostFacts
    from memplan.profiler.live_server import LiveServer

_LOAD = ("reconnects_per_s", "horizon_s", "active_fraction")


def make_plan(
    workload: Workload,
    goals: Goals,
    evidence: Evidence,
    *,
    host: "HostFacts | None" = None,
    live: "LiveServer | None" = None,
    assumed: tuple[str, ...] = (),
) -> Plan:
    """Return the plan for a load.

    Args:
        workload: The load.
        goals: What must hold, and what is fixed.
        evidence: What was measured, and what runs today.
        host: The machine that it is for; None reads this one.
        live: The live server that `evidence.pid` names, already read.
        assumed: What was filled in before, in words.

    Raises:
        UsageError: The wishes contradict each other.
    """
    if host is None:
        from memplan.profiler.host import read_host

        host = read_host()
    setup = set_up(workload, goals, evidence, host=host, live=live)
    required = setup.required(setup.horizon_s)
    few_clients = few_clients_of(setup, required)
    enough = required.high if few_clients is None else max(required.high, few_clients.required.high)
    max_conn = goals.max_conn or generous(enough)
    comparison = compare(setup, max_conn)
    constraints = _constraints(setup, comparison, max_conn)
    return Plan(
        workload=setup.workload,
        basis=_basis(setup),
        overflow=goals.overflow,
        settings=tuple(settings_of(setup, comparison.chosen, required, max_conn)),
        required=required,
        slots_table=tuple(slots_table(setup, comparison, required, max_conn)),
        churn_table=churn_table(setup) if setup.horizon_s is None else None,
        strategies=comparison.rows(),
        prediction=comparison.prediction,
        constraints=constraints,
        binding=binding_of(constraints),
        probabilities=tuple(probabilities(setup, max_conn)),
        cautions=cautions(_case(setup, required, comparison, max_conn, few_clients)),
        changes=_changes(setup, comparison),
        assumptions=(*assumed, *_assumptions(setup), *_left_out(comparison)),
    )


def _constraints(setup: Setup, comparison: Comparison, max_conn: int) -> tuple[Constraint, ...]:
    limits = comparison.chosen.limits
    if setup.goals.max_fd is not None and not any(limit.name == "max_fd" for limit in limits):
        # Whoever fixes the size of a table by descriptor has one, whatever the slots lie in.
        limits = (table_limit(comparison.chosen.load), *limits)
    return (
        overflow_constraint(setup.goals, setup.overflow(max_conn, setup.horizon_s), max_conn),
        memory_constraint(setup.goals, setup.host, comparison.prediction, comparison.at_most),
        *(of_the_plan(limit) for limit in limits),
    )


def _case(
    setup: Setup,
    required: SlotsAnswer,
    comparison: Comparison,
    max_conn: int,
    few_clients: FewClients | None,
) -> Case:
    chosen, charge = comparison.chosen, comparison.prediction.charge
    return Case(
        workload=setup.workload,
        goals=setup.goals,
        host=setup.host,
        model=setup.model,
        horizon_s=setup.horizon_s,
        required=required,
        max_conn=max_conn,
        descriptors=descriptors_of(chosen.load),
        strategy=chosen.name,
        layout=chosen.layout,
        limits=chosen.limits,
        current=setup.evidence.current,
        live=setup.live,
        useless_savings=tuple(_useless_savings(setup, chosen)),
        few_clients=few_clients,
        unmeasured_high_bytes=charge.high_bytes if charge.rests_on == "prior" else None,
        contradictions=comparison.prediction.warnings,
        sensitivity=_sensitivity(setup, max_conn),
    )


def _useless_savings(setup: Setup, chosen: Rival) -> Iterator[str]:
    """Yield the buffers that could be halved for nothing, so that nobody does it in hope."""
    for name in ("recv", "body", "write"):
        size, needed = chosen.layout.size_of(name), getattr(setup.need, name)
        half = size // 2
        if not half or needed is None or needed > half:
            continue
        smaller = SlotLayout(
            tuple(
                replace(one, size_bytes=half) if one.name == name else one
                for one in chosen.layout.fields
            ),
            chosen.layout.align_bytes,
        )
        try:
            footprint = chosen.strategy.footprint(chosen.load, smaller, chosen.settings)
        except UsageError:
            # A size that the strategy cannot have is nothing to warn of.
            continue
        saved = chosen.footprint.high_water.mean_bytes - footprint.high_water.mean_bytes
        if saved <= 0.005 * chosen.footprint.high_water.mean_bytes:
            yield (
                f"{name} at {format_bytes(half)} instead of {format_bytes(size)} would save "
                f"nothing: {chosen.name} makes the same pages resident."
            )


def _sensitivity(setup: Setup, max_conn: int) -> str | None:
    if setup.workload.balance != "hash" or setup.model.workers == 1:
        return None
    found = setup.model.sensitivity(max_conn, setup.horizon_s)
    if setup.workload.conns.exact:
        return None
    return (
        f"MAX_CONN {max_conn} overflows with {found.low.value:.2g} at "
        f"{setup.workload.conns.low:,.0f} connections and {found.high.value:.2g} at "
        f"{setup.workload.conns.high:,.0f}; one percent more connections multiplies the chance by "
        f"about {1.01**found.elasticity:.2g}."
    )


def _changes(setup: Setup, comparison: Comparison) -> tuple[RegionChange, ...]:
    current = setup.evidence.current
    if current is None or not current.says_layout:
        return ()
    now = today(setup, current)
    before = rival_of(now, load_maker(now), current)
    return region_changes(
        predicted(now, before, comparison.measured),
        comparison.prediction,
        before,
        comparison.chosen,
    )


def _basis(setup: Setup) -> str:
    if setup.horizon_s is None:
        return "snapshot"
    rate = format_rate(setup.workload.reconnects_per_s or 0.0)
    return f"{format_duration(setup.horizon_s)} of {rate} reconnects"


def _assumptions(setup: Setup) -> Iterator[str]:
    yield from _unknown_sizes(setup)
    if setup.workload.active_fraction == 1:
        yield "every connection may have bytes in flight at once (--active)"
    for what, points in (
        ("the processes' memory", setup.evidence.rss),
        ("the container's charge", setup.evidence.charge),
    ):
        fit = fitted(points)
        if fit is not None:
            yield (
                f"{what} goes on as measured, with {format_bytes(fit.per_conn_bytes)} a connection "
                f"over {format_bytes(fit.fixed_bytes)} ({fit.n} point{'' if fit.n == 1 else 's'})"
            )
            yield from fit.assumptions
    if setup.horizon_s is None and not setup.workload.conns.exact:
        most = f"{setup.workload.conns.high:,.0f}"
        yield f"MAX_CONN under churn is that of the most connections, {most}"
    current = setup.evidence.current
    if (setup.evidence.rss or setup.evidence.charge) and not (current and current.says_layout):
        yield (
            "what was measured ran with the slots advised here; --current says with which it did"
        )
    if current is not None:
        yield from _other_load(setup, current)
    measured = setup.evidence.rss or setup.evidence.charge
    if measured and setup.horizon_s is not None and not (current and current.reconnects_per_s):
        yield (
            "what was measured had seen no reconnects yet: the high water of the plan's comes on "
            "top (--current reconnect_rate=..,horizon=.. says what it had seen)"
        )
    if setup.live is not None:
        yield from setup.live.notes


def _unknown_sizes(setup: Setup) -> Iterator[str]:
    """Say which buffers the traffic says nothing of."""
    unknown = {
        "recv": ("--request-bytes", setup.need.recv),
        "body": ("--body-bytes", setup.need.body),
        "write": ("--response-bytes", setup.need.write),
    }
    pages = {name: option for name, (option, size) in unknown.items() if size is None}
    if len(pages) == len(unknown):
        yield (
            "a page for each of recv, body and write, all written: give --request-bytes, "
            "--body-bytes, --response-bytes and --pipeline to size them"
        )
    elif pages:
        yield f"a page for {' and '.join(pages)}, all written: give {' and '.join(pages.values())}"


def _left_out(comparison: Comparison) -> Iterator[str]:
    for name, reason in comparison.left_out.items():
        yield f"{name} is left out of the comparison: {reason}"


def _other_load(setup: Setup, current: "Configuration") -> Iterator[str]:
    """Say that today's slots are looked at under the load planned for, where it is another."""
    planned = {name: getattr(setup.workload, name) for name in _LOAD} | {
        "conns": round(setup.workload.conns.median)
    }
    other = [
        f"{name}={getattr(current, name):,}"
        for name in planned
        if getattr(current, name) not in {None, planned[name]}
    ]
    if other:
        yield (
            "today's slots are reckoned under the load planned for, not under their own "
            f"{', '.join(other)}"
        )
