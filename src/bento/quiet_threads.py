"""Threads that take no signal: those of the process stay its main thread's, which may hold them back for a while.

The kernel gives a signal to any thread that does not block it (signal(7)), and the interpreter then runs the handler in
the main thread, whatever that blocks. What such a thread starts gets all signals (``command.spawn``).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from bento.kernel.process.interrupts import uninterrupted


def start(work: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread that does not keep the process."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    with uninterrupted(signal.valid_signals()):
        thread.start()
    return thread


def leave_signals() -> None:
    """Block every signal in the calling thread: the ``initializer`` of a pool."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
