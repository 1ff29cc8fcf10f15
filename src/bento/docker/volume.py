"""A volume: one element of ``volume inspect``, and what templates are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bento.docker.words import labels_text
from bento.model.volume import DRIVER, Volume
from bento.units import rfc3339

FIELDS: Final = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
"""What a template is given of each volume, and the header of each in a table."""


def describe(volume: Volume, mountpoint: str) -> dict[str, Any]:
    """Return what Docker says of a volume, whose files are in the directory ``mountpoint``."""
    return {
        "CreatedAt": rfc3339(volume.created_unix_ns),
        "Driver": DRIVER,
        "Labels": volume.labels,
        "Mountpoint": mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }


def inspect(volume: Volume, mountpoint: str, users: Sequence[str]) -> dict[str, Any]:
    """Return a volume as one element of ``inspect``'s array. ``users``: the names of the containers that have it."""
    return describe(volume, mountpoint) | {"Anonymous": volume.anonymous, "Containers": list(users)}


def fields(described: dict[str, Any]) -> dict[str, object]:
    """Return what a template is given of a volume, from its description."""
    return {name: described[name] for name in FIELDS} | {"Labels": labels_text(described["Labels"])}
