"""Images on their way, in a process of their own: pull, push, load, import.

What goes wrong before the first line is raised, and has a status; later it is the last line.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from bento.api_docker.answering import Lines, Progress
from bento.api_docker.http.errors import message_of
from bento.docker import image_api
from bento.errors import BentoError
from bento.model import reference
from bento.model.image import ImageConfig
from bento.model.transfer import Access
from bento.wiring import Engine


class Pull(Struct, frozen=True, kw_only=True, tag=True):
    """Fetch an image. ``shown`` and ``tag``: as the client has written them."""

    name: str
    platform: str = ""
    access: Access = Access()
    shown: str = ""
    tag: str = ""


class Push(Struct, frozen=True, kw_only=True, tag=True):
    """Send an image. ``is_all``: all the names that the repository of ``ref`` has here."""

    ref: str
    is_all: bool = False
    access: Access = Access()
    repository: str = ""


class Load(Struct, frozen=True, kw_only=True, tag=True):
    """Take the images of the archive on the first descriptor."""


class Import(Struct, frozen=True, kw_only=True, tag=True):
    """Make an image of the root filesystem that is the archive on the first descriptor."""

    name: str
    config: ImageConfig = ImageConfig()
    message: str = ""
    platform: str = ""


Transfer = Pull | Push | Load | Import


def carry_out(engine: Engine, task: Transfer, *fds: int) -> None:
    """Do it; tell of it on the last descriptor. Blocks; KeyboardInterrupt breaks it off: nothing half made is left.

    Raises BentoError where nothing was told yet.
    """
    lines = Lines(fds[-1])
    try:
        match task:
            case Pull():
                _pull(engine, task, lines)
            case Push():
                _push(engine, task, lines)
            case Load():
                _load(engine, fds[0], lines)
            case Import():
                _import(engine, task, fds[0], lines)
    except BentoError as error:
        for fd in fds[:-1]:
            error.message = error.message.replace(str(_path(fd)), "the archive")
        if not lines.has_begun:
            raise
        lines.say(image_api.failure(message_of(error)))


def _pull(engine: Engine, task: Pull, lines: Lines) -> None:
    before = {(image.id, each) for image in engine.images() for each in image.names}
    progress = Progress(lines, {"status": f"Pulling from {task.shown}", "id": task.tag or "latest"})
    pulled = engine.pull(task.name, platform=task.platform, access=task.access, on_progress=progress)
    progress.begin()
    shown = reference.familiar(pulled.name) if pulled.name else pulled.image.id
    what = "Image is up to date" if (pulled.image.id, pulled.name) in before else "Downloaded newer image"
    lines.say({"status": f"Digest: {pulled.image.digest}"})
    lines.say({"status": f"Status: {what} for {shown}"})


def _push(engine: Engine, task: Push, lines: Lines) -> None:
    progress = Progress(lines, {"status": f"The push refers to repository [{task.repository}]"}, is_push=True)
    names = engine.tags(task.ref) if task.is_all else [task.ref]
    sent = [(name, engine.push(name, access=task.access, on_progress=progress)) for name in names]
    progress.begin()
    for name, digest in sent:
        # The manifest is the same as in the registry.
        size = (engine.drivers.images.blobs_dir / digest.replace(":", "/")).stat().st_size
        tag = reference.split(reference.complete(name))[1]
        lines.say({"status": f"{tag}: digest: {digest} size: {size}"})
        lines.say({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}})


def _load(engine: Engine, fd: int, lines: Lines) -> None:
    _say_all(lines, (_loaded(each.name, each.image.id) for each in engine.load(_path(fd))))


def _loaded(name: str, image_id: str) -> dict[str, Any]:
    return {"stream": f"Loaded image: {reference.familiar(name)}\n" if name else f"Loaded image ID: {image_id}\n"}


def _import(engine: Engine, task: Import, fd: int, lines: Lines) -> None:
    image = engine.import_image(
        _path(fd), task.name, task.config, message=task.message or "Imported from -", platform=task.platform
    )
    lines.say({"status": image.id})


def _say_all(lines: Lines, documents: Iterable[dict[str, Any]]) -> None:
    for document in documents:
        lines.say(document)


def _path(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}")
