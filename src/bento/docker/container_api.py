"""A container as Docker's API has it: an element of ``GET /containers/json``, and ``GET /containers/ID/json``.

Bento's own command line shows the same with Bento's words: the state, and a name without a slash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from bento.docker.network import endpoints
from bento.docker.words import Now, status_text
from bento.model.container import LOG_DRIVERS, Container, Mount, Status
from bento.model.volume import DRIVER

_STATES: Final = {
    Status.STARTING: "created",
    Status.STOPPING: "running",
    Status.STOPPED: "exited",
}
"""Docker's words where Bento's differ."""


def state(status: Status) -> str:
    """Return Docker's word for a state."""
    return _STATES.get(status, status.value)


def summary(
    container: Container, now: Now, *, network_ids: Mapping[str, str], volume_paths: Mapping[str, str]
) -> dict[str, Any]:
    """Return a container as an element of the list.

    ``network_ids``: of networks, by name. ``volume_paths``: the directories of volumes, by name.
    """
    spec = container.spec
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": spec.image,
        "ImageID": spec.image_id,
        "Command": " ".join(spec.argv),
        "Created": container.created_unix_ns // 10**9,
        "Ports": _ports(container),
        "Labels": spec.labels,
        "State": state(container.status),
        "Status": status_text(container, now),
        "HostConfig": {"NetworkMode": spec.network},
        "NetworkSettings": {"Networks": endpoints(container, network_ids)},
        "Mounts": [_mount(mount, volume_paths) for mount in spec.files.mounts if mount.kind != "tmpfs"],
    }


def _ports(container: Container) -> list[dict[str, Any]]:
    """Published ones with where they are reached, and the others that are exposed: of what runs, on a network."""
    published = container.run.ports if container.run and container.status.is_live else ()
    found = [
        {
            "IP": port.host_ip or "0.0.0.0",
            "PrivatePort": port.container_port,
            **({"PublicPort": port.host_port} if port.host_port else {}),
            "Type": port.protocol,
        }
        for port in published
    ]
    known = {port.inside for port in published}
    is_reached = container.run is not None and container.status.is_live and container.run.connections
    for text in container.spec.ports.exposed if is_reached else ():
        number, _, protocol = text.partition("/")
        if text not in known:
            found.append({"PrivatePort": int(number), "Type": protocol})
    return found


def _mount(mount: Mount, volume_paths: Mapping[str, str]) -> dict[str, Any]:
    is_volume = mount.kind == "volume"
    named = {"Name": mount.source, "Driver": DRIVER} if is_volume else {}
    return {
        "Type": mount.kind,
        **named,
        "Source": volume_paths.get(mount.source, "") if is_volume else mount.source,
        "Destination": mount.destination,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": "" if is_volume else "rprivate",
    }


def inspected(document: Mapping[str, Any], status: Status) -> dict[str, Any]:
    """Return what ``container_inspect`` makes, in the words of Docker's API. What Bento has beside that stays."""
    found = dict(document) | {"Name": f"/{document['Name']}"}
    found["State"] = dict(document["State"]) | {"Status": state(status)}
    host, kept = document["HostConfig"], document["HostConfig"]["LogConfig"]
    if kept["Type"] == LOG_DRIVERS[0]:  # by Docker's word clients know that there is a log to be read
        found["HostConfig"] = host | {"LogConfig": kept | {"Type": LOG_DRIVERS[1]}}
    grace_s = document["Config"]["StopTimeout"]
    found["Config"] = dict(document["Config"]) | {"StopTimeout": None if grace_s is None else math.ceil(grace_s)}
    return found
