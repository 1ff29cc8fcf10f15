"""Namespaces of pods that are only remembered: for tests of the engine, without root."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from bento.errors import BentoError
from bento.files.tree import remove_tree
from bento.model.pods import Pin


class FakePods:
    """Implements ``PodDriver``.

    Attributes:
        made: by pod, what ``make`` was given.
        pins: by pod, what is there; a test takes away what is to be lost.
        make_error: raised by ``make`` when set.
    """

    def __init__(self, run_root: Path) -> None:
        self._home = run_root / "pods"
        self.made: dict[str, dict[str, object]] = {}
        self.pins: dict[str, tuple[Pin, ...]] = {}
        self.make_error: BentoError | None = None
        self._inode = 4026531840

    def make(
        self,
        pod_id: str,
        kinds: Collection[str],
        *,
        hostname: str = "",
        sysctls: Mapping[str, str],
        shm_bytes: int | None = None,
        given: Mapping[str, int] | None = None,
        root: tuple[int, int] = (0, 0),
    ) -> tuple[Pin, ...]:
        """Remember."""
        self.remove(pod_id)
        if self.make_error is not None:
            raise self.make_error
        self.directory(pod_id).mkdir(parents=True)
        self.made[pod_id] = {"hostname": hostname, "sysctls": dict(sysctls), "shm_bytes": shm_bytes}
        found = []
        for kind in sorted(kinds if given is None else given):
            self._inode += 1
            found.append(Pin(kind, self._inode))
        self.pins[pod_id] = tuple(found)
        return self.pins[pod_id]

    def path(self, pod_id: str, kind: str) -> Path:
        """Return where it would be."""
        return self.directory(pod_id) / kind

    def open(self, pod_id: str, pin: Pin) -> int | None:
        """Return a descriptor of anything."""
        is_there = pin in self.pins.get(pod_id, ())
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if is_there else None

    def open_shm(self, pod_id: str) -> int | None:
        """The same."""
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if pod_id in self.pins else None

    def is_whole(self, pod_id: str, pins: Collection[Pin]) -> bool:
        """Whether they are remembered."""
        return set(pins) <= set(self.pins.get(pod_id, ()))

    def directory(self, pod_id: str) -> Path:
        """Return a real directory."""
        return self._home / pod_id

    def remove(self, pod_id: str) -> None:
        """Forget."""
        self.pins.pop(pod_id, None)
        remove_tree(self.directory(pod_id))

    def ids(self) -> list[str]:
        """Return those that are remembered."""
        return sorted(self.pins)
