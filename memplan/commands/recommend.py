"""`memplan recommend`: from workers, connections and measured memory to the advice."""

from typing import Any

import click

from memplan.commands.options import (
    BYTES,
    COUNT,
    COUNTS,
    DURATION,
    FILE,
    RATE,
    SHARE,
    SIZES,
    WEIGHTS,
    GroupedCommand,
    Parsed,
    grouped,
)
from memplan.errors import PlanError, UsageError
from memplan.reports import FORMATS
from memplan.units import parse_bytes
from memplan.workload import EVEN_EPHEMERAL_PORTS

load = grouped("Load")
goal = grouped("What must hold")
measured = grouped("Measured memory")
traffic = grouped("Traffic (each a size, a range LOW..HIGH, or quantiles p50=..,p99=..)")
clients = grouped("Clients, balance and failure")
memory = grouped("Connections' memory")
fixed = grouped("Fixed by you (respected and marked)")
output = grouped("Output")


def _point(text: str) -> tuple[int, int]:
    from memplan.commands.options import parse_count

    conns, equals, size = text.partition("=")
    if not equals:
        raise UsageError(f"'{text}' is no measured point; write CONNS=SIZE, as in 512=75MiB")
    return parse_count(conns), parse_bytes(size)


def _pin(text: str) -> tuple[str, int]:
    from memplan.memory_model import PINNABLE

    name, equals, size = text.partition("=")
    key = f"{name.strip().lower()}_bytes"
    if not equals or key not in PINNABLE:
        names = ", ".join(one.removesuffix("_bytes") for one in PINNABLE)
        raise UsageError(f"'{text}' is no cost; write NAME=SIZE with one of {names}")
    return key, parse_bytes(size)


def _once(pins: tuple[tuple[str, int], ...]) -> dict[str, int]:
    costs = dict(pins)
    if len(costs) < len(pins):
        raise UsageError("a cost is pinned twice: give each --pin once")
    return costs


def _current(text: str) -> object:
    from memplan.planning.configuration import Configuration

    return Configuration.load(text)


POINT = Parsed("CONNS=SIZE", _point)
CURRENT = Parsed("KEY=VALUE,..|FILE", _current)
PIN = Parsed("NAME=SIZE", _pin)

EPILOG = """
\b
Examples:
  memplan recommend --workers 64 --conns 4096
  memplan recommend --workers 64 --conns 4096 --reconnect-rate 260000/s --horizon 30d
  memplan recommend --workers 64 --conns 4096 --charge 512=75MiB --charge 4096=184MiB
  memplan recommend --pid "$(pgrep -o nginx)" --format json -o plan.json
  memplan recommend --workers 8 --conns 20000 --memory-limit 512MiB --format systemd

\b
Exit codes: 0 the plan holds, 2 wrong input, 3 the plan cannot be met, 4 a measurement failed.
"""


