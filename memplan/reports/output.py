"""Where a report goes: a file that is replaced whole, standard output, or a terminal."""

import os
import stat
import sys
from typing import TYPE_CHECKING

from memplan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

NARROWEST = 76
"""Columns below which figures would be cut; a narrower terminal wraps the lines itself."""

WIDEST = 120
"""Columns beyond which prose is tiring to read."""

PLAIN_WIDTH = 80
"""Columns of a table that no terminal asks for."""

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
    shown = os.fspath(path)
    target = os.path.realpath(shown)
    data = text.encode()
    try:
        try:
            mode: int | None = os.stat(target).st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            raise UsageError(f"cannot write {shown}: it is a directory")
        if mode is not None and not stat.S_ISREG(mode):
            with open(shown, "wb") as stream:
                stream.write(data)
            return
        # os.replace asks only for the directory's permission; the file's own counts as well.
        if mode is not None and not os.access(target, os.W_OK):
            raise UsageError(f"cannot write {shown}: it is write-protected")
        _replace(target, data, mode)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        directory = os.path.dirname(target)
        if not os.path.isdir(directory):
            reason = f"there is no directory {os.path.dirname(shown) or directory}"
        raise UsageError(f"cannot write {shown}: {reason}") from None


def _replace(target: str, data: bytes, mode: int | None) -> None:
    """Write the data to a new file beside the target and give it the target's name."""
    beside = os.path.join(os.path.dirname(target), f".memplan-{os.urandom(6).hex()}")
    # 0o666 less the umask, as any new file; O_EXCL so that nothing is written through a link.
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as stream:
            if mode is not None:
                os.fchmod(stream.fileno(), stat.S_IMODE(mode))
            stream.write(data)
            stream.flush()
            # Without it a crash soon after could leave the new name with no content.
            os.fsync(stream.fileno())
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def print_text(text: str) -> None:
    """Write a text to standard output, in plain letters where its encoding has no others."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)


def print_drawing(draw: "Callable[[Console], None]") -> None:
    """Draw to standard output, with colours and the terminal's width where it is a terminal."""
    import io

    from rich.console import Console

    outside = Console()
    width = outside.width if outside.is_terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    drawing = io.StringIO()
    console = Console(
        file=drawing,
        force_terminal=outside.is_terminal,
        width=min(max(width, NARROWEST), WIDEST),
        highlight=False,
        markup=False,
        emoji=False,
    )
    draw(console)
    print_text(drawing.getvalue())


def plain(draw: "Callable[[Console], None]") -> str:
    """Return a drawing as text without colours, 80 columns wide."""
    import io

    from rich.console import Console

    drawing = io.StringIO()
    console = Console(
        file=drawing,
        force_terminal=False,
        color_system=None,
        width=PLAIN_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )
    draw(console)
    return drawing.getvalue()
