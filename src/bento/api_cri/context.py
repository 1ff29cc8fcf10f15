"""What all calls have: threads that call the engine, workers, events, the streaming server."""

from __future__ import annotations

from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from bento.config import Settings
from bento.serving.engines import Engines
from bento.serving.hub import EventHub
from bento.serving.workers import Workers
from bento.streaming.server import StreamingServer


class Context(Struct, frozen=True, kw_only=True):
    """Made in the loop's thread, before the first call. ``version``: of the interface that the client speaks."""

    settings: Settings
    engines: Engines
    workers: Workers
    events: EventHub
    streaming: StreamingServer
    pinned_images: tuple[str, ...] = ()  # full names, which are not to be collected
    version: str = "v1"

    def of(self, version: str) -> Self:
        """Return the same for a call of another version."""
        return self if version == self.version else replace(self, version=version)
