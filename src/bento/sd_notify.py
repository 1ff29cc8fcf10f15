"""What systemd is told by a service of type notify (sd_notify(3)), where it asks for that by NOTIFY_SOCKET."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bento.lazy import LazyModule

if TYPE_CHECKING:
    import socket
else:  # few commands are services
    socket = LazyModule("socket")

EVERY_S: Final = 10.0
"""So often it is asked for more time."""
_BY_S: Final = 30.0


def address() -> str:
    """Return where systemd is told, a path or @ and an abstract name; "" where it is not."""
    return os.environ.get("NOTIFY_SOCKET", "")


def is_stop() -> bool:
    """Whether this command is an ExecStop= of a service that listens, and no child of one (systemd.exec(5))."""
    return bool(address()) and "SERVICE_RESULT" in os.environ


def tell(state: str, to: str = "") -> None:
    """Send lines such as READY=1. ``to``: where, in place of ``address()``. No error when nothing receives it."""
    if target := to or address():
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.connect(f"\0{target[1:]}" if target.startswith("@") else target)
            notifier.send(state.encode())


class Extension:
    """Asks for more time, again and again, while a stop is under way: then its end is Bento's to decide alone.

    Should that stand still, systemd's own limit comes into force 30 s after the last word.
    """

    def __init__(self) -> None:
        self._next_s = 0.0
        tell("STOPPING=1")

    def turn(self) -> None:
        """Ask when it is time to; to be called every ten seconds, or more often."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + EVERY_S * 0.9
            tell(f"EXTEND_TIMEOUT_USEC={round(_BY_S * 1e6)}")
