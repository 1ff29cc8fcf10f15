"""Exec: a command in a container, with the streams of a client."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any, Final

from bento.engine.lifecycle.exec_ import Attached
from bento.errors import BentoError, CommandNotExecutable, CommandNotFound
from bento.model.exec import ExecOptions
from bento.serving.feeding import Input, copy_input
from bento.serving.readiness import read_now, readable
from bento.streaming.host import Host
from bento.streaming.links import Stream, cancel
from bento.streaming.remote import Streams
from bento.streaming.requests import ExecRequest
from bento.streaming.sizes import Sizes
from bento.streaming.status import Outcome

_CODES: Final[dict[type[BentoError], int]] = {CommandNotFound: 127, CommandNotExecutable: 126}


async def run(host: Host, request: ExecRequest, streams: Streams) -> None:
    """Run a command, and tell the client how it has ended. It goes on when this is cancelled, as with other runtimes:
    its input ends, unless that is a terminal, and its output is read and lost.
    """
    sizes = Sizes(streams.resize) if streams.resize is not None else None
    size = await sizes.first() if sizes is not None else None
    options = ExecOptions(command=request.command, has_input=request.stdin, tty=request.tty, size=size)
    try:
        running = await host.engines.act(
            lambda engine: engine.exec(request.container_id, options),
            lambda late: host.in_background(_drain(host, late)),
        )
    except BentoError as error:
        await streams.finish(await _refusal(error, streams))
        return
    try:
        if size is not None:
            running.resize(size)  # not every runtime has heeded it
        await _relay(running, streams, sizes)
        code = await _code(host, running)
    except BaseException:
        host.in_background(_drain(host, running))
        raise
    await streams.finish(code)


async def _refusal(error: BentoError, streams: Streams) -> Outcome:
    """Return what a client is told of a command that cannot be run: a shell's exit status, with the words as output."""
    code = _CODES.get(type(error))
    if code is None:
        return Outcome(failure=f"error executing command in container: {error}")
    for stream in (streams.stderr, streams.stdout):
        if stream is not None:
            await _sent(stream, f"{error}\n".encode())
            break
    return Outcome(code)


async def _relay(running: Attached, streams: Streams | None, sizes: Sizes | None) -> None:
    """Copy both ways until the command has ended and its output has come. What it has left behind is not waited for.

    ``streams`` None: the client has left.
    """
    for fd in (running.stdin_fd, running.stdout_fd, running.stderr_fd):
        if fd is not None:
            os.set_blocking(fd, False)
    over = asyncio.ensure_future(readable(running.status_fd))
    outputs = [copy_output(running.stdout_fd, over, streams.stdout if streams else None)]
    if running.stderr_fd is not None:
        outputs.append(copy_output(running.stderr_fd, over, streams.stderr if streams else None))
    copying: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in outputs]
    others: list[asyncio.Future[Any]] = []
    if sizes is not None:
        others.append(asyncio.ensure_future(sizes.follow(running.resize)))
    if streams is not None and streams.stdin is not None:
        others.append(asyncio.ensure_future(copy_typed(streams.stdin, running)))
    try:
        await asyncio.gather(*copying, over)
    finally:
        await cancel(over, *copying, *others)


async def copy_typed(stream: Stream, target: Input) -> None:
    """Pass on what a client sends, up to its end; a stream that is reset is at its end."""
    try:
        await copy_input(stream, target)
    except ConnectionError:
        target.end_input()


async def copy_output(fd: int, over: asyncio.Future[Any], stream: Stream | None) -> None:
    """Pass on what a descriptor has until its end, or until nothing more is there and the process is over.

    ``stream`` None: nothing wants it.
    """
    while True:
        is_over = over.done()  # asked before: what was written until then is still there
        data = read_now(fd)
        if data:
            if stream is not None and not await _sent(stream, data):
                stream = None
        elif data == b"" or is_over:
            return
        else:
            more = asyncio.ensure_future(readable(fd))
            try:
                await asyncio.wait((more, over), return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel(more)


async def _sent(stream: Stream, data: bytes) -> bool:
    """Send some output; return False when the stream is gone: a client may want no more of it, and wait for the end."""
    try:
        await stream.write(data)
    except ConnectionError:
        return False
    return True


async def _code(host: Host, running: Attached) -> Outcome:
    try:
        return Outcome(await host.engines.act(lambda engine: engine.wait_exec(running)))
    except BentoError as error:
        return Outcome(failure=str(error))


async def _drain(host: Host, running: Attached) -> None:
    """Have what goes on without its client not fail by a closed pipe."""
    if running.stderr_fd is not None:
        running.end_input()
    with suppress(OSError):
        await _relay(running, None, None)
    await _code(host, running)
