"""Images on their way: pull, push, load, save, import, and the check of a registry's credentials."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp

from bento.api_docker.bodies.registry import Auth, read_credentials, read_header
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, Streamed, failure, json, line
from bento.api_docker.streams.pipes import inflow, outflow
from bento.api_docker.streams.progress import transfer
from bento.docker import image_api
from bento.engine.images.pull import Pulled
from bento.errors import NotPermitted, UsageError
from bento.files.tree import remove_tree
from bento.model import reference
from bento.model.image import ImageConfig
from bento.model.transfer import Access, OnProgress
from bento.oci.change import apply_changes
from bento.wiring import Engine

_TAR = "application/x-tar"


def _named(name: str, tag: str) -> str:
    """Return a name with its tag, or its digest."""
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}" if tag else name


async def create(call: Call) -> Streamed:
    """``POST /images/create``: pull an image, or make one of the archive in the body (``fromSrc=-``)."""
    query = call.query
    if query.text("fromSrc"):
        return await _import(call)
    name, platform = _named(query.text("fromImage"), query.text("tag")), query.text("platform")
    if not query.text("fromImage"):
        raise UsageError("no image to pull: give ?fromImage=")
    access = read_header(call.header("x-registry-auth"))

    def pull(engine: Engine, on_progress: OnProgress) -> tuple[Pulled, bool]:
        before = {(image.id, each) for image in engine.images() for each in image.names}
        pulled = engine.pull(name, platform=platform, access=access, on_progress=on_progress)
        return pulled, (pulled.image.id, pulled.name) in before

    def last(done: tuple[Pulled, bool]) -> list[dict[str, object]]:
        pulled, was_here = done
        shown = reference.familiar(pulled.name) if pulled.name else pulled.image.id
        what = "Image is up to date" if was_here else "Downloaded newer image"
        return [{"status": f"Digest: {pulled.image.digest}"}, {"status": f"Status: {what} for {shown}"}]

    first = [{"status": f"Pulling from {query.text('fromImage')}", "id": query.text("tag") or "latest"}]
    return await transfer(call, pull, first=first, last=last)


async def _import(call: Call) -> Streamed:
    query = call.query
    if query.text("fromSrc") != "-":
        raise UsageError("the server fetches nothing by fromSrc", hint="send the archive, with fromSrc=-")
    changes = [text for given in query.texts("changes") for text in given.splitlines() if text]
    config = apply_changes(ImageConfig(), changes)
    name = _named(query.text("repo"), query.text("tag"))
    image = await inflow(
        call,
        lambda engine, fd: engine.import_image(
            _path(fd), name, config, message=query.text("message") or "Imported from -", platform=query.text("platform")
        ),
    )
    return Streamed(chunks=_said({"status": image.id}))


async def _said(*documents: dict[str, str]) -> AsyncIterator[bytes]:
    for document in documents:
        yield line(document)


def _path(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}")


async def load(call: Call) -> Streamed:
    """``POST /images/load``: the images of the archive in the body."""
    loaded = await inflow(call, lambda engine, fd: engine.load(_path(fd)))
    lines = [
        {"stream": f"Loaded image: {reference.familiar(each.name)}\n" if each.name
         else f"Loaded image ID: {each.image.id}\n"}
        for each in loaded
    ]  # fmt: skip
    return Streamed(chunks=_said(*lines))


async def save(call: Call) -> Streamed:
    """``GET /images/NAME/get``, ``GET /images/get?names=``: images as an archive."""
    refs = [call.ref] if "ref" in call.params else [n for text in call.query.texts("names") for n in text.split(",")]
    if not refs:
        raise UsageError("no image to save: give ?names=")
    return await outflow(call, lambda engine, fd: engine.save(refs, fd), content_type=_TAR)


async def push(call: Call) -> Streamed:
    """``POST /images/NAME/push``; without a tag all those that the repository has here."""
    ref, tag = _named(call.ref, call.query.text("tag")), call.query.text("tag")
    access = read_header(call.header("x-registry-auth"))
    full = reference.complete(call.ref)
    repository, has_tag = reference.repository(full), reference.split(full)[1]
    is_all = not tag and has_tag == "latest" and not call.ref.endswith(":latest")

    def send(engine: Engine, on_progress: OnProgress) -> list[tuple[str, str, int]]:
        names = engine.tags(ref) if is_all else [ref]
        return [_sent(engine, name, engine.push(name, access=access, on_progress=on_progress)) for name in names]

    def last(sent: list[tuple[str, str, int]]) -> Iterator[dict[str, object]]:
        for name, digest, size in sent:
            yield {"status": f"{name}: digest: {digest} size: {size}"}
            yield {"progressDetail": {}, "aux": {"Tag": name, "Digest": digest, "Size": size}}

    first = [{"status": f"The push refers to repository [{repository}]"}]
    return await transfer(call, send, first=first, last=last, is_push=True)


def _sent(engine: Engine, name: str, digest: str) -> tuple[str, str, int]:
    """Return the tag, the digest, and the size of the manifest, which is the same as in the registry."""
    manifest = engine.drivers.images.blobs_dir / digest.replace(":", "/")
    return reference.split(reference.complete(name))[1], digest, manifest.stat().st_size


async def distribution(call: Call) -> Reply:
    """``GET /distribution/NAME/json``: what a registry has under a name."""
    access = read_header(call.header("x-registry-auth"))
    found = await call.services.engines.move(lambda engine: engine.remote_image(call.ref, access=access))
    return json(image_api.distribution(found))


async def auth(call: Call) -> Reply:
    """``POST /auth``: have a registry check a user and a password. They are not kept here: the client keeps them."""
    given = await call.read(Auth)
    credentials = read_credentials(given)
    if credentials is None:
        raise UsageError("no credentials to check", hint="give username and password")

    def check(engine: Engine) -> None:
        directory = mkdtemp(prefix="auth-", dir=engine.drivers.run_root)
        try:
            access = Access(authfile=os.path.join(directory, "auth.json"))
            engine.login(given.serveraddress or "", credentials, access=access)
        finally:
            remove_tree(Path(directory))

    try:
        await call.services.engines.move(check)
    except NotPermitted as error:
        return failure(str(error), 401)
    return json({"Status": "Login Succeeded", "IdentityToken": ""})
