"""What is released after the exit, step by step (rules S20 - S22). The machine says which step, and when again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, assert_never

from bento import clock
from bento.engine.base import exec_sessions, offspring
from bento.errors import BentoError, Conflict, InternalError, is_shortage
from bento.model.network import CNI
from bento.stop.inputs import StepDone
from bento.stop.states import Step
from bento.units import SIGKILL

if TYPE_CHECKING:
    from bento.drivers.network.base import Part
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Watcher
    from bento.engine.stop.batch import Releases
    from bento.engine.stop.deletions import Deletions
    from bento.model.container import Container, Run


class Cleanup:
    """Carries out the steps of one container up to the record. Nothing here waits: ``done`` is called with each end.

    Every step is idempotent; an error is of its step alone and does not hide the others (rule S21).
    """

    def __init__(
        self,
        drivers: Drivers,
        container: Container,
        run: Run,
        *,
        watcher: Watcher,
        releases: Releases,
        deletions: Deletions,
        done: Callable[[StepDone], None],
    ) -> None:
        self.is_released = False  # the root filesystem is held by no process any more
        self.oom_kills = 0  # the cgroup's count at the end
        self._drivers, self._container, self._run = drivers, container, run
        self._watcher, self._done = watcher, done
        self._monitor_fds: set[int] = set()
        self._releases, self._deletions = releases, deletions
        self._release: int | None = None  # by what it is watched
        self._is_let_go = False  # it was reported that no process holds the root filesystem any more
        self._waits_for_release = False
        self._ended_mono_s: float | None = None  # when the first step was begun, after the exit was seen
        self._disconnecting: Part | None = None
        self.is_disconnected = not run.connections and not run.proxied_ports

    def watch_release(self, pid: int, main_fd: int) -> None:
        """Watch, while PID 1 lives, for the release of its root filesystem."""
        self._release = self._releases.watch(pid, self._let_go)
        if self._release is not None and self._drivers.processes.has_exited(main_fd):
            self._releases.unwatch(self._release)  # the pid may have been another process's by then
            self._release = None

    def expect_end(self) -> None:
        """Have at hand what closes the ports at the end, while the container shuts down. Idempotent.

        Later it would take tens of milliseconds: connections to a link that is gone meanwhile hang for a second.
        """
        if self._run.ports:
            with suppress(BentoError, OSError):  # the step of the network says what cannot be had
                _ = self._drivers.network

    def begin(self, step: Step, tries: int) -> None:
        """Begin a step, or try it again."""
        if self._ended_mono_s is None:
            self._ended_mono_s = clock.mono_s()
        try:
            match step:
                case Step.MONITOR:
                    self._wait_for_monitor()
                case Step.RUNTIME:
                    self._delete_from_runtime()
                case Step.CGROUP:
                    self._release_cgroups()
                case Step.NETWORK:
                    self._disconnect()
                case Step.OVERLAY:
                    self._check_released(tries)
                case Step.HOOKS | Step.RECORD:
                    raise InternalError(f"the step {step.value} is not the clean-up's")
                case _:
                    assert_never(step)
        except (BentoError, OSError) as error:
            # What other stops have open is closed when they end.
            self._done(StepDone(step, str(error), retry=is_shortage(error)))

    def close(self) -> None:
        """Let go of what is under way. Idempotent."""
        for fd in self._monitor_fds:
            self._watcher.unwatch(fd)
            os.close(fd)
        self._monitor_fds.clear()
        if self._release is not None:
            self._releases.unwatch(self._release)
        self._deletions.forget(self._container.id)
        if self._disconnecting is not None:
            self._watcher.unwatch(self._disconnecting.fileno())
            self._disconnecting.kill()
        self._release = self._disconnecting = None

    def _wait_for_monitor(self) -> None:
        """The monitor drains the output, writes the exit code, and ends; so do those of exec sessions."""
        if self._run.ports:
            with suppress(BentoError, OSError):  # the step of the network does it then
                self._drivers.network.close_ports(self._container.id)
        self._count_oom_kills()
        sessions = exec_sessions.live(self._drivers, self._container.id)
        for identity in (self._run.monitor, *(session.monitor for session in sessions)):
            fd = self._drivers.processes.open(identity) if identity else None
            if fd is not None and identity is not None:
                self._monitor_fds.add(fd)
                # A runtime that still creates, or brings a process in, has nothing to do it for: the monitor waits.
                offspring.end(self._drivers, offspring.below(self._drivers, identity.pid, of_runtime=True))
        for fd in tuple(self._monitor_fds):
            self._watcher.watch(fd, partial(self._monitor_exited, fd))
        if not self._monitor_fds:
            self._done(StepDone(Step.MONITOR))

    def _count_oom_kills(self) -> None:
        """Ask the kernel; where the cgroup has gone with a driver that was killed, the monitor has kept a mark."""
        counted = self._drivers.processes.oom_kills(self._run)
        if counted is None and not self.oom_kills:
            counted = int(self._drivers.monitor.saw_oom(self._drivers.run_dir(self._container.id)))
        self.oom_kills = self.oom_kills if counted is None else counted

    def _monitor_exited(self, fd: int) -> None:
        self._watcher.unwatch(fd)
        os.close(fd)
        self._monitor_fds.discard(fd)
        if not self._monitor_fds:
            self._done(StepDone(Step.MONITOR))

    def _delete_from_runtime(self) -> None:
        """Delete without force: the runtime refuses while it does not see the container stopped (rule S20)."""
        for fd in self._monitor_fds:  # gave up waiting for it: it would keep the root filesystem mounted
            self._drivers.processes.send_signal(fd, SIGKILL, wake=False)
            self._watcher.unwatch(fd)
        self._deletions.delete(self._run.runtime, self._container.id, self._deleted)
        self._load_drivers()

    def _load_drivers(self) -> None:
        """Do what takes milliseconds while the runtime is at work: have at hand what the next steps use."""
        with suppress(BentoError, OSError):  # the steps themselves say what cannot be had
            _ = self._drivers.monitor
            if not self.is_disconnected:
                _ = self._drivers.network
            if self._run.has_names:
                _ = self._drivers.resolver
            if self._run.proxied_ports:
                _ = self._drivers.proxy
            if self._run.ports:
                self._drivers.network.forget_connections(self._container.id, self._forwarded_to())

    def _deleted(self, reason: str, may_be_later: bool) -> None:
        self._done(StepDone(Step.RUNTIME, reason, retry=may_be_later))

    def _release_cgroups(self) -> None:
        left = self._drivers.processes.release_cgroups(self._run)
        if left:
            self._drivers.processes.kill_all(self._run)
        self._done(StepDone(Step.CGROUP, f"still there: {', '.join(left)}" if left else "", retry=bool(left)))

    def _disconnect(self) -> None:
        if self.is_disconnected:
            self._done(StepDone(Step.NETWORK))
        else:
            if self._run.has_names:
                self._drivers.resolver.forget(self._container.id)
            self._go_on_disconnecting(self._begin_disconnecting())

    def _begin_disconnecting(self) -> Iterator[Part]:
        if self._run.proxied_ports and (ending := self._drivers.proxy.end(self._container.id)) is not None:
            yield ending
        yield from self._releasing()

    def _releasing(self) -> Iterator[Part]:
        if self._container.spec.network.startswith(CNI):
            return self._drivers.cni.remove(self._container.id)
        return self._drivers.network.release(self._container.id, self._forwarded_to(), ended_mono_s=self._ended_mono_s)

    def _forwarded_to(self) -> list[str]:
        """Return the container's addresses to which ports were forwarded."""
        return [address for one in self._run.connections for address in one.forwarded_to]

    def _go_on_disconnecting(self, release: Iterator[Part]) -> None:
        """Begin the next part; each is a child process."""
        try:
            child = next(release, None)
        except Conflict as error:  # another process is at work on links of this host
            self._done(StepDone(Step.NETWORK, str(error), retry=True))
            return
        except (BentoError, OSError) as error:
            self._done(StepDone(Step.NETWORK, str(error)))
            return
        self._disconnecting = child
        if child is None:
            self.is_disconnected = True
            self._done(StepDone(Step.NETWORK))
            return
        self._watcher.watch(child.fileno(), lambda: self._part_disconnected(child, release))

    def _part_disconnected(self, child: Part, release: Iterator[Part]) -> None:
        if self._disconnecting is child:
            self._watcher.unwatch(child.fileno())
            self._disconnecting = None
            self._go_on_disconnecting(release)

    def _check_released(self, tries: int) -> None:
        """The kernel releases the root filesystem when its last holder ends, and reports it at once.

        When no word comes, it is asked: PID 1 may have had another root (chroot(2)) when the watch was set.
        """
        self._waits_for_release = True
        may_be_reported = self._release is not None and tries == 0
        if self._is_let_go or (not may_be_reported and not self._drivers.storage.is_held(self._container.id)):
            self._released()
            return
        self._done(StepDone(Step.OVERLAY, "the root filesystem is still held", retry=True))

    def _let_go(self) -> None:
        self._release, self._is_let_go = None, True
        if self._waits_for_release:
            self._released()

    def _released(self) -> None:
        self.is_released = True
        self._done(StepDone(Step.OVERLAY))
