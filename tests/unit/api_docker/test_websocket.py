"""A connection as a WebSocket: what its messages carry, and how it ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request, TextMessage

from bento.api_docker.http.call import Call
from bento.api_docker.http.websocket import Messages, asked_of
from bento.errors import UsageError

HEADERS = {
    "host": "d", "connection": "Upgrade", "upgrade": "websocket",
    "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


def asking(headers: dict[str, str]) -> Call:
    return cast(Call, SimpleNamespace(headers=headers, path="/containers/a/attach/ws"))


class Ends:
    """What a client sends, piece by piece, and what it is sent."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces, self.sent, self.is_ended = list(pieces), b"", False

    async def read(self, _: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None: ...

    def write_eof(self) -> None:
        self.is_ended = True


def session(*events: Event, cut: int = 0) -> tuple[Messages, Ends, WSConnection]:
    """Messages of a client that sends these; ``cut``: in pieces of so many bytes."""
    client = WSConnection(ConnectionType.CLIENT)
    lines = client.send(Request(host="d", target="/")).decode().splitlines()[1:]
    socket = asked_of(
        asking({name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)})
    )
    client.receive_data(socket.accept(""))
    assert isinstance(next(client.events()), AcceptConnection)
    data = b"".join(client.send(event) for event in events)
    ends = Ends(*([data[at : at + cut] for at in range(0, len(data), cut)] if cut else [data] * bool(data)))
    return Messages(cast(Any, ends), cast(Any, ends), b"", socket), ends, client


async def all_of(messages: Messages) -> list[bytes]:
    found = []
    while data := await messages.read():
        found.append(data)
    return found


def seen_by(client: WSConnection, ends: Ends) -> list[Event]:
    client.receive_data(ends.sent)
    return list(client.events())


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_messages_are_the_bytes_that_they_carry(cut: int):
    messages, _, _ = session(BytesMessage(data=b"one "), TextMessage(data="zwei ä"), BytesMessage(data=b""), cut=cut)
    assert b"".join(asyncio.run(all_of(messages))) == b"one zwei \xc3\xa4"


def test_a_ping_is_answered_also_where_nothing_is_read_from_the_client():
    messages, ends, client = session(Ping(payload=b"x"))
    assert asyncio.run(messages.drained()) is False
    assert seen_by(client, ends) == [Pong(payload=b"x")]


def test_a_client_that_closes_has_left():
    messages, ends, client = session(BytesMessage(data=b"last"), CloseConnection(code=1000))
    with pytest.raises(ConnectionError):
        asyncio.run(all_of(messages))
    assert [type(event) for event in seen_by(client, ends)] == [CloseConnection]


def test_what_is_written_is_one_message_and_the_end_is_a_close():
    messages, ends, client = session()

    async def write() -> None:
        await messages.write(b"\xff out")

    asyncio.run(write())
    messages.end()
    assert seen_by(client, ends) == [BytesMessage(data=b"\xff out"), CloseConnection(code=1000, reason="")]
    assert ends.is_ended


@pytest.mark.parametrize("missing", ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version"])
def test_what_is_no_request_for_one_is_refused(missing: str):
    with pytest.raises(UsageError, match="no request for a WebSocket"):
        asked_of(asking({name: value for name, value in HEADERS.items() if name != missing}))
