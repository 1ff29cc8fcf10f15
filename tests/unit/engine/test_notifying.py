"""sd_notify: what systemd is told of a start, and what a program asks of its stop, on fake ones."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from bento import clock
from bento.drivers.monitor.base import Launched
from bento.engine.base.loop import Loop
from bento.engine.facade import EngineFacade
from bento.engine.health import presence
from bento.engine.resources.extending import LIMIT_S, Extensions, asked_s
from bento.engine.stop.request import StopOptions
from bento.errors import UsageError
from bento.files.smallfile import write_small
from bento.model.container import Container, HealthSettings
from bento.model.create import CreateOptions
from bento.model.health import Health, HealthStatus
from bento.model.image import Healthcheck
from bento.model.stop import StopReport, StopRequest
from bento.stop.inputs import DeadlineMoved
from bento.testing.drivers import FakeDrivers
from bento.units import NO_LIMIT

CHECK = HealthSettings(check=Healthcheck(test=("CMD", "x")))


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "n"))
        made.settimeout(30)
        yield made


def told(systemd: socket.socket) -> list[str]:
    """Everything that was told by now."""
    found = []
    systemd.setblocking(False)
    while True:
        try:
            found.append(systemd.recv(1000).decode())
        except BlockingIOError:
            return found


def start(drivers: FakeDrivers, mode: str, address: str = "", **more: Any) -> tuple[Container, int]:
    """Return the container, and the pid of its monitor."""
    engine = EngineFacade(drivers)
    made = engine.create(CreateOptions(image="host", command=("x",), sdnotify=mode, **more))
    main, monitor = drivers.processes.add("server"), drivers.processes.add("conmon")
    drivers.monitor.launched = Launched(init_pid=main.identity.pid, monitor_pid=monitor.identity.pid)
    engine.notify_by(address)
    return engine.start(made.id), monitor.identity.pid


def test_with_conmon_it_is_ready_once_it_is_started(drivers: FakeDrivers, systemd: socket.socket) -> None:
    _, pid = start(drivers, "conmon", systemd.getsockname())
    assert told(systemd) == [f"MAINPID={pid}", "READY=1"]
    assert drivers.monitor.launches[0].notify_socket == ""


def test_with_container_the_monitor_passes_it_on(drivers: FakeDrivers, systemd: socket.socket) -> None:
    made, pid = start(drivers, "container", systemd.getsockname())
    assert told(systemd) == [f"MAINPID={pid}"]
    assert drivers.monitor.launches[0].notify_socket == systemd.getsockname()
    assert (drivers.run_dir(made.id) / "notify").is_dir()


def test_with_healthy_it_is_ready_once_it_is_healthy(drivers: FakeDrivers, systemd: socket.socket) -> None:
    def become(container: Container) -> None:
        drivers.store.modify(container.id, lambda c: replace(c, health=Health(status=HealthStatus.HEALTHY)))
        write_small(presence.kept_file(drivers, container.id), b"x")

    seen: list[list[str]] = []

    def later() -> None:
        first = systemd.recv(1000).decode()
        seen.append([first, *told(systemd)])
        become(drivers.store.list()[0])

    keeper = threading.Thread(target=later)
    keeper.start()
    _, pid = start(drivers, "healthy", systemd.getsockname(), health=CHECK)
    keeper.join()
    assert seen == [[f"MAINPID={pid}"]]
    assert told(systemd) == ["READY=1"]


@pytest.mark.parametrize("mode", ["conmon", "container", "healthy", "ignore"])
def test_nothing_is_told_where_systemd_does_not_ask_or_is_to_be_ignored(
    drivers: FakeDrivers, systemd: socket.socket, mode: str
) -> None:
    start(drivers, mode, systemd.getsockname() if mode == "ignore" else "", health=CHECK)
    assert told(systemd) == []
    assert drivers.monitor.launches[0].notify_socket == ""


def test_healthy_needs_a_check(drivers: FakeDrivers) -> None:
    with pytest.raises(UsageError, match="--sdnotify healthy needs a health check"):
        start(drivers, "healthy")


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        (b"EXTEND_TIMEOUT_USEC=1500000", 1.5),
        (b"STATUS=x\nEXTEND_TIMEOUT_USEC=2000000\n", 2.0),
        (b"EXTEND_TIMEOUT_USEC=", None),
        (b"EXTEND_TIMEOUT_USEC=-1", None),
        (b"EXTEND_TIMEOUT_USEC=" + b"9" * 1000, None),
        (b"EXTEND_TIMEOUT_USEC=\xb2", None),
        (b"X_EXTEND_TIMEOUT_USEC=1", None),
        (b"\xff\x00", None),
        (b"", None),
    ],
)
def test_what_a_message_asks_for(message: bytes, seconds: float | None) -> None:
    assert asked_s(message) == seconds


def stop(drivers: FakeDrivers, messages: list[bytes], *, ends_s: float, grace_s: float = 0.3) -> StopReport:
    """Stop a program that asks for more time as it is told, and ends so much later."""
    container, main = drivers.server("w", sdnotify="container")
    directory = drivers.run_dir(container.id) / "notify"
    directory.mkdir()
    timers = [threading.Timer(ends_s, main.on_signal, (15,))]

    def ask(number: int) -> None:
        at = os.open(directory, os.O_PATH)  # a path of a socket has 107 bytes at most
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.connect(f"/proc/self/fd/{at}/notify.sock")
            for message in messages:
                asking.send(message)
        os.close(at)
        timers[0].start()

    main.on_signal = ask
    report = EngineFacade(drivers).stop("w", StopOptions(grace_s=grace_s, last_call_s=0.0))
    timers[0].cancel()
    timers[0].join()
    assert report is not None
    return report


def test_s05_a_program_that_asks_for_more_time_has_it(drivers: FakeDrivers) -> None:
    report = stop(drivers, [b"\xff", b"EXTEND_TIMEOUT_USEC=600000000"], ends_s=0.8)
    assert report.verdict.value == "graceful"
    assert report.duration_s > 0.5


@pytest.mark.parametrize("messages", [[], [b"EXTEND_TIMEOUT_USEC=1"], [b"READY=1"]])
def test_s05_without_that_it_has_the_grace(drivers: FakeDrivers, messages: list[bytes]) -> None:
    assert stop(drivers, messages, ends_s=600).verdict.value == "killed"


def test_s07_where_nothing_ends_a_stop_there_is_nothing_to_lengthen(drivers: FakeDrivers) -> None:
    assert stop(drivers, [b"EXTEND_TIMEOUT_USEC=1"], ends_s=0.1, grace_s=NO_LIMIT).verdict.value == "graceful"


def test_s05_more_time_ends_somewhere_and_is_never_less(tmp_path: Path) -> None:
    (tmp_path / "notify").mkdir()
    request = StopRequest(grace_s=10.0)
    began_s = clock.mono_s()
    state = SimpleNamespace(began_s=began_s, deadline_s=began_s + 10.0, request=request)
    fed: list[DeadlineMoved] = []
    loop = Loop()
    listening: Any = Extensions(tmp_path, loop, state=lambda: state, feed=fed.append)  # type: ignore[arg-type,return-value]
    for seconds in (1, 10 * LIMIT_S, 30):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            at = os.open(tmp_path / "notify", os.O_PATH)
            asking.sendto(b"EXTEND_TIMEOUT_USEC=%d" % (seconds * 1e6), f"/proc/self/fd/{at}/notify.sock")
            os.close(at)
    loop.turn()
    listening.close()
    listening.close()
    loop.close()
    assert [moved.extend for moved in fed] == [True, True]
    assert fed[0].deadline_s == began_s + 10.0 + LIMIT_S
    assert began_s + 30 <= (fed[1].deadline_s or 0) < fed[0].deadline_s
