"""What is mounted beside a container's root filesystem, to be bound into it: images, and peers of the host's mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.engine.base.find_image import find_image
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.container import IMAGE, Container, Mount

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.resources import cdi
    from bento.model.create import CreateOptions
else:  # few containers have such devices
    cdi = LazyModule("bento.engine.resources.cdi")


def placed(drivers: Drivers, container: Container, peers: dict[str, int]) -> tuple[Container, cdi.Hooks]:
    """Return the container as it is started: with what is mounted beside its root filesystem, and of its devices.

    And the hooks of the runtime that these need. Called in the private namespace of a start. ``peers``: of
    ``reaching_host``. Raises NotFound, UsageError, StorageUnusable.
    """
    hooks: cdi.Hooks = {}
    if container.spec.sandbox.cdi_devices:
        container, hooks = cdi.with_added(drivers, container)
    return with_peers(drivers, with_images(drivers, container), peers), hooks


def check_devices(drivers: Drivers, names: tuple[str, ...]) -> None:
    """Raise UsageError for devices of CDI that cannot be had."""
    if names:
        cdi.check(drivers, names)


@contextmanager
def reaching_host(drivers: Drivers, container: Container) -> Iterator[dict[str, int]]:
    """Yield copies of the mounts that are to reach the host, by their destinations, as the host has them.

    In the private namespace of a start what was copied from the host is a slave of it: what is mounted there does not
    reach the host. A copy that is taken before is a peer. Called outside of that namespace. Raises UsageError.
    """
    with ExitStack() as stack:
        found = {}
        for mount in container.spec.files.mounts:
            if not mount.reaches_host:
                continue
            if not drivers.mounts.is_shared(mount.source):
                raise UsageError(
                    f"{mount.source} is on a mount that is not shared on the host: nothing mounted below reaches it",
                    hint="mount --make-shared it, or ask for another propagation",
                )
            found[mount.destination] = drivers.mounts.open_tree(mount.source, recursive=True)
            stack.callback(os.close, found[mount.destination])
        yield found


def with_image_ids(drivers: Drivers, options: CreateOptions) -> CreateOptions:
    """Return the options with the images in mounts by their ids. Raises NotFound.

    Within ``gc_lock`` of the image driver.
    """
    mounts = tuple(
        replace(mount, source=find_image(drivers, mount.source).id) if mount.kind == IMAGE else mount
        for mount in options.files.mounts
    )
    return replace(options, files=replace(options.files, mounts=mounts))


def with_images(drivers: Drivers, container: Container) -> Container:
    """Return the container with its image mounts as binds of images that are mounted beside its root filesystem.

    Called in the private namespace of a start. Raises NotFound, UsageError, StorageUnusable.
    """
    mounts = []
    for number, mount in enumerate(container.spec.files.mounts):
        if mount.kind == IMAGE:
            layers = find_image(drivers, mount.source).layers
            place = drivers.storage.mount_image(container.id, f"image-{number}", layers, mount.sub_path)
            mount = Mount(kind="bind", source=str(place), destination=mount.destination, read_only=True)
        mounts.append(mount)
    files = replace(container.spec.files, mounts=tuple(mounts))
    return replace(container, spec=replace(container.spec, files=files))


def with_peers(drivers: Drivers, container: Container, peers: dict[str, int]) -> Container:
    """Return the container with the copies of ``reaching_host`` as the sources of its mounts, which they are put to."""
    mounts = []
    for number, mount in enumerate(container.spec.files.mounts):
        if mount.destination in peers:
            name = f"shared-{number}"
            drivers.storage.mount_beside(container.id, name, peers[mount.destination])
            mount = replace(mount, source=str(drivers.storage.bundle(container.id) / name))
        mounts.append(mount)
    files = replace(container.spec.files, mounts=tuple(mounts))
    return replace(container, spec=replace(container.spec, files=files))
