"""Reports: what draws a plan. They compute nothing; every figure is the planner's.

One file a format. Each has `render(plan) -> str` and is imported only when it is asked for, so
that a format that nobody wants costs no start-up time.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from memplan.errors import PlanError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from memplan.plan import Plan
    from memplan.whatif import WhatIf


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way to write a plan.

    Attributes:
        module: Where its `render` is; imported on first use.
        summary: What it is for, in a few words.
        deployable: Whether it configures a server. Such a file is never written for a plan that
            cannot be met: it would be deployed.
    """

    module: str
    summary: str
    deployable: bool = False

    def load(self) -> "Callable[[Plan], str]":
        """Import the format's module and return its renderer."""
        render: Callable[[Plan], str] = import_module(self.module).render
        return render


FORMATS: "Mapping[str, Format]" = {
    "table": Format(module="memplan.reports.table", summary="tables for people"),
    "json": Format(module="memplan.reports.json", summary="everything, as the schema describes"),
    "csv": Format(module="memplan.reports.csv", summary="settings and regions, flat"),
    "markdown": Format(module="memplan.reports.markdown", summary="tables for a pull request"),
    "env": Format(
        module="memplan.reports.env",
        summary="NAME=value for bash, systemd and docker",
        deployable=True,
    ),
    "c": Format(
        module="memplan.reports.c",
        summary="a header with the slot's struct and its assertions",
        deployable=True,
    ),
    "zig": Format(
        module="memplan.reports.zig",
        summary="constants and the slot's extern struct",
        deployable=True,
    ),
    "systemd": Format(
        module="memplan.reports.systemd",
        summary="a drop-in for a service",
        deployable=True,
    ),
    "docker": Format(
        module="memplan.reports.docker",
        summary="arguments of docker run",
        deployable=True,
    ),
}
"""The formats by name, in the order in which a help text lists them."""


def render(plan: "Plan", format_name: str) -> str:
    """Return a plan as text that ends in a newline, without colours.

    Args:
        plan: The plan.
        format_name: One of `FORMATS`.

    Raises:
        UsageError: There is no such format.
        PlanError: The format configures a server and the plan cannot be met.
    """
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise UsageError(f"'{format_name}' is no format; choose from {', '.join(FORMATS)}")
    if chosen.deployable and not plan.feasible:
        broken = ", ".join(constraint.name for constraint in plan.constraints if not constraint.ok)
        raise PlanError(
            f"no {format_name} file is written for a plan that cannot be met ({broken}); "
            "--format table shows what it takes"
        )
    return chosen.load()(plan)


def write(plan: "Plan", format_name: str, path: "str | PathLike[str] | None" = None) -> None:
    """Write a plan to a file, whole or not at all, or to standard output.

    Colours and the terminal's width are used only for a table on a terminal.

    Args:
        plan: The plan.
        format_name: One of `FORMATS`.
        path: The file to replace; None means standard output.

    Raises:
        UsageError: There is no such format, or the file cannot be written.
        PlanError: The format configures a server and the plan cannot be met.
    """
    from memplan.reports.output import print_lines, print_text, write_file

    if path is not None:
        write_file(path, render(plan, format_name))
    elif format_name == "table":
        from memplan.reports.table import report_lines

        print_lines(lambda width: report_lines(plan, width))
    else:
        print_text(render(plan, format_name))


def write_changes(
    change: "WhatIf", format_name: str, path: "str | PathLike[str] | None" = None
) -> None:
    """Write what a change of configuration does, to a file or to standard output.

    Args:
        change: What `what_if` found.
        format_name: `table`, `json` or `markdown`.
        path: The file to replace; None means standard output.

    Raises:
        UsageError: There is no such format for a change, or the file cannot be written.
    """
    from memplan.reports.changes import write_changes as write_now

    write_now(change, format_name, path)
