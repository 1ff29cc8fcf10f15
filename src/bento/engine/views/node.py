"""The machine as a node of a cluster: whether it is ready, and what images and containers take of its disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from bento import clock
from bento.engine.resources import id_ranges
from bento.errors import BentoError, MissingTool, WrongState
from bento.files.tree import taken
from bento.model.disk import FilesystemUsage
from bento.model.pods import Readiness
from bento.model.stats import ProcessUsage
from bento.oci.user import ResolvedUser

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
    from bento.model.pods import Pod

_RRO_KERNEL: Final = (5, 12)
"""mount_setattr(2)."""
_KNOWN_RUNTIMES: Final = ("crun", "runc", "runsc")


class _User(Struct, frozen=True):
    uid: int
    gid: int
    additionalGids: tuple[int, ...] = ()  # noqa: N815 - the name in the runtime-spec


class _Process(Struct, frozen=True):
    user: _User


class _Bundle(Struct, frozen=True):
    process: _Process


_files_of_layers: dict[str, int] = {}
"""How many files a layer has, by its directory: they never change."""


def readiness(drivers: Drivers) -> Readiness:
    """Return whether containers, and pods with a network, can be made."""
    runtime = network = ""
    try:
        drivers.storage.check()
        drivers.runtime("")
    except BentoError as error:
        runtime = str(error)
    try:
        if first := drivers.cni.first():
            drivers.cni.load(first)
        else:
            drivers.network.check("bridge", ())
    except BentoError as error:
        network = str(error)
    found, mapping = [], []
    for name in ("", *_KNOWN_RUNTIMES):
        with suppress(MissingTool):
            one = drivers.runtime(name)
            found += [name] if name else []
            if one.shows_processes and id_ranges.can_map(drivers):
                mapping.append(name)
    return Readiness(
        runtime=runtime,
        network=network,
        runtimes=tuple(found),
        has_recursive_read_only=_kernel() >= _RRO_KERNEL,
        mapping=tuple(mapping),
    )


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())


def container_user(drivers: Drivers, container_id: str) -> ResolvedUser | None:
    """Return the user of a container's program, as config.json has it; None: it was never started."""
    try:
        document = msgspec.json.decode(
            (drivers.storage.bundle(container_id) / "config.json").read_bytes(), type=_Bundle
        )
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    said = document.process.user
    return ResolvedUser(uid=said.uid, gid=said.gid, groups=said.additionalGids, home="")


def open_pod_network(drivers: Drivers, pod: Pod) -> int | None:
    """Return the network namespace of a pod as an open file; None: it is the machine's. Raises WrongState."""
    if not pod.has_network:
        return None
    pin = next((pin for pin in pod.pins if pin.kind == "net"), None)
    found = drivers.pods.open(pod.id, pin) if pod.is_ready and pin is not None else None
    if found is None:
        raise WrongState(f"pod {pod.name} is not ready: it has no network now", hint="start it, or make another one")
    return found


def process_usage(drivers: Drivers, container: Container) -> ProcessUsage | None:
    """See ``EngineFacade.process_usage``."""
    if container.run is None or not container.status.is_live:
        return None
    processes, descriptors, sockets = drivers.usage.processes(container.run)
    return ProcessUsage(
        processes=processes,
        descriptors=descriptors,
        sockets=sockets,
        oom_kills=drivers.processes.oom_kills(container.run),
    )


def own_files(drivers: Drivers, container_id: str) -> FilesystemUsage:
    """Return what a container's own files take of the disk."""
    found = drivers.storage.taken(container_id)
    return FilesystemUsage(
        path=str(drivers.root), used_bytes=found.used_bytes, files=found.files, unix_ns=clock.wall_ns()
    )


def filesystems(drivers: Drivers) -> tuple[FilesystemUsage, FilesystemUsage]:
    """Return what the images, and what the containers' own files, take of the disk. Looks at every file of these."""
    images = drivers.store.list_images()
    things = {thing for image in images for thing in (*image.layers, *image.blobs)}
    for gone in _files_of_layers.keys() - things:
        del _files_of_layers[gone]
    files = 0
    for thing in things:
        if thing.startswith("/") and thing not in _files_of_layers:
            _files_of_layers[thing] = taken(Path(thing)).files
        files += _files_of_layers.get(thing, 1)
    found = [drivers.storage.taken(container.id) for container in drivers.store.list()]
    now_ns = clock.wall_ns()
    return (
        FilesystemUsage(
            path=str(drivers.root),
            used_bytes=drivers.images.size_bytes(things),
            files=files,
            unix_ns=now_ns,
        ),
        FilesystemUsage(
            path=str(drivers.root),
            used_bytes=sum(each.used_bytes for each in found),
            files=sum(each.files for each in found),
            unix_ns=now_ns,
        ),
    )
