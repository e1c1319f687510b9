"""What a report of a plan says, section by section, the advice first."""

from typing import TYPE_CHECKING

from memplan.reports import memory_sections as memory
from memplan.reports import words
from memplan.reports.sheet import MARK, Cell, Column, Section, Tone, cells, label, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memplan.constraint import Constraint
    from memplan.plan import Caution, Plan, SlotsRow

SEVERITY_TONES: dict[str, Tone] = {"risk": "bad", "warning": "warn", "note": "faint"}


def plan_sections(plan: "Plan") -> "Iterator[Section]":
    """Yield the sections in the order in which they are read; empty ones are left out."""
    if not plan.feasible:
        yield constraints(plan)
        yield memory.against_limit(plan)
    yield advice(plan)
    yield memory.accounts(plan)
    if plan.slots_table:
        yield slots_table(plan)
    if plan.churn_table is not None:
        yield churn_table(plan)
    if plan.strategies:
        yield strategies(plan)
    yield memory.regions(plan)
    if plan.probabilities:
        yield probabilities(plan)
    if plan.feasible:
        yield constraints(plan)
    if plan.changes:
        yield memory.changes(plan.changes)
    if plan.assumptions:
        yield Section(title="Assumed", details=tuple((Cell("–"), one) for one in plan.assumptions))
    if plan.cautions:
        yield caution_section(plan.cautions)


def verdict(plan: "Plan") -> Cell:
    """Return whether the plan holds, and what decides it."""
    if plan.feasible:
        return Cell(f"The plan holds. Decided by {plan.binding}.", "good")
    broken = ", ".join(one.name for one in plan.constraints if not one.ok)
    return Cell(f"THE PLAN CANNOT BE MET: {broken}.", "bad")


def watch_line(plan: "Plan") -> Cell | None:
    """Return how many warnings stand at the end, so that nobody stops before them."""
    counts = [
        (sum(one.severity == severity for one in plan.cautions), name)
        for severity, name in (("risk", "risk"), ("warning", "warning"))
    ]
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count]
    if not parts:
        return None
    return Cell(f"{' and '.join(parts)} at the end.", "bad" if counts[0][0] else "warn")


def advice(plan: "Plan") -> Section:
    """Return what to set."""
    return Section(
        title="Advice",
        columns=(label("setting"), Column("value"), text(""), text("why")),
        rows=tuple(
            cells(
                Cell(one.name, "strong"),
                Cell(words.setting(one.value, one.unit), "strong"),
                Cell("pinned", "warn") if one.pinned else "",
                one.why,
            )
            for one in plan.settings
        ),
    )


def slots_table(plan: "Plan") -> Section:
    """Return MAX_CONN against what it costs and how long it lasts."""
    over_time = any(row.overflow_horizon is not None for row in plan.slots_table)
    horizon = plan.workload.horizon_s
    within = "over time" if horizon is None else f"in {words.horizon_text(horizon)}"
    titles = ["max_conn", "virtual", "resident", "overflow now"]
    if over_time:
        titles.append(f"overflow {within}")
    return Section(
        title="MAX_CONN",
        gist=required_line(plan),
        columns=(text(""), *(Column(title) for title in titles), text("")),
        rows=tuple(_slots_row(plan, row, over_time=over_time) for row in plan.slots_table),
    )


def required_line(plan: "Plan") -> str:
    """Return the least MAX_CONN that holds the target, with its bracket and method."""
    required = plan.required
    certain = required.low == required.high
    between = "" if certain else f" (between {required.low:,} and {required.high:,})"
    return (
        f"{required.slots:,} slots a worker hold the target{between}: overflow "
        f"{words.chance(required.overflow)}, {required.method}"
    )


def _slots_row(plan: "Plan", row: "SlotsRow", *, over_time: bool) -> tuple[Cell, ...]:
    chosen = _advised(plan, "max_conn") == row.max_conn
    deciding = row.overflow_horizon or row.overflow_snapshot
    tone: Tone = "" if deciding.high <= plan.overflow else "bad"
    snapshot = Cell(words.chance(row.overflow_snapshot), "" if over_time else tone)
    horizon = [Cell(words.chance(row.overflow_horizon), tone)] if over_time else []
    return cells(
        MARK if chosen else "",
        f"{row.max_conn:,}",
        words.amount(row.virtual_bytes, "bytes"),
        words.amount(row.resident_bytes, "bytes"),
        snapshot,
        *horizon,
        row.note,
        tone="strong" if chosen else "",
    )


