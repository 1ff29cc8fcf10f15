"""What is kept of a stop of something that Bento has not made: its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.engine.base.outcome import StopOutcome
from bento.engine.foreign.reports import Reports
from bento.engine.stop.report import exit_code_from, make_report
from bento.errors import StuckProcess
from bento.stop.states import KillCause, Phase, StopState
from bento.stop.verdict import SIGKILL_STATUS
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.foreign.find import Found
    from bento.engine.foreign.target import EngineStop
    from bento.engine.stop.container_processes import ContainerProcesses
    from bento.model.container import Container
    from bento.model.stop import StopIntent, StopReport, StopRequest

_OF_ENGINE = "log drain"  # the first step of a clean-up, in which the engine is waited for
_NOT_OURS = frozenset({"runtime", "cgroup", "network", "unmount"})


class ForeignRecorder:
    """StopRecorder: there is no record, and no stop is gone on with by another process."""

    def __init__(
        self,
        drivers: Drivers,
        found: Found,
        asked: StopRequest,
        processes: ContainerProcesses,
        ask: EngineStop | None,
    ) -> None:
        self.container: Container = found.container
        self.is_asked = True
        self._drivers, self._found, self._asked = drivers, found, asked
        self._processes, self._ask = processes, ask
        self._asked_unix_ns = clock.wall_ns()
        self._oom_before = 0
        self._stuck: list[str] = []
        self._program_code: int | None = None
        self._kept: StopReport | None = None

    def begin(self) -> None:
        """See StopRecorder."""
        self._oom_before = self._processes.oom_kills()

    def resume(self, intent: StopIntent, state: StopState) -> None:
        """See StopRecorder. Never called: nothing was written down that could be gone on with."""

    def persist(self, state: StopState) -> None:
        """See StopRecorder. Only how the program ended that PID 1 waits for: its descriptor goes with this process."""
        if state.kill_cause is KillCause.WRAPPED and state.wrapped.ends and self._program_code is None:
            self._program_code = self._processes.code_of(state.wrapped.ends[0])

    def note_stuck(self) -> None:
        """See StopRecorder."""
        self._stuck = self._processes.name_stuck()

    def record(self, state: StopState) -> None:
        """See StopRecorder."""
        self._keep(state)

    def outcome(self, state: StopState) -> StopOutcome:
        """See StopRecorder."""
        error = None
        if state.phase is Phase.STUCK:
            self._keep(state)
            why = "; ".join(self._stuck or state.errors)
            error = StuckProcess(f"{self._found.name} could not be ended: {why}", hint="stop it again later")
        return StopOutcome(id=self.container.id, name=self._found.name, report=self._kept, error=error)

    def _keep(self, state: StopState) -> None:
        self._kept = self._report(state)
        engine = self._found.engine.name if self._found.engine is not None else ""
        Reports(self._drivers.root).keep(engine, self._kept)

    def _report(self, state: StopState) -> StopReport:
        code = self._main_code()
        state = self._as_asked(state, code)
        program_code = code
        if state.kill_cause is KillCause.WRAPPED and code in (None, SIGKILL_STATUS) and self._program_code is not None:
            program_code = self._program_code
        report = make_report(
            state,
            container=self.container,
            exit_code=program_code,
            oom_kills=max(0, self._processes.oom_kills() - self._oom_before),
            ends=self._processes.ends(state),
            notes=(*self._processes.failures, *self._stuck, *self._of_engine(code, program_code)),
            asked_unix_ns=self._asked_unix_ns,
            now_s=clock.mono_s(),
        )
        name = "engine" if self._ask is not None else ""
        errors = tuple(text.replace(f"{_OF_ENGINE}:", f"{name}:", 1) for text in report.errors)
        cause = report.cause.replace(f"({_OF_ENGINE}:", f"({name}:", 1)
        phases = [replace(one, name=name) if one.name == _OF_ENGINE else one for one in report.phases]
        report = replace(report, errors=errors, cause=cause)
        return replace(report, phases=tuple(one for one in phases if one.name and one.name not in _NOT_OURS))

    def _main_code(self) -> int | None:
        fd = self._processes.main_fd
        code = exit_code_from(self._drivers.foreign_processes, fd) if fd is not None else None
        after = self._ask.after if self._ask is not None else None
        return code if code is not None or after is None else after.exit_code

    def _as_asked(self, state: StopState, code: int | None) -> StopState:
        """Put what was asked for in the place of what the machine had: an engine's kill comes before its deadline."""
        began_s, grace_s, had_s = state.began_s, self._asked.grace_s, state.request.grace_s
        deadline_s = None if grace_s == NO_LIMIT else began_s + grace_s
        if state.deadline_s is not None and (had_s == NO_LIMIT or state.deadline_s < began_s + had_s):
            deadline_s = state.deadline_s  # a caller that joined has brought it nearer
        cause, ended_s = state.kill_cause, state.exited_s
        is_killed = code == SIGKILL_STATUS and self._ask is not None and self._ask.engine.kills
        if is_killed and cause is None and deadline_s is not None and ended_s is not None and ended_s >= deadline_s:
            cause = KillCause.GRACE_OVER
        if grace_s == 0 and (cause is not None or code == SIGKILL_STATUS):
            cause = KillCause.ASKED
        return replace(state, request=self._asked, deadline_s=deadline_s, kill_cause=cause)

    def _of_engine(self, code: int | None, program_code: int | None) -> list[str]:
        """Say what was asked of the engine, and what it has made of it."""
        ask = self._ask
        if ask is None:
            return []
        name = ask.engine.name
        found = [f"{name} was asked first ({ask.words})"] if ask.is_begun else []
        if ask.error:
            found.append(f"{name}: {ask.error}")
        if code != program_code:
            found.append(f"{name} has exit code {code}, of the SIGKILL that ended PID 1")
        if ask.after is not None and ask.after.pid not in (0, ask.container.pid):
            found.append(f"{name} has started it again")
        return found
