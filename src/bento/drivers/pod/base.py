"""What the engine needs of a pod: namespaces that stay while no process is in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from bento.model.pods import Pin


class PodDriver(Protocol):
    """Keeps the namespaces of pods, each by a mount of its own. One change at a time: the caller holds a lock."""

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
        """Make namespaces, of ``kinds`` net, ipc and uts, and keep them; the loopback of the first is up.

        ``hostname``: of the uts namespace. ``sysctls``: of all of them, by keys with dots. ``shm_bytes``: of the
        /dev/shm that goes with ipc, None for the default. What an earlier call has left is removed first.
        ``given``: descriptors of namespaces by kind, of ``kinds`` and "user", to keep in the place of new ones;
        ``root``: what user and group 0 of that user namespace are on the machine.
        Raises KernelError, UsageError for a sysctl that cannot be set; then nothing is left.
        """

    def path(self, pod_id: str, kind: str) -> Path:
        """Return where a namespace is found, as ``ip netns`` and CNI plugins take it."""

    def open(self, pod_id: str, pin: Pin) -> int | None:
        """Return a descriptor of a namespace, the caller's to close; None when it is not there any more."""

    def open_shm(self, pod_id: str) -> int | None:
        """Return a detached copy of the mount of the pod's /dev/shm, the caller's to close; None: it is not there."""

    def is_whole(self, pod_id: str, pins: Collection[Pin]) -> bool:
        """Whether all of these namespaces are there. Quick."""

    def directory(self, pod_id: str) -> Path:
        """Return the pod's directory below the run root, for what else is its own; ``make`` makes it."""

    def remove(self, pod_id: str) -> None:
        """Let go of all namespaces of a pod, and remove its directory. Idempotent. Raises KernelError."""

    def ids(self) -> list[str]:
        """Return the ids of pods of which anything is kept."""