def _advised(plan: "Plan", name: str) -> int | str | None:
    return next((one.value for one in plan.settings if one.name == name), None)


def churn_table(plan: "Plan") -> Section:
    """Return MAX_CONN over reconnect rate and horizon."""
    table = plan.churn_table
    if table is None:
        return Section(title="MAX_CONN under churn")
    return Section(
        title="MAX_CONN under churn",
        gist=f"slots a worker that hold overflow within {words.target(table.overflow)}, by "
        "reconnect rate and horizon",
        columns=(
            Column("reconnects"),
            *(Column(words.horizon_text(horizon)) for horizon in table.horizons_s),
        ),
        rows=tuple(
            cells(words.rate_text(rate), *(f"{slots:,}" for slots in row))
            for rate, row in zip(table.reconnects_per_s, table.max_conn, strict=True)
        ),
    )


def strategies(plan: "Plan") -> Section:
    """Return the slot strategies side by side, each with its slot and its verdict."""
    return Section(
        title="Strategies",
        gist="each at its own best slot; high water is what stays resident at the horizon",
        columns=(
            text(""),
            label("strategy"),
            Column("virtual"),
            Column("resident", wide=True),
            Column("high water"),
            Column("95% interval"),
            Column("idle conn"),
            Column("mappings"),
        ),
        rows=tuple(
            cells(
                MARK if row.chosen else "",
                row.name,
                words.amount(row.virtual_bytes, "bytes"),
                words.amount(row.resident_bytes, "bytes"),
                words.amount(row.high_water_bytes, "bytes"),
                words.bytes_range(row.high_water_low_bytes, row.high_water_high_bytes),
                words.amount(row.idle_conn_bytes, "bytes"),
                words.amount(row.mappings, "mappings"),
                tone="strong" if row.chosen else "",
            )
            for row in plan.strategies
        ),
        details=tuple(
            (
                Cell(row.name, "strong" if row.chosen else ""),
                f"{words.slot_line(row.layout)}. {row.verdict}",
            )
            for row in plan.strategies
        ),
    )


def probabilities(plan: "Plan") -> Section:
    """Return the chances that were worked out."""
    return Section(
        title="Probabilities",
        columns=(text("chance or count"), Column("point"), Column("bracket"), text("method")),
        rows=tuple(
            cells(
                one.name,
                Cell(words.chance(one.answer), "strong"),
                words.bracket(one.answer),
                Cell(one.answer.method, "faint"),
            )
            for one in plan.probabilities
        ),
    )


def constraints(plan: "Plan") -> Section:
    """Return what must hold, the binding one marked."""
    binding = plan.binding.partition(":")[0]
    return Section(
        title="Constraints",
        gist=f"decided by {plan.binding}" if plan.feasible else "",
        columns=(
            text(""),
            label("constraint"),
            Column("needed"),
            Column("allowed"),
            Column("used"),
            text(""),
        ),
        rows=tuple(
            cells(
                MARK if one.name == binding else "",
                one.name,
                words.amount(one.needed, one.unit),
                "–" if one.allowed is None else words.amount(one.allowed, one.unit),
                "–" if one.allowed is None else words.percent(one.use),
                _holds(one),
                tone="" if one.ok else "bad",
            )
            for one in plan.constraints
        ),
        details=tuple(_sums(one for one in plan.constraints if plan.feasible or not one.ok)),
    )


def _sums(constraints: "Iterable[Constraint]") -> "Iterator[tuple[Cell, str]]":
    """Yield the sum behind each need and where its bound came from; one sum is written once."""
    named: dict[str, str] = {}
    for one in constraints:
        bound = f"allowed by: {one.source}"
        if not one.detail:
            yield Cell(one.name), bound
        elif one.detail in named:
            yield Cell(one.name), f"the same sum as {named[one.detail]}; {bound}"
        else:
            named[one.detail] = one.name
            yield Cell(one.name), f"{one.detail}; {bound}"


def _holds(constraint: "Constraint") -> Cell:
    if constraint.allowed is None:
        return Cell("unbounded", "faint")
    return Cell("ok", "good") if constraint.ok else Cell("BROKEN", "bad")


def caution_section(listed: "Iterable[Caution]") -> Section:
    """Return warnings, in the order given."""
    return Section(
        title="Warnings",
        details=tuple(
            (Cell(one.severity, SEVERITY_TONES.get(one.severity, "")), one.text) for one in listed
        ),
    )
