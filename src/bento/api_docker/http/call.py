"""One request, as a handler is given it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct

from bento.api_docker.http.query import Query
from bento.errors import UsageError

if TYPE_CHECKING:
    from bento.api_docker.services import Services
    from bento.wiring import Engine

T = TypeVar("T")

DOCUMENT_MAX_BYTES: Final = 4 << 20
DOCUMENT_LIMIT_S: Final = 120.0
"""For all of a document to come, however many pieces it comes in."""


class Peer(Struct, frozen=True):
    """The process at the other end of a socket, as it was when it connected (SO_PEERCRED, unix(7)).

    ``pid`` 0: it is in another PID namespace. Over TCP there are an ``address`` and the ``subject`` of its certificate.
    """

    pid: int = 0
    uid: int = -1
    gid: int = -1
    subject: str = ""
    address: str = ""

    @property
    def shown(self) -> str:
        """How the log names it."""
        if self.address:
            return f"{self.subject or 'a client'} at {self.address}"
        return f"process {self.pid} of user {self.uid}"


class Body:
    """The body of a request, read as it comes, once."""

    def __init__(
        self, receive: Callable[[], Awaitable[bytes]], until_left: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._receive, self._until_left = receive, until_left

    async def left(self) -> None:
        """Return when the client has left, once the body is over; what it sends meanwhile is kept."""
        await (self._until_left() if self._until_left is not None else asyncio.Event().wait())

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield it in pieces. Raises ConnectionError when the client leaves in the middle."""
        while chunk := await self._receive():
            yield chunk

    async def whole(self, limit_bytes: int = DOCUMENT_MAX_BYTES) -> bytes:
        """Return all of it. Raises UsageError when it is more than ``limit_bytes``, TimeoutError."""
        found = bytearray()
        async with asyncio.timeout(DOCUMENT_LIMIT_S):
            while chunk := await self._receive():
                found += chunk
                if len(found) > limit_bytes:
                    raise UsageError(f"the body of this request is larger than {limit_bytes} bytes")
        return bytes(found)


class Call:
    """One request.

    Attributes:
        method, path: as they were sent; ``path`` without the version.
        version: of the API, that the client speaks.
        params: the parts of the path that the route names.
        query: what is behind the question mark.
        body: what the client sends.
        services: what the server has for all requests.
        wants_upgrade: whether the client asks for the connection to be handed over.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        version: tuple[int, int],
        params: dict[str, str],
        query: Query,
        headers: Mapping[str, str],
        body: Body,
        services: Services,
        peer: Peer,
    ) -> None:
        self.method, self.path, self.version, self.params = method, path, version, params
        self.query, self.headers, self.body = query, headers, body
        self.services, self.peer = services, peer

    @property
    def ref(self) -> str:
        """The container, image, network, volume or exec session that the path names."""
        return self.params["ref"]

    def header(self, name: str) -> str:
        """Return a header, by its name in small letters; "": not given."""
        return self.headers.get(name, "")

    async def read(self, kind: type[T]) -> T:
        """Return the body, which is JSON, as a record; its defaults where there is no body.

        Raises UsageError when it is something else, or too large.
        """
        data = await self.body.whole()
        try:
            return msgspec.json.decode(data or b"{}", type=kind)
        except msgspec.MsgspecError as error:
            raise UsageError(f"invalid JSON in the body: {error}") from None

    async def ask(self, work: Callable[[Engine], T]) -> T:
        """Have a thread look something up in the engine; for what waits for no lock of a container."""
        return await self.services.engines.ask(work)

    async def act(self, work: Callable[[Engine], T], undo: Callable[[T], object] | None = None) -> T:
        """Have a thread do something by the engine that may take its time. It goes on when this is cancelled.

        ``undo`` is then called, in the loop, with what came of it.
        """
        return await self.services.engines.act(work, undo)
