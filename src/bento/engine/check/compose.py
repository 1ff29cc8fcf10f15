"""``check --compose``: all services of a file, started in order, stopped in order within one budget, each judged."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from bento import clock, log
from bento.check.judge import judge, verdict_of
from bento.check.observed import Observation
from bento.engine.check import owned
from bento.engine.check.options import refuse
from bento.engine.check.ready import NotReady
from bento.engine.check.runs import Checked, Seen, plain_stops
from bento.engine.resources import networks
from bento.errors import BentoError, UsageError
from bento.model.check import Check, CheckKind, CheckOptions, CheckVerdict, RunKind
from bento.model.container import VOLUME, Container
from bento.model.create import CreateOptions
from bento.model.network import Attachment, NetworkOptions
from bento.parse.compose import Service, parse_compose
from bento.parse.documents import decode
from bento.units import new_id, signal_name

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_STDIN: Final = "-"
_NO_YAML: Final = (
    "install it (pip install 'bento[compose]'), or give JSON: docker compose config --format json | "
    "bento check --compose -"
)


def read_services(path: str) -> tuple[Service, ...]:
    """Return the services of a compose file, each after what it depends on; "-" is standard input.

    YAML takes PyYAML; JSON, as ``docker compose config --format json`` writes it, does not. Raises UsageError,
    MissingTool.
    """
    try:
        text = sys.stdin.read() if path == _STDIN else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"compose file {path}: {reason}") from None
    directory = os.getcwd() if path == _STDIN else os.path.dirname(os.path.abspath(path))
    try:
        return parse_compose(decode(text, f"compose file {path}", hint=_NO_YAML), os.environ, directory=directory)
    except RecursionError:  # anchors of YAML can hold themselves
        raise UsageError(f"compose file {path} is nested too deeply, or in itself") from None


class _Member(Struct):
    """One service that runs."""

    service: Service
    checked: Checked
    seen: Seen


def check_services(
    drivers: Drivers, services: tuple[Service, ...], options: CheckOptions, *, subject: str, total_s: float | None
) -> tuple[Check, ...]:
    """Start all services in order, stop them plainly, dependants first, and judge each. Blocks until all is removed.

    ``total_s``: one budget for the graces of all of them; None: each has its own. They are on a network of their own,
    by their names, with volumes of their own; ports get free ports of the host. Where one cannot be started, it and
    those after it are ``unjudged``.
    """
    refuse(options)
    _tell_left_out(services)
    owned.remove_left_over(drivers)
    began_ns, began_s, mark = clock.wall_ns(), clock.mono_s(), f"check-{new_id()[:8]}"
    members: list[_Member] = []
    observed: dict[str, Observation] = {}
    failed, reason = "", ""
    with ExitStack() as stack:
        networks.create(drivers, NetworkOptions(name=mark, labels={owned.LABEL: owned.mark_of(drivers)}))
        stack.callback(owned.remove_network, drivers, mark)
        try:
            for service in services:
                failed = service.name
                container = stack.enter_context(owned.running(drivers, _create(service, mark, members)))
                members.append(_settled(drivers, service, container, options, len(members) + 1))
            failed = ""
            for member in members:
                member.seen = member.checked.look()
            stops = plain_stops(drivers, [(one.checked, one.seen) for one in members], total_s=total_s)
            observed = {one.service.name: seen.observation for one, seen in zip(members, stops, strict=True)}
        except (NotReady, BentoError) as error:
            reason = f"service {failed}: {error}" if failed else str(error)
    times = (began_ns, clock.mono_s() - began_s)
    by_name = {one.service.name: one for one in members}
    return tuple(
        _judged(service, by_name.get(service.name), observed.get(service.name), reason, options, subject, times)
        for service in services
    )


def _tell_left_out(services: tuple[Service, ...]) -> None:
    """Say what a service asks for in vain: it may not become ready without it."""
    for service in services:
        if service.left_out:
            log.warning(f"service {service.name} is checked without its {', '.join(service.left_out)}")


def _settled(drivers: Drivers, service: Service, container: Container, options: CheckOptions, number: int) -> _Member:
    checked = Checked(drivers, container, options, number, RunKind.SETTLED)
    checked.wait_ready()
    return _Member(service, checked, checked.look())


def _create(service: Service, mark: str, before: list[_Member]) -> CreateOptions:
    """Give it its network, its name there, volumes of its own, and what it is stopped before."""
    ids = {one.service.name: one.checked.container.id for one in before}
    files = service.create.files
    mounts = tuple(
        replace(mount, source=f"{mark}_{mount.source}") if mount.kind == VOLUME and mount.source else mount
        for mount in files.mounts
    )
    return replace(
        service.create,
        name=f"{mark}-{service.name}",
        network=mark,
        attachments=(Attachment(network=mark, aliases=(service.name,)),),
        files=replace(files, mounts=mounts),
        requires=tuple(ids[name] for name in service.depends_on),
    )


def _judged(
    service: Service,
    member: _Member | None,
    seen: Observation | None,
    reason: str,
    options: CheckOptions,
    subject: str,
    times: tuple[int, float],
) -> Check:
    findings = judge([seen]) if seen is not None else ()
    request = seen.request if seen is not None else member.checked.request if member is not None else None
    return Check(
        subject=f"{subject}: {service.name}",
        kind=CheckKind.SERVICE,
        command=member.checked.container.spec.argv if member is not None else (),
        signal=signal_name(request.signal if request else service.create.stop.signal or 15),
        grace_s=request.grace_s if request else options.grace_s or service.create.stop.timeout_s or 10.0,
        fail_on=options.fail_on,
        started_unix_ns=times[0],
        duration_s=times[1],
        runs=(seen.run,) if seen is not None else (),
        findings=findings,
        verdict=verdict_of(findings, options.fail_on) if seen is not None else CheckVerdict.UNJUDGED,
        error=reason if seen is None else "",
        with_bento=member.seen.with_bento if member is not None else None,
    )
