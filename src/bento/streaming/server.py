"""The server: an HTTP port on loopback, whose URLs are given out one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from bento.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest
from bento.wiring import Engine

T = TypeVar("T")


class Engines(Protocol):
    """Threads that call the engine, so that the loop never blocks."""

    async def ask(self, work: Callable[[Engine], T]) -> T:
        """Have something looked up; return what ``work`` returns, raise what it raises."""

    async def act(self, work: Callable[[Engine], T], undo: Callable[[T], object] | None = None) -> T:
        """Have something done. It goes on when this is cancelled; ``undo`` is then called with what came of it."""


OpenNetwork = Callable[[Engine, str], int | None]
"""Opens the network namespace of a pod, by the id of its sandbox: returns a descriptor, which the caller closes, or
None: the pod is in the host's. Called in a thread of ``Engines``. Raises NotFound, WrongState (it is not ready)."""


class StreamingServer:
    """Makes URLs, and serves each of them once. Made in the loop's thread; all methods are called there.

    A URL is absolute, with the scheme http; it has a token of 128 bits of chance that lives for a minute. What exists,
    and in what state it is, is looked at when the URL is used: the caller looks before, to answer CRI's call.
    """

    def __init__(self, engines: Engines, open_network: OpenNetwork, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """``host``, ``port``: to listen at; port 0 is one that is free."""

    async def start(self) -> None:
        """Listen. Raises KernelError where the address is taken or none of this machine."""

    def exec_url(self, request: ExecRequest) -> str:
        """Return where a client gets the streams of a new command.

        Raises UsageError (INVALID_ARGUMENT), TooMany (RESOURCE_EXHAUSTED: a thousand URLs wait to be used).
        """

    def attach_url(self, request: AttachRequest) -> str:
        """Return where a client gets the streams of a container. Raises as ``exec_url``."""

    def port_forward_url(self, request: PortForwardRequest) -> str:
        """Return where a client gets connections to ports of a pod. Raises as ``exec_url``."""

    async def close(self) -> None:
        """Accept no more, and end the sessions under way; commands go on, as when their client leaves. Idempotent."""
