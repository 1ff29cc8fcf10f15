"""Containers as units of systemd: a scope with their limits, and a service whose stop is Bento's.

What is a unit of systemd is stopped by it: a scope by SIGTERM to every process at once. The service comes before: it is
ordered after the scope, and part of it (systemd.unit(5), "Before=, After=" and "PartOf="), so that whatever stops the
scope waits for the service's stop, and that is ``bento unit-stop``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from bento.config import CGROUP_MANAGERS
from bento.drivers.units.base import DEFAULT_SLICE, ScopeWanted, StopWanted
from bento.errors import UnitsFailed, UsageError
from bento.lazy import LazyModule
from bento.model.resources import CgroupSettings

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
    from bento.model.resources import Resources
    from bento.oci import unit_properties
else:  # few containers are units
    unit_properties = LazyModule("bento.oci.unit_properties")

CGROUPFS, SYSTEMD, AUTO = CGROUP_MANAGERS
MARK: Final = "unit-stop"
_SLICE: Final = r"[A-Za-z0-9_]+(-[A-Za-z0-9_]+)*\.slice"  # compiled on use
_NAME_MAX: Final = 200
_TIMEOUT_S: Final = 90.0  # systemd's own default; a stop that goes on asks for more time, again and again


def manager(drivers: Drivers) -> tuple[str, str]:
    """Return which manager a new container gets, and why it is not systemd where that was asked for, or ""."""
    asked = drivers.settings.cgroup_manager
    if asked == CGROUPFS:
        return CGROUPFS, ""
    reason = drivers.units.refusal()
    return (CGROUPFS if reason else SYSTEMD), reason


def settle(drivers: Drivers, asked: CgroupSettings, *, in_pod: bool = False) -> CgroupSettings:
    """Return what is recorded of a new container. Raises UsageError, UnitsFailed where systemd alone would do.

    ``in_pod``: the cgroups of a pod are its containers' parents, and no slice of systemd's.
    """
    if in_pod:
        if asked.parent:
            raise UsageError("--cgroup-parent is the pod's", hint="give it to pod create")
        return CgroupSettings()
    found, reason = manager(drivers)
    if drivers.settings.cgroup_manager == SYSTEMD and reason:
        raise UnitsFailed(
            f"containers cannot be scopes of systemd: {reason}", hint="use --cgroup-manager cgroupfs, or auto"
        )
    if found == CGROUPFS:
        if asked.parent:
            why = f": {reason}" if reason else ""
            raise UsageError(f"--cgroup-parent needs --cgroup-manager systemd{why}", hint="omit it")
        return CgroupSettings()
    return CgroupSettings(parent=check_slice(asked.parent or DEFAULT_SLICE))


def check_slice(name: str) -> str:
    """Return the name of a slice. Raises UsageError for what is none (systemd.slice(5))."""
    if not re.fullmatch(_SLICE, name) or len(name) > _NAME_MAX:
        raise UsageError(f"bad slice {name!r}", hint="--cgroup-parent takes a slice of systemd's, such as web.slice")
    return name


class Enclosed(Struct, frozen=True):
    """A container that is about to be created, as a unit or not."""

    container: Container
    monitor_words: tuple[str, ...] = ()  # before the monitor's own

    @property
    def is_unit(self) -> bool:
        """Whether systemd has made its cgroups."""
        return bool(self.monitor_words)


@contextmanager
def enclosed(drivers: Drivers, container: Container) -> Iterator[Enclosed]:
    """Have a scope for a container to be created in, where it is to have one. Raises UnitsFailed, MissingTool."""
    slice_name, run = container.spec.cgroups.parent, container.run
    if not slice_name or run is None:
        yield Enclosed(container)
        return
    wanted = ScopeWanted(
        container_id=container.id,
        slice=slice_name,
        description=_description(container),
        properties=unit_properties.build(container.spec.resources),
    )
    scope = drivers.units.make_scope(wanted)
    try:
        words = drivers.units.monitor_words(container.id, slice_name, f"Monitor of {_description(container)}")
        yield Enclosed(replace(container, run=replace(run, scope=scope.cgroup)), words)
    finally:
        scope.close()


def have_stop(drivers: Drivers, container: Container) -> None:
    """Have systemd stop a container that was created by ``bento unit-stop``. Raises UnitsFailed."""
    if container.run is None or not container.run.scope:
        return
    number = str(container.run.number)
    wanted = StopWanted(
        container_id=container.id,
        description=f"Stop of {_description(container)}",
        argv=(*drivers.helper_argv, "unit-stop", container.id, number),
        mark=str(drivers.run_dir(container.id) / MARK),
        timeout_s=_TIMEOUT_S,
    )
    drivers.units.make_stop(wanted)


def change(drivers: Drivers, container: Container, limits: Resources) -> None:
    """Change the limits of the scope of a container that runs. Raises UnitsFailed."""
    properties = unit_properties.build(limits)
    if container.run is not None and container.run.scope and properties:
        drivers.units.set_properties(container.id, properties)


def forget(drivers: Drivers, container: Container) -> None:
    """Take the units of a container away that has ended. Idempotent, and no error: nothing of it runs in them."""
    if container.spec.cgroups.parent:
        drivers.units.forget(container.id)


def discard(drivers: Drivers, container: Container) -> None:
    """End what a failed start has left in its units. Idempotent."""
    if container.spec.cgroups.parent:
        drivers.units.discard(container.id)


def _description(container: Container) -> str:
    return f"container {container.name} ({container.spec.image})"
