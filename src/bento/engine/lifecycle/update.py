"""``update``: other limits, or another restart policy, for a container that is there, whether it runs or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.exit_owner import is_followed
from bento.engine.lifecycle import reconcile
from bento.engine.resources import units
from bento.errors import BentoError, UsageError, WrongState
from bento.model.container import Container, ContainerSpec, Run, Status
from bento.model.create import UpdateOptions
from bento.model.resources import UNLIMITED, Change, Resources
from bento.oci import resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers

_WITH_SWAP = ("memory_bytes", "memory_swap_bytes")
_OF_TIME = ("cpus", "cpu_quota_us", "cpu_period_us")


def update(drivers: Drivers, ref: str, options: UpdateOptions) -> Container:
    """Change a container, in the kernel and in its record; return it. Waits for the lock.

    Raises UsageError, WrongState while it is started or stopped, RuntimeFailed; then both are as they were.
    """
    _check(options)
    container = reconcile.find(drivers, ref)
    with drivers.locks.hold(container.id, LOCK_TIMEOUT_S):
        before = drivers.store.get(container.id)
        if before.status in (Status.STARTING, Status.STOPPING):
            raise WrongState(
                f"container {before.name} is {before.status.value}", hint="wait until that is done, and try again"
            )
        changed = _changed(drivers, before, options)
        put_back = _nothing
        if before.status is Status.RUNNING and before.run is not None and resources.given(options.resources):
            put_back = _applied(drivers, before, before.run, options.resources, changed.resources)
        try:
            after = drivers.store.modify(before.id, lambda c: _with(c, changed))
        except BaseException:
            put_back()
            raise
    if before.status is Status.RUNNING and is_followed(after) and not is_followed(before):
        reconcile.follow_exit(drivers, after)  # its monitor was told of no helper
    return reconcile.with_pause(drivers, after)


def _nothing() -> None:
    """There was nothing to change in the kernel."""


def _check(options: UpdateOptions) -> None:
    asked = resources.given(options.resources)
    for name in asked:
        if name in resources.FIXED:
            raise UsageError(f"{name} of a container cannot be changed", hint="create it anew; volumes keep the data")
    if not asked and options.restart is None:
        raise UsageError("nothing to change was given", hint="see bento update --help")


def _changed(drivers: Drivers, container: Container, options: UpdateOptions) -> ContainerSpec:
    """Return the spec as it is to be. Raises UsageError."""
    spec = container.spec
    if options.restart is not None:
        if spec.auto_remove and options.restart.name != "no":
            raise UsageError("--restart cannot be given to a container of --rm", hint="it is removed when it has ended")
        spec = replace(spec, restart=options.restart)
    asked = {name: getattr(options.resources, name) for name in resources.given(options.resources)}
    if not asked:
        return spec
    host = drivers.processes.host_limits()
    after = replace(spec.resources, **asked)
    after = replace(after, memory_swap_bytes=resources.with_swap(after, host))
    resources.check(after, host)
    if after.pids_limit == UNLIMITED:
        after = replace(after, pids_limit=None)
    return replace(spec, resources=after)


def _with(container: Container, changed: ContainerSpec) -> Container:
    spec = replace(container.spec, resources=changed.resources, restart=changed.restart)
    return replace(container, spec=spec)


def _applied(
    drivers: Drivers, container: Container, run: Run, asked: Resources, after: Resources
) -> Callable[[], None]:
    """Change what the kernel keeps; return what puts it back. Of a container that has just ended it keeps nothing."""
    try:
        return _apply(drivers, container, run, asked, after)
    except BentoError:
        if reconcile.is_alive(drivers, run) and not drivers.processes.is_exiting(run):
            raise
        return _nothing


def _apply(drivers: Drivers, container: Container, run: Run, asked: Resources, after: Resources) -> Callable[[], None]:
    """Change what the kernel keeps. Memory goes with its swap, and a quota with its period."""
    names = {*resources.given(asked)}
    for group in (_WITH_SWAP, _OF_TIME):
        if not names.isdisjoint(group):
            names.update(group)
    values = {name: getattr(after, name) for name in names}
    if asked.pids_limit is not None:
        values["pids_limit"] = asked.pids_limit
    runtime = drivers.runtime(run.runtime)
    limits = Resources(**values)
    put_back = runtime.update(Change(container_id=container.id, limits=limits, cgroups=run.cgroups))
    try:
        units.change(drivers, container, limits)
    except BaseException:
        put_back()
        raise
    return put_back
