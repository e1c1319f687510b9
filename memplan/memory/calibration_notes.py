"""The sentences of a calibration: what it assumes, and what its points contradict."""

from collections.abc import Sequence

from memplan.memory.fitting import Group, Line, Noise
from memplan.memory.learnt import REPEAT_NOISE
from memplan.units import format_bytes

_LOUD = 0.10


def split(conns: float, half_conns: float) -> str:
    """Say how a single point was split into fixed and per-connection bytes."""
    return (
        f"measured at {conns:,.0f} connections only: {conns / (conns + half_conns):.0%} of the "
        "memory is taken to be the connections' own, as in a server whose fixed part is worth "
        f"{half_conns:,.0f} connections, the median of the servers known"
    )


def noise(repeats: Noise) -> tuple[str, ...]:
    """Say what noise was assumed, if the points do not tell it."""
    if repeats.measured:
        return ()
    text = (
        f"too few repeats to tell the noise: a standard deviation of {repeats.sd:.1%} between "
        f"repeats is taken ({REPEAT_NOISE:.0%} assumed, before any repeats)"
    )
    return (text,)


def loud(repeats: Noise) -> tuple[str, ...]:
    """Warn of measurements that differ much at the same load."""
    if repeats.sd <= _LOUD:
        return ()
    return (f"measurements at the same load differ by {repeats.sd:.0%} (standard deviation)",)


def contradictions(groups: Sequence[Group], last: Line, noise_width: float) -> tuple[str, ...]:
    """Warn of points that memory in parts for the process and for its connections cannot make.

    Args:
        groups: The measured points.
        last: The line that predictions beyond the last point start from.
        noise_width: Half-width of a measurement's 95% interval, relative.
    """
    if last.slope < 0:
        beyond_noise = -last.slope > noise_width * last.slope_spread()
        one, two = groups[-2], groups[-1]
        text = (
            f"memory falls from {format_bytes(one.mean)} at {one.conns:,.0f} connections to "
            f"{format_bytes(two.mean)} at {two.conns:,.0f}, "
            + ("more than noise explains" if beyond_noise else "which noise may explain")
            + "; beyond them it is taken to stay, or at worst to rise as fast as it fell"
        )
        return (text,)
    if last.fixed < 0:
        beyond_noise = -last.fixed > noise_width * last.spread_at(0.0)
        text = f"the line meets zero connections at {format_bytes(last.fixed)}, " + (
            "more than noise explains: memory grows faster than in proportion to connections"
            if beyond_noise
            else "which noise may explain: measure at numbers of connections that lie further apart"
        )
        return (text,)
    return ()


def bend(p_value: float, lines: Sequence[Line]) -> str:
    """Warn of points that do not lie on one line."""
    return (
        f"the points do not lie on one line (p = {p_value:.2g}): a connection took "
        f"{format_bytes(lines[0].slope)} in the first step and {format_bytes(lines[-1].slope)} "
        "in the last, and only the last tells what lies beyond it"
    )
