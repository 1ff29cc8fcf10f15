"""``build``: an image from a Containerfile, whose base images are Bento's, and which becomes one of Bento's."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento.engine.base.find_image import HOST_IMAGE, HOST_REFS, find_image
from bento.engine.base.happened import of_image
from bento.engine.images import pull
from bento.engine.images.images import blame, record, recorded, refuse_host
from bento.errors import NotFound, UsageError
from bento.files.place import Placer
from bento.files.tarin import read_tar
from bento.model import reference
from bento.model.transfer import NETWORKS, Access, BuildOptions
from bento.parse import containerfile as containerfiles

if TYPE_CHECKING:
    from bento.drivers.builder.base import BuildSession
    from bento.engine.base.drivers import Drivers
    from bento.model.image import Image
    from bento.model.transfer import OnProgress

_NAMES: Final = ("Containerfile", "Dockerfile")  # the first that is there, as Podman and buildah have it
_STDIN: Final = "-"
_PACKED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How archives begin that are compressed: gzip, bzip2, xz, zstd."""
_MAX_BYTES: Final = 16 << 20
"""Of a Containerfile. One that is larger is something else."""


def build(
    drivers: Drivers,
    options: BuildOptions,
    *,
    access: Access | None = None,
    output_fd: int | None = None,
    on_progress: OnProgress | None = None,
) -> Image:
    """Build an image and record it under its tags. Blocks.

    Base images that are not here are fetched first. ``output_fd`` gets what the build prints.

    Raises UsageError, NotFound (context, Containerfile, base image), BuildFailed, MissingTool and as ``pull`` does;
    then nothing is recorded, and nothing of the build runs or is mounted; layers of steps that were done stay in the
    cache.
    """
    tags = tuple(reference.complete(tag) for tag in options.tags)
    for tag in tags:
        refuse_host(tag)
        if reference.parse(tag).digest:
            raise UsageError(f"{tag} is a digest: what is built gets a tag", hint="name a tag")
    if options.network not in NETWORKS:
        raise UsageError(f"unknown network {options.network!r} of a build", hint=f"use {' or '.join(NETWORKS)}")
    _refuse_elsewhere(options.context)
    drivers.storage.check()
    with drivers.builder.session() as session:
        context, file = _sources(options, session.directory)
        names = containerfiles.images_of(_read(file), dict(options.build_args), options.target)
        for name in names:
            _provide(drivers, session, name, options, access, on_progress)
        archive = session.build(options, context=context, containerfile=file, output_fd=output_fd)
        with drivers.images.transfer() as transfer, blame("what was built"):
            (found,) = transfer.load(archive, None)
            return recorded(drivers, transfer.commit(found.manifest_digest, partial(_keep, drivers, tags)))


def _keep(drivers: Drivers, tags: tuple[str, ...], made: Image) -> set[str]:
    name = reference.familiar(tags[0]) if tags else ""
    return record(drivers, made, *tags, events=[of_image(made, "build", name)])


def _provide(
    drivers: Drivers,
    session: BuildSession,
    name: str,
    options: BuildOptions,
    access: Access | None,
    on_progress: OnProgress | None,
) -> None:
    """Put a base image where the build looks for it; fetch it where it is not here."""
    if name in HOST_REFS:
        raise UsageError(f"FROM {name}: {HOST_IMAGE!r} is this machine itself", hint="import a root filesystem first")
    policy = "always" if options.pull else "missing"
    pull.provide(drivers, name, policy, platform=options.platform, access=access, on_progress=on_progress)
    image = find_image(drivers, name)
    whole = str(reference.parse(reference.complete(name)))
    if session.has(whole, image.id):
        return

    def send() -> None:
        with drivers.images.transfer() as transfer:
            blobs = transfer.hold(image)
            manifest = (blobs / image.digest.replace(":", "/")).read_bytes()
            drivers.transport.send(manifest, blobs, transfer, session.place_of(whole), access=Access())

    drivers.in_private_mounts(send)


def _refuse_elsewhere(context: str) -> None:
    if "://" in context or context.startswith("git@"):
        raise UsageError(
            f"{context} is an address, and the context is a directory or '-'", hint="fetch it first, as by git clone"
        )


def _sources(options: BuildOptions, scratch: Path) -> tuple[Path, Path]:
    """Return the context and the Containerfile. Raises NotFound, UsageError."""
    if not options.context:
        if options.containerfile == _STDIN:
            raise UsageError("the context and the Containerfile cannot both come on stdin", hint="name a directory")
        context = _unpacked(options.stdin_fd, scratch)
        return context, context / options.containerfile if options.containerfile else _file_in(context)
    context = Path(os.path.abspath(options.context))
    if not context.is_dir():
        raise NotFound(f"the context {options.context} is no directory", hint="name the directory of the Containerfile")
    if options.containerfile == _STDIN:
        file = scratch / _NAMES[0]
        file.write_bytes(_drain(options.stdin_fd))
        return context, file
    if not options.containerfile:
        return context, _file_in(context)
    beside, inside = Path(os.path.abspath(options.containerfile)), context / options.containerfile
    return context, beside if beside.is_file() or not inside.is_file() else inside


def _file_in(context: Path) -> Path:
    for name in _NAMES:
        if (context / name).is_file():
            return context / name
    raise NotFound(f"{context} has no {' and no '.join(_NAMES)}", hint="name it with -f")


def _read(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as opened:
            text = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"cannot read {file}: {error.strerror}", hint="name the Containerfile with -f") from error
    if len(text) > _MAX_BYTES:
        raise UsageError(f"{file} is larger than {_MAX_BYTES >> 20} MiB, and no Containerfile")
    return text


def _drain(fd: int) -> bytes:
    """Return all that comes on stdin, as a Containerfile. Raises UsageError for too much of it."""
    found = bytearray()
    while chunk := os.read(fd, 1 << 16):
        found += chunk
        if len(found) > _MAX_BYTES:
            raise UsageError(f"stdin has more than {_MAX_BYTES >> 20} MiB: no Containerfile", hint="is it an archive?")
    return bytes(found)


def _unpacked(fd: int, scratch: Path) -> Path:
    """Return a context from stdin: a tar archive, plain or compressed, or a Containerfile without any files."""
    context, spooled = scratch / "context", scratch / "stdin"
    context.mkdir()
    with open(spooled, "xb") as file:
        while chunk := os.read(fd, 1 << 20):
            file.write(chunk)
    with open(spooled, "rb") as file:
        head = file.read(512)
        file.seek(0)
        if not head:
            raise UsageError("nothing came on stdin", hint="give it a Containerfile, or a tar archive of the context")
        if head[257:262] != b"ustar" and not head.startswith(_PACKED):
            os.rename(spooled, context / _NAMES[0])
            return context
        top = os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            placer = Placer(top)
            try:
                placer.put_all(read_tar(file, "standard input"))
            finally:
                placer.close()
        finally:
            os.close(top)
    os.unlink(spooled)
    return context
