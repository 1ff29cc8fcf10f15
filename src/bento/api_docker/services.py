"""What the server has for all requests."""

from __future__ import annotations

import asyncio

from bento.api_docker.streams.attaching import Attaching
from bento.api_docker.streams.execs import Execs
from bento.api_docker.streams.sampling import Sampling
from bento.config import Settings
from bento.kernel.file_watches import FileWatches
from bento.serving.engines import Engines
from bento.serving.hub import EventHub
from bento.serving.workers import Workers


class Services:
    """Made in the loop's thread, before the first request.

    Attributes:
        settings: of the engine.
        engines: threads that call it.
        watches: of files that grow, for all clients by one instance of inotify.
        workers: processes for what must outlive the server.
        events: what happens, followed once for all.
        execs: exec sessions, as clients know them.
        attaching: clients that are attached to what is still to be started.
        sampling: what containers take, for all clients that read it.
    """

    def __init__(self, settings: Settings, worker_argv: tuple[str, ...]) -> None:
        self.settings = settings
        self.watches = FileWatches()
        self.engines = Engines(settings, self.watches.watch)
        self.workers = Workers(settings, worker_argv)
        self.events = EventHub(settings)
        self.attaching = Attaching()
        self.execs = Execs(self.events)
        self.sampling = Sampling(self.engines)

    async def start(self) -> None:
        """Begin to follow the events. Raises what opening the engine raises."""
        asyncio.get_running_loop().add_reader(self.watches.fileno(), self.watches.dispatch)
        await self.events.start()
        self.execs.start()
        self.workers.start()

    def close(self) -> None:
        """Let go of everything; what threads and workers are at goes on. Idempotent."""
        self.sampling.close()
        self.execs.close()
        self.events.close()
        self.workers.close()
        self.engines.close()
