"""What the benchmark needs of the machine: timed commands, new processes, their memory, a rootfs to run."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

APPLETS = ("sh", "sleep", "cat", "true", "kill")

PROGRAMS = {
    "responsive": "trap 'exit 0' TERM; sleep 600 & wait",
    "one-second": "trap 'sleep 1; exit 0' TERM; sleep 600 & wait",
}
"""What runs in the containers: PID 1 exits at once, or after a second, when it gets SIGTERM."""


class Failed(Exception):
    """A peer could not do what was asked; the text is its own."""


class Timed(NamedTuple):
    """A command that went well."""

    ms: float
    stdout: str


def timed_at_terminal(argv: list[str], *, env: dict[str, str] | None = None) -> Timed:
    """The same with a pseudo-terminal as its three streams, of which nothing is read. Its output is not returned."""
    master, slave = pty.openpty()
    try:
        return timed(argv, env=env, terminal=slave)
    finally:
        os.close(master)
        os.close(slave)


def timed(
    argv: list[str], *, env: dict[str, str] | None = None, timeout_s: float = 120, terminal: int | None = None
) -> Timed:
    """Run a command and measure from its start to its exit; raise Failed when it fails.

    Output goes to files: a pipe would make us wait for what inherits it instead of for the command.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        streams = (subprocess.DEVNULL, out, err) if terminal is None else (terminal, terminal, terminal)
        with subprocess.Popen(argv, stdin=streams[0], stdout=streams[1], stderr=streams[2], env=env) as process:
            # Not wait(timeout): that polls, in steps of up to 50 ms, which would be most of what is measured.
            pidfd = os.pidfd_open(process.pid)
            is_over = select.select([pidfd], [], [], timeout_s)[0]
            ms = (time.perf_counter() - begun) * 1000
            os.close(pidfd)
            if not is_over:
                process.kill()
                raise Failed(f"{' '.join(argv[:6])}...: no end after {timeout_s} s")
        code = process.returncode
        out.seek(0)
        err.seek(0)
        if code != 0:
            words = err.read().decode(errors="replace").strip().splitlines()
            raise Failed(f"{Path(argv[0]).name} exit {code}: {words[-1] if words else 'no message'}"[:300])
        return Timed(ms, out.read().decode(errors="replace"))


def wait_gone(pidfds: list[int]) -> None:
    """Wait until these processes have exited, and close the descriptors."""
    for pidfd in pidfds:
        select.select([pidfd], [], [], 60)
        os.close(pidfd)


def monitors_memory_kib(identifiers: list[str]) -> tuple[float, float]:
    """Return (RSS, PSS) in KiB of the processes outside the containers whose command line names one of them."""
    own = os.readlink("/proc/self/ns/pid")
    rss = pss = 0.0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            cmdline = Path(f"/proc/{name}/cmdline").read_text(errors="replace")
            if int(name) == os.getpid() or os.readlink(f"/proc/{name}/ns/pid") != own:
                continue
            if not any(identifier in cmdline for identifier in identifiers):
                continue
            for line in Path(f"/proc/{name}/smaps_rollup").read_text().splitlines():
                key, _, value = line.partition(":")
                rss += float(value.split()[0]) if key == "Rss" else 0
                pss += float(value.split()[0]) if key == "Pss" else 0
    return rss, pss


def make_rootfs(target: Path) -> None:
    """Make a root filesystem of a static busybox and the wrapper script."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Failed("busybox is not installed (apt-get install busybox-static)")
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        (target / name).mkdir(parents=True)
    shutil.copy2(busybox, target / "bin/busybox")
    for applet in APPLETS:
        (target / "bin" / applet).symlink_to("busybox")
    (target / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (target / "etc/group").write_text("root:x:0:\n")
    # A command after the program keeps the shell from replacing itself by it.
    (target / "start.sh").write_text("#!/bin/sh\nsleep 600\nexit $?\n")


class HiddenUnified:
    """A mount namespace in which a hybrid host looks like pure cgroup v1, for runtimes that refuse hybrids.

    Commands enter it by nsenter(1), which costs about a millisecond; ``prefix`` is empty on other hosts.
    """

    def __init__(self) -> None:
        self.prefix: list[str] = []
        self._holder: subprocess.Popen[str] | None = None
        if not os.path.ismount("/sys/fs/cgroup/unified"):
            return
        script = "umount /sys/fs/cgroup/unified && echo ready && exec sleep 86400"
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "slave", "/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise Failed("cannot hide /sys/fs/cgroup/unified in a mount namespace")
        self.prefix = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    def close(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            assert self._holder.stdout is not None
            self._holder.stdout.close()


def facts(versions: dict[str, str]) -> dict[str, object]:
    """Return what a reader needs to know about the machine; no names of it."""
    return {
        "kernel": os.uname().release,
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "cgroups": "hybrid" if os.path.ismount("/sys/fs/cgroup/unified")
        else "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1",
        "versions": versions,
    }  # fmt: skip
