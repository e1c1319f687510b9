"""Running servers are read right: who holds which connections, what memory, what may not be read.

The servers are Debian's nginx and one from the standard library; both say themselves who accepted
what, so the counts read from /proc are checked against theirs.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from memplan.errors import MeasureError
from memplan.profiler.listeners import ListenerGroup
from memplan.profiler.live import read_live_server
from memplan.profiler.live_server import LiveServer

WORKERS = 4
PATIENCE_S = 10.0
READY: dict[str, Callable[[ListenerGroup], bool]] = {
    # The master tells the port before its last workers listen, and wait for their listeners.
    "own": lambda group: len(group.workers) == WORKERS,
    "inherited": lambda group: len(group.workers) == WORKERS,
    "steered": lambda group: len(group.workers) == WORKERS,
    "threads": lambda group: len(group.workers) == WORKERS,
    "polled": lambda group: group.listeners == WORKERS,
    "shared": lambda group: len(group.processes) == WORKERS,
    "stalled": lambda group: group.unclear == 1,
}
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
NGINX_CONF = """
worker_processes {workers}; daemon off; pid nginx.pid; error_log error.log; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{ listen 127.0.0.1:{port} {options}; location / {{ stub_status; }} }}
}}
"""


@contextmanager
def running(command: list[str], where: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a server in a session of its own, and end all of it."""
    server = subprocess.Popen(
        command, cwd=where, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


@contextmanager
def loopback_server(mode: str, where: Path) -> Iterator[tuple[int, int]]:
    """Run the standard library's server; yields its pid and port."""
    script = Path(__file__).with_name("loopback_server.py")
    command = [sys.executable, str(script), mode, str(WORKERS)]
    with running(command, where) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        wait_for(server.pid, lambda seen: READY[mode](seen.groups[0]))
        yield server.pid, port


@contextmanager
def nginx(options: str, where: Path) -> Iterator[tuple[int, int]]:
    """Run nginx with its workers; yields its master's pid and its port."""
    if NGINX is None:
        pytest.skip("nginx is not installed; `apt-get install nginx-light` makes this test run")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    conf = NGINX_CONF.format(workers=WORKERS, user=user, port=port, options=options)
    (where / "nginx.conf").write_text(conf)
    with running([NGINX, "-p", str(where), "-c", str(where / "nginx.conf")], where) as server:
        ready = READY["inherited" if options else "shared"]
        wait_for(server.pid, lambda seen: ready(seen.groups[0]))
        yield server.pid, port


def wait_for(pid: int, ready: Callable[[LiveServer], bool]) -> LiveServer:
    """Read a server until it is as expected, and return how it then stood."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            seen = read_live_server(pid)
            if ready(seen):
                return seen
            problem = seen.summary()
        except MeasureError as error:
            problem = str(error)
        assert time.monotonic() < deadline, problem
        time.sleep(0.02)


def connect(stack: ExitStack, port: int, count: int) -> list[socket.socket]:
    return [
        stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
        for _ in range(count)
    ]


def by_process(seen: LiveServer) -> Counter[int]:
    return Counter({process.pid: process.connections for process in seen.processes})


def by_psutil(seen: LiveServer, port: int) -> Counter[int]:
    """Count the accepted connections of each process as psutil sees them."""
    return Counter(
        {
            process.pid: sum(
                connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
                for connection in psutil.Process(process.pid).net_connections("tcp")
            )
            for process in seen.processes
        }
    )


def active_in_nginx(port: int) -> int:
    """Return the connections that nginx itself counts, less the one that asks."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
    found = re.search(rb"Active connections: (\d+)", answer)
    assert found
    return int(found[1]) - 1


@pytest.mark.live
def test_nginx_is_counted_exactly_as_connections_open_and_close(tmp_path: Path) -> None:
    """Opened, partly closed and opened again: /proc, nginx's own status and psutil agree."""
    with nginx("reuseport", tmp_path) as (pid, port), ExitStack() as stack:
        assert read_live_server(pid).connections == 0
        clients = connect(stack, port, 200)
        seen = wait_for(pid, lambda seen: seen.connections == 200 and not seen.waiting)
        assert active_in_nginx(port) == 200
        assert by_process(seen) == by_psutil(seen, port)
        assert by_process(seen)[pid] == 0  # the master holds none

        for client in clients[:120]:
            client.close()
        seen = wait_for(pid, lambda seen: seen.connections == 80)
        assert active_in_nginx(port) == 80
        wait_for(pid, lambda seen: seen.connections == 80)  # the one that asked is gone
        assert by_process(seen) == by_psutil(seen, port)

        connect(stack, port, 40)
        seen = wait_for(pid, lambda seen: seen.connections == 120 and not seen.waiting)
        assert sum(by_process(seen).values()) == 120
        (group,) = seen.groups
        assert group.endpoint == f"127.0.0.1:{port}"
        assert group.is_reuseport
        assert len(group.workers) == WORKERS == group.listeners
        assert [worker.connections for worker in group.workers] == [
            process.connections for process in seen.processes[1:]
        ]


@pytest.mark.live
def test_nginxs_own_spread_is_explained_by_the_hash(tmp_path: Path) -> None:
    """Each server's port draws the hash anew; of three servers at most one looks uneven.

    Each is called unexplained once in 1,000 times, two of three about three times in a million.
    """
    verdicts = []
    for attempt in range(3):
        where = tmp_path / str(attempt)
        where.mkdir()
        with nginx("reuseport", where) as (pid, port), ExitStack() as stack:
            connect(stack, port, 150)
            seen = wait_for(pid, lambda seen: seen.connections == 150 and not seen.waiting)
            verdicts.append(seen.imbalance.explained)
            assert seen.imbalance.degrees_of_freedom == WORKERS - 1
    assert None not in verdicts
    assert verdicts.count(False) <= 1


@pytest.mark.live
def test_nginx_without_reuseport_is_not_testable(tmp_path: Path) -> None:
    with nginx("", tmp_path) as (pid, port), ExitStack() as stack:
        connect(stack, port, 60)
        # A worker that shares a listener shows that it does once it waits for it.
        seen = wait_for(
            pid, lambda seen: seen.connections == 60 and len(seen.groups[0].processes) == WORKERS
        )
        assert by_process(seen) == by_psutil(seen, port)
        assert not seen.groups[0].is_reuseport
        assert seen.imbalance.explained is None
        assert f"{WORKERS} processes share one listener" in seen.imbalance.verdict


@pytest.mark.live
def test_nginxs_memory_is_that_of_its_whole_tree(tmp_path: Path) -> None:
    """PSS of master and workers agrees with psutil's, and RSS counts shared pages many times."""
    with nginx("reuseport", tmp_path) as (pid, _):
        seen = read_live_server(pid)
        each = [psutil.Process(process.pid).memory_full_info() for process in seen.processes]
        assert seen.pss_bytes == pytest.approx(sum(info.pss for info in each), rel=0.05)
        assert seen.rss_bytes == pytest.approx(sum(info.rss for info in each), rel=0.05)
        assert sum(process.memory.private_bytes for process in seen.processes) <= seen.pss_bytes
        assert seen.pss_bytes < seen.rss_bytes
        assert 0 < seen.page_table_bytes < seen.pss_bytes
        assert seen.threads == WORKERS + 1
        assert len({process.nofile_soft for process in seen.processes}) == 1
        assert all(process.descriptors > WORKERS for process in seen.processes)


@pytest.mark.live
def test_one_workers_pid_points_to_the_master(tmp_path: Path) -> None:
    with nginx("reuseport", tmp_path) as (pid, _):
        worker = read_live_server(pid).processes[1].pid
        seen = read_live_server(worker)
        assert len(seen.processes) == 1
        assert any(f"give {pid} for the whole server" in note for note in seen.notes)


@pytest.mark.live
@pytest.mark.parametrize("mode", ["own", "inherited", "threads"])
def test_workers_with_a_listener_each_are_counted_as_they_count_themselves(
    mode: str, tmp_path: Path
) -> None:
    """However the listeners came to the workers, each worker's count is what clients were told."""
    with loopback_server(mode, tmp_path) as (pid, port), ExitStack() as stack:
        clients = connect(stack, port, 160)
        told = Counter(client.recv(1)[0] for client in clients)
        seen = wait_for(pid, lambda seen: seen.connections == 160)
        counts = sorted(worker.connections for worker in seen.groups[0].workers)
        assert counts == sorted(told[i] for i in range(WORKERS))
        assert seen.imbalance.statistic == pytest.approx(
            sum((told[i] - 40) ** 2 / 40 for i in range(WORKERS))
        )
        for client in clients[:100]:
            client.close()
        seen = wait_for(pid, lambda seen: seen.connections == 60)
        assert sum(worker.connections for worker in seen.groups[0].workers) == 60


@pytest.mark.live
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("shared", "4 processes share one listener"),
        ("polled", "for 4 of 4 listeners it is not to be seen which of 4 processes"),
    ],
)
def test_what_cannot_be_told_apart_is_counted_and_not_judged(
    mode: str, reason: str, tmp_path: Path
) -> None:
    with loopback_server(mode, tmp_path) as (pid, port), ExitStack() as stack:
        clients = connect(stack, port, 80)
        told = Counter(client.recv(1)[0] for client in clients)
        seen = wait_for(
            pid, lambda seen: seen.connections == 80 and len(seen.groups[0].processes) == WORKERS
        )
        counts = sorted(process.connections for process in seen.processes[1:])
        assert counts == sorted(told[i] for i in range(WORKERS))
        assert seen.imbalance.explained is None
        assert reason in seen.imbalance.verdict


