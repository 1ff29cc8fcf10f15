"""The process that carries out the health checks of one run root, from the first container with one to the last.

It sleeps until a check is due, a container was announced, or one has ended: in one epoll loop on timers, pidfds and
inotify. It knows nothing that is not written down as well, so it may be killed at any time: the next command that meets
a container starts another one (``presence``), which goes on with what the record says.

No check begins once a stop of the container drives it or is recorded, nor while it is paused.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.engine.base.loop import Loop
from bento.engine.health import checks, presence, schedule
from bento.engine.health.check import Check
from bento.errors import BentoError, NotFound
from bento.files.smallfile import write_small
from bento.model.container import Container, Run, Status
from bento.model.event import Deed
from bento.model.health import Health, HealthResult, HealthStatus, OnUnhealthy
from bento.units import new_id

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_RETRY_S = 1.0
_SLEEP_S = 0.1
_LOOK_EVERY_S = 1.0


def keep(drivers: Drivers, on_sleep: Callable[[], None]) -> None:
    """Carry out the checks of all containers until none is left that has one. Blocks. Returns where another does it.

    ``on_sleep`` is called before a sleep of some length, with no check under way. SIGTERM ends it, while it is here.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        _keep(drivers, on_sleep)
    finally:
        signal.signal(signal.SIGTERM, before)


def _keep(drivers: Drivers, on_sleep: Callable[[], None]) -> None:
    while (lock := drivers.locks.try_keeper(drivers.version)) is not None:
        with lock:
            presence.began(drivers)
            keeper = Keeper(drivers, on_sleep, lambda: lock.is_named)
            signal.signal(signal.SIGTERM, lambda *_, keeper=keeper: keeper.end())
            try:
                keeper.begin()
                while not keeper.is_done:
                    keeper.turn()
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                keeper.close()
        if keeper.is_ended or not presence.has_announced(drivers):
            return


