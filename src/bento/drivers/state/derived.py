"""What a change of a record says has happened: the store logs it with the change, so that no verb can forget it. Pure.

What no record says (a signal that was sent, a pause, an exec, where an image came from) is given with the change, or
logged by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.model.container import VOLUME as VOLUME_MOUNT
from bento.model.container import Container, ContainerSpec, Exit, Run, Status
from bento.model.event import IMAGE, NETWORK, POD, UNKNOWN_CODE, VOLUME, Deed, Event, of_container
from bento.model.health import HealthStatus
from bento.model.network import BRIDGE, OF_OTHERS, builtin_id
from bento.model.reference import familiar
from bento.model.volume import DRIVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.model.network import Network
    from bento.model.pods import Pod
    from bento.model.stop import StopReport
    from bento.model.volume import Volume

_NETWORK_DRIVERS: Final = {"none": "null", "host": "host"}


def of_change(before: Container, after: Container, deeds: Iterable[Deed], now_ns: int) -> list[Event]:
    """Return what happened from one record to the next, in Docker's order; ``deeds`` come where they belong."""
    found: list[Event] = []
    given = tuple(deeds)
    if after.name != before.name:
        found.append(of_container(after, Deed(action="rename", attributes={"oldName": f"/{before.name}"}), now_ns))
    if after.spec is not before.spec and after.spec != _with_networks_of(after, before.spec):
        found.append(of_container(after, Deed(action="update"), now_ns))
    if before.status is Status.STARTING and after.status is Status.RUNNING:
        # It may be over by now: that it began comes before its end, also by the times.
        began_ns = after.run.started_unix_ns if after.run and after.run.started_unix_ns else now_ns
        found += [*_began(after, began_ns), of_container(after, Deed(action="start"), began_ns)]
    elif before.status.is_live and not after.status.is_live:
        found += _over(before, after, now_ns)
    elif before.status.is_live and after.spec.attachments != before.spec.attachments:
        found += _moved(before, after, now_ns)
    found += (of_container(after, deed, now_ns) for deed in given)
    was = before.health.status if before.health is not None else HealthStatus.STARTING
    if after.health is not None and after.health.status not in (was, HealthStatus.STARTING):
        found.append(of_container(after, Deed(action=f"health_status: {after.health.status.value}"), now_ns))
    return found


def _with_networks_of(container: Container, spec: ContainerSpec) -> ContainerSpec:
    return replace(spec, network=container.spec.network, attachments=container.spec.attachments)


def _over(before: Container, after: Container, now_ns: int) -> list[Event]:
    """What is logged at the end of a run, or of a start that came to nothing."""
    if before.status is Status.STARTING and after.start_failure is not None:
        code = Deed(action="die", attributes={"exitCode": str(after.start_failure.code)})
        return [of_container(after, code, now_ns)]
    ended = after.exit
    if ended is None or ended == before.exit:
        return []
    is_of_stop = after.report is not None and after.report != before.report
    deeds = [_death(before.run, ended, after.report if is_of_stop else None)]
    if ended.oom_killed:
        deeds.insert(0, Deed(action="oom", unix_ns=ended.finished_unix_ns))
    return [*(of_container(after, deed, now_ns) for deed in deeds), *_left(replace(after, run=before.run), now_ns)]


