"""Devices by the names of the Container Device Interface: the files that describe them, and what they come to here.

They are read at the creation of a container, so that mistakes are reported then, and at each start, which takes what is
there now: drivers are updated, and what is in /var/run is written after a boot.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from bento.engine.resources import mounting
from bento.errors import BentoError, UsageError
from bento.files.smallfile import read_small
from bento.model.container import PROPAGATIONS, Container, ContainerSpec, Mount
from bento.model.resources import Device
from bento.oci import cdi
from bento.parse.documents import decode

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

Hooks = Mapping[str, list[dict[str, Any]]]
"""``hooks`` of config.json."""

_SUFFIXES: Final = (".json", ".yaml")
_BINDS: Final = ("", "none", "bind")
_FLAGS: Final = ("nosuid", "nodev", "noexec")
_DEV: Final = "/dev/"
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_NO_YAML: Final = "pip install 'bento[cdi]', or have its vendor's tool write JSON"


def check(drivers: Drivers, names: Iterable[str]) -> None:
    """Raise UsageError for devices that cannot be had: no file describes them, or what they are to add is not there."""
    edits = _edits(drivers, names)
    _devices(edits)
    mounting.check(_mounts(edits))
    _hooks(edits)


def added(drivers: Drivers, spec: ContainerSpec) -> tuple[ContainerSpec, Hooks]:
    """Return the spec of a start with what its devices add, and the hooks of the runtime. Raises UsageError."""
    edits = _edits(drivers, spec.sandbox.cdi_devices)
    mounts = _mounts(edits)
    mounting.check(mounts)
    taken = {posixpath.normpath(mount.destination) for mount in mounts}
    kept = tuple(mount for mount in spec.files.mounts if posixpath.normpath(mount.destination) not in taken)
    devices = _devices(edits)
    named = {device.path for device in devices}
    groups = tuple(str(gid) for one in edits for gid in one.additional_gids if gid)
    sandbox = replace(
        spec.sandbox,
        devices=(*(one for one in spec.sandbox.devices if one.path not in named), *devices),
        group_add=(*spec.sandbox.group_add, *groups),
    )
    env = (*spec.env, *(word for one in edits for word in one.env))
    return replace(spec, env=env, files=replace(spec.files, mounts=(*kept, *mounts)), sandbox=sandbox), _hooks(edits)


def with_added(drivers: Drivers, container: Container) -> tuple[Container, Hooks]:
    """Return the container of a start with what its devices add. Raises UsageError."""
    spec, hooks = added(drivers, container.spec)
    return replace(container, spec=spec), hooks


def _edits(drivers: Drivers, names: Iterable[str]) -> list[cdi.Edits]:
    directories = drivers.settings.cdi_directories
    described, unread = [], []  # what is bad takes no other file's devices away
    for path, rank in _files(directories):
        try:
            described.append(cdi.read(_document(path), path, rank))
        except (
            BentoError,
            OSError,
            UnicodeDecodeError,
            RecursionError,
        ) as error:  # one that is bad takes no other one's devices away
            unread.append(_reason(path, error))
    return cdi.select(names, described, where=" or ".join(directories), unread=unread)


def _files(directories: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield the files of the directories, without those below, with the ranks of these: the last one wins."""
    for rank, directory in enumerate(directories):
        try:
            names = sorted(os.listdir(directory))
        except OSError:  # mostly it is not there
            continue
        for name in names:
            if name.endswith(_SUFFIXES):
                yield os.path.join(directory, name), rank


def _document(path: str) -> Any:
    place = os.path.realpath(path)  # a link of the directory's owner is as good as a file
    _check_ours(place)
    return decode(read_small(place).decode(), path, hint=_NO_YAML)


def _check_ours(path: str) -> None:
    """Raise UsageError for a file that others than root can change: what it says, or does, is done as root."""
    status = os.stat(path)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & _OTHERS_WRITE:
        raise UsageError("others than root may write to it")


def _reason(path: str, error: Exception) -> str:
    said = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return said if path in said else f"{path}: {said}"


def _devices(edits: Iterable[cdi.Edits]) -> tuple[Device, ...]:
    """Return the devices to be made; of two at the same place the last one. Raises UsageError."""
    found = {node.path: _device(node) for one in edits for node in one.device_nodes}
    return tuple(found.values())


def _device(node: cdi.Node) -> Device:
    source = node.host_path or node.path
    try:
        status = os.stat(source)
    except OSError as error:
        raise UsageError(f"device {source}: {error.strerror}", hint="is its driver loaded?") from None
    kind = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else ""
    is_other_kind = not kind or node.type.replace("u", "c") not in ("", kind)
    number = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if is_other_kind or (node.major and number != (node.major, node.minor)):
        raise UsageError(
            f"{source} is not the device that its file of CDI describes",
            hint="have its vendor's tool write that file again",
        )
    if not posixpath.normpath(node.path).startswith(_DEV):
        raise UsageError(f"cannot make a device at {node.path}", hint="its place is below /dev")
    return Device(
        host_path=source,
        path=node.path,
        access=node.access,
        mode=None if node.file_mode is None else stat.S_IMODE(node.file_mode),
        uid=node.uid,
        gid=node.gid,
        is_users=True,
    )


def _mounts(edits: Iterable[cdi.Edits]) -> tuple[Mount, ...]:
    """Return the mounts; of two at the same place the last one. Raises UsageError."""
    found = {posixpath.normpath(mount.container_path): _mount(mount) for one in edits for mount in one.mounts}
    return tuple(found.values())


def _mount(asked: cdi.Mount) -> Mount:
    words = [word for word in asked.options if word not in ("rw", "rbind")]
    is_read_only = "ro" in words
    words = [word for word in words if word != "ro"]
    if asked.type == "tmpfs":
        return Mount(kind="tmpfs", destination=asked.container_path, read_only=is_read_only, options=tuple(words))
    is_bind = asked.type in _BINDS or not {"bind", "rbind"}.isdisjoint(asked.options)
    unknown = [word for word in words if word not in (*_FLAGS, *PROPAGATIONS, "bind")]
    if not is_bind or unknown:
        what = f"option {unknown[0]}" if is_bind else f"a file system {asked.type}"
        raise UsageError(f"a device's mount at {asked.container_path} asks for {what}, which is not supported")
    return Mount(
        kind="bind",
        source=asked.host_path,
        destination=asked.container_path,
        read_only=is_read_only,
        options=tuple(words),
    )


def _hooks(edits: Iterable[cdi.Edits]) -> Hooks:
    """Return the hooks by their moments. Raises UsageError for a program that is not there, or not root's alone."""
    found: dict[str, list[dict[str, Any]]] = {}
    for hook in (hook for one in edits for hook in one.hooks):
        try:
            place = Path(hook.path).resolve(strict=True)
            _check_ours(str(place))
        except OSError as error:
            raise UsageError(f"a device's hook {hook.path}: {error.strerror}") from None
        except UsageError as error:
            raise UsageError(f"a device's hook {hook.path}: {error.message}") from None
        if not (place.is_file() and os.access(place, os.X_OK)):
            raise UsageError(f"a device's hook {hook.path} is no program")
        found.setdefault(hook.hook_name, []).append({**hook.entry, "path": str(place)})
    return found