@click.command(
    cls=GroupedCommand,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@load(
    "--workers",
    type=COUNT,
    help="Listening sockets of the group. Default: the CPUs, or from --pid.",
)
@load(
    "--conns", type=COUNTS, help="Connections open at the same time. Default: 4096, or from --pid."
)
@load(
    "--reconnect-rate",
    "reconnects_per_s",
    type=RATE,
    help="Connections that close and reopen, as 260000/s. Without it the answer is a snapshot.",
)
@load(
    "--horizon", "horizon_s", type=DURATION, help="How long it must last. Default: 30d with churn."
)
@load(
    "--process-model",
    type=click.Choice(["threads", "processes"]),
    help="Workers as threads of one process, or each a process. Default: threads, or from --pid.",
)
@goal(
    "--overflow",
    type=SHARE,
    default=1e-6,
    show_default=True,
    help="Chance that some worker needs more than MAX_CONN slots within the horizon.",
)
@goal(
    "--memory-limit",
    "memory_limit_bytes",
    type=BYTES,
    help="What the container may be charged. Default: the cgroup's limit, or the machine's memory.",
)
@goal(
    "--headroom", type=SHARE, default=0.1, show_default=True, help="Share of the limit left free."
)
@goal(
    "--strategy",
    default="auto",
    metavar="auto|NAME[:KEY=VALUE,..]",
    show_default=True,
    help="Slot strategy, with its own settings, as static:reuse=fifo.",
)
@measured(
    "--rss",
    multiple=True,
    type=POINT,
    help="The process's memory (PSS or RSS) at so many connections, as 512=75MiB. Repeatable.",
)
@measured(
    "--charge",
    multiple=True,
    type=POINT,
    help="The container's charge at so many connections, as 4096=184MiB. Repeatable.",
)
@measured("--pid", type=COUNT, help="A live server: its process tree and connections are read now.")
@measured(
    "--current",
    type=CURRENT,
    help="Today's configuration: what changes against it, and what was measured ran in it.",
)
@traffic("--request-bytes", type=SIZES, help="A request's head.")
@traffic("--body-bytes", type=SIZES, help="A request's body.")
@traffic("--response-bytes", type=SIZES, help="A response with its head.")
@traffic("--pipeline", type=COUNTS, help="Requests sent before waiting for an answer. Default: 1.")
@clients("--client-tuples", type=COUNT, help="Distinct client address and port pairs in all.")
@clients("--client-addresses", type=COUNT, help="Distinct client addresses, where few.")
@clients(
    "--ports-per-address",
    type=COUNT,
    default=EVEN_EPHEMERAL_PORTS,
    show_default=True,
    help="Source ports that one client address uses.",
)
@clients(
    "--balance",
    type=click.Choice(["hash", "exact"]),
    default="hash",
    show_default=True,
    help="By the kernel's hash, or handed out evenly.",
)
@clients("--weights", type=WEIGHTS, help="Workers' chances of a new connection, as 2x32,1x32.")
@clients("--workers-lost", type=COUNT, default=0, help="Workers that may be down. Default: 0.")
@clients(
    "--population",
    type=click.Choice(["closed", "open"]),
    default="closed",
    show_default=True,
    help="A fixed number of connections, or Poisson arrivals about it.",
)
@clients(
    "--linger",
    "linger_s",
    type=DURATION,
    default=0.0,
    help="Time an old connection keeps its slot.",
)
@clients("--deploy-overlap", is_flag=True, help="The old process runs on beside the new one.")
@memory(
    "--active",
    "active_fraction",
    type=SHARE,
    default=1.0,
    show_default=True,
    help="Share of connections with bytes in flight.",
)
@memory(
    "--slow", "slow_fraction", type=SHARE, default=0.0, help="Share of clients that read slowly."
)
@memory("--tls-bytes", type=BYTES, default=0, help="User memory of one TLS session.")
@memory("--backlog", type=COUNT, default=0, help="Connections waiting in each accept queue.")
@fixed("--max-conn", type=COUNT, help="Slots a worker.")
@fixed("--max-fd", type=COUNT, help="Entries of a table indexed by descriptor.")
@fixed("--state", type=BYTES, help="Parser state of a slot.")
@fixed("--recv", type=BYTES, help="Receive buffer of a slot.")
@fixed("--body", type=BYTES, help="Body buffer of a slot.")
@fixed("--write", type=BYTES, help="Write buffer of a slot.")
@fixed(
    "--pin",
    "pins",
    multiple=True,
    type=PIN,
    help="A cost of the server: base, stack, ring, buffer, socket, loop, in_flight or slow, as "
    "base=20MiB. Repeatable.",
)
@output(
    "--format",
    "format_name",
    type=click.Choice(tuple(FORMATS)),
    default="table",
    show_default=True,
    help="What to write.",
)
@output("-o", "--output", type=FILE, help="Where to write it. Default: standard output.")
def recommend(format_name: str, output: str | None, **options: Any) -> int:
    """Recommend MAX_CONN, MAX_FD and buffer sizes, and say what memory they take.

    SO_REUSEPORT spreads connections over workers by a hash: some worker always gets more than its
    share. This says how many slots a worker needs so that it never runs out, what memory each way
    to lay slots out takes, how sure that is, and what to watch.
    """
    from memplan.planner import recommend as plan_for
    from memplan.reports import write

    given = {name: value for name, value in options.items() if value is not None and value != ()}
    given["pins"] = _once(given.get("pins", ()))
    plan = plan_for(**given)
    write(plan, format_name, output)
    return 0 if plan.feasible else PlanError.exit_code
