"""`memplan explain`: the change of each region between two configurations, before any run."""

import click

from memplan.commands.options import COUNT, DURATION, FILE, RATE, GroupedCommand, Parsed, grouped
from memplan.planning.configuration import Configuration

configurations = grouped("Configurations (KEY=VALUE,.. or a file: what --format env or json wrote)")
load = grouped("Load (where the configurations do not say it)")
output = grouped("Output")

CONFIGURATION = Parsed("KEY=VALUE,..|FILE", Configuration.load)

EPILOG = """
\b
Keys: strategy, workers, conns, max_conn, max_fd, slot (or state, recv, body, write),
process_model, reconnect_rate, horizon, active, rss and charge (as measured there), and the
strategy's own settings. What --to does not say is as in --from; what was measured is never.

\b
Examples:
  memplan explain --from strategy=static,max_conn=1024,slot=12KiB --to max_conn=128
  memplan explain --from strategy=static,max_conn=128,slot=12KiB \\
                  --to strategy=fd,recv=2KiB,body=512,write=4KiB,max_fd=4096
"""


@click.command(
    cls=GroupedCommand,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@configurations("--from", "before", type=CONFIGURATION, required=True, help="As it is.")
@configurations("--to", "after", type=CONFIGURATION, required=True, help="As it would be.")
@load(
    "--workers", type=COUNT, default=64, show_default=True, help="Listening sockets of the group."
)
@load("--conns", type=COUNT, default=4096, show_default=True, help="Connections open at one time.")
@load("--reconnect-rate", "reconnects_per_s", type=RATE, help="Connections that close and reopen.")
@load(
    "--horizon", "horizon_s", type=DURATION, help="Time over which memory reaches its high water."
)
@output(
    "--format",
    "format_name",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="What to write.",
)
@output("-o", "--output", type=FILE, help="Where to write it. Default: standard output.")
def explain(
    *,
    before: Configuration,
    after: Configuration,
    workers: int,
    conns: int,
    reconnects_per_s: float | None,
    horizon_s: float | None,
    format_name: str,
    output: str | None,
) -> None:
    """Say what a change of configuration does to each region of memory, before any run.

    Virtual size, the process's resident memory and the container's charge are three answers; a
    change that looks like hundreds of mebibytes in one of them is often nothing in the others.
    """
    from memplan.reports import write_changes
    from memplan.whatif import what_if

    default = Configuration(
        strategy="static",
        workers=workers,
        conns=conns,
        reconnects_per_s=reconnects_per_s,
        horizon_s=horizon_s,
    )
    write_changes(what_if(before, after, default=default), format_name, output)
