"""What can still wake in a container (rule S14): the judgement of what its threads wait for.

A container whose PID 1 does not receive the signal is ended early only when the plain stop could save nothing more in
the same time. So the question is never "is it idle?", which a batch that pauses for two seconds is, but "can anything
make it go on before the deadline?". In doubt, it can. What only the container itself could set off cannot: everything
in it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.stop.process import Process

NEVER: Final = 1e18
"""Seconds: nothing of its own can wake it. A number, because JSON, which journals are in, knows no infinity."""

REST_PERIOD_S: Final = 1.0
"""A server may wait for clients with a timeout up to this, again and again (Python's socketserver: 0.5 s).

The caller has seen the process use no processor time for this long: then such a timeout has passed under observation,
and nothing came of it. A longer one may be the pause of a job.
"""

_CHILD_WAITS: Final = frozenset({"wait4", "waitid", "vfork"})
_SIGNAL_WAITS: Final = frozenset({"pause", "rt_sigsuspend", "rt_sigtimedwait"})
_SLEEPS: Final = frozenset({"nanosleep", "clock_nanosleep"})
_FUTEXES: Final = frozenset({"futex", "futex_wait", "futex_waitv"})
_POLLS: Final = frozenset({"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"})
_ACCEPTS: Final = frozenset({"accept", "accept4"})
_VERBS: Final = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv"), "reads from"),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev"), "writes to"),
    **dict.fromkeys(("recvfrom", "recvmsg", "recvmmsg"), "receives from"),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), "sends to"),
    **dict.fromkeys(("splice", "tee", "sendfile"), "copies between"),
    **dict.fromkeys(_ACCEPTS, "accepts on"),
    **dict.fromkeys(_POLLS, "polls"),
    "connect": "connects",
}
_TIMED: Final = {
    **dict.fromkeys(_SLEEPS, "sleeps"),
    **dict.fromkeys(_SIGNAL_WAITS, "waits for a signal"),
    **dict.fromkeys(_FUTEXES, "waits for another thread"),
}
"""Calls that only a signal, another thread or their own timeout ends."""
_KINDS: Final = {
    "eventfd": "an eventfd",
    "fifo": "a named pipe",
    "listen": "a listening socket",
    "inotify": "an inotify",
    "epoll": "an epoll that holds others",
    "tty": "a terminal",
    "unknown": "what is not known",
}
_LOCKS: Final = {"flock": "waits for a lock", "fcntl": "waits for a lock"}

_MULTICALL: Final = frozenset({"busybox", "toybox", "coreutils"})
_OBSOLETE_TAIL: Final = re.compile(r"[-+]\d*[bcl]?(f?)")  # tail -20f


class Wake(Struct, frozen=True):
    """When something wakes, at the earliest."""

    in_s: float
    """Seconds from the moment the evidence was read; 0: it cannot be excluded now; NEVER: not by itself."""
    reason: str
    """For reports: ``python3 (1234) polls a socket``."""

    @property
    def is_never(self) -> bool:
        """Whether nothing can wake by itself."""
        return self.in_s >= NEVER


def container_wake(processes: Iterable[tuple[Process, Evidence | None]]) -> Wake:
    """Return the earliest over all processes of a container; one of which nothing was read may wake at once.

    All means all: one that is left out may be what the others wait for. Also one whose leader has ended (state Z) while
    other threads of it live.
    """
    earliest = Wake(NEVER, "nothing in it can wake by itself")
    for process, evidence in processes:
        wake = process_wake(process, evidence) if evidence else Wake(0.0, f"{_name(process)} could not be read")
        if wake.in_s < earliest.in_s:
            earliest = wake
    return earliest


def process_wake(process: Process, evidence: Evidence) -> Wake:
    """Return when a process goes on, at the earliest, if no other process of its container does anything."""
    name = _name(process)
    if follows_files(process.argv) and not evidence.feeds:  # what it shows to another one is that one's work
        return Wake(NEVER, f"{name} follows files")
    if not evidence.threads:
        return Wake(0.0, f"{name} could not be read")
    in_s, words = min((_thread_wake(thread) for thread in evidence.threads), key=_seconds)
    if evidence.alarm_s is not None and evidence.alarm_s < in_s and not _is_stopped(evidence):
        in_s, words = evidence.alarm_s, f"may get the signal of a timer{_in(evidence.alarm_s)}"
    return Wake(in_s, f"{name} {words}")


def is_at_rest(process: Process, evidence: Evidence, *, within_s: float) -> tuple[bool, str]:
    """Whether a process is a listener at rest for ``within_s`` seconds, and why, or why not.

    It listens, nothing is connected to it, and each thread either cannot wake before, or waits for clients. The caller
    sees to it that it used no processor time for REST_PERIOD_S.
    """
    name = _name(process)
    if not evidence.listening:
        return False, f"{name} does not listen"
    if evidence.connected:
        return False, f"{name} has {evidence.connected} socket{'s' * (evidence.connected > 1)} that may be connected"
    for thread in evidence.threads:
        in_s, words = _thread_wake(thread)
        if in_s < within_s and not _waits_for_clients(thread, within_s):
            return False, f"{name} {words}"
    if evidence.alarm_s is not None and evidence.alarm_s < within_s:
        return False, f"{name} may get the signal of a timer{_in(evidence.alarm_s)}"
    return bool(evidence.threads), f"{name} listens, and nothing is connected to it"


def follows_files(argv: tuple[str, ...]) -> bool:
    """Whether this is ``tail -f`` or a like of it: it shows what others write, and does nothing by itself.

    With -F or --follow=name too, as busybox and toybox have it, and with the old ``tail -20f``.
    """
    words = list(argv)
    if words and _basename(words[0]) in _MULTICALL:
        words = words[1:]
    if not words or _basename(words[0]) != "tail":
        return False
    rest = iter(words[1:])
    for word in rest:
        if word == "--":
            return False
        if word.startswith("--"):
            option = word.partition("=")[0]
            if "--follow".startswith(option):
                return True
            if "=" not in word and option in ("--lines", "--bytes", "--pid", "--sleep-interval"):
                next(rest, "")
        elif match := _OBSOLETE_TAIL.fullmatch(word):
            if match[1]:
                return True
        elif word.startswith("-") and _has_follow(word[1:], rest):
            return True
    return False


def _has_follow(letters: str, rest: Iterator[str]) -> bool:
    """Whether -f or -F is among a word's short options; an argument of another is skipped, here or in ``rest``."""
    for at, letter in enumerate(letters):
        if letter in "fF":
            return True
        if letter in "ncs":
            if at == len(letters) - 1:
                next(rest, "")
            return False
    return False


def _thread_wake(thread: ThreadWait) -> tuple[float, str]:
    """Return seconds, and words that follow a name."""
    if thread.state == "T":
        return NEVER, "is stopped"  # by SIGSTOP or the terminal: only SIGCONT, from inside, lets it go on
    if thread.state == "t":
        return (NEVER, "is held") if thread.is_held else (0.0, "is stopped by its tracer")
    if thread.state == "D" and thread.call != "vfork":
        return 0.0, "waits for the disk or a device"
    if thread.state not in "SD" or not thread.call or not thread.is_blocking:
        return 0.0, "runs"
    if thread.call in _CHILD_WAITS:
        return NEVER, "waits for a child"
    if thread.call in _TIMED:
        is_outside = any(fd.kind == "memory" for fd in thread.fds)
        return (
            (0.0, "waits for another process, by memory that it may share with the host")
            if is_outside
            else _timed(thread)
        )
    if thread.call in _POLLS:
        found = [_timed(thread), *(_descriptor_wake(thread.call, fd) for fd in thread.fds)]
        return min(found, key=_seconds)
    if thread.call in _VERBS and thread.fds:
        return min((_descriptor_wake(thread.call, fd) for fd in thread.fds), key=_seconds)
    return 0.0, _LOCKS.get(thread.call, f"is in {thread.call}")


def _seconds(found: tuple[float, str]) -> float:
    return found[0]


def _timed(thread: ThreadWait) -> tuple[float, str]:
    words = _TIMED.get(thread.call, "polls")
    if thread.timeout_s is None:
        # A sleep always has an end: without one it was not read.
        return (0.0, words) if thread.call in _SLEEPS else (NEVER, words)
    return thread.timeout_s, f"{words}{_in(thread.timeout_s)}"


def _descriptor_wake(call: str, fd: Descriptor) -> tuple[float, str]:
    verb = _VERBS[call]
    if fd.kind == "signalfd":
        return NEVER, f"{verb} a signalfd"
    if fd.kind == "timerfd":
        in_s = NEVER if fd.wakes_in_s is None else fd.wakes_in_s
        return in_s, f"{verb} a timer" + ("" if fd.wakes_in_s is None else _in(fd.wakes_in_s))
    if fd.kind in ("pipe", "eventfd", "pidfd") or (fd.kind == "socket" and fd.is_inside):
        words = f"{verb} {_KINDS.get(fd.kind, f'a {fd.kind}')}"
        return (NEVER, words) if fd.is_inside else (0.0, f"{words} from outside")
    return 0.0, f"{verb} {_KINDS.get(fd.kind, f'a {fd.kind}')}"


def _waits_for_clients(thread: ThreadWait, within_s: float) -> bool:
    """Whether a thread waits for connections, and for nothing that could come before but those.

    Sockets beside the listening ones have no peer, or the process would not have been taken for a listener.
    """
    if thread.state != "S" or thread.call not in _ACCEPTS | _POLLS:
        return False
    if not any(fd.kind == "listen" for fd in thread.fds):
        return False
    others = (fd for fd in thread.fds if fd.kind not in ("listen", "socket"))
    if any(_descriptor_wake(thread.call, fd)[0] < within_s for fd in others):
        return False
    is_late = thread.timeout_s is None or thread.timeout_s >= within_s
    return is_late or (thread.period_s is not None and thread.period_s <= REST_PERIOD_S)


def _is_stopped(evidence: Evidence) -> bool:
    return all(thread.state == "T" or thread.is_held for thread in evidence.threads)


def _name(process: Process) -> str:
    return f"{process.comm} ({process.pid})"


def _in(seconds: float) -> str:
    return f", for {seconds:.1f} s more at least" if seconds else ", for how long is not known"


def _basename(path: str) -> str:
    return path.rpartition("/")[2]
