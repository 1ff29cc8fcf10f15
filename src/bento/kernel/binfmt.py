"""Formats of programs that were registered with the kernel: binfmt_misc (admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

import os
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc

_PLACE: Final = "/proc/sys/fs/binfmt_misc"
_ENTRY_MAX_BYTES: Final = 4096


def may_have_handler(path: str, head: bytes) -> bool:
    """Whether a handler takes a file of this name that begins with ``head``.

    Where the handlers cannot be seen, as in a container, it may have one that is binary: those are for programs of
    other machines.
    """
    is_binary = b"\0" in head
    try:
        directory = _open()
    except (OSError, KernelError):
        return is_binary
    if directory is None:
        return False
    try:
        if not _read(directory, "status").startswith("enabled"):
            return False
        names = set(os.listdir(directory)) - {"register", "status"}
        return any(_takes(_read(directory, name), path, head) for name in names)
    except (OSError, LookupError, ValueError):
        return is_binary
    finally:
        os.close(directory)


def _open() -> int | None:
    """Open the list of handlers, mounted or not; None when the kernel has none. The caller closes it."""
    if os.path.exists(f"{_PLACE}/status"):
        return os.open(_PLACE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with open("/proc/filesystems", encoding="ascii") as file:
        if "binfmt_misc" not in file.read().split():
            return None
    fs_fd = libc.fsopen("binfmt_misc")
    try:
        libc.fsconfig_create(fs_fd)
        mount_fd = libc.fsmount(fs_fd)  # mounted nowhere, gone when it is closed
    finally:
        os.close(fs_fd)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)
    finally:
        os.close(mount_fd)


def _read(directory: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, _ENTRY_MAX_BYTES).decode(errors="replace")
    finally:
        os.close(fd)


def _takes(entry: str, path: str, head: bytes) -> bool:
    said = dict(line.partition(" ")[::2] for line in entry.splitlines())
    if "enabled" not in said:
        return False
    if "extension" in said:
        return path.endswith(said["extension"].strip())
    magic = bytes.fromhex(said["magic"])
    mask = bytes.fromhex(said["mask"]) if "mask" in said else b"\xff" * len(magic)
    begin = int(said["offset"])
    found = head[begin : begin + len(magic)]
    return len(found) == len(magic) and all(a & m == b & m for a, b, m in zip(found, magic, mask, strict=True))
