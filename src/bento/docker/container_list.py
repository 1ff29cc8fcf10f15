"""A container in a listing: the records of ``ps --format json``, and what templates are given."""

from __future__ import annotations

from typing import Final

from bento.docker.words import Now, ago, command_text, ports_text, status_text, time_text
from bento.model.container import Container
from bento.units import rfc3339, short_id

FIELDS: Final = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "Size": "SIZE",
    "Pid": "PID",
    "ExitCode": "EXIT CODE",
}
"""What a template is given of a container, and the header of each in a table. Size is looked for where it is asked for;
labels are added with their method."""


def record(container: Container, now: Now) -> dict[str, object]:
    """Return a container as one element of the JSON array."""
    run, ended = container.run, container.exit
    return {
        "Id": container.id,
        "Names": [container.name],
        "Image": container.spec.image,
        "Command": list(container.spec.argv),
        "Created": rfc3339(container.created_unix_ns),
        "State": container.status.value,
        "Status": status_text(container, now),
        "Pid": run.init.pid if run and run.init and container.status.is_live else 0,
        "ExitCode": ended.code if ended else None,
        "Labels": container.spec.labels,
        "Ports": ports_text(container),
    }


def fields(container: Container, now: Now, *, is_whole: bool) -> dict[str, object]:
    """Return what a template is given. ``is_whole``: id and command are not cut short."""
    spec, as_record = container.spec, record(container, now)
    sources = [mount.source if mount.kind != "tmpfs" else mount.destination for mount in spec.mounts]
    return {
        "ID": container.id if is_whole else short_id(container.id),
        "Names": container.name,
        "Image": spec.image,
        "Command": command_text(container, is_whole=is_whole),
        "CreatedAt": time_text(container.created_unix_ns),
        "RunningFor": ago(container.created_unix_ns, now),
        "Status": as_record["Status"],
        "State": as_record["State"],
        "Ports": as_record["Ports"],
        "Mounts": ",".join(sources),
        "Networks": spec.network,
        "Pid": as_record["Pid"],
        "ExitCode": as_record["ExitCode"],
    }
