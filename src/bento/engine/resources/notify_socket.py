"""The socket by which a program in a container tells what a service of type notify tells (``--sdnotify container``).

conmon has it from the start on, and passes READY=1 on, and nothing else (conn_sock.c), as the OCI runtimes do. A stop
takes its place: see ``bento.engine.resources.extending``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.model.container import SD_NOTIFY, Mount

if TYPE_CHECKING:
    from pathlib import Path

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container

CONTAINER, CONMON, HEALTHY, IGNORE = SD_NOTIFY
DIRECTORY: Final = "notify"  # in the run directory; conmon's own names
NAME: Final = "notify.sock"
INSIDE: Final = "/run/notify"


def path_of(run_dir: Path) -> Path:
    """Return where the socket is, or will be."""
    return run_dir / DIRECTORY / NAME


def with_socket(drivers: Drivers, container: Container) -> Container:
    """Return the container as it is to be created: with the socket's directory, and a variable that names it.

    A directory, as the socket in it may be another one later. It is read-only in the container: root goes by it.
    """
    if container.spec.sdnotify != CONTAINER:
        return container
    directory = drivers.run_dir(container.id) / DIRECTORY
    directory.mkdir(mode=0o755, exist_ok=True)
    options = ("nosuid", "nodev", "noexec")
    mount = Mount(kind="bind", source=str(directory), destination=INSIDE, read_only=True, options=options)
    files = replace(container.spec.files, mounts=(*container.spec.files.mounts, mount))
    env = (*container.spec.env, f"NOTIFY_SOCKET={INSIDE}/{NAME}")
    return replace(container, spec=replace(container.spec, files=files, env=env))


def relayed_to(drivers: Drivers, container: Container) -> str:
    """Return the socket that the monitor is to pass READY=1 on to; "": none. It takes a path, and no abstract name."""
    is_relayed = container.spec.sdnotify == CONTAINER and os.path.isabs(drivers.notify_socket)
    return drivers.notify_socket if is_relayed else ""
