"""Tracing threads of other processes by PTRACE_SEIZE (ptrace(2)); numbers are from linux/ptrace.h.

Every call is for one *thread*, and only the thread of ours that has seized it may give it. None blocks, but for
``seize``, which waits while the other process is on its way through execve(2). All but ``seize`` and ``interrupt`` need
a thread that has stopped. KernelError with ESRCH means: gone, killed meanwhile, or not stopped.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
import sys
from typing import Final

from msgspec import Struct

from bento.errors import KernelError
from bento.kernel import libc

_CONT: Final = 7
_GETREGS: Final = 12
_SETREGS: Final = 13
_DETACH: Final = 17
_SYSCALL: Final = 24
_SETOPTIONS: Final = 0x4200
_GETEVENTMSG: Final = 0x4201
_GETSIGINFO: Final = 0x4202
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_LISTEN: Final = 0x4208
_GET_SYSCALL_INFO: Final = 0x420E

OPTION_SYSGOOD: Final = 0x01
"""Stops at system calls differ from SIGTRAP, and leave no signal behind when the tracer dies."""
OPTION_CLONE: Final = 0x08
OPTION_EXEC: Final = 0x10
OPTION_EXIT: Final = 0x40

EVENT_CLONE: Final = 3
EVENT_EXEC: Final = 4
EVENT_EXIT: Final = 6
EVENT_STOP: Final = 128

SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
STOP_SIGNALS: Final = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

WALL: Final = 0x40000000
"""__WALL of waitid(2): also threads, and children that do not send SIGCHLD."""

_SIGINFO: Final = struct.Struct("iii4xi")  # signo, errno, code; on 64 bits the union with the sender's pid is aligned
_SIGINFO_BYTES: Final = 128
_SYSCALL_INFO: Final = struct.Struct("=B3xIQQQ6Q")
_ENTRY: Final = 1
_ARCH_64BIT: Final = 0x80000000  # linux/audit.h, __AUDIT_ARCH_64BIT
_X86_REGISTERS: Final = struct.Struct("=27Q")  # struct user_regs_struct
_RAX, _ORIG_RAX, _RIP, _CS, _RSP = 10, 15, 16, 17, 19
_ARGUMENTS: Final = (14, 13, 12, 7, 9, 8)  # rdi, rsi, rdx, r10, r8, r9
_USER_CS: Final = 0x33


class SignalInfo(Struct, frozen=True):
    """A signal on its way. ``code`` above 0: the kernel's; ``sender`` 0: the kernel, or outside its PID namespace."""

    number: int
    code: int
    sender: int


class Registers(Struct, frozen=True):
    """What of a thread's registers a system call's end is made of (x86-64). ``call`` is negative outside of one."""

    result: int
    call: int
    ip: int
    sp: int
    words: tuple[int, ...]  # all of them, as the kernel has them
    is_64bit: bool  # whose numbers the call's is of: a 64-bit program can make calls as a 32-bit one does, int $0x80

    @property
    def arguments(self) -> tuple[int, ...]:
        """The six arguments of a 64-bit call."""
        return tuple(self.words[place] for place in _ARGUMENTS)


def can_restart_calls() -> bool:
    """Whether a thread can be set to make its interrupted call again.

    On x86-64. On aarch64 the call's first argument is kept in orig_x0, which no request shows or sets.
    """
    return os.uname().machine == "x86_64" and sys.maxsize > 1 << 32


def seize(tid: int, options: int) -> None:
    """Begin to trace a thread; it goes on as it was. EPERM: it has a tracer, has ended, or may not be traced.

    Blocks while its process is on its way through execve(2), for which the kernel may wait for us in turn: for the
    end of another thread that we trace (cred_guard_mutex; kernel/ptrace.c and fs/exec.c). The caller sets a limit.
    """
    libc.ptrace(_SEIZE, tid, 0, options)


def set_options(tid: int, options: int) -> None:
    """Replace the options of a stopped thread."""
    libc.ptrace(_SETOPTIONS, tid, 0, options)


