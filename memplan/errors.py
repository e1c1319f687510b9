"""The few kinds of errors that reach a user, each with its exit code.

Only the command line's `main` prints them, as one line; the library raises them.
"""


class MemplanError(Exception):
    """Base of all errors meant for a user; its text is one line that needs no traceback."""

    exit_code = 1


class UsageError(MemplanError):
    """The input is wrong: says what is wrong and what would be right."""

    exit_code = 2


class PlanError(MemplanError):
    """The plan asked for cannot be met: names the constraint that forbids it."""

    exit_code = 3


class MeasureError(MemplanError):
    """Something that had to be measured could not be: says what and why."""

    exit_code = 4
