"""What the engine needs of systemd, where containers are units of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

DEFAULT_SLICE: Final = "bento.slice"


class ScopeWanted(Struct, frozen=True, kw_only=True):
    """A scope to be made for a container that is about to be created."""

    container_id: str
    slice: str  # as "web.slice"
    description: str
    properties: tuple[str, ...] = ()  # as "MemoryMax=1000000", besides the driver's own


class StopWanted(Struct, frozen=True, kw_only=True):
    """The service that stops a container when systemd stops its scope.

    ``argv`` is carried out only while ``mark`` is there, and by that file, so that a service which has outlived the run
    does nothing.
    """

    container_id: str
    description: str
    argv: tuple[str, ...]
    mark: str  # a path; the driver writes it
    timeout_s: float  # after which systemd gives up, unless the stop asks for more time


class Scope(Protocol):
    """A scope that was made; the container goes into ``cgroup``. Close it once that holds a process."""

    cgroup: str  # absolute, from the root of the hierarchy

    def close(self) -> None:
        """Let go: from now on the scope lives as long as the container. Idempotent."""


class UnitDriver(Protocol):
    """Makes transient units and takes them away. All raise UnitsFailed; none blocks for longer than 15 s."""

    def refusal(self) -> str:
        """Return why containers cannot be units here, in a few words; "" where they can. Asks systemd."""

    def make_scope(self, wanted: ScopeWanted) -> Scope:
        """Make the scope ``bento-ID.scope``. One of the last run that still goes is waited for."""

    def make_stop(self, wanted: StopWanted) -> None:
        """Make the service ``bento-stop-ID.service``, whose stop is the container's, and comes before its scope's."""

    def monitor_words(self, container_id: str, slice_name: str, description: str) -> tuple[str, ...]:
        """Return what is put before the arguments of a monitor to have it in a scope of its own."""

    def set_properties(self, container_id: str, properties: tuple[str, ...]) -> None:
        """Change properties of a container's scope."""

    def forget(self, container_id: str) -> None:
        """Take the units of a run away that has ended. Does not wait for it. Idempotent."""

    def discard(self, container_id: str) -> None:
        """End whatever a failed start has left, killing it. Idempotent; no error when systemd does not answer."""

    def being_stopped(self, container_ids: Sequence[str]) -> tuple[str, ...]:
        """Return those whose units systemd is stopping at this moment, or is about to."""

    def is_stopping(self) -> bool:
        """Whether the whole machine goes down. False when that cannot be known."""
