"""What a plan must hold, each with what is needed and what is allowed, and which one decides."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from memplan.answer import Answer
from memplan.constraint import Constraint
from memplan.memory_model import Prediction
from memplan.planning.goals import Goals
from memplan.slots import HostLimits

if TYPE_CHECKING:
    from memplan.profiler.host import HostFacts


def host_limits(host: "HostFacts") -> HostLimits:
    """Return what the machine allows a slot strategy.

    The descriptors are bounded by fs.nr_open, which no process passes, rather than by the limit of
    the shell that plans: the plan itself says what to set.
    """
    return HostLimits(
        max_map_count=host.max_map_count,
        nofile_soft=None,
        nofile_hard=host.nr_open,
        overcommit_memory=host.overcommit_memory,
        commit_limit_bytes=host.commit_limit_bytes,
        mem_total_bytes=host.mem_total_bytes,
        **({} if host.page_bytes is None else {"page_bytes": host.page_bytes}),
    )


def memory_constraint(
    goals: Goals, host: "HostFacts", prediction: Prediction, at_most: Prediction | None = None
) -> Constraint:
    """Return the container's charge against what it may be.

    The high end of the interval counts once it rests on data. A prior's high end is that of any
    server known, a Java one included; no limit would hold it, and a caution says it.
    """
    limit, source = _memory_limit(goals, host)
    allowed = None if limit is None else int(limit * (1 - goals.headroom))
    charge = prediction.charge
    prior = charge.rests_on == "prior"
    expected = charge if at_most is None else at_most.charge
    where = "" if at_most is None else " at the most connections"
    return Constraint(
        name="memory limit",
        needed=expected.bytes if prior else max(charge.high_bytes, expected.high_bytes),
        allowed=allowed,
        unit="bytes",
        source=source if limit is None else f"{source}, less {goals.headroom:.0%} headroom",
        detail=f"the charge as expected{where}; nothing was measured, so its interval is a prior's"
        if prior
        else "the high end of the charge's 95% interval",
    )


def _memory_limit(goals: Goals, host: "HostFacts") -> tuple[int | None, str]:
    """Return the tightest of what was given, else of the cgroup's and the machine's memory."""
    if goals.memory_limit_bytes is not None:
        return goals.memory_limit_bytes, "given"
    group, total = host.memory_cgroup, host.mem_total_bytes
    ceiling = None if group is None else group.ceiling_bytes
    if group is None or ceiling is None or (total is not None and total < ceiling):
        return total, "this machine's memory"
    return ceiling, f"cgroup v{group.version} of this process"


def overflow_constraint(goals: Goals, overflow: Answer, max_conn: int) -> Constraint:
    """Return the overflow at the plan's MAX_CONN, at its bracket's high end, against the target."""
    return Constraint(
        name="overflow",
        needed=overflow.high,
        allowed=goals.overflow,
        unit="probability",
        source="target",
        detail=f"some worker gets more than {max_conn:,} connections ({overflow.method})",
    )


def of_the_plan(limit: Constraint) -> Constraint:
    """Return a strategy's limit as the plan sees it, which may itself say what to raise."""
    if limit.name != "nofile":
        return limit
    return replace(limit, source="fs.nr_open, the most that LimitNOFILE can set")


def binding_of(constraints: Iterable[Constraint]) -> str:
    """Return the constraint that decides, in words.

    Among those that fail it is the one that fails by most; otherwise the one that is used most. The
    overflow target is left out while it holds, since MAX_CONN was chosen to meet it.
    """
    listed = list(constraints)
    broken = [one for one in listed if not one.ok]
    if broken:
        worst = max(broken, key=lambda one: one.use)
        return f"{worst.name}: cannot be met"
    bounded = [one for one in listed if one.allowed is not None and one.name != "overflow"]
    nearest = max(bounded, key=lambda one: one.use, default=None)
    if nearest is None:
        return "overflow: MAX_CONN was chosen to meet it, and nothing else bounds the plan"
    if nearest.use < 0.5:
        return (
            f"overflow: MAX_CONN was chosen to meet it; next is {nearest.name}, "
            f"{nearest.use:.1%} used"
        )
    return f"{nearest.name}: {nearest.use:.0%} of what is allowed"
