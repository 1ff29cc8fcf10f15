"""A client of bare connections on asyncio: a thousand of them cost little, and each may die at any byte."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

LIMIT_S = 60.0


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, target: str, body: bytes | None = None, *, upgrade: bool = False) -> bytes:
    """Return a request as it is sent."""
    head = f"{method} {target} HTTP/1.1\r\nHost: bento\r\n"
    if upgrade:
        head += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


class Client:
    """One connection. A context; leaving it closes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_unix_connection(str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, method: str, target: str, document: Any = None) -> Answer:
        """Send a request and return its answer."""
        body = None if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        await self.send(request(method, target, body))
        async with asyncio.timeout(LIMIT_S):
            status, headers = await self.head()
            return Answer(status, await self._body(status, headers))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return the status and the headers of the next answer."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ")[1]), headers

    async def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        found = b""
        while size := int(await self.reader.readline(), 16):
            found += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readline()
        return found


async def ask(path: Path, method: str, target: str, document: Any = None) -> Answer:
    """Send one request on a connection of its own."""
    async with Client(path) as client:
        return await client.ask(method, target, document)
