"""A network namespace that a test made, which is "the host" for the engine that runs in it, and a remote one beside it.

The machine's own network is never touched: links, rules and sysctls of a namespace go with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar

from bento.kernel import namespace

from support import procs
from support.cli import BentoCli, Roots

T = TypeVar("T")

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

    def join(self, other: Netns) -> None:
        """Make a wire to another one: 192.0.2.1 here, 192.0.2.2 there."""
        self("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", str(other.pid))
        for end, address in ((self, HERE), (other, REMOTE)):
            end("ip", "addr", "add", f"{address}/24", "dev", "wire")
            end("ip", "link", "set", "wire", "up")

    def state(self) -> str:
        """All links, addresses and rules."""
        return "\n".join([
            self("ip", "-o", "-4", "addr", "show"),
            *sorted(line.split(": ")[1].split("@")[0] for line in self("ip", "-o", "link", "show").splitlines()),
            self("nft", "list", "ruleset"),
        ])  # fmt: skip

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
