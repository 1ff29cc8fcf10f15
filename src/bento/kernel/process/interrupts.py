"""Signals by which a user ends a command, kept away from what must be done as a whole.

The interpreter runs their handlers between any two steps of the main thread, and a handler may raise, as Ctrl-C's does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from types import TracebackType
from typing import Final

_INTERRUPTING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class uninterrupted:  # noqa: N801 - reads as a function
    """A context without interruption: what comes meanwhile comes at its end, and raises there. For what never blocks.

    Of the calling thread alone, and of those that it starts meanwhile, for good. May be nested.
    """

    def __init__(self, signals: Iterable[int] = _INTERRUPTING) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
