"""The proxy of a container as a process of its own: ``server.main``, with a socket in the run directory.

The sockets of the ports are those that the monitor of the container keeps: they are copied from it, and given to the
process, also to one that is started in the place of another. A connection that is made while there is none waits in
them.
"""

from __future__ import annotations

import _socket
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bento import command
from bento.attendants import Attendant, Unanswered, send
from bento.drivers.proxy.base import Proxied
from bento.errors import PortTaken
from bento.kernel.net import kept_ports
from bento.kernel.net import ports as host_ports
from bento.kernel.process import pidfd

_MODULE: Final = "bento.drivers.proxy.server.main"
_BACKLOG: Final = 4096  # the kernel takes the less of this and net.core.somaxconn

Sockets = dict[tuple[str, int], _socket.socket]


class Ended:
    """Implements ``Ending``."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """See ``Ending.fileno``."""
        return self._fd

    def finish(self, timeout_s: float) -> None:
        """See ``Ending.finish``."""
        pidfd.wait(self._fd, timeout_s)
        self.kill()

    def kill(self) -> None:
        """See ``Ending.kill``."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class ProxyProcesses:
    """Implements ``ProxyDriver``. Safe between processes; keeps nothing in memory."""

    def __init__(self, run_dir: Callable[[str], Path]) -> None:
        self._run_dir = run_dir

    def put(self, proxied: Proxied) -> None:
        """See ``ProxyDriver.put``."""
        process_fd = pidfd.open_verified(proxied.process)
        if process_fd is None:
            return
        try:
            with suppress(FileNotFoundError), self._locked(proxied.container_id):  # it has ended, and was cleaned up
                try:
                    self._of(proxied.container_id).say(("to", proxied.address))
                except Unanswered:
                    self._start(proxied, process_fd)
        finally:
            os.close(process_fd)

    def is_put(self, proxied: Proxied) -> bool:
        """See ``ProxyDriver.is_put``."""
        try:
            return not self._of(proxied.container_id).say(("at", proxied.address))
        except Unanswered:
            return False

    def begin_drain(self, proxied: Proxied) -> int | None:
        """See ``ProxyDriver.begin_drain``. Without a process, the sockets themselves are shut."""
        try:
            connection = self._of(proxied.container_id).reach()
        except Unanswered:
            with _kept(proxied) as sockets:
                for sock in (one for (protocol, _), one in sockets.items() if protocol == "tcp"):
                    with suppress(OSError):
                        sock.shutdown(_socket.SHUT_RD)
            return None
        try:
            send(connection, ("drain",))
        except Unanswered:  # it has just ended, and its connections with it
            os.close(connection)
            return None
        return connection

    def end(self, container_id: str) -> Ended | None:
        """See ``ProxyDriver.end``."""
        process = self._of(container_id)
        fd = process.kill()
        if fd is None and process.is_alive():  # it had not begun, and was not known by its socket yet
            fd = process.kill()
        return Ended(fd) if fd is not None else None

    # -- tools -------------------------------------------------------------------------------------

    def _of(self, container_id: str) -> Attendant:
        return Attendant(_MODULE, self._run_dir(container_id), "proxy", "the proxy of [::1]")

    @contextmanager
    def _locked(self, container_id: str) -> Iterator[None]:
        fd = os.open(self._run_dir(container_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _start(self, proxied: Proxied, process_fd: int) -> None:
        with _kept(proxied) as found:
            words, fds = [], []
            for port in proxied.ports:
                sock = found.get((port.protocol, port.host_port))
                if sock is None:  # the monitor was killed
                    sock = found[port.protocol, port.host_port] = _made_anew(proxied, port.protocol, port.host_port)
                if port.protocol == "tcp":
                    # What is left of its connections keeps no later run from the port.
                    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
                    sock.listen(_BACKLOG)
                fds.append(sock.fileno())
                words.append(f"{fds[-1]}:{port.container_port}")
            # "-": lest an address be taken for none
            arguments = (str(process_fd), f"-{proxied.address}", *words)
            self._of(proxied.container_id).start(arguments, (process_fd, *fds))


@contextmanager
def _kept(proxied: Proxied) -> Iterator[Sockets]:
    """Yield copies of what the monitor keeps. Raises KernelError."""
    found: Sockets = {}
    monitor_fd = pidfd.open_verified(proxied.monitor) if proxied.monitor else None
    try:
        if monitor_fd is not None and proxied.monitor is not None:
            with suppress(FileNotFoundError):  # it has ended since
                found = kept_ports.loopback_sockets(proxied.monitor.pid, monitor_fd)
        found = {key: _above_standard(sock) for key, sock in found.items()}
        yield found
    finally:
        if monitor_fd is not None:
            os.close(monitor_fd)
        for sock in found.values():
            sock.close()


def _above_standard(sock: _socket.socket) -> _socket.socket:
    return _socket.socket(fileno=command.above_standard(sock.detach()))


def _made_anew(proxied: Proxied, protocol: str, number: int) -> _socket.socket:
    try:
        return _socket.socket(fileno=command.above_standard(host_ports.reserve("::1", number, protocol)[0]))
    except OSError as error:
        port = next(one for one in proxied.ports if (one.protocol, one.host_port) == (protocol, number))
        holder = host_ports.holder(number, protocol)
        raise PortTaken(
            f"port {port.outside}/{protocol} is taken{f' by {holder}' if holder else ''}", port=port
        ) from error
