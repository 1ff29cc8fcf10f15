"""What ``doctor`` finds of pods: what is held for one that has no record, or is not ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bento import log
from bento.engine.maintenance.finding import Finding
from bento.engine.pods import settle
from bento.engine.resources import default_network, networking, pod_sandbox
from bento.errors import BentoError, Conflict, NotFound, StateCorrupt
from bento.model.pods import PodState

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers


def ids(drivers: Drivers) -> set[str]:
    """Return the ids of all pods that there are, or of which anything is kept."""
    return {pod.id for pod in drivers.store.list_pods(on_unreadable=lambda _: None)} | set(drivers.pods.ids())


def look(
    drivers: Drivers, known: set[str], links: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Finding, Callable[[str], bool]]]:
    """Yield what is left over, with what removes it. ``links``: what there is of networks, by id."""
    kept = set(drivers.pods.ids())
    for pod_id in sorted(known):
        if not (pod_id in kept or links.get(pod_id)):
            continue
        try:
            lock = drivers.locks.hold(pod_id, 0.0)
        except Conflict:  # it is being worked on
            continue
        with lock:
            words = _judge(drivers, pod_id)
        if words:
            yield Finding(kind="pod", what=words), partial(_remove, drivers, pod_id)


def _judge(drivers: Drivers, pod_id: str) -> str:
    """Return what is wrong; "": nothing is."""
    try:
        pod = drivers.store.get_pod(pod_id)
    except NotFound:
        return f"{pod_id[:12]} has no record"
    except StateCorrupt:
        return ""  # another finding
    if pod.state is PodState.NOT_READY:
        return f"{pod.name} is not ready, and holds namespaces or links"
    return ""


def _remove(drivers: Drivers, pod_id: str, _: str) -> bool:
    try:
        with drivers.locks.hold(pod_id, 0.0):
            try:
                pod = drivers.store.get_pod(pod_id)
            except NotFound:
                pod_sandbox.release_left(drivers, pod_id)
                default_network.lower_default(drivers)
                return True
            if pod.state is not PodState.NOT_READY:
                return False
            networking.release_left(drivers, pod_id)
            pod_sandbox.take_down(drivers, pod)
    except BentoError as error:
        log.warning(str(error))
        return False
    return True


def settle_all(drivers: Drivers) -> None:
    """Settle what was begun by processes that are gone, as every verb does."""
    settle.refresh(drivers, drivers.store.list_pods(on_unreadable=lambda _: None))
