"""``prune``: what is not used goes; what is in use, or being worked on, is left alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.base import order
from bento.engine.base.filters import parse_prune
from bento.engine.base.happened import tell_of_prune
from bento.engine.base.layers import unused
from bento.engine.foreign.reports import Reports
from bento.engine.images.images import remove_unused
from bento.engine.lifecycle import reconcile
from bento.engine.lifecycle.remove import refuse_if_required
from bento.engine.pods import listing as pod_listing
from bento.engine.pods.stop import remove as remove_pod
from bento.engine.resources.networks import prune as prune_networks
from bento.engine.resources.volumes import check_filters
from bento.engine.resources.volumes import prune as prune_volumes
from bento.engine.stop.erase import erase
from bento.errors import BentoError, Conflict, NotFound, WrongState
from bento.model.container import Container, Status
from bento.model.disk import Pruned, PrunedVolumes, RemovedImage
from bento.model.event import CONTAINER, IMAGE

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

FRESH_S = 30.0
"""A container so young that was never started may be the first half of a ``run``."""


def prune_containers(drivers: Drivers, filters: Iterable[str] = ()) -> Pruned:
    """Remove the containers that do not run, but those that others require which stay.

    One that has just been made and was not started yet stays, too. Raises UsageError for a bad filter.
    """
    passes = parse_prune(filters)
    found = reconcile.refresh(drivers, drivers.store.list())
    doomed = {c.id: c.spec.requires for c in found if _is_over(c) and passes(c.spec.labels, c.created_unix_ns)}
    gone: list[str] = []
    freed_bytes = 0
    errors: list[BentoError] = []
    for container_id in order.dependants_first(doomed):
        try:
            freed_bytes += _remove(drivers, container_id)
        except (Conflict, NotFound):  # in use after all, or another command was quicker
            continue
        except BentoError as error:
            errors.append(error)
            continue
        gone.append(container_id)
    tell_of_prune(drivers, CONTAINER, freed_bytes)
    return Pruned(containers=tuple(gone), freed_bytes=freed_bytes, errors=tuple(errors))


def _is_over(container: Container) -> bool:
    if container.status is not Status.CREATED:
        return not container.status.is_wanted
    return not 0 <= clock.wall_ns() - container.created_unix_ns < FRESH_S * 1e9


def _remove(drivers: Drivers, container_id: str) -> int:
    """Delete a container; return what that frees. Raises Conflict when it is in use, or being worked on."""
    with drivers.locks.hold(container_id, 0.0):
        container = drivers.store.get(container_id)
        if not _is_over(container):
            raise Conflict(f"container {container.name} is {container.status.value}")
        refuse_if_required(drivers, container)
        size_bytes = drivers.storage.size_bytes(container_id)
        freed_bytes = size_bytes + erase(drivers, container)
    drivers.locks.forget(container_id)
    return freed_bytes


def prune_pods(drivers: Drivers, filters: Iterable[str] = ()) -> Pruned:
    """Remove the pods that are not ready and have no container. Raises UsageError for a bad filter."""
    passes = parse_prune(filters)
    gone: list[str] = []
    errors: list[BentoError] = []
    for pod in pod_listing.pods(drivers, ["status=not-ready"]):
        if drivers.store.containers_of_pod(pod.id) or not passes(pod.settings.labels, pod.created_unix_ns):
            continue
        try:
            remove_pod(drivers, pod.id)
        except (Conflict, NotFound, WrongState):  # in use after all, or another command was quicker
            continue
        except BentoError as error:
            errors.append(error)
            continue
        gone.append(pod.id)
    return Pruned(pods=tuple(gone), errors=tuple(errors))


def prune_images(drivers: Drivers, *, all: bool = False, filters: Iterable[str] = ()) -> Pruned:
    """Remove the images without a name, or ``all``, that no container was made from.

    Without filters also what is left of images that never became whole. Raises UsageError for a bad filter.
    """
    wanted = tuple(filters)
    passes = parse_prune(wanted)
    images: list[RemovedImage] = []
    errors: list[BentoError] = []
    for image in drivers.store.list_images():
        if (all or not image.names) and passes(image.config.labels, image.created_unix_ns):
            try:
                removed = remove_unused(drivers, image.id, named=all)
            except BentoError as error:
                errors.append(error)
                continue
            if removed.deleted:
                images.append(removed)
    freed_bytes = sum(removed.freed_bytes for removed in images)
    strays, strays_bytes = ((), 0) if wanted else _remove_strays(drivers)
    tell_of_prune(drivers, IMAGE, freed_bytes + strays_bytes)
    return Pruned(
        images=tuple(images),
        strays=strays,
        strays_bytes=strays_bytes,
        freed_bytes=freed_bytes + strays_bytes,
        errors=tuple(errors),
    )


def _remove_strays(drivers: Drivers) -> tuple[tuple[str, ...], int]:
    with drivers.images.gc_lock():
        strays = unused(drivers, (*drivers.images.layers(), *drivers.images.idle_blobs()))
    if not strays:
        return (), 0
    removed = drivers.images.remove(lambda: unused(drivers, strays))
    return tuple(sorted(removed.things)), removed.freed_bytes


def prune(drivers: Drivers, *, all: bool = False, volumes: bool = False, filters: Iterable[str] = ()) -> Pruned:
    """Remove the containers that do not run, the pods that are not ready and have none, the networks that none has,
    then the images that none needs: see above.

    Without filters also what has no labels and no age: what builds have kept for the next ones, unless one goes on,
    and the reports of stops of what other engines run.
    ``volumes``: the anonymous volumes that no container has, too. A volume has no age: then ``until`` is a UsageError.
    """
    wanted = tuple(filters)
    check_filters(wanted if volumes else ())
    first = prune_containers(drivers, wanted)
    pods = prune_pods(drivers, wanted)
    networks = prune_networks(drivers, filters=wanted)
    then = prune_images(drivers, all=all, filters=wanted)
    last = prune_volumes(drivers, filters=wanted) if volumes else PrunedVolumes()
    build_bytes = 0 if wanted else drivers.builder.prune()
    reports, report_bytes = (0, 0) if wanted else Reports(drivers.root).clear()
    return Pruned(
        containers=first.containers,
        pods=pods.pods,
        images=then.images,
        networks=networks.networks,
        volumes=last.names,
        strays=then.strays,
        strays_bytes=then.strays_bytes,
        build_bytes=build_bytes,
        reports=reports,
        freed_bytes=first.freed_bytes + then.freed_bytes + last.freed_bytes + build_bytes + report_bytes,
        errors=(*first.errors, *pods.errors, *networks.errors, *then.errors),
    )
