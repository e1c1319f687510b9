"""What numbers and words that a user gives may be, checked in one way and refused in one voice.

The upper bounds are far beyond any server. They are there so that a slip of the keyboard is told in
one line, instead of being reckoned with for minutes or until memory is gone.
"""

from collections.abc import Mapping
from operator import index
from typing import Any, NamedTuple

from memplan.errors import UsageError
from memplan.units import GIB

MOST_WORKERS = 1_000_000
MOST_CONNS = 1_000_000_000
MOST_DESCRIPTORS = 2**31 - 1
"""A descriptor is an int."""
MOST_BUFFER_BYTES = GIB
"""Largest field of a slot, and largest slot whose fields are not told apart."""


class Bounds(NamedTuple):
    """The least and the most that a number may be, and whether it counts something."""

    least: float
    most: float
    whole: bool = False


def whole(least: int, most: float) -> Bounds:
    """Return the bounds of a count."""
    return Bounds(least, most, whole=True)


SHARE = Bounds(0.0, 1.0)
SLOTS = whole(1, MOST_CONNS)
DESCRIPTORS = whole(1, MOST_DESCRIPTORS)
BUFFER = whole(0, MOST_BUFFER_BYTES)


def check_numbers(owner: object, bounds: Mapping[str, Bounds]) -> None:
    """Check a frozen dataclass's numbers, None being none of them, and make counts plain ints.

    Raises:
        UsageError: A field is no number, no whole one where it should be, or out of its bounds.
    """
    for name, bound in bounds.items():
        value = getattr(owner, name)
        if value is None:
            continue
        if bound.whole:
            # A frozen dataclass has no other way to replace numpy's integers, which JSON refuses.
            value = _whole(name, value)
            object.__setattr__(owner, name, value)
        check_number(name, value, bound)


def check_number(name: str, value: Any, bound: Bounds) -> None:  # noqa: ANN401 - whatever was given
    """Check one number.

    Raises:
        UsageError: It is none, or out of its bounds.
    """
    try:
        low, high = value >= bound.least, value <= bound.most
    except TypeError:
        raise UsageError(f"{name} must be a number, not {value!r}") from None
    # Not-a-number is neither.
    if not low:
        raise UsageError(f"{name} must be at least {bound.least:g}, not {value:,.12g}")
    if not high:
        raise UsageError(f"{name} can be at most {bound.most:,.12g}, not {value:,.12g}")


def check_words(owner: object, choices: Mapping[str, tuple[str, ...]]) -> None:
    """Check a dataclass's fields that are one of some words, None being none of them.

    Raises:
        UsageError: A field is another.
    """
    for name, words in choices.items():
        value = getattr(owner, name)
        if value is not None and value not in words:
            raise UsageError(f"{name} is {' or '.join(words)}, not '{value}'")


def _whole(name: str, value: Any) -> int:  # noqa: ANN401 - whatever was given
    try:
        return index(value)
    except TypeError:
        raise UsageError(f"{name} must be a whole number, not {value!r}") from None
