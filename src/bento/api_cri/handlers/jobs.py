"""Following a job of a worker: one that goes on when the client leaves, or the server ends, and one that does not."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento import log
from bento.api_cri.context import Context
from bento.api_cri.errors import of_code
from bento.engine.base.worker import Message
from bento.errors import AlreadyStopped, NotFound
from bento.serving.fetching import Fetch
from bento.serving.jobs import Remove, RemovePod, Stop, StopPod
from bento.serving.workers import Work

_KILLED: Final = "the process that did the work was killed before it was done"
_DONE = (AlreadyStopped.code, NotFound.code)
"""Errors that are none here: the container does not run, or is not there, as it is to be."""


async def done(context: Context, task: Stop | Remove | StopPod | RemovePod) -> None:
    """Have a worker do something, and return when it is done, or was done before. Raises GRPCError."""
    async for message in context.workers.run(task):
        if message.kind == "failed" and message.code not in _DONE:
            raise of_code(message.code, message.error)
        if message.kind in ("failed", "ended"):
            return
        if message.kind == "notice":
            log.warning(message.error)
    if context.workers.is_ended:
        raise GRPCError(Status.UNAVAILABLE, "the server ends; what was asked for goes on by itself")
    raise GRPCError(Status.INTERNAL, _KILLED)


async def waited_for(context: Context, task: Fetch) -> Message:
    """Have a worker do something for this client alone; return what it says of its end. Raises GRPCError.

    It is broken off when this is cancelled.
    """
    handing = asyncio.ensure_future(context.workers.hand_over(task, ()))
    handing.add_done_callback(lambda handed: handed.cancelled() or handed.exception())  # seen, if nothing waits for it
    try:
        work = await asyncio.shield(handing)
    except asyncio.CancelledError:
        handing.add_done_callback(partial(_give_up, context))
        raise
    try:
        async for message in context.workers.reports(work):
            if message.kind == "failed":
                raise of_code(message.code, message.error)
            if message.kind == "ended":
                return message
            log.warning(message.error)
    finally:
        context.workers.break_off(work)
    if context.workers.is_ended:
        raise GRPCError(Status.UNAVAILABLE, "the server ends; what was asked for was broken off")
    raise GRPCError(Status.INTERNAL, _KILLED)


def _give_up(context: Context, handed: asyncio.Future[Work]) -> None:
    if not handed.cancelled() and handed.exception() is None:
        context.workers.break_off(handed.result())
