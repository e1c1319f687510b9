"""`recommend()`: from any words of the library to a plan.

It sorts the words into the load, the goals and the evidence, fills in what was not said, and says
that it did; `memplan.planning` does the reasoning.
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from memplan.errors import UsageError
from memplan.plan import Plan
from memplan.planning.goals import Evidence, Goals
from memplan.quantity import Quantity
from memplan.workload import ProcessModel, Traffic, Workload

if TYPE_CHECKING:
    from memplan.profiler.host import HostFacts
    from memplan.profiler.live_server import LiveServer

DEFAULT_CONNS = 4096
_QUANTITIES = {"conns", "request_bytes", "body_bytes", "response_bytes", "pipeline"}


def recommend(*, host: "HostFacts | None" = None, **options: Any) -> Plan:  # noqa: ANN401 - fields of the dataclasses
    """Return the advice for a load: settings, the memory that they take, and what to watch.

    Args:
        host: The machine that it is for; None reads this one.
        **options: Any field of `Workload`, `Traffic`, `Goals` and `Evidence`. `conns` and the
            traffic's sizes are a number, a (low, high) pair, or quantiles as `{0.5: 200}`.
            Without `workers` it is the CPUs that this process may use, without `conns` 4,096;
            with `pid` both come from the live server.

    Raises:
        UsageError: An option does not exist, or its value makes no sense.
        MeasureError: The live server cannot be read.

    Example:
        >>> plan = recommend(workers=64, conns=4096)
        >>> plan.number("max_conn")
        256
    """
    from memplan.planning.make import make_plan

    given = {name: value for name, value in options.items() if value is not None}
    for name in _QUANTITIES & given.keys():
        given[name] = Quantity.of(given[name])
    live = _read_live(given.get("pid"))
    assumed = []
    if "workers" not in given:
        given["workers"], words = _default_workers(live)
        assumed.append(words)
    if "conns" not in given:
        given["conns"], words = _default_conns(live)
        assumed.append(words)
    if live is not None and "process_model" not in given:
        given["process_model"] = process_model_of(live)
    parts: dict[type, dict[str, Any]] = {Workload: {}, Traffic: {}, Goals: {}, Evidence: {}}
    owner = {field.name: kind for kind in parts for field in fields(kind)}
    for name, value in given.items():
        if name not in owner:
            raise UsageError(f"there is no option '{name}'; there are {', '.join(sorted(owner))}")
        parts[owner[name]][name] = value
    if parts[Traffic]:
        parts[Workload]["traffic"] = Traffic(**parts[Traffic])
    return make_plan(
        Workload(**parts[Workload]),
        Goals(**parts[Goals]),
        _evidence(parts[Evidence]),
        host=host,
        live=live,
        assumed=tuple(assumed),
    )


def _evidence(given: Mapping[str, Any]) -> Evidence:
    """Return the evidence, points written as (conns, bytes) pairs made into points."""
    from memplan.memory.calibration import Point
    from memplan.planning.configuration import Configuration
    from memplan.planning.setup import CHARGE, PROCESS

    made = dict(given)
    for name, account in (("rss", PROCESS), ("charge", CHARGE)):
        try:
            made[name] = tuple(
                one
                if isinstance(one, Point)
                else Point(conns=one[0], bytes=one[1], account=account)
                for one in made.get(name, ())
            )
        except (TypeError, LookupError):
            raise UsageError(
                f"{name} is a list of (connections, bytes), as in [(512, 75 * 2**20)], not "
                f"{made[name]!r}"
            ) from None
    if isinstance(made.get("current"), str):
        made["current"] = Configuration.parse(made["current"])
    return Evidence(**made)


def _read_live(pid: int | None) -> "LiveServer | None":
    if pid is None:
        return None
    from memplan.profiler.live import read_live_server

    return read_live_server(pid)


def _default_workers(live: "LiveServer | None") -> tuple[int, str]:
    if live is not None:
        return live.listeners, f"{live.listeners} workers: the listening sockets of {live.name}"
    cpus = len(os.sched_getaffinity(0))
    return cpus, f"{cpus} workers: one for each CPU that this process may use (--workers)"


def process_model_of(live: "LiveServer") -> ProcessModel:
    """Return whether a live server's connections are held by one process or by several."""
    holders = sum(1 for process in live.processes if process.connections)
    # A server that holds no connection now still shows its master beside its workers.
    several = holders > 1 or (not holders and len(live.processes) > 1)
    return "processes" if several else "threads"


def _default_conns(live: "LiveServer | None") -> tuple[Quantity, str]:
    if live is not None and live.connections:
        conns = Quantity.exactly(live.connections)
        return conns, f"{live.connections:,} connections: those that {live.name} holds now"
    why = "" if live is None else f", as {live.name} holds none now"
    return Quantity.exactly(DEFAULT_CONNS), f"{DEFAULT_CONNS:,} connections{why} (--conns)"
