"""What images, containers and volumes take of the disk, and what was freed of it."""

from __future__ import annotations

from msgspec import Struct

from bento.errors import BentoError
from bento.model.container import Container
from bento.model.image import Image


class ImageUsage(Struct, frozen=True, kw_only=True):
    """An image, what its layers have in common with other images, and what with none; bytes of unpacked files."""

    image: Image
    shared_bytes: int
    unique_bytes: int
    containers: tuple[str, ...]  # the names of those made from it


class ContainerUsage(Struct, frozen=True, kw_only=True):
    """A container, and what its own files take of the disk: changes to its root filesystem, and its log."""

    container: Container
    size_bytes: int


class VolumeUsage(Struct, frozen=True, kw_only=True):
    """A volume, what its files take of the disk, and the names of the containers that have it."""

    name: str
    size_bytes: int
    containers: tuple[str, ...]


class DiskUsage(Struct, frozen=True, kw_only=True):
    """What is below the root. An image's bytes here are its layers, unpacked and as they came; those of interrupted
    pulls count as images, too.

    ``reclaimable``: what a prune of all images, of the containers that do not run, or of all volumes, would free.
    """

    images: tuple[ImageUsage, ...]
    images_bytes: int
    images_reclaimable_bytes: int
    containers: tuple[ContainerUsage, ...]
    containers_bytes: int
    containers_reclaimable_bytes: int
    volumes: tuple[VolumeUsage, ...]
    volumes_bytes: int
    volumes_reclaimable_bytes: int


class RemovedImage(Struct, frozen=True, kw_only=True):
    """What became of an image: names it has lost, and its id when it is gone."""

    untagged: tuple[str, ...] = ()  # full names
    deleted: str = ""
    freed_bytes: int = 0


class PrunedVolumes(Struct, frozen=True, kw_only=True):
    """What a ``prune`` has removed."""

    names: tuple[str, ...] = ()
    freed_bytes: int = 0


class Pruned(Struct, frozen=True, kw_only=True):
    """What has gone, how many bytes of the disk that frees, and what should have gone and could not."""

    containers: tuple[str, ...] = ()  # ids
    pods: tuple[str, ...] = ()  # ids
    images: tuple[RemovedImage, ...] = ()
    networks: tuple[str, ...] = ()  # names
    volumes: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()  # layers and blobs of no image, such as those of an interrupted pull
    strays_bytes: int = 0
    build_bytes: int = 0  # of what builds have kept for the next ones
    reports: int = 0  # of stops of what other engines run
    freed_bytes: int = 0
    errors: tuple[BentoError, ...] = ()


class FilesystemUsage(Struct, frozen=True, kw_only=True):
    """What a group of files takes of the filesystem that ``path`` is on, at a moment."""

    path: str
    used_bytes: int
    files: int  # with directories
    unix_ns: int
