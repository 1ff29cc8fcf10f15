"""From a request to its session: which protocol the client gets, and what is done on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from bento.serving.hangups import Hangups
from bento.streaming import attaching, commands, protocols
from bento.streaming.channels import ChannelLink
from bento.streaming.handshake import Handshake, Head, Refused
from bento.streaming.host import Host
from bento.streaming.links import serve
from bento.streaming.pipes import Pipe, SocketPipe
from bento.streaming.ports import Forwarding
from bento.streaming.protocols import Remote
from bento.streaming.remote import Gathering, Streams, wanted
from bento.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest, Request
from bento.streaming.spdy_link import SpdyLink
from bento.streaming.websocket import NoHandshake, Tunnel, WebSocket

_VERSION: Final = "x-stream-protocol-version"


class Session:
    """One client's."""

    def __init__(
        self,
        host: Host,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handshake: Handshake,
        hangups: Hangups,
    ) -> None:
        self._host, self._reader, self._writer = host, reader, writer
        self._handshake, self._hangups = handshake, hangups

    async def run(self, head: Head, request: Request) -> None:
        """Serve a client until all is done, or it has left. Raises Refused, before anything is begun."""
        upgrades = " ".join(head.values("upgrade")).lower()
        if "upgrade" not in " ".join(head.values("connection")).lower():
            raise Refused(400, "unable to upgrade: the request asks for none")
        pipe = SocketPipe(self._reader, self._writer, head.first, self._hangups)
        if "websocket" in upgrades and head.method == b"GET":
            await self._websocket(head, request, pipe)
        elif "spdy/3.1" in upgrades:
            await self._spdy(head, request, pipe)
        else:
            raise Refused(400, "unable to upgrade: give SPDY/3.1 or websocket")

    async def _spdy(self, head: Head, request: Request, pipe: Pipe) -> None:
        offered = protocols.split(head.values(_VERSION))
        if isinstance(request, PortForwardRequest):
            self._switch(_chosen(offered, (protocols.PORT_FORWARD,)))
            await self._forward(request, pipe)
            return
        remote = protocols.SPDY[_chosen(offered, protocols.SPDY)]
        gathering = Gathering(wanted(request, remote))
        link = gathering.link = SpdyLink(pipe, gathering.take)
        self._switch(remote.name)
        await serve(link, self._gathered(request, gathering, remote))

    def _switch(self, version: str) -> None:
        self._handshake.switch("SPDY/3.1", (("X-Stream-Protocol-Version", version),))

    async def _gathered(self, request: ExecRequest | AttachRequest, gathering: Gathering, remote: Remote) -> None:
        await self._remote(request, await gathering.complete(remote))

    async def _websocket(self, head: Head, request: Request, pipe: Pipe) -> None:
        try:
            socket = WebSocket(head.headers, head.target)
        except NoHandshake as error:
            raise Refused(error.status, f"unable to upgrade: {error}") from None
        offered = protocols.split(head.values("sec-websocket-protocol"))
        if isinstance(request, PortForwardRequest):
            pipe.write(socket.accept(_chosen(offered, (protocols.TUNNEL,))))
            await self._forward(request, Tunnel(pipe, socket))
            return
        remote = protocols.WEBSOCKET[_chosen(offered or [""], protocols.WEBSOCKET)]
        link = ChannelLink(pipe, socket, wanted(request, remote), is_base64=remote.is_base64)
        pipe.write(socket.accept(remote.name))
        await serve(link, self._greeted(request, link, remote))

    async def _greeted(self, request: ExecRequest | AttachRequest, link: ChannelLink, remote: Remote) -> None:
        await link.greet()
        await self._remote(request, Streams(remote, **link.channels))

    async def _remote(self, request: ExecRequest | AttachRequest, streams: Streams) -> None:
        if isinstance(request, ExecRequest):
            await commands.run(self._host, request, streams)
        else:
            await attaching.run(self._host, request, streams)

    async def _forward(self, request: PortForwardRequest, pipe: Pipe) -> None:
        forwarding = Forwarding(self._host, request)
        link = forwarding.link = SpdyLink(pipe, forwarding.take)
        await serve(link, forwarding.run())


def _chosen(offered: list[str], known: Iterable[str]) -> str:
    """Return the version that a client gets. Raises Refused, with those that are known here."""
    found = protocols.choose(offered, known)
    if found is None:
        names = [name for name in known if name]
        given = f"client supports {', '.join(offered) or 'none'}, server accepts {', '.join(names)}"
        raise Refused(
            403,
            f"unable to upgrade: unable to negotiate protocol: {given}",
            tuple(("X-Accepted-Stream-Protocol-Versions", name) for name in names),
        )
    return found
