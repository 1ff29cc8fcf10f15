"""Whose a live container is: what was started from another place can be neither judged nor ended from here.

A pid says nothing in another PID namespace, a start time nothing in another time namespace, and the records of a copied
root are of containers that the root it was copied from runs. So a process that is not found is no sign of an end there.
What counts then is what the kernel shows in every namespace: whether its cgroup is populated, and whether its root
filesystem is mounted anywhere. Where neither is so, it is dead, such as what ran in a system container that was
started again: the boot is the same, the PID namespace is another one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from bento.errors import BentoError, Conflict, Elsewhere
from bento.model.container import Place, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container, Run

_UNKNOWN: Final = "with another --run-root, or by another root"


def here(drivers: Drivers) -> Place:
    """Return the place that runs are started from now. Raises KernelError when /proc is of another PID namespace."""
    root = os.stat(drivers.root)
    pid_ns, time_ns = drivers.processes.namespaces()
    return Place(
        boot_id=drivers.processes.boot_id(),
        pid_ns=pid_ns,
        time_ns=time_ns,
        root_dev=root.st_dev,
        root_ino=root.st_ino,
        root=str(drivers.root),
    )


def elsewhere(drivers: Drivers, container: Container) -> Elsewhere | None:
    """Return why a container is to be left alone; None when it is this engine's, or nothing of it lives any more."""
    run = container.run
    if run is None or not container.status.is_wanted:
        return None
    now = here(drivers)
    where = _where(drivers, container.id, run.place, now)
    if not where:
        return None
    if container.status is Status.RESTARTING:
        is_alive = run.place is not None and _awaits_restart(run.place, now)
    else:
        is_alive = _shows_life(drivers, container, run)
    if not is_alive:
        return None
    is_copy = run.place is not None and _is_copy(run.place, now)
    hint = f"use --root {run.place.root}" if run.place and is_copy else "use bento there"
    return Elsewhere((container.name,), where, is_copy=is_copy, hint=hint)


def refuse_elsewhere(drivers: Drivers, container: Container) -> None:
    """Raise Elsewhere for a container that is to be left alone."""
    if (error := elsewhere(drivers, container)) is not None:
        raise error


def refuse_namesake(drivers: Drivers, container: Container, run: Run) -> None:
    """Raise Conflict when processes have the cgroup of a container that is about to be started.

    They are of a root that was copied, of which one has started it: cgroups and links are named by its id.
    """
    if drivers.processes.shows_life(run, container.id, container.spec.cgroup_parent):
        raise Conflict(
            f"processes of a container with the id {container.id[:12]} run already, started from a copy of this root",
            hint="stop it there",
        )


def as_one(errors: Sequence[Elsewhere]) -> Elsewhere:
    """Return one error for several containers."""
    first = errors[0]
    names = tuple(name for error in errors for name in error.names)
    return Elsewhere(names, first.where, is_copy=all(error.is_copy for error in errors), hint=first.hint)


def is_own_run_dir(drivers: Drivers, container_id: str) -> bool:
    """Whether a container's run directory is of a run of this root: two roots may have one run root.

    The monitor's link to the configuration says so. A root that is gone has nothing any more.
    """
    try:
        bundle = os.path.dirname(os.readlink(drivers.run_dir(container_id) / "config.json"))
        theirs = os.stat(os.path.dirname(os.path.dirname(bundle)))  # ROOT/containers/ID
    except OSError:
        return True
    ours = os.stat(drivers.root)
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _where(drivers: Drivers, container_id: str, place: Place | None, now: Place) -> str:
    """Return in words where a run was started; "" for here."""
    if place is None:
        is_here = drivers.run_dir(container_id).is_dir() and is_own_run_dir(drivers, container_id)
        return "" if is_here else _UNKNOWN
    if _is_copy(place, now):
        return f"by the root {place.root}, of which this is a copy"
    if place.boot_id != now.boot_id:
        return "in another boot of this machine, or by another system on it"
    if place.pid_ns != now.pid_ns:
        return "in another PID namespace"
    return "in another time namespace" if place.time_ns != now.time_ns else ""


def _is_copy(place: Place, now: Place) -> bool:
    return (place.root_dev, place.root_ino) != (now.root_dev, now.root_ino)


def _awaits_restart(place: Place, now: Place) -> bool:
    """Whether the root that this one is a copy of is still there, and will start the container again."""
    try:
        original = os.stat(place.root)
    except OSError:
        return False
    is_there = (original.st_dev, original.st_ino) == (place.root_dev, place.root_ino)
    return _is_copy(place, now) and place.boot_id == now.boot_id and is_there


def _shows_life(drivers: Drivers, container: Container, run: Run) -> bool:
    if drivers.processes.shows_life(run, container.id, container.spec.cgroup_parent):
        return True
    try:
        return drivers.storage.is_held(container.id)
    except (BentoError, OSError):  # it cannot be asked here, as in a container without the privilege
        return True
