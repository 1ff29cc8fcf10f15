"""Devices as their vendors describe them: the Container Device Interface (CDI, its SPEC.md, versions 0.3 to 1.1). Pure.

A file has devices of one kind, and what each of them adds to a container. What the specification says of names,
versions, unknown fields, precedence and conflicts holds here; it is stricter in what is added: see ``refused``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from bento.errors import UsageError

_KIND: Final = re.compile(r"[A-Za-z]([\w.-]{0,251}[A-Za-z0-9])?/[A-Za-z]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_DEVICE: Final = re.compile(r"[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?", re.ASCII)
_VERSION: Final = re.compile(r"v?([01])\.(\d{1,4})\.(\d{1,4})", re.ASCII)
_VARIABLE: Final = re.compile(r"[^=\0]+=[^\0]*", re.DOTALL)
_ACCESS: Final = re.compile(r"none|[rwm]*")
_TYPES: Final = ("", "b", "c", "u")
_NO_ACCESS: Final = "none"
_NEEDS_1_1: Final = frozenset({"schemata", "enableMonitoring"})
HOOKS: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart")
"""Those that are run. Not ``poststop``: a stop waits for nothing that another program does."""


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What has other fields is not read: it would ask for what is not done."""


class Node(_Strict, frozen=True, kw_only=True):
    """A device node. Numbers of 0 and types of "" are not said; ``permissions`` "" is rwm, and "none" is none."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None

    @property
    def access(self) -> str:
        """What may be done with it, of r, w and m."""
        return "" if self.permissions == _NO_ACCESS else self.permissions or "rwm"


class Mount(_Strict, frozen=True, kw_only=True):
    """A mount, in the words of mount(8)."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class Hook(_Strict, frozen=True, kw_only=True):
    """A program that the runtime starts at a moment of the container's life (runtime-spec, config.md, "Hooks")."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None

    @property
    def entry(self) -> dict[str, Any]:
        """It as config.json has it."""
        said = {"path": self.path, "args": list(self.args), "env": list(self.env), "timeout": self.timeout}
        return {key: value for key, value in said.items() if value}


class Edits(_Strict, frozen=True, kw_only=True):
    """What is added to a container."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[Node, ...] = ()
    net_devices: tuple[dict[str, Any], ...] = ()
    hooks: tuple[Hook, ...] = ()
    mounts: tuple[Mount, ...] = ()
    intel_rdt: dict[str, Any] | None = None
    additional_gids: tuple[int, ...] = ()


class _Device(_Strict, frozen=True, kw_only=True):
    name: str
    annotations: dict[str, str] = {}
    container_edits: Edits = Edits()


class _File(_Strict, frozen=True, kw_only=True):
    cdi_version: str
    kind: str
    annotations: dict[str, str] = {}
    devices: tuple[_Device, ...]
    container_edits: Edits = Edits()

    def edits(self) -> Iterator[Edits]:
        """All that it may add."""
        yield self.container_edits
        yield from (device.container_edits for device in self.devices)


class Described(Struct, frozen=True, kw_only=True):
    """A file that was read. ``rank``: of its directory; the greater one wins."""

    path: str
    rank: int
    file: _File


def read(document: Any, path: str, rank: int) -> Described:
    """Return what a file says, once decoded. Raises UsageError, which says what is wrong, but not in which file."""
    try:
        file = msgspec.convert(document, _File)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None
    if not _KIND.fullmatch(file.kind):
        raise UsageError(f"bad kind {file.kind!r}")
    if not file.devices:
        raise UsageError("it has no device")
    version = _VERSION.fullmatch(file.cdi_version)
    if version is None:
        raise UsageError(f"version {file.cdi_version!r} of CDI is not known")
    said, needed = tuple(map(int, version.groups())), _least_version(file)
    if said < needed:
        raise UsageError(
            f"it says version {file.cdi_version} of CDI, and has what {'.'.join(map(str, needed))} brought"
        )
    names = [device.name for device in file.devices]
    for name in names:
        if not _DEVICE.fullmatch(name) or names.count(name) > 1:
            raise UsageError(f"device {name!r}: a bad name, or one that is there twice")
    for edits in file.edits():
        _check(edits)
    return Described(path=path, rank=rank, file=file)


