"""Where tests may keep the files of containers."""

from __future__ import annotations

import os
from pathlib import Path


def writable_by_overlay() -> str:
    """Return a directory whose filesystem overlayfs can write to."""
    chosen = os.environ.get("BENTO_TEST_DIR")
    candidates = [chosen] if chosen else ["/tmp", "/var/tmp", "/dev/shm"]
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        types = {line.split()[4]: line.split(" - ")[1].split()[0] for line in file}
    for candidate in candidates:
        point = Path(candidate)
        while str(point) not in types:
            point = point.parent
        # An overlay cannot be the writable layer of another one (overlayfs.rst).
        if types[str(point)] != "overlay":
            return candidate
    return candidates[0]