@pytest.mark.live
def test_clients_that_choose_their_worker_are_an_imbalance_that_the_hash_does_not_explain(
    tmp_path: Path,
) -> None:
    """Source ports are tried until 40 connections are on the first worker, the others closed."""
    with loopback_server("own", tmp_path) as (pid, port), ExitStack() as stack:
        kept = 0
        for _ in range(1000):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
            if client.recv(1)[0] == 0:
                kept += 1
            else:
                client.close()
            if kept == 40:
                break
        seen = wait_for(pid, lambda seen: seen.connections == 40)
        first = max(seen.processes, key=lambda process: process.connections)
        assert first.connections == 40
        assert seen.imbalance.explained is False
        assert f"process {first.pid} has 40 of 40" in seen.imbalance.verdict


@pytest.mark.live
def test_a_bpf_program_that_chooses_the_worker_is_found_out(tmp_path: Path) -> None:
    """Nothing of the host or the sockets shows the program; the counts do."""
    with loopback_server("steered", tmp_path) as (pid, port), ExitStack() as stack:
        connect(stack, port, 60)
        seen = wait_for(pid, lambda seen: seen.connections == 60)
        counts = sorted(worker.connections for worker in seen.groups[0].workers)
        assert counts == [0, 0, 0, 60]
        assert seen.imbalance.explained is False


