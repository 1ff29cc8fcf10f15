"""Containers whose processes the host does not see, with a real process in the sandbox's place."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from bento import command
from bento.command import Child
from bento.drivers.processes.linux import LinuxProcesses
from bento.drivers.processes.virtual import VirtualProcesses
from bento.kernel.process import pidfd
from bento.model.container import Container, ContainerSpec, Run
from bento.stop.process import Disposition


@pytest.fixture
def sandbox() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def run(sandbox: subprocess.Popen[bytes]) -> Run:
    fd, identity = pidfd.identify(sandbox.pid)
    os.close(fd)
    return Run(number=1, runtime="/usr/bin/runsc", shows_processes=False, init=identity)


class InitAnswered:
    """What the runtime was asked to send."""

    def __init__(self) -> None:
        self.signals: list[tuple[str, int]] = []

    def __call__(self, container_id: str, number: int) -> Child:
        self.signals.append((container_id, number))
        return command.spawn(["true"])


@pytest.fixture
def asked() -> InitAnswered:
    return InitAnswered()


@pytest.fixture
def processes(asked: InitAnswered, run: Run) -> Iterator[VirtualProcesses]:
    spec = ContainerSpec(image="host", image_id="", layers=("/",), command=("/bin/web", "-x"))
    driver = VirtualProcesses(Container(id="c1", name="w", created_unix_ns=0, spec=spec, run=run), asked)
    yield driver
    for child in driver.take_children():
        child.kill()


def test_a_look_shows_the_program_in_the_place_of_its_sandbox(processes: VirtualProcesses, run: Run) -> None:
    (shown,) = processes.look(run, 15)
    assert run.init is not None
    assert shown.key == (run.init.pid, run.init.start_ticks)
    assert (shown.comm, shown.argv, shown.is_main) == ("web", ("/bin/web", "-x"), True)
    assert shown.disposition is Disposition.UNKNOWN


def test_a_sandbox_that_has_exited_shows_nothing(
    processes: VirtualProcesses, run: Run, sandbox: subprocess.Popen[bytes]
) -> None:
    sandbox.kill()
    sandbox.wait()
    assert processes.look(run, 15) == ()


def test_s20_the_program_is_signalled_by_the_runtime_and_its_sandbox_is_not(
    processes: VirtualProcesses, run: Run, asked: InitAnswered, sandbox: subprocess.Popen[bytes]
) -> None:
    assert run.init is not None
    fd = processes.open(run.init)
    assert fd is not None
    assert processes.send_signal(fd, 15, wake=False)
    (child,) = processes.take_children()
    assert child.finish(10.0).returncode == 0
    assert asked.signals == [("c1", 15)]
    assert processes.take_children() == []
    assert sandbox.poll() is None
    sandbox.kill()
    sandbox.wait()
    assert not processes.send_signal(fd, 15, wake=False)
    os.close(fd)


def test_s18_the_sandbox_is_killed_when_the_runtime_has_not_helped(
    processes: VirtualProcesses, run: Run, asked: InitAnswered, sandbox: subprocess.Popen[bytes]
) -> None:
    assert processes.kill_all(run) == 1
    assert processes.kill_all(run) == 1
    assert asked.signals == [("c1", 9), ("c1", 9)]
    assert sandbox.poll() is None
    processes.kill_all(run)
    assert sandbox.wait(10) == -9
    assert len(asked.signals) == 2


def test_it_is_a_driver_of_the_hosts_processes_otherwise(processes: VirtualProcesses, run: Run) -> None:
    assert isinstance(processes, LinuxProcesses)
    assert processes.is_empty(run)
