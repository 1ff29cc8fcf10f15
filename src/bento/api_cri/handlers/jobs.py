"""Following a job of a worker, which goes on when the client leaves, or the server ends."""

from __future__ import annotations

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento import log
from bento.api_cri.context import Context
from bento.api_cri.errors import of_code
from bento.errors import AlreadyStopped, NotFound
from bento.serving.jobs import Remove, RemovePod, Stop, StopPod

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
    raise GRPCError(Status.INTERNAL, "the process that did the work was killed before it was done")
