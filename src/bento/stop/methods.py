"""How the init of a container is asked to end, by its kind (rule S10). Pure: one table and what follows from it.

An application gets the stop signal, as ``grace`` decides. The init of a system container is asked by the one
trigger that it obeys: SIGTERM makes systemd execute itself anew, and reboots finit and busybox. The triggers were tried
on systemd 252, sysvinit 3.06, openrc 0.45, runit 2.1.2, finit 4.2 and busybox 1.35.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from bento.errors import UsageError
from bento.units import signal_name

SIGNAL: Final = "signal"
AUTO: Final = "auto"
EXEC: Final = "exec"
ALIASES: Final = {"application": SIGNAL}  # LXC's word

HALTED_CODE: Final = 130
"""reboot(2) in a PID namespace ends its PID 1: by SIGINT for halt and power-off, by SIGHUP for a restart
(pid_namespaces(7))."""
REBOOT_CODE: Final = 129


class Trigger(str, Enum):
    """What carries the request."""

    SIGNAL = "signal"  # to PID 1
    INITCTL = "initctl"  # run level 0, written to the FIFO that sysvinit reads
    COMMAND = "command"  # run inside


class Method(Struct, frozen=True, kw_only=True):
    """One kind of init."""

    trigger: Trigger
    signal: int = 0
    ready_path: str = ""  # in the container; there once it has booted: asked before that, it loses the request or hangs
    # PID 1 alone, asleep, for so long after it was asked: it has finished and could not reboot. More where the init
    # itself pauses at the end: busybox and openrc-init sleep up to 3 s between their SIGTERM and their SIGKILL to all.
    idle_s: float = 5.0


METHODS: Final[dict[str, Method]] = {
    "systemd": Method(trigger=Trigger.SIGNAL, signal=37),  # SIGRTMIN+3: halt.target
    "sysvinit": Method(trigger=Trigger.INITCTL, idle_s=2.0),  # openrc on sysvinit as well
    "openrc-init": Method(trigger=Trigger.SIGNAL, signal=30, ready_path="/run/openrc/init.ctl"),  # SIGPWR
    # Its first stage makes these files anew at its end, and with them takes back what SIGPWR had set.
    "runit": Method(trigger=Trigger.SIGNAL, signal=30, ready_path="/run/runit.reboot", idle_s=2.0),
    "finit": Method(trigger=Trigger.SIGNAL, signal=12, ready_path="/run/finit/cond/hook/sys/up"),  # SIGUSR2
    "busybox": Method(trigger=Trigger.SIGNAL, signal=12),
    EXEC: Method(trigger=Trigger.COMMAND),
}
NAMES: Final = (SIGNAL, *METHODS, AUTO, *ALIASES)


def choose(*, method: str | None, command: str, is_system: bool) -> str:
    """Return the method that follows from what was said. Raises UsageError for ``exec`` without a command."""
    chosen = method or (EXEC if command else AUTO if is_system else SIGNAL)
    if chosen == EXEC and not command:
        raise UsageError("stop method exec needs a command", hint="give it with --stop-command")
    return chosen


def describe(name: str) -> str:
    """Return what carries the request, for reports: ``SIGRTMIN+3``, ``initctl 0`` or ``command``."""
    method = METHODS[name]
    return {
        Trigger.SIGNAL: signal_name(method.signal) if method.signal else "",
        Trigger.INITCTL: "initctl 0",
        Trigger.COMMAND: "command",
    }[method.trigger]
