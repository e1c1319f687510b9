"""Emit the C source of the extension `memplan._native`; CMake calls this during a build.

cffi's API mode: the declarations that Python sees (cdef) and the C that makes them known to the
compiler (prelude) are files of their own, so that both can be read, edited and diffed as C.
"""

import argparse
from pathlib import Path

from cffi import FFI


def main() -> None:
    """Write the glue; cffi leaves the file alone where it would not change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cdef", type=Path, required=True, help="what Python may call")
    parser.add_argument("--prelude", type=Path, required=True, help="the includes it needs")
    parser.add_argument("--output", type=Path, required=True, help="the C file to write")
    arguments = parser.parse_args()

    ffi = FFI()
    ffi.cdef(arguments.cdef.read_text(encoding="utf-8"))
    ffi.set_source("memplan._native", arguments.prelude.read_text(encoding="utf-8"))
    ffi.emit_c_code(str(arguments.output))
    # An unchanged file keeps its old time, and the build would run this again each time.
    arguments.output.touch()


if __name__ == "__main__":
    main()
