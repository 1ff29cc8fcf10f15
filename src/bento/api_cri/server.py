"""The server of the Container Runtime Interface: gRPC on the server's own loop (grpclib), v1 and v1alpha2.

Both versions have the same messages, in the bytes that they are sent as; v1alpha2 is what a kubelet up to 1.25 speaks.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from google.protobuf.message_factory import GetMessageClass
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from bento import log
from bento.api_cri.context import Context
from bento.api_cri.errors import as_status
from bento.api_cri.messages import Message, pb
from bento.api_cri.methods import METHODS, STREAMS
from bento.errors import BentoError, as_bento_error

VERSIONS: Final = ("v1", "v1alpha2")
_END_LIMIT_S: Final = 10.0

Answers = Callable[[Context, Message], Awaitable[Message]]
Streams = Callable[[Context, Message], AsyncIterator[Message]]


class CriServer:
    """Answers on sockets that listen already. ``end`` closes them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        logging.getLogger("grpclib").disabled = True  # what goes wrong is the answer, or is logged here
        self._server = Server([_Mapping(context, version) for version in VERSIONS])

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections on a unix socket."""
        await self._server.start(sock=listener)

    async def end(self) -> None:
        """Accept no more, end all calls, and return once they are over, or after a limit. What they began goes on."""
        self._server.close()
        try:
            await asyncio.wait_for(self._server.wait_closed(), _END_LIMIT_S)
        except TimeoutError:
            log.warning("calls were cut short")


class _Mapping:
    """The calls of one version, as grpclib finds them."""

    def __init__(self, context: Context, version: str) -> None:
        self._context, self._version = context, version

    def __mapping__(self) -> dict[str, Handler]:
        found = {}
        for service in pb.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/runtime.{self._version}.{service.name}/{method.name}"
                found[path] = self._handler(method)
        return found

    def _handler(self, method: Any) -> Handler:
        name = method.name
        kind = Cardinality.UNARY_UNARY
        serve: Callable[[Any], Awaitable[None]] = _unimplemented(name)
        if name in METHODS:
            serve = self._unary(name, METHODS[name])
        elif name in STREAMS:
            kind, serve = Cardinality.UNARY_STREAM, self._stream(name, STREAMS[name])
        return Handler(serve, kind, GetMessageClass(method.input_type), GetMessageClass(method.output_type))

    def _unary(self, name: str, answer: Answers) -> Callable[[Any], Awaitable[None]]:
        async def serve(stream: Any) -> None:
            request = await stream.recv_message()
            if request is None:
                return
            began_s = time.monotonic()
            try:
                reply = await answer(self._context.of(self._version), request)
            except GRPCError as error:
                log.debug(f"{name}: {error.status.name}: {error.message}")
                raise
            except (BentoError, OSError) as error:
                status = as_status(as_bento_error(error))
                log.debug(f"{name}: {status.status.name}: {status.message}")
                raise status from None
            except Exception as error:
                raise _defect(name, error) from None
            await stream.send_message(reply)
            if log.is_debug():
                log.debug(f"{name}: {(time.monotonic() - began_s) * 1000:.1f} ms")

        return serve

    def _stream(self, name: str, answer: Streams) -> Callable[[Any], Awaitable[None]]:
        async def serve(stream: Any) -> None:
            request = await stream.recv_message()
            if request is None:
                return
            try:
                await stream.send_initial_metadata()
                async for reply in answer(self._context.of(self._version), request):
                    await stream.send_message(reply)
            except (BentoError, OSError) as error:
                raise as_status(as_bento_error(error)) from None
            except GRPCError:
                raise
            except Exception as error:
                raise _defect(name, error) from None

        return serve


def _unimplemented(name: str) -> Callable[[Any], Awaitable[None]]:
    async def serve(stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not implemented")

    return serve


def _defect(name: str, error: Exception) -> GRPCError:
    """Return what is answered where Bento itself is wrong, or the client has left in the middle."""
    if isinstance(error, ConnectionError | TimeoutError):
        return GRPCError(Status.CANCELLED, str(error))
    log.warning(f"defect in the answer to {name}: {type(error).__name__}: {error}")
    return GRPCError(Status.INTERNAL, f"{type(error).__name__}: {error} (please report this)")
