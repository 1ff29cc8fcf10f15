"""How a worker's job is broken off: as Ctrl-C does it, so that nothing half made is left."""

from __future__ import annotations

import select
import signal
import threading

from bento import quiet_threads


def may_be_broken_off() -> None:
    """From now on SIGTERM ends what this process is at as Ctrl-C would."""
    signal.signal(signal.SIGTERM, _break_off)


def break_off_without(server_fd: int) -> None:
    """Have it broken off, too, when the other end of the worker's socket is closed, as by the death of the server."""
    main = threading.main_thread().ident or 0

    def watch() -> None:
        poller = select.poll()
        poller.register(server_fd, select.POLLRDHUP)
        poller.poll()
        signal.pthread_kill(main, signal.SIGTERM)

    quiet_threads.start(watch, "server")


def _break_off(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what follows is tidying up
    raise KeyboardInterrupt
