"""``rm`` and ``rename``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import log
from bento.engine.base import holdup, order
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.lifecycle import reconcile
from bento.engine.resources import default_network, networking
from bento.engine.stop.erase import erase
from bento.errors import BentoError, Conflict, NotFound, StateCorrupt, UsageError, WrongState
from bento.lazy import LazyModule
from bento.model.container import Container
from bento.model.stop import AskedBy, OnPaused
from bento.units import parse_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle import salvage, sharing
    from bento.engine.resources import names
    from bento.engine.stop import request, stop
    from bento.locks import Lock
else:  # most of what is deleted has stopped
    request, stop = LazyModule("bento.engine.stop.request"), LazyModule("bento.engine.stop.stop")
    salvage, names = LazyModule("bento.engine.lifecycle.salvage"), LazyModule("bento.engine.resources.names")
    sharing = LazyModule("bento.engine.lifecycle.sharing")

_ATTEMPTS = 3  # a restart policy, or a user, may start it between the kill and the removal


def remove(
    drivers: Drivers,
    ref: str,
    *,
    force: bool = False,
    volumes: bool = False,
    grace_s: float = 0.0,
    shared: bool = False,
) -> Container:
    """Delete a container and everything that is its own. ``force`` stops it first when it runs.

    ``grace_s``: of that stop; 0 kills at once, -1 never.
    ``volumes``: its anonymous volumes, too, unless another container has them; else they are left, as those with names.
    ``shared``: those that only share its namespaces do not require it. They run on, and cannot be started again.

    Raises NotFound, WrongState when it runs, Conflict when another container requires it, StuckProcess when it cannot
    be killed; then the record is kept: nothing vanishes from the list while a process of it lives. StateCorrupt when
    its record cannot be read; ``force`` removes it all the same.
    """
    is_salvaged = False
    try:
        container = reconcile.find(drivers, ref)
    except StateCorrupt as error:
        if not (force and error.record_id):
            raise
        is_salvaged = True
        container = reconcile.current(drivers, salvage.salvage(drivers, error.record_id))
    for _ in range(_ATTEMPTS):
        refuse_if_required(drivers, container, shared=shared)
        if container.status.is_wanted:
            if not force:
                raise WrongState(
                    f"container {container.name} is {container.status.value}",
                    hint="stop it first, or use rm -f to kill it",
                )
            _stop(drivers, container, grace_s)
            if container.spec.auto_remove and not _exists(drivers, container.id):  # its end was its removal
                return container
        with _lock(drivers, container, force=force):
            container = drivers.store.get(container.id)
            if not container.status.is_wanted:
                refuse_if_required(drivers, container, shared=shared)
                erase(drivers, container, volumes=volumes)
                if is_salvaged:  # its record did not know of a connection
                    networking.release_left(drivers, container.id)
                    default_network.lower_default(drivers)
                break
    else:
        raise WrongState(
            f"container {container.name} is {container.status.value}", hint="it is started again and again"
        )
    drivers.locks.forget(container.id)
    return container


def _lock(drivers: Drivers, container: Container, *, force: bool) -> Lock:
    if force:
        return holdup.hold(drivers, container.id, container.name, log.warning)
    return drivers.locks.hold(container.id, LOCK_TIMEOUT_S)


def _exists(drivers: Drivers, container_id: str) -> bool:
    try:
        drivers.store.get(container_id)
    except NotFound:
        return False
    return True


def refuse_if_required(drivers: Drivers, container: Container, *, shared: bool = False) -> None:
    """Raise Conflict when another container requires this one."""
    names = [
        other.name
        for other in drivers.store.requiring(container.id)
        if not (shared and container.id in sharing.givers(other.spec))
    ]
    if names:
        raise Conflict(f"container {container.name} is required by {', '.join(names)}", hint="remove that first")


def dependants_first(drivers: Drivers, refs: Sequence[str]) -> list[str]:
    """Return the names so that each comes before those it requires, unknown ones last: in this order all can go."""
    requires: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    unknown = []
    for ref in refs:
        try:
            container = drivers.store.find(ref)
        except BentoError:
            unknown.append(ref)
            continue
        requires[container.id] = container.spec.requires
        names.setdefault(container.id, ref)
    return [names[container_id] for container_id in order.dependants_first(requires)] + unknown


def _stop(drivers: Drivers, container: Container, grace_s: float) -> None:
    on_paused = OnPaused.THAW if grace_s else OnPaused.KILL
    options = request.StopOptions(grace_s=grace_s, on_paused=on_paused, asked_by=AskedBy.REMOVAL)
    for outcome in stop.stop_containers(drivers, [container.id], options):
        if outcome.error is not None and not isinstance(outcome.error, WrongState):
            raise outcome.error


def rename(drivers: Drivers, ref: str, name: str) -> Container:
    """Give a container another name, in any state. Raises NotFound, UsageError (it is its own), Conflict when it is
    taken; what ``names.publish`` raises: then it has its old one.
    """
    name = parse_name(name)
    before = drivers.store.find(ref)
    if before.name == name:
        raise UsageError(f"container {name} has this name already", hint="give another one")
    after = drivers.store.modify(before.id, lambda c: replace(c, name=name))
    if after.run is not None and after.run.has_names:
        try:
            names.publish(drivers, after)
        except BaseException:
            drivers.store.modify(before.id, lambda c: replace(c, name=before.name))
            raise
    return after
