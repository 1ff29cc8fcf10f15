"""Memory that processes share, and whether only the container itself can wake what waits there (futex(2))."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from bento.kernel.mountinfo import parse_mountinfo
from bento.kernel.process.descriptors import link, slurp

_LINE: Final = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ...(.) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) \d+ *(.*)")
_ANONYMOUS: Final = b"/dev/zero (deleted)"  # MAP_SHARED | MAP_ANONYMOUS: only what is forked has it
_OWN: Final = frozenset({"tmpfs", "overlay"})


class _Mapping(NamedTuple):
    start: int
    end: int
    is_shared: bool
    device: str  # as mountinfo has it
    name: bytes


class Mappings:
    """What processes have mapped (proc_pid_maps(5)): read once for all of one look, of those alone that wait there."""

    def __init__(self) -> None:
        self._maps: dict[str, list[_Mapping]] = {}
        self._own: dict[str, frozenset[str]] = {}

    def reach_outside(self, task: str, address: int) -> bool:
        """Whether a process outside of the container may have the same memory as this one has at an address.

        Not where it is the process's own, or of a filesystem that is the container's: its /dev/shm, its root. A file
        of any other may be mapped by any process; a file without a filesystem, of memfd_create(2), may have been
        handed out. ``task`` is the directory of a live thread.
        """
        found = next((one for one in self._read(task) if one.start <= address < one.end), None)
        if found is None:
            return True
        return found.is_shared and found.name != _ANONYMOUS and found.device not in self._own_devices(task)

    def _read(self, task: str) -> list[_Mapping]:
        found = self._maps.get(task)
        if found is None:
            found = self._maps[task] = parse_maps(slurp(f"{task}/maps"))
        return found

    def _own_devices(self, task: str) -> frozenset[str]:
        """Return the filesystems of a process's mount namespace that the host has not mounted as well."""
        namespace = link(f"{task}/ns/mnt")
        found = self._own.get(namespace)
        if found is None:
            hosts = {entry.device for entry in parse_mountinfo(slurp("/proc/thread-self/mountinfo"))}
            entries = parse_mountinfo(slurp(f"{task}/mountinfo"))
            found = frozenset(one.device for one in entries if one.fstype in _OWN and one.device not in hosts)
            self._own[namespace] = found
        return found


def parse_maps(text: bytes) -> list[_Mapping]:
    """Read the text of a maps file: ``7f5b-7f5c rw-s 00000000 00:30 2    /dev/shm/x``, devices in hexadecimal."""
    return [
        _Mapping(
            start=int(match[1], 16),
            end=int(match[2], 16),
            is_shared=match[3] == b"s",
            device=f"{int(match[4], 16)}:{int(match[5], 16)}",
            name=match[6],
        )
        for line in text.split(b"\n")
        if (match := _LINE.fullmatch(line)) is not None
    ]
