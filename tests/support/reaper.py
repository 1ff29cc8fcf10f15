"""Put a subreaper around pytest, as an init is around a real program.

Monitors and containers outlive the process that started them. Their parent is then the nearest subreaper
(prctl(2), PR_SET_CHILD_SUBREAPER), which must wait for them, or they stay zombies. pytest cannot do that itself:
wait for "any child" and subprocess loses its own. So pytest forks once, before it has done anything: the child goes
on with the tests and the parent does nothing but reap. It also makes the leak check exact: whatever a test left
descends from this parent.

The child gets a network namespace of its own (unshare(1)): what tests make of links, rules and ports touches neither
the machine's network nor that of another run beside it. The parent stays where it was, for what is only there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_reaper_pid = 0


def reaper_pid() -> int:
    """Return the process everything that the tests start descends from."""
    return _reaper_pid or os.getpid()


def machine_network() -> str:
    """Return the path of the network namespace in which the tests were started.

    The process events connector is asked there: it speaks in the machine's first one alone (drivers/connector).
    """
    return f"/proc/{reaper_pid()}/ns/net"


def run_under_reaper() -> None:
    """Go on in a child; the calling process only reaps from here on and never returns."""
    global _reaper_pid
    if _reaper_pid:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _reaper_pid = os.getpid()
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup(1) has it ignored, and so would all that tests start
        if os.geteuid() == 0:
            _leave_the_network()
        return
    code = _reap_until(child)
    _end_what_is_left()
    os._exit(code)


def _leave_the_network() -> None:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _reap_until(child: int) -> int:
    # Ctrl-C reaches the whole process group: the tests answer it. Others are sent to one process: pass them on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_what_is_left(*, within_s: float = 5.0) -> None:
    """A run that was ended in the middle of a test leaves containers. Whose parent ends becomes a child of this."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            children = file.read().split()
        if not children:
            return
        for pid in map(int, children):  # they keep their pids until they are reaped here
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
