"""What of a thread's system calls is undone or looked at: pure.

The kernel itself makes most interrupted calls again when no handler has run (-ERESTARTSYS and its kin). Some end
with -EINTR at once (epoll_wait, semop, rt_sigtimedwait, whatever has a time limit of its socket): a program may take
that for fatal when nothing can interrupt it.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from bento.kernel.process.ptrace import Registers

_COMPAT_EINTR: Final = (1 << 32) - errno.EINTR  # a 32-bit program's, where the kernel has not extended the sign
_INSTRUCTION_BYTES: Final = 2  # "syscall", "int $0x80" and "sysenter" are as long

# Have done their work although they say EINTR: close has let go of the number; restart_syscall cannot be repeated.
# As a 64-bit program calls them, with the bit of the x32 ABI too, and as a 32-bit one does (syscall_{64,32}.tbl).
_X32_BIT: Final = 0x40000000
_NOT_AGAIN: Final = {True: frozenset({3, 219, 3 | _X32_BIT, 219 | _X32_BIT}), False: frozenset({6, 0})}

# Those of them with a time limit: its argument, whether that points to a struct timespec, and what the call
# returns when it has passed. epoll_wait, epoll_pwait, epoll_pwait2, rt_sigtimedwait, semtimedop, io_getevents.
_LIMITS: Final = {
    232: (3, False, 0),
    281: (3, False, 0),
    441: (3, True, 0),
    128: (2, True, -errno.EAGAIN),
    220: (3, True, -errno.EAGAIN),
    208: (4, True, 0),
}
_TIMESPEC: Final = struct.Struct("=qq")

_SIGRETURN: Final = {"x86_64": 15, "aarch64": 139}
_WAITS: Final = {"x86_64": (61, 247), "aarch64": (260, 95)}  # wait4, waitid


def again(now: Registers) -> Registers | None:
    """Return the registers with which the interrupted call is made again; None when none was interrupted so."""
    if now.call < 0 or now.call in _NOT_AGAIN[now.is_64bit] or now.result not in (-errno.EINTR, _COMPAT_EINTR):
        return None
    return msgspec.structs.replace(now, result=now.call, call=-1, ip=now.ip - _INSTRUCTION_BYTES)


def interrupted(now: Registers, before: Registers) -> Registers | None:
    """Return the registers with which the call ends with EINTR after all; None when it has been made again already.

    ``before``: what ``again`` was given. A handler that runs between the two would go unseen by a program
    that waits for just that.
    """
    if now.call >= 0 or now.result != before.call or now.sp != before.sp or now.ip != before.ip - _INSTRUCTION_BYTES:
        return None
    return msgspec.structs.replace(now, result=before.result, call=before.call, ip=before.ip)


class Patience(Struct, frozen=True):
    """A call with a time limit that is made again: from the start, with the whole of its limit.

    A stream of ignored signals would keep it for ever, so it ends when its limit has passed since it was first
    interrupted: it waits for at most twice its limit.
    """

    call: int
    ip: int
    sp: int
    until_mono_s: float
    result: int  # when the limit has passed

    def is_of(self, now: Registers) -> bool:
        """Whether this is the call, interrupted once more."""
        return (self.call, self.ip, self.sp) == (now.call, now.ip, now.sp)


def patience(now: Registers, mono_s: float, read_memory: Callable[[int, int], bytes]) -> Patience | None:
    """Return how long the call that was interrupted now may be made again; None: it has no limit that we know of."""
    known = _LIMITS.get(now.call)
    if known is None or not now.is_64bit:
        return None
    argument, is_timespec, result = known
    limit_s = -1.0
    if not is_timespec:
        limit_s = _int32(now.arguments[argument]) / 1000
    elif len(words := read_memory(now.arguments[argument], _TIMESPEC.size)) == _TIMESPEC.size:
        seconds, nanoseconds = _TIMESPEC.unpack(words)
        limit_s = seconds + nanoseconds / 1e9
    return Patience(now.call, now.ip, now.sp, mono_s + limit_s, result) if limit_s >= 0 else None


def ends_now(now: Registers, waited: Patience) -> Registers:
    """Return the registers with which the call returns that its limit has passed."""
    return msgspec.structs.replace(now, result=waited.result, call=-1)


def fault_again(now: Registers, *, skip_bytes: int) -> Registers:
    """Return the registers with which the instruction before this place, so long, is run again."""
    return msgspec.structs.replace(now, call=-1, ip=now.ip - skip_bytes)


def parse_call(text: bytes) -> tuple[int, ...] | None:
    """Return (number, six arguments) from the text of /proc/TID/syscall of a stopped thread; None outside of a call."""
    words = text.split()
    if len(words) < 7 or int(words[0]) < 0:
        return None
    return (int(words[0]), *(int(word, 16) for word in words[1:7]))


class Noting:
    """Follows a thread's calls from the delivery of a signal on: has its program only noted it?

    A shell that is blocked by a foreground child notes the signal for later and waits again. In its ``wait`` builtin
    it does anything else, and runs its trap.
    """

    def __init__(self, interrupted_call: tuple[int, ...] | None, machine: str = "") -> None:
        """``interrupted_call``: what the signal has interrupted."""
        machine = machine or os.uname().machine
        self._sigreturn = _SIGRETURN.get(machine)
        is_wait = interrupted_call is not None and interrupted_call[0] in _WAITS.get(machine, ())
        self._awaited = _significant(interrupted_call) if is_wait and interrupted_call is not None else None
        self._has_returned = False

    def enter(self, call: tuple[int, ...]) -> bool | None:
        """Take the next call that is entered; return whether it had only noted the signal, None: not known yet."""
        if self._awaited is not None and call[0] == self._sigreturn:
            self._has_returned = True
            return None
        return self._has_returned and self._awaited is not None and _significant(call) == self._awaited


def _int32(word: int) -> int:
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word


def _significant(call: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the arguments that the call does not have: these registers hold anything."""
    return call[:5] if call[0] in (61, 260) else call[:6]
