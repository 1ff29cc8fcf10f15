"""What goes on beside a stop of a check: looks at the container, and a second signal. In threads of their own."""

from __future__ import annotations

import os
from _queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.check.observed import Sample
from bento.model.container import Run
from bento.stop.rules.tree import named

if TYPE_CHECKING:
    from bento.drivers.processes.base import ProcessDriver
    from bento.engine.base.drivers import Drivers

_FIRST_S: Final = 0.02
_LONGEST_S: Final = 0.25
_GROWTH: Final = 1.3
_MAX_SAMPLES: Final = 512


class Sampler:
    """Looks at PID 1 and the others again and again until it ends: masks change without an event. Close it."""

    def __init__(self, drivers: Drivers, processes: ProcessDriver, run: Run, number: int) -> None:
        self._processes, self._run, self._number = processes, run, number
        self._samples: SimpleQueue[Sample | None] = SimpleQueue()
        self._fd = processes.open(run.init) if run.init else None
        self._began_s, self._is_closed = clock.mono_s(), False
        if self._fd is not None:
            drivers.start_thread(self._watch, self._fd)

    def _watch(self, fd: int) -> None:
        pause_s, count = _FIRST_S, 0
        try:
            while not self._is_closed and not self._processes.wait(fd, pause_s):
                pause_s = min(_LONGEST_S, pause_s * _GROWTH)
                if (count := count + 1) <= _MAX_SAMPLES:
                    self._samples.put(self._sample())
        finally:
            self._samples.put(None)

    def _sample(self) -> Sample:
        found = self._processes.look(self._run, self._number)
        main = next((process for process in found if process.is_main), None)
        return Sample(
            at_s=clock.mono_s() - self._began_s,
            main=main.disposition if main else None,
            is_pending=bool(main and main.is_pending),
            alive=tuple(named(process) for process in found if not process.is_main),
        )

    def close(self) -> tuple[Sample, ...]:
        """Return what was seen. Blocks until the look that is under way is over. Idempotent."""
        if self._fd is None:
            return ()
        self._is_closed = True
        found: list[Sample] = []
        while (sample := self._samples.get()) is not None:
            found.append(sample)
        os.close(self._fd)
        self._fd = None
        return tuple(found)


def signal_later(drivers: Drivers, processes: ProcessDriver, run: Run, number: int, after_s: float) -> None:
    """Send PID 1 a signal after a while, unless it has ended by then. Does not block."""
    fd = processes.open(run.init) if run.init else None
    if fd is None:
        return

    def send(fd: int) -> None:
        try:
            if not processes.wait(fd, after_s):
                processes.send_signal(fd, number, wake=False)
        finally:
            os.close(fd)

    drivers.start_thread(send, fd)
