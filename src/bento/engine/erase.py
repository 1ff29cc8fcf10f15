"""Removing what is a container's own, and who does it for a ``--rm`` container.

Somebody must: the foreground ``run`` that waits for it, the stop that ends it, or, when neither is
there, the helper that its monitor runs at the exit. Who attends says so by a symlink to its own
/proc/PID in the container's run directory: it dangles as soon as that process is gone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.engine import networking
from bento.engine.layers import forget
from bento.errors import Conflict
from bento.kernel.tree import remove_tree
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.parts import Parts


def attended_path(parts: Parts, container_id: str) -> str:
    """The symlink that says who looks after the container's end."""
    return str(parts.run_dir(container_id) / "attended")


def attend(parts: Parts, container_id: str) -> bool:
    """Begin to look after the container's end. False: a living process does so already, maybe this one."""
    path = attended_path(parts, container_id)
    for _ in range(2):
        try:
            os.symlink(f"/proc/{os.getpid()}", path)
            return True
        except FileNotFoundError:  # no run directory: nothing runs, nobody else can attend
            return True
        except FileExistsError:
            if os.path.exists(path):
                return False
            with suppress(FileNotFoundError):
                os.unlink(path)
    return False


def leave(parts: Parts, container_id: str) -> None:
    """Stop looking after the container's end; from now on the monitor's helper does. Idempotent."""
    with suppress(FileNotFoundError):
        os.unlink(attended_path(parts, container_id))


def exit_script(parts: Parts, container: Container) -> tuple[str, ...]:
    """What the monitor runs at the exit of a container that something is to follow: a helper, unless somebody attends.

    The monitor ends only after this command, and a stop waits for the monitor: so where somebody
    attends, all that is run is one test of one file.
    """
    spec = container.spec
    if not spec.auto_remove and spec.restart.name == "no" and not spec.system:
        return ()
    script = '[ -e "$0" ] || exec "$@"'
    path = attended_path(parts, container.id)
    number = str(container.run.number if container.run else 0)
    return ("/bin/sh", "-c", script, path, *parts.helper_argv, "after-exit", container.id, number)


def erase(parts: Parts, container: Container) -> None:
    """Delete everything of a container that is not live. The record goes last: an interrupted removal
    is finished by the next one. Whoever calls holds the operation lock. Idempotent.
    Raises Conflict while somebody holds the root filesystem; then nothing was deleted.
    """
    is_released = container.exit is None or container.exit.is_released
    if not is_released and parts.storage.is_held(container.id):
        names = ", ".join(f"{holder.comm} ({holder.pid})" for holder in parts.storage.holders(container.id))
        raise Conflict(
            f"the root filesystem of container {container.name} is still in use by {names or 'the kernel'}",
            hint="end these processes first",
        )
    networking.release(parts, container)
    parts.storage.remove(container.id)
    remove_tree(parts.run_dir(container.id))
    forget(parts, container)
