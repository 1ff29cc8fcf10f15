"""What a pod holds while it is ready: namespaces, a network, and an init where its PID namespace is its own.

Each part is recorded, or found by the pod's id, before it is made, so that any command that meets the pod can take all
of it down. The caller holds the pod's operation lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.engine.base import place
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.liveness import lives
from bento.engine.resources import cni, networking
from bento.errors import BentoError, MissingTool, RuntimeFailed, WrongState
from bento.model.container import Place, attached_to
from bento.model.network import CNI, Connection
from bento.model.pods import NamespaceMode, Pod
from bento.units import SIGKILL

if TYPE_CHECKING:
    from bento.drivers.network.base import Part
    from bento.engine.base.drivers import Drivers

_ALL: Final = "pods"
"""The lock of what all pods share below the run root."""
_END_LIMIT_S: Final = 10.0
_OF_RUNTIMES: Final = {"net": "network"}


def bring_up(drivers: Drivers, pod: Pod) -> Pod:
    """Make what the pod holds. Blocks. When it raises, ``take_down`` removes what there is by then.

    Raises UsageError, Conflict, PortTaken, NotFound, MissingTool, RuntimeFailed, KernelError.
    """
    settings = pod.settings
    kinds = [
        *(["net"] if pod.has_network else []),
        *(["ipc"] if settings.ipc is NamespaceMode.POD else []),
        *(["uts"] if settings.uts is NamespaceMode.POD and pod.has_network else []),
    ]
    with drivers.locks.hold(_ALL, LOCK_TIMEOUT_S), _of_users(drivers, pod, kinds) as given:
        pins = drivers.pods.make(
            pod.id,
            kinds,
            hostname=settings.hostname,
            sysctls=settings.sysctls,
            shm_bytes=settings.shm_bytes,
            given=given,
            root=(0, 0) if settings.ids is None else settings.ids.root,
        )
    here, cgroups = place.here(drivers), drivers.processes.missing_cgroups(settings.cgroup_parent)
    pod = drivers.store.modify_pod(pod.id, lambda p: replace(p, pins=pins, place=here, cgroups=cgroups))
    if settings.pid is NamespaceMode.POD:
        pod = _hold_pids(drivers, pod)
    return _connect(drivers, pod)


@contextmanager
def _of_users(drivers: Drivers, pod: Pod, kinds: list[str]) -> Iterator[dict[str, int] | None]:
    """Yield new namespaces that belong to the pod's user namespace, and that; None where it has none."""
    if pod.settings.ids is None:
        yield None
        return
    made = drivers.ids.namespaces(pod.settings.ids, kinds)
    try:
        yield made
    finally:
        for fd in made.values():
            os.close(fd)


def _hold_pids(drivers: Drivers, pod: Pod) -> Pod:
    runtime = drivers.runtime(pod.settings.runtime)
    directory = drivers.pods.directory(pod.id) / "init"
    directory.mkdir(mode=0o700)
    shared = []
    with ExitStack() as stack:
        for pin in pod.pins:
            fd = drivers.pods.open(pod.id, pin)
            if fd is None:
                raise WrongState(f"pod {pod.name} has lost its namespaces", hint="try it again")
            stack.callback(os.close, fd)  # a private mount namespace is rid of the pins
            shared.append({"type": _OF_RUNTIMES.get(pin.kind, pin.kind), "path": f"/proc/{os.getpid()}/fd/{fd}"})
        pid = runtime.hold_namespaces(
            pod.id, directory, shared, cgroup_parent=pod.settings.cgroup_parent, ids=pod.settings.ids
        )
    init = drivers.processes.identify(pid, mark=pod.id)
    if init is None:
        raise RuntimeFailed(f"the init of pod {pod.name} ended as soon as it was started", hint="try it again")
    return drivers.store.modify_pod(pod.id, lambda p: replace(p, init=init))


