"""From the machine's last state to the report that is kept (rule S23)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.lazy import LazyModule
from bento.model.container import Container, Run
from bento.model.stop import UNSEEN, PhaseTiming, ProcessEnd, Signalled, StopReport
from bento.model.waits import Evidence
from bento.stop.killing import INIT_ENDED
from bento.stop.methods import METHODS, describe
from bento.stop.process import Key, Process
from bento.stop.rules.tree import entered, program
from bento.stop.rules.wake import process_wake
from bento.stop.states import Mark, StopState
from bento.stop.verdict import judge
from bento.units import SIGKILL, SIGTERM, signal_name

if TYPE_CHECKING:
    from bento.drivers.monitor.base import ExitStatus
    from bento.drivers.processes.base import ProcessDriver
    from bento.programs import advice as program_advice
    from bento.programs import table
else:  # most programs end in order by SIGTERM, or are not known
    program_advice, table = LazyModule("bento.programs.advice"), LazyModule("bento.programs.table")

_ASKED: Final = {
    "nginx": "nginx",
    "apache2": "apache2",
    "httpd": "apache2",
    "postgres": "postgres",
    "postmaster": "postgres",
    "haproxy": "haproxy",
    "lighttpd": "lighttpd",
    "uwsgi": "uwsgi",
    "uwsgi-core": "uwsgi",
    "runsvdir": "runsvdir",
} | {f"php-fpm{version}": "php-fpm" for version in ("", "7.4", "8.0", "8.1", "8.2", "8.3", "8.4")}
"""The kernel's names of the programs for which SIGTERM is not the orderly end, and their files in the table: of no
other is one read here, so that a stop pays for it only where there is something to say."""
_FORWARDERS: Final = ("tini", "tini-static", "docker-init", "catatonit")
"""What has SIGTERM has passed it on to its child."""


_WAITS_MAX: Final = 64  # processes of which the report says what they waited for
_WAITED_MAX: Final = 120
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def exit_code_of(seen: ExitStatus | None, processes: ProcessDriver, main_fd: int | None) -> int | None:
    """Return the exit code as the monitor saw it, else as the kernel remembers it, else None: never a guess."""
    if seen is not None:
        return seen.code
    return exit_code_from(processes, main_fd) if main_fd is not None else None


def ended_unix_ns(seen: ExitStatus | None, run: Run) -> int:
    """Return when PID 1 has ended, as the monitor saw it; else now, when that is recorded."""
    now_ns = clock.wall_ns()
    # Not where the clock was set meanwhile.
    return min(seen.at_unix_ns, now_ns) if seen is not None and seen.at_unix_ns >= run.started_unix_ns else now_ns


def exit_code_from(processes: ProcessDriver, fd: int) -> int | None:
    """Return the exit code that the kernel keeps for a pidfd opened while the process lived (Linux 6.15+), or None."""
    status = processes.exit_status(fd)
    return None if status is None else _shell_code(status)


def _shell_code(status: int) -> int:
    """A wait status as shells write it: 128+n after signal n."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class Endings:
    """How each process that was there at the first look has ended."""

    def __init__(self) -> None:
        self._killed = False
        self._seen_s: dict[Key, float] = {}
        self._waits: dict[Key, tuple[Process, Evidence]] = {}

    def saw(self, key: Key, now_s: float) -> None:
        """Note when a process was seen gone."""
        self._seen_s.setdefault(key, now_s)

    def read(self, processes: Iterable[Process]) -> None:
        """Note what each process of a look waits for, where that was read."""
        for process in processes:
            if process.evidence is not None and len(self._waits) < _WAITS_MAX:
                self._waits.setdefault(process.key, (process, process.evidence))

    def kill_began(self) -> None:
        """From now on, what ends by SIGKILL was ended by us."""
        self._killed = True

    def collect(
        self, processes: ProcessDriver, state: StopState, fds: dict[Key, int], unseen: Iterable[int]
    ) -> tuple[ProcessEnd, ...]:
        """Read the ends from the pidfds that were opened while the processes lived.

        ``unseen``: what began after PID 1 had its signal, and was killed; most of that no look has shown.
        """
        shown = state.watch.first + state.watch.later
        sessions = entered(shown)
        known = {pid for pid, _ in fds} | {process.pid for process in shown}
        how = "killed-by-us" if self._killed or state.kill_cause in INIT_ENDED else "killed-with-pid-1"
        return (
            *(self._end(processes, state, one, fds.get(one.key), one.key in sessions) for one in shown),
            *(
                ProcessEnd(pid=pid, comm=UNSEEN, how=how, code=SIGKILL, receives=UNSEEN)
                for pid in unseen
                if pid not in known
            ),
        )

    def _end(
        self, processes: ProcessDriver, state: StopState, process: Process, fd: int | None, is_session: bool
    ) -> ProcessEnd:
        how, code = self._how(processes, state, process, fd)
        seen_s = self._seen_s.get(process.key)
        waits = self._waits.get(process.key)
        return ProcessEnd(
            pid=process.pid,
            ppid=process.ppid,
            comm=program(process),
            how=how,
            code=code,
            receives=process.disposition.value,
            session=is_session,
            waited=_waited(*waits) if waits else "",
            began_s=_began_s(process, state),
            ended_s=None if seen_s is None else seen_s - state.began_s,
        )

    def _how(
        self, processes: ProcessDriver, state: StopState, process: Process, fd: int | None
    ) -> tuple[str, int | None]:
        if fd is not None and not processes.has_exited(fd):
            return "alive", None
        status = processes.exit_status(fd) if fd is not None else None
        if status is None:
            return "unknown", None
        if os.WIFEXITED(status):
            return "exited", os.WEXITSTATUS(status)
        number = os.WTERMSIG(status)
        if number != SIGKILL:
            return "signalled", number
        is_ours = self._killed or (process.is_main and state.kill_cause in INIT_ENDED)
        return ("killed-by-us" if is_ours else "killed-with-pid-1"), number


