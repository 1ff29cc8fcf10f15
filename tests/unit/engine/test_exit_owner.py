"""The owner of a container's exit: a process by its identity, as Python and as the monitor's shell see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bento.drivers.processes.linux import LinuxProcesses
from bento.engine.base.exit_owner import claim, exit_owner_path, exit_script, has_exit_owner, release
from bento.kernel.process import pidfd
from bento.model.container import Container
from bento.testing.drivers import FakeDrivers

from support import procs


@pytest.fixture
def drivers(drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch) -> FakeDrivers:
    monkeypatch.setattr(drivers, "processes", LinuxProcesses())  # the owners are this process and children of it
    return drivers


@pytest.fixture
def container(drivers: FakeDrivers) -> Container:
    return drivers.add("web", None, auto_remove=True)


def runs_helper(drivers: FakeDrivers, container: Container) -> bool:
    """Whether the command at the exit does something; the helper is ``echo`` here."""
    drivers.helper_argv = ("echo",)
    done = subprocess.run(exit_script(drivers, container), capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout in ("", f"after-exit {container.id} 1\n")
    return bool(done.stdout)


def test_one_process_owns_the_exit_and_the_helper_does_nothing(drivers, container):
    assert runs_helper(drivers, container)
    assert not has_exit_owner(drivers, container.id)
    assert claim(drivers, container.id)
    assert has_exit_owner(drivers, container.id)
    assert not claim(drivers, container.id)
    assert not runs_helper(drivers, container)
    release(drivers, container.id)
    assert runs_helper(drivers, container)
    assert os.listdir(drivers.run_dir(container.id)) == []


@pytest.mark.parametrize("what", ["another start time", "another boot", "a process that is gone", "garbage", "nothing"])
def test_s03_another_process_with_that_pid_is_not_the_owner(drivers, container, what):
    fd, own = pidfd.identify(os.getpid())
    os.close(fd)
    gone = subprocess.Popen(["true"])
    gone.wait()
    text = {
        "another start time": f"{own.pid} {own.start_ticks + 1} {own.boot_id}\n",
        "another boot": f"{own.pid} {own.start_ticks} {'0' * 36}\n",
        "a process that is gone": f"{gone.pid} 1 {own.boot_id}\n",
        "garbage": "x\n",
        "nothing": "",
    }[what]
    Path(exit_owner_path(drivers, container.id)).write_text(text)
    assert not has_exit_owner(drivers, container.id)
    if what != "another boot":  # which no monitor survives
        assert runs_helper(drivers, container)
    assert claim(drivers, container.id)
    assert has_exit_owner(drivers, container.id)


def test_a_zombie_owns_nothing_whatever_its_name(drivers, container, tmp_path):
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "600"])
    fd, identity = pidfd.identify(process.pid)
    Path(exit_owner_path(drivers, container.id)).write_text(
        f"{identity.pid} {identity.start_ticks} {identity.boot_id}\n"
    )
    assert has_exit_owner(drivers, container.id)
    assert not runs_helper(drivers, container)
    process.kill()
    assert pidfd.wait(fd, 60.0)
    assert not has_exit_owner(drivers, container.id)
    assert runs_helper(drivers, container)
    process.wait()
    os.close(fd)


def test_one_whose_main_thread_has_ended_is_the_owner_as_long_as_another_thread_lives(drivers, container):
    program = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    fd, identity = pidfd.identify(process.pid)
    Path(exit_owner_path(drivers, container.id)).write_text(
        f"{identity.pid} {identity.start_ticks} {identity.boot_id}\n"
    )
    stat = Path(f"/proc/{process.pid}/stat")
    procs.wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", what="the end of its main thread")
    assert has_exit_owner(drivers, container.id)
    assert not runs_helper(drivers, container)
    process.kill()
    assert pidfd.wait(fd, 60.0)
    assert not has_exit_owner(drivers, container.id)
    assert runs_helper(drivers, container)
    process.wait()
    os.close(fd)


def test_without_a_run_directory_no_other_process_can_be_the_owner(drivers, container):
    drivers.run_dir(container.id).rmdir()
    assert claim(drivers, container.id)
    assert not has_exit_owner(drivers, container.id)