def _least_version(file: _File) -> tuple[int, ...]:
    """Return the version that brought the newest of what a file uses (SPEC.md, "Released versions")."""
    edits = list(file.edits())
    if any(one.net_devices or not _NEEDS_1_1.isdisjoint(one.intel_rdt or ()) for one in edits):
        return (1, 1, 0)
    if any(one.intel_rdt is not None or one.additional_gids for one in edits):
        return (0, 7, 0)
    if file.annotations or any(device.annotations for device in file.devices) or "." in file.kind.partition("/")[2]:
        return (0, 6, 0)
    has_digit = any(device.name[:1].isdigit() for device in file.devices)
    if has_digit or any(node.host_path for one in edits for node in one.device_nodes):
        return (0, 5, 0)
    return (0, 4, 0) if any(mount.type for one in edits for mount in one.mounts) else (0, 3, 0)


def _check(edits: Edits) -> None:
    for word in (*edits.env, *(word for hook in edits.hooks for word in hook.env)):
        if not _VARIABLE.fullmatch(word):
            raise UsageError(f"bad variable {word!r}")
    for node in edits.device_nodes:
        if not node.path or node.type not in (*_TYPES, "p") or not _ACCESS.fullmatch(node.permissions):
            raise UsageError(f"bad device node {node.path!r}: its path, type or permissions")
    for mount in edits.mounts:
        if not mount.host_path or not mount.container_path:
            raise UsageError("a mount has no hostPath, or no containerPath")
    for hook in edits.hooks:
        if hook.hook_name not in (*HOOKS, "poststop") or not hook.path.startswith("/"):
            raise UsageError(f"bad hook {hook.hook_name!r} of {hook.path!r}")
        if hook.timeout is not None and hook.timeout < 1:
            raise UsageError(f"hook {hook.path}: bad timeout {hook.timeout}")


def select(names: Iterable[str], files: Iterable[Described], *, where: str, unread: Iterable[str] = ()) -> list[Edits]:
    """Return what the devices of these names add, in order; what a file adds for all of its devices once, before.

    ``where``: the directories, and ``unread``: what is wrong with files in them, for the message. Raises UsageError for
    a device that is in none of the files, or in two of the same rank.
    """
    by_name: dict[str, list[tuple[Described, _Device]]] = {}
    for described in files:
        for device in described.file.devices:
            by_name.setdefault(f"{described.file.kind}={device.name}", []).append((described, device))
    added: list[Edits] = []
    begun = set()
    for name in dict.fromkeys(names):
        found = by_name.get(name, [])
        best = [one for one in found if one[0].rank == max(each[0].rank for each in found)]
        if not best:
            raise _unknown(name, by_name, where, list(unread))
        if len(best) > 1:
            paths = " and ".join(described.path for described, _ in best)
            raise UsageError(f"device {name} is described twice: by {paths}", hint="remove one of them")
        described, device = best[0]
        if described.path not in begun:
            begun.add(described.path)
            added.append(described.file.container_edits)
        added.append(device.container_edits)
    for edits in added:
        refuse(edits)
    return added


def refuse(edits: Edits) -> None:
    """Raise UsageError for what is not done: all that a device is to have is there, or it is not given."""
    if edits.intel_rdt is not None:
        raise UsageError("a device's intelRdt is not supported: Bento does not set up cache and memory bandwidth")
    if edits.net_devices:
        raise UsageError(
            "a device's netDevices are not supported", hint="use a CNI network with the plugin host-device"
        )
    for hook in edits.hooks:
        if hook.hook_name not in HOOKS:
            raise UsageError(f"a device's hook {hook.path} is a {hook.hook_name} one: a stop does not wait for it")
    for node in edits.device_nodes:
        if node.type not in _TYPES:
            raise UsageError(f"a device's node {node.path} is a FIFO", hint="mount it in its file of CDI")


def _unknown(name: str, known: Iterable[str], where: str, unread: list[str]) -> UsageError:
    kind = name.partition("=")[0]
    others = sorted(each.partition("=")[2] for each in known if each.partition("=")[0] == kind)
    if others:
        return UsageError(f"there is no device {name}", hint=f"of {kind} there are {', '.join(others)}")
    if unread:
        more = f" (and {len(unread) - 1} more)" if len(unread) > 1 else ""
        return UsageError(f"there is no device {name} in {where}, where a file cannot be read: {unread[0]}{more}")
    return UsageError(
        f"there is no device {name}: no file in {where} has that kind",
        hint="its vendor's tool writes one (nvidia-ctk cdi generate)",
    )
