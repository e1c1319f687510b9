"""How options are typed, parsed and shown: parameter types, and groups in `--help`.

Every option's parameter bears the name of the dataclass field that it fills, so that the command
line, the library and the JSON say the same words (kept by a test).
"""

import re
from collections.abc import Callable
from typing import Any

import click

from memplan.bounds import MOST_WORKERS
from memplan.errors import UsageError
from memplan.quantity import Quantity
from memplan.units import parse_bytes, parse_duration, parse_rate

_COUNT = re.compile(
    r"\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?)([kM]?)\s*\Z"
)
_COUNT_PREFIX = {"": 1, "k": 1000, "M": 1_000_000}


class Parsed(click.ParamType[Any]):
    """A parameter type made of one parsing function that raises `UsageError`."""

    def __init__(self, metavar: str, parse: Callable[[str], Any]) -> None:
        self.name = metavar
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value; what is already parsed, such as a default, passes."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def parse_count(text: str) -> int:
    """Return a count such as `4096`, `4,096`, `10k` or `1e6`.

    Raises:
        UsageError: The text is no whole number of things.
    """
    match = _COUNT.match(text)
    if match is not None:
        number, prefix = match[1].replace(",", "").replace("_", ""), _COUNT_PREFIX[match[2]]
        value = float(number) * prefix
        if value < 2**63 and value == int(value):
            # A whole number keeps all its digits, where a float has them up to 2**53 only.
            return int(number) * prefix if number.isdecimal() else int(value)
    raise UsageError(f"'{text}' is no count; write a whole number such as 4096")


def parse_share(text: str) -> float:
    """Return a share or a probability such as `0.05`, `5%` or `1e-6`.

    Raises:
        UsageError: The text is not between 0 and 1.
    """
    plain = text.strip()
    try:
        value = float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        raise UsageError(f"'{text}' is no share; write 0.05, 5% or 1e-6") from None
    if not 0 <= value <= 1:
        raise UsageError(f"'{text}' is no share; it must lie between 0 and 1")
    return value


def parse_weights(text: str) -> tuple[float, ...]:
    """Return weights such as `2,1,1,1`, or with repeats `2x32,1x32`.

    Raises:
        UsageError: The text is no list of positive numbers.
    """
    weights: list[float] = []
    for part in text.split(","):
        weight, times, repeats = part.strip().partition("x")
        count = parse_count(repeats) if times else 1
        if not 1 <= count <= MOST_WORKERS:
            raise UsageError(f"'{part}' is no weight of 1 to {MOST_WORKERS:,} workers")
        try:
            weights += [float(weight)] * count
        except ValueError:
            raise UsageError(f"'{part}' is no weight; write 2,1,1 or 2x32,1x32") from None
    return tuple(weights)


def parse_file(text: str) -> str:
    """Return a file's name.

    Raises:
        UsageError: It is empty, as an unset variable of the shell makes it.
    """
    if not text:
        raise UsageError("the name is empty; leave -o out to write to standard output")
    return text


COUNT = Parsed("N", parse_count)
SHARE = Parsed("SHARE", parse_share)
BYTES = Parsed("SIZE", parse_bytes)
DURATION = Parsed("TIME", parse_duration)
RATE = Parsed("RATE", parse_rate)
WEIGHTS = Parsed("W,W,..", parse_weights)
COUNTS = Parsed("N|N..N|pX=N,..", lambda text: Quantity.parse(text, parse_count))
SIZES = Parsed("SIZE|..", lambda text: Quantity.parse(text, parse_bytes))
FILE = Parsed("FILE", parse_file)


class GroupedOption(click.Option):
    """An option that knows the heading it stands under in `--help`."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose `--help` lists the options under headings, in the order of declaration."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section a group; options of no group come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "group", "Help"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def grouped(group: str) -> Callable[..., Callable[[Any], Any]]:
    """Return a decorator factory like `click.option` whose options stand under one heading."""

    def option(*declarations: str, **attributes: Any) -> Callable[[Any], Any]:
        return click.option(*declarations, cls=GroupedOption, group=group, **attributes)

    return option
