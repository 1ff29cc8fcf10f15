"""What a handler returns: a whole answer, one that goes on for a while, or a connection to be taken over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from bento.api_docker.http.duplex import Duplex
    from bento.streaming.websocket import WebSocket

JSON: Final = "application/json"
Headers = tuple[tuple[str, str], ...]


class Reply(Struct, frozen=True, kw_only=True):
    """A whole answer. ``length``: of the body of an answer to HEAD, where it is known."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Headers = ()


class Streamed(Struct, frozen=True, kw_only=True):
    """An answer whose headers are sent at once and whose body comes in pieces, chunked.

    ``chunks`` is closed when the client has left, or the server ends: what it holds it releases in ``finally``.
    ``abandon`` is called at the end, also where ``chunks`` was never begun. ``is_one``: a part of it is nothing, as of
    an archive: where the server ends before, the client is to see that it was cut short. ``stall_limit_s``: so long the
    client may take nothing of it; None: without a limit.
    """

    chunks: AsyncIterator[bytes]
    is_one: bool = False
    stall_limit_s: float | None = None
    status: int = 200
    content_type: str = JSON
    headers: Headers = ()
    abandon: Callable[[], None] = lambda: None


class Upgrade(Struct, frozen=True, kw_only=True):
    """The connection is handed over: 101 where the client asked for an upgrade, else 200, then ``run`` has it.

    With ``socket`` it is a WebSocket, and ``run`` is given Messages. ``run`` is cancelled when the client has left in
    both directions, or the server ends. ``abandon`` is called at the end, also where ``run`` was never begun.
    """

    run: Callable[[Duplex], Coroutine[Any, Any, None]]
    content_type: str
    abandon: Callable[[], None] = lambda: None
    socket: WebSocket | None = None


Answer = Reply | Streamed | Upgrade

NO_CONTENT: Final = Reply(status=204)
NOT_MODIFIED: Final = Reply(status=304)


def json(document: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """Return a document as the whole answer, with a newline as Docker has it."""
    return Reply(status=status, body=msgspec.json.encode(document) + b"\n", content_type=JSON, headers=headers)


def text(words: str, status: int = 200, headers: Headers = ()) -> Reply:
    """Return words as the whole answer."""
    return Reply(status=status, body=words.encode(), content_type="text/plain; charset=utf-8", headers=headers)


def line(document: Any) -> bytes:
    """Return a document as one piece of an answer of JSON lines."""
    return msgspec.json.encode(document) + b"\r\n"


def failure(message: str, status: int) -> Reply:
    """Return an error as Docker's clients read it."""
    return json({"message": message}, status)
