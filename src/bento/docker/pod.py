"""A pod as Podman shows it: in a listing, and by ``pod inspect``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bento.docker.host_config import bindings, id_words
from bento.docker.words import Now, ago, labels_text, time_text
from bento.model.container import Container
from bento.model.pods import NamespaceMode, Pod
from bento.units import rfc3339, short_id

FIELDS: Final = {
    "Id": "POD ID",
    "Name": "NAME",
    "Status": "STATUS",
    "Created": "CREATED",
    "CreatedAt": "CREATED AT",
    "NumberOfContainers": "# OF CONTAINERS",
    "Networks": "NETWORKS",
    "IPs": "IPS",
    "Labels": "LABELS",
}
"""What a template is given of a pod, and the header of each in a table."""


def fields(pod: Pod, now: Now, *, count: int, is_whole: bool) -> dict[str, object]:
    """Return what a template is given. ``count``: of its containers. ``is_whole``: the id is not cut short."""
    return {
        "Id": pod.id if is_whole else short_id(pod.id),
        "Name": pod.name,
        "Status": pod.state.value,
        "Created": ago(pod.created_unix_ns, now),
        "CreatedAt": time_text(pod.created_unix_ns),
        "NumberOfContainers": count,
        "Networks": pod.settings.network,
        "IPs": ",".join(pod.addresses),
        "Labels": labels_text(pod.settings.labels),
    }


def describe(pod: Pod, containers: Sequence[Container]) -> dict[str, Any]:
    """Return the document of ``pod inspect``. ``IPs``, ``IDMappings`` and ``Annotations`` are Bento's own words."""
    settings = pod.settings
    shared = [
        kind
        for kind, mode in (("ipc", settings.ipc), ("pid", settings.pid), ("uts", settings.uts))
        if mode is NamespaceMode.POD
    ]
    ports = tuple(port for one in pod.connections for port in one.ports) or settings.ports
    return {
        "Id": pod.id,
        "Name": pod.name,
        "Created": rfc3339(pod.created_unix_ns),
        "State": pod.state.value,
        "Hostname": settings.hostname,
        "Labels": settings.labels,
        "Annotations": settings.annotations,
        "CgroupParent": settings.cgroup_parent,
        "SharedNamespaces": [*shared, *(["net"] if pod.has_network else []), *(["user"] if settings.ids else [])],
        "Namespaces": {"pid": settings.pid.value, "ipc": settings.ipc.value, "uts": settings.uts.value},
        **id_words(settings.ids),
        "Pid": pod.init.pid if pod.init is not None else 0,
        "Network": settings.network,
        "IPs": list(pod.addresses),
        "PortBindings": bindings(ports),
        "DNSServer": list(settings.dns),
        "DNSSearch": list(settings.dns_search),
        "DNSOption": list(settings.dns_options),
        "HostAdd": [f"{name}:{address}" for name, address in settings.extra_hosts],
        "Sysctls": settings.sysctls,
        "ShmSize": settings.shm_bytes,
        "Runtime": settings.runtime,
        "NumContainers": len(containers),
        "Containers": [{"Id": one.id, "Name": one.name, "State": one.status.value} for one in containers],
    }
