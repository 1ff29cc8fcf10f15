"""Files that are none: what the kernel makes up as it is read (/proc, /sys and their kin)."""

from __future__ import annotations

from typing import Final

from bento.kernel import libc

_MADE_UP: Final = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x1CD1,  # devpts
        0x19800202,  # mqueue
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0x62656570,  # configfs
        0xCAFE4A11,  # bpf
        0x42494E4D,  # binfmt_misc
        0xDE5E81E4,  # efivarfs
        0x6165676C,  # pstore
        0xF97CFF8C,  # selinuxfs
        0x6E736673,  # nsfs
    }
)
"""Filesystems by their magic numbers (linux/magic.h)."""


def is_made_up(fd: int) -> bool:
    """Whether an open file is on such a filesystem; O_PATH will do."""
    return libc.fstatfs_type(fd) in _MADE_UP
