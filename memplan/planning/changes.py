"""What a change of configuration does to each region of memory, before any run."""

from memplan.memory_model import Prediction, Region
from memplan.plan import RegionChange
from memplan.planning.strategy_choice import Rival
from memplan.units import format_bytes


def region_changes(
    before: Prediction, after: Prediction, old: Rival, new: Rival
) -> tuple[RegionChange, ...]:
    """Return the change of every region that either configuration has, in their order.

    Args:
        before: Memory as it is.
        after: Memory as it would be.
        old: The slots as they are.
        new: The slots as they would be.
    """
    names = dict.fromkeys(region.name for one in (before, after) for region in one.regions)
    return tuple(_change(name, before.region(name), after.region(name), old, new) for name in names)


def _change(
    name: str, before: Region | None, after: Region | None, old: Rival, new: Rival
) -> RegionChange:
    def difference(field: str) -> float:
        return float(getattr(after, field, 0) - getattr(before, field, 0))

    virtual, process, charge = (
        difference(field) for field in ("virtual_bytes", "process_bytes", "charge_bytes")
    )
    if name == "slots":
        why = slots_why(old, new, virtual, process)
    elif before is None:
        why = "not there before"
    elif after is None:
        why = "no longer there"
    elif virtual or process or charge:
        why = after.provenance.source
    else:
        why = "the same"
    return RegionChange(
        name=name, virtual_bytes=virtual, resident_bytes=process, charge_bytes=charge, why=why
    )


def slots_why(old: Rival, new: Rival, virtual: float, resident: float) -> str:
    """Return why the slots' memory changes, or does not though their address space does."""
    small = 0.001 * max(new.footprint.high_water.mean_bytes, 1.0)
    if virtual and abs(resident) <= small:
        return "slots that no connection reaches are address space and never resident"
    parts = []
    if old.name != new.name:
        parts.append(f"{old.name} to {new.name}")
    sizes = [rival.footprint.active_conn_bytes for rival in (old, new)]
    if abs(sizes[0] - sizes[1]) > 0.01 * max(sizes):
        parts.append(f"a connection takes {format_bytes(sizes[1])}, not {format_bytes(sizes[0])}")
    waters = [min(rival.load.high_mean, rival.load.max_conn) for rival in (old, new)]
    if abs(waters[0] - waters[1]) > 0.05:
        parts.append(f"a worker's high water is {waters[1]:.1f} slots, not {waters[0]:.1f}")
    return "; ".join(parts) or ("other pages are touched" if resident else "the same")
