"""Who attends to a container's end: a process by its identity, as Python and as the monitor's shell see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.engine.attending import attend, attended_path, exit_script, is_attended, leave
from bento.kernel import pidfd
from bento.model.container import Container

from support import procs
from support.engine import FakeParts


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[FakeParts]:
    made = FakeParts(tmp_path)
    yield made
    made.processes.close()


@pytest.fixture
def container(parts: FakeParts) -> Container:
    return parts.add("web", None, auto_remove=True)


def runs_helper(parts: FakeParts, container: Container) -> bool:
    """Whether the command at the exit does something; the helper is ``echo`` here."""
    parts.helper_argv = ("echo",)
    done = subprocess.run(exit_script(parts, container), capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout in ("", f"after-exit {container.id} 1\n")
    return bool(done.stdout)


def test_one_attends_and_the_helper_stays_away(parts, container):
    assert runs_helper(parts, container)
    assert not is_attended(parts, container.id)
    assert attend(parts, container.id)
    assert is_attended(parts, container.id)
    assert not attend(parts, container.id)
    assert not runs_helper(parts, container)
    leave(parts, container.id)
    assert runs_helper(parts, container)
    assert os.listdir(parts.run_dir(container.id)) == []


@pytest.mark.parametrize("what", ["another start time", "another boot", "a process that is gone", "garbage", "nothing"])
def test_s03_whoever_has_that_pid_now_does_not_attend(parts, container, what):
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
    Path(attended_path(parts, container.id)).write_text(text)
    assert not is_attended(parts, container.id)
    if what != "another boot":  # which no monitor survives
        assert runs_helper(parts, container)
    assert attend(parts, container.id)
    assert is_attended(parts, container.id)


def test_a_zombie_attends_no_more_whatever_its_name(parts, container, tmp_path):
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "600"])
    fd, identity = pidfd.identify(process.pid)
    Path(attended_path(parts, container.id)).write_text(f"{identity.pid} {identity.start_ticks} {identity.boot_id}\n")
    assert is_attended(parts, container.id)
    assert not runs_helper(parts, container)
    process.kill()
    assert pidfd.wait(fd, 60.0)
    assert not is_attended(parts, container.id)
    assert runs_helper(parts, container)
    process.wait()
    os.close(fd)


def test_one_whose_main_thread_has_ended_attends_as_long_as_another_thread_lives(parts, container):
    program = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    fd, identity = pidfd.identify(process.pid)
    Path(attended_path(parts, container.id)).write_text(f"{identity.pid} {identity.start_ticks} {identity.boot_id}\n")
    stat = Path(f"/proc/{process.pid}/stat")
    procs.wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", what="the end of its main thread")
    assert is_attended(parts, container.id)
    assert not runs_helper(parts, container)
    process.kill()
    assert pidfd.wait(fd, 60.0)
    assert not is_attended(parts, container.id)
    assert runs_helper(parts, container)
    process.wait()
    os.close(fd)


def test_without_a_run_directory_nobody_else_can_attend(parts, container):
    parts.run_dir(container.id).rmdir()
    assert attend(parts, container.id)
    assert not is_attended(parts, container.id)
