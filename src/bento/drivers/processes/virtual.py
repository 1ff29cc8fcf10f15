"""Containers whose processes the host does not see: virtual machines (Kata), gVisor's own kernel (runsc).

The host has the sandbox's processes only. Their exit is the container's, and their cgroup its cgroup, but a signal for
the program goes through the runtime, and what it would do there cannot be known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.drivers.processes.linux import LinuxProcesses
from bento.kernel.process import proc
from bento.model.waits import Evidence, ThreadWait
from bento.stop.process import Disposition, Process
from bento.units import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.command import Child
    from bento.drivers.processes.base import Memory
    from bento.model.container import Container, Run
    from bento.model.exec import ExecSession

_UNKNOWN: Final = Evidence(threads=(ThreadWait(tid=0, state="R"),))
_ASKED_ROUNDS: Final = 2
"""So many rounds of a kill leave it to the runtime, which may take some ten ms; then the sandbox itself is killed."""


class VirtualProcesses(LinuxProcesses):
    """ProcessDriver for one container of such a runtime, whose ``begin_signal`` it uses.

    It counts the rounds of a kill: make it anew for each stop.
    """

    def __init__(
        self,
        container: Container,
        begin_signal: Callable[[str, int], Child],
        sessions: Callable[[], list[ExecSession]] = list,
    ) -> None:
        self._container, self._begin_signal, self._sessions = container, begin_signal, sessions
        self._session_fds: set[int] = set()
        self._children: list[Child] = []
        self._rounds = 0

    def look(self, run: Run, number: int, *, tracer: int = 0, memory: Memory | None = None) -> tuple[Process, ...]:
        """See ProcessDriver. Shows the program alone, in the place of its sandbox, and exec sessions by the process
        of the runtime that waits for each on the host."""
        status = proc.read(run.init.pid) if run.init else None
        if run.init is None or status is None or status.start_ticks != run.init.start_ticks or status.state in "ZX":
            return ()
        argv = self._container.spec.argv
        return (
            Process(
                pid=status.pid,
                start_ticks=status.start_ticks,
                ppid=status.ppid,
                comm=argv[0].rsplit("/", 1)[-1],
                argv=argv,
                is_main=True,
                disposition=Disposition.UNKNOWN,
            ),
            *(found for session in self._sessions() if (found := _session(session)) is not None),
        )

    def examine(
        self, run: Run, processes: tuple[Process, ...], *, tracer: int = 0, memory: Memory | None = None
    ) -> tuple[Process, ...]:
        """See ProcessDriver. What the sandbox waits for says nothing about the program in it."""
        return tuple(replace(process, evidence=_UNKNOWN) for process in processes)

    def executable(self, process: Process) -> str:
        """See ProcessDriver. The host has the sandbox's."""
        return ""

    def watch(self, pid: int, start_ticks: int) -> int | None:
        """See ProcessDriver."""
        fd = super().watch(pid, start_ticks)
        if fd is not None:
            main = self._container.run.init if self._container.run else None
            is_main = main is not None and main.pid == pid
            (self._session_fds.discard if is_main else self._session_fds.add)(fd)  # numbers are used again
        return fd

    def send_signal(self, pidfd_: int, number: int, *, wake: bool) -> bool:
        """See ProcessDriver. Has the runtime send it; the caller takes the children.

        What waits for an exec session passes its own signals on.
        """
        if pidfd_ in self._session_fds:
            return super().send_signal(pidfd_, number, wake=wake)
        if self.has_exited(pidfd_):
            return False
        self._children.append(self._begin_signal(self._container.id, number))
        return True

    def take_children(self) -> list[Child]:
        """See ProcessDriver."""
        children, self._children = self._children, []
        return children

    def kill_all(self, run: Run) -> int:
        """See ProcessDriver. The runtime's own kill first; the sandbox when that has not helped."""
        self._rounds += 1
        if self._rounds > _ASKED_ROUNDS:
            return super().kill_all(run)
        self._children.append(self._begin_signal(self._container.id, SIGKILL))
        self.thaw(run)  # a frozen sandbox answers no runtime
        return len(self.look(run, SIGKILL))


def _session(session: ExecSession) -> Process | None:
    status = proc.read(session.process.pid) if session.process else None
    if session.process is None or status is None or status.start_ticks != session.process.start_ticks:
        return None
    return Process(
        pid=status.pid,
        start_ticks=status.start_ticks,
        ppid=status.ppid,
        comm=session.command[0].rsplit("/", 1)[-1],
        argv=session.command,
        is_entered=True,
        disposition=Disposition.UNKNOWN,
    )
