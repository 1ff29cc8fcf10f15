"""What one look at a container's processes shows, and what a signal would do to each (rule S12).

kill(2) says nothing about delivery: for the init of a PID namespace the kernel drops every
signal whose action is the default (pid_namespaces(7); kernel/signal.c, SIGNAL_UNKILLABLE).
So the disposition is read from the masks before, and observed after.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from bento.model.waits import Evidence

Key = tuple[int, int]
"""A process for good: pid and start time in clock ticks."""

# Default action "ignore" (signal(7)): sending these to a process without a handler does nothing.
_IGNORED_BY_DEFAULT = frozenset({17, 18, 23, 28})  # CHLD, CONT, URG, WINCH


class Disposition(str, Enum):
    """What the stop signal would do to a process."""

    HANDLED = "handled"  # a handler runs; no proof of exit
    BLOCKED = "blocked"  # queued for signalfd or sigwait
    WAITING = "waiting"  # its leader sits in sigtimedwait for it
    IGNORED = "ignored"  # dropped, by its own choice
    DEFAULT = "default"  # its default action ends the process
    DROPPED = "dropped"  # PID 1 and default action: the kernel drops it
    UNKNOWN = "unknown"  # traced, or not to be read: nothing is assumed

    @property
    def receives(self) -> bool:
        """Whether the program itself gets to know of the signal, as far as /proc shows."""
        return self in (Disposition.HANDLED, Disposition.BLOCKED, Disposition.WAITING, Disposition.UNKNOWN)


class Process(Struct, frozen=True, kw_only=True):
    """One live process of the container at the time of a look. Zombies have exited and are not listed."""

    pid: int
    start_ticks: int
    ppid: int
    comm: str
    disposition: Disposition
    argv: tuple[str, ...] = ()
    unblocked: Disposition = Disposition.BLOCKED  # what the stop signal would do to it if it did not block it
    hangup: Disposition = Disposition.UNKNOWN  # what SIGHUP would do to it
    is_at_prompt: bool = False  # a shell to which SIGHUP is what ends it (rule S29); set by the rules, not by a look
    is_main: bool = False  # PID 1 of the container
    is_pending: bool = False  # the stop signal is queued and no thread has taken it
    is_halted: bool = False  # stopped by SIGSTOP or a terminal (state T)
    is_entered: bool = False  # came in from outside (exec): its parent is none of the container's
    is_namespace_init: bool = False  # PID 1 of a PID namespace that is not this process's own
    kills_group: bool = False  # passes the signal on to a whole process group (tini -g, dumb-init)
    catches_all: bool = False  # it has a handler for nearly all signals, as Go's runtime has in every program
    sees_children: bool = False  # catches or blocks SIGCHLD: the end of a child may wake it
    call: str = ""  # the system call that its only thread is blocked in; "": it runs, or has more threads
    is_waiting: bool = False  # that is wait4 or waitid
    cpu_ticks: int = 0
    switches: int = 0  # context switches of all its threads: equal in two looks, it has not run in between
    age_s: float = 100.0
    evidence: Evidence | None = None  # what each thread waits for; None: not read in this look

    @property
    def key(self) -> Key:
        """What distinguishes this process from a later one with the same pid."""
        return (self.pid, self.start_ticks)


def disposition(
    number: int,
    *,
    blocked: int,
    ignored: int,
    caught: int,
    is_namespace_init: bool,
    is_traced: bool,
    waits: bool | None,
) -> Disposition:
    """Return what signal ``number`` would do, from the 64-bit masks of /proc/PID/status (bit n-1 is signal n).

    ``blocked`` is the leader's mask: only that decides whether the kernel drops the signal, another
    thread in sigwait does not help. ``waits``: the leader sleeps in rt_sigtimedwait for this signal;
    the kernel unblocks waited signals meanwhile, so all masks may be clear (tini looks like this).
    """
    bit = 1 << (number - 1)
    if is_traced:  # the kernel shows a tracer even what it would drop: no rule holds
        return Disposition.UNKNOWN
    if blocked & bit:  # before ignored: a blocked signal is never dropped
        return Disposition.BLOCKED
    if caught & bit:
        return Disposition.HANDLED
    if waits:
        return Disposition.WAITING
    if ignored & bit or number in _IGNORED_BY_DEFAULT:
        return Disposition.IGNORED
    return Disposition.DROPPED if is_namespace_init else Disposition.DEFAULT
