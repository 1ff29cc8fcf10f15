"""Clients that die in the middle: of a head, a body, a stream, an answer. None harms anything, nor leaves anything."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from load.client import LIMIT_S, Client, ask, request
from load.world import IMAGE, World, check, spec

Leave = Callable[[Client, str], Awaitable[None]]
"""What a client does before it dies, with the name of a container that runs."""

_CHUNKED = " HTTP/1.1\r\nHost: bento\r\nTransfer-Encoding: chunked\r\n\r\n"


def archive(name: str, content: bytes) -> bytes:
    """Return a tar archive of one file, and its end."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return found.getvalue()


_LARGE = archive("file", b"x" * 100_000)[:90_000]
_ONE_MEMBER = archive("file", b"x" * 5120)[: 512 + 5120]


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _head(client: Client, name: str) -> None:
    await client.send(b"GET /containers/json HTTP/1.1\r\nHost: be")


async def _body(client: Client, name: str) -> None:
    document = json.dumps(spec("true")).encode()
    await client.send(request("POST", "/containers/create", document)[:-10])


async def _upload(client: Client, target: str, data: bytes) -> None:
    await client.send(f"{target}{_CHUNKED}".encode())
    for start in range(0, len(data), 4096):
        await client.send(_chunk(data[start : start + 4096]))
    await asyncio.sleep(0)


async def _build(client: Client, name: str) -> None:
    await _upload(client, "POST /build?t=never", _LARGE)


async def _load(client: Client, name: str) -> None:
    await _upload(client, "POST /images/load", _LARGE)


async def _import(client: Client, name: str) -> None:
    """At the end of a member, where an archive may as well be over."""
    await _upload(client, "POST /images/create?fromSrc=-&repo=never", _ONE_MEMBER)


async def _put(client: Client, name: str) -> None:
    await _upload(client, f"PUT /containers/{name}/archive?path=/tmp", _LARGE)


async def _attach(client: Client, name: str) -> None:
    await client.send(request("POST", f"/containers/{name}/attach?stream=1&stdin=1&stdout=1", b"", upgrade=True))
    await client.head()
    await client.send(b"half a li")


async def _exec(client: Client, name: str) -> None:
    body = {"Cmd": ["sh", "-c", "cat; sleep 0.2"], "AttachStdin": True, "AttachStdout": True}
    made = await client.ask("POST", f"/containers/{name}/exec", body)
    check(made.status == 201, f"exec: {made}")
    await client.send(request("POST", f"/exec/{made.json['Id']}/start", b"{}", upgrade=True))
    await client.head()
    await client.send(b"half a li")


async def _export(client: Client, name: str) -> None:
    await client.send(request("GET", f"/containers/{name}/export"))
    await client.head()
    await client.reader.read(1000)


async def _save(client: Client, name: str) -> None:
    await client.send(request("GET", f"/images/{IMAGE}/get"))
    await client.head()


async def _follow(client: Client, name: str) -> None:
    await client.send(request("GET", f"/containers/{name}/logs?follow=1&stdout=1"))
    await client.head()


async def _unanswered(client: Client, name: str) -> None:
    """Two requests at once, and gone before the first answer."""
    await client.send(2 * request("GET", f"/containers/{name}/json?size=1"))


async def _stop(client: Client, name: str) -> None:
    await client.send(request("POST", f"/containers/{name}/stop?t=30"))


KINDS: dict[str, Leave] = {
    "head": _head,
    "body": _body,
    "build": _build,
    "load": _load,
    "import": _import,
    "put": _put,
    "attach": _attach,
    "exec": _exec,
    "export": _export,
    "save": _save,
    "follow": _follow,
    "unanswered": _unanswered,
}


async def leave(path: Path, name: str, rounds: int) -> None:
    """Have clients of every kind die, several at once."""

    async def one(act: Leave) -> None:
        client = await Client(path).__aenter__()
        try:
            async with asyncio.timeout(LIMIT_S):
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await act(client, name)
        finally:
            client.writer.transport.abort()

    for _ in range(rounds):
        await asyncio.gather(*(one(act) for act in KINDS.values()))


async def leave_stops(path: Path, world: World) -> None:
    """Have the client of a stop die: the stop goes on."""
    for name in world.names:
        async with Client(path) as client:
            await _stop(client, name)
            while (await ask(path, "GET", f"/containers/{name}/json")).json["State"]["Status"] == "running":
                await asyncio.sleep(0.01)
    for name in world.names:
        async with asyncio.timeout(LIMIT_S):
            await ask(path, "POST", f"/containers/{name}/wait")
        report = (await ask(path, "GET", f"/bento/containers/{name}/stop-report")).json
        check(report["verdict"] == "graceful", f"{name}: {report['verdict']}")
        check((await ask(path, "POST", f"/containers/{name}/start")).status == 204, f"{name} is not started again")


async def nothing_of_them(path: Path) -> None:
    """No image has come of what was cut off."""
    names = [name for image in (await ask(path, "GET", "/images/json")).json for name in image["RepoTags"] or ()]
    check(not [name for name in names if "never" in name], f"made of what was cut off: {names}")
