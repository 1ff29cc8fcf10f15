"""A volume: a directory that outlives the containers it is mounted in."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

DRIVER: Final = "local"
"""The one that there is: directories below the root."""

ANONYMOUS: Final = "com.docker.volume.anonymous"
"""The label of a volume that was given no name, by which Docker's users find such."""


class Volume(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a volume beside its files. Its users are not: containers' records name them.

    ``options``: what is mounted over its directory for each container (``type``, ``o``, ``device``, as mount(8) takes
    them); {}: nothing, it is a directory.
    ``container_id``: an anonymous one is the own of the container it was made for, until that is removed and leaves it.
    """

    name: str
    created_unix_ns: int
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    anonymous: bool = False
    container_id: str = ""