def _connect(drivers: Drivers, pod: Pod) -> Pod:
    network = pod.settings.network
    wanted = networking.Wanted(pod.id, network, attached_to(network), pod.settings.ports)

    def record(connections: tuple[Connection, ...]) -> None:
        nonlocal pod
        nameless = tuple(replace(one, names=False) for one in connections)  # a pod has no resolver
        pod = drivers.store.modify_pod(pod.id, lambda p: replace(p, connections=nameless))

    with networking.reserved_for(drivers, wanted) as reservation:
        if reservation is None:
            return pod
        networking.allot_for(drivers, wanted, reservation.ports, record)
        netns = str(drivers.pods.path(pod.id, "net"))
        if network.startswith(CNI):
            args = pod.settings.cni_args
            if args:
                args = args | {"K8S_POD_INFRA_CONTAINER_ID": pod.id}
            record((cni.join(drivers, pod.id, pod.connections[0], netns, args),))
        else:
            drivers.network.connect(pod.id, pod.connections, netns, lambda: networking.running(drivers))
    return pod


def is_whole(drivers: Drivers, pod: Pod, here: Place) -> bool:
    """Whether all that the pod holds is there. Quick; needs no lock."""
    is_of_this_boot = pod.place is not None and pod.place.boot_id == here.boot_id
    has_init = pod.settings.pid is not NamespaceMode.POD or lives(drivers, pod.init)
    return is_of_this_boot and has_init and drivers.pods.is_whole(pod.id, pod.pins)


def take_down(drivers: Drivers, pod: Pod) -> Pod:
    """Release all that the pod holds, whatever its record says of it; return the record. Blocks. Idempotent.

    Raises RuntimeFailed, KernelError; the rest is released all the same, and another call does what failed.
    """
    errors: list[BentoError] = []
    # Plugins are to find the namespace; Bento's own links go with it sooner than they are deleted.
    has_plugins = pod.settings.network.startswith(CNI)
    for step in (_disconnect, _let_go) if has_plugins else (_let_go, _disconnect):
        try:
            pod = step(drivers, pod)
        except BentoError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return pod


def _let_go(drivers: Drivers, pod: Pod) -> Pod:
    _end_init(drivers, pod)
    with drivers.locks.hold(_ALL, LOCK_TIMEOUT_S):
        drivers.pods.remove(pod.id)
    for directory in pod.cgroups:
        drivers.processes.remove_empty_cgroup(directory)
    return drivers.store.modify_pod(pod.id, lambda p: replace(p, pins=(), init=None, cgroups=()))


def _disconnect(drivers: Drivers, pod: Pod) -> Pod:
    if not pod.connections:
        return pod
    addresses = [address for one in pod.connections for address in one.forwarded_to]
    networking.finish(lambda: _parts(drivers, pod, addresses))
    return drivers.store.modify_pod(pod.id, lambda p: replace(p, connections=()))


def _parts(drivers: Drivers, pod: Pod, addresses: list[str]) -> Iterator[Part]:
    if not pod.settings.network.startswith(CNI):
        yield from drivers.network.release(pod.id, addresses)
    elif drivers.has_cni():
        is_there = drivers.pods.is_whole(pod.id, [pin for pin in pod.pins if pin.kind == "net"])
        yield from drivers.cni.remove(pod.id, str(drivers.pods.path(pod.id, "net")) if is_there and pod.pins else "")


def _end_init(drivers: Drivers, pod: Pod) -> None:
    """Also of a pod whose record does not know it yet."""
    if pod.settings.pid is not NamespaceMode.POD:
        return
    fd = drivers.processes.open(pod.init) if pod.init is not None else None
    if fd is not None:
        drivers.processes.send_signal(fd, SIGKILL, wake=False)
        drivers.processes.wait(fd, _END_LIMIT_S)
        os.close(fd)
    with suppress(MissingTool):  # then there is nothing that it could know of
        drivers.runtime(pod.settings.runtime).discard(pod.id, pod.settings.cgroup_parent)


def release_left(drivers: Drivers, pod_id: str) -> None:
    """Remove what there is of a pod that has no record. Blocks. Idempotent. Raises RuntimeFailed, KernelError."""
    networking.release_left(drivers, pod_id)
    drivers.runtime("").discard(pod_id)
    with drivers.locks.hold(_ALL, LOCK_TIMEOUT_S):
        drivers.pods.remove(pod_id)
