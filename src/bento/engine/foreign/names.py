"""How what Bento has not made is called: a container of another engine, or a process."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

ENGINES: Final = ("docker", "podman", "containerd", "nerdctl")


class ForeignName(Struct, frozen=True):
    """How something that Bento has not made is called.

    Attributes:
        ref: a container's name or id, as its engine takes it; for containerd and nerdctl maybe NAMESPACE/NAME. Without
            an engine the number of a process that is PID 1 of its PID namespace.
        engine: one of ENGINES; "": ``ref`` is a process.
    """

    ref: str
    engine: str = ""

    def __str__(self) -> str:
        return self.ref if self.engine else f"process {self.ref}"
