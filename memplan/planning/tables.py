"""The tables beside the advice: MAX_CONN against its cost, over churn, and the chances."""

from collections.abc import Iterator
from dataclasses import replace

from memplan.answer import SlotsAnswer
from memplan.bounds import MOST_CONNS
from memplan.plan import ChurnTable, Probability, SlotsRow
from memplan.planning.case import BENCHMARK_S
from memplan.planning.comparison import Comparison
from memplan.planning.setup import Setup
from memplan.units import DAY, HOUR, MONTH, YEAR, format_duration

_TABLE_RATES = (10.0, 1_000.0, 100_000.0)
_LARGEST_LOAD = 1e6
"""Connections of one worker up to which twelve passages take no more than a moment."""
_TABLE_HORIZONS = (HOUR, DAY, MONTH, YEAR)


def slots_table(
    setup: Setup, comparison: Comparison, required: SlotsAnswer, max_conn: int
) -> Iterator[SlotsRow]:
    """Yield MAX_CONN against its cost and its overflow, from the fewest slots to the most."""
    chosen, makers = comparison.chosen, comparison.makers
    notes: dict[int, list[str]] = {}
    if setup.horizon_s is not None:
        notes.setdefault(setup.required(None).slots, []).append("enough at one moment")
    current = setup.evidence.current
    if current is not None and current.max_conn is not None:
        notes.setdefault(current.max_conn, []).append("today")
    notes.setdefault(required.slots, []).append("needed")
    notes.setdefault(max_conn, []).append(
        "advised" if setup.goals.max_conn is None else "fixed by you"
    )
    for extra in (max(max_conn // 2, 1), min(max_conn * 4, MOST_CONNS)):
        notes.setdefault(extra, [])
    for slots in sorted(notes):
        footprint = chosen.strategy.footprint(makers.load(slots), chosen.layout, chosen.settings)
        yield SlotsRow(
            max_conn=slots,
            virtual_bytes=footprint.virtual_bytes,
            resident_bytes=footprint.high_water.mean_bytes,
            overflow_snapshot=setup.overflow(slots, None),
            overflow_horizon=None
            if setup.horizon_s is None
            else setup.overflow(slots, setup.horizon_s),
            note=", ".join(notes[slots]),
        )


def churn_table(setup: Setup) -> ChurnTable | None:
    """Return MAX_CONN over rates and horizons, so that a snapshot's reader sees what churn does.

    Connections that are not known exactly are taken at their most: an average over them would cost
    a thousand times as much, to come out a slot or two lower.
    """
    if setup.workload.balance != "hash" or setup.model.workers == 1:
        return None
    if setup.workload.conns.high / setup.model.workers > _LARGEST_LOAD:
        return None
    rows = []
    for rate in _TABLE_RATES:
        churned = replace(setup.model, conns=setup.workload.conns.high, reconnects_per_s=rate)
        rows.append(
            tuple(
                churned.required_slots_within(setup.goals.overflow, horizon_s).slots
                for horizon_s in _TABLE_HORIZONS
            )
        )
    return ChurnTable(
        reconnects_per_s=_TABLE_RATES,
        horizons_s=_TABLE_HORIZONS,
        max_conn=tuple(rows),
        overflow=setup.goals.overflow,
    )


def probabilities(setup: Setup, max_conn: int) -> Iterator[Probability]:
    """Yield the chances of running out, and what comes of it."""
    name = f"some worker needs more than {max_conn} slots"
    yield Probability(name=f"{name}, at one moment", answer=setup.overflow(max_conn, None))
    if setup.horizon_s is None:
        return
    for time_s in sorted({BENCHMARK_S, setup.horizon_s}):
        yield Probability(
            name=f"{name}, within {format_duration(time_s)}",
            answer=setup.overflow(max_conn, time_s),
        )
    yield Probability(
        name="connections refused a month, expected",
        answer=setup.model.expected_refusals(max_conn, MONTH),
    )
    yield Probability(
        name=f"most connections that a worker has held within {format_duration(setup.horizon_s)}, "
        "expected",
        answer=setup.model.expected_running_max(setup.horizon_s),
    )
