"""What was asked for of a container, as ``HostConfig`` of Docker's Engine API (1.44) has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from bento.model.container import ContainerSpec, LogSettings, Mount, Sandbox
from bento.model.namespaces.mapping import IdMapping
from bento.model.network import Port
from bento.model.resources import DeviceRate, Resources
from bento.oci.config import masked_paths, read_only_paths
from bento.oci.defaults import SHM_BYTES

_NOT_ASKED: Final = {
    "Annotations": {},
    "Cgroup": "",
    "ConsoleSize": [0, 0],
    "ContainerIDFile": "",
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "Isolation": "",
    "Links": None,
    "StorageOpt": {},
    "VolumeDriver": "",
}
"""What cannot be asked for here, as Docker has it where it was not."""
_REQUEST: Final = {"Driver": "cdi", "Count": 0, "Capabilities": None, "Options": {}}


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """Return what was asked for; null, 0 and "" where nothing was."""
    return _NOT_ASKED | {
        "MaskedPaths": masked_paths(spec),
        "ReadonlyPaths": read_only_paths(spec),
        "NetworkMode": spec.network,
        "PortBindings": bindings(spec.ports.published),
        "PublishAllPorts": spec.ports.publish_all,
        "PidMode": spec.namespaces.pid,
        "IpcMode": spec.namespaces.ipc or "private",
        "UTSMode": spec.namespaces.uts if spec.namespaces.uts == "host" else "",
        "CgroupnsMode": spec.namespaces.cgroup or "private",
        "UsernsMode": spec.namespaces.user,
        **id_words(spec.namespaces.ids),
        "CgroupParent": spec.cgroups.parent or spec.cgroup_parent,
        **_resource_words(spec.resources),
        "LogConfig": {
            "Type": spec.log.driver,
            "Config": _log_options(spec.log),
        },
        **_sandbox_words(spec.sandbox),
        "AutoRemove": spec.auto_remove,
        "ReadonlyRootfs": spec.files.read_only,
        "Init": spec.init,
        "System": spec.system,
        "SdNotify": spec.sdnotify,
        "Requires": list(spec.requires),
        "RequiresHealthy": list(spec.requires_healthy),
        "HealthcheckOnFailureAction": spec.health.on_failure.value,
        "RestartPolicy": {"Name": spec.restart.name, "MaximumRetryCount": spec.restart.limit},
        "Binds": [_bind(m) for m in spec.files.mounts if m.kind != "tmpfs" and not m.anonymous],
        "VolumesFrom": list(spec.files.volumes_from) or None,
        "Tmpfs": {m.destination: ",".join(m.options) for m in spec.files.mounts if m.kind == "tmpfs"},
        "OomScoreAdj": spec.limits.oom_score_adj or 0,
        "Ulimits": [{"Name": u.name, "Soft": u.soft, "Hard": u.hard} for u in spec.limits.ulimits],
        "Runtime": spec.runtime,
    }


def id_words(ids: IdMapping | None) -> dict[str, Any]:
    """Return the ids of a user namespace that is not the machine's, as Podman has them; Docker has no word for it."""
    if ids is None:
        return {}
    words = {
        key: [f"{one.inside}:{one.outside}:{one.size}" for one in ranges]
        for key, ranges in (("UidMap", ids.uids), ("GidMap", ids.gids))
    }
    return {"IDMappings": words}


def _sandbox_words(asked: Sandbox) -> dict[str, Any]:
    """What was asked for; null, or Docker's default, where nothing was."""
    security = ["no-new-privileges"] if asked.no_new_privileges else []
    security += [f"seccomp={asked.seccomp}"] if asked.seccomp else []
    security += [f"apparmor={asked.apparmor}"] if asked.apparmor else []
    security += [f"label={label}" for label in asked.labels]
    security += ["systempaths=unconfined"] if asked.shows_system_paths else []
    return {
        "Privileged": asked.privileged,
        "DeviceCgroupRules": list(asked.device_rules) or None,
        "CapAdd": list(asked.cap_add) or None,
        "CapDrop": list(asked.cap_drop) or None,
        "SecurityOpt": security or None,
        "GroupAdd": list(asked.group_add) or None,
        "ExtraHosts": [f"{name}:{address}" for name, address in asked.extra_hosts] or None,
        "Dns": list(asked.dns),
        "DnsSearch": list(asked.dns_search),
        "DnsOptions": list(asked.dns_options),
        "ShmSize": SHM_BYTES if asked.shm_bytes is None else asked.shm_bytes,
        "Sysctls": asked.sysctls,
        "Devices": [
            {"PathOnHost": d.host_path, "PathInContainer": d.path, "CgroupPermissions": d.access} for d in asked.devices
        ],
        "DeviceRequests": [_REQUEST | {"DeviceIDs": list(asked.cdi_devices)}] if asked.cdi_devices else None,
    }


def _resource_words(asked: Resources) -> dict[str, Any]:
    return {
        "NanoCpus": round((asked.cpus or 0) * 1e9),
        "CpuShares": asked.cpu_shares or 0,
        "CpuPeriod": asked.cpu_period_us or 0,
        "CpuQuota": asked.cpu_quota_us or 0,
        "CpusetCpus": asked.cpuset_cpus,
        "CpusetMems": asked.cpuset_mems,
        "Memory": asked.memory_bytes or 0,
        "MemorySwap": asked.memory_swap_bytes or 0,
        "MemoryReservation": asked.memory_reservation_bytes or 0,
        "MemorySwappiness": asked.memory_swappiness,
        "OomKillDisable": asked.oom_kill_disable,
        "PidsLimit": asked.pids_limit,
        "BlkioWeight": asked.blkio_weight or 0,
        "BlkioWeightDevice": _devices(asked.blkio_weight_devices, "Weight"),
        "BlkioDeviceReadBps": _devices(asked.device_read_bps),
        "BlkioDeviceWriteBps": _devices(asked.device_write_bps),
        "BlkioDeviceReadIOps": _devices(asked.device_read_iops),
        "BlkioDeviceWriteIOps": _devices(asked.device_write_iops),
    }


def _devices(asked: Iterable[DeviceRate], value: str = "Rate") -> list[dict[str, Any]]:
    return [{"Path": device.path, value: device.rate} for device in asked]


def mode(mount: Mount) -> list[str]:
    """Return what was asked for behind the destination, in the words of ``-v``."""
    flags = (("ro", mount.read_only), ("nocopy", mount.no_copy), ("U", mount.chown))
    return [*(word for word, is_set in flags if is_set), *mount.options]


def _bind(mount: Mount) -> str:
    words = mode(mount)
    return ":".join((mount.source, mount.destination, ",".join(words if mount.read_only else ("rw", *words))))


def bindings(ports: tuple[Port, ...]) -> dict[str, list[dict[str, str]]]:
    """Docker's shape: where each port of the container is reached. "" as a host port: a free one."""
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        where = {"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port or "")}
        found.setdefault(port.inside, []).append(where)
    return found


def _log_options(asked: LogSettings) -> dict[str, str]:
    size = {"max-size": str(asked.limit_bytes)} if asked.limit_bytes else {}
    files = {"max-file": str(asked.file_count)} if asked.file_count > 1 else {}
    return size | files | ({"tag": asked.tag} if asked.tag else {})
