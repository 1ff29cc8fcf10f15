"""``pod stop``: its containers stop as any do, together and in their order; then its network and namespaces go.

No lock is held while containers stop: a second call joins, and may bring their end nearer (rule S5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.outcome import StopObserver, StopOutcome
from bento.engine.lifecycle.remove import dependants_first
from bento.engine.lifecycle.remove import remove as remove_container
from bento.engine.pods import settle
from bento.engine.resources import pod_sandbox
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import AlreadyStopped, BentoError, Conflict, NotFound, WrongState
from bento.model.pods import Pod, PodState, PodStop
from bento.model.stop import OnPaused
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container

_ROUNDS = 3  # one that was being started when its pod's stop began shows up in the next


class PodOutcome(Struct, frozen=True, kw_only=True):
    """What became of one pod of a stop. ``outcomes``: of its containers, which may have errors of their own."""

    name: str  # as it was named
    error: BentoError | None = None
    outcomes: tuple[StopOutcome, ...] = ()


def stop(
    drivers: Drivers, ref: str, grace_s: float | None = None, observer: StopObserver | None = None
) -> list[StopOutcome]:
    """Stop a pod. See ``Engine.stop_pod``."""
    outcome = stop_many(drivers, [ref], grace_s, observer)[0]
    if outcome.error is not None:
        raise outcome.error
    return list(outcome.outcomes)


def stop_many(
    drivers: Drivers, refs: Sequence[str], grace_s: float | None = None, observer: StopObserver | None = None
) -> list[PodOutcome]:
    """Stop pods, all together. See ``Engine.stop_pods``."""
    pods: dict[str, str] = {}  # those that are not over, by what they were named
    errors: dict[str, BentoError] = {}
    for ref in dict.fromkeys(refs):
        try:
            pod = settle.find(drivers, ref)
            settle.refuse_elsewhere(drivers, pod)
            is_over = pod.state is PodState.NOT_READY and not (pod.connections or pod.pins)
            if not is_over or _live(drivers, pod.id):
                _begin(drivers, pod.id, PodState.STOPPING, grace_s)
                pods[ref] = pod.id
        except BentoError as error:
            errors[ref] = error
    outcomes = _drive(drivers, list(pods.values()), grace_s, observer) if pods else {}
    found = []
    for ref in dict.fromkeys(refs):
        known = outcomes.get(pods.get(ref, ""), PodOutcome(name=ref, error=errors.get(ref)))
        found.append(replace(known, name=ref))
    return found


def _drive(
    drivers: Drivers, ids: Sequence[str], grace_s: float | None, observer: StopObserver | None
) -> dict[str, PodOutcome]:
    """Stop what runs in pods, and take them down. Return what became of each, by its id."""
    locks = [drivers.locks.try_stop(pod_id) for pod_id in ids]  # None: another process is at it, and this one joins
    try:
        outcomes = _stop_containers(drivers, ids, grace_s, observer)
        found = {}
        for pod_id in ids:
            error: BentoError | None = None
            try:
                _refuse_live(drivers, pod_id, outcomes[pod_id])
                _take_down(drivers, pod_id)
            except NotFound:  # removed meanwhile
                pass
            except BentoError as why:
                error = why
            found[pod_id] = PodOutcome(name="", error=error, outcomes=tuple(outcomes[pod_id]))
        return found
    finally:
        for lock in locks:
            if lock is not None:
                lock.release()


def _take_down(drivers: Drivers, pod_id: str) -> None:
    with drivers.locks.hold(pod_id, LOCK_TIMEOUT_S):
        now = drivers.store.get_pod(pod_id)
        if now.state is PodState.STOPPING:  # else it is done, or to be removed
            pod_sandbox.take_down(drivers, now)
            drivers.store.modify_pod(pod_id, lambda p: replace(p, state=PodState.NOT_READY, stop=None))


def remove(
    drivers: Drivers, ref: str, *, force: bool = False, grace_s: float = 0.0, observer: StopObserver | None = None
) -> Pod:
    """Remove a pod and its containers. See ``Engine.remove_pod``."""
    pod = settle.find(drivers, ref)
    settle.refuse_elsewhere(drivers, pod)
    _refuse_if_required(drivers, pod)
    live = _live(drivers, pod.id)
    if live and not force:
        names = ", ".join(one.name for one in live)
        raise WrongState(f"containers of pod {pod.name} run: {names}", hint="stop it first, or use pod rm -f")
    _begin(drivers, pod.id, PodState.REMOVING, grace_s)
    with suppress(NotFound):  # another process was quicker
        _drive_removal(drivers, pod.id, grace_s, observer)
    drivers.locks.forget(pod.id)
    return pod


def _drive_removal(drivers: Drivers, pod_id: str, grace_s: float | None, observer: StopObserver | None) -> None:
    lock = drivers.locks.try_stop(pod_id)
    try:
        outcomes = _stop_containers(drivers, [pod_id], grace_s, observer)[pod_id]
        _refuse_live(drivers, pod_id, outcomes)
        for container_id in dependants_first(drivers, [one.id for one in drivers.store.containers_of_pod(pod_id)]):
            with suppress(NotFound):
                remove_container(drivers, container_id, force=True, volumes=True)
        with drivers.locks.hold(pod_id, LOCK_TIMEOUT_S):
            settle.forget(drivers, drivers.store.get_pod(pod_id))
    finally:
        if lock is not None:
            lock.release()


def _refuse_if_required(drivers: Drivers, pod: Pod) -> None:
    """Raise Conflict where a container outside requires one of the pod's: that could not be removed."""
    for container in drivers.store.containers_of_pod(pod.id):
        outside = [other.name for other in drivers.store.requiring(container.id) if other.spec.pod != pod.id]
        if outside:
            raise Conflict(
                f"container {container.name} of pod {pod.name} is required by {', '.join(outside)}",
                hint="remove that first",
            )


