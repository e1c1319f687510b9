"""The group that pays for a process is found on every kind of host, with its limits and charge."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_roots import FakeRoot, golden_root

from memplan.errors import MeasureError
from memplan.profiler.cgroup import (
    CgroupMount,
    find_memory_cgroup,
    parse_amount,
    parse_cgroup_mounts,
    parse_memory_stat,
    parse_proc_cgroup,
    read_limits,
)
from memplan.profiler.charge import read_charge, read_members
from memplan.profiler.procfs import read_text

MIB = 1024**2
V2_MOUNT = "35 24 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n"
V1_MOUNT = "36 24 0:31 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"


def v2_root(path: Path, group: str, files: dict[str, str]) -> str:
    """Make a host of version 2 whose process 7 is in a group; files are below the mount point."""
    root = FakeRoot(path)
    root.write("proc/7/cgroup", f"0::{group}\n")
    root.write("proc/self/mountinfo", V2_MOUNT)
    for name, text in files.items():
        root.write(f"sys/fs/cgroup/{name}", text)
    return str(path)


def test_version_2_takes_the_tightest_limit_of_the_group_and_all_above_it(tmp_path: Path) -> None:
    root = str(golden_root("linux-5.15-cgroup2", tmp_path))
    limits = read_limits(find_memory_cgroup(root=root))
    assert (limits.name, limits.version) == ("/system.slice/websvc.slice/web.service", 2)
    assert limits.limit_bytes == 512 * MIB  # of the slice above; the service's own is 1 GiB
    assert limits.high_bytes == 384 * MIB
    assert limits.ceiling_bytes == 384 * MIB
    assert limits.request_bytes == 64 * MIB


def test_version_1_takes_the_limit_of_ancestors_that_a_container_cannot_see(tmp_path: Path) -> None:
    root = str(golden_root("linux-4.19-cgroup1", tmp_path))
    limits = read_limits(find_memory_cgroup(root=root))
    assert limits.version == 1
    assert limits.limit_bytes == 256 * MIB  # memory.stat's; the container's own is 512 MiB
    assert limits.high_bytes is None
    assert limits.ceiling_bytes == 256 * MIB
    assert limits.request_bytes == 128 * MIB


def test_a_hybrid_host_with_memory_on_version_1_is_read_there(tmp_path: Path) -> None:
    root = str(golden_root("linux-6.18-hybrid", tmp_path))
    group = find_memory_cgroup(10521, root=root)
    assert (group.name, group.version) == ("/server.slice/nginx.service", 1)
    limits = read_limits(group)
    assert limits.limit_bytes is limits.ceiling_bytes is limits.request_bytes is None


def test_a_hybrid_host_with_memory_on_version_2_is_read_there(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.write("proc/self/cgroup", "3:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/a\n")
    cpu = "33 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    root.write("proc/self/mountinfo", cpu + V2_MOUNT.replace("/cgroup rw", "/cgroup/unified rw"))
    root.write("sys/fs/cgroup/unified/a/memory.current", "4096\n")
    root.write("sys/fs/cgroup/unified/a/memory.max", "8192\n")
    group = find_memory_cgroup(root=str(tmp_path))
    assert (group.version, read_limits(group).limit_bytes) == (2, 8192)


def test_a_group_without_a_controller_is_charged_to_the_one_above(tmp_path: Path) -> None:
    files = {"a/memory.current": "1\n", "a/memory.max": "77\n", "a/b/c/cgroup.procs": "7\n"}
    group = find_memory_cgroup(7, root=v2_root(tmp_path, "/a/b/c", files))
    assert group.name == "/a"
    assert read_limits(group).limit_bytes == 77
    assert read_members(group) == {7}


def test_a_container_with_its_own_namespace_sees_itself_as_the_root(tmp_path: Path) -> None:
    files = {"memory.current": "1\n", "memory.max": "max\n", "memory.high": "99\n"}
    limits = read_limits(find_memory_cgroup(7, root=v2_root(tmp_path, "/", files)))
    assert (limits.name, limits.limit_bytes, limits.ceiling_bytes) == ("/", None, 99)


@pytest.mark.parametrize(
    ("group", "files", "reason"),
    [
        ("/", {"cgroup.procs": "7\n"}, "no memory is counted for the cgroup /"),
        ("/../../other", {"memory.current": "1\n"}, "cannot be seen"),
        ("/gone (deleted)", {"memory.current": "1\n"}, "cannot be seen"),
    ],
)
def test_a_group_that_cannot_be_read_says_why(
    tmp_path: Path, group: str, files: dict[str, str], reason: str
) -> None:
    with pytest.raises(MeasureError, match=reason):
        find_memory_cgroup(7, root=v2_root(tmp_path, group, files))


def test_a_hierarchy_that_is_not_mounted_says_so(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.write("proc/self/cgroup", "4:memory:/a\n0::/\n")
    root.write("proc/self/mountinfo", V2_MOUNT)
    with pytest.raises(MeasureError, match="version 1 is not mounted"):
        find_memory_cgroup(root=str(tmp_path))


def test_a_kernel_without_memory_cgroups_says_so(tmp_path: Path) -> None:
    FakeRoot(tmp_path).write("proc/self/cgroup", "3:cpu:/\n")
    with pytest.raises(MeasureError, match="this kernel has none"):
        find_memory_cgroup(root=str(tmp_path))


def test_mounts_are_read_with_their_root_and_escapes() -> None:
    text = "1 2 0:3 / /mnt/x\\040y rw - cgroup2 none rw\n4 2 8:1 / /home rw - ext4 /dev/cgroup rw\n"
    text += "5 2 0:9 /docker/ab /sys/fs/cgroup/memory ro master:1 - cgroup cgroup rw,memory\n"
    assert parse_cgroup_mounts(text) == [
        CgroupMount(2, "/", "/mnt/x y", frozenset({"rw"})),
        CgroupMount(1, "/docker/ab", "/sys/fs/cgroup/memory", frozenset({"rw", "memory"})),
    ]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n")))
def test_a_group_may_be_named_anything(name: str) -> None:
    """Colons, spaces and all but a newline stay in a group's path."""
    assert parse_proc_cgroup(f"4:cpu,memory:/{name}\n0::/") == {
        "cpu": f"/{name}",
        "memory": f"/{name}",
        "": "/",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("0\n", 0), ("4096", 4096), ("max\n", None), ("-1\n", None), ("9223372036854771712\n", None)],
)
def test_no_limit_is_none_in_each_versions_spelling(text: str, value: int | None) -> None:
    assert parse_amount(text, "memory.max") == value


