"""Roots for /proc and /sys that the tests read instead of the machine's own."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
KERNELS = ("linux-4.19-cgroup1", "linux-5.15-cgroup2", "linux-6.18-hybrid")
TCP_HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def golden_root(name: str, into: Path) -> Path:
    """Copy a golden tree and make the symbolic links that its processes' `links` files list."""
    root = into / name
    shutil.copytree(GOLDEN / name, root)
    for listing in root.glob("proc/*/links"):
        for line in listing.read_text().splitlines():
            link, _, target = line.partition(" -> ")
            path = listing.parent / link
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(target)
    return root


def tcp_row(
    local: str, state: str, inode: int, *, receive_queue: int = 0, remote: str = "0100007F:9C40"
) -> str:
    """Return a row of net/tcp; addresses as the kernel prints them, `0100007F:1F90`."""
    return (
        f"   0: {local} {remote} {state} 00000000:{receive_queue:08X} 00:00000000 00000000  "
        f"1000        0 {inode} 1 0000000000000000 20 4 30 10 -1\n"
    )


class FakeRoot:
    """A root that a test fills, process by process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("proc/self/mountinfo", "")

    def write(self, name: str, text: str) -> None:
        """Write one file below the root."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def process(
        self,
        pid: int,
        *,
        parent: int = 1,
        name: str = "server",
        state: str = "S",
        sockets: Iterable[int] = (),
        epolls: Mapping[int, Iterable[int]] | None = None,
        table: str = "",
        namespace: str = "net:[1]",
    ) -> None:
        """Add a process that holds sockets, from descriptor 3 on, and waits for some in epolls."""
        base = f"proc/{pid}"
        tail = " ".join(["0"] * 17)
        self.write(f"{base}/stat", f"{pid} ({name}) {state} {parent} {tail} {pid}00 0 0\n")
        self.write(
            f"{base}/status",
            f"Name:\t{name}\nState:\t{state} (sleeping)\nTgid:\t{pid}\nPid:\t{pid}\nThreads:\t1\n"
            "VmHWM:\t 300 kB\nVmRSS:\t 200 kB\nVmPTE:\t 20 kB\n",
        )
        self.write(f"{base}/smaps_rollup", "Rss:  200 kB\nPss:  100 kB\n")
        self.write(
            f"{base}/limits",
            f"{'Limit':<26}{'Soft Limit':<21}{'Hard Limit':<21}Units\n"
            f"{'Max open files':<26}{'1024':<21}{'4096':<21}files\n",
        )
        self.write(f"{base}/net/tcp", TCP_HEADER + table)
        links = {f"fd/{fd}": f"socket:[{inode}]" for fd, inode in enumerate(sockets, 3)}
        for fd, inodes in (epolls or {}).items():
            links[f"fd/{fd}"] = "anon_inode:[eventpoll]"
            lines = [
                f"tfd: {3:8d} events:       19 data: 0  pos:0 ino:{i:x} sdev:9" for i in inodes
            ]
            self.write(f"{base}/fdinfo/{fd}", "\n".join(["pos:\t0", *lines, ""]))
        links["ns/net"] = namespace
        for link, target in links.items():
            path = self.path / base / link
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(target)
        (self.path / base / "fd").mkdir(exist_ok=True)
