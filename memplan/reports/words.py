"""How figures read in every report: the same number is written the same way everywhere."""

import math
from typing import TYPE_CHECKING

from memplan.units import (
    GIB,
    KIB,
    MIB,
    format_bytes,
    format_duration,
    format_probability,
    format_rate,
)

if TYPE_CHECKING:
    from memplan.answer import Answer
    from memplan.plan import Plan
    from memplan.slots import SlotLayout
    from memplan.workload import Workload

_ALMOST_SURE = 0.99


def exact_bytes(value: int) -> str:
    """Return bytes without rounding: `2 KiB`, `4.5 KiB` and `6,758 B`."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        # A half or a quarter of a unit still reads exactly with two digits.
        if value >= factor and value % (factor // 4) == 0:
            return f"{value / factor:,g} {unit}"
    return f"{value:,} B"


def setting(value: int | str, unit: str) -> str:
    """Return a value to set, never rounded."""
    if isinstance(value, str):
        return value
    return exact_bytes(value) if unit == "bytes" else f"{value:,}"


def amount(value: float, unit: str) -> str:
    """Return what was reckoned with its unit, to three digits where it is large or broken."""
    if not math.isfinite(value):
        return "unbounded"
    if unit == "probability":
        return format_probability(value)
    if unit == "bytes":
        return format_bytes(value)
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.3g}"


def signed_bytes(value: float) -> str:
    """Return a change in bytes with its sign; none where nothing changes."""
    text = format_bytes(value)
    return "0" if text.lstrip("-") == "0 B" else text if value < 0 else f"+{text}"


def bytes_range(low: float, high: float) -> str:
    """Return an interval of bytes: `104 – 151 MiB`, or the bytes where both ends read the same."""
    first, last = format_bytes(low), format_bytes(high)
    if first == last:
        return last
    number, _, unit = first.partition(" ")
    return f"{number} – {last}" if last.endswith(f" {unit}") else f"{first} – {last}"


def chance(answer: "Answer | None") -> str:
    """Return a point: a probability with two digits, a count with three; a dash where none is."""
    if answer is None:
        return "–"
    if _ALMOST_SURE < answer.value < 1:
        # Two digits would round it to a certainty that it is not.
        return f">{_ALMOST_SURE:g}"
    return format_probability(answer.value) if answer.value <= 1 else f"{answer.value:,.3g}"


def bracket(answer: "Answer") -> str:
    """Return what the mathematics leaves open: `exact`, or both ends of the bracket."""
    low, high = significant(answer.low), significant(answer.high)
    return low if low == high else f"{low} – {high}"


def significant(value: float) -> str:
    """Return a probability with four significant digits, so that a bracket's ends differ."""
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as per cent: `47%`, `0.3%`, `1,900%`."""
    if not math.isfinite(share):
        return "unbounded"
    if 0 < share < 0.0001:
        return "<0.01%"
    return f"{share * 100:,.0f}%" if share >= 0.1 else f"{share * 100:.2g}%"


def load_line(workload: "Workload") -> str:
    """Return the load in one line: workers, connections and churn."""
    conns = workload.conns.describe(lambda value: f"{value:,.0f}")
    parts = [
        f"{workload.workers:,} {'worker' if workload.workers == 1 else 'workers'}",
        f"{conns} connection{'' if conns == '1' else 's'}",
    ]
    if workload.workers_lost:
        lost = workload.workers_lost
        parts.append(f"{lost:,} worker{'s' if lost > 1 else ''} lost")
    return " · ".join(parts)


def target_line(plan: "Plan") -> str:
    """Return what the advice holds: the overflow target and what it holds over."""
    return f"overflow at most {target(plan.overflow)}; basis: {plan.basis}"


def rate_text(per_second: float) -> str:
    """Return a reconnect rate; no churn is a snapshot."""
    return format_rate(per_second) if per_second > 0 else "snapshot"


def horizon_text(seconds: float) -> str:
    """Return a horizon in its largest fitting unit."""
    return format_duration(seconds)


def target(overflow: float) -> str:
    """Return an overflow target as it is typed: `1e-06`."""
    return f"{overflow:g}"


def slot_line(layout: "SlotLayout") -> str:
    """Return a slot in one line: `slot 6.6 KiB: state 128 B + recv 2 KiB + ...`."""
    parts = " + ".join(f"{one.name} {exact_bytes(one.size_bytes)}" for one in layout.fields)
    return f"slot {exact_bytes(layout.slot_bytes)} = {parts}"


def one_line(text: str) -> str:
    """Return a text that stays on one line and holds nothing that a terminal or compiler obeys."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())
