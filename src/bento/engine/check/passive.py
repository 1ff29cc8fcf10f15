"""The part of a check that sends nothing: what shows of something that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.check.judge import judge, verdict_of
from bento.engine.check.looking import Target, observe, target_of
from bento.engine.foreign.find import find
from bento.engine.foreign.request import own_request
from bento.engine.lifecycle import reconcile
from bento.engine.stop.request import StopOptions, request_for
from bento.errors import AlreadyStopped, NotFound, WrongState
from bento.model.check import Check, CheckKind, CheckOptions, CheckRun, RunKind
from bento.model.container import Container, Status
from bento.model.stop import Scope, StopRequest
from bento.units import signal_name

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.foreign.names import ForeignName


def check_container(drivers: Drivers, ref: str, options: CheckOptions) -> Check:
    """Look at a container of this engine that runs, and judge what shows. Blocks for a second where it has zombies.

    Raises NotFound; AlreadyStopped; WrongState when it is being started or stopped.
    """
    container = reconcile.find(drivers, ref)
    run = container.run
    if not container.status.is_live or run is None:
        raise AlreadyStopped(f"container {container.name} does not run: there is nothing to look at")
    if container.status not in (Status.RUNNING, Status.PAUSED):
        raise WrongState(f"container {container.name} is {container.status.value}", hint="check it while it runs")
    target = target_of(drivers.processes_for(container), run)
    return check_running(target, _request(drivers, container, options), options, subject=container.name)


def check_foreign(drivers: Drivers, wanted: ForeignName, options: CheckOptions) -> Check:
    """The same for a container of another engine, which is asked for it, and for any PID 1 of a PID namespace.

    Raises as ``bento.engine.foreign.find.find``.
    """
    found = find(drivers, wanted, is_looked_at=True)
    asked = StopOptions(scope=Scope.MAIN, grace_s=options.grace_s, signal=options.signal)
    request = replace(own_request(drivers, found, asked), by_engine=False)
    return check_running(target_of(drivers.foreign_processes, found.run), request, options, subject=found.name)


def check_running(target: Target, request: StopRequest, options: CheckOptions, *, subject: str) -> Check:
    """Look at what runs, whatever has made it, and judge what a plain stop with this request would find."""
    began_ns, began_s = clock.wall_ns(), clock.mono_s()
    seen, with_bento = observe(target, CheckRun(number=1, kind=RunKind.LOOK), request, name=subject)
    main = seen.main
    if main is None:
        raise NotFound(f"{subject} has just ended")
    findings = judge([seen])
    return Check(
        subject=subject,
        kind=CheckKind.RUNNING,
        command=main.argv,
        signal=signal_name(request.signal),
        grace_s=request.grace_s,
        fail_on=options.fail_on,
        started_unix_ns=began_ns,
        duration_s=clock.mono_s() - began_s,
        runs=(seen.run,),
        findings=findings,
        verdict=verdict_of(findings, options.fail_on),
        with_bento=with_bento,
    )


def _request(drivers: Drivers, container: Container, options: CheckOptions) -> StopRequest:
    asked = StopOptions(scope=Scope.MAIN, grace_s=options.grace_s, signal=options.signal)
    return request_for(container, asked, drivers.settings)
