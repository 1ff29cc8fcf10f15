"""What the engine has done to processes from outside, unseen by them: held at their exit, or held where they are.

One tracer serves any number of jobs (a job is a container; the caller chooses the numbers). Requests return at once;
what comes of them is reported by events. A process belongs to one job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

Key = tuple[int, int]
"""A process for good: pid and start time in clock ticks."""


class Watched(Struct, frozen=True, kw_only=True, tag=True):
    """The answer to ``watch``. With an ``error`` the process is not traced, and is as it was."""

    job: int
    pid: int
    error: str = ""


class AtExit(Struct, frozen=True, kw_only=True, tag=True):
    """The last thread of a watched process is at its exit and is kept there; its handlers have run, its files are open.

    SIGKILL does not wake it: ``release`` does. ``code`` is the raw wait status it will have. ``is_frozen``: all others
    of the container were frozen when this was sent; else they run on, or have not all been reached yet.
    """

    job: int
    pid: int
    code: int
    is_frozen: bool


class LetGo(Struct, frozen=True, kw_only=True, tag=True):
    """A process is traced no more, and that was not asked for: it was killed, or dies of a fault.

    ``lives``: or it goes on, as the kernel has refused something unexpected. It is not traced again.
    """

    job: int
    pid: int
    why: str
    lives: bool = False


class Noted(Struct, frozen=True, kw_only=True, tag=True):
    """What a process did first with the signal that it was watched for.

    ``only_noted``: it went from its handler straight back into the very same wait for a child. Unless it is held, or
    its exit is to be, it is traced no more.
    """

    job: int
    pid: int
    only_noted: bool


class GaveUp(Struct, frozen=True, kw_only=True, tag=True):
    """A PID 1 whose exit is watched has sent itself this signal, for its default action: said once.

    Programs end so when they have a handler of their own (make, node): they have done what they do at the signal. The
    kernel drops it, as it comes from inside, and they live on.
    """

    job: int
    pid: int
    number: int


class Failure(Struct, frozen=True):
    """A process that could not be held."""

    key: Key
    reason: str


class Held(Struct, frozen=True, kw_only=True, tag=True):
    """The answer to ``hold``. None of ``held`` runs more of its program until ``release``, or the tracer's death."""

    job: int
    held: tuple[Key, ...]
    failed: tuple[Failure, ...] = ()


class Released(Struct, frozen=True, kw_only=True, tag=True):
    """The answer to ``release``. Nothing is held any more; ``unfinished`` are traced until they can be reached."""

    job: int
    unfinished: tuple[int, ...] = ()


class Lost(Struct, frozen=True, kw_only=True, tag=True):
    """The tracer has died: every process goes on as if it had never been traced, and what it froze was thawed.

    The next request starts another tracer, with another descriptor, and closes the old one: stop watching that before.
    ``by``: the job with a process that it could not be asked to trace without this; 0: that is unknown.
    """

    jobs: tuple[int, ...]
    why: str = ""  # its own words, if it had any
    by: int = 0


Event = Watched | AtExit | LetGo | Noted | GaveUp | Held | Released | Lost


class TracerDriver(Protocol):
    """Requests start the tracer when there is none, return at once, and raise KernelError when it cannot be started."""

    def start(self) -> None:
        """Start the tracer when there is none, so that it gets ready meanwhile. Idempotent."""

    def watch(
        self, job: int, pid: int, start_ticks: int, *, hold_exit: bool, note_signal: int = 0,
        cgroups: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Trace a process; ``Watched`` answers.

        Again for the same process: adds to what was asked before.

        Args:
            job: to which it belongs.
            pid, start_ticks: which process; refused when it is not that one any more.
            hold_exit: keep it at its exit, ``AtExit``; one that SIGKILL ends is let go.
            note_signal: report by ``Noted``, once, what it does with this signal; 0: none. Not for threaded processes.
            cgroups: directories by controller, "" is version 2; frozen before ``AtExit`` is sent.
        """

    def hold(self, job: int, keys: Iterable[Key]) -> None:
        """Have processes run no more of their programs, unseen by their parents; ``Held`` answers.

        Many at once are answered in several parts. SIGKILL ends a held process; other signals wait.
        """

    def thaw(self, job: int) -> None:
        """Thaw what was frozen at the exit. Idempotent; no answer."""

    def release(self, job: int, keys: Iterable[Key] | None = None) -> None:
        """Trace these processes no more; None: all of the job, which is thawed too, and over. ``Released`` answers.

        Idempotent; also for a job that is not known. A process that cannot be reached yet (frozen, waiting for a
        disk) is not held any more, but cannot be watched again before it is.
        """

    @property
    def pid(self) -> int:
        """The tracer's process, which /proc names as the tracer of what it traces; 0 when there is none."""

    def fileno(self) -> int:
        """Return what is readable when ``events`` has something; starts the tracer when there is none."""

    def events(self) -> list[Event]:
        """Return what has arrived, without waiting."""

    def retire(self) -> None:
        """Let everything go, thawed, and have the tracer end meanwhile; the next request starts another. Idempotent."""

    def close(self) -> None:
        """End the tracer: everything goes on, thawed. Idempotent. Blocks until it has ended, for 2 s at most."""
