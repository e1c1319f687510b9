"""Where a report goes: a file that is replaced whole, standard output, or a terminal."""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from memplan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memplan.reports.layout import Line

NARROWEST = 76
"""Columns below which figures would be cut; a narrower terminal wraps the lines itself."""

WIDEST = 120
"""Columns beyond which prose is tiring to read."""

PLAIN_WIDTH = 80
"""Columns of a table that no terminal asks for."""

STYLES = {
    "": "",
    "title": "bold cyan",
    "strong": "bold",
    "faint": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
}
"""What a tone looks like on a terminal."""

_ASCII = str.maketrans(
    {
        "×": "x",
        "–": "-",
        "—": "-",
        "·": "|",
        "…": "...",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "▸": ">",
        "✓": "+",
        "✗": "!",
        "●": "*",
        "▲": "!",
        "─": "-",
        "±": "+-",
    }
)


def write_file(path: str | os.PathLike[str], text: str) -> None:
    """Replace a file's content by a text, whole or not at all.

    The text goes to a new file beside the target, which then takes its name. A reader sees the
    old content or the new one, and a full disk leaves the old. A symbolic link is followed, the
    permissions stay, and what is no regular file (a pipe, `/dev/stdout`) is written to as it is.

    Raises:
        UsageError: The directory does not exist, or the file cannot be written.
    """
    shown = Path(path)
    data = text.encode()
    try:
        target = shown.resolve()
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            # Opened by the name given: a resolved /dev/stdout may be a pipe without a path.
            shown.write_bytes(data)
            return
        # Replacing asks only for the directory's permission; the file's own counts as well.
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied")
        _replace(target, data, mode)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if not shown.parent.is_dir():
            reason = f"there is no directory {shown.parent}"
        raise UsageError(f"cannot write {shown}: {reason}") from None


def _replace(target: Path, data: bytes, mode: int | None) -> None:
    """Write the data to a new file beside the target and give it the target's name."""
    beside = target.parent / f".memplan-{os.urandom(6).hex()}"
    # 0o666 less the umask, as any new file; O_EXCL so that nothing is written through a link.
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if mode is not None:
                os.fchmod(stream.fileno(), stat.S_IMODE(mode))
            stream.write(data)
            stream.flush()
            # Without it a crash soon after could leave the new name with no content.
            os.fsync(stream.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink()
        raise


def print_text(text: str) -> None:
    """Write a text to standard output, in plain letters where its encoding has no others."""
    sys.stdout.write(_encodable(text))


def print_lines(draw: "Callable[[int], Iterable[Line]]") -> None:
    """Write lines to standard output, with colours and the full width on a terminal.

    Args:
        draw: Yields the lines for a number of columns.
    """
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR"):
        _print_styled(draw)
        return
    columns = os.environ.get("COLUMNS", "")
    print_text(plain(draw(_bounded(int(columns) if columns.isdecimal() else PLAIN_WIDTH))))


def plain(lines: "Iterable[Line]") -> str:
    """Return lines as text without colours and without blanks at their ends."""
    return "".join(f"{''.join(span.text for span in line).rstrip()}\n" for line in lines)


def _print_styled(draw: "Callable[[int], Iterable[Line]]") -> None:
    # rich knows terminals: NO_COLOR, dumb ones, how many colours. A pipe does not pay for it.
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    whole = Text()
    for line in draw(_bounded(console.width)):
        for span in line:
            whole.append(_encodable(span.text), STYLES[span.tone])
        whole.append("\n")
    # Lines are laid out already; one that figures make longer is the terminal's to wrap.
    console.print(whole, end="", no_wrap=True, overflow="ignore", crop=False)


def _bounded(columns: int) -> int:
    return min(max(columns, NARROWEST), WIDEST)


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text
