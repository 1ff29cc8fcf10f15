"""``pod create`` and ``pod start``: from a record to namespaces and a network, or back to how it was."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento import clock
from bento.engine.base import order, place
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.lifecycle import create as containers
from bento.engine.lifecycle import reconcile, sandboxing
from bento.engine.lifecycle import start as starting
from bento.engine.pods import settle
from bento.engine.resources import id_ranges, networking, pod_sandbox
from bento.errors import BentoError, Conflict, UsageError, WrongState
from bento.model.container import Sandbox
from bento.model.network import BRIDGE, CNI, OF_OTHERS
from bento.model.pods import CNI_FIRST, NamespaceMode, Pod, PodOptions, PodSettings, PodState
from bento.parse import id_ranges as parse_ids
from bento.units import new_id, parse_name

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.namespaces.mapping import IdMapping

_HOSTNAME_MAX: Final = 63  # hostname(7): 64 with the final zero
_HOSTNAME: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?")
_PARENT: Final = re.compile(r"(/[^/\0]+)*")
_SHM_BYTES_MIN: Final = 4096


def create(drivers: Drivers, options: PodOptions, pod_id: str = "") -> Pod:
    """Make a pod that is ready. See ``Engine.create_pod``."""
    name = parse_name(options.name) if options.name else ""
    pod_id = pod_id or new_id()
    settings = PodSettings(**{field: getattr(options, field) for field in PodSettings.__struct_fields__})
    settings = _settled(drivers, settings)
    with drivers.locks.hold(pod_id, 0.0):
        try:  # Ctrl-C may come as soon as the record is written
            pod = _add(drivers, pod_id, name, settings)
            pod_sandbox.bring_up(drivers, pod)
            return drivers.store.modify_pod(pod_id, lambda p: replace(p, state=PodState.READY))
        except BaseException:
            with suppress(BentoError):  # the error that led here is the one to report; the rest is the next command's
                settle.undo(drivers, drivers.store.get_pod(pod_id))
            raise


def start(drivers: Drivers, ref: str) -> Pod:
    """Make a pod ready again, and start its containers. See ``Engine.start_pod``."""
    pod = settle.find(drivers, ref)
    settle.refuse_elsewhere(drivers, pod)
    if not pod.is_ready:
        _start(drivers, pod)
    errors: list[BentoError] = []
    records = {one.id: one for one in drivers.store.containers_of_pod(pod.id)}
    first = order.dependants_first({one.id: one.spec.requires for one in records.values()})[::-1]
    for container_id in first:
        try:
            starting.start_required(drivers, records[container_id])
            if not reconcile.find(drivers, container_id).status.is_live:
                starting.start(drivers, container_id)
        except BentoError as error:  # the others are started all the same
            errors.append(error)
    if errors:
        raise errors[0]
    return drivers.store.get_pod(pod.id)


def _start(drivers: Drivers, pod: Pod) -> None:
    def begin(now: Pod) -> Pod:
        if now.state is not PodState.NOT_READY:
            raise WrongState(f"pod {now.name} is {now.state.value}", hint="try again when that is done")
        return replace(now, state=PodState.STARTING)

    with drivers.locks.hold(pod.id, LOCK_TIMEOUT_S):
        now = drivers.store.get_pod(pod.id)
        if now.is_ready:  # another command was quicker
            return
        if now.connections or now.pins:  # a release that failed
            pod_sandbox.take_down(drivers, now)
        pod = drivers.store.modify_pod(pod.id, begin)
        try:
            pod_sandbox.bring_up(drivers, pod)
            drivers.store.modify_pod(pod.id, lambda p: replace(p, state=PodState.READY, stop=None))
        except BaseException:
            with suppress(BentoError):
                settle.undo(drivers, drivers.store.get_pod(pod.id))
            raise


def _add(drivers: Drivers, pod_id: str, name: str, settings: PodSettings) -> Pod:
    """Write the record down, with a name that is free. Raises Conflict, NotFound: the network has gone."""
    drawn = containers.drawn_names(pod_id)
    while True:
        called = name or next(drawn)
        pod = Pod(
            id=pod_id,
            name=called,
            created_unix_ns=clock.wall_ns(),
            settings=replace(settings, hostname=settings.hostname or _hostname(called)),
            place=place.here(drivers),
        )
        try:
            if settings.network in (BRIDGE, "host", "none") or settings.network.startswith(CNI):
                drivers.store.add_pod(pod)
            else:
                with drivers.network.locked():  # it stays until the record says that a pod has it
                    drivers.store.find_network(settings.network)
                    drivers.store.add_pod(pod)
        except Conflict:
            if name:
                raise
            continue
        return pod


def _hostname(name: str) -> str:
    return name.replace("_", "-")[:_HOSTNAME_MAX].strip("-.") or "pod"


def _settled(drivers: Drivers, asked: PodSettings) -> PodSettings:
    """Return the settings as they are recorded; refuse what cannot be had. Raises UsageError, NotFound, MissingTool."""
    runtime = drivers.runtime(asked.runtime)
    network = _network(drivers, asked)
    if network.startswith(OF_OTHERS):
        raise UsageError(f"a pod has a network of its own, not {network!r}", hint="use the name of a network, or host")
    if not runtime.has_networks and network != "host":
        network = "none" if not asked.network else network
    # Whatever the first list of CNI is: in a cluster ports may be the business of others than its plugins.
    is_of_others = asked.network == CNI_FIRST and network.startswith(CNI)
    networking.check(drivers, network, () if is_of_others else asked.ports, drain=False)
    if any(port.is_proxied for port in asked.ports):
        raise UsageError("a pod publishes no port on [::1]", hint="use 127.0.0.1, or another address of this host")
    uts = asked.uts if network != "host" else NamespaceMode.NODE
    if uts is not NamespaceMode.POD and asked.hostname:
        raise UsageError("a host name is for a pod with a UTS namespace of its own", hint="omit one of them")
    if asked.hostname and not (_HOSTNAME.fullmatch(asked.hostname) and len(asked.hostname) <= _HOSTNAME_MAX):
        raise UsageError(f"bad host name {asked.hostname!r}", hint="use letters, digits, '-' and '.'; 63 at most")
    for key in asked.sysctls:
        sandboxing.check_sysctl(key, network, "" if asked.ipc is NamespaceMode.POD else "host")
    if asked.shm_bytes is not None and (asked.ipc is not NamespaceMode.POD or asked.shm_bytes < _SHM_BYTES_MIN):
        raise UsageError(
            f"bad size of /dev/shm: {asked.shm_bytes} bytes", hint="4k is the least, of a pod with an IPC namespace"
        )
    if not _PARENT.fullmatch(asked.cgroup_parent) or {".", ".."}.intersection(asked.cgroup_parent.split("/")):
        raise UsageError(
            f"bad parent cgroup {asked.cgroup_parent!r}",
            hint="give a path below the root of each hierarchy, as /machine/pod1, and no slice of systemd",
        )
    sandboxing.check_names(
        Sandbox(
            extra_hosts=asked.extra_hosts,
            dns=asked.dns,
            dns_search=asked.dns_search,
            dns_options=asked.dns_options,
        ),
        network,
    )
    if asked.ids is not None:
        _check_ids(drivers, asked, asked.ids, network)
    return replace(asked, network=network, uts=uts)


def _check_ids(drivers: Drivers, asked: PodSettings, ids: IdMapping, network: str) -> None:
    """Raise UsageError for what a pod cannot have with ids of its own; StorageUnusable, KernelError: nor can any."""
    for is_asked, what in (
        (network == "host", "the network of the host"),
        (asked.pid is NamespaceMode.NODE, "the PID namespace of the host"),
        (asked.ipc is NamespaceMode.NODE, "the IPC namespace of the host"),
        (not drivers.runtime(asked.runtime).shows_processes, "a runtime with a kernel of its own"),
    ):
        if is_asked:
            raise UsageError(f"a user namespace of a pod excludes {what}", hint="omit one of them")
    parse_ids.check(ids)
    id_ranges.check(drivers, ids)


def _network(drivers: Drivers, asked: PodSettings) -> str:
    """Return the network that is meant, by its name."""
    if asked.network == CNI_FIRST:
        first = drivers.cni.first()
        return f"{CNI}{first}" if first else BRIDGE
    network = asked.network or (BRIDGE if asked.ports else drivers.settings.network)
    if network in (BRIDGE, "host", "none") or network.startswith((*OF_OTHERS, CNI)):
        return network
    return networking.find(drivers, network).name
