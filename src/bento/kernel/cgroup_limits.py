"""Which limits this host's cgroups can keep, and the limits of one container as they are: read, and put back.

Facts are from the kernel's admin-guide: cgroup-v2.rst, and cgroup-v1/memory.rst, cpusets.rst and blkio-controller.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from bento.errors import is_shortage
from bento.kernel import cgroup, mountinfo
from bento.kernel.cgroup import read_control, write_control
from bento.model.resources import HostLimits

_STANDARD: Final = {
    "cpu": ("cpu.max", "cpu.weight"),
    "cpuset": ("cpuset.cpus", "cpuset.mems"),
    "io": ("io.max", "io.weight"),
    "memory": ("memory.low", "memory.max", "memory.swap.max"),
    "pids": ("pids.max",),
}
"""What a cgroup of version 2 has of each controller: a host may have none yet but the root, which has no such files."""
_BFQ: Final = "blkio.bfq.io_serviced"
_OF_BFQ: Final = ("blkio.bfq.weight", "blkio.bfq.weight_device")
"""The root of version 1 does not have these, but shows by another file that there is that scheduler."""

LIMITS: Final = (
    "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpuset.cpus", "cpuset.mems", "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "pids.max", "blkio.weight", "blkio.bfq.weight",
    "cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "memory.low", "io.weight", "io.bfq.weight",
)  # fmt: skip
"""The control files, of either version, that an update of a container's limits may change."""

_NONE: Final = {
    "pids": (("pids.max", "max"),),
    "quota": (("cpu.cfs_quota_us", "-1"), ("cpu.max", "max")),
}
"""What is written for no limit."""


def host_limits(root: str = "/sys/fs/cgroup", mounts: list[mountinfo.MountEntry] | None = None) -> HostLimits:
    """Return what limits can be set by: on a hybrid host version 1, since the runtimes use that.

    As the calling thread sees it; ``mounts``: its own, unless given.
    """
    if cgroup.mode(root) == "v2":
        files = _in_and_below(root)
        for name in read_control(f"{root}/cgroup.controllers").split():
            standard = _page_files() if name == "hugetlb" else _STANDARD.get(name, ())
            if files.isdisjoint(standard):
                files |= {*standard}
        return HostLimits(files=frozenset(files), cpus=_set(root, "cpus"), mems=_set(root, "mems"))
    table = mountinfo.mount_table(os.getpid()) if mounts is None else mounts
    places = [entry for entry in table if entry.fstype == "cgroup"]
    files = {name for entry in places for name in _in_and_below(entry.target)}
    if any("pids" in entry.options.split(",") for entry in places):
        files |= {*_STANDARD["pids"]}  # its root has none, and below it there may be no cgroup yet
    if _BFQ in files:
        files |= {*_OF_BFQ}
    cpuset = next((entry.target for entry in places if "cpuset" in entry.options.split(",")), root)
    return HostLimits(files=frozenset(files), cpus=_set(cpuset, "cpus"), mems=_set(cpuset, "mems"))


def _page_files(directory: str = "/sys/kernel/mm/hugepages") -> tuple[str, ...]:
    """Return the files of version 2 for each size of huge pages that the kernel has (cgroup-v2.rst, "HugeTLB")."""
    sizes = [int(name.removeprefix("hugepages-").removesuffix("kB")) for name in _listed(directory)]
    return tuple(f"hugetlb.{_short(kib)}.max" for kib in sizes)


def _short(kib: int) -> str:
    """As the kernel shortens them (mm/hugetlb_cgroup.c, mem_fmt)."""
    if kib >= 1 << 20:
        return f"{kib >> 20}GB"
    return f"{kib >> 10}MB" if kib >= 1 << 10 else f"{kib}KB"


def _set(directory: str, name: str) -> str:
    """Return what there is of CPUs or memory nodes: version 2, version 1, and version 1 in a cgroup of its own."""
    for file in (f"cpuset.{name}.effective", f"cpuset.effective_{name}", f"cpuset.{name}"):
        if text := read_control(f"{directory}/{file}").strip():
            return text
    return ""


def _in_and_below(directory: str) -> set[str]:
    """Return the names of the files in a hierarchy's root, and in the cgroups right below."""
    files = set()
    for path in (directory, *_directories(directory)):
        files |= {name for name in _listed(path) if "." in name}
    return files


def _directories(path: str) -> Iterable[str]:
    return [f"{path}/{name}" for name in _listed(path) if os.path.isdir(f"{path}/{name}")]


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        if is_shortage(error):
            raise
        return []


def read_limits(paths: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each file of ``LIMITS`` in a container's cgroups, by path."""
    found = {}
    for directory in dict.fromkeys(paths.values()):
        for name in LIMITS:
            path = f"{directory}/{name}"
            if text := read_control(path):
                found[path] = text
    return found


def put_back(limits: Mapping[str, str]) -> list[str]:
    """Write the limits that are not as in ``limits`` any more; return the files that could not be.

    A cgroup that is gone has none. In any order: memory and memory with swap must not pass each other
    (cgroup-v1/memory.rst), so what is refused is tried again after the others.
    """
    left = list(limits)
    for _ in range(2):
        left = [
            path
            for path in left
            if read_control(path) != limits[path]
            and not write_control(path, _value(limits[path]))
            and os.path.exists(path)
        ]
    return left


def lift(paths: Mapping[str, str], limits: Iterable[str]) -> list[str]:
    """Take limits of ``_NONE`` away, of either version; return those that could not be."""
    return [
        name
        for name in limits
        if not any(write_control(f"{path}/{file}", text) for path in {*paths.values()} for file, text in _NONE[name])
    ]


def _value(text: str) -> str:
    """Return what to write for what was read: the weights of version 2 name the default."""
    return text.split("\n", 1)[0].removeprefix("default ").strip()
