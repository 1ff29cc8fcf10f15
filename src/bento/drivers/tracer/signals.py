"""What a process would make of a signal if it were not traced: pure.

A traced process gets signals that the kernel would otherwise have dropped when they were sent (kernel/signal.c,
``sig_ignored``): those it ignores, those that are ignored by default, and, as the init of a PID namespace, those with
any default action. They wake it from its system call, which it is not to notice.
"""

from __future__ import annotations

import signal
from enum import Enum
from typing import Final

from msgspec import Struct

_IGNORED_BY_DEFAULT: Final = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
_STOPS: Final = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_FAULTS: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}
)  # fmt: skip
_FIELDS: Final = {b"SigPnd": 0, b"ShdPnd": 1, b"SigBlk": 2, b"SigIgn": 3, b"SigCgt": 4}


class Verdict(Enum):
    """What is to be done with a signal."""

    PASS = "pass"
    SUPPRESS = "suppress"
    LET_GO = "let-go"  # pass it on, and trace the process no more


class Masks(Struct, frozen=True):
    """A thread's signals, from /proc/TID/status; bit n-1 is signal n."""

    own: int  # pending, for the thread alone
    pending: int  # for the thread or its process
    blocked: int
    ignored: int
    caught: int

    def catches(self, number: int) -> bool:
        """Whether a handler runs at this signal."""
        return bool(self.caught >> (number - 1) & 1)

    @property
    def will_handle(self) -> bool:
        """Whether a handler is about to run."""
        return bool(self.pending & ~self.blocked & self.caught)


def parse_masks(status: bytes) -> Masks:
    """Return the masks in the text of /proc/TID/status (proc(5))."""
    found = [0] * 5
    for line in status.split(b"\n"):
        key, _, value = line.partition(b":")
        if (place := _FIELDS.get(key)) is not None:
            found[place] = int(value, 16)
    return Masks(found[0], found[0] | found[1], *found[2:])


def gives_up(number: int, code: int, sender: int, masks: Masks, *, is_init: bool) -> bool:
    """Whether an init has sent itself a signal whose default action would end it, and has no handler for it."""
    is_own = is_init and sender == 1 and code <= 0
    is_ignored = masks.ignored >> (number - 1) & 1 or number in _IGNORED_BY_DEFAULT | _STOPS
    return is_own and not is_ignored and not masks.catches(number)


def judge(number: int, code: int, sender: int, masks: Masks, *, is_init: bool) -> Verdict:
    """Return what to do with a signal that a traced thread has stopped for.

    Args:
        number: the signal.
        code: its si_code; above 0 when the kernel sent it.
        sender: its si_pid: 0 when it came from outside of the process's PID namespace.
        masks: the thread's.
        is_init: whether the process is PID 1 of a PID namespace.
    """
    if masks.catches(number):
        return Verdict.PASS
    if masks.ignored >> (number - 1) & 1:
        return Verdict.SUPPRESS
    if is_init:
        if number in _FAULTS and code > 0:
            # force_sig() makes an init mortal only when it is not traced: else the fault comes again for ever.
            return Verdict.LET_GO
        # Of what has the default action only a SIGSTOP (or SIGKILL) from outside means anything to an init.
        return Verdict.PASS if number == signal.SIGSTOP and sender == 0 else Verdict.SUPPRESS
    return Verdict.SUPPRESS if number in _IGNORED_BY_DEFAULT else Verdict.PASS
