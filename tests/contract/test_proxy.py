"""The proxy of [::1] against real sockets, with a network namespace in the place of a container."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento import packets
from bento.drivers.network.reserving import reserve
from bento.drivers.proxy.base import Proxied
from bento.drivers.proxy.process import ProxyProcesses
from bento.errors import PortTaken
from bento.kernel.process import pidfd
from bento.model.container import ProcessIdentity
from bento.model.network import Port

from support import procs
from support.netns import REMOTE, TIMEOUT_S, Netns

HERE, OWN6 = "::1", "fd00:2::2"
MANY, SEVERAL = 150, 300  # connections, ports
LARGE = os.urandom(1 << 20) * 8
MEMORY_KIB = 16384


def identity(pid: int) -> ProcessIdentity:
    fd, found = pidfd.identify(pid)
    os.close(fd)
    return found


class World:
    """A host, a container beside it, and the proxy between. This process is the monitor that keeps the ports."""

    def __init__(self, run_dir: Path) -> None:
        self.host, self.container = Netns(), Netns()
        self.host.join(self.container)
        self.host("ip", "addr", "add", f"{OWN6}/64", "dev", "wire", "nodad")
        self.run_dir = run_dir
        self.driver = ProxyProcesses(lambda _: run_dir)
        self.fds: list[int] = []
        self.one: Proxied | None = None

    def publish(self, *ports: Port) -> tuple[Port, ...]:
        """Return the ports with those of the host."""
        reservation = self.host.inside(lambda: reserve(ports))
        self.fds += reservation.fds
        self.one = Proxied(
            container_id="c" * 64,
            process=identity(self.container.pid),
            monitor=identity(os.getpid()),
            address=REMOTE,
            ports=reservation.ports,
        )
        self.put()
        return reservation.ports

    def put(self, **changes: object) -> None:
        assert self.one is not None
        self.one = one = replace(self.one, **changes)
        self.host.inside(lambda: self.driver.put(one))

    def is_put(self) -> bool:
        return self.one is not None and self.driver.is_put(self.one)

    def process(self) -> int:
        """Return a pidfd of the proxy."""
        assert self.is_put()
        connection = packets.connect(self.run_dir, "proxy")
        fd = os.pidfd_open(packets.peer_pid(connection))
        os.close(connection)
        return fd

    def pid(self) -> int:
        connection = packets.connect(self.run_dir, "proxy")
        try:
            return packets.peer_pid(connection)
        finally:
            os.close(connection)

    def close(self) -> None:
        fd = self.process() if self.is_put() else None
        self.container.close()
        for each in self.fds:
            os.close(each)
        if fd is not None:
            assert pidfd.wait(fd, TIMEOUT_S), "the proxy outlives its container"
            os.close(fd)
        self.host.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@contextmanager
def serve(world: World, act: Callable[[socket.socket], None]) -> Iterator[None]:
    """Have each connection to port 80 of the container handled in a thread of its own."""
    listener = world.container.listen("", 80)

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=act, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # only then closed: its number is soon another one's
        thread.join(TIMEOUT_S)
        listener.close()


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)
        connection.sendall(b"end")


def received(connection: socket.socket) -> bytes:
    found = b""
    while data := connection.recv(1 << 16):
        found += data
    return found


def test_all_that_is_said_and_each_end_of_it_is_passed_on_by_many_connections_in_little_memory(world):
    (port,) = world.publish(Port(container_port=80, host_ip=HERE))
    with serve(world, echo):
        clients = [world.host.connect(HERE, port.host_port) for _ in range(MANY)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        for number, client in enumerate(clients):
            client.shutdown(socket.SHUT_WR)
            assert received(client) == b"%dend" % number
            client.close()
        with world.host.connect(HERE, port.host_port) as client:
            sender = threading.Thread(target=lambda: (client.sendall(LARGE), client.shutdown(socket.SHUT_WR)))
            sender.start()  # the other end is not read meanwhile: nothing may be lost, and nothing heaped up
            select.select([client], [], [], TIMEOUT_S)
            got = received(client)
            sender.join()
        assert hashlib.sha256(got[:-3]).digest() == hashlib.sha256(LARGE).digest()
        assert got.endswith(b"end")
        resident = next(line for line in _status(world.pid()) if line.startswith("VmHWM:"))
        assert int(resident.split()[1]) < MEMORY_KIB


def test_the_container_may_end_its_side_first_and_what_it_refuses_is_reset(world):
    first, second = world.publish(Port(container_port=80, host_ip=HERE), Port(container_port=81, host_ip=HERE))
    got: list[bytes] = []
    is_read = threading.Event()

    def act(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            got.append(received(connection))
            is_read.set()

    with serve(world, act), world.host.connect(HERE, first.host_port) as client:
        assert received(client) == b"bye"
        client.sendall(b"and still")
        client.shutdown(socket.SHUT_WR)
        assert is_read.wait(TIMEOUT_S)
        assert got == [b"and still"]
    with pytest.raises(ConnectionResetError), world.host.connect(HERE, second.host_port) as client:
        client.recv(1)


def test_datagrams_of_each_client_are_answered_to_that_one(world):
    (port,) = world.publish(Port(container_port=53, host_ip=HERE, protocol="udp"))
    server = world.container.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    clients = [world.host.inside(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(3)]
    try:
        server.bind(("", 53))
        for number, client in enumerate(clients):
            client.settimeout(TIMEOUT_S)
            client.connect((HERE, port.host_port))
            client.send(b"%d" % number)
        server.settimeout(TIMEOUT_S)
        for data, peer in [server.recvfrom(64) for _ in clients]:
            server.sendto(b"to " + data, peer)
        assert [client.recv(64) for client in clients] == [b"to 0", b"to 1", b"to 2"]
        assert world.one is not None
        fd = world.driver.begin_drain(world.one)
        assert fd is not None
        assert os.read(fd, 64) == b"ok"
        os.close(fd)
        late = world.host.inside(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        with late:
            late.connect((HERE, port.host_port))
            late.send(b"late")
            clients[0].send(b"again")
            assert server.recvfrom(64)[0] == b"again"
    finally:
        for each in (server, *clients):
            each.close()


@pytest.mark.parametrize("word", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_was_ended_or_stopped_is_replaced_and_what_came_meanwhile_waits(world, word):
    (port,) = world.publish(Port(container_port=80, host_ip=HERE))
    fd = world.process()
    signal.pidfd_send_signal(fd, word)
    if word == signal.SIGKILL:
        assert pidfd.wait(fd, TIMEOUT_S)
    else:
        procs.wait_until(lambda: "T" in _state(world.pid()), timeout_s=TIMEOUT_S, what="a process that stands still")
    with serve(world, echo), world.host.connect(HERE, port.host_port) as client:
        if word == signal.SIGKILL:
            assert not select.select([client], [], [], 0)[0]
        world.put()
        world.put()
        assert pidfd.wait(fd, TIMEOUT_S)
        os.close(fd)
        client.close()
        with world.host.connect(HERE, port.host_port) as again:
            again.shutdown(socket.SHUT_WR)
            assert received(again) == b"end"


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_drain_lets_what_is_under_way_go_on_and_refuses_what_is_new(world, is_killed):
    (port,) = world.publish(Port(container_port=80, host_ip=HERE))
    with serve(world, echo):
        before = world.host.connect(HERE, port.host_port)
        before.sendall(b"a")
        assert before.recv(1) == b"a"
        if is_killed:
            fd = world.process()
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            assert pidfd.wait(fd, TIMEOUT_S)
            os.close(fd)
        assert world.one is not None
        drained = world.driver.begin_drain(world.one)
        assert (drained is None) == is_killed
        if drained is not None:
            assert os.read(drained, 64) == b"ok"
            os.close(drained)
            before.sendall(b"b")
            before.shutdown(socket.SHUT_WR)
            assert received(before) == b"bend"
        before.close()
        assert world.host.is_refused(HERE, port.host_port)


def test_it_follows_a_container_to_another_address_and_resets_what_leads_nowhere(world):
    (port,) = world.publish(Port(container_port=80, host_ip=HERE))
    fd = world.process()
    world.container("ip", "addr", "add", "192.0.2.3/24", "dev", "wire")
    with world.container.listen("192.0.2.3", 80) as listener:
        assert world.one is not None
        assert not world.driver.is_put(replace(world.one, address="192.0.2.3"))
        world.put(address="192.0.2.3")
        with world.host.connect(HERE, port.host_port), listener.accept()[0]:
            pass
        world.put(address="")
        with pytest.raises(ConnectionResetError), world.host.connect(HERE, port.host_port) as client:
            client.recv(1)
    assert not pidfd.has_exited(fd), "it was not told, but replaced"
    os.close(fd)


def test_it_ends_with_the_container_and_passes_on_its_last_words(world):
    (port,) = world.publish(Port(container_port=80, host_ip=HERE))
    with world.container.listen("", 80) as listener, world.host.connect(HERE, port.host_port) as client:
        accepted = listener.accept()[0]
        accepted.sendall(b"last words")
        fd = world.process()
        accepted.close()
        world.container._keeper.kill()
        assert pidfd.wait(fd, TIMEOUT_S)
        os.close(fd)
        assert received(client) == b"last words"
    world.put()  # of one that has ended
    assert not world.is_put()


def test_it_has_no_rights_and_is_in_no_namespace_of_the_containers(world):
    world.publish(Port(container_port=80, host_ip=HERE))
    os.close(world.process())
    pid = world.pid()
    lines = dict(line.split(":\t", 1) for line in _status(pid) if ":\t" in line)
    assert lines["Uid"].split() == ["65534"] * 4
    assert {int(lines[key], 16) for key in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    own = f"/proc/{world.host.pid}/ns/net"
    assert os.readlink(f"/proc/{pid}/ns/net") == os.readlink(own)
    kinds = {os.readlink(f"/proc/{pid}/fd/{fd}").partition("[")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert kinds == {"/dev/null", "socket:", "anon_inode:"}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_port_may_be_published_on_every_address_and_on_the_loopback(world, is_first):
    where = ("::", HERE) if is_first else (HERE, "::")
    wanted = [
        Port(container_port=80, host_port=8080, host_ip=one, protocol=kind) for kind in ("tcp", "udp") for one in where
    ]
    for _ in range(2):
        world.publish(*wanted)
        with serve(world, echo), world.host.connect(HERE, 8080) as client:
            client.shutdown(socket.SHUT_WR)
            assert received(client) == b"end"
        for one in ("::", HERE, OWN6):
            with pytest.raises(PortTaken):
                world.host.inside(lambda one=one: reserve([Port(container_port=80, host_port=8080, host_ip=one)]))
        ending = world.driver.end("")
        assert ending is not None
        ending.finish(TIMEOUT_S)
        while world.fds:
            os.close(world.fds.pop())


def test_many_ports_that_lie_in_one_socket_are_found_again_and_one_without_a_monitor_is_made_anew(world):
    wanted = [Port(container_port=1000 + n, host_port=20000 + n, host_ip=HERE) for n in range(SEVERAL)]
    world.publish(*wanted)
    assert len(world.fds) == 1
    for _ in range(2):
        listener = world.container.listen("", 1000 + SEVERAL - 1)
        with listener, world.host.connect(HERE, 20000 + SEVERAL - 1), listener.accept()[0]:
            pass
        fd = world.process()
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        assert pidfd.wait(fd, TIMEOUT_S)
        os.close(fd)
        world.put()
    ending = world.driver.end("")
    assert ending is not None
    ending.finish(TIMEOUT_S)
    with pytest.raises(PortTaken, match=r"port \[::1\]:20000/tcp is taken"):
        world.put(monitor=None)
    os.close(world.fds.pop())
    world.put(monitor=None, ports=tuple(wanted[:2]))
    assert world.is_put()


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()


def _state(pid: int) -> str:
    return next(line for line in _status(pid) if line.startswith("State:"))
