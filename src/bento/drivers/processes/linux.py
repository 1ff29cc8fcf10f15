"""Processes of a container from /proc, pidfds and cgroups."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING

import msgspec

from bento.drivers.processes import forwarders, stuck
from bento.drivers.processes.base import Refusal
from bento.drivers.processes.host import CGROUP_PREFIX, LinuxHost
from bento.errors import KernelError
from bento.kernel.cgroup import Cgroups, mode, named
from bento.kernel.monitor_cgroup import MonitorCgroup
from bento.kernel.process import pidfd, proc
from bento.lazy import LazyModule
from bento.model.container import ProcessIdentity, Run
from bento.stop.process import Process, disposition
from bento.units import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bento.command import Child
    from bento.drivers.processes import initctl, inits, states
    from bento.drivers.processes.base import Memory
    from bento.kernel import namespace, sockets
    from bento.kernel.process import threads
    from bento.model.waits import ProcessState
else:  # only stops of system containers, and of containers with several processes, need them
    namespace, sockets, threads = (
        LazyModule(f"bento.kernel.{name}") for name in ("namespace", "sockets", "process.threads")
    )
    initctl, inits, states = (LazyModule(f"bento.drivers.processes.{name}") for name in ("initctl", "inits", "states"))

_SIGHUP, _SIGCHLD, _SIGCONT = 1, 17, 18
_NEARLY_ALL = 50  # of 64 signals
_TICKS = os.sysconf("SC_CLK_TCK")
_WAITS = frozenset({"wait4", "waitid"})
_LOOK_LIMIT = 4096  # processes of one container that a look reads; beyond it a stop relies on the kill


def _has_entered(run: Run, process: Process) -> bool:
    """Whether a process without a parent in the container has come in from outside."""
    namespace, main = proc.pid_namespace(process.pid), run.init.pid if run.init else 0
    parents = proc.pid_namespace(process.ppid)
    if process.ppid and not parents:
        return False  # the parent goes at this moment, such as the monitor after PID 1: the next look shows whose it is
    if namespace and parents != namespace:
        return not main or namespace == (proc.pid_namespace(main) or namespace)  # else: a monitor that was put there
    # In a shared PID namespace, orphans come to this run's monitor, or to another process of that namespace; what was
    # brought in is the child of another monitor, which names the container.
    is_monitor = run.monitor is not None and process.ppid == run.monitor.pid
    name = next((path.rpartition(CGROUP_PREFIX)[2] for path in run.cgroups.values()), "")
    return bool(name) and not is_monitor and name in proc.cmdline(process.ppid)


def _waits(status: proc.ProcStatus, number: int) -> bool | None:
    """Whether its leader thread waits for the signal, or, where that has ended, every thread that does not block it."""
    if not status.live:
        return proc.waits_for_signal(status.pid, number)
    bit = 1 << (number - 1)
    takers = [thread.pid for thread in status.live if not thread.blocked & bit]
    return bool(status.kept & bit) and all(proc.waits_for_signal(tid, number) for tid in takers)


def _others(run: Run, main_pid: int) -> Iterator[int]:
    """Return all other processes of the host, those of the container first; nothing is read before they are wanted."""
    spared = {main_pid, os.getpid()}
    for pids in (Cgroups(run.cgroups).pids, proc.all_pids):
        for pid in pids():
            if pid not in spared:
                spared.add(pid)
                yield pid


class LinuxProcesses(LinuxHost):
    """ProcessDriver on the host's own kernel."""

    def cgroups(self, pid: int, container_id: str) -> dict[str, str]:
        """See ProcessDriver."""
        own = f"/{CGROUP_PREFIX}{container_id}"
        return {name: path for name, path in Cgroups.of_process(pid).paths.items() if path.endswith(own)}

    def find_cgroups_of(self, container_id: str, parent: str = "") -> dict[str, str]:
        """See ProcessDriver."""
        return named(_cgroup_name(container_id, parent))

    def find_init(self, run: Run) -> ProcessIdentity | None:
        """See ProcessDriver. In a shared PID namespace nothing distinguishes it from the others."""
        members = (proc.read(pid) for pid in Cgroups(run.cgroups).pids())
        inits = [member for member in members if member and len(member.ns_pids) > 1 and member.ns_pids[-1] == 1]
        if not inits or not run.shows_processes:
            return None
        return self.identify(min(inits, key=lambda member: len(member.ns_pids)).pid)  # others are of nested ones

    def is_exiting(self, run: Run) -> bool:
        """See ProcessDriver."""
        return run.init is not None and proc.is_exiting(run.init.pid)

    def has_main_thread(self, run: Run) -> bool:
        """See ProcessDriver."""
        return run.init is None or not run.shows_processes or proc.live_tid(run.init.pid) == run.init.pid

    def shows_life(self, run: Run, container_id: str, parent: str = "") -> bool:
        """See ProcessDriver."""
        both = (run.cgroups, self.find_cgroups_of(container_id, parent))
        return any(Cgroups(paths).is_populated() for paths in both)

    def monitor_cgroup(self, container_id: str, *, needs_cgroup2: bool, parent: str = "") -> MonitorCgroup | None:
        """See ProcessDriver."""
        name = _cgroup_name(container_id, parent) if needs_cgroup2 and mode() == "hybrid" else ""
        monitor_cgroup = MonitorCgroup(name)
        return None if monitor_cgroup.is_here else monitor_cgroup

    def pids(self, run: Run) -> list[int]:
        """Return the processes that a look reads, PID 1 perhaps left out."""
        return Cgroups(run.cgroups).pids()

    def look(self, run: Run, number: int, *, tracer: int = 0, memory: Memory | None = None) -> tuple[Process, ...]:
        """See ProcessDriver. Zombies have exited and are left out."""
        main_pid = run.init.pid if run.init else 0
        pids = self.pids(run)[:_LOOK_LIMIT]
        if main_pid and main_pid not in pids:
            pids.insert(0, main_pid)  # moved to another cgroup, or the cgroup is gone
        if main_pid and memory is not None:
            proc.sight(main_pid, memory)
        found = (self._look_at(pid, number, is_main=pid == main_pid, tracer=tracer) for pid in pids)
        return self._with_entered(run, tuple(process for process in found if process is not None))

    def examine(
        self, run: Run, processes: tuple[Process, ...], *, tracer: int = 0, memory: Memory | None = None
    ) -> tuple[Process, ...]:
        """See ProcessDriver. A pipe that a monitor has an end of leads out of the container."""
        monitors = {process.ppid for process in processes if process.is_entered or process.is_main}
        outsiders = monitors | {tracer, os.getpid(), *((run.monitor.pid,) if run.monitor else ())}
        pids = [process.pid for process in processes]
        found = threads.examine(
            pids, outsiders=outsiders - {0}, memory=memory, list_again=functools.partial(self.pids, run)
        )
        replace = msgspec.structs.replace
        return tuple(replace(one, evidence=found[one.pid]) for one in processes if one.pid in found)

    def shut_down_sockets(self, run: Run, main_fd: int, *, with_unnamed: bool = False) -> None:
        """See ProcessDriver."""
        main_pid = run.init.pid if run.init else 0
        sockets.shut_down_own(main_fd, main_pid, _others(run, main_pid), with_unnamed=with_unnamed)

    def _with_entered(self, run: Run, processes: tuple[Process, ...]) -> tuple[Process, ...]:
        """Mark what has entered from outside: its parent is neither of the container nor an orphan's new one."""
        pids = {process.pid for process in processes}
        return tuple(
            msgspec.structs.replace(process, is_entered=True)
            if not process.is_main and process.ppid not in pids and _has_entered(run, process)
            else process
            for process in processes
        )

    def _look_at(self, pid: int, number: int, *, is_main: bool, tracer: int = 0) -> Process | None:
        status = proc.read(pid)
        if status is None or status.state in "ZX":
            return None
        is_init = len(status.ns_pids) > 1 and status.ns_pids[-1] == 1
        bit = 1 << (number - 1)
        argv = proc.cmdline(pid)
        take = functools.partial(
            disposition,
            ignored=status.ignored,
            caught=status.caught,
            is_namespace_init=is_init,
            is_traced=status.tracer_pid not in (0, tracer),
        )
        call = proc.syscall_name(pid) if status.threads == 1 else ""
        is_clear = not (status.blocked | status.ignored | status.caught) & bit
        return Process(
            pid=pid,
            start_ticks=status.start_ticks,
            ppid=status.ppid,
            comm=status.comm,
            argv=argv,
            is_main=is_main,
            is_pending=bool(status.pending & bit),
            is_halted=status.state == "T",
            is_namespace_init=is_init,
            catches_all=status.caught.bit_count() >= _NEARLY_ALL,
            sees_children=bool((status.caught | status.blocked) & 1 << (_SIGCHLD - 1)),
            call=call,
            is_waiting=call in _WAITS,
            kills_group=forwarders.kills_group(argv, lambda name: proc.variable(pid, name)),
            cpu_ticks=status.utime_ticks,
            switches=status.switches if status.threads == 1 else threads.switches(pid),
            age_s=time.clock_gettime(time.CLOCK_BOOTTIME) - status.start_ticks / _TICKS,
            disposition=take(number, blocked=status.blocked, waits=_waits(status, number) if is_clear else False),
            unblocked=take(number, blocked=0, waits=False),
            hangup=take(_SIGHUP, blocked=status.blocked, waits=None),
        )

    def states(self, pid: int) -> tuple[ProcessState, ...]:
        """See ProcessDriver."""
        return states.read_states(pid)

    def watch(self, pid: int, start_ticks: int) -> int | None:
        """See ProcessDriver."""
        return pidfd.open_verified(ProcessIdentity(pid, start_ticks, pidfd.boot_id()))

    def send_signal(self, pidfd_: int, number: int, *, wake: bool) -> bool:
        """See ProcessDriver."""
        is_there = pidfd.send(pidfd_, number)
        if is_there and wake:
            pidfd.send(pidfd_, _SIGCONT)
        return is_there

    def find_method(self, run: Run) -> tuple[str, str]:
        """See ProcessDriver."""
        return inits.find_method(run.init.pid) if run.init else inits.UNKNOWN

    def executable(self, process: Process) -> str:
        """See ProcessDriver."""
        path = proc.exe(process.pid)
        return path if proc.start_ticks_if_alive(process.pid) == process.start_ticks else ""

    def has_path(self, pidfd_: int, path: str) -> bool:
        """See ProcessDriver. Asked inside: a symbolic link there cannot lead out."""
        try:
            return namespace.in_mounts_of(pidfd_, lambda: os.path.lexists(path))
        except KernelError:
            return False

    def ask_initctl(self, pidfd_: int, run: Run) -> Refusal | None:
        """See ProcessDriver."""
        return initctl.ask(pidfd_, run.init.pid) if run.init else Refusal("PID 1 is gone")

    def take_children(self) -> list[Child]:
        """See ProcessDriver. The kernel does it."""
        return []

    def is_empty(self, run: Run) -> bool:
        """See ProcessDriver."""
        return not Cgroups(run.cgroups).pids()

    def has_exited(self, pidfd_: int) -> bool:
        """See ProcessDriver."""
        return pidfd.has_exited(pidfd_)

    def wait(self, pidfd_: int, timeout_s: float | None) -> bool:
        """See ProcessDriver."""
        return pidfd.wait(pidfd_, timeout_s)

    def exit_status(self, pidfd_: int) -> int | None:
        """See ProcessDriver."""
        return pidfd.exit_status(pidfd_)

    def kill_all(self, run: Run) -> int:
        """See ProcessDriver. PID 1 first: in a namespace of its own the kernel then ends all processes at once."""
        if run.init and (fd := pidfd.open_verified(run.init)) is not None:
            pidfd.send(fd, SIGKILL)
            os.close(fd)
        return Cgroups(run.cgroups).kill()

    def is_frozen(self, run: Run) -> bool:
        """See ProcessDriver."""
        return Cgroups(run.cgroups).is_frozen()

    def freeze(self, run: Run) -> None:
        """See ProcessDriver."""
        Cgroups(run.cgroups).freeze()

    def thaw(self, run: Run) -> None:
        """See ProcessDriver."""
        Cgroups(run.cgroups).thaw()

    def oom_kills(self, run: Run) -> int | None:
        """See ProcessDriver."""
        return Cgroups(run.cgroups).oom_kills()

    def release_cgroups(self, run: Run) -> list[str]:
        """See ProcessDriver."""
        return Cgroups(run.cgroups).remove()

    def name_stuck(self, run: Run) -> list[str]:
        """See ProcessDriver."""
        return stuck.name_stuck(run)


def _cgroup_name(container_id: str, parent: str) -> str:
    """Return the name of a container's cgroup, seen from the root of each hierarchy."""
    return f"{parent}/{CGROUP_PREFIX}{container_id}".lstrip("/")
