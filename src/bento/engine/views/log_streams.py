"""``logs`` of several containers at once."""

from __future__ import annotations

import heapq
from _queue import SimpleQueue
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from bento.errors import BentoError, as_bento_error

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.views.logs import LogLine

_Named = tuple[str, "LogLine"]
_OnError = Callable[[BentoError], None]


def merged(streams: Mapping[str, Iterator[LogLine]], on_error: _OnError) -> Iterator[_Named]:
    """Yield the lines of logs that have an end, the oldest first, each with the name of its container.

    Of one log alone they come in its own order, and it may have no end.
    """
    return heapq.merge(
        *(_named(name, lines, on_error) for name, lines in streams.items()), key=lambda each: each[1].time
    )


def followed(drivers: Drivers, streams: Mapping[str, Iterator[LogLine]], on_error: _OnError) -> Iterator[_Named]:
    """Yield the lines of logs as they come, until the last log has ended. Blocks, woken by the kernel.

    Each log is followed by a thread, which ends with it.
    """
    queue: SimpleQueue[_Named | None] = SimpleQueue()

    def read(each: tuple[str, Iterator[LogLine]]) -> None:
        for item in _named(*each, on_error):
            queue.put(item)
        queue.put(None)

    for each in streams.items():
        drivers.start_thread(read, each)
    left = len(streams)
    while left:
        item = queue.get()
        if item is None:
            left -= 1
        else:
            yield item


def _named(name: str, lines: Iterator[LogLine], on_error: _OnError) -> Iterator[_Named]:
    try:
        for line in lines:
            yield name, line
    except (BentoError, OSError) as error:
        on_error(as_bento_error(error))
