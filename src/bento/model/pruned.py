"""What was removed, and how many bytes of the disk that frees."""

from __future__ import annotations

from msgspec import Struct

from bento.errors import BentoError


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
    images: tuple[RemovedImage, ...] = ()
    networks: tuple[str, ...] = ()  # names
    volumes: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()  # layers and blobs of no image, such as those of an interrupted pull
    strays_bytes: int = 0
    build_bytes: int = 0  # of what builds have kept for the next ones
    freed_bytes: int = 0
    errors: tuple[BentoError, ...] = ()
