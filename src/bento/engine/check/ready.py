"""When a container counts as ready, and since when its PID 1 receives the stop signal.

The signal masks of a process change without an event, so PID 1 is looked at again and again. What tells that it is
ready is asked in between.
"""

from __future__ import annotations

import os
import select
import socket
from _queue import Empty, SimpleQueue
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento import clock
from bento.engine.check.inside import run_inside
from bento.engine.check.options import expression
from bento.engine.lifecycle import reconcile
from bento.engine.views import logs
from bento.errors import BentoError
from bento.model.container import Container, Run
from bento.model.health import HealthStatus
from bento.model.network import Port

if TYPE_CHECKING:
    from bento.drivers.processes.base import ProcessDriver
    from bento.engine.base.drivers import Drivers
    from bento.model.check import Readiness
    from bento.stop.process import Process

Probe = Callable[[], str]
"""Returns by what the container is ready; "" while it is not."""

_SOON_S: Final = 0.02
_LATER_S: Final = 0.1
_YOUNG_S: Final = 2.0
_ASK_S: Final = 0.25
_PORT_S: Final = 0.5
_BUSY_S: Final = 15.0
"""A program that is never quiet is taken as ready after so long."""


class NotReady(Exception):
    """It has ended, or was not ready in time: nothing can be judged."""


class Ready(Struct, frozen=True):
    """By what it was ready, how long after its start, and how long after that PID 1 received the signal for good."""

    how: str
    at_s: float
    received_s: float | None  # None: it does not


def wait_ready(drivers: Drivers, container: Container, asked: Readiness, number: int) -> Ready:
    """Block until a container that was started is ready. Raises NotReady, UsageError for a bad expression."""
    run = container.run
    if run is None or run.init is None:
        raise NotReady("it did not start")
    processes = drivers.processes_for(container)
    fd = processes.open(run.init)
    if fd is None:
        raise NotReady(_ended(drivers, container))
    quiet = Quiet(asked.quiet_s, run.started_boot_s)
    probe = _probe(drivers, container, asked)
    received_s: float | None = None
    try:
        while True:
            look = processes.look(run, number)
            age_s = clock.boot_s() - run.started_boot_s
            main = next((process for process in look if process.is_main), None)
            receives = main is not None and main.disposition.receives
            received_s = None if not receives else age_s if received_s is None else received_s
            how, at_s = (probe(), age_s) if probe is not None else quiet.ask(processes, run, look, age_s)
            if how and not processes.has_exited(fd):
                return Ready(how, at_s, received_s)
            if age_s > asked.timeout_s:
                raise NotReady(f"it was not ready within {asked.timeout_s:g} s{_said(drivers, container)}")
            if processes.wait(fd, _SOON_S if age_s < _YOUNG_S else _LATER_S):
                raise NotReady(_ended(drivers, container))
    finally:
        os.close(fd)


def _probe(drivers: Drivers, container: Container, asked: Readiness) -> Probe | None:
    """Return what is asked; None: whether it is quiet."""
    if asked.log:
        return _log_probe(drivers, container, asked.log)
    if asked.command:
        return _command_probe(drivers, container, asked.command, asked.timeout_s)
    if container.spec.health.is_checked:
        return _health_probe(drivers, container)
    ports = [port for port in container.run.ports if port.protocol == "tcp"] if container.run else []
    return _port_probe(ports[0]) if ports else None


class Quiet:
    """Whether no process has worked, or come or gone, for a while."""

    def __init__(self, quiet_s: float, started_boot_s: float) -> None:
        self._quiet_s, self._started_boot_s = quiet_s, started_boot_s
        self._before: dict[tuple[int, int], int] = {}
        self._since_s = 0.0

    def ask(self, processes: ProcessDriver, run: Run, look: tuple[Process, ...], age_s: float) -> tuple[str, float]:
        """Return by what it is ready, and since when; "" while it is not. A process that waits for a CPU is at work."""
        now = {process.key: process.cpu_ticks for process in look}
        if now != self._before:
            self._before, self._since_s = now, age_s
        if age_s - self._since_s >= self._quiet_s:
            examined = processes.examine(run, look) if run.shows_processes else ()
            busy = [one for one in examined if one.evidence and any(t.state in "RD" for t in one.evidence.threads)]
            if look and not busy:
                return f"quiet for {self._quiet_s:g} s", self._since_s
            self._since_s = age_s
        return ("still at work, which it may always be", age_s) if age_s >= _BUSY_S else ("", age_s)


def _log_probe(drivers: Drivers, container: Container, pattern: str) -> Probe:
    wanted = expression(pattern)
    found: SimpleQueue[bool] = SimpleQueue()
    lines = logs.logs(drivers, container, is_followed=True, tail=None, since=None, until=None)

    def follow(_: int) -> None:
        with suppress(BentoError, OSError):  # it ends with the container
            if any(wanted.search(line.text.rstrip(b"\n")) for line in lines):
                found.put(True)

    drivers.start_thread(follow, 0)

    def probe() -> str:
        try:
            found.get_nowait()
        except Empty:
            return ""
        return f"a line of its log matches {pattern!r}"

    return probe


def _command_probe(drivers: Drivers, container: Container, command: str, limit_s: float) -> Probe:
    last_s = 0.0

    def probe() -> str:
        nonlocal last_s
        if clock.mono_s() - last_s < _ASK_S:
            return ""
        last_s = clock.mono_s()
        asked = run_inside(drivers, container.id, command, limit_s)  # where it cannot be run, the caller sees why
        return f"{command!r} succeeded in it" if asked.exit_code == 0 else ""

    return probe


def _health_probe(drivers: Drivers, container: Container) -> Probe:
    def probe() -> str:
        now = reconcile.find(drivers, container.id)
        if now.health_status is HealthStatus.UNHEALTHY:
            raise NotReady(f"its health check says that it is unhealthy{_said(drivers, container)}")
        return "its health check" if now.health_status is HealthStatus.HEALTHY else ""

    return probe


def _port_probe(port: Port) -> Probe:
    def probe() -> str:
        return f"port {port.inside} answers" if answers(*reached_at(port)) else ""

    return probe


def reached_at(port: Port) -> tuple[str, int]:
    """Return where this host reaches a published port."""
    address = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(port.host_ip, port.host_ip)
    return address, port.host_port


def answers(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setblocking(False)
        one.connect_ex((address, port))
        _, writable, _ = select.select([], [one], [], _PORT_S)
        return bool(writable) and one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def _ended(drivers: Drivers, container: Container) -> str:
    now = reconcile.find(drivers, container.id)
    code = "" if now.exit_code is None else f" with exit code {now.exit_code}"
    return f"it ended by itself{code} before it was ready{_said(drivers, container)}"


def _said(drivers: Drivers, container: Container) -> str:
    """Return the last lines of its output, for an error."""
    with suppress(BentoError, OSError):
        lines = list(logs.logs(drivers, container, is_followed=False, tail=3, since=None, until=None))
        text = " / ".join(line.text.decode(errors="replace").strip() for line in lines)
        return f"; it said: {text}" if text else ""
    return ""
