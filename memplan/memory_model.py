"""What a server will take: every term with its provenance, and two totals that are never mixed.

The process's memory is the PSS of all its processes. The container's charge is what its memory
cgroup is charged for: the same user memory, and kernel memory that no process shows. Each total
has a 95% interval that says what it rests on.

Without a measurement the totals are the sums of the terms, each with its default's spread, which
are independent. With one, the total is the calibration's for these connections, corrected by the
pages of slots that the plan adds or removes against the measured configuration; what the terms do
not explain of it is a term of its own, `unexplained`, negative where they explain too much.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from memplan.errors import UsageError
from memplan.memory.calibration import Calibration
from memplan.memory.connection_regions import socket_regions, traffic_regions
from memplan.memory.costs import PINNABLE, Server, check_pins
from memplan.memory.estimate import Estimate, RestsOn
from memplan.memory.region import (
    NOTHING,
    Amount,
    Provenance,
    Region,
    charge_sum,
    process_sum,
    region,
)
from memplan.memory.server_regions import process_regions, slot_regions, worker_regions
from memplan.memory.slots_memory import SlotsMemory
from memplan.quantity import Quantity
from memplan.units import format_bytes
from memplan.workload import Workload

if TYPE_CHECKING:
    from memplan.profiler.host import HostFacts

__all__ = [
    "PINNABLE",
    "Estimate",
    "Prediction",
    "Provenance",
    "Region",
    "SlotsMemory",
    "predict",
]

_SUM = "sum of the regions, their errors independent"
UNEXPLAINED = "unexplained"
_MORE_SHOWN = (
    "the processes show more than the container is charged for: the points are of different loads, "
    "or the group does not hold all processes, or file pages are charged to whoever read them first"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Regions and both totals.

    Attributes:
        regions: The terms; each account's points add up to its total exactly.
        process: PSS of all processes.
        charge: What the container's memory cgroup is charged for.
        assumptions: What no measurement said and was assumed instead.
        warnings: What the measurements contradict.
        calibrations: What was fitted to the measurements, an account each.
    """

    regions: tuple[Region, ...]
    process: Estimate
    charge: Estimate
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    calibrations: tuple[Calibration, ...] = ()

    @property
    def virtual_bytes(self) -> int:
        """Address space that the regions reserve."""
        return sum(r.virtual_bytes for r in self.regions)

    def region(self, name: str) -> Region | None:
        """Return the region of a name; None where it takes nothing here."""
        return next((r for r in self.regions if r.name == name), None)

    def summary(self) -> str:
        """Return the totals, the regions, and what is assumed and contradicted, a line each."""
        return "\n".join(
            [
                f"process memory: {self.process.summary()}",
                f"container's charge: {self.charge.summary()}",
                f"address space: {format_bytes(self.virtual_bytes)}",
                *(f"  {r.summary()}" for r in self.regions),
                *(f"assumed: {text}" for text in self.assumptions),
                *(f"warning: {text}" for text in self.warnings),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the regions and totals as plain values."""
        return {
            "regions": [r.to_dict() for r in self.regions],
            "process": self.process.to_dict(),
            "charge": self.charge.to_dict(),
            "virtual_bytes": self.virtual_bytes,
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "calibrations": [fit.to_dict() for fit in self.calibrations],
        }


class _Total(NamedTuple):
    """A total with its interval, and what it rests on."""

    amount: Amount
    rests_on: RestsOn
    method: str


def predict(
    workload: Workload,
    slots: SlotsMemory,
    *,
    calibration_process: Calibration | None = None,
    calibration_charge: Calibration | None = None,
    measured_slots: SlotsMemory | None = None,
    pinned: Mapping[str, float] | None = None,
    host: "HostFacts | None" = None,
) -> Prediction:
    """Return what a server will take for a load.

    Args:
        workload: The load.
        slots: What its slots take.
        calibration_process: Fitted from measurements of the processes' PSS.
        calibration_charge: Fitted from measurements of the container's charge.
        measured_slots: What the slots of the measured configuration would take for this workload;
            None where the plan keeps the configuration that was measured.
        pinned: Costs that the user fixes, by the names in `PINNABLE`, in bytes.
        host: Facts of the host, for send buffers and for what is charged there.

    Raises:
        UsageError: A calibration is of the other account, or a pin is of no cost.
    """
    _check_account(calibration_process, "process")
    _check_account(calibration_charge, "charge")
    pins = pinned or {}
    check_pins(pins)
    server = Server(workload, slots, pins, host)
    regions = [
        *process_regions(server),
        *worker_regions(server),
        *slot_regions(workload, slots),
        *socket_regions(server),
        *traffic_regions(server),
    ]
    change = _change(workload, slots, measured_slots)
    process = _measured_total(calibration_process, workload.conns, change, "process")
    charge = _measured_total(calibration_charge, workload.conns, change, "charge")
    fits = [fit for fit in (calibration_process, calibration_charge) if fit and fit.n]
    warnings = [text for fit in fits for text in fit.warnings]
    if process and charge and process.amount.point > charge.amount.point:
        warnings.append(_MORE_SHOWN)
    process, charge, rest = _reconcile(regions, process, charge)
    if fits:
        regions = [_within(r, process.amount.high, charge.amount.high) for r in regions]
        regions.append(rest)
    if workload.deploy_overlap:
        old = _old_process(regions)
        regions.append(old)
        process = _with_old(process, process_sum([old]))
        charge = _with_old(charge, charge_sum([old]))
    kept = tuple(r for r in regions if _takes_anything(r))
    return Prediction(
        regions=kept,
        process=_estimate(process, sum(r.process_bytes for r in kept)),
        charge=_estimate(charge, sum(r.charge_bytes for r in kept)),
        assumptions=tuple(dict.fromkeys(text for fit in fits for text in fit.assumptions)),
        warnings=tuple(dict.fromkeys(warnings)),
        calibrations=tuple(fits),
    )


def _within(one: Region, process_high: float, charge_high: float) -> Region:
    """Return a region whose prior reaches no higher than the measured whole that it is part of."""
    return replace(
        one,
        process_high_bytes=max(one.process_bytes, min(one.process_high_bytes, int(process_high))),
        charge_high_bytes=max(one.charge_bytes, min(one.charge_high_bytes, int(charge_high))),
    )


def _check_account(calibration: Calibration | None, account: str) -> None:
    if calibration is not None and calibration.account != account:
        raise UsageError(
            f"a calibration of the {calibration.account} cannot stand for the {account}; "
            "process memory and the container's charge are two figures"
        )


class _Change(NamedTuple):
    """What the planned slots take more than the measured ones, in each account."""

    process: Amount
    charge: Amount
    floor: int

    @property
    def any(self) -> bool:
        return self.process != NOTHING or self.charge != NOTHING


def _change(workload: Workload, slots: SlotsMemory, measured: SlotsMemory | None) -> _Change:
    if measured is None or measured == slots:
        return _Change(NOTHING, NOTHING, slots.resident_bytes)
    new, old = slot_regions(workload, slots), slot_regions(workload, measured)
    return _Change(
        _minus(process_sum(new), process_sum(old)),
        _minus(charge_sum(new), charge_sum(old)),
        slots.resident_bytes,
    )


def _minus(new: Amount, old: Amount) -> Amount:
    point = new.point - old.point
    below = math.hypot(new.point - new.low, old.high - old.point)
    above = math.hypot(new.high - new.point, old.point - old.low)
    return Amount(point, point - below, point + above)


def _plus(a: Amount, b: Amount) -> Amount:
    point = a.point + b.point
    below = math.hypot(a.point - a.low, b.point - b.low)
    above = math.hypot(a.high - a.point, b.high - b.point)
    return Amount(point, point - below, point + above)


def _measured_total(
    calibration: Calibration | None, conns: Quantity, change: _Change, account: str
) -> _Total | None:
    if calibration is None or not calibration.n:
        return None
    point = calibration.predict(conns.median)
    low, high = calibration.predict(conns.low), calibration.predict(conns.high)
    amount = Amount(
        point.bytes, min(low.low_bytes, point.low_bytes), max(high.high_bytes, point.high_bytes)
    )
    if not change.any:
        return _Total(amount, point.rests_on, point.method)
    moved = _plus(amount, change.process if account == "process" else change.charge)
    # However little was measured, the planned slots are there.
    moved = Amount(*(max(end, change.floor) for end in (moved.point, moved.low, moved.high)))
    return _Total(
        moved,
        "data and prior",
        f"{point.method}, {format_bytes(moved.point - amount.point)} by other slots",
    )


def _reconcile(
    regions: list[Region], process: _Total | None, charge: _Total | None
) -> tuple[_Total, _Total, Region]:
    """Return both totals, the one that was not measured from the other, and what is unexplained."""
    shown = sum(r.process_bytes for r in regions)
    charged = sum(r.charge_bytes for r in regions)
    if process is not None and charge is None:
        # Memory that the process shows is charged too. What no process shows comes on top.
        kernel = [r for r in regions if not r.process_high_bytes]
        amount = _plus(process.amount, charge_sum(kernel))
        charge = _Total(amount, "data and prior", f"{process.method}, and the kernel's regions")
    elif charge is not None and process is None:
        # Charged memory that nothing explains is most likely user memory, which both accounts
        # hold; but no process shows more than its group is charged for.
        excess = min(max(0.0, charge.amount.point - charged), charge.amount.point - shown)
        spread = process_sum(regions)
        below = math.hypot(spread.point - spread.low, max(0.0, excess))
        point = shown + excess
        amount = Amount(point, max(0.0, point - below), max(point, charge.amount.high))
        process = _Total(amount, "data and prior", "the regions, at most the charge measured")
    if process is None or charge is None:
        process = _Total(process_sum(regions), "prior", _SUM)
        charge = _Total(charge_sum(regions), "prior", _SUM)
    rest = region(
        UNEXPLAINED,
        "whole",
        Provenance("measured", "what was measured, less what the regions explain"),
        process=_shifted(process.amount, shown),
        charge=_shifted(charge.amount, charged),
    )
    return process, charge, rest


def _shifted(amount: Amount, by: float) -> Amount:
    return Amount(amount.point - by, amount.low - by, amount.high - by)


def _old_process(regions: list[Region]) -> Region:
    """Return what the old process still takes beside the new one: all but the connections' own.

    At least its base and its workers, when all connections have left it; at most all that it held.
    """
    own = [r for r in regions if r.scope != "connection" or r.process_bytes]
    idle = [r for r in own if r.scope in {"process", "worker"}]
    shown = sum(r.process_bytes for r in own)
    # What the old process shows is charged at least, even where the connections' rows explain
    # so much of a measured charge that less than that is left for it.
    charged = max(shown, sum(r.charge_bytes for r in own))
    process = Amount(shown, min(shown, sum(r.process_bytes for r in idle)), shown)
    charge = Amount(charged, min(charged, sum(r.charge_bytes for r in idle)), charged)
    return region(
        "old process during a deploy",
        "deploy",
        Provenance("predicted", "all of it but the kernel's part of the connections, once more"),
        virtual=sum(r.virtual_bytes for r in own),
        process=process,
        charge=charge,
    )


def _with_old(total: _Total, old: Amount) -> _Total:
    amount = _plus(total.amount, old)
    return _Total(amount, total.rests_on, f"{total.method}; two processes at once")


def _takes_anything(r: Region) -> bool:
    return any((r.virtual_bytes, r.process_bytes, r.charge_bytes, r.charge_high_bytes))


def _estimate(total: _Total, point: int) -> Estimate:
    return Estimate(
        bytes=point,
        low_bytes=max(0, min(math.floor(total.amount.low), point)),
        high_bytes=max(math.ceil(total.amount.high), point),
        rests_on=total.rests_on,
        method=total.method,
    )
