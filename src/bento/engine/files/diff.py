"""``diff``: what a container has changed, as its upper directory says it, running or not."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bento.engine.lifecycle import reconcile
from bento.errors import KernelError, StorageUnusable, as_bento_error
from bento.files.changes import Below, Changes
from bento.model.change import Change
from bento.model.container import Container
from bento.oci import config

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def diff(drivers: Drivers, ref: str) -> list[Change]:
    """Return the changes of a container, by path. Blocks while it looks at each file. Raises NotFound."""
    container = reconcile.find(drivers, ref)
    try:
        with changes_of(drivers, container) as changes:
            found = changes.list()
    except OSError as error:
        drivers.store.get(container.id)  # removed meanwhile?
        raise as_bento_error(error) from error
    drivers.store.get(container.id)
    return found


@contextmanager
def changes_of(drivers: Drivers, container: Container) -> Iterator[Changes]:
    """Give what a container has changed, held open. Raises StorageUnusable when a layer is missing, OSError."""
    with ExitStack() as stack:
        layers = []
        for layer in container.spec.layers:
            try:
                # As overlayfs sees it: of the machine's own files without the filesystems that are mounted below.
                fd = drivers.mounts.open_tree(layer, recursive=False)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                raise StorageUnusable(f"the layer {layer} is missing", hint="was it deleted by hand?") from None
            stack.callback(os.close, fd)
            layers.append(fd)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        upper_fd = os.open(drivers.storage.upper(container.id), flags)
        stack.callback(os.close, upper_fd)
        ignored = {path.lstrip("/") for path in config.mount_points(container)}
        yield stack.enter_context(Changes(upper_fd, Below(layers), ignored))
