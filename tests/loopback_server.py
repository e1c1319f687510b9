"""A small server of several workers on 127.0.0.1, from the standard library alone.

It tells each client which worker accepted it, so that the counts read from /proc are checked
against what the server itself says. Run as `loopback_server.py MODE WORKERS`; it prints its port,
and serves until it is killed.

Modes:
    own: each worker is a process that opens its own SO_REUSEPORT listener.
    inherited: the master opens all listeners, each worker inherits all and waits for its own.
    polled: as inherited, with poll() instead of epoll, so that nothing shows who waits for which.
    shared: all workers accept from one listener.
    threads: one process, each worker a thread with its own listener and loop.
    steered: as inherited, with a BPF program that gives every connection to the first worker.
    stalled: as inherited, but the first worker never accepts.
"""

import ctypes
import os
import selectors
import socket
import struct
import sys
import threading
import time
from typing import cast

SO_ATTACH_REUSEPORT_CBPF = 51
BPF_RET_K = 0x06
"""The classic BPF instruction that returns a constant: here the first listener's index."""


def listener(port: int = 0) -> socket.socket:
    """Return a listening socket that others may join on its port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    sock.setblocking(False)
    return sock


def steer_to_first(sock: socket.socket) -> None:
    """Make the listener's group hand every connection to its first member."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RET_K, 0, 0, 0))
    fprog = struct.pack("HL", 1, ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, fprog)


def serve(sock: socket.socket, worker: int, selector: selectors.BaseSelector) -> None:
    """Accept, say which worker did, and hold each connection until its client closes it."""
    selector.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            ready = cast("socket.socket", key.fileobj)
            if ready is sock:
                try:
                    client, _ = sock.accept()
                except BlockingIOError:  # another worker of a shared listener was faster
                    continue
                selector.register(client, selectors.EVENT_READ)
                client.send(bytes([worker]))
            elif not ready.recv(4096):
                selector.unregister(ready)
                ready.close()


def main(mode: str, workers: int) -> None:
    """Start the workers, print the port, and wait to be killed."""
    first = listener()
    port = first.getsockname()[1]
    if mode in {"own", "shared"}:
        listeners = [first] * workers
    else:
        listeners = [first] + [listener(port) for _ in range(workers - 1)]
    if mode == "own":
        first.close()  # its port stays known; each worker binds it again
    if mode == "steered":
        steer_to_first(first)
    for worker, sock in enumerate(listeners):
        if mode == "threads":
            loop = (sock, worker, selectors.EpollSelector())
            threading.Thread(target=serve, args=loop, daemon=True).start()
        elif os.fork() == 0:
            if mode == "stalled" and worker == 0:
                time.sleep(3600)
            mine = listener(port) if mode == "own" else sock
            serve(
                mine,
                worker,
                selectors.PollSelector() if mode == "polled" else selectors.EpollSelector(),
            )
    print(port, flush=True)  # noqa: T201 - the tests read it
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
