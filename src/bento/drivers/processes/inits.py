"""Which init a live PID 1 is, and so by which method it is asked to end (rule S10)."""

from __future__ import annotations

import os
from typing import Final

from bento.kernel.process import proc

_BY_PROGRAM: Final = {
    "systemd": "systemd",
    "openrc-init": "openrc-init",
    "runit": "runit",
    "runit-init": "runit",
    "finit": "finit",
    "init": "sysvinit",  # the other inits are links to a program of their own name
}
_FIFOS: Final = ("/run/initctl", "/dev/initctl", "/etc/.initctl")
_SIGQUIT: Final = 3
_HALT: Final = 37  # SIGRTMIN+3
UNKNOWN: Final = ("signal", "PID 1 is gone")


def find_method(pid: int) -> tuple[str, str]:
    """Return the method of the process with this (host) pid, and how that shows.

    Its executable's name decides; the container can only fool itself with that. Where that says nothing: what it has
    open and which signals it waits for.
    """
    status = proc.read(pid)
    if status is None:
        return UNKNOWN
    path = proc.exe(pid)
    name = os.path.basename(path) or status.comm
    if name in _BY_PROGRAM:
        return _BY_PROGRAM[name], f"PID 1 runs {path or name}"
    if name == "busybox" and _applet(pid) in ("init", "linuxrc"):
        return "busybox", f"PID 1 runs {path} as init"
    fifo = next((target for target in _open_files(pid) if target in _FIFOS), "")
    if fifo:
        return "sysvinit", f"PID 1 runs {path or name} and reads {fifo}"
    # systemd waits for this signal, and leaves SIGQUIT to its crash handler. An init of containers that passes
    # everything on, as catatonit does, blocks both.
    if _has(status.blocked | status.caught, _HALT) and not _has(status.blocked, _SIGQUIT):
        return "systemd", f"PID 1 runs {path or name} and waits for SIGRTMIN+3"
    return "signal", f"PID 1 runs {path or name}, which is no init that is known"


def _applet(pid: int) -> str:
    """busybox's init has overwritten its arguments with its own name."""
    words = [word for word in proc.cmdline(pid) if word]
    names = [os.path.basename(word) for word in words[:2]]
    return names[1] if names[:1] == ["busybox"] and len(names) > 1 else "".join(names[:1])


def _has(mask: int, number: int) -> bool:
    return bool(mask >> (number - 1) & 1)


def _open_files(pid: int) -> list[str]:
    directory = f"/proc/{proc.live_tid(pid)}/fd"
    found = []
    try:
        for name in os.listdir(directory):
            found.append(os.readlink(f"{directory}/{name}"))
    except OSError:  # it has just ended, or closed one
        pass
    return found
