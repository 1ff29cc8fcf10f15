"""The Container Runtime Interface beside Docker's API, on the same loop, threads and workers."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bento import log
from bento.errors import BentoError, MissingTool
from bento.lazy import LazyModule
from bento.model import reference
from bento.serving import jobs

if TYPE_CHECKING:
    from bento.api_cri import context, server
    from bento.api_docker.services import Services
    from bento.streaming import server as streaming
    from bento.wiring import Engine
else:  # what they import is there with bento[cri] alone
    context, server = (LazyModule(f"bento.api_cri.{name}") for name in ("context", "server"))
    streaming = LazyModule("bento.streaming.server")

_PACKAGES = ("grpclib", "google.protobuf", "cri_api", "wsproto")


class Cri:
    """The interface's two servers: of calls, and of the streams that calls hand out URLs for."""

    def __init__(self, services: Services, pinned: list[str]) -> None:
        """``pinned``: names of images that the kubelet is not to collect. Raises UsageError, MissingTool."""
        _check_packages()
        self._services = services
        self._tidying: asyncio.Future[None] | None = None
        self._streaming = streaming.StreamingServer(services.engines, _open_network)
        self._server = server.CriServer(
            context.Context(
                settings=services.settings,
                engines=services.engines,
                workers=services.workers,
                events=services.events,
                streaming=self._streaming,
                pinned_images=tuple(str(reference.parse(name)) for name in pinned),
            )
        )

    async def listen(self, listener: socket.socket) -> None:
        """Serve on a unix socket."""
        await self._streaming.start()
        await self._server.listen(listener)
        self._tidying = asyncio.ensure_future(self._tidy())

    async def _tidy(self) -> None:
        """Remove what the server before this one has left if it was killed: on a node no person does it.

        A process of its own does it, whose memory goes with it.
        """
        try:
            async for message in self._services.workers.run(jobs.Tidy()):
                if message.error:
                    log.warning(f"what was left over by killed commands is not removed: {message.error}")
        except (BentoError, OSError) as error:
            log.warning(f"what was left over by killed commands is not removed: {error}")

    async def end(self) -> None:
        """Accept no more, and end what is under way with clients; what they began goes on."""
        if self._tidying is not None:
            self._tidying.cancel()
        await self._streaming.close()
        await self._server.end()


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            found = find_spec(name.partition(".")[0])
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise MissingTool(
                f"serve --cri-socket needs the Python package {name.partition('.')[0]}, which is missing",
                hint="install bento[cri]",
            )


def _open_network(engine: Engine, pod_id: str) -> int | None:
    """Return the network namespace of a pod as an open file; None: it is the machine's."""
    return engine.open_pod_network(pod_id)
