"""Capabilities by their names (capabilities(7)), and which ones a container holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

ALL: Final = "ALL"

# linux/capability.h, by number.
NAMES: Final = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    )
)  # fmt: skip


def own() -> frozenset[str]:
    """Return those that this process may hand on: its bounding set. Not pure, but cheap: a small file of /proc."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        mask = next((int(line.split()[1], 16) for line in status if line.startswith("CapBnd:")), 0)
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def choose(default: Sequence[str], add: Iterable[str], drop: Iterable[str], mine: frozenset[str]) -> list[str]:
    """Return the default with what was asked for, by Docker's rules: ALL goes first, on either side. Pure.

    ``mine``: those that there are to give, which is what adding ALL means.
    """
    added, dropped = set(add), set(drop)
    if ALL in added:
        return [name for name in NAMES if name in mine and name not in dropped]
    held = [] if ALL in dropped else [name for name in default if name not in dropped]
    return held + [name for name in NAMES if name in added and name not in held]