def _death(run: Run | None, ended: Exit, report: StopReport | None) -> Deed:
    """The end of a run; of one that a stop has ended with how it did, and why."""
    code = UNKNOWN_CODE if ended.code is None else ended.code
    attributes = {"exitCode": str(code)}
    if run is not None and run.started_unix_ns:
        attributes["execDuration"] = str(max(0, ended.finished_unix_ns - run.started_unix_ns) // 1_000_000_000)
    if report is not None:
        attributes |= {"verdict": report.verdict.value, "cause": report.cause}
    return Deed(action="die", attributes=attributes, unix_ns=ended.finished_unix_ns)


def _began(container: Container, now_ns: int) -> list[Event]:
    found = _of_networks(container, "connect", now_ns)
    for mount in container.spec.files.mounts:
        if mount.kind == VOLUME_MOUNT:
            attributes = {
                "container": container.id,
                "destination": mount.destination,
                "driver": DRIVER,
                "propagation": "",
                "read/write": "false" if mount.read_only else "true",
            }
            found.append(Event(type=VOLUME, action="mount", actor=mount.source, unix_ns=now_ns, attributes=attributes))
    return found


def _left(container: Container, now_ns: int) -> list[Event]:
    found = _of_networks(container, "disconnect", now_ns)
    for mount in container.spec.files.mounts:
        if mount.kind == VOLUME_MOUNT:
            attributes = {"container": container.id, "driver": DRIVER}
            found.append(
                Event(type=VOLUME, action="unmount", actor=mount.source, unix_ns=now_ns, attributes=attributes)
            )
    return found


def _of_networks(container: Container, action: str, now_ns: int) -> list[Event]:
    """In the order in which it has them. ``none`` and ``host`` are networks here, one of another container is not."""
    if container.spec.network.startswith(OF_OTHERS):
        return []
    names = [asked.network for asked in container.spec.networks] or [container.spec.network]
    return [_of_network(container, name, action, now_ns) for name in names]


def _of_network(container: Container, name: str, action: str, now_ns: int) -> Event:
    connections = container.run.connections if container.run else ()
    ids = {connection.network: connection.network_id for connection in connections}
    attributes = {"container": container.id, "name": name, "type": _NETWORK_DRIVERS.get(name, BRIDGE)}
    actor = ids.get(name) or (builtin_id(name) if name in _NETWORK_DRIVERS else name)
    return Event(type=NETWORK, action=action, actor=actor, unix_ns=now_ns, attributes=attributes)


def _moved(before: Container, after: Container, now_ns: int) -> list[Event]:
    """What is logged of one that runs, and has been connected, or disconnected."""
    had, has = ({asked.network for asked in one.spec.networks} for one in (before, after))
    gone = [_of_network(before, name, "disconnect", now_ns) for name in sorted(had - has)]
    return [*gone, *(_of_network(after, name, "connect", now_ns) for name in sorted(has - had))]


def of_volume(volume: Volume, action: str, now_ns: int) -> Event:
    """Return what is logged of a volume that was made, or removed."""
    attributes = volume.labels | {"driver": DRIVER}
    return Event(type=VOLUME, action=action, actor=volume.name, unix_ns=now_ns, attributes=attributes)


def of_network(network: Network, action: str, now_ns: int) -> Event:
    """Return what is logged of a network that was made, or removed."""
    attributes = {"name": network.name, "type": BRIDGE}
    return Event(type=NETWORK, action=action, actor=network.id, unix_ns=now_ns, attributes=attributes)


def of_names_gone(image_id: str, names: Iterable[str], now_ns: int) -> list[Event]:
    """Return what is logged of names that an image has lost, as they are typed."""
    return [
        Event(type=IMAGE, action="untag", actor=image_id, unix_ns=now_ns, attributes={"name": familiar(name)})
        for name in names
    ]


def of_image_gone(image_id: str, names: Iterable[str], now_ns: int) -> list[Event]:
    """Return what is logged of an image that was removed, with its names."""
    gone = Event(type=IMAGE, action="delete", actor=image_id, unix_ns=now_ns, attributes={"name": image_id})
    return [*of_names_gone(image_id, names, now_ns), gone]


def unreadable(container_id: str, name: str, created_unix_ns: int) -> Container:
    """Return what is known of a container whose record cannot be read."""
    spec = ContainerSpec(image="", image_id="", layers=())
    return Container(id=container_id, name=name, created_unix_ns=created_unix_ns, spec=spec)


def of_pod_change(before: Pod, after: Pod | None, now_ns: int) -> list[Event]:
    """Return what happened to a pod, in Podman's words. ``after`` None: its record was removed.

    One is created when it is ready for the first time: before that there is none, and its making may be undone.
    """
    was = before.state.value
    has = after.state.value if after is not None else ""
    if was == has or (was == "creating" and has != "ready"):
        return []
    actions = {
        "ready": ("create", "start") if was == "creating" else ("start",),
        "not-ready": ("stop",),
        "": ("remove",),
    }
    attributes = before.settings.labels | {"name": before.name}
    return [
        Event(type=POD, action=action, actor=before.id, unix_ns=now_ns, attributes=attributes)
        for action in actions.get(has, ())
        if (was, action) != ("starting", "stop")  # it has not been ready meanwhile
    ]
