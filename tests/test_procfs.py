"""Processes are read right from every kernel's files, and wrong files give one clear error."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_roots import GOLDEN, KERNELS, FakeRoot

from memplan.errors import MeasureError
from memplan.profiler.cgroup import parse_cgroup_mounts, parse_proc_cgroup
from memplan.profiler.processes import (
    descendants,
    parse_smaps_rollup,
    parse_status,
    read_memory,
    read_processes,
    read_status,
)
from memplan.profiler.procfs import (
    Limit,
    ProcessStat,
    parse_kib_table,
    parse_limits,
    parse_stat,
    read_text,
)
from memplan.profiler.sockets import parse_epoll_targets, parse_tcp_table

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1024


def test_sizes_are_bytes_and_other_lines_are_left_out() -> None:
    text = "VmRSS:\t    12 kB\nThreads:\t3\nHugePages_Total:       0\n00-ff ---p 0:0 0 [rollup]\n"
    assert parse_kib_table(text) == {"VmRSS": 12 * KIB}


def test_memory_of_linux_4_19_has_no_parts_of_pss() -> None:
    memory = parse_smaps_rollup((GOLDEN / "linux-4.19-cgroup1/proc/812/smaps_rollup").read_text())
    assert (memory.rss_bytes, memory.pss_bytes) == (3904 * KIB, 1690 * KIB)
    assert memory.private_bytes == (60 + 560) * KIB
    assert memory.pss_anon_bytes is memory.pss_file_bytes is memory.pss_shmem_bytes is None


def test_memory_of_linux_5_15_has_parts_huge_pages_and_swap() -> None:
    memory = parse_smaps_rollup((GOLDEN / "linux-5.15-cgroup2/proc/2301/smaps_rollup").read_text())
    assert memory.pss_anon_bytes == 30720 * KIB
    assert memory.pss_file_bytes == 8284 * KIB
    assert memory.pss_shmem_bytes == 0
    assert memory.anon_huge_bytes == 6144 * KIB
    assert memory.swap_pss_bytes == 512 * KIB


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_parts_of_memory_fit_together_on_every_kernel(kernel: str) -> None:
    """PSS lies between the private memory and RSS, and its parts add up to it."""
    files = list((GOLDEN / kernel).glob("proc/*/smaps_rollup"))
    assert files
    for file in files:
        memory = parse_smaps_rollup(file.read_text(), str(file))
        assert memory.private_bytes <= memory.pss_bytes <= memory.rss_bytes
        if memory.pss_anon_bytes is not None:
            assert memory.pss_file_bytes is not None
            assert memory.pss_shmem_bytes is not None
            parts = memory.pss_anon_bytes + memory.pss_file_bytes + memory.pss_shmem_bytes
            assert abs(parts - memory.pss_bytes) <= 3 * KIB  # each is rounded to a KiB


def test_smaps_is_added_up_where_there_is_no_rollup(tmp_path: Path) -> None:
    mapping = (
        "00400000-00401000 r-xp 00000000 08:01 7    /bin/a\nSize: 8 kB\nRss: 8 kB\nPss: 4 kB\n"
    )
    mapping += "Private_Clean: 1 kB\nPrivate_Dirty: 2 kB\nVmFlags: rd ex mr\n"
    root = FakeRoot(tmp_path)
    root.write("proc/7/smaps", mapping * 3)
    memory = read_memory(7, root=str(tmp_path))
    assert (memory.rss_bytes, memory.pss_bytes, memory.private_bytes) == (24576, 12288, 9216)


def test_a_kernel_thread_has_no_memory_to_read(tmp_path: Path) -> None:
    FakeRoot(tmp_path).write("proc/2/smaps", "")
    with pytest.raises(ProcessLookupError):
        read_memory(2, root=str(tmp_path))


@pytest.mark.parametrize("kernel", KERNELS)
def test_status_is_read_on_every_kernel(kernel: str) -> None:
    """The thread count, peak and page tables are there, whatever lines stand around them."""
    for file in (GOLDEN / kernel).glob("proc/*/status"):
        status = parse_status(file.read_text(), str(file))
        assert status.pid == status.thread_group == int(file.parent.name)
        assert status.state == "S"
        assert status.threads in {1, 3}
        assert status.rss_bytes is not None
        assert status.peak_rss_bytes is not None
        assert status.page_table_bytes is not None
        assert status.peak_rss_bytes >= status.rss_bytes > status.page_table_bytes > 0


def test_limits_are_numbers_or_unlimited() -> None:
    limits = parse_limits((GOLDEN / "linux-5.15-cgroup2/proc/2301/limits").read_text())
    assert limits["Max open files"] == Limit(65536, 524288)
    assert limits["Max stack size"] == Limit(8388608, None)
    assert limits["Max nice priority"] == Limit(0, 0)
    assert len(limits) == 16


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=15),
    parent=st.integers(0, 2**22),
)
def test_a_command_may_be_named_anything(name: str, parent: int) -> None:
    """Spaces, brackets and newlines in a command's name shift no field."""
    tail = " ".join(["7"] * 17)
    text = f"42 ({name}) S {parent} {tail} 991 1 1\n"
    assert parse_stat(text) == ProcessStat(42, name, "S", parent, 991)


