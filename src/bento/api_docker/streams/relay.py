"""Between a client's connection and the streams of a container, or of an exec session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from bento.api_docker.streams.frames import STDERR, STDOUT, Frames
from bento.engine.lifecycle.attachment import Attachment
from bento.engine.lifecycle.exec_ import Attached
from bento.serving.attachments import output_of
from bento.serving.readiness import read_now, readable

Send = Callable[[bytes], Awaitable[None]]


async def copy_attachment(attachment: Attachment, frames: Frames, send: Send) -> None:
    """Pass a container's output on until its monitor has ended."""
    async with aclosing(output_of(attachment)) as output:
        async for is_stderr, data in output:
            if packed := frames.pack(STDERR if is_stderr else STDOUT, data):
                await send(packed)


async def copy_exec(running: Attached, frames: Frames, send: Send) -> None:
    """Pass the output of a command on until it has ended. What it has left behind is not waited for."""
    outputs = {running.stdout_fd: STDOUT} | ({} if running.stderr_fd is None else {running.stderr_fd: STDERR})
    for fd in outputs:
        os.set_blocking(fd, False)
    while (ready := await readable(*outputs, running.status_fd)) in outputs:
        await _copy_some(ready, outputs, frames, send)
    for fd in tuple(outputs):
        while await _copy_some(fd, outputs, frames, send):
            pass


async def _copy_some(fd: int | None, outputs: dict[int, int], frames: Frames, send: Send) -> bool:
    """Pass on what there is now; return whether there may be more."""
    if fd is None:
        return False
    data = read_now(fd)
    if data == b"":
        del outputs[fd]
    elif data and (packed := frames.pack(outputs[fd], data)):
        await send(packed)
    return bool(data)


async def relay(output: Coroutine[Any, Any, None], typed: Coroutine[Any, Any, bool] | None) -> bool:
    """Copy both ways until the output has ended; return whether the client has left by the detach keys."""
    copying = asyncio.ensure_future(output)
    typing = asyncio.ensure_future(typed) if typed is not None else None
    tasks: list[asyncio.Future[Any]] = [copying, *([typing] if typing is not None else [])]
    try:
        while not copying.done():
            await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
            if typing is not None and typing.done() and typing.result():
                return True
        copying.result()
        return False
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
