"""The process that holds the PID namespace of a pod: an init that reaps, without rights, in an empty root filesystem.

What shares the namespace may look at it through /proc, so it must have nothing: neither the host's files, nor
capabilities, nor a user that owns anything.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from bento import command
from bento.kernel import covering, libc
from bento.model.namespaces.mapping import IdMapping
from bento.oci import config, defaults

_INIT: Final = "catatonit"
_PLACE: Final = "/init"
_UID: Final = 65534


def write(
    directory: Path,
    container_id: str,
    namespaces: list[dict[str, str]],
    cgroup_parent: str,
    ids: IdMapping | None = None,
) -> None:
    """Write the bundle. With ``ids`` its root filesystem is only in the caller's private mount namespace, where each
    user may go through it. Raises MissingTool, StorageUnusable, KernelError.
    """
    program = command.find_program(_INIT, package=_INIT)
    rootfs = directory / "rootfs"
    if ids is not None:
        [place] = covering.choose(1, (str(directory), str(program)))
        libc.mount("bento", place, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755,size=64k")
        rootfs = Path(place) / "rootfs"
    for path in (rootfs / "proc", rootfs / "dev"):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.close(os.open(f"{rootfs}{_PLACE}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
    document = build(rootfs, program, namespaces, config.cgroups_path(container_id, cgroup_parent), ids)
    (directory / "config.json").write_bytes(msgspec.json.encode(document))


def build(
    rootfs: Path, program: Path, namespaces: list[dict[str, str]], cgroups_path: str, ids: IdMapping | None = None
) -> dict[str, Any]:
    """Return its config.json. Pure. ``catatonit -P`` waits for signals, and reaps (its "pause mode")."""
    mine = [kind for kind in ("pid", "mount", "cgroup", "ipc") if kind not in {one["type"] for one in namespaces}]
    user = _UID if ids is None else min(_UID, *(one.inside + one.size - 1 for one in (ids.uids[0], ids.gids[0])))
    init = {"destination": _PLACE, "type": "bind", "source": str(program)}
    return {
        "ociVersion": config.SPEC_VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": user, "gid": user},
            "args": [_PLACE, "-P"],
            "env": [],
            "cwd": "/",
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "noexec", "mode=755", "size=64k"],
            },
            {**init, "options": ["bind", "ro", "nosuid", "nodev", "rprivate"]},
        ],
        "linux": {
            "namespaces": [*({"type": kind} for kind in mine), *namespaces],
            "cgroupsPath": cgroups_path,
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READ_ONLY_PATHS),
            **config.mappings(ids),
        },
    }
