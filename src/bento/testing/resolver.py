"""A resolver that remembers what it was told: for tests of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bento.drivers.resolver.base import Member
    from bento.errors import BentoError


class FakeResolver:
    """Implements ``ResolverDriver``.

    Attributes:
        members: what was put, by container id, until it is dropped.
        is_running: whether the process is there; a test sets it to False, as a kill would.
        ended: ids of containers that have ended.
        put_error: raised by the next ``put``.
    """

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.is_running = False
        self.ended: set[str] = set()
        self.put_error: BentoError | None = None

    def put(self, member: Member) -> None:
        """Remember it."""
        error, self.put_error = self.put_error, None
        if error is not None:
            raise error
        self.members[member.container_id] = member
        self.is_running = True

    def drop(self, container_id: str) -> None:
        """Forget it."""
        self.members.pop(container_id, None)

    def forget(self, container_id: str) -> None:
        """Forget it."""
        self.drop(container_id)

    def resume(self) -> None:
        """Be there, where there are members."""
        self.is_running = self.is_running or bool(self.members)

    def is_alive(self) -> bool:
        """Return what a test has left it at."""
        return self.is_running

    def end(self) -> None:
        """Be there no more."""
        self.is_running = False

    def known(self) -> dict[str, Member]:
        """Return ``members``."""
        return dict(self.members)

    def leftovers(self) -> list[str]:
        """Return those of ``members`` that are among ``ended``."""
        return [container_id for container_id in self.members if container_id in self.ended]
