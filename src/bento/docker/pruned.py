"""What a prune has removed, as Docker's API has it."""

from __future__ import annotations

from bento.model import reference
from bento.model.pruned import Pruned


def document(pruned: Pruned) -> dict[str, object]:
    """Return the answers to ``POST /containers/prune``, ``/images/prune`` and ``/volumes/prune`` in one."""
    untagged = [{"Untagged": reference.familiar(name)} for image in pruned.images for name in image.untagged]
    deleted = [{"Deleted": thing} for thing in (*(image.deleted for image in pruned.images), *pruned.strays)]
    return {
        "ContainersDeleted": list(pruned.containers),
        "ImagesDeleted": [*untagged, *deleted],
        "VolumesDeleted": list(pruned.volumes),
        "SpaceReclaimed": pruned.freed_bytes,
    }
