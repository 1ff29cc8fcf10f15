"""The process that has a lock of a container while a stop wants it, and stands still (rules S5, S6).

The holder is named. Where it is Bento's own command line, and does nothing else, it is ended by pidfd once the
stop's deadline has come, and the stop goes on: every verb may be killed anywhere, and the next one cleans up after it.
One that is at work is waited for, and a program that uses the library is left alone.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.engine.base import offspring
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.errors import Conflict, StuckProcess
from bento.units import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.drivers.processes.base import HostProcesses
    from bento.engine.base.drivers import Drivers
    from bento.locks import Holder, Lock
    from bento.model.container import ProcessIdentity

STILL_S: Final = 5.0
"""Without any of its threads having run for so long, a process stands still. One that was stopped or frozen does so."""

_LOOK_EVERY_S: Final = 0.1
_DIES_S: Final = 10.0  # after SIGKILL, unless it hangs in the kernel


class Stillness:
    """How long a process has not run."""

    def __init__(self, processes: HostProcesses) -> None:
        self._processes = processes
        self._process: ProcessIdentity | None = None
        self._switches = 0
        self._since_s = 0.0

    def look(self, process: ProcessIdentity, now_s: float) -> bool:
        """Look at it once more; return whether it stands still."""
        switches, is_stopped = self._processes.progress(process.pid)
        if process != self._process or switches != self._switches:
            self._process, self._switches, self._since_s = process, switches, now_s
        return is_stopped or now_s - self._since_s >= STILL_S or self._processes.is_process_frozen(process.pid)


class Holdup:
    """One lock of one container that is not to be had. ``look`` at it after each vain try.

    ``holder`` returns the process that has it. ``notice`` gets what a user should know.
    """

    def __init__(
        self, drivers: Drivers, name: str, holder: Callable[[], Holder | None], notice: Callable[[str], None]
    ) -> None:
        self._drivers, self._name, self._holder, self._notice = drivers, name, holder, notice
        self._began_s: float | None = None
        self._looked_s = 0.0
        self._stillness = Stillness(drivers.processes)
        self._ended: Holder | None = None
        self._ended_s = 0.0
        self._is_named = False

    def look(self, deadline_s: float | None) -> None:
        """See whether to go on waiting; end the holder when the deadline (CLOCK_MONOTONIC; None: none) has come.

        Without a deadline a holder that stands still is waited for STILL_S alone. Raises Conflict, which names the
        holder, when it is waited for in vain; StuckProcess when not even SIGKILL ends it.
        """
        now_s = clock.mono_s()
        if self._began_s is None:
            self._began_s = now_s
        elif now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        holder = self._holder()
        is_late = now_s - self._began_s >= LOCK_TIMEOUT_S
        if holder is None or holder.process.pid == os.getpid():
            if is_late:
                raise Conflict(
                    f"another bento process works on container {self._name}", hint="try again when it is done"
                )
            return
        is_still = self._stillness.look(holder.process, now_s)
        if holder == self._ended:
            if now_s - self._ended_s >= _DIES_S:
                raise StuckProcess(f"{holder}, which held container {self._name} up, survives SIGKILL")
            return
        self._report(holder, now_s)
        if is_still and holder.verb and deadline_s is not None and now_s >= deadline_s:
            self._end(holder, now_s)
        elif (is_late and (deadline_s is None or now_s >= deadline_s or not holder.verb)) or (
            is_still and deadline_s is None and now_s - self._began_s >= STILL_S
        ):
            raise Conflict(
                f"{holder} works on container {self._name}",
                hint=f"wait for it, or continue it (kill -CONT {holder.process.pid}), or end it",
            )

    def _report(self, holder: Holder, now_s: float) -> None:
        if not self._is_named and self._began_s is not None and now_s - self._began_s >= STILL_S:
            self._is_named = True
            self._notice(f"{holder} holds container {self._name} up")

    def _end(self, holder: Holder, now_s: float) -> None:
        if end(self._drivers, holder.process, self._notice):
            self._notice(f"{holder} stood still and was ended: going on with container {self._name}")
        self._ended, self._ended_s = holder, now_s


def end(drivers: Drivers, process: ProcessIdentity, notice: Callable[[str], None], *, of_runtime: bool = False) -> bool:
    """SIGKILL a process and what it has begun, by pidfd; False when it has ended already. Its locks go with it.

    ``of_runtime``: of what it has begun the runtimes alone. ``notice`` gets what is left.
    """
    fd = drivers.processes.open(process)
    if fd is None:
        return False
    try:
        children = offspring.below(drivers, process.pid, of_runtime=of_runtime)
        drivers.processes.send_signal(fd, SIGKILL, wake=False)
    finally:
        os.close(fd)
    for child in offspring.end(drivers, children):
        notice(f"{child}, which process {process.pid} had begun, is not known to be Bento's own and goes on")
    return True


def hold(
    drivers: Drivers, container_id: str, name: str, notice: Callable[[str], None], *, limit_s: float = math.inf
) -> Lock:
    """Return a container's operation lock, for what must not be held up: a holder that stands still is ended. Blocks.

    Raises as ``Holdup.look``, and Conflict after ``limit_s`` seconds.
    """
    holdup = Holdup(drivers, name, lambda: drivers.locks.holder(container_id), notice)
    until_s = clock.mono_s() + limit_s
    while True:
        try:
            return drivers.locks.hold(container_id, _LOOK_EVERY_S)
        except Conflict:
            holdup.look(clock.mono_s())
            if clock.mono_s() >= until_s:
                raise
