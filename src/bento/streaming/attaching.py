"""Attach: the streams of a container that runs, for a client. The container does not depend on it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Any

from bento.engine.lifecycle.attachment import Attachment
from bento.errors import BentoError
from bento.model.terminal import AttachOptions
from bento.serving.attachments import close, output_of
from bento.streaming.commands import copy_typed
from bento.streaming.host import Host
from bento.streaming.links import cancel
from bento.streaming.remote import Streams
from bento.streaming.requests import AttachRequest
from bento.streaming.sizes import Sizes
from bento.streaming.status import Outcome


async def run(host: Host, request: AttachRequest, streams: Streams) -> None:
    """Attach to a container until it has ended; leave it when this is cancelled."""
    options = AttachOptions(has_input=request.stdin)
    try:
        started = await host.engines.act(lambda engine: engine.attach(request.container_id, options), close)
    except BentoError as error:
        await streams.finish(Outcome(failure=f"error attaching to container: {error}"))
        return
    try:
        if started.attachment is not None:
            await _relay(started.attachment, streams)
    finally:
        close(started)
    await streams.finish(Outcome())


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
    async with aclosing(output_of(attachment)) as output:
        async for is_stderr, data in output:
            stream = streams.stderr if is_stderr else streams.stdout
            if stream is not None:
                with suppress(ConnectionError):  # it wants no more of this one; when it has left, this is cancelled
                    await stream.write(data)
