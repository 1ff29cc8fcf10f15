"""``GET /events``: what is logged, and what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from bento import clock
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Streamed
from bento.docker.event import document
from bento.engine.events.filters import Passes, parse_filters
from bento.model.event import Event
from bento.parse.times import parse_moment_ns
from bento.wiring import Engine


async def events(call: Call) -> Streamed:
    """Send events, a line of JSON each, without an end unless ``until`` says one."""
    query = call.query
    since, until = query.text("since"), query.text("until")
    now = clock.utc()
    since_ns = parse_moment_ns(since, now) if since else None
    until_ns = parse_moment_ns(until, now) if until else None
    filters = query.filters()
    passes = parse_filters(filters)
    return Streamed(chunks=_lines(call, passes, filters, since_ns, until_ns))


async def _lines(
    call: Call, passes: Passes, filters: tuple[str, ...], since_ns: int | None, until_ns: int | None
) -> AsyncIterator[bytes]:
    with call.services.events.subscribe(passes) as coming:  # before the log is read: none falls between
        seen = 0
        if since_ns is not None or until_ns is not None:

            def read(engine: Engine) -> list[Event]:
                with engine.events(since_ns=since_ns, until_ns=until_ns, filters=filters, follow=False) as found:
                    return list(found)

            for event in await call.ask(read):
                seen = max(seen, event.sequence)
                yield _line(event)
        while True:
            left_s = None if until_ns is None else (until_ns - clock.wall_ns()) / 1e9
            if left_s is not None and left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    new = await coming.next()
            except TimeoutError:
                return
            if new is None:
                return
            if new.sequence > seen:
                yield _line(new)


def _line(event: Event) -> bytes:
    return msgspec.json.encode(document(event)) + b"\n"
