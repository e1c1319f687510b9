"""A server's parts are put together right from files, and what cannot be read is said."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_roots import FakeRoot, golden_root, tcp_row

from memplan.errors import MeasureError, UsageError
from memplan.profiler import live
from memplan.profiler.live import read_live_server

ENDPOINT = "0100007F:1F90"  # 127.0.0.1:8080, as the kernel prints it


def test_the_golden_nginx_reads_as_it_stood(tmp_path: Path) -> None:
    """Linux 6.18: 2 workers with a listener each, 24 connections, charged with other processes."""
    seen = read_live_server(10520, root=str(golden_root("linux-6.18-hybrid", tmp_path)))
    assert [process.pid for process in seen.processes] == [10520, 10521, 10522]
    assert seen.connections == 24
    assert seen.listeners == 2
    (group,) = seen.groups
    assert [worker.connections for worker in group.workers] == [8, 16]
    assert seen.imbalance.explained
    assert seen.charge is not None
    assert seen.charge.is_the_servers
    assert not seen.charge.charge.tcp_counted
    assert any("does not count TCP's memory" in note for note in seen.notes)


def test_the_golden_threads_read_as_they_stood(tmp_path: Path) -> None:
    """Linux 5.15: one process, an epoll for each of two listeners on [::]:443."""
    seen = read_live_server(2301, root=str(golden_root("linux-5.15-cgroup2", tmp_path)))
    (group,) = seen.groups
    assert group.endpoint == "[::]:443"
    assert [(w.epoll, w.connections, w.waiting) for w in group.workers] == [(7, 8, 0), (8, 12, 1)]
    assert seen.processes[0].connections == seen.connections == 20
    assert (seen.processes[0].nofile_soft, seen.threads) == (65536, 3)
    assert seen.charge is not None
    assert (seen.charge.others, seen.charge.outside) == (2, 0)
    assert any("charged for 2 other processes" in note for note in seen.notes)


def test_the_golden_prefork_server_reads_as_it_stood(tmp_path: Path) -> None:
    """Linux 4.19: three processes share one listener; one connection is half closed, two wait."""
    seen = read_live_server(812, root=str(golden_root("linux-4.19-cgroup1", tmp_path)))
    assert [process.connections for process in seen.processes] == [0, 2, 1]
    (group,) = seen.groups
    assert (group.connections, group.waiting, group.closing) == (3, 2, 1)
    assert seen.pss_bytes == (1690 + 612 + 640) * 1024
    assert "2 processes share one listener" in seen.imbalance.verdict
    assert seen.charge is not None
    assert seen.charge.is_the_servers


def test_a_worker_that_ends_while_it_is_read_is_left_out_with_a_note(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    table = tcp_row(ENDPOINT, "0A", 11) + tcp_row(ENDPOINT, "01", 21)
    root.process(7, sockets=[11], table=table)
    root.process(8, parent=7, sockets=[11, 21], table=table)
    root.process(9, parent=7)
    (tmp_path / "proc/9/smaps_rollup").unlink()
    seen = read_live_server(7, root=str(tmp_path))
    assert [process.pid for process in seen.processes] == [7, 8]
    assert "1 processes ended while they were read, and are left out" in seen.notes
    assert seen.charge is None
    assert seen.charge_missing == "the process shows no cgroup"


def test_a_server_that_ends_or_is_replaced_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = FakeRoot(tmp_path)
    root.process(7, sockets=[11], table=tcp_row(ENDPOINT, "0A", 11))
    stat = tmp_path / "proc/7/stat"
    tables = live._read_tables

    def and_then(change: Callable[[], object]) -> None:
        def read(*args: object) -> object:
            change()
            return tables(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(live, "_read_tables", read)
        with pytest.raises(MeasureError, match="process 7 ended while it was read"):
            read_live_server(7, root=str(tmp_path))

    text = stat.read_text()
    and_then(lambda: stat.write_text(text.replace("700", "99900")))
    stat.write_text(text)
    and_then(stat.unlink)


def test_a_process_in_another_network_namespace_is_read_from_its_own_table(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.process(7, sockets=[11], table=tcp_row(ENDPOINT, "0A", 11))
    other = tcp_row(ENDPOINT, "0A", 12) + tcp_row(ENDPOINT, "01", 22)
    root.process(8, parent=7, sockets=[12, 22], table=other, namespace="net:[2]")
    seen = read_live_server(7, root=str(tmp_path))
    assert [(group.listeners, group.connections) for group in seen.groups] == [(1, 0), (1, 1)]


def test_a_thread_or_no_number_from_1_up_is_no_pid(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.process(7)
    root.write("proc/8/status", "Name:\tx\nTgid:\t7\nPid:\t8\nThreads:\t2\n")
    (tmp_path / "proc/8").rename(tmp_path / "proc/thread")
    (tmp_path / "proc/8").symlink_to("thread")
    with pytest.raises(UsageError, match="8 is a thread of process 7; give 7"):
        read_live_server(8, root=str(tmp_path))
    with pytest.raises(UsageError, match="from 1 up, not 0"):
        read_live_server(0)


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRoot(tmp_path).process(7, sockets=[11], table=tcp_row(ENDPOINT, "0A", 11))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for reader, what in (("read_memory", "memory"), ("read_descriptors", "descriptors")):
        with monkeypatch.context() as patch:
            patch.setattr(live, reader, refused)
            with pytest.raises(MeasureError, match=rf"^the {what} .* of process 7 \('server'\)"):
                read_live_server(7, root=str(tmp_path))


def test_the_figures_come_as_plain_values_and_as_text(tmp_path: Path) -> None:
    seen = read_live_server(10520, root=str(golden_root("linux-6.18-hybrid", tmp_path)))
    plain = seen.to_dict()
    assert plain["pss_bytes"] == sum(p["memory"]["pss_bytes"] for p in plain["processes"])
    assert plain["groups"][0]["workers"][1]["connections"] == 16
    assert plain["imbalance"]["explained"] is True
    text = seen.summary()
    assert text.startswith("nginx (process 10520): processes 3, threads 3, listeners 2\n")
    assert "connections 24, not yet accepted 0" in text
    assert "spread: the hash explains it" in text
