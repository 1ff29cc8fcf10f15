"""Files of containers: archives in and out, what has changed, the whole root, an image of it."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import msgspec

from bento.api_docker.bodies.commit import CommitConfig, read_changes
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Headers, Reply, Streamed, json
from bento.api_docker.streams.pipes import inflow, outflow
from bento.docker import changes as change_words
from bento.docker import path_stat
from bento.engine.files.commit import CommitOptions
from bento.engine.files.copying import CopyOptions
from bento.errors import UsageError

_TAR = "application/x-tar"


async def _stat_header(call: Call) -> Headers:
    path = _path(call)
    found = await call.services.engines.move(lambda engine: engine.stat_path(call.ref, path))
    document = msgspec.json.encode(path_stat.document(found))
    return (("X-Docker-Container-Path-Stat", urlsafe_b64encode(document).decode()),)


def _path(call: Call) -> str:
    path = call.query.text("path")
    if not path:
        raise UsageError("missing path: give ?path=")
    return path


async def stat(call: Call) -> Reply:
    """``HEAD /containers/ID/archive``: what a path is."""
    return Reply(headers=await _stat_header(call))


async def get_archive(call: Call) -> Streamed:
    """``GET /containers/ID/archive``: a file or directory as a tar archive."""
    headers, path = await _stat_header(call), _path(call)
    options = CopyOptions(archive=True)
    return await outflow(
        call,
        lambda engine, fd: engine.archive_out(call.ref, path, fd, options),
        content_type=_TAR,
        headers=headers,
    )


async def put_archive(call: Call) -> Reply:
    """``PUT /containers/ID/archive``: unpack a tar archive into a directory."""
    path = _path(call)
    await inflow(call, lambda engine, fd: engine.archive_in(call.ref, fd, path))
    return Reply()


async def changes(call: Call) -> Reply:
    """``GET /containers/ID/changes``."""
    found = await call.services.engines.move(lambda engine: engine.diff(call.ref))
    return json(change_words.document(found))


async def export(call: Call) -> Streamed:
    """``GET /containers/ID/export``."""
    return await outflow(call, lambda engine, fd: engine.export(call.ref, fd), content_type="application/octet-stream")


async def commit(call: Call) -> Reply:
    """``POST /commit``."""
    query = call.query
    body = await call.read(CommitConfig)
    ref, repository, tag = query.text("container"), query.text("repo"), query.text("tag")
    if not ref:
        raise UsageError("no container to commit: give ?container=")
    options = CommitOptions(
        changes=(*read_changes(body), *[line for text in query.texts("changes") for line in text.splitlines() if line]),
        message=query.text("comment"),
        author=query.text("author"),
        pause=query.flag("pause", default=True),
    )
    name = f"{repository}:{tag}" if repository and tag else repository
    image = await call.services.engines.move(lambda engine: engine.commit(ref, name, options))
    return json({"Id": image.id}, 201)
