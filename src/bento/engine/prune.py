"""``prune``: what nobody uses goes; what is in use, or somebody works on, is left alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from bento import clock
from bento.engine import order, reconcile
from bento.engine.erase import erase
from bento.engine.filters import parse_prune
from bento.engine.images import RemovedImage, remove_unused
from bento.engine.layers import unused
from bento.engine.remove import refuse_if_required
from bento.engine.volumes import PrunedVolumes, check_filters
from bento.engine.volumes import prune as prune_volumes
from bento.errors import BentoError, Conflict, NotFound
from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.parts import Parts

FRESH_S = 30.0
"""A container so young that was never started may be the first half of somebody's ``run``."""


class Pruned(Struct, frozen=True, kw_only=True):
    """What has gone, how many bytes of the disk that frees, and what should have gone and could not."""

    containers: tuple[str, ...] = ()  # ids
    images: tuple[RemovedImage, ...] = ()
    volumes: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()  # layers and blobs of no image, such as those of an interrupted pull
    strays_bytes: int = 0
    freed_bytes: int = 0
    errors: tuple[BentoError, ...] = ()


def prune_containers(parts: Parts, filters: Iterable[str] = ()) -> Pruned:
    """Remove the containers that do not run, but those that others require which stay.

    One that has just been made and was not started yet stays, too. Raises UsageError for a bad filter.
    """
    passes = parse_prune(filters)
    found = reconcile.refresh(parts, parts.store.list())
    doomed = {c.id: c.spec.requires for c in found if _is_over(c) and passes(c.spec.labels, c.created_unix_ns)}
    gone: list[str] = []
    freed_bytes = 0
    errors: list[BentoError] = []
    for container_id in order.dependants_first(doomed):
        try:
            freed_bytes += _remove(parts, container_id)
        except (Conflict, NotFound):  # in use after all, or somebody was quicker
            continue
        except BentoError as error:
            errors.append(error)
            continue
        gone.append(container_id)
    return Pruned(containers=tuple(gone), freed_bytes=freed_bytes, errors=tuple(errors))


def _is_over(container: Container) -> bool:
    if container.status is not Status.CREATED:
        return not container.status.is_wanted
    return not 0 <= clock.wall_ns() - container.created_unix_ns < FRESH_S * 1e9


def _remove(parts: Parts, container_id: str) -> int:
    """Delete a container; return what that frees. Raises Conflict when it is in use, or somebody works on it."""
    with parts.locks.hold(container_id, 0.0):
        container = parts.store.get(container_id)
        if not _is_over(container):
            raise Conflict(f"container {container.name} is {container.status.value}")
        refuse_if_required(parts, container)
        size_bytes = parts.storage.size_bytes(container_id)
        freed_bytes = size_bytes + erase(parts, container)
    parts.locks.forget(container_id)
    return freed_bytes


def prune_images(parts: Parts, *, all: bool = False, filters: Iterable[str] = ()) -> Pruned:
    """Remove the images without a name, or ``all``, that no container was made from.

    Without filters also what is left of images that never became whole. Raises UsageError for a bad filter.
    """
    wanted = tuple(filters)
    passes = parse_prune(wanted)
    images: list[RemovedImage] = []
    errors: list[BentoError] = []
    for image in parts.store.list_images():
        if (all or not image.names) and passes(image.config.labels, image.created_unix_ns):
            try:
                removed = remove_unused(parts, image.id, named=all)
            except BentoError as error:
                errors.append(error)
                continue
            if removed.deleted:
                images.append(removed)
    freed_bytes = sum(removed.freed_bytes for removed in images)
    strays, strays_bytes = ((), 0) if wanted else _remove_strays(parts)
    return Pruned(
        images=tuple(images),
        strays=strays,
        strays_bytes=strays_bytes,
        freed_bytes=freed_bytes + strays_bytes,
        errors=tuple(errors),
    )


def _remove_strays(parts: Parts) -> tuple[tuple[str, ...], int]:
    with parts.images.kept():
        strays = unused(parts, (*parts.images.layers(), *parts.images.idle_blobs()))
    if not strays:
        return (), 0
    removed = parts.images.remove(lambda: unused(parts, strays))
    return tuple(sorted(removed.things)), removed.freed_bytes


def prune(parts: Parts, *, all: bool = False, volumes: bool = False, filters: Iterable[str] = ()) -> Pruned:
    """Remove the containers that do not run, then the images that no container needs: see the two above.

    ``volumes``: the anonymous volumes that no container has, too. A volume has no age: then ``until`` is a UsageError.
    """
    wanted = tuple(filters)
    check_filters(wanted if volumes else ())
    first = prune_containers(parts, wanted)
    then = prune_images(parts, all=all, filters=wanted)
    last = prune_volumes(parts, filters=wanted) if volumes else PrunedVolumes()
    return Pruned(
        containers=first.containers,
        images=then.images,
        volumes=last.names,
        strays=then.strays,
        strays_bytes=then.strays_bytes,
        freed_bytes=first.freed_bytes + then.freed_bytes + last.freed_bytes,
        errors=(*first.errors, *then.errors),
    )
