"""What Bento needs of another container engine: to find a container, and to have it stopped by the engine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from bento.units import SIGTERM

if TYPE_CHECKING:
    from bento.command import Child


class ForeignContainer(Struct, frozen=True, kw_only=True):
    """A container as its engine describes it."""

    id: str
    name: str
    image: str = ""
    namespace: str = ""  # of containerd; "": the engine has none
    status: str = ""  # the engine's own word
    pid: int = 0  # PID 1, as the engine's host numbers it; 0: it does not run
    started_unix_s: float | None = None  # None: the engine does not say
    is_paused: bool = False
    signal: int = SIGTERM  # what the engine's own stop sends
    grace_s: float = 10.0  # what its stop leaves before it kills, where a call names nothing
    restarts: str = ""  # its restart policy; "": it is not started again
    exit_code: int | None = None  # of its last run, where it does not run


class EngineDriver(Protocol):
    """Another engine. It is asked by its own command line, a child process each time.

    Attributes:
        name: one of ``bento.engine.foreign.names.ENGINES``.
        kills: its own stop kills when the grace is over.
        takes_signal: its own stop can be told which signal to send.
    """

    name: str
    kills: bool
    takes_signal: bool

    def find(self, ref: str) -> ForeignContainer:
        """Return a container by name or id. Blocks for 10 s at most.

        Raises NotFound, UsageError for what cannot be a name, MissingTool, ForeignEngineFailed when the engine does not
        answer, or in words that are not understood.
        """

    def begin_stop(self, container: ForeignContainer, grace_s: float, signal: int | None) -> Child:
        """Have it stop the container by its own stop, which signals PID 1 and records that a stop was wanted.

        ``grace_s``: what it leaves before it kills, rounded up to what it takes; NO_LIMIT: it never kills. Returns at
        once; the child ends with the engine's stop, of some engines before the container has. Raises MissingTool.
        """

    def stop_words(self, container: ForeignContainer, grace_s: float, signal: int | None) -> list[str]:
        """Return the command that ``begin_stop`` starts, as a user would write it."""

    def end_stop(self, child: Child) -> str:
        """Reap it, once it has ended; return the engine's words where it failed, else ""."""

    def begin_look(self, container: ForeignContainer) -> Child:
        """Ask for a container once more. Returns at once. Raises MissingTool."""

    def end_look(self, container: ForeignContainer, child: Child) -> ForeignContainer | None:
        """Reap it, once it has ended; return what the engine says now: None, the container is gone.

        Raises ForeignEngineFailed.
        """
