"""A command in a container that is checked, with a limit: it may hang, as everything in there."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.engine.lifecycle import exec_
from bento.errors import BentoError
from bento.model.check import Loaded
from bento.model.exec import ExecOptions
from bento.units import SIGKILL

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle.exec_ import Attached

_OUTPUT_MAX: Final = 2000
_CHUNK: Final = 1 << 16


def run_inside(drivers: Drivers, container_id: str, command: str, limit_s: float) -> Loaded:
    """Run a command by /bin/sh in a container, for so long at the most; then it is killed. Blocks; nothing is raised.

    What cannot be run at all has the exit status of the error, and its words as output.
    """
    began_s = clock.mono_s()
    code: int | None
    try:
        running = exec_.attached(drivers, container_id, ExecOptions(command=("/bin/sh", "-c", command)))
        output, has_ended = _follow(running, began_s + limit_s)
        if not has_ended:
            exec_.signal(drivers, running.session, SIGKILL)
        code = exec_.wait(drivers, running)
        code = code if has_ended else None
    except BentoError as error:
        code, output = error.exit_code, str(error).encode()
    text = output.decode(errors="replace").strip()[-_OUTPUT_MAX:]
    return Loaded(command=command, exit_code=code, duration_s=clock.mono_s() - began_s, output=text)


def _follow(running: Attached, until_s: float) -> tuple[bytes, bool]:
    """Read what it says until it has ended; return that, and whether it has."""
    found = bytearray()
    poller = select.poll()
    for fd in (running.stdout_fd, running.stderr_fd, running.status_fd):
        if fd is not None:
            poller.register(fd, select.POLLIN)
    while (left_s := until_s - clock.mono_s()) > 0:
        ready = {fd for fd, _ in poller.poll(left_s * 1000)}
        for fd in ready - {running.status_fd}:
            data = os.read(fd, _CHUNK)
            found += data
            del found[:-_CHUNK]
            if not data:
                poller.unregister(fd)
        if ready == {running.status_fd}:  # all that it has said was read before
            return bytes(found), True
    return bytes(found), False
