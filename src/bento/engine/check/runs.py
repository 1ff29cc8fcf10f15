"""The runs of a check: each starts the container, and stops it plainly at a moment of its own, under observation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.check.observed import Observation, Sample
from bento.check.seeing import with_ends
from bento.engine.base.outcome import StopObserver, StopOutcome
from bento.engine.check.inside import run_inside
from bento.engine.check.load import CommandLoad, HttpLoad, address_of, count
from bento.engine.check.looking import observe, target_of
from bento.engine.check.ready import NotReady, wait_ready
from bento.engine.check.watching import Sampler, signal_later
from bento.engine.stop.request import StopOptions, request_for
from bento.engine.stop.stop import stop_containers
from bento.errors import InternalError
from bento.model.check import CheckOptions, CheckRun, RunKind, WithBento
from bento.model.container import Container, Run
from bento.model.stop import Scope, StopReport, StopRequest

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_LOAD_LIMIT_S: Final = 60.0
_HIDDEN: Final = "its processes are not seen from here: only how PID 1 ends is judged"


class Seen(Struct, frozen=True):
    """What was observed of a run, and what Bento's own stop would do."""

    observation: Observation
    with_bento: WithBento | None = None


class Checked:
    """One container under a check, from its start on."""

    def __init__(
        self, drivers: Drivers, container: Container, options: CheckOptions, number: int, kind: RunKind
    ) -> None:
        if container.run is None:
            raise InternalError(f"container {container.name} was started and has no run")
        self.drivers, self.container, self._options = drivers, container, options
        self._run: Run = container.run
        self._processes = drivers.processes_for(container)
        self.plain = StopOptions(scope=Scope.MAIN, grace_s=options.grace_s, signal=options.signal)
        note = "" if container.run.shows_processes else _HIDDEN
        self._record = CheckRun(number=number, kind=kind, note=note)

    @property
    def request(self) -> StopRequest:
        """The plain stop of it."""
        return request_for(self.container, self.plain, self.drivers.settings)

    def age_s(self) -> float:
        """Return how long it has been running."""
        return clock.boot_s() - self._run.started_boot_s

    def wait_ready(self) -> None:
        """Block until it is ready. Raises NotReady."""
        ready = wait_ready(self.drivers, self.container, self._options.ready, self.request.signal)
        self._record = replace(self._record, ready=ready.how, ready_s=ready.at_s, received_s=ready.received_s)

    def wait_age(self, age_s: float) -> bool:
        """Block until it is so old; return whether it still runs."""
        fd = self._processes.open(self._run.init) if self._run.init else None
        if fd is None:
            return False
        try:
            return not self._processes.wait(fd, max(0.0, age_s - self.age_s()))
        finally:
            os.close(fd)

    def look(self) -> Seen:
        """Look at it, and leave it alone."""
        target = target_of(self._processes, self._run)
        record = replace(self._record, stopped_s=self.age_s())
        is_ready = record.ready_s is not None
        found, with_bento = observe(target, record, self.request, name=self.container.name, is_settled=is_ready)
        return Seen(found, with_bento)

    def stop(self, seen: Seen, *, drain: bool = False, second_after_s: float | None = None) -> Seen:
        """Stop it plainly, and look at it meanwhile; add what came of it. Blocks. Raises what a stop does."""
        if second_after_s is not None:
            signal_later(self.drivers, self._processes, self._run, self.request.signal, second_after_s)
        return plain_stops(self.drivers, [(self, seen)], drain=drain)[0]

    def sampler(self) -> Sampler:
        """Begin to look at it again and again."""
        return Sampler(self.drivers, self._processes, self._run, self.request.signal)

    def stopped(self, seen: Seen, outcome: StopOutcome, samples: tuple[Sample, ...], stopped_s: float) -> Seen:
        """Add what came of its stop. Raises what that did."""
        if outcome.report is None:
            raise outcome.error or InternalError("a stop without a report")
        run = replace(seen.observation.run, stopped_s=stopped_s, report=outcome.report)
        run = replace(run, processes=with_ends(run.processes, outcome.report.processes))
        return Seen(replace(seen.observation, run=run, samples=samples), seen.with_bento)

    def stop_under_load(self, *, drain: bool) -> Seen:
        """Put load on it, stop it, and say what became of the work."""
        asked = self._options.load
        http = HttpLoad(self.drivers, address_of(self.container, asked.port), asked.path) if asked.port else None
        limit_s = asked.lead_s + max(0.0, self.request.grace_s) + self.request.kill_timeout_s + _LOAD_LIMIT_S
        command = CommandLoad(self.drivers, self.container, asked.command, limit_s) if asked.command else None
        try:
            self.wait_age(self.age_s() + asked.lead_s)
            seen, stopped_s = self.look(), clock.mono_s()
            if http is not None:
                http.stop_begins()
            seen = self.stop(seen, drain=drain)
        except BaseException:
            if command is not None:
                command.kill()
            raise
        finally:
            requests = http.finish() if http is not None else None
        loaded = command.finish() if command is not None else None
        run = seen.observation.run
        if requests is not None:
            told_s = _told_s(run.report) if run.report is not None else 0.0
            run = replace(run, requests=count(requests, stopped_s, told_s=told_s))
        run = replace(run, command=loaded)
        return Seen(replace(seen.observation, run=run), seen.with_bento)

    def after(self, command: str) -> Observation:
        """Wait until it is ready with what the run before has left, and ask a command inside whether that is whole."""
        try:
            self.wait_ready()
            limit_s = self._options.ready.timeout_s
            asked = run_inside(self.drivers, self.container.id, command, limit_s)
            record = replace(self._record, command=asked)
        except NotReady as error:
            record = replace(self._record, note=str(error))
        return Observation(run=record, request=self.request)


def plain_stops(
    drivers: Drivers, members: Sequence[tuple[Checked, Seen]], *, drain: bool = False, total_s: float | None = None
) -> list[Seen]:
    """Stop containers plainly, all together and in their order, and look at them meanwhile; return what came of each.

    Blocks. Raises what a stop does.
    """
    first = members[0][0]
    options = replace(first.plain, drain=drain, total_s=total_s)
    samplers = [checked.sampler() for checked, _ in members]
    ages_s = [checked.age_s() for checked, _ in members]
    try:
        ids = [checked.container.id for checked, _ in members]
        outcomes = stop_containers(drivers, ids, options, _Unheard())
    finally:
        samples = [sampler.close() for sampler in samplers]
    return [
        checked.stopped(seen, outcome, sampled, age_s)
        for (checked, seen), outcome, sampled, age_s in zip(members, outcomes, samples, ages_s, strict=True)
    ]


class _Unheard(StopObserver):
    """Of a stop of a check only the report counts."""

    def notice(self, text: str) -> None:
        """See StopObserver."""


def _told_s(report: StopReport) -> float:
    """Return when PID 1 got its signal, in seconds since the stop began. New connections are refused before that."""
    return report.signalled[0].at_s if report.signalled else 0.0


def shutdown_s(report: StopReport) -> float:
    """Return how long PID 1 has taken from its signal to its end."""
    main = report.processes[0] if report.processes else None
    began_s = report.signalled[0].at_s if report.signalled else 0.0
    ended_s = main.ended_s if main is not None and main.ended_s is not None else report.duration_s
    return max(0.0, ended_s - began_s)
