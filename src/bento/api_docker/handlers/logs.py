"""``GET /containers/ID/logs``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento import clock
from bento.api_docker.http.call import Call
from bento.api_docker.http.query import Query
from bento.api_docker.http.replies import Streamed
from bento.api_docker.streams.frames import STDERR, STDOUT, Frames
from bento.engine.views.logs import check_kept
from bento.errors import UsageError
from bento.model.container import Container
from bento.parse.times import parse_since, parse_tail
from bento.serving.readiness import readable

if TYPE_CHECKING:
    from bento.engine.views.log_stream import LogStream
    from bento.engine.views.logs import LogLine

_LOOK_AGAIN_S: Final = 0.2  # where nothing wakes


class Line(Struct, frozen=True):
    """A line of a stream, by Docker's number."""

    number: int
    time: str
    text: bytes


async def logs(call: Call) -> Streamed:
    """Send the output: what is kept, and with ``follow`` what comes, until the container ends."""
    query = call.query
    stdout, stderr, follow = query.flag("stdout"), query.flag("stderr"), query.flag("follow")
    if not (stdout or stderr):
        raise UsageError("Bad parameters: you must choose at least one stream")
    container = await call.ask(lambda engine: engine.get(call.ref))
    since, until = _moment(query, "since"), _moment(query, "until")
    tail = parse_tail(query.text("tail") or "all")
    if follow and container.spec.log.driver == "journald":
        raise UsageError(
            "the journal is not followed by the API", hint=f"journalctl -f CONTAINER_ID_FULL={container.id}"
        )
    check_kept(container)
    frames = Frames(is_terminal=container.spec.streams.tty, stdout=stdout, stderr=stderr)
    # Opened before the head of the answer: with that, clients go on, and may remove the container.
    output = await _Output.open(call, container, follow=follow, tail=tail, since=since, until=until)
    content_type = frames.content_type(call.version) if call.version >= (1, 42) else ""
    chunks = _packed(output.lines(), frames, with_time=query.flag("timestamps"))
    return Streamed(chunks=chunks, content_type=content_type, abandon=output.abandon)


def _moment(query: Query, name: str) -> datetime | None:
    """0, as clients write it, is not given."""
    text = query.text(name)
    return parse_since(text, clock.utc()) if text not in ("", "0") else None


async def _packed(lines: AsyncIterator[Line], frames: Frames, *, with_time: bool) -> AsyncIterator[bytes]:
    async for line in lines:
        text = f"{in_utc(line.time)} ".encode() + line.text if with_time else line.text
        yield frames.pack(line.number, text)


def in_utc(time: str) -> str:
    """Return a time of a log as Docker writes it: the nanoseconds stay, and the zone is Z."""
    moment = datetime.fromisoformat(time[:19] + time[29:]).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}{time[19:29]}Z"


async def lines_of(call: Call, container: Container) -> AsyncIterator[Line]:
    """Yield what is kept of a container's output."""
    async for line in (await _Output.open(call, container)).lines():
        yield line


class _Output:
    """What is kept of a container's output, and what comes."""

    def __init__(self, call: Call, kept: list[LogLine], stream: LogStream | None, until: datetime | None) -> None:
        self._call, self._kept, self._stream, self._until = call, kept, stream, until

    @classmethod
    async def open(
        cls,
        call: Call,
        container: Container,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> _Output:
        if container.spec.log.driver == "journald":
            found = await call.act(lambda engine: list(engine.logs(container.id, tail=tail, since=since, until=until)))
            return cls(call, found, None, until)
        stream = await call.act(
            lambda engine: engine.log_stream(container.id, follow=follow, tail=tail, since=since, until=until),
            lambda stream: stream.close(),
        )
        return cls(call, [], stream, until)

    async def lines(self) -> AsyncIterator[Line]:
        for each in self._kept:
            yield _line(each)
        stream, self._stream = self._stream, None
        if stream is None:
            return
        reading: asyncio.Future[list[LogLine]] | None = None
        try:
            while not stream.is_over:
                reading = asyncio.ensure_future(self._call.ask(lambda engine: stream.read()))
                batch = await asyncio.shield(reading)
                for each in batch:
                    yield _line(each)
                if batch or stream.is_over:
                    continue
                if not await self._more(stream):
                    return
        finally:
            if reading is not None and not reading.done():  # a thread is at it
                reading.add_done_callback(lambda done: _close(stream, done))
            else:
                stream.close()

    async def _more(self, stream: LogStream) -> bool:
        """Wait until there may be more; return whether any of it is asked for."""
        fds = stream.filenos
        left_s = None if self._until is None else max(0.0, (self._until - clock.utc()).total_seconds())
        ready = await readable(*fds, timeout_s=_LOOK_AGAIN_S if fds == fds[:1] else left_s)
        if ready is not None:
            stream.clear(ready)
        return ready is not None or left_s != 0.0

    def abandon(self) -> None:
        """Let go of what was opened and never read. Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _close(stream: LogStream, reading: asyncio.Future[list[LogLine]]) -> None:
    """Close what nothing reads any more; what was wrong with it is told to nothing."""
    if not reading.cancelled():
        reading.exception()
    stream.close()


def _line(line: LogLine) -> Line:
    return Line(STDERR if line.stream == "stderr" else STDOUT, line.time, line.text)
