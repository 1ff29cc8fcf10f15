"""The device nodes of a container: those of the host, as they are there when it is started."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import Any

from msgspec.structs import replace

from bento.errors import UsageError
from bento.files.device_nodes import below
from bento.model.container import Container, ContainerSpec
from bento.model.resources import Device
from bento.oci.user import ResolvedUser


def with_expanded(container: Container) -> Container:
    """Return the container with the devices below each directory that was asked for. Raises UsageError."""
    sandbox = replace(container.spec.sandbox, devices=expanded(container.spec))
    return replace(container, spec=replace(container.spec, sandbox=sandbox))


def expanded(spec: ContainerSpec) -> tuple[Device, ...]:
    """Return the devices that were asked for, with those below a directory in its place. Raises UsageError."""
    found: list[Device] = []
    for device in spec.sandbox.devices:
        if not os.path.isdir(device.host_path):
            found.append(device)
            continue
        nodes = [
            replace(device, host_path=path, path=posixpath.join(device.path, os.path.relpath(path, device.host_path)))
            for path in below(device.host_path)
        ]
        if not nodes:
            raise UsageError(f"there is no device below {device.host_path}", hint="is its driver loaded?")
        found += nodes
    return tuple({device.path: device for device in found}.values())


def of_host(spec: ContainerSpec) -> list[Device]:
    """Return the devices of the host that a privileged container gets, but for those that every container has.

    None where the user mounts something on /dev: nodes would be made in what is there.
    """
    if not spec.sandbox.privileged or any(mount.destination.rstrip("/") == "/dev" for mount in spec.files.mounts):
        return []
    taken = {device.path for device in spec.sandbox.devices}
    return [Device(host_path=path, path=path) for path in below("/dev") if path not in taken]


def describe(asked: Device, user: ResolvedUser) -> dict[str, Any]:
    """Return an entry of ``linux.devices``: the node as it is on the host, but for what was said of it.

    ``user``: the container's. Raises UsageError.
    """
    status = status_of(asked.host_path)
    major, minor = number(status)
    owner = (user.uid, user.gid) if asked.is_users else (status.st_uid, status.st_gid)
    return {
        "path": asked.path,
        "type": "b" if stat.S_ISBLK(status.st_mode) else "c",
        "major": major,
        "minor": minor,
        "fileMode": stat.S_IMODE(status.st_mode) if asked.mode is None else asked.mode,
        "uid": owner[0] if asked.uid is None else asked.uid,
        "gid": owner[1] if asked.gid is None else asked.gid,
    }


def status_of(path: str) -> os.stat_result:
    """Return what the host says of a device. Raises UsageError."""
    try:
        return os.stat(path)
    except OSError as error:
        raise UsageError(f"device {path}: {error.strerror}", hint="it is one of the host's") from None


def number(status: os.stat_result) -> tuple[int, int]:
    """Return major and minor."""
    return os.major(status.st_rdev), os.minor(status.st_rdev)
