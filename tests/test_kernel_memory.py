"""What the model says of page tables, sockets and descriptors is what the kernel itself counts."""

import json
import os
import socket
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memplan.memory import kernel_memory as kernel
from memplan.memory.page_tables import (
    expected_page_table_bytes,
    page_table_bounds,
    page_table_bytes,
)
from memplan.units import GIB, KIB, MIB

TOUCH = """
import ctypes, json, re, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
def tables():
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(r"VmPTE:\\s+(\\d+) kB", status.read())[1])
length, pieces = json.loads(sys.argv[1])
NORESERVE, ANONYMOUS, PRIVATE, NOHUGEPAGE, BASE = 0x4000, 0x20, 2, 15, 0x200000000000
start = libc.mmap(BASE, length, 3, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)
assert start == BASE, (start, ctypes.get_errno())
libc.madvise(start, length, NOHUGEPAGE)
tables()
before = tables()
for offset, size in pieces:
    for at in range(offset, offset + size, 4096):
        ctypes.memset(start + at, 1, 1)
print(tables() - before)
"""


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        (GIB, [(0, 4096)]),
        (GIB, [(0, 2 * MIB)]),
        (GIB, [(0, 2 * MIB + 4096)]),
        (GIB, [(MIB, 2 * MIB)]),
        (GIB, [(i * 2 * MIB, 4096) for i in range(100)]),
        (GIB, [(i * 64 * KIB, 8192) for i in range(200)]),
        (4 * GIB, [(i * GIB + 8192, 12288) for i in range(4)]),
        (600 * GIB, [(0, 4096), (512 * GIB - 4096, 8192), (599 * GIB, 4096)]),
    ],
)
def test_page_tables_are_what_the_kernel_counts(length: int, pieces: list[tuple[int, int]]) -> None:
    """VmPTE grows by exactly the formula's bytes for pages touched in known places."""
    done = subprocess.run(
        [sys.executable, "-c", TOUCH, json.dumps([length, pieces])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "Cannot allocate" in done.stderr or ", 12)" in done.stderr:
        pytest.skip("this host does not overcommit so much address space")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == page_table_bytes(pieces)


@given(st.lists(st.tuples(st.integers(0, 1 << 41), st.integers(0, 1 << 32)), max_size=6))
def test_page_tables_count_each_table_once(pieces: list[tuple[int, int]]) -> None:
    """The formula agrees with a plain set of tables, pieces overlapping or not."""
    spans = (2 * MIB, GIB, 512 * GIB)
    tables = {
        (span, table)
        for start, length in pieces
        if length
        for span in spans
        for table in range(start // span, (start + length - 1) // span + 1)
    }
    assert page_table_bytes(pieces) == 4096 * len(tables)


@given(st.integers(1, 1 << 34), st.integers(1, 64), st.integers(1, 10**5))
def test_expected_page_tables_lie_within_their_bounds(
    resident: int, looseness: int, runs: int
) -> None:
    """Runs at unknown addresses need no less than dense pages and no more than scattered ones."""
    virtual = resident * looseness
    low, high = page_table_bounds(resident, virtual)
    expected = expected_page_table_bytes(resident, virtual, runs)
    assert 0.99 * low - 4096 <= expected <= 1.01 * high + 3 * 4096
    assert low <= high
    assert page_table_bounds(0, virtual) == (0, 0)
    assert expected_page_table_bytes(0, virtual, runs) == 0


@pytest.mark.parametrize("size", [1, 80, 300, 1000, 3000, 4000, 6000, 16000, 16384])
def test_waiting_bytes_are_what_the_kernel_holds(size: int) -> None:
    """A socket with unread bytes holds the whole pages that the formula says, on loopback."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        server, _ = listener.accept()
        with server:
            client.sendall(bytes(size))
            server.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
            so_meminfo = 55
            raw = server.getsockopt(socket.SOL_SOCKET, so_meminfo, 36)
    held = struct.unpack("9I", raw)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release < (6, 0):
        pytest.skip("before Linux 6.0 a socket kept reserved memory longer")
    assert held[0] + held[4] == kernel.in_flight_bytes(size)
    assert kernel.in_flight_bytes_at_most(size) >= kernel.in_flight_bytes(size)
    assert kernel.in_flight_bytes(0) == 0


OPEN = """
import os, sys
os.dup2(0, int(sys.argv[1]))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("FDSize")))
"""


@pytest.mark.parametrize("descriptors", [100, 256, 257, 600, 1000])
def test_descriptor_table_has_the_entries_that_the_kernel_says(descriptors: int) -> None:
    """FDSize with the highest descriptor open is the power of two that the formula takes."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(descriptors - 1)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    entries = max(int(done.stdout), 256)
    assert kernel.descriptor_table_bytes(descriptors) == 8 * entries + entries // 4 + entries // 512


def test_rings_of_the_reference_server() -> None:
    """64 rings of 1024/4096 entries take 8.8 MiB: 8.5 of pages, the rest their contexts."""
    assert 64 * kernel.ring_bytes(1024, 4096) == pytest.approx(8.8 * MIB, rel=0.05)
