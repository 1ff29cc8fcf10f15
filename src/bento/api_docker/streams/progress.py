"""A transfer that tells how far it is, as lines of JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, TypeVar

from bento import clock
from bento.api_docker.http.call import Call
from bento.api_docker.http.errors import message_of
from bento.api_docker.http.replies import Streamed, line
from bento.docker import image_api
from bento.errors import BentoError
from bento.model.transfer import OnProgress, TransferProgress
from bento.wiring import Engine

T = TypeVar("T")
Lines = Iterable[dict[str, Any]]

_EVERY_S: Final = 0.1
"""Between two lines of one layer that moves."""


async def transfer(
    call: Call,
    work: Callable[[Engine, OnProgress], T],
    *,
    first: Lines = (),
    last: Callable[[T], Lines] = lambda _: (),
    is_push: bool = False,
) -> Streamed:
    """Have a transfer made, and return what it tells as an answer.

    Raises what it raises before it has told anything; what goes wrong later is the last line. It goes on when the
    client leaves: what has come whole need not come again.
    """
    reports = _Reports()
    done = asyncio.ensure_future(call.services.engines.move(lambda engine: work(engine, reports)))
    done.add_done_callback(reports.end)
    await reports.news.wait()
    if done.done():
        done.result()
    return Streamed(chunks=_lines(done, reports, list(first), last, is_push=is_push), is_one=True)


class _Reports:
    """Takes reports from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, TransferProgress] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self.news = asyncio.Event()

    def __call__(self, report: TransferProgress) -> None:
        phase, at_s = self._told.get(report.digest, ("", 0.0))
        now_s = clock.mono_s()
        if phase == report.phase and (report.phase != "moving" or now_s - at_s < _EVERY_S):
            return
        self._told[report.digest] = (report.phase, now_s)
        self._loop.call_soon_threadsafe(self._take, report)

    def _take(self, report: TransferProgress) -> None:
        self._waiting[report.digest] = report  # a newer one of a layer takes the place of one that was not sent
        self.news.set()

    def end(self, _: object) -> None:
        """Wake what waits for the end."""
        self.news.set()

    def taken(self) -> list[TransferProgress]:
        """Return what has come since the last call."""
        self.news.clear()
        found, self._waiting = list(self._waiting.values()), {}
        return found


async def _lines(
    done: asyncio.Future[T],
    reports: _Reports,
    first: list[dict[str, Any]],
    last: Callable[[T], Lines],
    *,
    is_push: bool,
) -> AsyncIterator[bytes]:
    for each in first:
        yield line(each)
    is_over = False
    while not is_over:
        is_over = done.done()  # asked before: what was told until then is still sent
        for report in reports.taken():
            yield line(image_api.progress(report, is_push=is_push))
        if not is_over and not done.done():
            await reports.news.wait()
    try:
        for each in last(done.result()):
            yield line(each)
    except BentoError as error:
        yield line(image_api.failure(message_of(error)))
