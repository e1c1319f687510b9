"""Connections are counted for the right process, once, and listeners for who accepts from them."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from memplan.profiler.listeners import Holder, Worker, first_holders, group_listeners
from memplan.profiler.sockets import Descriptors, TcpSocket

ANY, LOOPBACK, OTHER = "00000000", "0100007F", "0200007F"


def row(
    state: str, inode: int, *, local: str = LOOPBACK, port: int = 80, queue: int = 0
) -> TcpSocket:
    return TcpSocket(local, port, LOOPBACK, 40000, state, 0, queue, inode)


def holder(
    pid: int,
    sockets: Sequence[int],
    *,
    above: Sequence[int] = (),
    epolls: Mapping[int, Sequence[int]] | None = None,
    namespace: str = "net:[1]",
) -> Holder:
    loops = {epoll: frozenset(inodes) for epoll, inodes in (epolls or {}).items()}
    descriptors = Descriptors(len(sockets), dict(enumerate(sockets, 3)), loops)
    return Holder(pid, frozenset(above), namespace, descriptors)


def listening(*inodes: int, local: str = LOOPBACK, port: int = 80) -> list[TcpSocket]:
    return [row("LISTEN", inode, local=local, port=port) for inode in inodes]


def established(*inodes: int) -> list[TcpSocket]:
    return [row("ESTABLISHED", inode) for inode in inodes]


def test_workers_with_their_own_listeners_are_told_apart() -> None:
    holders = [holder(1, []), holder(2, [12, 22, 23], above=[1]), holder(3, [13, 24], above=[1])]
    table = listening(12, 13) + established(22, 23, 24)
    (group,) = group_listeners(holders, {"net:[1]": table})
    assert group.endpoint == "127.0.0.1:80"
    assert group.workers == (
        Worker(pid=2, epoll=None, listeners=1, connections=2, waiting=0),
        Worker(pid=3, epoll=None, listeners=1, connections=1, waiting=0),
    )
    assert (group.connections, group.listeners, group.is_reuseport) == (3, 2, True)


def test_an_epoll_tells_which_inherited_listener_a_worker_accepts_from() -> None:
    """As nginx does it: all hold all listeners, each waits for its own."""
    holders = [
        holder(1, [12, 13]),
        holder(2, [12, 13, 22], above=[1], epolls={9: [13, 22]}),
        holder(3, [12, 13], above=[1], epolls={9: [12]}),
    ]
    (group,) = group_listeners(holders, {"net:[1]": listening(12, 13) + established(22)})
    assert [(worker.pid, worker.connections) for worker in group.workers] == [(2, 1), (3, 0)]
    assert group.processes == (2, 3)


def test_inherited_listeners_that_nobody_polls_are_unclear() -> None:
    holders = [
        holder(1, [12, 13]),
        holder(2, [12, 13, 22], above=[1]),
        holder(3, [12, 13], above=[1]),
    ]
    (group,) = group_listeners(holders, {"net:[1]": listening(12, 13) + established(22)})
    assert (group.unclear, group.workers, group.connections) == (2, (), 1)


def test_a_master_that_keeps_its_workers_listeners_accepts_nothing() -> None:
    holders = [holder(1, [12, 13]), holder(2, [12], above=[1]), holder(3, [13], above=[1])]
    (group,) = group_listeners(holders, {"net:[1]": listening(12, 13)})
    assert [worker.pid for worker in group.workers] == [2, 3]


def test_a_parent_that_holds_connections_of_its_own_is_no_mere_master() -> None:
    holders = [holder(1, [12, 22]), holder(2, [12], above=[1])]
    (group,) = group_listeners(holders, {"net:[1]": listening(12) + established(22)})
    assert (group.processes, group.unclear) == ((1, 2), 1)


def test_a_worker_that_accepts_no_more_keeps_its_connections_and_is_not_compared() -> None:
    """As after a reload: the old worker serves out what it has, the new one has the listener."""
    holders = [
        holder(1, [12, 13]),
        holder(2, [12, 13, 21, 22], above=[1], epolls={9: [21, 22]}),
        holder(3, [12, 13, 23], above=[1], epolls={9: [12, 23]}),
        holder(4, [12, 13], above=[1], epolls={9: [13]}),
    ]
    (group,) = group_listeners(holders, {"net:[1]": listening(12, 13) + established(21, 22, 23)})
    assert group.connections == 3
    assert group.held_by == ((2, 2), (3, 1))
    assert [(worker.pid, worker.connections) for worker in group.workers] == [(3, 1), (4, 0)]


def test_a_shared_listener_has_no_worker_of_its_own() -> None:
    holders = [holder(1, [12]), holder(2, [12], above=[1]), holder(3, [12], above=[1])]
    (group,) = group_listeners(holders, {"net:[1]": listening(12)})
    assert (group.processes, group.workers, group.is_reuseport) == ((2, 3), (), False)


def test_a_connection_that_a_fork_shares_is_counted_once_for_the_elder() -> None:
    holders = [holder(1, [12, 22, 23]), holder(2, [22, 23, 24], above=[1])]
    table = listening(12) + established(22, 23, 24)
    (group,) = group_listeners(holders, {"net:[1]": table})
    assert group.connections == 3
    assert group.held_by == ((1, 2), (2, 1))


@given(
    st.lists(st.lists(st.integers(100, 140), max_size=30), min_size=1, max_size=6),
    st.lists(st.integers(100, 140), unique=True),
)
def test_counts_per_process_add_up_to_the_distinct_sockets(
    held: list[list[int]], open_now: list[int]
) -> None:
    """However sockets are shared, each established one held is counted exactly once."""
    holders = [holder(1, [12]), *(holder(pid, sockets) for pid, sockets in enumerate(held, 2))]
    table = listening(12) + established(*open_now)
    (group,) = group_listeners(holders, {"net:[1]": table})
    distinct = set(open_now) & {inode for sockets in held for inode in sockets}
    assert sum(count for _, count in group.held_by) == group.connections == len(distinct)
    assert set(first_holders(holders)) == {12, *(inode for sockets in held for inode in sockets)}


def test_only_accepted_connections_are_counted() -> None:
    """Not a connection out, nor one that another process holds, closes, or waits in a queue."""
    mine = holder(1, [12, 21, 22, 23, 24])
    table = [
        row("LISTEN", 12, queue=2),
        row("ESTABLISHED", 21),
        row("ESTABLISHED", 22, port=51000),  # to a server further up
        row("CLOSE_WAIT", 23),
        row("FIN_WAIT2", 24),
        row("ESTABLISHED", 31),  # of another process
        row("ESTABLISHED", 0),
        row("ESTABLISHED", 0),
        row("TIME_WAIT", 0),
    ]
    (group,) = group_listeners([mine], {"net:[1]": table})
    assert (group.connections, group.closing, group.waiting) == (1, 1, 2)


def test_a_connection_is_of_the_exact_endpoint_before_the_wildcard() -> None:
    mine = holder(1, [11, 12, 21, 22])
    table = listening(11, local=ANY) + listening(12, local=LOOPBACK)
    table += [row("ESTABLISHED", 21, local=LOOPBACK), row("ESTABLISHED", 22, local=OTHER)]
    groups = group_listeners([mine], {"net:[1]": table})
    assert {group.endpoint: group.connections for group in groups} == {
        "0.0.0.0:80": 1,
        "127.0.0.1:80": 1,
    }


def test_namespaces_are_kept_apart() -> None:
    """The same endpoint in two network namespaces is two groups."""
    holders = [holder(1, [11, 21]), holder(2, [12], namespace="net:[2]")]
    tables = {"net:[1]": listening(11) + established(21), "net:[2]": listening(12)}
    groups = group_listeners(holders, tables)
    assert [(group.listeners, group.connections) for group in groups] == [(1, 1), (1, 0)]


def test_listeners_of_others_on_the_endpoint_are_counted_apart() -> None:
    (group,) = group_listeners([holder(1, [11])], {"net:[1]": listening(11, 99)})
    assert (group.listeners, group.others, group.is_reuseport) == (1, 1, True)


def test_loops_of_one_process_are_workers_of_their_own() -> None:
    epolls = {7: [11, 21, 22], 8: [12, 23]}
    mine = holder(1, [11, 12, 21, 22, 23], epolls=epolls)
    (group,) = group_listeners(
        [mine], {"net:[1]": [row("LISTEN", 11, queue=3), *listening(12), *established(21, 22, 23)]}
    )
    assert group.workers == (
        Worker(pid=1, epoll=7, listeners=1, connections=2, waiting=3),
        Worker(pid=1, epoll=8, listeners=1, connections=1, waiting=0),
    )
    assert group.workers[0].label == "process 1, epoll 7"


def test_loops_that_hand_their_connections_on_are_not_told_apart() -> None:
    """Where accepted connections wait in another epoll, a loop's count says nothing."""
    mine = holder(1, [11, 12, 21, 22, 23], epolls={7: [11], 8: [12], 9: [21, 22, 23]})
    (group,) = group_listeners([mine], {"net:[1]": listening(11, 12) + established(21, 22, 23)})
    assert group.workers == (Worker(pid=1, epoll=None, listeners=2, connections=3, waiting=0),)


def test_an_epoll_that_two_descriptors_show_is_not_two_loops() -> None:
    mine = holder(1, [11, 12, 21], epolls={7: [11, 12, 21], 8: [11, 12, 21]})
    (group,) = group_listeners([mine], {"net:[1]": listening(11, 12) + established(21)})
    assert [worker.epoll for worker in group.workers] == [None]
