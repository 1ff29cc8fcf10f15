"""``images``, ``system df``: which images there are, and what they take of the disk.

A layer that several images have is there once; it is shared, and goes with the last of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.engine.base.filters import has_label, parse_until, split
from bento.engine.base.layers import HOST_LAYER
from bento.engine.lifecycle import reconcile
from bento.errors import UsageError
from bento.model import reference
from bento.model.container import VOLUME, Container
from bento.model.disk import ContainerUsage, DiskUsage, ImageUsage, VolumeUsage
from bento.model.image import Image

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_YES, _NO = ("true", "1"), ("false", "0")
_Test = Callable[[Image], bool]


def find_images(drivers: Drivers, filters: Iterable[str] = ()) -> list[Image]:
    """Return the images that pass all filters, newest first; with ``reference``, each with the names that fit it.

    Keys: reference (a pattern), dangling, label, before, since (an image), until. Values of reference are alternatives.
    Raises UsageError, and NotFound, Conflict for the image of before and since.
    """
    wanted = split(filters, FILTERS)
    patterns = wanted.pop("reference", [])
    tests = [FILTERS[key](drivers, value) for key, values in wanted.items() for value in values]
    found = [image for image in drivers.store.list_images() if all(test(image) for test in tests)]
    if not patterns:
        return found
    fitting = (replace(image, names=_names_like(image, patterns)) for image in found)
    return [image for image in fitting if image.names]


def usage(drivers: Drivers, images: Iterable[Image]) -> list[ImageUsage]:
    """Return what each of these images shares with all others of this engine."""
    counts = Counter(layer for image in drivers.store.list_images() for layer in _sizes(image))
    made: dict[str, list[str]] = {}
    for container in drivers.store.list():
        made.setdefault(container.spec.image_id, []).append(container.name)
    found = []
    for image in images:
        sizes = _sizes(image)
        shared = sum(size for layer, size in sizes.items() if counts[layer] > 1)
        found.append(
            ImageUsage(
                image=image,
                shared_bytes=shared,
                unique_bytes=sum(sizes.values()) - shared,
                containers=tuple(made.get(image.id, ())),
            )
        )
    return found


def disk_usage(drivers: Drivers) -> DiskUsage:
    """Return what everything takes of the disk. Looks at every file of containers and volumes: slow."""
    containers = tuple(
        ContainerUsage(container=container, size_bytes=drivers.storage.size_bytes(container.id))
        for container in reconcile.refresh(drivers, drivers.store.list())
    )
    images = tuple(usage(drivers, drivers.store.list_images()))
    volumes = tuple(_volume_usage(drivers, [each.container for each in containers]))
    standing = {layer for each in containers for layer in each.container.spec.layers} - {HOST_LAYER}
    loose = (*drivers.images.layers(), *drivers.images.idle_blobs())  # also what an interrupted pull has brought
    every = standing.union(loose, *((*each.image.layers, *each.image.blobs) for each in images))
    needed = standing.union(*((*each.image.layers, *each.image.blobs) for each in images if each.containers))
    return DiskUsage(
        images=images,
        images_bytes=drivers.images.size_bytes(every),
        images_reclaimable_bytes=drivers.images.size_bytes(every - needed),
        containers=containers,
        containers_bytes=sum(each.size_bytes for each in containers),
        containers_reclaimable_bytes=sum(e.size_bytes for e in containers if not e.container.status.is_wanted),
        volumes=volumes,
        volumes_bytes=sum(each.size_bytes for each in volumes),
        volumes_reclaimable_bytes=sum(each.size_bytes for each in volumes if not each.containers),
    )


def _volume_usage(drivers: Drivers, containers: Iterable[Container]) -> list[VolumeUsage]:
    users: dict[str, list[str]] = {}
    for container in containers:
        for name in {mount.source for mount in container.spec.files.mounts if mount.kind == VOLUME}:
            users.setdefault(name, []).append(container.name)
    return [
        VolumeUsage(
            name=volume.name,
            size_bytes=drivers.volumes.size_bytes(volume.name),
            containers=tuple(users.get(volume.name, ())),
        )
        for volume in drivers.store.list_volumes()
    ]


def _sizes(image: Image) -> dict[str, int]:
    """Return the size of each of an image's layers; an image of an older Bento had one, and no DiffIDs."""
    if not image.diff_ids:
        return dict.fromkeys(image.layers[:1], image.size_bytes)
    return dict(zip(image.diff_ids, image.layer_sizes_bytes, strict=True))


def _names_like(image: Image, patterns: Iterable[str]) -> tuple[str, ...]:
    wanted = [pattern.replace("[^", "[!").split("/") for pattern in patterns]
    return tuple(
        name
        for name in image.names
        if any(_fits(spelling.split("/"), pattern) for spelling in _spellings(name) for pattern in wanted)
    )


def _spellings(full: str) -> tuple[str, ...]:
    """What a pattern may be held against: the name with or without its tag or digest, as people write it or in full."""
    familiar = reference.split(full)[0]
    whole = re.sub(r"(:[^/:@]*)?(@.*)?$", "", full)
    return reference.familiar(full), familiar, full, whole


def _fits(words: list[str], pattern: list[str]) -> bool:
    """As Docker: ``*`` does not go beyond a slash."""
    return len(words) == len(pattern) and all(fnmatchcase(*pair) for pair in zip(words, pattern, strict=True))


def _dangling(drivers: Drivers, value: str) -> _Test:
    if value not in _YES + _NO:
        raise UsageError(f"bad filter 'dangling={value}'", hint="use dangling=true or dangling=false")
    return lambda image: bool(image.names) == (value in _NO)


def _before(drivers: Drivers, value: str) -> _Test:
    moment = drivers.store.find_image(value).created_unix_ns
    return lambda image: image.created_unix_ns < moment


def _since(drivers: Drivers, value: str) -> _Test:
    moment = drivers.store.find_image(value).created_unix_ns
    return lambda image: image.created_unix_ns > moment


def _until(drivers: Drivers, value: str) -> _Test:
    moment = parse_until(value)
    return lambda image: image.created_unix_ns < moment


FILTERS: dict[str, Callable[[Drivers, str], _Test]] = {
    "before": _before,
    "dangling": _dangling,
    "label": lambda drivers, value: lambda image: has_label(image.config.labels, value),
    "reference": lambda drivers, value: lambda image: bool(_names_like(image, [value])),
    "since": _since,
    "until": _until,
}
