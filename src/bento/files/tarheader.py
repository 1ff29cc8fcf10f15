"""What the header of a tar archive's entry says of a file, checked: it comes from strangers."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from typing import Final

from bento.errors import UsageError

_ATTRIBUTE_PREFIX: Final = "SCHILY.xattr."
OVERLAY_ORDERS: Final = "trusted.overlay."
"""Attributes that are orders to overlayfs, such as to take a file's content from elsewhere: no image may give them."""

_ID_MAX: Final = 2**32 - 2  # the last one means "unchanged" to chown(2)
_NAME_MAX: Final = 4095
"""Bytes of a path that programs can open (PATH_MAX of limits.h, less the NUL)."""
_DEPTH_MAX: Final = 256
"""Directories in each other; real images have some dozen. The kernel walks the whole way for each of them."""
_MAJOR_MAX: Final = 2**12 - 1
_MINOR_MAX: Final = 2**20 - 1
_TIME_MIN: Final = -(2**31)
_TIME_MAX: Final = 2**34 - 1
"""Seconds that every filesystem can keep (ext4's)."""
_MTIME: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9})\d*)?", re.ASCII)

Meta = tuple[int, int, int, int, dict[str, bytes]]
"""Permissions, uid, gid, mtime_ns, and extended attributes but for orders to overlayfs."""


def path_of(name: str) -> str:
    """Return a name as a path below the root; "" is the root. A leading "/" or "./" is removed, as others do.

    Raises UsageError for one that leads upwards, or that no program could open.
    """
    parts = [part for part in no_nul(name).split("/") if part not in ("", ".")]
    path = "/".join(parts)
    check_path(path)
    if ".." in parts:
        raise UsageError(f"the name {name!r} leads out of the root filesystem: it has '..' in it")
    return path


def check_path(path: str) -> None:
    """Raise UsageError for a path below the root that no program could open, or that is deeper than any is."""
    if len(path) > _NAME_MAX // 4 and len(path.encode(errors="surrogateescape")) > _NAME_MAX:
        raise UsageError(f"the name {path[:80]!r}... has more than {_NAME_MAX} bytes")
    if path.count("/") >= _DEPTH_MAX:
        raise UsageError(f"the name {path[:80]!r}... is more than {_DEPTH_MAX} directories deep")


def no_nul(text: str) -> str:
    """Return the text. Raises UsageError when it has a NUL in it, at which the kernel would cut it off."""
    if "\0" in text:
        raise UsageError(f"the name {text!r} has a NUL character in it")
    return text


def meta_of(entry: tarfile.TarInfo) -> Meta:
    """Return what an entry says of its file. Raises UsageError for an owner that cannot be."""
    if not (0 <= entry.uid <= _ID_MAX and 0 <= entry.gid <= _ID_MAX):
        raise UsageError(f"{entry.name!r} has the owner {entry.uid}:{entry.gid}, which cannot be")
    headers = entry.pax_headers
    attributes = {}
    if headers:
        for key, value in headers.items():
            name = key.removeprefix(_ATTRIBUTE_PREFIX)
            if name != key and not name.startswith(OVERLAY_ORDERS):
                attributes[no_nul(name)] = value.encode("utf-8", "surrogateescape")
    return entry.mode & 0o7777, entry.uid, entry.gid, _mtime_ns(entry, headers.get("mtime")), attributes


def _mtime_ns(entry: tarfile.TarInfo, text: str | None) -> int:
    """tarfile makes a float of it, which has no room for nanoseconds. A time that no filesystem can keep is 1970."""
    if text is None:
        return int(entry.mtime) * 10**9 if _TIME_MIN <= entry.mtime <= _TIME_MAX else 0
    match = _MTIME.fullmatch(text)
    if match is None:
        return 0
    seconds, fraction_ns = int(match[2]), int((match[3] or "").ljust(9, "0"))
    if seconds > (-_TIME_MIN - 1 if match[1] else _TIME_MAX):
        return 0
    ns = seconds * 10**9 + fraction_ns
    return -ns if match[1] else ns


def device_of(entry: tarfile.TarInfo) -> tuple[int, int]:
    """Return (type of file, device) for mknod(2) of what is no file, directory or link. Raises UsageError."""
    if entry.isfifo():
        return stat.S_IFIFO, 0
    if not entry.isdev():
        raise UsageError(f"{entry.name!r} is of a type that no filesystem has: {entry.type!r}")
    if not (0 <= entry.devmajor <= _MAJOR_MAX and 0 <= entry.devminor <= _MINOR_MAX):
        raise UsageError(f"{entry.name!r} is device {entry.devmajor}:{entry.devminor}, which cannot be")
    return stat.S_IFCHR if entry.ischr() else stat.S_IFBLK, os.makedev(entry.devmajor, entry.devminor)
