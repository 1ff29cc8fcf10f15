"""When timers may send signals to processes: setitimer(2), alarm(2), timer_create(2).

The kernel does not say which process has an interval timer (field 21 of proc_pid_stat(5) is always 0), only when each
timer of the whole system expires: /proc/timer_list (kernel/time/timer_list.c). The earliest of them is a moment before
which none of a container's can.
"""

from __future__ import annotations

import os
import re
from typing import Final

from bento.kernel.process.descriptors import slurp

_ITIMER: Final = b"it_real_fn"
_POSIX: Final = (b"posix_timer_fn", b"alarmtimer_fired")
_LINE: Final = re.compile(
    rb"^now at (\d+)|^\s*\.offset:\s*(\d+)|^ #\d+: <[^>]*>, (\w+)|^ # expires at (\d+)-", re.MULTILINE
)


class Alarms:
    """The earliest interval timer and POSIX timer of the system, in seconds from the reading; None: there is none."""

    def __init__(self, text: bytes) -> None:
        """``text`` is that of /proc/timer_list; an empty one, which root sees nowhere, leaves everything possible."""
        found = parse_timer_list(text)
        self._is_known = bool(text)
        self._lists_posix = os.path.exists("/proc/self/timers")  # needs CONFIG_CHECKPOINT_RESTORE
        self._itimer = min((found[name] for name in (_ITIMER,) if name in found), default=None)
        self._posix = min((found[name] for name in _POSIX if name in found), default=None)

    def earliest(self, pid: int, *, is_deaf: bool) -> float | None:
        """Return seconds before which no timer can signal this process; None: no timer can.

        ``is_deaf``: nothing comes of SIGALRM, which interval timers send.
        """
        if not self._is_known:
            return 0.0
        found = [] if is_deaf else [self._itimer]
        if self.has_posix(pid):
            found.append(self._posix)
        return min((moment for moment in found if moment is not None), default=None)

    def has_posix(self, pid: int) -> bool:
        """Whether a process may have a timer of timer_create(2) that is armed: its signal may be any."""
        if self._posix is None:
            return False
        return not self._lists_posix or signals_by_posix_timer(slurp(f"/proc/{pid}/timers"))


def parse_timer_list(text: bytes) -> dict[bytes, float]:
    """Return for each kind of timer, by the kernel function it calls, the seconds until the first of it expires.

    Expiry is in nanoseconds of the base's own clock, which is ahead of the monotonic one by the base's ``.offset``.
    """
    found: dict[bytes, float] = {}
    now = offset = 0
    name = b""
    for match in _LINE.finditer(text):
        if match[1] is not None:
            now = int(match[1])
        elif match[2] is not None:
            offset = int(match[2])
        elif match[3] is not None:
            name = match[3]
        else:
            left_s = max(int(match[4]) - offset - now, 0) / 1e9
            found[name] = min(left_s, found.get(name, left_s))
    return found


def signals_by_posix_timer(text: bytes) -> bool:
    """Whether a process has a timer of timer_create(2) that signals, from /proc/PID/timers (proc_pid_timers(5)).

    Whether it is armed is not shown. SIGEV_NONE does not signal.
    """
    return any(not kind.startswith(b"none") for kind in re.findall(rb"^notify:\s*(\S+)", text, re.MULTILINE))
