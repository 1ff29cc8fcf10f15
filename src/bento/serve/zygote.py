"""The zygote that a server keeps: there is one for as long as the server is there."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Final

from bento import command
from bento.cli import zygote
from bento.config import Settings
from bento.errors import BentoError
from bento.kernel.process import pidfd

_AGAIN_S: Final = 10.0
"""After its end, which is its code's change, or another zygote's being there already."""
_END_S: Final = 5.0


class KeptZygote:
    """Starts one, and starts another one when it has ended; the calls are for the loop. Close it."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._loop = settings, asyncio.get_running_loop()
        self._child: command.Child | None = None
        self._kept, self._again = -1, self._loop.call_soon(self._start)

    def _start(self) -> None:
        reader, self._kept = os.pipe2(os.O_CLOEXEC)
        try:
            argv = (*zygote.argv(self._settings), "--keep", str(reader))
            self._child = command.spawn(argv, capture=False, pass_fds=(reader,), new_session=True)
            self._loop.add_reader(self._child.pidfd, self._ended)
        except BentoError:  # commands are as fast as without it
            self._ended()
        finally:
            os.close(reader)

    def _ended(self) -> None:
        self._reap()
        self._again = self._loop.call_later(_AGAIN_S, self._start)

    def _reap(self) -> None:
        if self._child is not None:
            self._loop.remove_reader(self._child.pidfd)
            with suppress(BentoError):
                self._child.finish(_END_S)
            self._child = None
        os.close(self._kept)

    def close(self) -> None:
        """End it. Commands that it has forked go on. Blocks for some ms."""
        self._again.cancel()
        if self._child is not None:
            pidfd.send(self._child.pidfd, signal.SIGTERM)
            self._reap()
