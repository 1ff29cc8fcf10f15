"""What the engine writes to a descriptor, or reads from one, as the body of an answer, or of a request.

A thread of a pool of its own is at the other end of a pipe. A client that does not read, or does not send, has that
thread wait, up to a limit, and holds up other archives at most.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, TypeVar

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Headers, Streamed
from bento.serving.readiness import read_now, readable, writable
from bento.wiring import Engine

T = TypeVar("T")

STALL_LIMIT_S: Final = 600.0
"""So long a client may take nothing of an archive."""


async def outflow(
    call: Call, write: Callable[[Engine, int], object], *, content_type: str, headers: Headers = ()
) -> Streamed:
    """Return what ``write`` writes to its descriptor as an answer. Raises what it raises before its first byte.

    What goes wrong later cuts the answer short: a client takes what has no end for none.
    """
    flow = _Outflow()
    flow.begin(call, write)
    try:
        await flow.first()
    except BaseException:
        flow.close()
        raise
    return Streamed(
        chunks=flow.chunks(),
        content_type=content_type,
        headers=headers,
        abandon=flow.close,
        is_one=True,
        stall_limit_s=STALL_LIMIT_S,
    )


class _Outflow:
    def __init__(self) -> None:
        self._fd, self._writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self._done: asyncio.Future[None] | None = None
        self._head: bytes | None = None

    def begin(self, call: Call, write: Callable[[Engine, int], object]) -> None:
        end = _End(self._writer)

        def work(engine: Engine) -> None:
            writer = end.take()
            try:
                write(engine, writer)
            except BrokenPipeError:
                return
            finally:
                os.close(writer)

        self._done = asyncio.ensure_future(call.services.engines.flow(work))
        self._done.add_done_callback(end.drop)

    async def first(self) -> None:
        """Wait for the first bytes, or the end. Raises what has come before them."""
        self._head = await self._next()
        if not self._head and self._done is not None:
            await self._done

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._head:
            yield self._head
            self._head = await self._next()
        if self._done is not None:
            await self._done

    async def _next(self) -> bytes:
        while (data := read_now(self._fd)) is None:
            await readable(self._fd)
        return data

    def close(self) -> None:
        """Read no more: what still writes gets an error. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class _End:
    """The end of a pipe that is for a thread: it takes it, or the loop closes it where no thread will."""

    def __init__(self, fd: int) -> None:
        self._fds = [fd]

    def take(self) -> int:
        """Return it: from now on it is the caller's to close. Raises ConnectionResetError where it was closed."""
        try:
            return self._fds.pop()
        except IndexError:
            raise ConnectionResetError("the client has left") from None

    def drop(self, _: object = None) -> None:
        """Close it, unless it was taken: there was no engine, or no thread. Idempotent."""
        with suppress(IndexError):
            os.close(self._fds.pop())


async def inflow(call: Call, read: Callable[[Engine, int], T]) -> T:
    """Have ``read`` read the body of a request from its descriptor; return what it returns, raise what it raises."""
    fd, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)

    end = _End(fd)

    def work(engine: Engine) -> T:
        reader = end.take()
        try:
            return read(engine, reader)
        finally:
            os.close(reader)

    done = asyncio.ensure_future(call.services.engines.flow(work))
    done.add_done_callback(end.drop)
    try:
        async for chunk in call.body.chunks():
            if not await write_all(writer, chunk):
                break  # it has read enough, or has failed
    except BaseException:
        done.add_done_callback(lambda done: done.cancelled() or done.exception())  # nothing is left to be told of it
        raise
    finally:
        os.close(writer)
    return await done


async def write_all(fd: int, data: bytes) -> bool:
    """Write all of it to a descriptor that does not block; False where nothing reads it any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            await writable(fd)
        except BrokenPipeError:
            return False
    return True
