"""What a stop writes down: the intent before the first signal, the report and the exit at the end (S4, S21, S23)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from bento import clock, log, sd_journal
from bento.engine.base import exec_sessions, policy
from bento.engine.base.exit_owner import leave_run_dir
from bento.engine.base.holdup import Holdup
from bento.engine.base.outcome import StopOutcome
from bento.engine.stop.report import ended_unix_ns, exit_code_of, make_report
from bento.errors import BentoError, CleanupFailed, Conflict, StuckProcess
from bento.lazy import LazyModule
from bento.model.container import Container, Exit, Run, Status
from bento.model.event import Deed
from bento.model.stop import AskedBy, Scope, StopIntent, StopReport
from bento.stop.methods import SIGNAL
from bento.stop.states import KillCause, Phase, StopState
from bento.stop.verdict import SIGKILL_STATUS
from bento.units import SIGHUP, SIGKILL, signal_name

if TYPE_CHECKING:
    from bento.drivers.monitor.base import ExitStatus
    from bento.engine.base.drivers import Drivers
    from bento.engine.resources import units
    from bento.engine.stop import erase
    from bento.engine.stop.cleanup import Cleanup
    from bento.engine.stop.container_processes import ContainerProcesses
    from bento.locks import Lock
else:  # most root filesystems are released, and few containers are units
    erase, units = LazyModule("bento.engine.stop.erase"), LazyModule("bento.engine.resources.units")

_HANGUP = signal_name(SIGHUP)


class Recorder:
    """Keeps the record of one container through its stop.

    Attributes:
        container: as it was last written.
        is_asked: False: no command asked for a stop, the container had ended by itself.
        asked_unix_ns: when the stop was asked for.
    """

    def __init__(
        self, drivers: Drivers, container: Container, run: Run, processes: ContainerProcesses, cleanup: Cleanup
    ) -> None:
        self.container = container
        self.is_asked = True
        self.asked_unix_ns = clock.wall_ns()
        self._drivers, self._run, self._processes, self._cleanup = drivers, run, processes, cleanup
        self._oom_before = 0
        self._stuck: list[str] = []
        self._held = ""
        self._program_code: int | None = None
        self._is_door_closed = False
        self._logged: set[int] = set()  # the signals
        self._holdup = Holdup(drivers, container.name, lambda: drivers.locks.holder(container.id), log.warning)

    def begin(self) -> None:
        """Note what must be known from before the stop."""
        self._oom_before = self._processes.oom_kills()

    def resume(self, intent: StopIntent, state: StopState) -> None:
        """Take over what an earlier driver had noted."""
        self._logged.update(_signals(state))
        self.asked_unix_ns = intent.asked_unix_ns
        self._oom_before = intent.oom_kills
        self._cleanup.oom_kills, self._cleanup.is_released = intent.oom_kills_at_end, intent.is_released
        self._program_code = intent.program_code  # the kernel keeps it for pidfds alone, and those went with the driver

    def persist(self, state: StopState) -> None:
        """Write intent and journal in one transaction (rules S4, S6).

        From the kill on, or once PID 1 is held at its exit, no exec session is let in any more (rule S16).
        """
        if not self.is_asked:
            return
        is_ending = state.phase is Phase.KILLING or state.hold.at_exit_s is not None
        if is_ending and not self._is_door_closed:
            self._is_door_closed = True
            with exec_sessions.none_begins(self._drivers, self.container.id, is_kill=state.phase is Phase.KILLING):
                self._write_intent(state)
        else:
            self._write_intent(state)

    def _write_intent(self, state: StopState) -> None:
        if state.kill_cause is KillCause.WRAPPED and state.wrapped.ends and self._program_code is None:
            self._program_code = self._processes.code_of(state.wrapped.ends[0])
        deadline_boot_s = None
        if state.deadline_s is not None:
            deadline_boot_s = state.deadline_s - clock.mono_s() + clock.boot_s()
        intent = StopIntent(
            run=self._run.number,
            request=state.request,
            deadline_boot_s=deadline_boot_s,
            boot_id=self._run.init.boot_id if self._run.init else "",
            asked_unix_ns=self.asked_unix_ns,
            oom_kills=self._oom_before,
            oom_kills_at_end=self._cleanup.oom_kills,
            is_released=self._cleanup.is_released,
            program_code=self._program_code,
            journal=msgspec.json.encode(state),
        )
        asked_by = state.request.asked_by
        is_wanted = asked_by is not AskedBy.POLICY  # else only the end of a start that had died
        self.container = self._drivers.store.modify(
            self.container.id,
            lambda c: replace(
                c,
                status=Status.STOPPING,
                stop_asked=c.stop_asked or is_wanted,
                shut_down=asked_by is AskedBy.SHUTDOWN,
                intent=intent,
            ),
            deeds=self._kills(state),
        )

    def note_stuck(self) -> None:
        """Remember the processes that did not die."""
        self._stuck = self._processes.name_stuck()

    def record(self, state: StopState) -> None:
        """Write the end: everything that happened, in one transaction. Raises Conflict while the lock is taken."""
        seen = self._seen()
        code = self._exit_code(state, seen)
        self._held = "" if self._cleanup.is_released else self._holders()
        report = self._report(state, code) if self.is_asked else None
        ended = Exit(
            code=code,
            finished_unix_ns=ended_unix_ns(seen, self._run),
            is_released=self._cleanup.is_released,
            oom_killed=self._cleanup.oom_kills > 0,
            note="" if code is not None else "the exit code is unknown: the monitor died before it could write it",
        )
        # Under the lock, so that no new run owns the run directory yet when it goes.
        with self._lock():
            self.container = self._drivers.store.modify(
                self.container.id,
                lambda c: _stopped(c, self._run, ended, report, is_disconnected=self._cleanup.is_disconnected),
                deeds=(
                    *exec_sessions.take_ended(self._drivers, self.container.id, is_over=True),
                    *((Deed(action="stop"),) if self._is_stop(state) else ()),
                ),
            )
            leave_run_dir(self._drivers, self.container)
        if report is not None:
            sd_journal.send(sd_journal.fields(self.container, report))
        if self._run.scope:
            units.forget(self._drivers, self.container)

    def _is_stop(self, state: StopState) -> bool:
        """Whether it is logged as a stop: not of a start that had died, nor of a removal, as in Docker."""
        return self.is_asked and state.request.asked_by not in (AskedBy.POLICY, AskedBy.REMOVAL)

    def _kills(self, state: StopState) -> list[Deed]:
        """Return what is to be logged of the signals that are about to be sent, each once."""
        found = []
        for number in _signals(state):
            if number not in self._logged:
                self._logged.add(number)
                found.append(Deed(action="kill", attributes={"signal": str(number)}))
        return found

    def _lock(self) -> Lock:
        """Return the operation lock. Raises Conflict; what stands still with it is ended where a stop was asked for."""
        try:
            return self._drivers.locks.hold(self.container.id, 0.0)
        except Conflict:
            try:
                self._holdup.look(clock.mono_s() if self.is_asked else None)
            except Conflict as error:  # is not tried again
                raise StuckProcess(error.message, hint=error.hint) from error
            raise

    def _seen(self) -> ExitStatus | None:
        """Return what the monitor has said of the exit."""
        return self._drivers.monitor.exit_status(self._drivers.run_dir(self.container.id), self.container.id)

    def _exit_code(self, state: StopState, seen: ExitStatus | None) -> int | None:
        """Return the exit code: of the program that PID 1 only waited for, where PID 1 was ended for that (S13)."""
        code = exit_code_of(seen, self._drivers.processes, self._processes.main_fd)
        if state.kill_cause is not KillCause.WRAPPED or code not in (None, SIGKILL_STATUS):
            return code
        if self._program_code is None and state.wrapped.ends:  # the kernel may tell once it has been reaped
            self._program_code = self._processes.code_of(state.wrapped.ends[0])
        return code if self._program_code is None else self._program_code

    def outcome(self, state: StopState) -> StopOutcome:
        """Return what became of it, from the machine's final state; a stop that is stuck gets its report here."""
        error: BentoError | None = None
        which, errors = f"container {self.container.name} ({self.container.id})", "; ".join(state.errors)
        if state.phase is Phase.STUCK:
            if self.is_asked:
                self._keep_stuck_report(state)
            if state.exited_s is None:
                what = f"could not be ended: {'; '.join(self._stuck) or errors}"
            else:
                what = f"has ended, but its clean-up is stuck: {errors}"
            error = StuckProcess(f"{which} {what}", hint="stop it again later")
        elif state.errors:
            held = f"; {self._held}" if self._held else ""
            error = CleanupFailed(f"{which} has stopped, but: {errors}{held}", hint="see bento doctor")
        report = self.container.report if self.is_asked else None
        return StopOutcome(id=self.container.id, name=self.container.name, report=report, error=error)

    def _report(self, state: StopState, code: int | None) -> StopReport:
        return make_report(
            state,
            container=self.container,
            exit_code=code,
            oom_kills=self._cleanup.oom_kills if state.had_exited else self._cleanup.oom_kills - self._oom_before,
            ends=self._processes.ends(state),
            notes=(
                *self._processes.failures,
                *self._stuck,
                *((self._held,) if self._held else ()),
                *self._unheld(state),
                *self._out_of_memory(),
            ),
            asked_unix_ns=self.asked_unix_ns,
            now_s=clock.mono_s(),
        )

    def _unheld(self, state: StopState) -> tuple[str, ...]:
        """Say that PID 1 could not be held at its exit (rule S13a), where a sandbox hides what it would leave."""
        request = state.request
        is_unwanted = request.exit_hold_s == 0 or request.scope is Scope.MAIN or not state.signalled
        if self._run.shows_processes or is_unwanted:
            return ()
        return ("PID 1 is not held at its exit: its runtime shows no process of the container to the kernel",)

    def _out_of_memory(self) -> tuple[str, ...]:
        """Say that its memory was short, whatever ended PID 1."""
        during, before = self._cleanup.oom_kills - self._oom_before, self._oom_before
        return tuple(
            f"the kernel killed {count} of its processes for want of memory {when} the stop"
            for count, when in ((before, "before"), (during, "during"))
            if count > 0
        )

    def _keep_stuck_report(self, state: StopState) -> None:
        """Every stop leaves a report, also one that did not get through (rule S23). The record stays ``stopping``."""
        is_known = state.exited_s is not None
        with suppress(BentoError, OSError):  # the error that is reported is the one that matters
            processes, main_fd = self._drivers.processes, self._processes.main_fd
            code = exit_code_of(self._seen(), processes, main_fd) if is_known else None
            report = self._report(state, code)
            self.container = self._drivers.store.modify(self.container.id, lambda c: replace(c, report=report))

    def _holders(self) -> str:
        return f"the root filesystem is held by {erase.holders(self._drivers, self.container.id)}"


def _signals(state: StopState) -> list[int]:
    """Return the signals that a stop has sent to the container, or is about to: its own, and SIGKILL."""
    sent = (SIGHUP if one.signal == _HANGUP else state.request.signal for one in state.signalled)
    last = [state.request.last_signal] if state.hastened else []
    own = list(dict.fromkeys((*sent, *last))) if state.request.method == SIGNAL else []
    return [*own, SIGKILL] if state.phase is Phase.KILLING else own


def _stopped(
    container: Container, run: Run, ended: Exit, report: StopReport | None, *, is_disconnected: bool
) -> Container:
    """The record of a container that has ended: stopped, or waiting for its restart when its policy says so."""
    connections = () if is_disconnected else run.connections  # what is left of it goes with the container
    stopped = replace(
        container,
        status=Status.STOPPED,
        run=replace(run, init=None, monitor=None, cgroups={}, scope="", connections=connections),
        exit=ended,
        intent=None,
        report=report or container.report,
    )
    now_s = clock.boot_s()
    up_s = now_s - run.started_boot_s if run.started_boot_s else 0.0
    return policy.after_end(stopped, ended, up_s=up_s, now_boot_s=now_s)
