"""Processes of a PID namespace that another engine has made: Bento knows its PID 1, and the kernel the rest."""

from __future__ import annotations

import os
import time
from typing import Final

from bento.drivers.processes.base import Situation
from bento.drivers.processes.host import CGROUP_PREFIX
from bento.drivers.processes.linux import LinuxProcesses
from bento.kernel.cgroup import Cgroups
from bento.kernel.process import proc
from bento.kernel.process.pid_namespace import PidNamespace
from bento.model.container import ProcessIdentity, Run

_SCAN_S: Final = 1.0
"""So often all processes of the host are looked at, where most of them are found by a cgroup."""


class ForeignProcesses(LinuxProcesses):
    """NamespaceDriver on the host's own kernel."""

    def __init__(self) -> None:
        self._namespaces: dict[ProcessIdentity, PidNamespace] = {}  # by PID 1
        self._strays: dict[ProcessIdentity | None, tuple[float, list[int]]] = {}  # the same; and when they were found

    def situate(self, pid: int) -> Situation:
        """See NamespaceDriver."""
        process = self.identify(pid)
        if process is None:
            return Situation()
        namespace = PidNamespace.of(pid)
        membership = self.placement(pid).cgroups
        own_id = _container_id(membership)
        if namespace is None:
            return Situation(process=process, is_outside=True, membership=membership, own_id=own_id)
        members = namespace.pids()
        nested = {_container_id(self.placement(member).cgroups) for member in members} - {"", own_id}
        return Situation(
            process=process,
            first=_first(namespace, members),
            cgroups=_exclusive(pid, namespace),
            membership=membership,
            own_id=own_id,
            nested_ids=tuple(sorted(nested)),
        )

    def pids(self, run: Run) -> list[int]:
        """Return what is in the namespace. What is in no cgroup of it, as by nsenter(1), is looked for now and then."""
        namespace = self._namespace(run)
        if namespace is None:
            return []
        inside = [pid for pid in Cgroups(run.cgroups).pids() if namespace.has(pid)] if run.cgroups else []
        now_s, (at_s, strays) = time.monotonic(), self._strays.get(run.init, (0.0, []))
        if inside and now_s - at_s < _SCAN_S:
            return inside + [pid for pid in strays if namespace.has(pid)]
        found = namespace.pids()
        self._strays[run.init] = (now_s, sorted(set(found).difference(inside)))
        return found

    def is_empty(self, run: Run) -> bool:
        """See ProcessDriver. The namespace ends with its PID 1."""
        fd = self.open(run.init) if run.init else None
        if fd is not None:
            os.close(fd)
        return fd is None

    def shows_life(self, run: Run, container_id: str, parent: str = "") -> bool:
        """See ProcessDriver."""
        return not self.is_empty(run)

    def is_frozen(self, run: Run) -> bool:
        """See ProcessDriver. Also where it shares its cgroup with others."""
        return super().is_frozen(run) or (run.init is not None and self.is_process_frozen(run.init.pid))

    def _namespace(self, run: Run) -> PidNamespace | None:
        if run.init is None:
            return None
        found = self._namespaces.get(run.init)
        if found is None and (found := PidNamespace.of(run.init.pid)) is not None:
            self._namespaces[run.init] = found
        return found


def _first(namespace: PidNamespace, members: list[int]) -> int:
    statuses = (proc.read(pid) for pid in members if namespace.is_in(pid))
    return next((status.pid for status in statuses if status is not None and status.ns_pids[-1] == 1), 0)


def _exclusive(pid: int, namespace: PidNamespace) -> dict[str, str]:
    """Return the cgroups of a process in which there is no process of another namespace, nested cgroups included.

    An engine mostly gives each container some; a container may also be where what started it is, with all its kin.
    """

    def is_stranger(member: int) -> bool:
        return not namespace.has(member) and proc.start_ticks_if_alive(member) is not None

    paths = Cgroups.of_process(pid).paths
    return {name: path for name, path in paths.items() if not any(map(is_stranger, Cgroups({name: path}).pids()))}


def _container_id(membership: str) -> str:
    """Return which container of Bento's has one of these cgroups as its own; "": none."""
    names = (line.rpartition("/")[2] for line in membership.splitlines())
    return next((name.removeprefix(CGROUP_PREFIX) for name in names if name.startswith(CGROUP_PREFIX)), "")
