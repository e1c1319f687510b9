"""TCP sockets as /proc shows them: the tables of a network namespace, and who holds which.

The tables list the sockets of the namespace of the process whose /proc/PID/net is read; which
process holds a socket is told by the links in /proc/PID/fd, matched by inode; which loop waits
for it, by the targets of the epoll descriptors in /proc/PID/fdinfo.
"""

import os
import socket
import sys
from contextlib import suppress
from typing import Literal, NamedTuple

from memplan.errors import MeasureError
from memplan.profiler.procfs import GONE, in_root, lines_of, read_text

STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
    "0C": "NEW_SYN_RECV",
}


class TcpSocket(NamedTuple):
    """One row of /proc/PID/net/tcp or tcp6. Addresses stay in the kernel's hexadecimal.

    Attributes:
        local_address: 8 hexadecimal digits, 32 for IPv6, each word in the machine's byte order.
        local_port: Local port.
        remote_address: As `local_address`.
        remote_port: Remote port.
        state: `ESTABLISHED`, `LISTEN` and so on.
        send_queue_bytes: Bytes sent and not yet acknowledged.
        receive_queue: Bytes not yet read; of a listener, the connections not yet accepted.
        inode: The socket's inode; 0 for one that no process holds (TIME_WAIT, not yet accepted).
    """

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str
    send_queue_bytes: int
    receive_queue: int
    inode: int

    @property
    def is_wildcard(self) -> bool:
        """Whether the local address is 0.0.0.0 or [::]."""
        return not self.local_address.strip("0")


class Descriptors(NamedTuple):
    """What a process has open.

    Attributes:
        opened: How many descriptors of any kind.
        sockets: Socket inode by descriptor, of any family.
        epolls: For each epoll descriptor, the socket inodes that it waits for.
    """

    opened: int
    sockets: dict[int, int]
    epolls: dict[int, frozenset[int]]


def parse_tcp_table(text: str, source: str = "net/tcp") -> list[TcpSocket]:
    """Return the rows of /proc/PID/net/tcp or tcp6.

    Raises:
        MeasureError: The text is no such table.
    """
    lines = lines_of(text)
    if not lines or lines[0].split()[:2] != ["sl", "local_address"]:
        raise MeasureError(f"{source} is no table of sockets: it has no 'sl local_address' header")
    rows = []
    for line in lines[1:]:
        try:
            _, local, remote, state, queues, _, _, _, _, inode, *_ = line.split()
            local_address, local_port = local.split(":")
            remote_address, remote_port = remote.split(":")
            send_queue, receive_queue = queues.split(":")
            row = TcpSocket(
                local_address,
                int(local_port, 16),
                remote_address,
                int(remote_port, 16),
                STATES[state],
                int(send_queue, 16),
                int(receive_queue, 16),
                int(inode),
            )
        except (ValueError, KeyError):
            raise MeasureError(f"{source} has a row that is no socket: '{line.strip()}'") from None
        rows.append(row)
    return rows


def format_endpoint(
    address: str, port: int, byteorder: Literal["little", "big"] = sys.byteorder
) -> str:
    """Return `127.0.0.1:80` or `[::1]:80` for an address as the kernel prints it."""
    # The kernel prints each 32-bit word of the address as a number of the machine.
    packed = b"".join(
        int(address[at : at + 8], 16).to_bytes(4, byteorder) for at in range(0, len(address), 8)
    )
    if len(packed) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{port}"


def parse_socket_link(target: str) -> int | None:
    """Return the inode of a descriptor's link `socket:[123]`; None for one that is no socket."""
    inode = target.removeprefix("socket:[").removesuffix("]")
    return int(inode) if target.startswith("socket:[") and inode.isdecimal() else None


def parse_epoll_targets(text: str, source: str = "fdinfo") -> list[tuple[int, int | None]]:
    """Return the (descriptor, inode) pairs that an epoll waits for, from its fdinfo.

    The inode is None before Linux 4.13, which does not tell it.

    Raises:
        MeasureError: A target's inode is no number.
    """
    targets: list[tuple[int, int | None]] = []
    for line in lines_of(text):
        # The kernel pads some values after their colon: `tfd:        5 ... ino:1f3`.
        words = line.replace(":", ": ").split()
        fields = dict(zip(words[::2], words[1::2], strict=False))
        descriptor = fields.get("tfd:", "")
        if descriptor.isdecimal():
            inode = fields.get("ino:")
            try:
                targets.append((int(descriptor), int(inode, 16) if inode else None))
            except ValueError:
                raise MeasureError(
                    f"{source} has a target that is none: '{line.strip()}'"
                ) from None
    return targets


def read_descriptors(pid: int, *, root: str = "/") -> Descriptors:
    """Return what a process has open; descriptors closed meanwhile are left out.

    Raises:
        OSError: `GONE` where it has ended, PermissionError where its links may not be read.
    """
    directory = in_root(root, f"/proc/{pid}/fd")
    opened = 0
    sockets: dict[int, int] = {}
    polls = []
    for entry in os.listdir(directory):  # noqa: PTH208 - 100,000 names, no Path for each
        try:
            target = os.readlink(f"{directory}/{entry}")  # noqa: PTH115 - as above
        except FileNotFoundError:
            continue
        opened += 1
        inode = parse_socket_link(target)
        if inode is not None:
            sockets[int(entry)] = inode
        elif target == "anon_inode:[eventpoll]":
            polls.append(int(entry))
    epolls = {poll: _epoll_sockets(pid, poll, sockets, root) for poll in sorted(polls)}
    return Descriptors(opened, sockets, epolls)


def _epoll_sockets(pid: int, poll: int, sockets: dict[int, int], root: str) -> frozenset[int]:
    path = in_root(root, f"/proc/{pid}/fdinfo/{poll}")
    try:
        text = read_text(path)
    except GONE:
        return frozenset()
    held = set(sockets.values())
    inodes = (
        sockets.get(descriptor) if inode is None else inode
        for descriptor, inode in parse_epoll_targets(text, path)
    )
    return frozenset(inode for inode in inodes if inode in held)


def read_tcp_sockets(pid: int, *, root: str = "/") -> list[TcpSocket]:
    """Return the TCP sockets, IPv4 and IPv6, of the network namespace that a process is in.

    The tables are walked while they change: under churn a row can be missed or come twice, so
    a socket that a process holds is given once, by its inode.

    Raises:
        OSError: `GONE` where the process has ended.
        MeasureError: A table makes no sense.
    """
    rows = _read_table(pid, "tcp", root)
    with suppress(FileNotFoundError):  # IPv6 is not in this kernel, or disabled
        rows += _read_table(pid, "tcp6", root)
    seen: set[int] = set()
    once = []
    for row in rows:
        if row.inode not in seen:
            once.append(row)
        if row.inode:
            seen.add(row.inode)
    return once


def _read_table(pid: int, name: str, root: str) -> list[TcpSocket]:
    path = in_root(root, f"/proc/{pid}/net/{name}")
    return parse_tcp_table(read_text(path), path)


def read_network_namespace(pid: int, *, root: str = "/") -> str:
    """Return the name of a process's network namespace, `net:[4026531840]`; errors as above."""
    return os.readlink(in_root(root, f"/proc/{pid}/ns/net"))  # noqa: PTH115 - a name, no path