@pytest.mark.live
def test_connections_that_nobody_accepts_are_seen_to_wait(tmp_path: Path) -> None:
    with loopback_server("stalled", tmp_path) as (pid, port), ExitStack() as stack:
        connect(stack, port, 80)
        seen = wait_for(pid, lambda seen: seen.connections + seen.waiting == 80)
        assert seen.waiting > 0
        assert any("wait to be accepted" in note for note in seen.notes)
        assert "for 1 of 4 listeners" in seen.imbalance.verdict


@pytest.mark.live
def test_a_process_of_another_user_may_not_be_read_and_the_error_says_what_is_needed(
    tmp_path: Path,
) -> None:
    """An unprivileged reader gets one line, not a traceback and not half a measurement."""
    if os.geteuid() != 0:
        with pytest.raises(MeasureError, match="may not be read: that needs root"):
            read_live_server(1)
        return
    # The rights are dropped after the imports: the interpreter may lie where only root can read.
    code = (
        "import os, sys\n"
        "from memplan.errors import MeasureError\n"
        "from memplan.profiler.live import read_live_server\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: read_live_server(int(sys.argv[1]))\n"
        "except MeasureError as error: print(error)\n"
    )
    with loopback_server("own", tmp_path) as (pid, _):
        command = [sys.executable, "-c", code, str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.stderr == ""
    assert shown.stdout.startswith(f"the memory (smaps_rollup) of process {pid} ('python")
    assert "may not be read: that needs root" in shown.stdout
    assert shown.stdout.count("\n") == 1


@pytest.mark.live
def test_a_process_that_listens_on_nothing_is_refused() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(
            MeasureError, match=rf"process {child.pid} \('sleep'\) listens on no TCP"
        ):
            read_live_server(child.pid)
    finally:
        child.kill()
        child.wait()
    with pytest.raises(MeasureError, match=f"there is no process {child.pid}: it has ended"):
        read_live_server(child.pid)


@pytest.mark.live
def test_an_ended_process_that_is_not_yet_reaped_is_refused() -> None:
    child = subprocess.Popen(["true"])
    try:
        deadline = time.monotonic() + PATIENCE_S
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(MeasureError, match="has ended, and only waits"):
            read_live_server(child.pid)
    finally:
        child.wait()
