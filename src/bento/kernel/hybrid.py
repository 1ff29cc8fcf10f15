"""Hiding version 2 of a hybrid host's cgroups from programs that refuse such a host, in a private mount namespace.

By an empty filesystem on top, not by an unmount: crun (1.8) goes on to make directories and files at that place, and
below the mount point lies a tmpfs of the host's. And what lies on top can be taken away again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bento.kernel import cgroup, libc, mount, mountinfo

_UNIFIED: Final = Path("/sys/fs/cgroup/unified")
_SOURCE: Final = "bento"


def hide_unified() -> None:
    """Hide it in the calling thread's *private* mount namespace. Idempotent."""
    if cgroup.mode() == "hybrid":
        libc.mount(_SOURCE, str(_UNIFIED), "tmpfs", libc.MS_NODEV, "size=1m,mode=700")


def leave_unified(pid: int) -> None:
    """Move a process to the root of that hierarchy; not an error where it may not be, or has ended."""
    cgroup.write_control(f"{_UNIFIED}/cgroup.procs", str(pid))


def show_unified() -> None:
    """Undo ``hide_unified``, also of an earlier process in this namespace. Idempotent."""
    table = mountinfo.mount_table()
    for entry in table:
        if entry.target == str(_UNIFIED) and entry.source == _SOURCE:
            mount.unmount(_UNIFIED)
