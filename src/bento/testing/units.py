"""A systemd that only remembers what it was asked: for tests of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.drivers.units.base import ScopeWanted, StopWanted
    from bento.errors import BentoError


class FakeScope:
    """Implements ``Scope``."""

    def __init__(self, cgroup: str) -> None:
        self.cgroup = cgroup
        self.is_open = True

    def close(self) -> None:
        """Remember."""
        self.is_open = False


class FakeUnits:
    """Implements ``UnitDriver``.

    Attributes:
        reason: what ``refusal`` returns; "": systemd is there.
        scopes, stops: what was made, in order.
        made: the scopes, by container.
        changes: (container id, properties) in order.
        forgotten, discarded: ids of containers, in order.
        stopping: ids of containers whose units systemd is stopping; a test adds them.
        goes_down: whether the machine does.
        scope_error, stop_error, change_error: raised when set.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.scopes: list[ScopeWanted] = []
        self.stops: list[StopWanted] = []
        self.made: dict[str, FakeScope] = {}
        self.changes: list[tuple[str, tuple[str, ...]]] = []
        self.forgotten: list[str] = []
        self.discarded: list[str] = []
        self.stopping: set[str] = set()
        self.goes_down = False
        self.scope_error: BentoError | None = None
        self.stop_error: BentoError | None = None
        self.change_error: BentoError | None = None

    def refusal(self) -> str:
        """Return ``reason``."""
        return self.reason

    def make_scope(self, wanted: ScopeWanted) -> FakeScope:
        """Remember; or raise ``scope_error``."""
        if self.scope_error is not None:
            raise self.scope_error
        self.scopes.append(wanted)
        scope = self.made[wanted.container_id] = FakeScope(f"/{wanted.slice}/bento-{wanted.container_id}.scope")
        return scope

    def make_stop(self, wanted: StopWanted) -> None:
        """Remember; or raise ``stop_error``."""
        if self.stop_error is not None:
            raise self.stop_error
        self.stops.append(wanted)

    def monitor_words(self, container_id: str, slice_name: str, description: str) -> tuple[str, ...]:
        """Return what a real one would, in short."""
        return ("systemd-run", f"--slice={slice_name}", "--")

    def set_properties(self, container_id: str, properties: tuple[str, ...]) -> None:
        """Remember; or raise ``change_error``."""
        if self.change_error is not None:
            raise self.change_error
        self.changes.append((container_id, properties))

    def forget(self, container_id: str) -> None:
        """Remember."""
        self.forgotten.append(container_id)

    def discard(self, container_id: str) -> None:
        """Remember."""
        self.discarded.append(container_id)

    def being_stopped(self, container_ids: Sequence[str]) -> tuple[str, ...]:
        """Return those in ``stopping``."""
        return tuple(one for one in container_ids if one in self.stopping)

    def is_stopping(self) -> bool:
        """Return ``goes_down``."""
        return self.goes_down
