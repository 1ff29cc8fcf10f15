"""Any process of this host, from /proc and pidfds."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.drivers.processes.base import ChildProcess, Placement
from bento.errors import KernelError
from bento.kernel.cgroup import Cgroups, hierarchies, mode, read_control
from bento.kernel.process import pidfd, proc
from bento.lazy import LazyModule
from bento.model.container import ProcessIdentity
from bento.units import SIGKILL

if TYPE_CHECKING:
    from bento.kernel import cgroup_limits, hybrid, libc, namespace
    from bento.model.resources import HostLimits
else:  # only ``create``, a monitor's helper, and what looks into a container's root need them
    cgroup_limits, hybrid, libc, namespace = (
        LazyModule(f"bento.kernel.{name}") for name in ("cgroup_limits", "hybrid", "libc", "namespace")
    )

CGROUP_PREFIX = "bento-"
"""A container's cgroup is named by this and its id, directly below the root: no parent to leak or to race for. That of
what is in a pod with a parent cgroup is below that."""
_SESSION_ROUNDS = 4


class LinuxHost:
    """HostProcesses on the host's own kernel."""

    def open(self, identity: ProcessIdentity) -> int | None:
        """See HostProcesses."""
        return pidfd.open_verified(identity)

    def identify(self, pid: int, *, mark: str = "") -> ProcessIdentity | None:
        """See HostProcesses."""
        try:
            fd, identity = pidfd.identify(pid)
        except KernelError:
            return None
        words = (*proc.cmdline(pid), *Cgroups.of_process(pid).paths.values()) if mark else ()
        is_marked = not mark or any(mark in word for word in words)
        os.close(fd)
        return identity if is_marked else None

    def own(self) -> ProcessIdentity:
        """See HostProcesses."""
        fd, identity = pidfd.identify(os.getpid())
        os.close(fd)
        return identity

    def boot_id(self) -> str:
        """See HostProcesses."""
        return pidfd.boot_id()

    def namespaces(self) -> tuple[int, int]:
        """See HostProcesses."""
        return proc.own_namespaces()

    def comm(self, pid: int) -> str:
        """See HostProcesses."""
        found = proc.read(pid)
        return found.comm if found is not None else ""

    def placement(self, pid: int) -> Placement:
        """See HostProcesses."""
        return Placement(proc.pid_namespace(pid), read_control(f"/proc/{proc.live_tid(pid)}/cgroup"))

    def children(self, pid: int) -> list[ChildProcess]:
        """See HostProcesses."""
        found = []
        for child in proc.children(pid):
            process, seen = self.identify(child), proc.read(child)
            # Its number may be another process's by now: of that the parent or the start time differs.
            if process and seen and (seen.ppid, seen.start_ticks) == (pid, process.start_ticks):
                found.append(ChildProcess(process, seen.comm, proc.cmdline(child), self.placement(child)))
        return found

    def progress(self, pid: int) -> tuple[int, bool]:
        """See HostProcesses."""
        return proc.progress(pid)

    def is_process_frozen(self, pid: int) -> bool:
        """See HostProcesses."""
        return Cgroups.of_process(pid).is_frozen()

    def kill_session(self, pid: int, *, spared: int = 0) -> None:
        """See HostProcesses. In rounds: a process that is killed may just have forked."""
        session = proc.session_if_alive(pid) or pid  # one that has just ended led it
        if session in (os.getsid(0), proc.session_if_alive(spared) if spared else None):
            self._kill_member(pid, session)
            return
        for _ in range(_SESSION_ROUNDS):
            members = [other for other in proc.all_pids() if other > 1 and proc.session_if_alive(other) == session]
            if not sum(self._kill_member(other, session) for other in members):
                return

    def _kill_member(self, pid: int, session: int) -> bool:
        try:
            fd, _ = pidfd.identify(pid)
        except KernelError:
            return False
        try:  # looked at once more: now the descriptor holds it
            return proc.session_if_alive(pid) == session and pidfd.send(fd, SIGKILL)
        finally:
            os.close(fd)

    def open_root(self, process: ProcessIdentity, *, with_mounts: bool = True) -> int | None:
        """See HostProcesses."""
        fd = self.open(process)
        if fd is None:
            return None
        try:
            if with_mounts:
                return pidfd.open_live(fd, "root", os.O_PATH | os.O_DIRECTORY)
            # In its namespace nothing is done but to take a copy of the mount.
            return namespace.in_mounts_of(fd, lambda: libc.open_tree("/", recursive=False))
        except KernelError:
            if pidfd.has_exited(fd):
                return None
            raise
        finally:
            os.close(fd)

    def open_mount(self, process: ProcessIdentity, path: str) -> int | None:
        """See HostProcesses."""
        fd = self.open(process)
        if fd is None:
            return None
        try:
            return namespace.in_mounts_of(fd, lambda: libc.open_tree(path, recursive=False))
        finally:
            os.close(fd)

    def find_by_arguments(self, part: str, word: str) -> list[ProcessIdentity]:
        """See HostProcesses."""
        found = []
        for pid in proc.all_pids():
            words = proc.cmdline(pid)
            if word in words and any(part in each for each in words) and (process := self.identify(pid)) is not None:
                found.append(process)
        return found

    def find_monitors(self, run_root: str) -> list[tuple[int, str]]:
        """See HostProcesses."""
        prefix = f"{run_root}/containers/"
        found = []
        for pid in proc.all_pids():
            ids = {word[len(prefix) :].split("/", 1)[0] for word in proc.cmdline(pid) if word.startswith(prefix)}
            found += [(pid, container_id) for container_id in ids]
        return found

    def unhide_cgroup2(self) -> None:
        """See HostProcesses."""
        hybrid.show_unified()

    def find_cgroups(self) -> list[tuple[str, str, list[int]]]:
        """See HostProcesses."""
        return [
            (name.removeprefix(CGROUP_PREFIX), f"{root}/{name}", Cgroups({"": f"{root}/{name}"}).pids())
            for root in hierarchies()
            for name in sorted(os.listdir(root))
            if name.startswith(CGROUP_PREFIX)
        ]

    def remove_cgroup(self, directory: str) -> bool:
        """See HostProcesses."""
        return not Cgroups({"": directory}).remove()

    def missing_cgroups(self, parent: str) -> tuple[str, ...]:
        """See HostProcesses."""
        steps = parent.strip("/").split("/") if parent.strip("/") else []
        names = ["/".join(steps[:count]) for count in range(len(steps), 0, -1)]
        paths = [f"{root}/{name}" for name in names for root in hierarchies()]
        return tuple(path for path in paths if not os.path.isdir(path))

    def remove_empty_cgroup(self, directory: str) -> None:
        """See HostProcesses."""
        with suppress(OSError):
            os.rmdir(directory)

    def host_limits(self) -> HostLimits:
        """See HostProcesses."""
        return cgroup_limits.host_limits()

    def cgroup_mode(self) -> str:
        """See HostProcesses."""
        return mode()
