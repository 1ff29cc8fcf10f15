"""What of a thread's system calls is undone or looked at: pure.

The kernel itself makes most interrupted calls again when no handler has run (-ERESTARTSYS and its kin). Some end with
-EINTR at once (epoll_wait, semop, rt_sigtimedwait, whatever has a time limit of its socket): a program may take that for
fatal when nothing can interrupt it.
"""

from __future__ import annotations

import errno
import os
from typing import Final

import msgspec

from bento.kernel.ptrace import Registers

_COMPAT_EINTR: Final = (1 << 32) - errno.EINTR  # a 32-bit program's, where the kernel has not extended the sign
_INSTRUCTION_BYTES: Final = 2  # "syscall", "int $0x80" and "sysenter" are as long

# Have done their work although they say EINTR: close has let go of the number; restart_syscall cannot be repeated.
_NOT_AGAIN: Final = frozenset({3, 219})

_SIGRETURN: Final = {"x86_64": 15, "aarch64": 139}
_WAITS: Final = {"x86_64": (61, 247), "aarch64": (260, 95)}  # wait4, waitid


def again(now: Registers) -> Registers | None:
    """Return the registers with which the interrupted call is made again; None when none was interrupted so."""
    if now.call < 0 or now.call in _NOT_AGAIN or now.result not in (-errno.EINTR, _COMPAT_EINTR):
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

    A shell that is blocked by a foreground child notes the signal for later and waits again. In its ``wait`` builtin, or
    in a trap, it does anything else.
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


def _significant(call: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the arguments that the call does not have: these registers hold anything."""
    return call[:5] if call[0] in (61, 260) else call[:6]
