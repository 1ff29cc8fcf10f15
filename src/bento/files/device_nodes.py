"""The device nodes below a directory of the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

OWN_NODES: Final = (
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/ptmx"
)  # fmt: skip
OWN_DIRECTORIES: Final = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/hugepages")
"""What a container has of its own (runtime-spec, config-linux.md, "Default Devices")."""


def below(top: str) -> Iterator[str]:
    """Yield the paths of devices, none of which is opened, but for what every container has of its own."""
    for directory, under, names in os.walk(top):
        is_own = directory in OWN_DIRECTORIES
        under[:] = [] if is_own else sorted(under)
        for path in sorted(os.path.join(directory, name) for name in ([] if is_own else names)):
            with suppress(OSError):  # gone meanwhile
                mode = os.lstat(path).st_mode
                if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and path not in OWN_NODES:
                    yield path
