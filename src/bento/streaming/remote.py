"""The streams of exec and attach, told apart by their types, whatever carries them."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from bento.spdy.frames import Status
from bento.streaming.links import Stream
from bento.streaming.protocols import Remote
from bento.streaming.requests import AttachRequest, ExecRequest
from bento.streaming.spdy_link import SpdyLink, SpdyStream
from bento.streaming.status import Outcome, encode

OPENING_LIMIT_S: Final = 30.0
"""For a client to open all streams that its request has asked for."""


class Streams(Struct, frozen=True):
    """Those of one session. None: the request has asked for none, or the client's version has none."""

    remote: Remote
    error: Stream
    stdin: Stream | None = None
    stdout: Stream | None = None
    stderr: Stream | None = None
    resize: Stream | None = None

    async def finish(self, outcome: Outcome) -> None:
        """End the output, tell how it has ended, and throw away what still comes. Raises ConnectionError."""
        streams = [each for each in (self.stdin, self.stdout, self.stderr, self.resize) if each is not None]
        for each in streams:
            each.end()
        for each in (*streams, self.error):
            each.drop()
        if document := encode(outcome, self.remote):
            await self.error.write(document)
        self.error.end()


def wanted(request: ExecRequest | AttachRequest, remote: Remote) -> frozenset[str]:
    """Return the types of the streams that a client opens for a request."""
    given = {
        "error": True,
        "stdin": request.stdin,
        "stdout": request.stdout,
        "stderr": request.stderr and not request.tty,
        "resize": request.tty and remote.has_resize,
    }
    return frozenset(name for name, is_wanted in given.items() if is_wanted)


class Gathering:
    """Waits for the streams that a client opens over SPDY. What it opens beyond that is refused."""

    def __init__(self, names: frozenset[str]) -> None:
        self._missing = set(names)
        self._found: dict[str, Stream] = {}
        self._is_complete = asyncio.Event()
        self.link: SpdyLink | None = None

    def take(self, stream: SpdyStream) -> None:
        """Take a stream that was opened, or refuse it."""
        name = stream.headers.get("streamtype", "")
        if name not in self._missing or self.link is None:
            stream.reset(Status.REFUSED_STREAM)
            return
        self._missing.discard(name)
        self._found[name] = stream
        self.link.accept(stream)
        if name in ("stdout", "stderr", "error"):
            stream.drop()  # nothing is read of these
        if not self._missing:
            self._is_complete.set()

    async def complete(self, remote: Remote) -> Streams:
        """Return all of them. Raises TimeoutError when they are not opened in time."""
        async with asyncio.timeout(OPENING_LIMIT_S):
            await self._is_complete.wait()
        return Streams(remote, **self._found)
