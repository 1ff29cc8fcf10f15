"""A container in a listing: what templates, and the lines of ``ps --format json``, are given."""

from __future__ import annotations

from typing import Final

from bento.docker.words import Now, ago, command_text, labels_text, ports_text, size_text, status_text, time_text
from bento.model.container import VOLUME, Container
from bento.oci.etc import giver
from bento.units import short_id

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
    "LocalVolumes": "LOCAL VOLUMES",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "Size": "SIZE",
    "Pid": "PID",
    "ExitCode": "EXIT CODE",
    "Pod": "POD ID",
}
"""What a template is given of a container, and the header of each in a table. Size is there where it is asked for."""


def fields(container: Container, now: Now, *, is_whole: bool, size_bytes: int | None = None) -> dict[str, object]:
    """Return what a template is given. ``is_whole``: id and command are not cut short.

    ``size_bytes``: what its own files take of the disk, where that was looked for.
    """
    spec, run, ended = container.spec, container.run, container.exit
    sources = [mount.source if mount.kind != "tmpfs" else mount.destination for mount in spec.files.mounts]
    return {
        "ID": container.id if is_whole else short_id(container.id),
        "Names": container.name,
        "Image": spec.image,
        "Command": command_text(container, is_whole=is_whole),
        "CreatedAt": time_text(container.created_unix_ns),
        "RunningFor": ago(container.created_unix_ns, now),
        "Status": status_text(container, now),
        "State": container.status.value,
        "Ports": ports_text(container),
        "LocalVolumes": str(sum(mount.kind == VOLUME for mount in spec.files.mounts)),
        "Mounts": ",".join(sources),
        "Networks": ",".join(asked.network for asked in spec.networks) or ("" if giver(spec) else spec.network),
        "Pid": run.init.pid if run and run.init and container.status.is_live else 0,
        "ExitCode": ended.code if ended else None,
        "Pod": spec.pod if is_whole else short_id(spec.pod),
        "Labels": labels_text(spec.labels),
        **({} if size_bytes is None else {"Size": size_text(size_bytes)}),
    }
