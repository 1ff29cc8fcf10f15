"""The processes of one container, as a stop follows them: by pidfds, after a check of which they are (rule S3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.base import exec_sessions
from bento.engine.base.liveness import may_live
from bento.engine.stop import joined
from bento.engine.stop.report import Endings, exit_code_from
from bento.engine.stop.snapshot import look_at
from bento.lazy import LazyModule
from bento.stop.actions import SendSignal
from bento.stop.inputs import Input, Looked, MainExited, SignalledExited
from bento.stop.process import Key, Process
from bento.stop.rules.signalling import SESSION_SIGNAL
from bento.stop.rules.tree import Tree
from bento.units import SIGKILL

if TYPE_CHECKING:
    from bento.command import Child
    from bento.drivers.processes.base import BirthWatch
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Watcher
    from bento.engine.health import checks
    from bento.model.container import Container, Run
    from bento.model.stop import ProcessEnd
    from bento.stop.states import StopState
else:  # few containers have a check
    checks = LazyModule("bento.engine.health.checks")

_WATCH_LIMIT = 256  # processes with an end of their own in the report


class ContainerProcesses:
    """Looks at them, signals them, and sees them end. Nothing here waits: ``feed`` takes what is observed later.

    ``look_again`` is called when PID 1 has left others behind, in a PID namespace in which it was only a guest;
    ``on_end`` when any process was seen to end.
    """

    def __init__(
        self,
        drivers: Drivers,
        container: Container,
        run: Run,
        *,
        births: BirthWatch,
        watcher: Watcher,
        has_room_above: Callable[[int], bool],
        feed: Callable[[Input], None],
        look_again: Callable[[], None],
        on_end: Callable[[Key], None] | None = None,
    ) -> None:
        self.processes = drivers.processes_for(container)
        self.main_fd: int | None = None
        self._drivers, self._run, self._container_id = drivers, run, container.id
        self._run_dir = drivers.run_dir(container.id)
        self._is_checked = container.spec.health.is_checked
        self._of_checks: set[Key] = set()  # health checks that a look has ended, and that may still be there
        self._watcher, self._feed, self._look_again = watcher, feed, look_again
        self._on_end = on_end
        self._fds: dict[Key, int] = {}
        self._signalled: set[int] = set()
        self._memory: dict[object, object] = {}  # of ``ProcessDriver.examine``, from look to look
        self._sending = _Sending(self._end_signal, watcher=watcher)
        # In a PID namespace that is not the container's own the kernel does not end the rest with PID 1, so its exit is
        # not the end.
        # Of a PID 1 that is not known, no exit is seen either.
        self._may_leave_rest = bool(container.spec.namespaces.pid) or run.init is None
        self._has_own_end = not self._may_leave_rest and run.shows_processes
        self._endings = Endings()
        self._births, self._has_room_above = births, has_room_above
        self._receivers: list[int] = []  # at the last look: what these begin in their shutdown belongs to it

    def open_main(self) -> None:
        """Follow PID 1 from now on, if it is still there."""
        if self._run.init is None:
            return
        self.main_fd = self.processes.open(self._run.init)
        if self.main_fd is not None:
            self._watcher.watch(self.main_fd, self._main_exited)

    def is_gone(self) -> bool:
        """Whether the container has ended: PID 1, and what it has left behind."""
        if self.main_fd is not None and not self.processes.has_exited(self.main_fd):
            return False
        if not self._may_leave_rest and self.main_fd is not None:
            return True
        if self._run.init is None:
            return not may_live(self._drivers, self._container_id, self._run)
        if not self._may_leave_rest:  # it is not found, and was not seen to exit
            self._may_leave_rest = may_live(self._drivers, self._container_id, self._run)
            return not self._may_leave_rest
        if not self.processes.is_empty(self._run):
            return False
        with exec_sessions.none_begins(self._drivers, self._container_id):  # what was on the way in is there now
            return self.processes.is_empty(self._run)

    def look(self, signal: int, *, tracer: int = 0, examine: bool = False) -> Looked | MainExited:
        """Read every process with what the signal would do to it; follow those that are new. Health checks are ended.

        ``tracer``: a process of Bento's own, whose hand on a process changes nothing. ``examine``: also what each
        thread waits for.
        """
        look = self.processes.look
        processes = look_at(
            lambda number: look(self._run, number, tracer=tracer, memory=self._memory), signal, run_dir=self._run_dir
        )
        if self._is_checked:
            processes = self._without_check(processes)
        # For them its signal is the one of exec sessions, and like those they are left alone until PID 1 leaves.
        processes += joined.processes(
            self._drivers, self._container_id, lambda run: look(run, SESSION_SIGNAL, tracer=tracer)
        )
        if examine:
            processes = self.processes.examine(self._run, processes, tracer=tracer, memory=self._memory)
            self._endings.read(processes)
        if self._may_leave_rest and not processes and self.is_gone():
            return MainExited()
        self._births.read()
        self._receivers = [process.pid for process in processes if process.disposition.receives]
        for process in processes:
            # Of those alone that come now and then in a long stop, thousands of descriptors could be kept.
            if process.key not in self._fds and len(self._fds) < _WATCH_LIMIT:
                fd = self._follow(process.key)
                if fd is not None and not self._has_room_above(fd):
                    self._unfollow(process.key)
                    break
        return Looked(processes, self.processes.is_frozen(self._run))

    def _without_check(self, processes: tuple[Process, ...]) -> tuple[Process, ...]:
        """End the health check that is under way; return the processes that are none of it."""
        pid = checks.pid_of(checks.pid_file(self._drivers, self._container_id))
        roots = {process.key for process in processes if process.pid == pid and not process.is_main}
        if roots:
            self._of_checks |= roots | Tree(processes).below(roots)
            checks.end(self._drivers, self._container_id, self._run)
        return tuple(process for process in processes if process.key not in self._of_checks)

    def send_signal(self, action: SendSignal) -> None:
        """Send the stop signal to one process, and say when it has ended."""
        fd = self._follow((action.pid, action.start_ticks))
        if fd is not None:
            is_main = self._is_main((action.pid, action.start_ticks))
            if self._has_own_end and is_main and self._has_room_above(fd):
                self._births.follow(action.pid, self._receivers)
            self._signalled.add(action.pid)
            self.processes.send_signal(fd, action.signal, wake=action.wake)

    def shut_down_sockets(self, *, with_unnamed: bool = False) -> None:
        """Shut down the sockets that PID 1 alone has, at its exit."""
        if self._run.init is not None and self.main_fd is not None:
            self.processes.shut_down_sockets(self._run, self.main_fd, with_unnamed=with_unnamed)

    def thaw(self) -> None:
        """Thaw the container's cgroups."""
        self.processes.thaw(self._run)

    def end_main(self) -> None:
        """SIGKILL PID 1 alone."""
        if self.main_fd is not None:
            self.processes.send_signal(self.main_fd, SIGKILL, wake=False)

    def kill_all(self) -> MainExited | None:
        """SIGKILL every process; return the exit when that is all there is to see any more."""
        if self._may_leave_rest and self.is_gone():
            return MainExited()
        self._endings.kill_began()
        self.processes.kill_all(self._run)
        if self._run.init is None and self.processes.is_empty(self._run):  # the runtime may know it
            runtime = self._drivers.runtime(self._run.runtime)
            self._sending.follow([runtime.begin_signal(self._container_id, SIGKILL)])
        return None

    def name_stuck(self) -> list[str]:
        """Name the processes that do not die, and where in the kernel they hang."""
        return self.processes.name_stuck(self._run)

    def oom_kills(self) -> int:
        """Return how often the kernel has killed in this container for want of memory."""
        return self.processes.oom_kills(self._run) or 0

    def follow_signals(self) -> None:
        """Wait in the loop for the child processes by which signals were sent, where a runtime has to do that."""
        self._sending.follow(self.processes.take_children())

    @property
    def failures(self) -> list[str]:
        """Signals that could not be sent, each reason once."""
        return self._sending.failures

    def code_of(self, key: Key) -> int | None:
        """Return the exit code of a process that a look has shown, as the kernel keeps it; None when it does not."""
        fd = self._fds.get(key)
        return None if fd is None else exit_code_from(self.processes, fd)

    def ends(self, state: StopState) -> tuple[ProcessEnd, ...]:
        """Return how each process has ended that a look has shown, and which ended with PID 1 before any could."""
        unseen = self._births.killed(self._run.init.pid) if self._has_own_end and self._run.init else []
        return self._endings.collect(self.processes, state, self._fds, unseen)

    def close(self) -> None:
        """Close every descriptor. Idempotent."""
        for fd in (*self._fds.values(), self.main_fd):
            if fd is not None:
                self._watcher.unwatch(fd)
                os.close(fd)
        self._sending.close()
        self._fds, self.main_fd = {}, None

    def _end_signal(self, child: Child) -> str:
        reason = self._drivers.runtime(self._run.runtime).end_signal(child)
        # What has ended meanwhile needs no signal.
        return "" if not reason or self.is_gone() else f"the runtime could not send a signal: {reason}"

    def _follow(self, key: Key) -> int | None:
        """Open a process and note when it ends; None when it has ended already."""
        if key in self._fds:
            return self._fds[key]
        fd = self.processes.watch(*key)
        if fd is not None:
            self._fds[key] = fd
            self._watcher.watch(fd, lambda: self._exited(fd, key))
        return fd

    def _unfollow(self, key: Key) -> None:
        fd = self._fds.pop(key)
        self._watcher.unwatch(fd)
        os.close(fd)

    def _exited(self, fd: int, key: Key) -> None:
        self._watcher.unwatch(fd)
        self._endings.saw(key, clock.mono_s())
        if self._on_end is not None:
            self._on_end(key)
        if self._may_leave_rest and self.is_gone():
            self._feed(MainExited())
        elif key[0] in self._signalled and not self._is_main(key):  # of PID 1 another descriptor reports it
            self._feed(SignalledExited(key[0]))

    def _is_main(self, key: Key) -> bool:
        init = self._run.init
        return init is not None and key == (init.pid, init.start_ticks)

    def _main_exited(self) -> None:
        if self.main_fd is not None:
            self._watcher.unwatch(self.main_fd)
        if self.is_gone():
            self._feed(MainExited())
        else:
            self._look_again()  # what it has left behind gets its signal from nothing else


class _Sending:
    """Waits in the loop for the children that send signals, for containers whose processes the host does not see.

    ``end_signal`` is the runtime's.
    """

    def __init__(
        self,
        end_signal: Callable[[Child], str],
        *,
        watcher: Watcher,
    ) -> None:
        self.failures: list[str] = []  # each once, in order
        self._end_signal, self._watcher = end_signal, watcher
        self._children: list[Child] = []

    def follow(self, children: Iterable[Child]) -> None:
        """Take these over."""
        for child in children:
            self._children.append(child)
            self._watcher.watch(child.fileno(), lambda child=child: self._sent(child))  # type: ignore[misc]  # its own child

    def _sent(self, child: Child) -> None:
        """The signal was sent, or could not be. Whether it has helped is for others to see."""
        self._watcher.unwatch(child.fileno())
        self._children.remove(child)
        reason = self._end_signal(child)
        if reason and reason not in self.failures:
            self.failures.append(reason)

    def close(self) -> None:
        """End what is still on its way. Idempotent."""
        for child in self._children:
            self._watcher.unwatch(child.fileno())
            child.kill()
        self._children = []
