"""``check``: which runs there are, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.check.by_start import TWICE_MIN_S
from bento.check.judge import is_hopeless, judge, verdict_of
from bento.check.observed import Observation
from bento.engine.check import owned
from bento.engine.check.options import refuse
from bento.engine.check.ready import NotReady
from bento.engine.check.runs import Checked, shutdown_s
from bento.errors import BentoError, UsageError
from bento.model.check import Check, CheckKind, CheckOptions, CheckRun, CheckVerdict, RunKind, WithBento
from bento.model.container import Container, Files
from bento.model.create import CreateOptions
from bento.model.stop import StopRequest, Verdict
from bento.units import signal_name

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

OnRun = Callable[[CheckRun], None]
"""Called when a run is over."""
_TWICE_AT: Final = 0.3
"""Of the time that the shutdown takes: then the second signal comes."""
_MOMENT_MIN_S: Final = 0.05
"""Sooner after its start a container may still be the runtime's own program."""


def check_image(
    drivers: Drivers,
    create: CreateOptions,
    options: CheckOptions,
    *,
    subject: str = "",
    kind: CheckKind = CheckKind.IMAGE,
    on_run: OnRun | None = None,
) -> Check:
    """Start an image, stop it at several moments, and judge what was observed. Blocks for all of its runs.

    What cannot be run is in the result, as ``unjudged``. Raises UsageError for options that make no sense.
    """
    refuse(options)
    if create.namespaces.pid:
        raise UsageError("a check needs a PID namespace of the container's own", hint="leave out --pid")
    owned.remove_left_over(drivers)
    return _Plan(drivers, create, options, subject or create.image, kind, on_run).carry_out()


class _Made(Struct):
    """What is known of the container, once it was made."""

    command: tuple[str, ...] = ()
    request: StopRequest = StopRequest()


class _Plan:
    """One check. Its runs come one after the other: they would disturb each other, and their ports collide."""

    def __init__(
        self,
        drivers: Drivers,
        create: CreateOptions,
        options: CheckOptions,
        subject: str,
        kind: CheckKind,
        on_run: OnRun | None,
    ) -> None:
        self._drivers, self._create, self._options = drivers, create, options
        self._subject, self._kind, self._on_run = subject, kind, on_run
        self._seen: list[Observation] = []
        self._with_bento: WithBento | None = None
        self._made = _Made(request=_asked(create, options))

    def carry_out(self) -> Check:
        """Do all runs; what keeps one from being done makes it ``unjudged``."""
        began_ns, began_s, error = clock.wall_ns(), clock.mono_s(), ""
        try:
            self._runs()
        except (NotReady, BentoError) as caught:
            error = str(caught)
        findings = judge(self._seen)
        request = self._made.request
        return Check(
            subject=self._subject,
            kind=self._kind,
            command=self._made.command,
            signal=signal_name(request.signal),
            grace_s=request.grace_s,
            fail_on=self._options.fail_on,
            started_unix_ns=began_ns,
            duration_s=clock.mono_s() - began_s,
            runs=tuple(seen.run for seen in self._seen),
            findings=findings,
            verdict=CheckVerdict.UNJUDGED if error else verdict_of(findings, self._options.fail_on),
            error=error,
            with_bento=self._with_bento,
        )

    def _runs(self) -> None:
        options = self._options
        first = self._settled(with_after=bool(options.after))
        for _ in range(options.repeat - 1):
            self._settled(with_after=False)
        if options.load.is_wanted and self._load(RunKind.LOAD):
            self._load(RunKind.DRAIN)
        if is_hopeless(first):
            return
        if first.run.ready_s is not None:
            self._start_up(first.run.ready_s)
        took_s = shutdown_s(first.run.report) if first.run.report else 0.0
        if options.twice and took_s >= TWICE_MIN_S:
            self._twice(took_s * _TWICE_AT)

    def _checked(self, container: Container, kind: RunKind) -> Checked:
        checked = Checked(self._drivers, container, self._options, len(self._seen) + 1, kind)
        self._made = _Made(container.spec.argv, checked.request)
        return checked

    def _add(self, seen: Observation) -> None:
        self._seen.append(seen)
        if self._on_run is not None:
            self._on_run(seen.run)

    def _settled(self, *, with_after: bool) -> Observation:
        """Stop it once it is ready; then start another one with its volumes, where that was asked for."""
        with owned.running(self._drivers, self._create) as container:
            checked = self._checked(container, RunKind.SETTLED)
            checked.wait_ready()
            seen = checked.look()
            self._with_bento = self._with_bento or seen.with_bento
            observation = checked.stop(seen).observation
            self._add(observation)
            report = observation.run.report
            if report is not None and report.verdict is Verdict.ALREADY_EXITED:
                raise NotReady(f"it ended by itself with exit code {report.exit_code} before it was stopped")
            if with_after:
                self._after(container)
        return observation

    def _after(self, before: Container) -> None:
        files = replace(self._create.files, volumes_from=(before.id,))
        create = replace(self._create, name=None, files=_without_volumes(files))
        with owned.running(self._drivers, create) as container:
            self._add(self._checked(container, RunKind.AFTER).after(self._options.after))

    def _load(self, kind: RunKind) -> bool:
        """Stop it under load; return whether it has connections that could be refused first."""
        with owned.running(self._drivers, self._create) as container:
            checked = self._checked(container, kind)
            checked.wait_ready()
            self._add(checked.stop_under_load(drain=kind is RunKind.DRAIN).observation)
            return bool(container.run and container.run.connections)

    def _start_up(self, ready_s: float) -> None:
        """Stop it before it is ready. Where the signal would be lost that is certain: nothing is waited for then."""
        count = self._options.start_up
        moments = (max(_MOMENT_MIN_S, ready_s * number / (count + 1)) for number in range(1, count + 1))
        for moment_s in dict.fromkeys(round(moment_s, 2) for moment_s in moments):
            with owned.running(self._drivers, self._create) as container:
                checked = self._checked(container, RunKind.START_UP)
                if not checked.wait_age(moment_s):
                    return
                seen = checked.look()
                main = seen.observation.main
                if main is not None and main.disposition.receives:
                    seen = checked.stop(seen)
                self._add(seen.observation)

    def _twice(self, after_s: float) -> None:
        with owned.running(self._drivers, self._create) as container:
            checked = self._checked(container, RunKind.TWICE)
            checked.wait_ready()
            self._add(checked.stop(checked.look(), second_after_s=after_s).observation)


def _asked(create: CreateOptions, options: CheckOptions) -> StopRequest:
    """Return what is known of the stop before there is a container, whose image may say more."""
    grace_s = create.stop.timeout_s if options.grace_s is None else options.grace_s
    request = StopRequest() if grace_s is None else StopRequest(grace_s=grace_s)
    return request if create.stop.signal is None else replace(request, signal=create.stop.signal)


def _without_volumes(files: Files) -> Files:
    """Leave to the container before what volumes there are: those of its own are in their places."""
    return replace(files, mounts=tuple(mount for mount in files.mounts if mount.kind == "tmpfs"))
