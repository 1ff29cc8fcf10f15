"""Removing what is a container's own. Who does it for a ``--rm`` container: see ``engine.attending``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine import networking
from bento.engine.attending import is_attended
from bento.engine.holding import refuse_if_held
from bento.engine.layers import forget
from bento.engine.mounting import let_go
from bento.engine.place import is_own_run_dir
from bento.kernel.tree import remove_tree
from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.parts import Parts


def erase(parts: Parts, container: Container, *, volumes: bool = False) -> int:
    """Delete everything of a container that is not live. The record goes last: an interrupted removal
    is finished by the next one. Whoever calls holds the operation lock. Idempotent.
    ``volumes``: its anonymous volumes, too; always so for a ``--rm`` container.
    Returns how many bytes of image layers have gone with it.
    Raises Conflict while somebody holds the root filesystem; then nothing was deleted.
    """
    refuse_if_held(parts, container)
    networking.release(parts, container)
    let_go(parts, container, remove=volumes or container.spec.auto_remove)
    is_own = is_own_run_dir(parts, container.id)  # asked while there is what its link leads to
    parts.storage.remove(container.id)
    if is_own:
        remove_tree(parts.run_dir(container.id))
    return forget(parts, container)


def erase_forgotten(parts: Parts, container: Container) -> bool:
    """Delete a ``--rm`` container whose end was recorded by somebody who died before he could delete it.

    False: it is not one, somebody lives who will delete it or start it again, or its root filesystem could not be
    released, of which its record is all that tells. Whoever calls holds both locks, or has seen that nobody holds the
    stop lock. Raises as ``erase`` does.
    """
    is_ended = container.status is Status.STOPPED and container.exit is not None and container.exit.is_released
    if not container.spec.auto_remove or not is_ended or is_attended(parts, container.id):
        return False
    erase(parts, container)
    return True
