"""Tables of sockets, descriptors and epolls are read right, and wrong ones are refused."""

from pathlib import Path

import pytest
from kernel_roots import GOLDEN, KERNELS, TCP_HEADER, FakeRoot, golden_root, tcp_row

from memplan.errors import MeasureError
from memplan.profiler.sockets import (
    format_endpoint,
    parse_epoll_targets,
    parse_socket_link,
    parse_tcp_table,
    read_descriptors,
    read_tcp_sockets,
)

LOCAL = "0100007F:1F90"


def test_a_row_is_read_field_by_field() -> None:
    text = (GOLDEN / "linux-4.19-cgroup1/proc/812/net/tcp").read_text()
    listening, first, *_, upstream = parse_tcp_table(text)
    assert (listening.state, listening.local_port, listening.inode) == ("LISTEN", 8080, 41001)
    assert listening.receive_queue == 2
    assert listening.is_wildcard
    assert (first.state, first.remote_port, first.inode) == ("ESTABLISHED", 0xD0A2, 41102)
    assert not first.is_wildcard
    assert upstream.local_port == 40000


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernels_tables_parse(kernel: str) -> None:
    """Each line but the header becomes a row, in IPv4 and in IPv6."""
    for file in (GOLDEN / kernel).glob("proc/*/net/tcp*"):
        text = file.read_text()
        assert len(parse_tcp_table(text, str(file))) == len(text.splitlines()) - 1


def test_endpoints_read_as_people_write_them_on_either_byte_order() -> None:
    assert format_endpoint("0100007F", 80, "little") == "127.0.0.1:80"
    assert format_endpoint("7F000001", 80, "big") == "127.0.0.1:80"
    assert format_endpoint("0" * 32, 443, "little") == "[::]:443"
    mapped = "0000000000000000FFFF00000201A8C0"
    assert format_endpoint(mapped, 1, "little") == "[::ffff:192.168.1.2]:1"
    assert format_endpoint("B80D0120000000000000000001000000", 1, "little") == "[2001:db8::1]:1"


@pytest.mark.parametrize(
    ("target", "inode"),
    [("socket:[41001]", 41001), ("socket:[]", None), ("pipe:[7]", None), ("/srv/socket:[1]", None)],
)
def test_only_a_sockets_link_has_a_sockets_inode(target: str, inode: int | None) -> None:
    assert parse_socket_link(target) == inode


def test_an_epoll_tells_descriptors_and_since_4_13_inodes() -> None:
    modern = "pos:\t0\nflags:\t02\nino:\t1038\n"
    modern += "tfd:       16 events: 80002019 data:     7f6a775e1790  pos:0 ino:5cb3 sdev:9\n"
    assert parse_epoll_targets(modern) == [(16, 0x5CB3)]
    assert parse_epoll_targets("pos:\t0\ntfd:        5 events:       19 data:   5\n") == [(5, None)]


def test_an_epoll_with_a_garbled_target_is_refused() -> None:
    with pytest.raises(MeasureError, match=r"^/proc/7/fdinfo/9 has a target that is none"):
        parse_epoll_targets("tfd: 16 events: 19 ino:zz sdev:9\n", "/proc/7/fdinfo/9")


def test_an_epoll_without_inodes_is_resolved_by_descriptor(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.process(7, sockets=[501, 502], epolls={9: []})
    root.write(
        "proc/7/fdinfo/9", "tfd:        4 events:       19 data:   4\ntfd:       99 events: 1\n"
    )
    assert read_descriptors(7, root=str(tmp_path)).epolls == {9: frozenset({502})}


def test_descriptors_of_all_kinds_are_counted_and_sockets_told_apart(tmp_path: Path) -> None:
    """A worker of nginx: 18 descriptors, its listener and connections in its epoll."""
    root = golden_root("linux-6.18-hybrid", tmp_path)
    seen = read_descriptors(10521, root=str(root))
    assert seen.opened == 18
    assert set(seen.sockets) == {4, 5, 6, 7, *range(10, 18)}
    assert seen.epolls.keys() == {8}
    assert 23601 in seen.epolls[8]
    assert 23602 not in seen.epolls[8]  # held, and the other worker's to accept from


def test_a_socket_that_a_moving_table_shows_twice_is_given_once(tmp_path: Path) -> None:
    table = tcp_row(LOCAL, "01", 801) * 2 + tcp_row(LOCAL, "06", 0) * 2
    FakeRoot(tmp_path).process(7, table=table)
    rows = read_tcp_sockets(7, root=str(tmp_path))
    assert [row.state for row in rows] == ["ESTABLISHED", "TIME_WAIT", "TIME_WAIT"]


def test_a_host_without_ipv6_has_one_table_less(tmp_path: Path) -> None:
    FakeRoot(tmp_path).process(7, table=tcp_row(LOCAL, "0A", 800))
    assert len(read_tcp_sockets(7, root=str(tmp_path))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage\n",
        TCP_HEADER + "1: 2 3\n",
        TCP_HEADER + tcp_row(LOCAL, "0F", 7),
        TCP_HEADER + tcp_row(LOCAL, "01", 7).replace("0100007F:1F90", "0100007F"),
        TCP_HEADER + tcp_row(LOCAL, "01", 7).replace(" 7 1 ", " x 1 "),
    ],
)
def test_garbage_is_refused_with_the_files_name(text: str) -> None:
    with pytest.raises(MeasureError, match=r"^/proc/7/net/tcp ") as caught:
        parse_tcp_table(text, "/proc/7/net/tcp")
    assert "\n" not in str(caught.value)
