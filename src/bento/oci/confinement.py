"""What the security modules of the kernel are told of a container's process: AppArmor's profile, SELinux's label.

runtime-spec, config.md, "Linux Process". Not every machine has either: what it has not is a note, and no error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bento.errors import UsageError
from bento.model.container import UNCONFINED, Sandbox

SYS: Final = Path("/sys")
DISABLE: Final = "disable"
_LABEL: Final = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
"""The parts of a label in their order, as container-selinux(8) has them."""


def has_apparmor(sys: Path = SYS) -> bool:
    """Whether the kernel confines by AppArmor."""
    return _read(sys / "module/apparmor/parameters/enabled") == "Y"


def has_selinux(sys: Path = SYS) -> bool:
    """Whether the kernel has a policy of SELinux."""
    return (sys / "fs/selinux/enforce").exists()


def enforces_selinux(sys: Path = SYS) -> bool:
    """Whether the kernel denies what that policy does not allow (selinux(8))."""
    return _read(sys / "fs/selinux/enforce") == "1"


def check(sandbox: Sandbox, sys: Path = SYS) -> tuple[str, ...]:
    """Return a note for each word that this machine cannot obey. Raises UsageError for words that make no sense."""
    for label in sandbox.labels:
        part, _, value = label.partition(":")
        if label != DISABLE and (part not in _LABEL or not value):
            parts = ", ".join(f"{each}:NAME" for each in _LABEL)
            raise UsageError(f"unknown label {label!r}", hint=f"use {DISABLE}, or one of {parts}")
    notes = []
    if sandbox.apparmor not in ("", UNCONFINED):
        if not has_apparmor(sys):
            notes.append(f"no AppArmor profile {sandbox.apparmor}: this kernel confines by none")
        elif (loaded := _read(sys / "kernel/security/apparmor/profiles")) and not any(
            line.rpartition(" (")[0] == sandbox.apparmor for line in loaded.splitlines()
        ):
            raise UsageError(
                f"AppArmor profile {sandbox.apparmor} is not loaded", hint="see aa-status(8) and apparmor_parser(8)"
            )
    if set(sandbox.labels) - {DISABLE} and not has_selinux(sys):
        notes.append(f"no SELinux label {', '.join(sandbox.labels)}: this kernel has no such policy")
    return tuple(notes)


def words(sandbox: Sandbox, sys: Path = SYS) -> dict[str, str]:
    """Return what goes into ``process``."""
    said = {}
    if sandbox.apparmor and has_apparmor(sys):
        said["apparmorProfile"] = sandbox.apparmor
    parts = dict(label.partition(":")[::2] for label in sandbox.labels if label != DISABLE)
    if parts and DISABLE not in sandbox.labels and has_selinux(sys):
        said["selinuxLabel"] = ":".join((_LABEL | parts).values())
    return said


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
