"""A network namespace that a test made, which is "the host" for the engine that runs in it, and a remote one beside it.

The machine's own network is never touched: links, rules and sysctls of a namespace go with it.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bento.kernel import namespace

from support import procs
from support.cli import BentoCli, Roots
from support.workload import Share

T = TypeVar("T")

SERVER = """\
import os, signal, socket, sys, threading, time

def serve(connection):
    word = connection.recv(64)
    connection.sendall(b"begun\\n")
    while word == b"slow" and not os.path.exists("/s/finish"):
        time.sleep(0.01)
    connection.sendall(b"done " + connection.getpeername()[0].encode() + b"\\n")
    connection.close()

def accept():
    listener = socket.create_server(("", 80))
    print("ready", flush=True)
    while True:
        threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
        threads[-1].start()

def echo():
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", 80))
    while True:
        data, peer = datagrams.recvfrom(64)
        datagrams.sendto(b"echo " + data, peer)

threads = []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Thread(target=echo).start()
threading.Thread(target=accept).start()
signal.sigwait([signal.SIGTERM])
print("told", flush=True)
for thread in threads:
    thread.join()
os._exit(0)
"""
"""It goes on listening while it shuts down: a connection that is refused then was refused by Bento."""

HERE, REMOTE = "192.0.2.1", "192.0.2.2"
TIMEOUT_S = 20.0


class Netns:
    """A namespace kept by a process that sleeps. Close it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(["unshare", "-n", "sleep", "3600"], stdin=subprocess.DEVNULL)
        own = os.readlink("/proc/self/ns/net")
        procs.wait_until(lambda: self._is_apart(own), timeout_s=TIMEOUT_S, what="a network namespace of its own")
        self.fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        self("ip", "link", "set", "lo", "up")

    def _is_apart(self, own: str) -> bool:
        with open(f"/proc/{self.pid}/comm", encoding="ascii") as file:
            return file.read() == "sleep\n" and os.readlink(f"/proc/{self.pid}/ns/net") != own

    @property
    def pid(self) -> int:
        return self._keeper.pid

    @property
    def enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def __call__(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run([*self.enter, *argv], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def inside(self, fn: Callable[[], T]) -> T:
        """Run ``fn`` in it. A socket that is made there stays there."""
        return namespace.in_network(self.fd, fn)

    def connect(self, host: str, port: int) -> socket.socket:
        return self.inside(lambda: socket.create_connection((host, port), TIMEOUT_S))

    def listen(self, host: str, port: int = 0) -> socket.socket:
        return self.inside(lambda: socket.create_server((host, port)))

    def is_refused(self, host: str, port: int) -> bool:
        try:
            self.connect(host, port).close()
        except ConnectionRefusedError:
            return True
        return False

    def join(self, other: Netns, wire: str = "wire", here: str = HERE, there: str = REMOTE) -> None:
        """Make a wire to another one: 192.0.2.1 here, 192.0.2.2 there."""
        self("ip", "link", "add", wire, "type", "veth", "peer", "name", wire, "netns", str(other.pid))
        for end, address in ((self, here), (other, there)):
            end("ip", "addr", "add", f"{address}/24", "dev", wire)
            end("ip", "link", "set", wire, "up")

    def is_shut(self, host: str, port: int, probe: Callable[[], object]) -> bool:
        """Whether nothing there answers or refuses by the time that ``probe`` has its answer by the same wire."""

        def act() -> socket.socket:
            made = socket.socket()
            made.setblocking(False)
            made.connect_ex((host, port))
            return made

        with self.inside(act) as waiting:
            probe()
            return not select.select([], [waiting], [], 0)[1]

    def setting(self, name: str, value: str = "") -> str:
        """Return a setting of the kernel, such as ``ipv4/ip_forward``; set it to ``value`` first, if that is given."""
        path = Path("/proc/sys/net") / name

        def act() -> str:
            if value:
                path.write_text(value, encoding="ascii")
            return path.read_text(encoding="ascii").strip()

        return self.inside(act)

    def state(self) -> str:
        """All links, addresses and rules, and whether packets are forwarded."""
        return "\n".join([
            self("ip", "-o", "-4", "addr", "show"),
            *sorted(line.split(": ")[1].split("@")[0] for line in self("ip", "-o", "link", "show").splitlines()),
            self("nft", "list", "ruleset"),
            f"ip_forward {self.setting('ipv4/ip_forward')}",
        ])  # fmt: skip

    def pairs(self) -> list[str]:
        """Return the links whose other ends are in containers."""
        found = [line.split(": ")[1].split("@")[0] for line in self("ip", "-o", "link", "show").splitlines()]
        return [name for name in found if name.startswith("b") and not name.startswith("bento") and "-" not in name]

    def close(self) -> None:
        os.close(self.fd)
        self._keeper.kill()
        self._keeper.wait()


class NetCli(BentoCli):
    """The command line, run where this namespace is the host's network."""

    def __init__(self, roots: Roots, runtime: str, host: Netns) -> None:
        super().__init__(roots, runtime)
        self.host = host

    @property
    def prefix(self) -> list[str]:
        return [*self.host.enter, *super().prefix]

    def port(self, name: str, inside: str = "80") -> int:
        return int(self("port", name, inside).stdout.rpartition(":")[2])

    def network(self, name: str) -> dict[str, Any]:
        settings: dict[str, Any] = self.inspect(name)["NetworkSettings"]
        return settings


def serve(bento: NetCli, share: Share, *flags: str, name: str = "web") -> str:
    """Run the server; return the container's id when it is ready."""
    script = share.script("server.py", SERVER)
    identifier = bento.run("--name", name, *share.flags, *flags, "host", "python3", script)
    bento.wait_for_log(name, "ready")
    return identifier


def ask(connection: socket.socket, word: bytes = b"quick") -> str:
    """Send a word; return all that comes."""
    connection.sendall(word)
    return rest_of(connection)


def rest_of(connection: socket.socket) -> str:
    with connection, connection.makefile("rb") as stream:
        return stream.read().decode()


def quick(host: Netns, where: str, port: int) -> str:
    """Return the address that the server sees."""
    return ask(host.connect(where, port)).split()[-1]
