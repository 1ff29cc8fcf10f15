"""A volume: one element of ``volume inspect``, and what templates are given."""

from __future__ import annotations

from typing import Any, Final

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
