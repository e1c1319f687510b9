"""The project's C, as the compiled extension `memplan._native`; imported here and nowhere else."""

from functools import cache
from typing import Any

from memplan.errors import MemplanError


@cache
def load() -> tuple[Any, Any]:
    """Return cffi's `ffi` and `lib` of the extension, importing it at the first call.

    Raises:
        MemplanError: The extension was not built, or was built for another Python.
    """
    try:
        import memplan._native as extension
    except ImportError as error:
        raise MemplanError(
            "memplan's compiled part is missing or does not fit this Python; "
            f"reinstall it with 'pip install memplan' ({error})"
        ) from error
    return extension.ffi, extension.lib
