"""What a client can draw out, and for how long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from bento.api_docker.http import call as calls
from bento.api_docker.http import connection as bounds
from bento.api_docker.http.call import Body, Peer
from bento.api_docker.http.connection import Connection
from bento.api_docker.http.replies import Reply, Streamed
from bento.serving.hangups import Hangups

LIMIT_S = 20.0
Send = Callable[[socket.socket], Awaitable[None]]


async def answer(connection, request):
    await Body(connection.receive).whole()
    return Reply()


def talk(send: Send) -> bytes:
    """Let a client send, and never end by itself; return what comes back until the server has closed."""

    async def run() -> bytes:
        ours, theirs = socket.socketpair()
        hangups = Hangups(asyncio.get_running_loop())
        served = asyncio.ensure_future(
            Connection(*await asyncio.open_unix_connection(sock=theirs), Peer(), answer, hangups).serve()
        )
        ours.setblocking(False)
        sending = asyncio.ensure_future(send(ours))
        found = b""
        async with asyncio.timeout(LIMIT_S):
            with suppress(ConnectionError):  # what is left unread is thrown away
                while data := await asyncio.get_running_loop().sock_recv(ours, 4096):
                    found += data
            await served
        sending.cancel()
        await asyncio.wait([sending])
        ours.close()
        hangups.close()
        return found

    return asyncio.run(run())


async def push(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


async def drip(client: socket.socket, data: bytes) -> None:
    """Send it again and again, a little at a time."""
    while True:
        await push(client, data)
        await asyncio.sleep(0.01)


def test_a_head_that_never_ends_has_a_limit_of_time(monkeypatch):
    monkeypatch.setattr(bounds, "HEAD_LIMIT_S", 0.2)

    async def send(client: socket.socket) -> None:
        await push(client, b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        await drip(client, b"b")

    assert talk(send) == b""


def test_a_body_that_stalls_ends_the_connection(monkeypatch):
    monkeypatch.setattr(bounds, "BODY_STALL_S", 0.1)

    async def send(client: socket.socket) -> None:
        await push(client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")

    assert talk(send) == b""


@pytest.mark.parametrize("head", [b"A: " + b"b" * 200_000, b"A: b\r\n" * 40_000, b"GET /" + b"a" * 200_000])
def test_a_head_is_not_larger_than_its_limit(head):
    async def send(client: socket.socket) -> None:
        await push(client, (b"" if head.startswith(b"GET") else b"GET / HTTP/1.1\r\n") + head)

    assert talk(send).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_leaves_an_answer_is_noticed_where_it_has_sent_an_empty_body(monkeypatch):
    async def endless():
        yield b"x"
        await asyncio.Event().wait()

    async def stream(connection, request):
        return Streamed(chunks=endless(), content_type="")

    monkeypatch.setitem(globals(), "answer", stream)

    async def send(client: socket.socket) -> None:
        await push(client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)

    assert talk(send).startswith(b"HTTP/1.1 200 ")  # and comes to an end


def test_what_no_handler_reads_is_read_up_to_a_limit(monkeypatch):
    async def refuse(connection, request):
        return Reply(status=404)

    monkeypatch.setattr(bounds, "_DRAINED_MAX_BYTES", 1000)
    monkeypatch.setitem(globals(), "answer", refuse)

    async def send(client: socket.socket) -> None:
        await push(client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        await drip(client, b"x" * 1000)

    assert talk(send).startswith(b"HTTP/1.1 404 ")


def test_a_document_that_drips_has_a_limit_of_time(monkeypatch):
    monkeypatch.setattr(calls, "DOCUMENT_LIMIT_S", 0.2)

    async def send(client: socket.socket) -> None:
        await push(client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        await drip(client, b"x")

    assert talk(send) == b""


def test_a_body_that_drips_and_is_not_read_has_one_too(monkeypatch):
    async def refuse(connection, request):
        return Reply(status=404)

    monkeypatch.setattr(bounds, "DRAIN_LIMIT_S", 0.2)
    monkeypatch.setitem(globals(), "answer", refuse)

    async def send(client: socket.socket) -> None:
        await push(client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        await drip(client, b"x")

    assert talk(send).startswith(b"HTTP/1.1 404 ")


def test_a_client_that_reads_nothing_of_an_archive_is_left_and_holds_nothing(monkeypatch):
    """Also not its connection, of which it has not taken what was sent."""
    left = []

    async def archive():
        while True:
            yield b"x" * 100_000

    async def stream(connection, request):
        return Streamed(chunks=archive(), is_one=True, stall_limit_s=0.2, abandon=lambda: left.append(True))

    monkeypatch.setattr(bounds, "CLOSE_LIMIT_S", 0.2)

    async def run() -> None:
        ours, theirs = socket.socketpair()
        hangups = Hangups(asyncio.get_running_loop())
        streams = await asyncio.open_unix_connection(sock=theirs)
        ours.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(LIMIT_S):
            await Connection(*streams, Peer(), stream, hangups).serve()
            ours.settimeout(LIMIT_S)
            while theirs.fileno() >= 0:
                await asyncio.sleep(0.01)
        hangups.close()
        ours.close()

    asyncio.run(run())
    assert left == [True]
