"""Images on their way: pull, push, load, save, import, and the check of a registry's credentials."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkdtemp

from bento.api_docker.bodies.registry import Auth, read_credentials, read_header
from bento.api_docker.handlers.runs import run
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, Streamed, failure, json
from bento.api_docker.streams.pipes import outflow
from bento.api_docker.transferring import Import, Load, Pull, Push
from bento.docker import image_api
from bento.errors import NotPermitted, UsageError
from bento.files.tree import remove_tree
from bento.model import reference
from bento.model.image import ImageConfig
from bento.model.transfer import Access
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
    shown, tag = query.text("fromImage"), query.text("tag")
    return await run(call, Pull(name=name, platform=platform, access=access, shown=shown, tag=tag))


async def _import(call: Call) -> Streamed:
    query = call.query
    if query.text("fromSrc") != "-":
        raise UsageError("the server fetches nothing by fromSrc", hint="send the archive, with fromSrc=-")
    changes = [text for given in query.texts("changes") for text in given.splitlines() if text]
    config = apply_changes(ImageConfig(), changes)
    name = _named(query.text("repo"), query.text("tag"))
    task = Import(name=name, config=config, message=query.text("message"), platform=query.text("platform"))
    return await run(call, task, has_body=True)


async def load(call: Call) -> Streamed:
    """``POST /images/load``: the images of the archive in the body."""
    return await run(call, Load(), has_body=True)


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

    return await run(call, Push(ref=ref, is_all=is_all, access=access, repository=repository))


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
