"""What is used of the disk, ``system df``, and what a prune has freed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bento.docker.words import size_text
from bento.model import reference
from bento.model.disk import DiskUsage, Pruned
from bento.units import rfc3339

FIELDS: Final = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
"""What a template is given of each kind of thing, and the header of each in a table."""


def totals(usage: DiskUsage) -> list[dict[str, object]]:
    """Return a line for each kind of thing."""
    running = [each for each in usage.containers if each.container.status.is_wanted]
    return [
        {
            "Type": "Images",
            "Total": len(usage.images),
            "Active": sum(bool(each.containers) for each in usage.images),
            "Size": usage.images_bytes,
            "Reclaimable": usage.images_reclaimable_bytes,
        },
        {
            "Type": "Containers",
            "Total": len(usage.containers),
            "Active": len(running),
            "Size": usage.containers_bytes,
            "Reclaimable": usage.containers_reclaimable_bytes,
        },
        {
            "Type": "Local Volumes",
            "Total": len(usage.volumes),
            "Active": sum(bool(each.containers) for each in usage.volumes),
            "Size": usage.volumes_bytes,
            "Reclaimable": usage.volumes_reclaimable_bytes,
        },
    ]


def fields(usage: DiskUsage) -> list[dict[str, str]]:
    """Return the same in words: what a template is given."""
    return [_fields(total) for total in totals(usage)]


def _fields(total: dict[str, object]) -> dict[str, str]:
    size, reclaimable = (value if isinstance(value := total[key], int) else 0 for key in ("Size", "Reclaimable"))
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return {
        "Type": str(total["Type"]),
        "TotalCount": str(total["Total"]),
        "Active": str(total["Active"]),
        "Size": size_text(size),
        "Reclaimable": f"{size_text(reclaimable)}{share}",
    }


def details(usage: DiskUsage) -> dict[str, object]:
    """Return each image, container and volume, and the totals."""
    return {
        "Images": [
            {
                "Id": each.image.id,
                "Names": [reference.familiar(name) for name in each.image.names],
                "Size": each.image.size_bytes,
                "SharedSize": each.shared_bytes,
                "UniqueSize": each.unique_bytes,
                "Containers": list(each.containers),
            }
            for each in usage.images
        ],
        "Containers": [
            {"Id": each.container.id, "Names": [each.container.name], "Size": each.size_bytes}
            for each in usage.containers
        ],
        "Volumes": [
            {"Name": each.name, "Size": each.size_bytes, "Containers": list(each.containers)} for each in usage.volumes
        ],
        "Totals": totals(usage),
    }


def freed(pruned: Pruned) -> dict[str, object]:
    """Return what a prune has removed: the answers to ``POST /containers/prune`` and its like for images, volumes."""
    untagged = [{"Untagged": reference.familiar(name)} for image in pruned.images for name in image.untagged]
    deleted = [{"Deleted": thing} for thing in (*(image.deleted for image in pruned.images), *pruned.strays)]
    return {
        "ContainersDeleted": list(pruned.containers),
        "ImagesDeleted": [*untagged, *deleted],
        "NetworksDeleted": list(pruned.networks),
        "VolumesDeleted": list(pruned.volumes),
        "SpaceReclaimed": pruned.freed_bytes,
    }


def volumes(usage: DiskUsage, described: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return volumes as ``GET /system/df`` has them. ``described``: as the list of volumes has them."""
    taken = {each.name: each for each in usage.volumes}
    return [
        {
            **one,
            "UsageData": {"Size": taken[one["Name"]].size_bytes, "RefCount": len(taken[one["Name"]].containers)},
        }
        for one in described
        if one["Name"] in taken
    ]


def build_cache(size_bytes: int, used_unix_ns: int) -> list[dict[str, Any]]:
    """Return what builds have kept, which goes as a whole, as ``GET /system/df`` has it: as made by the last one."""
    if not size_bytes:
        return []
    return [
        {
            "ID": "build",
            "Parent": "",
            "Type": "regular",
            "Description": "what builds have kept for the next ones",
            "InUse": False,
            "Shared": False,
            "Size": size_bytes,
            "CreatedAt": rfc3339(used_unix_ns),
            "LastUsedAt": rfc3339(used_unix_ns),
            "UsageCount": 0,
        }
    ]
