"""What the stops of one call have the tracer do, and what it reports to each of them (rules S13, S13a).

One tracer serves all containers of a call; its process is started by the first request. A stop for which it is not
wanted costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.drivers.tracer.base import AtExit, Event, GaveUp, Held, LetGo, Lost, Noted, Watched
from bento.errors import KernelError
from bento.stop.inputs import HeldBack, InitGaveUp, InitLeaving, Input, SignalNoted, Traced, TracerLost

if TYPE_CHECKING:
    from bento.drivers.tracer.base import TracerDriver
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Loop
    from bento.model.container import Run
    from bento.stop.actions import WatchInit
    from bento.stop.process import Key


class Tracing:
    """The tracer of one call. Close it: everything that is held goes on."""

    def __init__(self, drivers: Drivers, loop: Loop, check_room: Callable[[], None]) -> None:
        """``check_room`` raises KernelError where a tracer would take the files that the clean-up needs."""
        self._drivers, self._loop, self._check_room = drivers, loop, check_room
        self._tracer: TracerDriver | None = None
        self._fd = -1
        self._jobs: dict[int, TraceJob] = {}
        self._next_job = 0

    def job(self, run: Run, feed: Callable[[Input], None]) -> TraceJob:
        """Return a stop's own share; ``feed`` takes what the tracer reports."""
        self._next_job += 1
        job = self._jobs[self._next_job] = TraceJob(self, self._next_job, run, feed)
        return job

    def tracer(self) -> TracerDriver:
        """Return the tracer, started and listened to. Raises KernelError when it cannot be started."""
        if self._tracer is None:
            self._check_room()
            self._tracer = self._drivers.tracer()
        if self._fd < 0:
            self._fd = self._tracer.fileno()
            self._loop.watch(self._fd, self._read)
        return self._tracer

    @property
    def pid(self) -> int:
        """The tracer's process; 0 when there is none."""
        return self._tracer.pid if self._tracer is not None else 0

    def _read(self) -> None:
        if self._tracer is None:
            return
        for event in self._tracer.events():
            if isinstance(event, Lost):
                self._lost(event)
            elif (job := self._jobs.get(event.job)) is not None:
                job.take(event)

    def _lost(self, event: Lost) -> None:
        self._loop.unwatch(self._fd)
        self._fd = -1
        for number in event.jobs:
            if (job := self._jobs.get(number)) is not None:
                job.lost(is_neighbours=event.by not in (0, number))

    def forget(self, number: int) -> None:
        """Have a job end: what it holds goes on; after the last one the tracer ends by itself. Idempotent."""
        if self._jobs.pop(number, None) is None or self._tracer is None or self._fd < 0:
            return
        if self._jobs:
            self._tracer.release(number)
        else:
            self._loop.unwatch(self._fd)
            self._fd = -1
            self._tracer.retire()

    def close(self) -> None:
        """End the tracer. Idempotent."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
        if self._tracer is not None:
            self._tracer.close()
        self._tracer, self._fd = None, -1


class TraceJob:
    """One stop's share of the tracer. Failures are answers: nothing is raised."""

    def __init__(self, tracing: Tracing, number: int, run: Run, feed: Callable[[Input], None]) -> None:
        self._tracing, self._number, self._run, self._feed = tracing, number, run, feed
        self._is_used = False
        self._signal = 0
        self._unanswered: tuple[WatchInit, int] | None = None
        self._has_held = False
        self._wanted: dict[int, Key] = {}  # watched for what they make of the signal
        self._held: set[Key] = set()  # asked to be held, and not answered yet
        self._done: list[Key] = []
        self._refused: list[Key] = []
        self._error = ""

    @property
    def tracer_pid(self) -> int:
        """The tracer's process; 0 when there is none."""
        return self._tracing.pid

    def prepare(self) -> None:
        """Have the tracer get ready: it is most likely wanted soon. What fails here is met again then."""
        with suppress(KernelError):
            self._tracing.tracer()

    def watch_init(self, action: WatchInit, signal: int) -> None:
        """Have PID 1 watched, and others for what they do with the signal; answer with Traced."""
        init = self._run.init
        if init is None:
            self._feed(Traced("there is no process of it on record"))
            return
        self._wanted = {pid: (pid, start_ticks) for pid, start_ticks in action.noting}
        self._unanswered, self._signal = (action, signal), signal
        try:
            tracer = self._tracing.tracer()
            for pid, start_ticks in self._wanted.values():
                if pid != init.pid:
                    tracer.watch(self._number, pid, start_ticks, hold_exit=False, note_signal=signal)
            tracer.watch(
                self._number,
                init.pid,
                init.start_ticks,
                hold_exit=action.holds_exit,
                note_signal=signal if init.pid in self._wanted else 0,
                cgroups=self._run.cgroups if action.freezes else {},
            )
            self._is_used = True
        except KernelError as error:
            self._unanswered = None
            self._feed(Traced(error.message))

    def hold(self, keys: tuple[Key, ...], *, thaw: bool) -> None:
        """Have these held, and what was frozen at PID 1's exit thawed then; answer with HeldBack."""
        self._held, self._done, self._refused, self._error = set(keys), [], [], ""
        try:
            tracer = self._tracing.tracer()
            if keys:
                tracer.hold(self._number, keys)
                self._is_used = self._has_held = True
            if thaw:
                tracer.thaw(self._number)
        except KernelError as error:
            self._feed(HeldBack((), keys, error.message))
            return
        if not keys:
            self._feed(HeldBack(()))

    def let_go(self, keys: tuple[Key, ...] | None) -> None:
        """Have these let go; None: all. No answer; idempotent."""
        if keys is None:
            self._unanswered = None
        if self._is_used and self._tracing.pid:
            self._tracing.tracer().release(self._number, keys)

    def take(self, event: Event) -> None:
        """Take what the tracer reports of this job."""
        init_pid = self._run.init.pid if self._run.init else 0
        match event:
            case Watched() if event.pid == init_pid:
                self._unanswered = None
                self._feed(Traced(event.error))
            case Noted() if event.pid in self._wanted:
                self._feed(SignalNoted(self._wanted[event.pid], event.only_noted))
            case GaveUp() if event.pid == init_pid and event.number == self._signal:
                self._feed(InitGaveUp())
            case AtExit():
                self._feed(InitLeaving())
            case Held():
                self._take_held(event)
            case LetGo() if event.lives:  # no other process of this job is held any more either: the next look decides
                self.let_go(None)
                self._feed(TracerLost(event.why))
            case _:  # it let a process go that ends; or could not watch one that is not PID 1
                pass

    def _take_held(self, event: Held) -> None:
        """Many at once are answered in drivers."""
        self._done += event.held
        self._refused += [failure.key for failure in event.failed]
        self._error = self._error or next((failure.reason for failure in event.failed), "")
        self._held -= {*event.held, *(failure.key for failure in event.failed)}
        if not self._held:
            self._feed(HeldBack(tuple(self._done), tuple(self._refused), self._error))

    def lost(self, *, is_neighbours: bool = False) -> None:
        """The tracer has died; ``is_neighbours``: of a process of another job.

        Then what was only asked for, and not answered, is asked for again: the stop takes a tracer that ended before
        its answer for one that its own process had ended, and does without.
        """
        unanswered, self._unanswered = self._unanswered, None
        has_held, self._has_held = self._has_held, False
        if not self._is_used:
            return
        self._is_used = False
        if unanswered is not None and is_neighbours and not has_held:
            self.watch_init(*unanswered)
        else:
            self._feed(TracerLost("the tracer ended"))

    def close(self) -> None:
        """Let everything go, and receive no more events. Idempotent."""
        self._is_used = False
        self._tracing.forget(self._number)