@pytest.mark.parametrize("garbage", ["garbage", "12 kB", "-2", "\0"])
def test_garbage_is_refused_with_the_files_name(garbage: str) -> None:
    for parse in (parse_amount, parse_memory_stat, parse_proc_cgroup):
        with pytest.raises(MeasureError, match=r"^/x/memory\.y ") as caught:
            parse(garbage, "/x/memory.y")
        assert "\n" not in str(caught.value)


def test_the_charge_of_version_2_is_usage_less_inactive_file(tmp_path: Path) -> None:
    root = str(golden_root("linux-5.15-cgroup2", tmp_path))
    charge = read_charge(find_memory_cgroup(2301, root=root), root=root)
    assert charge.charge_bytes == 94371840 - 41943040
    assert (charge.tcp_counted, charge.tcp_bytes) == (True, 1216512)
    assert charge.kernel_bytes == 4194304 + 655360 + 1126400 + 57600  # 5.15 gives no sum
    assert charge.peak_bytes is None


def test_the_charge_of_version_1_adds_tcp_where_it_is_counted(tmp_path: Path) -> None:
    root = str(golden_root("linux-4.19-cgroup1", tmp_path))
    charge = read_charge(find_memory_cgroup(812, root=root), root=root)
    assert charge.charge_bytes == 54525952 - 20480000 + 90112
    assert (charge.tcp_counted, charge.tcp_bytes) == (True, 90112)
    assert (charge.kernel_bytes, charge.peak_bytes) == (4128768, 61865984)


def test_the_charge_of_version_1_without_a_tcp_limit_says_that_tcp_is_not_in_it(
    tmp_path: Path,
) -> None:
    root = str(golden_root("linux-6.18-hybrid", tmp_path))
    charge = read_charge(find_memory_cgroup(10520, root=root), root=root)
    assert charge.charge_bytes == 105791488 - 30486528
    assert (charge.tcp_counted, charge.tcp_bytes) == (False, None)


def test_the_charge_of_version_1_covers_the_groups_below(tmp_path: Path) -> None:
    """The cache taken off is that of the whole subtree, as the usage is."""
    root = FakeRoot(tmp_path)
    root.write("proc/7/cgroup", "4:memory:/a\n")
    root.write("proc/self/mountinfo", V1_MOUNT)
    root.write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "9000\n")
    stat = "rss 10\ninactive_file 100\ntotal_rss 70\ntotal_inactive_file 700\n"
    root.write("sys/fs/cgroup/memory/a/memory.stat", stat)
    charge = read_charge(find_memory_cgroup(7, root=str(tmp_path)))
    assert (charge.charge_bytes, charge.anon_bytes, charge.tcp_counted) == (8300, 70, False)


def test_a_kernel_told_not_to_count_sockets_is_believed(tmp_path: Path) -> None:
    files = {"a/memory.current": "9000\n", "a/memory.stat": "inactive_file 1000\nsock 0\n"}
    root = v2_root(tmp_path, "/a", files)
    group = find_memory_cgroup(7, root=root)
    assert read_charge(group, root=root).tcp_counted
    FakeRoot(tmp_path).write("proc/cmdline", "ro cgroup.memory=nokmem,nosocket quiet\n")
    assert not read_charge(group, root=root).tcp_counted


def test_a_charge_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    root = v2_root(tmp_path, "/a", {"a/memory.current": "9000\n"})
    group = find_memory_cgroup(7, root=root)
    with pytest.raises(MeasureError, match="cgroup /a cannot be read: No such file"):
        read_charge(group, root=root)
    Path(group.directory, "memory.current").write_text("max\n")
    with pytest.raises(MeasureError, match="says 'max'"):
        read_charge(group, root=root)


def test_a_groups_members_are_those_of_the_groups_below_too(tmp_path: Path) -> None:
    root = str(golden_root("linux-5.15-cgroup2", tmp_path))
    assert read_members(find_memory_cgroup(2301, root=root)) == {2301, 2400, 2500}


@pytest.mark.live
def test_this_machines_own_group_is_found_and_charged_for_this_process() -> None:
    """This process is a member of the group found for it, and its memory is in the charge."""
    try:
        group = find_memory_cgroup()
        read_charge(group)
    except MeasureError as reason:
        pytest.skip(f"no memory cgroup to be seen here: {reason}")
    assert os.getpid() in read_members(group)
    # Others may come and go in the group, but what this process takes now is charged to it.
    ballast = b"x" * (64 * MIB)
    charge = read_charge(group)
    assert charge.anon_bytes > len(ballast)
    assert charge.charge_bytes > len(ballast)
    assert charge.usage_bytes >= charge.inactive_file_bytes
    raw = "memory.limit_in_bytes" if group.version == 1 else "memory.max"
    own = parse_amount(read_text(f"{group.directory}/{raw}"), raw) if group.name != "/" else None
    limit = read_limits(group).limit_bytes
    assert own is None or (limit is not None and limit <= own)
