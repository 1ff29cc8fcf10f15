"""What clients send comes from strangers: whatever bytes these are, there is an answer or an end, and no defect."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bento import log
from bento.api_docker.http.call import Peer
from bento.api_docker.http.connection import Connection
from bento.api_docker.routes import ROUTES
from bento.api_docker.server import DockerServer
from bento.errors import NotFound
from bento.serving.hangups import Hangups

LIMIT_S = 60.0
STATUSES = {200, 201, 400, 404, 405, 411, 413, 415, 431, 500, 501}

TARGETS = st.one_of(
    st.sampled_from([route.pattern.replace("{ref}", "a").replace("{ref*}", "a/b") for route in ROUTES]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30).map("/".__add__),
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20)
NAMES = st.sampled_from(
    ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "X-Registry-Auth", "A"]
)
USUAL = st.sampled_from([("Host", "x"), ("Content-Length", "2"), ("Transfer-Encoding", "chunked"), ("Upgrade", "tcp")])
HEADERS = st.lists(st.one_of(USUAL, st.tuples(NAMES, VALUES)), max_size=5)
BODIES = st.one_of(
    st.binary(max_size=60), st.sampled_from([b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"5\r\n{", b"ffffffffffff\r\n"])
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "BREW", ""]))
    query = draw(st.one_of(st.just(""), VALUES.map(lambda text: "?" + text.replace(" ", "+"))))
    lines = [f"{method} {draw(TARGETS)}{query} HTTP/1.1", *(f"{name}: {value}" for name, value in draw(HEADERS)), ""]
    return "\r\n".join([*lines, ""]).encode("latin-1") + draw(BODIES)


SENT = st.lists(st.one_of(requests(), requests(), st.binary(max_size=80)), min_size=1, max_size=3).map(b"".join)


class NoEngines:
    """No engine: there is nothing in it."""

    async def nothing(self, *_: Any, **__: Any) -> Any:
        raise NotFound("no such container: a")

    ask = act = move = flow = nothing


class Over:
    """Events that have come to their end."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    async def next(self) -> None:
        return None


class NoServices:
    """Of what a server has, what handlers ask before they ask an engine."""

    def __init__(self) -> None:
        self.engines = NoEngines()
        self.workers = self.execs = self.attaching = self.events = self

    async def hand_over(self, *_: Any) -> Any:
        raise NotFound("no such container: a")

    def find(self, ref: str) -> Any:
        raise NotFound("no such exec: a")

    def subscribe(self, *_: Any) -> Any:
        return Over()


async def converse(sent: bytes, pieces: int) -> bytes:
    """Send it in pieces, and then no more; return all that comes back."""
    server, hangups = DockerServer(NoServices()), Hangups(asyncio.get_running_loop())  # type: ignore[arg-type]
    ours, theirs = socket.socketpair()
    streams = await asyncio.open_unix_connection(sock=theirs)
    serving = asyncio.ensure_future(Connection(*streams, Peer(), server._answer, hangups).serve())
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    found = b""
    try:
        size = max(1, len(sent) // pieces)
        for start in range(0, len(sent), size):
            writer.write(sent[start : start + size])
            await asyncio.sleep(0)
        writer.write_eof()
        async with asyncio.timeout(LIMIT_S):
            found = await reader.read()
            await serving
    except ConnectionError:
        await serving
    finally:
        writer.close()
        hangups.close()
        await server.end()
    return found


@given(SENT, st.integers(1, 9))
def test_whatever_a_client_sends_it_gets_an_answer_or_an_end(sent: bytes, pieces: int) -> None:
    said: list[str] = []
    before, log.sink = log.sink, lambda level, text: said.append(text)
    try:
        found = asyncio.run(converse(sent, pieces))
    finally:
        log.sink = before
    assert not [text for text in said if "defect" in text or "cut short" in text], said
    if found:
        assert found.startswith(b"HTTP/1.1 "), found
        assert int(found[9:12]) in STATUSES | {100, 101}, found
