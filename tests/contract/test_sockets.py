"""The sockets of a PID 1 that is held at its exit: what waits on them sees their end (S13a)."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from bento.drivers.processes.linux import LinuxProcesses
from bento.drivers.tracer.base import AtExit, Watched
from bento.kernel import sockets
from bento.model.container import ProcessIdentity, Run

from support.tracing import Program, Tracing

# A server whose client was accepted, and which ends when it gets a byte: by its leader, or by a worker after that.
SERVES = """
import ctypes, os, socket, sys, threading
server = socket.create_server(("127.0.0.1", 0))
pair = socket.socketpair()
print(server.getsockname()[1], flush=True)
client, _ = server.accept()
client.sendall(b"hello")
def serve():
    client.recv(1)
    os._exit(7)
if sys.argv[1] == "worker":
    threading.Thread(target=serve).start()
    ctypes.CDLL(None).syscall(60, 0)
serve()
"""


def at_exit(tracer: Tracing, program: Program) -> socket.socket:
    """Return a client of a program that is held at its exit."""
    client = socket.create_connection(("127.0.0.1", int(program.line())), 5)
    assert client.recv(5) == b"hello"
    tracer.watch(1, program.pid, program.start_ticks, hold_exit=True)
    assert tracer.wait_for(Watched).error == ""
    client.sendall(b"x")
    assert tracer.wait_for(AtExit).code == 7 << 8
    return client


@pytest.mark.parametrize("last", ["leader", "worker"])
def test_clients_see_the_end_whichever_thread_is_the_last(tracer, last):
    with Program.python(SERVES, last) as program, at_exit(tracer, program) as client:
        before = os.listdir("/proc/self/fd")
        assert sockets.shut_down_own(program.pidfd, program.pid, []) == 2
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(client.getpeername(), 5)
        assert len(os.listdir("/proc/self/fd")) == len(before)
        assert not program.has_ended()


def test_what_has_none_is_not_compared_with_others():
    def others() -> Iterator[int]:
        raise AssertionError("read")
        yield 0

    text = "import socket, time; pair = socket.socketpair(); print(flush=True); time.sleep(60)"
    with Program.python(text) as program:
        program.line()
        assert sockets.shut_down_own(program.pidfd, program.pid, others()) == 0


def test_a_pair_is_shut_down_where_that_is_asked_for():
    text = (
        "import socket, time; _, end = socket.socketpair(); print(flush=True)\n"
        "end.recv(1); print('end', flush=True); time.sleep(60)"
    )
    with Program.python(text) as program:
        program.line()
        assert sockets.shut_down_own(program.pidfd, program.pid, [], with_unnamed=True) == 2
        assert program.line() == "end"


def test_without_time_to_look_at_others_nothing_is_shut_down(tracer):
    with Program.python(SERVES, "leader") as program, at_exit(tracer, program) as client:
        assert sockets.shut_down_own(program.pidfd, program.pid, [1], limit_s=0) == 0
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


PAIRED = """
import ctypes, socket, sys, threading, time
one, other = socket.socketpair()
def tell():
    print(threading.get_native_id(), one.fileno(), flush=True)
    time.sleep(60)
threading.Thread(target=tell).start()
if sys.argv[1] == "worker": ctypes.CDLL(None).syscall(60, 0)
"""


@pytest.mark.parametrize("living", ["leader", "worker"])
def test_a_pair_is_known_by_a_thread_that_lives(living):
    with Program.python(PAIRED, living, own_namespace=False) as program:
        tid, fd = map(int, program.line().split())
        tid = tid if living == "worker" else program.pid
        assert sockets.is_pair(tid, fd, [program.pid])
        assert not sockets.is_pair(tid, fd, [])


def test_what_is_no_socket_is_no_pair_and_leaves_nothing_open():
    with open(os.devnull, "rb") as file:
        before = os.listdir("/proc/self/fd")
        assert not sockets.is_pair(os.getpid(), file.fileno(), [os.getpid()])
        assert os.listdir("/proc/self/fd") == before


# A server with a socket of its own, beside one that it has from outside.
SHARES = """
import socket, sys, time
own = socket.create_server(("127.0.0.1", 0))
print(own.getsockname()[1], flush=True)
time.sleep(60)
"""


def test_what_a_process_outside_the_container_has_too_is_not_shut_down():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Program([sys.executable, "-I", "-S", "-c", SHARES], stdin=server.fileno()) as program,  # so has unshare
    ):
        address = server.getsockname()
        server.close()
        own = ("127.0.0.1", int(program.line()))
        boot_id = LinuxProcesses().boot_id()
        run = Run(number=1, runtime="", init=ProcessIdentity(program.pid, program.start_ticks, boot_id))
        LinuxProcesses().shut_down_sockets(run, program.pidfd)
        socket.create_connection(address, 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(own, 5)


def test_what_we_have_too_is_not_shut_down():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Program([sys.executable, "-I", "-S", "-c", SHARES], stdin=server.fileno()) as program,
    ):
        program.line()
        assert sockets.shut_down_own(program.pidfd, program.pid, []) == 1
        socket.create_connection(server.getsockname(), 5).close()