@pytest.mark.parametrize("garbage", ["", "\n", "nonsense", "a: b\n", "1 (x", "1 (x) S\n", "\0\0\0"])
def test_garbage_is_refused_with_the_files_name(garbage: str) -> None:
    for parse in (parse_smaps_rollup, parse_status, parse_limits, parse_stat):
        with pytest.raises(MeasureError, match=r"^/proc/7/x ") as caught:
            parse(garbage, "/proc/7/x")
        assert "\n" not in str(caught.value)


def test_a_commands_name_cannot_forge_a_line_of_its_status() -> None:
    """The kernel escapes a newline in a name; what else ends a line elsewhere stays in it."""
    text = (GOLDEN / "linux-6.18-hybrid/proc/10520/status").read_text()
    forged = text.replace("Name:\tnginx", "Name:\tx\rThreads:\t9\x0bVmPTE:\t9 kB")
    assert parse_status(forged).threads == parse_status(text).threads
    assert parse_status(forged).page_table_bytes == parse_status(text).page_table_bytes


@given(st.text(), st.sampled_from(KERNELS), st.integers(0), st.integers(0, 200))
def test_no_text_breaks_a_parser(text: str, kernel: str, at: int, width: int) -> None:
    """Random text, put into real files, gives a value or a MeasureError, nothing else."""
    parsers: dict[str, Callable[[str], object]] = {
        "smaps_rollup": parse_smaps_rollup,
        "status": parse_status,
        "limits": parse_limits,
        "stat": parse_stat,
        "net/tcp": parse_tcp_table,
        "cgroup": parse_proc_cgroup,
        "fdinfo/*": parse_epoll_targets,
        "../self/mountinfo": parse_cgroup_mounts,
    }
    for name, parse in parsers.items():
        for file in sorted((GOLDEN / kernel).glob(f"proc/[1-9]*/{name}"))[:1]:
            real = file.read_text()
            start = at % (len(real) + 1)
            with suppress(MeasureError):
                parse(real[:start] + text + real[start + width :])


def test_a_limit_that_is_no_number_is_refused() -> None:
    text = (GOLDEN / "linux-5.15-cgroup2/proc/2301/limits").read_text()
    with pytest.raises(MeasureError, match="the limit 'many'"):
        parse_limits(text.replace("65536   ", "many    "))


def test_a_tree_lists_parents_first_and_no_ended_process() -> None:
    parents = {5: 1, 9: 5, 7: 5, 6: 9, 8: 7, 20: 1, 21: 20, 30: 7}
    processes = {
        pid: ProcessStat(pid, "x", "Z" if pid == 30 else "S", parent, 0)
        for pid, parent in parents.items()
    }
    assert descendants(5, processes) == (5, 7, 9, 8, 6)
    assert descendants(21, processes) == (21,)


def test_a_process_that_ends_while_all_are_listed_is_left_out(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.process(5)
    (tmp_path / "proc/6").mkdir()  # its stat is gone
    root.write("proc/version", "Linux")
    assert set(read_processes(root=str(tmp_path))) == {5}


def test_long_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 200_001)
    assert len(read_text(str(tmp_path / "long"))) == 200_001


@pytest.mark.live
def test_a_real_process_reads_as_psutil_reads_it() -> None:
    """A sleeping process's memory, threads and parent agree with psutil's own reading."""
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout
        child.stdout.readline()
        other = psutil.Process(child.pid)
        memory, full = read_memory(child.pid), other.memory_full_info()
        # psutil adds up the mappings, which the kernel rounds one by one.
        assert abs(memory.pss_bytes - full.pss) <= 64 * KIB
        assert abs(memory.private_bytes - full.uss) <= 16 * KIB
        status = read_status(child.pid)
        assert status.threads == other.num_threads()
        assert read_processes()[child.pid].parent == other.ppid()
        assert child.pid in descendants(psutil.Process().pid, read_processes())
    finally:
        child.kill()
        child.communicate()
