"""Programs for the tests' containers, a directory they share with the test, and what must be gone after a stop."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import leaks, procs
from support.cli import BentoCli, Finished

ONE_RUNTIME = pytest.mark.parametrize("runtime", ["crun"], indirect=True)
"""For rules that no runtime takes part in."""

PYTHON = "/usr/bin/python3"

POLITE = """
import signal, sys
def leave(number, frame):
    print("told", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Ends with 0 when it is told."""

MARKER = """
import os, signal, sys, time
def leave(number, frame):
    with open("/s/marker", "a") as file:
        file.write("done\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
"""Shuts down properly: writes its marker when it is told, once per telling, then ends with 0."""

COUNTER = """
import signal, sys, time
def told(number, frame):
    with open("/s/told", "a") as file:
        file.write(f"{number}\\n")
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
end = None
while True:
    time.sleep(0.02)
    try:
        told_s = len(open("/s/told").read()) and time.monotonic()
    except FileNotFoundError:
        continue
    end = end or told_s + float(sys.argv[1])
    if time.monotonic() > end:
        sys.exit(0)
"""
"""Writes a line for each SIGTERM it gets, and ends so many seconds after the first."""

WRITER = """
import os, signal, socket, sys, time
name, lasts_s = sys.argv[1], float(sys.argv[2])
def told(number, frame):
    with open(f"/s/{name}.told", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(lasts_s)
    open(f"/s/{name}.done", "w").close()
    os._exit(0)
for number in (signal.SIGTERM, signal.SIGQUIT):
    signal.signal(number, told)
if "listen" in sys.argv:
    server = socket.socket()
    server.listen()
open(f"/s/{name}.ready", "w").close()
while True:
    server.accept() if "listen" in sys.argv else signal.pause()
"""
"""``writer.py NAME SECONDS [listen]``: when told, works so long, leaves NAME.done, ends with 0."""

IGNORING = ("/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
"""A PID 1 that ignores SIGTERM."""


class Share:
    """A directory of the host that the container sees as /s."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    @property
    def flags(self) -> tuple[str, str]:
        """The flag that binds it."""
        return "-v", f"{self.path}:/s"

    def script(self, name: str, text: str) -> str:
        """Write a file for the container; return the path that it has there."""
        file = self.path / name
        file.write_text(text)
        file.chmod(0o755)
        return f"/s/{name}"

    def text(self, name: str) -> str:
        """Return what the container has written; empty when it has not."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / name).read_text()
        return ""

    def lines(self, name: str) -> list[str]:
        return self.text(name).splitlines()

    def wait_for(self, name: str, *, timeout_s: float = 40.0) -> None:
        """Return as soon as the container has made this file."""
        procs.wait_until((self.path / name).exists, timeout_s=timeout_s, what=f"the container's file {name}")


def run_ignoring(bento: BentoCli, name: str = "w") -> str:
    """Start a container that ignores SIGTERM; return once it does."""
    identifier = bento.run("--name", name, "host", *IGNORING)
    bento.wait_for_log(name, "ready")
    return identifier


def run_script(bento: BentoCli, share: Share, text: str, *flags: str, name: str = "w", ready: str = "ready") -> str:
    """Start ``python3 SCRIPT`` as PID 1; return once it has made its file ``ready``."""
    path = share.script(f"{name}.py", text)
    identifier = bento.run("--name", name, *share.flags, *flags, "host", PYTHON, path)
    share.wait_for(ready)
    return identifier


def run_shell(bento: BentoCli, share: Share, text: str, *ready: str, argv: tuple[str, ...] = ("/bin/sh",)) -> str:
    """Run a script as PID 1, with /s/writer.py beside it; return once these files are there."""
    share.script("writer.py", WRITER)
    path = share.script("start.sh", text)
    identifier = bento.run("--name", "w", *share.flags, "host", *argv, path)
    for name in ready:
        share.wait_for(name)
    return identifier


def wait_for_program(bento: BentoCli, comm: str, name: str = "w") -> procs.Process:
    """Return the first process of a container that has this name, once it is there."""
    top = bento.state(name)["Pid"]
    procs.wait_until(lambda: any(one.comm == comm for one in procs.descendants(top)), what=comm)
    return next(one for one in procs.descendants(top) if one.comm == comm)


def told(report: dict[str, Any]) -> list[str]:
    """Return the programs that the stop has signalled, in order."""
    return [one["comm"] for one in report["signalled"]]


def occasions(report: dict[str, Any]) -> list[str]:
    """Return why they were signalled, in order."""
    return [one["occasion"] for one in report["signalled"]]


def stop_report(bento: BentoCli, *args: str | Path, code: int = 0) -> dict[str, Any]:
    """Stop one container; return the report that is kept with it."""
    finished = bento("stop", "-v", *args, check=False)
    assert finished.returncode == code, str(finished)
    report: dict[str, Any] = bento.inspect(str(args[-1]))["Stop"]
    return report


def assert_released(bento: BentoCli, identifier: str) -> None:
    """Rules S21 and S22: no mount, cgroup, monitor, or run-time file of this container is left, at this very moment."""
    assert_nothing_held(bento, identifier)
    doctor = bento("doctor", check=False)
    assert doctor.returncode == 0, str(doctor)


def assert_nothing_held(bento: BentoCli, identifier: str) -> None:
    """The same without asking the code under test."""
    assert leaks.mounts_naming(identifier) == []
    assert [path for path in leaks.bento_cgroups() if identifier in path] == []
    assert not (bento.roots.run_root / "containers" / identifier).exists()
    assert not list((bento.roots.run_root / "runtime").glob(f"*/{identifier}"))

    def mine() -> list[str]:
        """Their command lines, each read once: it is empty as soon as the process ends."""
        lines = (procs.whole_cmdline(p.pid) for p in procs.all_processes() if p.is_alive)
        return [line for line in lines if identifier in line]

    # A helper that has recorded the end is about to end itself; everything else must be gone already.
    helpers = ("finish-stop", "after-exit")
    assert [line for line in mine() if not any(verb in line for verb in helpers)] == []
    procs.wait_until(lambda: mine() == [], what="the end of the helper")


def assert_clean(bento: BentoCli) -> None:
    """Nothing half-made is left: no container, and ``doctor`` finds nothing."""
    doctor = bento("doctor", check=False)  # it would name a record without files, or files without a record
    assert doctor.returncode == 0, str(doctor)
    for directory in (bento.roots.root / "containers", bento.roots.run_root / "containers"):
        left = sorted(path.name for path in directory.iterdir()) if directory.exists() else []
        assert left == [], f"{left} left in {directory}"


def assert_one_line(finished: Finished, *parts: str) -> str:
    """One line on stderr, for a person, that holds these words."""
    lines = finished.stderr.strip().splitlines()
    assert len(lines) == 1, str(finished)
    assert lines[0].startswith("bento: "), str(finished)
    for part in parts:
        assert part in lines[0], str(finished)
    return lines[0]


def kill_pid(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal one process from outside; return, after SIGKILL, when it is gone."""
    assert pid > 1
    found = procs.read(pid)
    assert found is not None
    if number == signal.SIGKILL:
        procs.kill(found)
    else:
        os.kill(pid, number)


def engine_processes(bento: BentoCli, verb: str) -> list[procs.Process]:
    """Return the command lines of this test's engine that run this verb, workers included."""
    root = str(bento.roots.root)
    found = []
    for process in procs.all_processes():
        words = procs.whole_cmdline(process.pid).split("\0")
        if process.is_alive and root in words and verb in words:
            found.append(process)
    return found


def wait_for_status(bento: BentoCli, name: str, status: str, *, timeout_s: float = 40.0) -> dict[str, Any]:
    """Poll until a container is in this state; return its ``State``."""
    deadline = time.monotonic() + timeout_s
    while True:
        state = bento.state(name)
        if state["Status"] == status:
            return state
        assert time.monotonic() < deadline, f"{name} is {state['Status']}, not {status}, after {timeout_s} s"
        time.sleep(0.1)


def busybox_rootfs(directory: Path) -> Path:
    """Make a root filesystem of one static program."""
    for name in ("bin", "etc", "tmp"):
        (directory / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", directory / "bin/busybox")
    for applet in ("sh", "sleep", "cat", "ls", "id", "echo", "true", "env", "touch"):
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nann:x:1234:1235:Ann:/home:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nstaff:x:77:ann\n")
    return directory


def masks(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return dict(re.split(r":\s*", line.rstrip("\n"), maxsplit=1) for line in file)


@contextlib.contextmanager
def ended(process: Any) -> Iterator[Any]:
    """Whatever happens, the started command line ends with the block."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
