"""A signal whose handler raises, at every single step of a piece of work: what Ctrl-C may meet."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """What the handler raises, as KeyboardInterrupt is not to be confused with a real one."""


def each_interruption(work: Callable[[], object], *modules: str, by_line: bool = False) -> Iterator[int]:
    """Do ``work`` again and again, interrupted before the first, second, ... step of it and of these modules' code.

    A step is an instruction of the interpreter, or a line. The signal is the kernel's, for this thread: one that is
    blocked comes later. Yields after each, once the exception is gone; ends when ``work`` came to its end before that.
    """
    step = 0
    while _interrupt(work, step, modules, by_line=by_line):
        yield step
        step += 1


def _interrupt(work: Callable[[], object], step: int, modules: tuple[str, ...], *, by_line: bool) -> bool:
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_globals.get("__name__") not in modules and frame.f_code is not work.__code__:
            return None
        frame.f_trace_opcodes = not by_line
        if event == ("line" if by_line else "opcode"):
            left -= 1
            if left < 0:
                sys.settrace(None)
                signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        return trace

    def interrupt(*_: object) -> None:
        raise Interrupted

    before, traced = signal.signal(signal.SIGHUP, interrupt), sys.gettrace()
    try:
        sys.settrace(trace)
        work()
    except Interrupted:
        pass
    finally:
        sys.settrace(traced)
        signal.signal(signal.SIGHUP, before)
    return left < 0