def _waited(process: Process, evidence: Evidence) -> str:
    words = process_wake(process, evidence).reason.removeprefix(f"{process.comm} ({process.pid}) ")
    return words[:_WAITED_MAX]


def _began_s(process: Process, state: StopState) -> float | None:
    """Return when it began, where that was during the stop: its start time counts from the boot (proc_pid_stat(5))."""
    began_s = process.start_ticks / _TICKS_PER_S - clock.boot_s() + clock.mono_s() - state.began_s
    return began_s if began_s > 0 else None


def make_report(
    state: StopState,
    *,
    container: Container,
    exit_code: int | None,
    oom_kills: int,
    ends: tuple[ProcessEnd, ...],
    notes: tuple[str, ...] = (),
    asked_unix_ns: int,
    now_s: float,
) -> StopReport:
    """Put the report together. ``now_s``: the end of the stop on the machine's clock."""
    judgement = judge(state, exit_code=exit_code, oom_kills=oom_kills, ends=ends)
    request = state.request
    duration_s = now_s - state.began_s
    ended_s = (state.exited_s if state.exited_s is not None else now_s) - state.began_s
    is_asked = state.method in METHODS
    main = next((process for process in state.watch.first if process.is_main), None)
    return StopReport(
        id=container.id,
        name=container.name,
        asked_by=request.asked_by,
        method=state.method or request.method,
        signal=describe(state.method) if is_asked else signal_name(request.signal),
        grace_s=request.grace_s,
        started_unix_ns=asked_unix_ns or clock.wall_ns(),
        duration_s=duration_s,
        verdict=judgement.verdict,
        cause=judgement.cause,
        remedy="; ".join(text for text in (judgement.remedy, *_better_signals(state)) if text),
        exit_code=exit_code,
        disposition=main.disposition.value if main else "gone",
        is_graceful=judgement.is_graceful,
        is_slow=request.grace_s > 0 and ended_s > request.grace_s / 2,
        phases=_phases(state.marks, state.began_s, now_s),
        signalled=(*_requests(state, main), *state.signalled, *state.hastened),
        held=state.held,
        processes=ends,
        hooks=state.hooks,
        notes=(
            *([request.choice] if request.choice else []),
            *state.notes,
            *(f"{hook.when} hook {hook.command!r}: {hook.error}" for hook in state.hooks if hook.error),
            *notes,
        ),
        errors=state.errors,
    )


def _better_signals(state: StopState) -> tuple[str, ...]:
    """Say which signal would have been better for the programs that got SIGTERM, where they are known."""
    request = state.request
    if request.signal != SIGTERM or request.last_signal or not state.signalled:
        return ()
    told = {(one.pid, one.start_ticks) for one in state.signalled if not one.session}
    passed_on = {one.pid for one in state.watch.first if one.key in told and one.comm in _FORWARDERS}
    receivers = (one for one in state.watch.first if one.key in told or one.ppid in passed_on)
    names = dict.fromkeys(_ASKED[one.comm] for one in receivers if one.comm in _ASKED)
    found = (program_advice.advice(table.read(name), request.signal) for name in names)
    return tuple(each.text for each in found if each is not None and each.better)


def _requests(state: StopState, main: Process | None) -> tuple[Signalled, ...]:
    """The request that PID 1 got by its method, as a signal: those that failed have reached nothing (rule S10)."""
    return tuple(
        Signalled(
            pid=main.pid,
            start_ticks=main.start_ticks,
            comm=program(main),
            at_s=init_request.at_s,
            why=f"PID 1, by method {init_request.method}",
            receives=main.disposition.value,
        )
        for init_request in state.init_requests
        if main is not None and not init_request.error
    )


def _phases(marks: tuple[Mark, ...], began_s: float, now_s: float) -> tuple[PhaseTiming, ...]:
    """A phase lasts until the next mark."""
    ends = [mark.at_s for mark in marks[1:]] + [now_s]
    return tuple(
        PhaseTiming(name=mark.name, start_s=mark.at_s - began_s, duration_s=end_s - mark.at_s)
        for mark, end_s in zip(marks, ends, strict=True)
    )
