"""Attach: the streams of a container that runs, for a client. The container does not depend on it."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any, Final

from bento import log
from bento.engine.lifecycle.attachment import Attachment
from bento.engine.lifecycle.start import Started
from bento.errors import BentoError
from bento.model.terminal import AttachOptions
from bento.serving.readiness import read_now, readable
from bento.streaming.commands import copy_typed
from bento.streaming.host import Host
from bento.streaming.links import cancel
from bento.streaming.remote import Streams
from bento.streaming.requests import AttachRequest
from bento.streaming.sizes import Sizes
from bento.streaming.status import Outcome

_OF_STDERR: Final = 3  # conmon's number; 2, and all of a terminal, is stdout
_LEFT_OUT: Final = 0


async def run(host: Host, request: AttachRequest, streams: Streams) -> None:
    """Attach to a container until it has ended; leave it when this is cancelled."""
    options = AttachOptions(has_input=request.stdin)
    try:
        started = await host.engines.act(lambda engine: engine.attach(request.container_id, options), _leave)
    except BentoError as error:
        await streams.finish(Outcome(failure=f"error attaching to container: {error}"))
        return
    try:
        if started.attachment is not None:
            await _relay(started.attachment, streams)
    finally:
        _leave(started)
    await streams.finish(Outcome())


def _leave(started: Started) -> None:
    if started.attachment is not None:
        started.attachment.close()
    if started.main_fd is not None:
        os.close(started.main_fd)


async def _relay(attachment: Attachment, streams: Streams) -> None:
    """Copy both ways until the container has ended."""
    others: list[asyncio.Future[Any]] = []
    if streams.resize is not None:
        others.append(asyncio.ensure_future(Sizes(streams.resize).follow(attachment.resize)))
    if streams.stdin is not None:
        others.append(asyncio.ensure_future(copy_typed(streams.stdin, attachment)))
    try:
        await _copy_output(attachment, streams)
    finally:
        await cancel(*others)


async def _copy_output(attachment: Attachment, streams: Streams) -> None:
    """Pass the output on until the container's monitor has ended."""
    fd = attachment.output_fd
    if fd is None:
        return
    os.set_blocking(fd, False)
    while (packet := read_now(fd)) != b"":
        if packet is None:
            await readable(fd)
        elif packet[0] == _LEFT_OUT:
            log.warning(f"a client was too slow: {packet[1:].decode(errors='replace')} bytes of output are left out")
        else:
            stream = streams.stderr if packet[0] == _OF_STDERR else streams.stdout
            if stream is not None:
                with suppress(ConnectionError):  # it wants no more of this one; when it has left, this is cancelled
                    await stream.write(packet[1:])
