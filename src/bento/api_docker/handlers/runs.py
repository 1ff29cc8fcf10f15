"""A job of a worker whose answer a client reads as it comes. It is broken off when that client leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from bento.api_docker.handlers.jobs import JobFailed
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Streamed, line
from bento.api_docker.jobs import Task
from bento.api_docker.streams.pipes import write_all
from bento.docker import image_api
from bento.engine.base.worker import Message
from bento.serving.readiness import read_now, readable
from bento.serving.workers import Work


async def run(call: Call, task: Task, *, has_body: bool = False) -> Streamed:
    """Have a worker do it, with the body of the request where it takes one; return the answer, once that begins.

    Raises JobFailed for what goes wrong before, ConnectionError when the client leaves.
    """
    made = await _Run.begin(call, task, has_body=has_body)
    try:
        if has_body:
            await made.send_body()
        await made.first()
    except BaseException:
        made.close()
        raise
    return Streamed(chunks=made.chunks(), abandon=made.close, is_one=True)


class _Run:
    """One of them. ``close`` breaks it off, where it is not over."""

    def __init__(self, call: Call, work: Work, body: int, answer: int) -> None:
        self._call, self._work = call, work
        self._body, self._answer = body, answer
        self._head = b""
        self._messages: list[Message] | None = None

    @classmethod
    async def begin(cls, call: Call, task: Task, *, has_body: bool) -> _Run:
        answer, output = os.pipe2(os.O_CLOEXEC)
        theirs, body = os.pipe2(os.O_CLOEXEC) if has_body else (-1, -1)
        given = (theirs, output) if has_body else (output,)
        for fd in (answer, *((body,) if has_body else ())):
            os.set_blocking(fd, False)
        try:
            work = await call.services.workers.hand_over(task, given)
        except BaseException:
            os.close(answer)
            if has_body:
                os.close(body)
            raise
        finally:
            for fd in given:
                os.close(fd)
        return cls(call, work, body, answer)

    async def send_body(self) -> None:
        """Pass the body on, and say that it was whole: one that is cut off is none."""
        try:
            async for chunk in self._call.body.chunks():
                if not await write_all(self._body, chunk):
                    return  # it has failed, and says so
            self._call.services.workers.say_whole(self._work)
        finally:
            os.close(self._body)

    async def first(self) -> None:
        """Wait for the beginning of the answer, while the client is there."""
        reading = asyncio.ensure_future(self._begun())
        leaving = asyncio.ensure_future(self._call.body.left())
        try:
            await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise ConnectionResetError("the client has left")
            reading.result()
        finally:
            for task in (reading, leaving):
                task.cancel()
            await asyncio.wait((reading, leaving))

    async def _begun(self) -> None:
        self._head = await self._next()
        if not self._head:
            for message in await self._reports():
                if message.kind == "failed":
                    raise JobFailed(message)

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._head:
            yield self._head
            self._head = await self._next()
        if error := await self._failure():
            yield line(image_api.failure(error))

    async def _next(self) -> bytes:
        while (data := read_now(self._answer)) is None:
            await readable(self._answer)
        return data

    async def _reports(self) -> list[Message]:
        if self._messages is None:
            self._messages = [message async for message in self._call.services.workers.reports(self._work)]
        return self._messages

    async def _failure(self) -> str:
        """Return what kept it from saying by itself how it has ended; "": nothing."""
        messages = await self._reports()
        if any(message.kind == "ended" for message in messages):
            return ""
        failed = [message.error for message in messages if message.kind == "failed"]
        return failed[0] if failed else "the process that did the work was killed before it was done"

    def close(self) -> None:
        """Idempotent."""
        fd, self._answer = self._answer, -1
        if fd >= 0:
            os.close(fd)
            self._call.services.workers.break_off(self._work)
