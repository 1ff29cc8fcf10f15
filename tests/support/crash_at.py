"""Runs ``bento`` and ends it by SIGKILL at one action of the stop machine: crash_at.py TRACE WHEN LABEL NTH WORDS...

TRACE gets a line for every batch of actions, before the first of them is carried out. WHEN is ``before`` or ``after``;
LABEL and NTH name the action, such as "Persist" 2. With ``tracer-before`` or ``tracer-after`` the tracer's process is
ended instead, if there is one, and the stop goes on. LABEL "-": none is ended, and the trace shows what there was.

The executor is wrapped from outside, in a program of the tests: nothing of it is in the product.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter

from bento.cli import main
from bento.engine.stop.driver import StopDriver
from bento.stop.actions import Action, RunStep

_trace, _when, _label, _nth = sys.argv[1:5]
_seen: Counter[str] = Counter()
_carry_out = StopDriver._carry_out


def label_of(action: Action) -> str:
    """What an action is called in a trace; clean-up steps are told apart."""
    name = type(action).__name__
    return f"{name}({action.step.value})" if isinstance(action, RunStep) else name


def _end_here(session: StopDriver, when: str, label: str) -> None:
    if (label, str(_seen[label])) != (_label, _nth):
        return
    if when == _when:
        os.kill(os.getpid(), signal.SIGKILL)
    if _when == f"tracer-{when}" and session._trace.tracer_pid:
        os.kill(session._trace.tracer_pid, signal.SIGKILL)


def carry_out(session: StopDriver, actions: tuple[Action, ...]) -> None:
    """Carry actions out one by one, and be killed at the one that was named."""
    labels = [label_of(action) for action in actions]
    if labels:
        fd = os.open(_trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, ("\t".join(labels) + "\n").encode())
        os.close(fd)
    for action, label in zip(actions, labels, strict=True):
        _seen[label] += 1
        _end_here(session, "before", label)
        _carry_out(session, (action,))
        _end_here(session, "after", label)


setattr(StopDriver, "_carry_out", carry_out)  # noqa: B010  # a method for a method
main.main(sys.argv[5:])
