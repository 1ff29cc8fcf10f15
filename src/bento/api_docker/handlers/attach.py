"""``POST /containers/ID/attach`` and ``resize``: the streams of a container on the connection of a client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bento.api_docker.handlers.logs import lines_of
from bento.api_docker.http.call import Call
from bento.api_docker.http.duplex import Duplex
from bento.api_docker.http.replies import Reply, Upgrade
from bento.api_docker.http.websocket import Messages, asked_of
from bento.api_docker.streams.attaching import Pending
from bento.api_docker.streams.frames import Frames
from bento.api_docker.streams.relay import copy_attachment, relay
from bento.engine.lifecycle.start import Started
from bento.errors import UsageError, WrongState
from bento.model.container import Container, Status
from bento.model.terminal import AttachOptions, WindowSize
from bento.parse import detach_keys
from bento.serving.attachments import close
from bento.serving.feeding import copy_input

if TYPE_CHECKING:
    from bento.streaming.websocket import WebSocket


async def attach(call: Call) -> Upgrade:
    """Attach to a container that runs, or that is to be started: then from its first byte on."""
    return await _attach(call, None)


async def attach_by_websocket(call: Call) -> Upgrade:
    """``GET /containers/ID/attach/ws``: the same over a WebSocket, whose messages are not told apart by stream."""
    return await _attach(call, asked_of(call))


async def _attach(call: Call, socket: WebSocket | None) -> Upgrade:
    query = call.query
    container = await call.ask(lambda engine: engine.get(call.ref))
    keys = detach_keys.parse(query.text("detachKeys") or detach_keys.DEFAULT)
    if container.status is Status.PAUSED:
        raise WrongState(f"container {container.id} is paused, unpause the container before attach")
    if container.status is Status.RESTARTING:
        raise WrongState(f"container {container.id} is restarting, wait until the container is running")
    frames = Frames(
        is_terminal=container.spec.streams.tty,
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        is_framed=socket is None,
    )
    session = _Session(call, container, frames, keys)
    kind = frames.content_type(call.version)
    if not query.flag("stream"):
        return Upgrade(run=session.log, content_type=kind, abandon=session.abandon, socket=socket)
    if container.status.is_live:
        session.started = await attached(call, container, has_input=session.has_input)
    else:
        session.pending = call.services.attaching.add(container.id, has_input=session.has_input)
    return Upgrade(run=session.run, content_type=kind, abandon=session.abandon, socket=socket)


class _Session:
    """One client's."""

    def __init__(self, call: Call, container: Container, frames: Frames, keys: bytes) -> None:
        self._call, self._container, self._frames = call, container, frames
        streams = container.spec.streams
        # As in Docker: an input that ends with its client is not left by keys, but a terminal is.
        self._keys = keys if streams.tty or not streams.stdin_once else b""
        self.has_input = call.query.flag("stdin") and streams.stdin_open
        self.started: Started | None = None
        self.pending: Pending | None = None

    async def run(self, duplex: Duplex) -> None:
        try:
            if self._call.query.flag("logs"):
                await self.log(duplex)
            if self.started is None:
                self.started = await self._begun()
            if self.started is not None and self.started.attachment is not None:
                await self._relay(duplex, self.started)
            duplex.end()
        finally:
            self.abandon()

    async def log(self, duplex: Duplex) -> None:
        """Send what was kept of the output before."""
        async for line in lines_of(self._call, self._container):
            await duplex.write(self._frames.pack(line.number, line.text))

    async def _relay(self, duplex: Duplex, started: Started) -> None:
        attachment = started.attachment
        assert attachment is not None
        output = copy_attachment(attachment, self._frames, duplex.write)
        typed = copy_input(duplex, attachment, self._keys) if self.has_input else None
        if typed is None and isinstance(duplex, Messages):
            typed = duplex.drained()
        if await relay(output, typed):
            self.started = None
            attachment.close()
            await self._call.act(lambda engine: engine.leave(started))

    async def _begun(self) -> Started | None:
        """Return what it is attached by once the container is started, by the server or by another process."""
        pending, container_id = self.pending, self._container.id
        assert pending is not None
        with self._call.services.events.subscribe(
            lambda event: event.actor == container_id and event.action in ("start", "destroy")
        ) as events:
            while True:
                news = asyncio.ensure_future(events.next())
                waits: list[asyncio.Future[Any]] = [news, pending.started]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if pending.is_taken or pending.started.done():
                    news.cancel()
                    return await pending.started
                event = news.result()
                if event is None or event.action == "destroy":
                    return None
                return await attached(self._call, self._container, has_input=self.has_input)

    def abandon(self) -> None:
        """Let go of everything. Idempotent."""
        started, self.started = self.started, None
        if started is not None:
            close(started)
        if self.pending is not None:
            self._call.services.attaching.remove(self._container.id, self.pending)


async def attached(call: Call, container: Container, *, has_input: bool) -> Started:
    """Attach to a container that runs. Raises WrongState."""
    return await call.act(lambda engine: engine.attach(container.id, AttachOptions(has_input=has_input)), close)


async def start_attached(call: Call, container: Container, pending: list[Pending]) -> None:
    """Start a container to which clients are attached already."""
    first, *others = pending
    options = AttachOptions(has_input=first.has_input, size=call.services.attaching.sizes.pop(container.id, None))
    try:
        started = await call.act(lambda engine: engine.start_attached(container.id, options, owns_exit=False))
    except BaseException:
        for each in pending:
            each.deliver(None)
        raise
    first.deliver(started)
    for each in others:
        try:
            each.deliver(await attached(call, container, has_input=each.has_input))
        except WrongState:  # it has ended already
            each.deliver(None)


def read_size(call: Call) -> WindowSize:
    """Return the size of a terminal that a request names. Raises UsageError."""
    rows, columns = call.query.number("h"), call.query.number("w")
    if rows is None or columns is None or not (0 <= rows <= 0xFFFF and 0 <= columns <= 0xFFFF):
        raise UsageError("bad size of a terminal", hint="give h and w")
    return WindowSize(rows, columns)


async def resize(call: Call) -> Reply:
    """``POST /containers/ID/resize``."""
    size = read_size(call)
    await call.act(lambda engine: engine.resize(call.ref, size))
    return Reply()
