"""The sandbox and the namespaces of a new container."""

from __future__ import annotations

from typing import Any

from bento.api_docker.bodies import containers as bodies
from bento.errors import UsageError
from bento.model.container import Namespaces, Sandbox
from bento.model.resources import CgroupSettings, Device
from bento.parse.sandbox import gpus, parse_capabilities, parse_cdi, parse_device_rule, parse_host, parse_security


def read_sandbox(host: bodies.Host) -> Sandbox:
    """Return what widens or narrows the default sandbox. Raises UsageError."""
    words = [word for word in host.SecurityOpt or () if word != "seccomp=builtin"]
    security: dict[str, Any] = parse_security(word for word in words if not _profile(word))
    if texts := [text for word in words if (text := _profile(word))]:  # a client's file comes as its text
        security["seccomp"] = texts[-1]
    if host.MaskedPaths == [] and host.ReadonlyPaths == []:  # how clients say systempaths=unconfined
        security["shows_system_paths"] = True
    elif host.MaskedPaths or host.ReadonlyPaths:
        raise UsageError("MaskedPaths and ReadonlyPaths of one's own are not supported", hint="omit them, or give []")
    return Sandbox(
        cap_add=parse_capabilities(host.CapAdd or ()),
        cap_drop=parse_capabilities(host.CapDrop or ()),
        privileged=bool(host.Privileged),
        device_rules=tuple(map(parse_device_rule, host.DeviceCgroupRules or ())),
        group_add=tuple(host.GroupAdd or ()),
        extra_hosts=tuple(map(parse_host, host.ExtraHosts or ())),
        dns=tuple(host.Dns or ()),
        dns_search=tuple(host.DnsSearch or ()),
        dns_options=tuple(host.DnsOptions or ()),
        shm_bytes=host.ShmSize or None,
        sysctls=host.Sysctls or {},
        devices=tuple(map(_device, host.Devices or ())),
        cdi_devices=tuple(name for each in host.DeviceRequests or () for name in _requested(each)),
        **security,
    )


def _profile(word: str) -> str:
    """Return the text of a seccomp profile; "": the word is something else."""
    key, _, value = word.partition("=")
    text = value.lstrip()
    return text if key == "seccomp" and text.startswith("{") else ""


def _device(asked: bodies.Device) -> Device:
    path = asked.PathOnHost or ""
    inside = asked.PathInContainer or path
    access = asked.CgroupPermissions or "rwm"
    if not path.startswith("/") or not inside.startswith("/") or not set(access) <= set("rwm"):
        raise UsageError(f"bad device {path!r}", hint="give absolute paths, and permissions of r, w and m")
    return Device(host_path=path, path=inside, access=access)


def _requested(asked: bodies.DeviceRequest) -> tuple[str, ...]:
    """Return the names of devices of CDI; what is asked for by capabilities alone are GPUs."""
    ids = tuple(asked.DeviceIDs or ())
    if asked.Options:
        raise UsageError("Options of DeviceRequests are not supported", hint="a file of CDI says what a device has")
    if asked.Driver == "cdi":
        return tuple(map(parse_cdi, ids))
    if (asked.Driver or "nvidia") != "nvidia" or not any("gpu" in each for each in asked.Capabilities or ()):
        raise UsageError(
            f"devices of driver {asked.Driver or ''!r} are not supported",
            hint="use cdi, or GPUs with the capability gpu",
        )
    return gpus(None, ids) if ids else gpus(asked.Count or 0)


def read_namespaces(host: bodies.Host) -> Namespaces:
    """Return which namespaces it shares."""
    return Namespaces(
        pid=host.PidMode or "",
        ipc=host.IpcMode or "",
        uts=host.UTSMode or "",
        cgroup=host.CgroupnsMode or "",
        user=host.UsernsMode or "",
    )


def read_cgroups(host: bodies.Host) -> CgroupSettings:
    """Return the slice of systemd's that it is to be in; a path of cgroups is none."""
    parent = host.CgroupParent or ""
    return CgroupSettings(parent=parent if parent.endswith(".slice") else "")
