"""SELinux: whether it is enforced (selinux(8))."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ENFORCE: Final = Path("/sys/fs/selinux/enforce")


def is_enforcing() -> bool:
    """Whether the kernel denies what the policy does not allow. False without SELinux."""
    try:
        return _ENFORCE.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False
