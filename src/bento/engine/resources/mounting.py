"""Volumes in the life of a container: given at its creation, filled at its first start, left or removed with it.

A container's record names its volumes before they are made, and keeps them from being removed. So a process that makes
one makes it for a record that is there; one that removes one looks for records. Both do so within ``changing``.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.engine.base.layers import HOST_LAYER
from bento.errors import Conflict, KernelError, NotFound, StateCorrupt, StorageUnusable, UsageError
from bento.files.rootfs import mend_in_root, open_in, open_in_root
from bento.model.container import VOLUME, Container, ContainerSpec, Mount
from bento.model.volume import ANONYMOUS, Volume
from bento.oci.defaults import PROC_FILES
from bento.units import new_id, parse_name

if TYPE_CHECKING:
    from pathlib import Path

    from bento.engine.base.drivers import Drivers

_SYSTEM = {
    "/",
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root"),
    *("/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/usr/bin", "/usr/lib", "/usr/sbin", "/usr/share"),
    *("/var/lib", "/var/log", "/var/tmp"),
}
"""What no option gives to another user."""
_WRITABLE = ("/run", "/tmp", "/var/tmp")


def check(mounts: Iterable[Mount]) -> None:
    """Refuse mounts that cannot work, before anything is made. A source that is missing stays so until ``attach``."""
    destinations = set()
    for mount in mounts:
        _check_one(mount)
        destination = posixpath.normpath(mount.destination)
        if destination in destinations:
            raise UsageError(f"two mounts at {destination}", hint="a place in the container takes one")
        destinations.add(destination)


def _check_one(mount: Mount) -> None:
    if not mount.destination.startswith("/") or posixpath.normpath(mount.destination).strip("/") == "":
        raise UsageError(f"bad mount destination {mount.destination!r}", hint="use an absolute path other than /")
    _check_proc(mount)
    if mount.kind == VOLUME and mount.source:
        parse_name(mount.source)
    if mount.kind != "bind":
        return
    if not {"shared", "rshared"}.isdisjoint(mount.options):
        raise UsageError(
            f"bad mount {mount.destination}: what a container mounts never reaches the host, so it cannot be shared",
            hint="use rslave: what the host mounts reaches the container",
        )
    if not mount.source.startswith("/"):
        raise UsageError(f"mount source {mount.source!r} is not an absolute path")
    if mount.reaches_host and not os.path.isdir(mount.source):
        raise UsageError(f"mount source {mount.source} is no directory: nothing can be mounted below")
    if mount.chown and os.path.realpath(mount.source) in _SYSTEM:
        raise UsageError(
            f"{mount.source} is the machine's own, and is not given to a container's user",
            hint="omit U, or name a directory below",
        )
    try:
        os.stat(mount.source)
    except OSError as error:
        if mount.make_source and isinstance(error, FileNotFoundError):
            return
        raise UsageError(f"mount source {mount.source}: {error.strerror}", hint="make it first") from None


def _check_proc(mount: Mount) -> None:
    """Refuse to cover /proc, which runtimes and programs must be able to trust (CVE-2019-16884)."""
    place = posixpath.normpath(f"/{mount.destination.lstrip('/')}")
    if place == "/proc" or (place.startswith("/proc/") and not (mount.kind == "bind" and place in PROC_FILES)):
        raise UsageError(
            f"bad mount destination {mount.destination}: nothing is mounted over /proc",
            hint="only files such as /proc/meminfo can be replaced",
        )


def complete(mounts: tuple[Mount, ...], image_volumes: Iterable[str]) -> tuple[Mount, ...]:
    """Return the mounts with the image's volumes where nothing else is wanted, and names for those that have none.

    Raises UsageError.
    """
    taken = {posixpath.normpath(mount.destination) for mount in mounts}
    wanted = [path for path in map(posixpath.normpath, image_volumes) if path not in taken]
    if "/" in wanted:
        raise UsageError(
            "the image wants a volume at /",
            hint="the root filesystem is there already: only an image without it can be run",
        )
    for path in wanted:
        if path.startswith(("/proc/", "/dev/", "/sys/")) or path in ("/proc", "/dev", "/sys"):
            raise UsageError(
                f"the image wants a volume at {path}, over what the kernel shows there",
                hint="mount something of your own there, or use another image",
            )
    mounts += tuple(Mount(kind=VOLUME, destination=path, of_image=True) for path in dict.fromkeys(wanted))
    return tuple(
        replace(mount, source=new_id(), anonymous=True) if mount.kind == VOLUME and not mount.source else mount
        for mount in mounts
    )


def with_writable(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """Return the mounts, and what programs write to without being asked, empty in memory, where nothing else is."""
    taken = {posixpath.normpath(mount.destination) for mount in mounts}
    return mounts + tuple(
        Mount(kind="tmpfs", destination=path, options=("mode=755",) if path == "/run" else ())
        for path in _WRITABLE
        if path not in taken
    )


def inherit(mounts: tuple[Mount, ...], other: Container, *, read_only: bool) -> tuple[Mount, ...]:
    """Return the mounts, and the volumes and binds of another container where they leave room."""
    taken = {posixpath.normpath(mount.destination) for mount in mounts}
    return mounts + tuple(
        replace(mount, read_only=mount.read_only or read_only)
        for mount in other.spec.files.mounts
        if mount.kind != "tmpfs" and posixpath.normpath(mount.destination) not in taken
    )


def make(drivers: Drivers, container: Container) -> None:
    """Make those of a container's volumes that are not there. Idempotent; the container's record is there already."""
    for mount in _volumes_of(container.spec):
        ensure(drivers, mount.source, container_id=container.id if mount.anonymous else "")


def ensure(
    drivers: Drivers,
    name: str,
    *,
    labels: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    anonymous: bool = False,
    container_id: str = "",
) -> Volume:
    """Return the volume of this name; make it when it is not there. With ``container_id`` it is anonymous, too."""
    anonymous = anonymous or bool(container_id)
    with drivers.volumes.changing():
        is_new = not drivers.volumes.path(name).exists()
        drivers.volumes.make(name)
        with suppress(NotFound):
            return drivers.store.find_volume(name)
        volume = Volume(
            name=name,
            created_unix_ns=clock.wall_ns(),
            labels=(labels or {}) | ({ANONYMOUS: ""} if anonymous else {}),
            options=options or {},
            anonymous=anonymous,
            container_id=container_id,
        )
        try:
            drivers.store.put_volume(volume)
        except BaseException:
            if is_new:
                drivers.volumes.remove(name)
                drivers.volumes.clear(name)
            raise
        return volume


def attach(drivers: Drivers, container: Container, rootfs: Path) -> Container:
    """Return the container with its volumes as directories to bind, made and filled as far as need be.

    Called with the root filesystem mounted in the calling thread's namespace, before anything else is. A volume that
    is empty gets what the image has in its place when the container is started for the first time; one with options
    of its own is mounted as it is. Raises UsageError, StorageUnusable.
    """
    _make_sources(container.spec)
    _mend(container.spec, rootfs)
    if not any(_volumes_of(container.spec)):
        return container
    make(drivers, container)
    is_first = container.run is None or container.run.number == 1
    for mount in _volumes_of(container.spec):
        options = drivers.store.find_volume(mount.source).options
        if options:
            drivers.volumes.mount(mount.source, options)
        elif is_first and not mount.no_copy:
            _fill(drivers, container.spec, mount, rootfs)
    files = replace(container.spec.files, mounts=bound(drivers, container.spec))
    return replace(container, spec=replace(container.spec, files=files))


def bound(drivers: Drivers, spec: ContainerSpec) -> tuple[Mount, ...]:
    """Return the mounts of a spec with volumes as bind mounts of their directories."""
    return tuple(
        Mount(
            kind="bind",
            source=str(drivers.volumes.path(m.source)),
            destination=m.destination,
            read_only=m.read_only,
            options=m.options,
            of_image=m.of_image,
            chown=m.chown,
        )
        if m.kind == VOLUME
        else m
        for m in spec.files.mounts
    )


def _make_sources(spec: ContainerSpec) -> None:
    """Make the directories of the host that are missing, where that was asked for, as Docker does it. Idempotent."""
    for mount in spec.files.mounts:
        if mount.make_source and not os.path.lexists(mount.source):
            try:
                os.makedirs(mount.source, 0o755, exist_ok=True)
            except OSError as error:
                raise StorageUnusable(f"cannot make the mount source {mount.source}: {error.strerror}") from None


def _mend(spec: ContainerSpec, rootfs: Path) -> None:
    """Make what dangling links of the image point to, where something is to be mounted or to work: runtimes refuse."""
    places = [posixpath.normpath(mount.destination) for mount in spec.files.mounts]
    for mount in spec.files.mounts:
        if _is_covered(mount.destination, places):
            continue  # what is there is decided by what is mounted above
        is_directory = mount.kind != "bind" or os.path.isdir(mount.source)
        try:
            mend_in_root(rootfs, mount.destination, is_directory=is_directory)
        except KernelError as error:
            raise _no_place(mount, error) from None
    if spec.workdir not in places and not _is_covered(spec.workdir, places):
        with suppress(KernelError):  # the runtime says it better
            mend_in_root(rootfs, spec.workdir)


def _is_covered(path: str, places: list[str]) -> bool:
    path = posixpath.normpath(path)
    return any(path.startswith(f"{place}/") for place in (*places, "/dev", "/proc", "/sys"))


def _no_place(mount: Mount, error: KernelError) -> UsageError:
    reasons = {errno.ENOTDIR: "not a directory", errno.ELOOP: "a link that leads back to itself"}
    reason = reasons.get(error.errno, f"out of reach: {os.strerror(error.errno)}")
    what = "a volume" if mount.kind == VOLUME else mount.source or mount.kind
    return UsageError(
        f"cannot mount {what} at {mount.destination}: in the image it is {reason}", hint="choose another place"
    )


def _fill(drivers: Drivers, spec: ContainerSpec, mount: Mount, rootfs: Path) -> None:
    try:
        source = open_in_root(rootfs, mount.destination, os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno == errno.ENOENT:  # the image has nothing there
            return
        raise _no_place(mount, error) from None
    try:
        root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            left_out = masked(drivers, spec, root_fd)
        finally:
            os.close(root_fd)
        drivers.volumes.fill(mount.source, source, left_out)
    finally:
        os.close(source)


def masked(drivers: Drivers, spec: ContainerSpec, root_fd: int) -> set[tuple[int, int]]:
    """Return Bento's own directories in the machine's userland, which no container gets to see, by device and inode."""
    found = set()
    for path in (drivers.root, drivers.run_root) if spec.layers == (HOST_LAYER,) else ():
        with suppress(KernelError):
            fd = open_in(root_fd, str(path), os.O_PATH)
            status = os.fstat(fd)
            os.close(fd)
            found.add((status.st_dev, status.st_ino))
    return found


def users(drivers: Drivers, name: str, *, besides: str = "") -> list[str]:
    """Return the names of the containers that have a volume, but for the one with the id ``besides``."""
    return [
        container.name
        for container in drivers.store.list()
        if container.id != besides and any(mount.source == name for mount in _volumes_of(container.spec))
    ]


def remove_volume(drivers: Drivers, name: str, *, besides: str = "") -> None:
    """Remove a volume and its files. Raises NotFound; Conflict when containers (besides one) have it."""
    with drivers.volumes.changing():
        drivers.store.find_volume(name)
        holders = users(drivers, name, besides=besides)
        if holders:
            raise Conflict(f"volume {name} is used by {', '.join(holders)}", hint="remove these containers first")
        unknown: list[StateCorrupt] = []
        drivers.store.list(on_unreadable=unknown.append)
        if unknown:
            raise Conflict(
                f"volume {name} may be used by container {unknown[0].record_id[:12]}, whose record cannot be read",
                hint="remove that container first: bento rm -f",
            )
        drivers.volumes.remove(name)
        drivers.store.remove_volume(name)
    drivers.volumes.clear(name)


def remove_empty(drivers: Drivers, name: str) -> bool:
    """Remove the directory of a volume that has no record, if it has no files either; return whether it is gone."""
    with drivers.volumes.changing():
        with suppress(NotFound):
            drivers.store.find_volume(name)
            return False
        if not drivers.volumes.is_empty(name):
            return False
        drivers.volumes.remove(name)
    drivers.volumes.clear(name)
    return True


def let_go(drivers: Drivers, container: Container, *, remove: bool) -> None:
    """Remove a container's anonymous volumes that no other one has, or leave them ownerless. Before its record goes."""
    for mount in _volumes_of(container.spec):
        if not mount.anonymous:
            continue
        with suppress(NotFound, Conflict):
            if remove:
                remove_volume(drivers, mount.source, besides=container.id)
                continue
        with suppress(NotFound), drivers.volumes.changing():
            volume = drivers.store.find_volume(mount.source)
            if volume.container_id == container.id:  # not where it was only taken over from another one
                drivers.store.put_volume(replace(volume, container_id=""))


def _volumes_of(spec: ContainerSpec) -> list[Mount]:
    return [mount for mount in spec.files.mounts if mount.kind == VOLUME]
