"""A cgroup for each engine, and namespaces in which it is the root: what all of an engine's processes use is counted.

Wall time says little on a machine that others work on; the CPU time of the command, its daemon, monitors, runtimes and
containers together says more. An engine puts processes into cgroups of its own, by paths from the root of each
hierarchy: in a cgroup namespace these lie below the engine's one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from machine import Failed

_TOP = Path("/sys/fs/cgroup")
_LEFT_S = 10.0
_HOLD = """
set -e
for each in $1; do umount /sys/fs/cgroup/$each; done
for each in $2; do
    case $each in
        unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
        systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ;;
        *) mount -t cgroup -o $each cgroup /sys/fs/cgroup/$each ;;
    esac
done
echo ready
exec sleep 86400
"""


def hierarchies() -> list[str]:
    """Return the mount points of version 1's hierarchies, and of version 2's beside them; none on other hosts."""
    if not os.path.ismount(_TOP / "cpuacct") or os.path.islink(_TOP / "cpuacct"):
        return []
    return sorted(entry.name for entry in _TOP.iterdir() if os.path.ismount(entry))


class Enclosure:
    """One engine's cgroups and namespaces. ``prefix``: words before a command that is to be inside. Close it.

    Without version 1's cpuacct there is nothing but the plain machine: then CPU time is not measured.
    """

    def __init__(self, name: str, *, hides_unified: bool = False) -> None:
        self.prefix: list[str] = []
        self._holder: subprocess.Popen[str] | None = None
        names = hierarchies()
        self._groups = [_TOP / each / name for each in names]
        self._usage = _TOP / "cpuacct" / name / "cpuacct.usage"
        if not names:
            return
        for group in self._groups:
            group.mkdir()
            if group.parent.name == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((group.parent / file).read_text())
                (group / "cgroup.clone_children").write_text("1")
        shown = [each for each in names if not (hides_unified and each == "unified")]
        with self.joined():
            self._holder = subprocess.Popen(
                ["unshare", "-m", "-C", "--propagation", "slave", "/bin/sh", "-c", _HOLD, "sh", " ".join(names),
                 " ".join(shown)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert self._holder.stdout is not None
            if self._holder.stdout.readline() != "ready\n":
                raise Failed("cannot make a cgroup namespace with mounts of its own")
        self.prefix = ["nsenter", "-t", str(self._holder.pid), "-m", "-C", "--"]

    @property
    def is_counted(self) -> bool:
        """Whether CPU time can be told."""
        return self._holder is not None

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """A context in which this process, and what it starts, is in the cgroups."""
        self._move(self._groups)
        try:
            yield
        finally:
            self._move([group.parent for group in self._groups])

    def _move(self, groups: list[Path]) -> None:
        for group in groups:
            with contextlib.suppress(OSError):
                (group / "cgroup.procs").write_text(str(os.getpid()))

    def cpu_ms(self) -> float:
        """Return the CPU time of everything that was ever inside, user and system."""
        return int(self._usage.read_text()) / 1e6 if self.is_counted else 0.0

    def measure(self, work: Callable[[], float], settle_s: float) -> tuple[float, float | None]:
        """Do the work inside; return the ms that it says it took, and those of CPU time.

        What an engine still does for ``settle_s`` after a command has returned counts as well.
        """
        with self.joined():
            before = self.cpu_ms()
            took_ms = work()
            time.sleep(settle_s)
            used_ms = self.cpu_ms() - before
        return took_ms, used_ms if self.is_counted else None

    @staticmethod
    def _end_what_stays(group: Path) -> None:
        for path, _, _ in os.walk(group):
            with contextlib.suppress(OSError):
                pids = map(int, (Path(path) / "cgroup.procs").read_text().split())
                for pid in pids:
                    if pid != os.getpid():
                        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End what is inside, such as a process that would stay for a minute more, and remove the cgroups."""
        if self._holder is None:
            return
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        deadline = time.monotonic() + _LEFT_S
        for group in self._groups:
            while group.exists():
                self._end_what_stays(group)
                for path, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(path)
                if time.monotonic() > deadline:
                    raise Failed(f"{group} is still in use")
                time.sleep(0.01)
