"""Builds, by the classic builder's endpoint: each in a process of its own, which ends when its client leaves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from bento.api_docker.bodies.builds import read_build
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, Streamed, json, line
from bento.api_docker.streams.pipes import write_all
from bento.docker import image_api
from bento.errors import UsageError
from bento.serving.jobs import Build
from bento.serving.readiness import read_now, readable
from bento.serving.workers import Worker


async def build(call: Call) -> Streamed:
    """``POST /build``: the body is the context, a tar archive, plain or compressed."""
    asked = read_build(call.query, call.header("x-registry-config"))
    task = Build(options=asked.options, quiet=asked.quiet, auths=asked.auths)
    run = await _Run.begin(call, task)
    try:
        await run.send_context()
    except BaseException:
        run.close()
        raise
    return Streamed(chunks=run.chunks(), abandon=run.close, is_one=True)


class _Run:
    """One build. ``close`` breaks it off, where it is not over."""

    def __init__(self, call: Call, worker: Worker, context: int, answer: int) -> None:
        self._call, self._worker = call, worker
        self._context, self._answer = context, answer

    @classmethod
    async def begin(cls, call: Call, task: Build) -> _Run:
        theirs, context = os.pipe2(os.O_CLOEXEC)
        answer, output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(context, False)
        os.set_blocking(answer, False)
        try:
            worker = await call.services.workers.hand_over(task, (theirs, output))
        except BaseException:
            os.close(context)
            os.close(answer)
            raise
        finally:
            os.close(theirs)
            os.close(output)
        return cls(call, worker, context, answer)

    async def send_context(self) -> None:
        try:
            async for chunk in self._call.body.chunks():
                if not await write_all(self._context, chunk):
                    break  # it has failed, and says so
        finally:
            os.close(self._context)

    async def chunks(self) -> AsyncIterator[bytes]:
        while data := await self._next():
            yield data
        if error := await self._failure():
            yield line(image_api.failure(error))

    async def _next(self) -> bytes:
        while (data := read_now(self._answer)) is None:
            await readable(self._answer)
        return data

    async def _failure(self) -> str:
        """Return what kept it from saying by itself how it has ended; "": nothing."""
        messages = [message async for message in self._call.services.workers.reports(self._worker)]
        if any(message.kind == "ended" for message in messages):
            return ""
        failed = [message.error for message in messages if message.kind == "failed"]
        return failed[0] if failed else "the process that built was killed before it was done"

    def close(self) -> None:
        """Idempotent."""
        fd, self._answer = self._answer, -1
        if fd >= 0:
            os.close(fd)
            self._call.services.workers.break_off(self._worker)


async def prune(call: Call) -> Reply:
    """``POST /build/prune``: all that builds have kept."""
    query = call.query
    if query.filters() or query.number("keep-storage"):
        raise UsageError("what builds have kept goes as a whole", hint="omit filters and keep-storage")
    freed_bytes = await call.act(lambda engine: engine.prune_builder())
    return json({"CachesDeleted": None, "SpaceReclaimed": freed_bytes})
