"""What ``doctor`` says of one thing."""

from __future__ import annotations

from msgspec import Struct

Key = tuple[str, str, str]


class Finding(Struct, frozen=True, kw_only=True):
    """Something left over. ``held_by`` names processes that keep it; ``is_fixed``: it was removed just now.

    A wall is a part of the network of containers that run which others have removed: fixed, it is there again.

    ``is_kept``: on purpose, a part of an image of which the rest has not come; the next pull goes on with it.
    """

    # record, container, pod, network, name, wall, mount, cgroup, process, directory, lock, layer, blob, volume,
    # build, check, missing
    kind: str
    what: str
    container_id: str = ""
    held_by: tuple[str, ...] = ()
    is_fixed: bool = False
    is_kept: bool = False

    @property
    def key(self) -> Key:
        """What makes it the same at another look."""
        return (self.kind, self.what, self.container_id)
