"""Freezing a container's cgroup at once, by control files that were opened beforehand."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final

_LIMIT_S: Final = 0.025
_PAUSE_S: Final = 0.0002


class Freezer:
    """One cgroup's freezer. On a host with both versions it is version 1's, which runtimes use. Close it.

    What has frozen the container is known: one that another process has frozen is left alone.
    """

    def __init__(self, cgroups: dict[str, str]) -> None:
        """Open what there is; without a freezer nothing is ever frozen."""
        self.has_frozen = False
        self._control_fd = self._state_fd = -1
        self._on, self._off, self._done, self._begun = b"1", b"0", b"frozen 1", b"1"
        if (directory := cgroups.get("freezer")) is not None and self._open(directory, "freezer.state"):
            self._on, self._off, self._done, self._begun = b"FROZEN", b"THAWED", b"FROZEN", b"FREEZING"
        elif (directory := cgroups.get("")) is not None:
            self._open(directory, "cgroup.freeze", "cgroup.events")

    def freeze(self) -> bool:
        """Freeze all processes; return whether they are. Blocks for 25 ms at most: one may wait for a disk."""
        if self._control_fd < 0:
            return False
        # What another process has begun is waited for, whether it is done or not: a write would make it ours.
        is_ours = self.has_frozen or not any(self._says(self._control_fd, text) for text in (self._on, self._begun))
        deadline_mono_s = time.monotonic() + _LIMIT_S
        # Version 1 can miss a process that forks just then; writing again makes it look again.
        while not is_ours or self._write(self._on):
            self.has_frozen = is_ours
            if self._says(self._state_fd, self._done):
                return True
            if time.monotonic() > deadline_mono_s:
                return False
            time.sleep(_PAUSE_S)
        return False

    def thaw(self) -> None:
        """Undo ``freeze``. Idempotent; no error when the cgroup is gone."""
        if self.has_frozen:
            self._write(self._off)
            self.has_frozen = False

    def close(self) -> None:
        """Thaw, and close the control files. Idempotent."""
        self.thaw()
        for fd in {self._control_fd, self._state_fd} - {-1}:
            os.close(fd)
        self._control_fd = self._state_fd = -1

    def _open(self, directory: str, control: str, state: str = "") -> bool:
        try:
            self._control_fd = self._state_fd = os.open(f"{directory}/{control}", os.O_RDWR | os.O_CLOEXEC)
            if state:
                self._state_fd = os.open(f"{directory}/{state}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # hidden, or gone
            return False
        return True

    def _write(self, text: bytes) -> bool:
        with suppress(OSError):
            return os.pwrite(self._control_fd, text, 0) > 0
        return False

    def _says(self, fd: int, wanted: bytes) -> bool:
        try:
            return wanted in os.pread(fd, 4096, 0).split(b"\n")
        except OSError:
            return False