class Keeper:
    """Looks after every container that is announced, and at the beginning after all that run."""

    def __init__(
        self, drivers: Drivers, on_sleep: Callable[[], None], has_lock: Callable[[], bool] = lambda: True
    ) -> None:
        self.is_ended = False  # it was told to end, or its directories are gone
        self._drivers, self._on_sleep, self._has_lock = drivers, on_sleep, has_lock
        self._root = os.stat(drivers.root)
        self._loop = Loop()
        self._kept: dict[str, Kept] = {}
        self._ending_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._looking = self._loop.alarm(self._look)  # where no watch is left
        self._arrivals = drivers.watch_arrivals(presence.directory(drivers))
        self._roots = [drivers.watch_gone(path) for path in (drivers.root, drivers.run_root)]

    def begin(self) -> None:
        """Look after all that run."""
        self._loop.watch(self._ending_fd, self._end)
        if (fd := self._arrivals.fileno()) is not None:
            self._loop.watch(fd, self._take_announced)
        else:
            self._looking.set(clock.mono_s() + _LOOK_EVERY_S)
        for root in self._roots:
            if (fd := root.fileno()) is not None:
                self._loop.watch(fd, self._end)
        self._take_all()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do any more, or this process is to end and no check is under way."""
        return not self._kept or (self.is_ended and not any(kept.is_busy for kept in self._kept.values()))

    def turn(self) -> None:
        """Sleep until something is to be done, and do it."""
        sleeps_s = self._loop.sleeps_s
        if (sleeps_s is None or sleeps_s >= _SLEEP_S) and not any(kept.is_busy for kept in self._kept.values()):
            self._on_sleep()
        self._loop.turn()

    def end(self) -> None:
        """Have it end: for handlers of signals."""
        os.eventfd_write(self._ending_fd, 1)

    def _look(self) -> None:
        self._looking.set(clock.mono_s() + _LOOK_EVERY_S)
        self._take_announced()

    def _take_all(self) -> None:
        names = presence.announced(self._drivers)
        with suppress(FileNotFoundError):
            names += os.listdir(self._drivers.run_root / "containers")
        for name in dict.fromkeys(names):
            self._take(name)

    def _take_announced(self) -> None:
        self._arrivals.read()
        if not presence.directory(self._drivers).exists():
            self._end()
        for name in presence.announced(self._drivers):
            self._take(name)

    def _take(self, container_id: str) -> None:
        try:
            container = self._drivers.store.get(container_id)
        except BentoError:
            return
        run = container.run
        known = self._kept.get(container_id)
        if known is not None and (run is None or known.run.number != run.number):
            known.drop()
            known = None
        if known is not None:
            known.look_again()
        elif (
            not self.is_ended
            and run is not None
            and container.status is Status.RUNNING
            and container.spec.health.is_checked
        ):
            fd = self._drivers.processes.open(run.init) if run.init else None
            if fd is not None:
                self._kept[container_id] = Kept(
                    self._drivers, container, run, fd, self._loop, self._forget, self._check_roots
                )

    def _check_roots(self) -> bool:
        """Whether root and run root are those of the beginning; end where they are not.

        inotify tells that a directory is gone only when nothing has it any more, and the mount of a container has it.
        """
        try:
            is_here = self._has_lock() and os.path.samestat(self._root, os.stat(self._drivers.root))
        except OSError:
            is_here = False
        if not is_here:
            self._end()
        return is_here

    def _forget(self, kept: Kept) -> None:
        if self._kept.get(kept.container_id) is kept:
            del self._kept[kept.container_id]

    def _end(self) -> None:
        self._loop.unwatch(self._ending_fd)
        for root in self._roots:
            if (fd := root.fileno()) is not None:
                self._loop.unwatch(fd)
        self.is_ended = True
        for kept in list(self._kept.values()):
            kept.cancel()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        for kept in list(self._kept.values()):
            kept.drop()
        for root in self._roots:
            root.close()
        self._arrivals.close()
        os.close(self._ending_fd)
        self._loop.close()


class Kept:
    """One run of one container: when its next check is due, and the one under way. ``on_end`` is called at its end.

    ``check_roots`` says whether the roots are still there.
    """

    def __init__(
        self,
        drivers: Drivers,
        container: Container,
        run: Run,
        main_fd: int,
        loop: Loop,
        on_end: Callable[[Kept], None],
        check_roots: Callable[[], bool],
    ) -> None:
        self._check_roots = check_roots
        self.container_id, self.run = container.id, run
        self._drivers, self._main_fd, self._loop, self._on_end = drivers, main_fd, loop, on_end
        self._times = schedule.timing(container.spec.health.check) if container.spec.health.check else schedule.Timing()
        self._words = container.spec.health.check.argv if container.spec.health.check else ()
        self._on_unhealthy = container.spec.health.on_failure
        self._health = container.health or Health()
        self._started_s = clock.mono_s() - max(0.0, clock.boot_s() - run.started_boot_s)
        self._alarm = loop.alarm(self._due)
        self._check: Check | None = None
        loop.watch(main_fd, self._exited)
        checks.end(drivers, container.id, run)  # left by a keeper that was killed
        self._publish()
        self._alarm.set(self._first_s())

    @property
    def is_busy(self) -> bool:
        """Whether a check is under way."""
        return self._check is not None

    def _first_s(self) -> float:
        """Return when the first check here is due: after the last one that is recorded, else after the start."""
        now_s = clock.mono_s()
        last_s = self._started_s
        if self._health.log:
            last_s = now_s - max(0.0, (clock.wall_ns() - self._health.log[-1].end_unix_ns) / 1e9)
        return max(now_s, last_s + self._pause_s(last_s))

    def _pause_s(self, now_s: float) -> float:
        return schedule.pause_s(self._times, self._health.status, started_s=self._started_s, now_s=now_s)

    def _publish(self) -> None:
        """Say that the container is looked after, and how it is: whatever waits for that is woken."""
        with suppress(OSError):  # the run directory may have gone
            path = presence.kept_file(self._drivers, self.container_id)
            write_small(path, f"{self._health.status.value}\n".encode())

    def look_again(self) -> None:
        """It was announced once more: say that it is looked after."""
        self._publish()

    def _due(self) -> None:
        now_s = clock.mono_s()
        if not self._check_roots():
            return
        try:
            status = self._status()
        except NotFound:
            self.drop()
            return
        except BentoError:  # such as a store that is busy for too long
            status = None
        if status is not Status.RUNNING:
            # Being stopped, it is waited for its end; else what was in the way is gone in a moment.
            self._alarm.set(None if status is Status.STOPPING else now_s + _RETRY_S)
            return
        if self._drivers.processes.is_frozen(self.run):
            self._alarm.set(now_s + self._pause_s(now_s))
            return
        check = Check(
            self._drivers, self.container_id, self.run, self._times.timeout_s, loop=self._loop, on_end=self._checked
        )
        self._check = check
        check.begin()
        with suppress(BentoError):
            if self._check is check and self._status() is not Status.RUNNING:
                check.cancel()

    def _status(self) -> Status | None:
        """Return RUNNING when a check may begin; None where a stop is about to be recorded."""
        container = self._drivers.store.get(self.container_id)
        if container.run is None or container.run.number != self.run.number:
            return Status.STOPPING
        if container.status is Status.RUNNING and self._drivers.locks.is_stop_held(self.container_id):
            return None
        return container.status

    def _checked(self, result: HealthResult | None) -> None:
        self._check = None
        if self._main_fd < 0:
            self._on_end(self)
            return
        now_s = clock.mono_s()
        self._alarm.set(now_s + self._pause_s(now_s))
        if result is None or self._drivers.processes.is_frozen(self.run):
            return  # a pause in the middle of it is no failure
        before = self._health.status
        try:
            if self._status() is not Status.RUNNING:
                return  # a stop has ended it, or is about to begin
            change, deeds = partial(self._with_result, result), _deeds(self._words, result)
            now = self._drivers.store.modify(self.container_id, change, deeds=deeds)
        except BentoError:
            return
        if not self._is_same(now) or now.health is None:
            return
        self._health = now.health
        self._alarm.set(now_s + self._pause_s(now_s))
        if self._health.status is not before:
            self._publish()
        if self._health.status is HealthStatus.UNHEALTHY and self._on_unhealthy is not OnUnhealthy.NONE:
            with suppress(BentoError):
                self._drivers.spawn_detached((*self._drivers.helper_argv, self._on_unhealthy.value, self.container_id))

    def _with_result(self, result: HealthResult, container: Container) -> Container:
        """Return the record with a result; as it is when its container is stopped, or another run, by now."""
        if not self._is_same(container):
            return container
        age_s = self._began_age_s(result)
        return replace(container, health=schedule.after(container.health or Health(), result, self._times, age_s=age_s))

    def _is_same(self, container: Container) -> bool:
        is_same = container.run is not None and container.run.number == self.run.number
        return is_same and container.status is Status.RUNNING

    def _began_age_s(self, result: HealthResult) -> float:
        return clock.mono_s() - (clock.wall_ns() - result.start_unix_ns) / 1e9 - self._started_s

    def _exited(self) -> None:
        """PID 1 has ended, and everything with it."""
        self.drop()

    def cancel(self) -> None:
        """Begin nothing any more, and end the check under way."""
        self._alarm.set(None)
        if self._check is not None:
            self._check.cancel()

    def drop(self) -> None:
        """Look after it no more. Idempotent. A check under way is waited for: its runtime has to reap it."""
        if self._main_fd < 0:
            return
        self._alarm.set(None)
        self._loop.unwatch(self._main_fd)
        os.close(self._main_fd)
        self._main_fd = -1
        if self._check is None:
            self._on_end(self)
        else:
            self._check.leave()


def _deeds(words: Sequence[str], result: HealthResult) -> list[Deed]:
    """Return what is logged of a check, as Docker has it: it is an exec."""
    exec_id, command = {"execID": new_id()}, " ".join(words)
    end = exec_id | {"exitCode": str(result.exit_code)}
    return [
        Deed(action=f"exec_create: {command}", attributes=exec_id, unix_ns=result.start_unix_ns),
        Deed(action=f"exec_start: {command}", attributes=exec_id, unix_ns=result.start_unix_ns),
        Deed(action="exec_die", attributes=end, unix_ns=result.end_unix_ns),
    ]
