"""The host's facts are right, and a host that shows nothing is no error."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_roots import GOLDEN, golden_root

from memplan.profiler.host import parse_choice, parse_cpu_list, parse_numbers, read_host


def test_the_facts_of_linux_4_19(tmp_path: Path) -> None:
    host = read_host(str(golden_root("linux-4.19-cgroup1", tmp_path)))
    assert host.kernel_release == "4.19.0-27-amd64"
    assert host.cpus == 4
    assert host.mem_total_bytes == 2042156 * 1024
    assert host.thp_mode == "always"
    assert host.thp_bytes == 2 * 1024**2
    assert (host.max_map_count, host.overcommit_memory, host.overcommit_ratio) == (65530, 0, 50)
    assert (host.nofile_soft, host.nofile_hard, host.nr_open) == (1048576, 1048576, 1048576)
    assert host.somaxconn == 128
    assert host.memory_cgroup is not None
    assert host.memory_cgroup.limit_bytes == 256 * 1024**2
    assert host.missing == ()


def test_the_facts_of_linux_5_15(tmp_path: Path) -> None:
    host = read_host(str(golden_root("linux-5.15-cgroup2", tmp_path)))
    assert host.cpus == 8
    assert host.thp_mode == "never"
    assert host.overcommit_memory == 2
    assert host.commit_limit_bytes == 10236508 * 1024
    assert host.committed_bytes == 5812344 * 1024
    assert (host.nofile_soft, host.nofile_hard) == (1024, 1048576)
    assert host.ip_local_port_range == (1024, 65535)
    assert host.tcp_rmem_bytes == (4096, 131072, 6291456)
    assert host.tcp_wmem_bytes == (4096, 16384, 4194304)
    assert host.tcp_fin_timeout_s == 30
    assert host.memory_cgroup is not None
    assert (host.memory_cgroup.version, host.memory_cgroup.ceiling_bytes) == (2, 384 * 1024**2)


def test_the_facts_of_linux_6_18_with_both_cgroup_versions(tmp_path: Path) -> None:
    host = read_host(str(golden_root("linux-6.18-hybrid", tmp_path)))
    assert host.thp_mode == "madvise"
    assert host.tcp_rmem_bytes == (4096, 131072, 33554432)
    assert host.memory_cgroup is not None
    assert (host.memory_cgroup.version, host.memory_cgroup.limit_bytes) == (1, None)
    assert host.missing == ()


def test_a_host_that_shows_nothing_gives_nothing(tmp_path: Path) -> None:
    host = read_host(str(tmp_path))
    assert set(host.missing) == {name for name in host.__slots__ if name != "page_bytes"}


@pytest.mark.parametrize("file", sorted(p for p in GOLDEN.glob("linux-5*/**/*") if p.is_file()))
def test_no_file_is_needed_and_none_can_break_the_reading(file: Path, tmp_path: Path) -> None:
    """Each file in turn made garbage, then taken away: no error, and the other facts stay."""
    root = tmp_path / "root"
    shutil.copytree(GOLDEN / "linux-5.15-cgroup2", root)
    whole = read_host(str(root))
    victim = root / file.relative_to(GOLDEN / "linux-5.15-cgroup2")
    for spoil in (lambda: victim.write_bytes(b"\xff garbage\n"), victim.unlink):
        spoil()
        host = read_host(str(root))
        facts = zip(whole.__slots__, _values(whole), _values(host), strict=True)
        changed = {name for name, before, after in facts if before != after}
        assert len(changed) <= 3  # meminfo holds three facts


def _values(host: object) -> list[object]:
    return [getattr(host, name) for name in host.__slots__]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", 1), ("0-63", 64), ("0-5,8-9,12", 9), ("", None), ("0-x", None)]
)
def test_cpus_are_counted_from_their_list(text: str, cpus: int | None) -> None:
    assert parse_cpu_list(text) == cpus


def test_the_choice_is_the_word_in_brackets() -> None:
    assert parse_choice("always [madvise] never\n") == "madvise"
    assert parse_choice("always madvise never\n") is None


def test_numbers_are_all_or_none() -> None:
    assert parse_numbers("4096\t16384\t4194304\n") == (4096, 16384, 4194304)
    assert parse_numbers("4096 x") is None
    assert parse_numbers("") is None


@pytest.mark.live
def test_this_hosts_facts_agree_with_what_the_system_calls_say() -> None:
    host = read_host()
    assert host.kernel_release == os.uname().release
    assert host.page_bytes == resource.getpagesize()
    assert (host.nofile_soft, host.nofile_hard) == resource.getrlimit(resource.RLIMIT_NOFILE)
    if host.cpus is not None:
        assert host.cpus == os.sysconf("SC_NPROCESSORS_ONLN")
    if host.mem_total_bytes is not None:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        assert host.mem_total_bytes == pytest.approx(pages, rel=0.01)


def test_reading_the_host_imports_nothing_slow() -> None:
    """The module stays cheap at every start: no psutil, sockets, subprocess or numpy."""
    code = "import sys, memplan.profiler.host; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert "memplan.profiler.host" in loaded
    assert not loaded & {"psutil", "subprocess", "numpy", "socket", "ipaddress", "memplan.plan"}