def interrupt(tid: int) -> None:
    """Have a thread stop, with EVENT_STOP, before it runs any more of its program. Idempotent until it stops.

    A frozen one stops when it is thawed. One that has stopped already stops once more after its next step.
    """
    libc.ptrace(_INTERRUPT, tid)


def cont(tid: int, number: int = 0) -> None:
    """Let it run, with this signal delivered."""
    libc.ptrace(_CONT, tid, 0, number)


def cont_to_syscall(tid: int, number: int = 0) -> None:
    """Let it run, with this signal delivered, until it enters or leaves a system call."""
    libc.ptrace(_SYSCALL, tid, 0, number)


def listen(tid: int) -> None:
    """Leave it in a group stop; it reports when SIGCONT ends that."""
    libc.ptrace(_LISTEN, tid)


def detach(tid: int, number: int = 0) -> None:
    """Trace it no more, and let it run, with this signal delivered; the kernel keeps a group stop."""
    libc.ptrace(_DETACH, tid, 0, number)


def event_message(tid: int) -> int:
    """Return what goes with an event: the new thread's id, the former id, or the raw exit status."""
    word = bytearray(8)
    libc.ptrace(_GETEVENTMSG, tid, 0, word)
    return int.from_bytes(word, sys.byteorder)


def signal_info(tid: int) -> SignalInfo:
    """Return the signal that a thread has stopped for."""
    buffer = bytearray(_SIGINFO_BYTES)
    libc.ptrace(_GETSIGINFO, tid, 0, buffer)
    number, _, code, sender = _SIGINFO.unpack_from(buffer)
    return SignalInfo(number, code, sender)


def entered_call(tid: int) -> tuple[int, ...] | None:
    """Return (number, six arguments) of the call that it has stopped at the entry of; None at an exit (Linux 5.3)."""
    buffer = bytearray(_SYSCALL_INFO.size)
    libc.ptrace(_GET_SYSCALL_INFO, tid, len(buffer), buffer)
    operation, _, _, _, *call = _SYSCALL_INFO.unpack(buffer)
    return tuple(call) if operation == _ENTRY else None


def registers(tid: int) -> Registers:
    """Return the registers of a stopped thread; only where ``can_restart_calls``."""
    buffer = bytearray(_X86_REGISTERS.size)
    libc.ptrace(_GETREGS, tid, 0, buffer)
    words = _X86_REGISTERS.unpack(buffer)
    result, call = _signed(words[_RAX]), _signed(words[_ORIG_RAX])
    is_64bit = _makes_64bit_call(tid, words[_CS]) if call >= 0 else True
    return Registers(result, call, words[_RIP], words[_RSP], words, is_64bit)


def set_registers(tid: int, wanted: Registers) -> None:
    """Set result, call and ip of a stopped thread; only where ``can_restart_calls``."""
    words = list(wanted.words)
    words[_RAX], words[_ORIG_RAX] = wanted.result & 0xFFFFFFFFFFFFFFFF, wanted.call & 0xFFFFFFFFFFFFFFFF
    words[_RIP] = wanted.ip
    libc.ptrace(_SETREGS, tid, 0, bytearray(_X86_REGISTERS.pack(*words)))


def has_gone(error: KernelError) -> bool:
    """Whether a request failed because the thread is not there, or not stopped, any more: it was killed."""
    return error.errno == errno.ESRCH


def _makes_64bit_call(tid: int, code_segment: int) -> bool:
    """Whether a thread has entered the kernel as a 64-bit program does; before Linux 5.3 whether its program is one."""
    buffer = bytearray(_SYSCALL_INFO.size)
    try:
        libc.ptrace(_GET_SYSCALL_INFO, tid, len(buffer), buffer)
    except KernelError as error:
        if has_gone(error):
            raise
        return code_segment == _USER_CS
    return bool(_SYSCALL_INFO.unpack(buffer)[1] & _ARCH_64BIT)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
