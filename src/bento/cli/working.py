"""Has a worker do what goes on when the command is ended (rule S6): one that waits for work, else a fork."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from bento.cli.context import Context
from bento.engine.base import worker
from bento.engine.base.worker import Emit, Message
from bento.serving import jobs

Task = jobs.Stop | jobs.Restart | jobs.Remove

hand_over: Callable[[bytes], int | None] | None = None
"""Hands a job to a worker that waits, and returns where it reports. None: none waits, and nothing has begun.

A child of the zygote sets it."""


def in_worker(context: Context, task: Task, *, tick_s: float | None = None) -> Iterator[Message]:
    """Have a worker begin with a task; see ``bento.engine.base.worker.in_worker``."""
    if hand_over is not None:
        with suppress(UnicodeEncodeError):  # a name of any bytes
            reports = hand_over(jobs.encode(context.settings, task, context.verb))
            if reports is not None:
                return _answers(worker.messages(reports, tick_s=tick_s), len(task.refs))

    def work(emit: Emit) -> None:
        with context.engine() as engine:
            jobs.do(engine, task, emit)

    return worker.in_worker(work, tick_s=tick_s)


def _answers(messages: Iterator[Message], count: int) -> Iterator[Message]:
    """Yield until so many containers were answered for: the worker closes what it has open without being waited for."""
    for message in messages:
        yield message
        count -= message.kind in ("ended", "failed")
        if not count:
            return
