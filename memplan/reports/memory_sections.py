"""What a report says of memory: the two accounts, the regions, and how they change."""

from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.sheet import Cell, Column, Section, cells, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memplan.constraint import Constraint
    from memplan.memory.calibration import Calibration
    from memplan.memory.estimate import Estimate
    from memplan.memory.region import Region
    from memplan.plan import Plan, RegionChange

MEMORY_LIMIT = "memory limit"
"""The name of the constraint on the container's charge."""


def memory_limit(plan: "Plan") -> "Constraint | None":
    """Return the constraint on the container's charge, None where nothing bounds it."""
    return next(
        (
            one
            for one in plan.constraints
            if one.name == MEMORY_LIMIT and one.unit == "bytes" and one.allowed is not None
        ),
        None,
    )


def named_accounts(plan: "Plan") -> "tuple[tuple[str, Estimate], ...]":
    """Return the two answers about memory, each under its own name."""
    return (
        ("process (PSS)", plan.prediction.process),
        ("container's charge", plan.prediction.charge),
    )


def accounts(plan: "Plan") -> Section:
    """Return the process's memory and the container's charge, and what they rest on."""
    limit = memory_limit(plan)
    gist = ""
    if limit is not None and limit.allowed is not None:
        gist = (
            f"limit {words.amount(limit.allowed, 'bytes')} ({limit.source}); "
            f"{words.percent(limit.use)} of it used by {limit.detail}"
        )
    return Section(
        title="Memory",
        gist=gist,
        columns=(text("account"), Column("expected"), Column("95% interval"), text("rests on")),
        rows=tuple(
            cells(
                Cell(name, "strong"),
                Cell(words.amount(one.bytes, "bytes"), "strong"),
                words.bytes_range(one.low_bytes, one.high_bytes),
                f"{one.rests_on} ({one.method})",
            )
            for name, one in named_accounts(plan)
        ),
        details=tuple(
            (Cell(f"measured {fit.account}"), _fit_line(fit))
            for fit in plan.prediction.calibrations
        ),
    )


def _fit_line(fit: "Calibration") -> str:
    """Return what was fitted to the measurements, in words."""
    per_conn = words.amount(fit.per_conn_bytes, "bytes")
    fixed = words.amount(fit.fixed_bytes, "bytes")
    points = f"{fit.n} point{'s' if fit.n > 1 else ''}"
    return f"{per_conn} a connection over {fixed}, by {points} ({fit.kind})"


def regions(plan: "Plan") -> Section:
    """Return every region with where its numbers came from."""
    prediction = plan.prediction
    process, charge = prediction.process, prediction.charge
    return Section(
        title="Regions",
        gist="over the whole server; the charge is the container's, kernel memory included",
        columns=(
            text("region"),
            Column("virtual"),
            Column("process"),
            Column("95% interval", wide=True),
            Column("charge"),
            Column("95% interval"),
            text("from"),
        ),
        rows=(
            *(_region_row(one) for one in prediction.regions),
            cells(
                "all together",
                _size(prediction.virtual_bytes),
                _size(process.bytes),
                _range(process.low_bytes, process.high_bytes),
                _size(charge.bytes),
                _range(charge.low_bytes, charge.high_bytes),
                "",
                tone="strong",
            ),
        ),
        details=tuple((Cell(one.name), one.provenance.source) for one in prediction.regions),
    )


def _region_row(one: "Region") -> tuple[Cell, ...]:
    kind = one.provenance.kind
    return cells(
        one.name,
        _size(one.virtual_bytes),
        _size(one.process_bytes),
        _range(one.process_low_bytes, one.process_high_bytes),
        _size(one.charge_bytes),
        _range(one.charge_low_bytes, one.charge_high_bytes),
        Cell(kind, "good" if kind == "measured" else "faint"),
    )


def _size(value: float) -> str:
    return words.amount(value, "bytes") if value else "–"


def _range(low: float, high: float) -> str:
    return words.bytes_range(low, high) if low or high else "–"


def against_limit(plan: "Plan") -> Section:
    """Return every region against the memory limit, largest first."""
    limit = memory_limit(plan)
    allowed = None if limit is None else limit.allowed
    charge = plan.prediction.charge
    listed = sorted(plan.prediction.regions, key=_charge_high, reverse=True)
    return Section(
        title="Regions against the limit",
        gist="nothing bounds the memory"
        if limit is None or allowed is None
        else f"limit {words.amount(allowed, 'bytes')} ({limit.source})",
        columns=(
            text("region"),
            Column("charge"),
            Column("high end"),
            *([] if allowed is None else [Column("of the limit")]),
            text("from"),
        ),
        rows=(
            *(
                _against(
                    one.name, one.charge_bytes, one.charge_high_bytes, one.provenance.kind, allowed
                )
                for one in listed
            ),
            _against("all together", charge.bytes, charge.high_bytes, charge.rests_on, allowed),
        ),
        details=(
            (Cell("all together"), "the high ends do not add up: not all of them happen at once"),
        ),
    )


def _charge_high(region: "Region") -> int:
    return region.charge_high_bytes


def _against(
    name: str, charge: float, high: float, source: str, allowed: float | None
) -> tuple[Cell, ...]:
    over = allowed is not None and high > allowed
    share = [] if allowed is None else [words.percent(high / allowed if allowed else float("inf"))]
    return cells(
        name, _size(charge), _size(high), *share, Cell(source, "faint"), tone="bad" if over else ""
    )


def changes(listed: "Sequence[RegionChange]") -> Section:
    """Return how each region changes, with the sums; those that stay are only named."""
    total = totals(listed)
    moved = [one for one in listed if one.virtual_bytes or one.resident_bytes or one.charge_bytes]
    same = ", ".join(one.name for one in listed if one not in moved)
    return Section(
        title="Changes",
        gist="each region against the configuration of before; resident is the process's",
        columns=(text("region"), Column("virtual"), Column("resident"), Column("charge")),
        rows=(
            *(
                cells(
                    one.name,
                    words.signed_bytes(one.virtual_bytes),
                    words.signed_bytes(one.resident_bytes),
                    words.signed_bytes(one.charge_bytes),
                )
                for one in moved
            ),
            cells("total", *(words.signed_bytes(value) for value in total), tone="strong"),
        ),
        details=(
            *((Cell(one.name), one.why) for one in moved if one.why),
            *([(Cell("the same"), same)] if same else []),
        ),
    )


def totals(listed: "Iterable[RegionChange]") -> tuple[float, float, float]:
    """Return the sums over all regions: virtual, resident, charge."""
    virtual = resident = charge = 0.0
    for one in listed:
        virtual += one.virtual_bytes
        resident += one.resident_bytes
        charge += one.charge_bytes
    return virtual, resident, charge
