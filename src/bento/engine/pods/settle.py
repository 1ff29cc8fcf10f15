"""A pod's record is held against what is there, as a container's is.

What a process has begun and did not finish is finished here: a creation is undone, a stop or a removal goes on in a
process of its own (rule S6). A pod that has lost its namespaces, as to a reboot, is not ready, and its network is
released: plugins may hand out addresses that outlive a reboot.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento import clock, log
from bento.engine.base import place
from bento.engine.resources import default_network, pod_sandbox
from bento.errors import BentoError, Conflict, NotFound
from bento.model.container import Place
from bento.model.pods import Pod, PodState, PodStop

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_MADE: Final = (PodState.CREATING, PodState.STARTING)
_ENDED: Final = (PodState.STOPPING, PodState.REMOVING)
_HELP_AGAIN_S: Final = 10.0
"""After that another process is started, should the last one have been killed, or failed."""


def find(drivers: Drivers, ref: str) -> Pod:
    """Return a pod by name, id or prefix, as it is now. Raises NotFound, Conflict."""
    found = refresh(drivers, [drivers.store.find_pod(ref)])
    if not found:
        return drivers.store.find_pod(ref)  # which says that it is gone
    return found[0]


def refresh(drivers: Drivers, pods: Sequence[Pod]) -> list[Pod]:
    """Return the pods as they are now, without those that are gone. What could not be settled is a warning."""
    if not pods:
        return []
    here = place.here(drivers)
    found = []
    for pod in pods:
        try:
            now = _settled(drivers, pod, here)
        except NotFound:  # removed meanwhile
            continue
        except BentoError as error:
            log.warning(f"pod {pod.name}: {error}")
            now = pod
        if now is not None:
            found.append(now)
    return found


def is_elsewhere(pod: Pod, here: Place) -> bool:
    """Whether another root, of which this is a copy, holds what the record says."""
    own = (here.root_dev, here.root_ino)
    return pod.place is not None and (pod.place.root_dev, pod.place.root_ino) != own


def refuse_elsewhere(drivers: Drivers, pod: Pod) -> None:
    """Raise Conflict for a pod that another root holds."""
    if pod.place is not None and pod.state is not PodState.NOT_READY and is_elsewhere(pod, place.here(drivers)):
        raise Conflict(
            f"pod {pod.name} was made by the root {pod.place.root}, of which this is a copy",
            hint=f"use --root {pod.place.root}",
        )


def _settled(drivers: Drivers, pod: Pod, here: Place) -> Pod | None:
    if pod.state is PodState.NOT_READY or is_elsewhere(pod, here):
        return pod
    if pod.state is PodState.READY:
        return pod if pod_sandbox.is_whole(drivers, pod, here) else _lost(drivers, pod, here)
    if pod.state in _MADE:
        return _undo_abandoned(drivers, pod)
    return _go_on(drivers, pod, here)


def _lost(drivers: Drivers, pod: Pod, here: Place) -> Pod:
    try:
        lock = drivers.locks.hold(pod.id, 0.0)
    except Conflict:  # it is being looked after
        return drivers.store.get_pod(pod.id)
    with lock:
        now = drivers.store.get_pod(pod.id)
        if now.state is not PodState.READY or pod_sandbox.is_whole(drivers, now, here):
            return now
        now = drivers.store.modify_pod(pod.id, lambda p: replace(p, state=PodState.NOT_READY))
        log.info(f"pod {pod.name} has lost its namespaces")
        return pod_sandbox.take_down(drivers, now)


def _undo_abandoned(drivers: Drivers, pod: Pod) -> Pod | None:
    """Undo what was begun by a process that died. Skipped while it is at work."""
    try:
        lock = drivers.locks.hold(pod.id, 0.0)
    except Conflict:
        return pod
    with lock:
        now = drivers.store.get_pod(pod.id)
        return undo(drivers, now) if now.state in _MADE else now


def undo(drivers: Drivers, pod: Pod) -> Pod | None:
    """Take down what was made of a pod, and put its record back: None, there is none any more.

    The caller holds the operation lock. Raises as ``pod_sandbox.take_down``.
    """
    if pod.state is PodState.STARTING:
        pod_sandbox.take_down(drivers, pod)
        return drivers.store.modify_pod(pod.id, lambda p: replace(p, state=PodState.NOT_READY))
    forget(drivers, pod)
    return None


def forget(drivers: Drivers, pod: Pod) -> None:
    """Take a pod down and forget it. The caller holds the operation lock. Idempotent. Raises as ``take_down``."""
    with suppress(NotFound):
        pod_sandbox.take_down(drivers, pod)
        drivers.store.remove_pod(pod.id)
        default_network.lower_default(drivers)


def _go_on(drivers: Drivers, pod: Pod, here: Place) -> Pod:
    """Have a stop, or a removal, whose process died go on in another one; it is not waited for here."""
    if drivers.locks.is_stop_held(pod.id):
        return pod
    now_s, is_wanted = clock.boot_s(), False

    def help_it(now: Pod) -> Pod:
        nonlocal is_wanted
        asked = now.stop or PodStop()
        is_recent = 0.0 <= now_s - asked.helped_boot_s < _HELP_AGAIN_S
        if now.state not in _ENDED or is_recent:
            return now
        is_wanted = True
        if now.place is not None and now.place.boot_id != here.boot_id:  # that deadline was of another boot
            asked = PodStop(deadline_boot_s=now_s)
        return replace(now, stop=replace(asked, helped_boot_s=now_s))

    now = drivers.store.modify_pod(pod.id, help_it)
    if is_wanted and not drivers.locks.is_stop_held(pod.id):
        log.info(f"going on with the end of pod {pod.name}, whose process is gone")
        drivers.spawn_detached((*drivers.helper_argv, "finish-stop", pod.id))
    return now