def finish(drivers: Drivers, pod_id: str) -> None:
    """Go on with a stop, or a removal, whose process died, with the time that was left. Nothing to do is no error."""
    try:
        pod = drivers.store.get_pod(pod_id)
    except BentoError:
        return
    if pod.stop is None or drivers.locks.is_stop_held(pod_id):
        return
    deadline_s = pod.stop.deadline_boot_s
    grace_s = None if deadline_s is None else max(0.0, deadline_s - clock.boot_s())
    grace_s = float(NO_LIMIT) if pod.stop.is_endless else grace_s
    if pod.state is PodState.STOPPING:
        _drive(drivers, [pod_id], grace_s, None)
    elif pod.state is PodState.REMOVING:
        with suppress(NotFound):
            _drive_removal(drivers, pod_id, grace_s, None)
        drivers.locks.forget(pod_id)


def _begin(drivers: Drivers, pod_id: str, state: PodState, grace_s: float | None) -> None:
    """Write down first what is to happen (rule S4): from now on no container is made into it, or started."""
    now_s = clock.boot_s()
    is_endless = grace_s == NO_LIMIT
    deadline_s = None if grace_s is None or is_endless else now_s + grace_s

    def begin(pod: Pod) -> Pod:
        if pod.state in (PodState.CREATING, PodState.STARTING):
            raise WrongState(f"pod {pod.name} is {pod.state.value}", hint="try again when that is done")
        asked = PodStop(deadline_boot_s=deadline_s, is_endless=is_endless, helped_boot_s=now_s)
        if pod.stop is not None:  # it may only come nearer
            known = [one for one in (pod.stop.deadline_boot_s, deadline_s) if one is not None]
            asked = PodStop(
                deadline_boot_s=min(known, default=None),
                is_endless=is_endless and pod.stop.is_endless,
                helped_boot_s=now_s,
            )
        return replace(pod, state=PodState.REMOVING if pod.state is PodState.REMOVING else state, stop=asked)

    drivers.store.modify_pod(pod_id, begin)


def _live(drivers: Drivers, pod_id: str) -> list[Container]:
    return [one for one in drivers.store.containers_of_pod(pod_id) if one.status.is_wanted]


def _stop_containers(
    drivers: Drivers, ids: Sequence[str], grace_s: float | None, observer: StopObserver | None
) -> dict[str, list[StopOutcome]]:
    """Stop what runs in pods, within one budget; return what became of each container, by its pod."""
    is_one_budget = grace_s is not None and grace_s > 0
    options = StopOptions(
        grace_s=grace_s,
        total_s=grace_s if is_one_budget else None,
        on_paused=OnPaused.KILL if grace_s == 0 else OnPaused.THAW,
    )
    outcomes: dict[str, list[StopOutcome]] = {pod_id: [] for pod_id in ids}
    for _ in range(_ROUNDS):
        pod_of = {one.id: pod_id for pod_id in ids for one in _live(drivers, pod_id)}
        if not pod_of:
            break
        for found in stop_containers(drivers, list(pod_of), options, observer):
            if not isinstance(found.error, (NotFound, AlreadyStopped)) and found.id in pod_of:
                outcomes[pod_of[found.id]].append(found)
    return outcomes


def _refuse_live(drivers: Drivers, pod_id: str, outcomes: Iterable[StopOutcome]) -> None:
    """Raise what keeps a container of a pod from being ended."""
    live = _live(drivers, pod_id)
    if not live:
        return
    error = {one.id: one.error for one in outcomes}.get(live[0].id)
    if error is not None:
        raise error
    raise WrongState(
        f"container {live[0].name} of the pod is {live[0].status.value}", hint="it is started again and again"
    )
