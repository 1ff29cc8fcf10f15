"""Writing images out of the store: archives as ``docker save`` and OCI have them, and the same as directories.

A docker-archive is written as Docker itself does since version 25: an OCI layout with a ``manifest.json`` in it, so
that it is both. Blobs are written as they are, also compressed ones: an image that is loaded again is the same one.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bento.errors import BadImage, UsageError
from bento.files.planted import resolved
from bento.files.tree import remove_tree
from bento.files.whole import replaced, unwritable, write_all
from bento.oci.image import Manifest
from bento.oci.layout import (
    LAYOUT_CONTENT,
    LAYOUT_FILE,
    as_oci,
    blob_path,
    descriptor,
    digest_of,
    image_manifest,
    index,
    layer_sizes,
)

DIRECTORIES: Final = ("oci-dir", "docker-dir")
FORMATS: Final = ("docker-archive", "oci-archive", *DIRECTORIES)
_CHUNK_BYTES: Final = 1 << 20
_DIR_VERSION: Final = b"Directory Transport Version: 1.1\n"

Content = bytes | Path
"""What a file shall hold: these bytes, or what another file has."""


class Saved(Struct, frozen=True):
    """One image to be written. ``names`` are full ones, as people shall find them."""

    manifest: bytes
    names: tuple[str, ...]


def write(images: Sequence[Saved], blobs: Path, kind: str, target: Path | int) -> None:
    """Write images to a file, which is replaced only by a complete one, a directory, or an open descriptor. Blocks.

    Raises UsageError, StorageUnusable, Conflict when the target cannot be that, BrokenPipeError when the reader is
    gone, BadImage for a blob that was damaged, OSError when the disk of the blobs fails; then nothing is left of it.
    """
    if isinstance(target, int):
        if kind in DIRECTORIES:
            raise UsageError(f"the format {kind} is a directory, not a stream", hint="name one with -o")
        _write_archive(images, blobs, kind, _Output(target, "the output"))
        return
    try:
        target = resolved(target)
    except OSError as error:
        raise unwritable(target, error) from error
    if kind in DIRECTORIES:
        _fill_directory(images, blobs, kind, target)
    elif target.exists() and not target.is_file():
        if target.is_dir():
            raise UsageError(f"{target} is a directory", hint="name a file")
        with _Output.opened(target, os.O_WRONLY) as special:  # /dev/stdout, a named pipe
            _write_archive(images, blobs, kind, special)
    else:
        with replaced(target, 0o666) as fd:
            _write_archive(images, blobs, kind, _Output(fd, target))


class _Output:
    """What is written to. When it fails, that is told of it, not of the store that is read meanwhile."""

    def __init__(self, fd: int, what: Path | str) -> None:
        self._fd = fd
        self._what = what

    @classmethod
    @contextmanager
    def opened(cls, path: Path, flags: int) -> Iterator[_Output]:
        """Open a file to be written to, and close it at the end. Raises UsageError, StorageUnusable."""
        try:
            fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            yield cls(fd, path)
        finally:
            os.close(fd)

    def write(self, data: bytes) -> None:
        """Write all of it. Raises UsageError, StorageUnusable, BrokenPipeError."""
        try:
            write_all(self._fd, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(self._what, error) from error


def _fill_directory(images: Sequence[Saved], blobs: Path, kind: str, target: Path) -> None:
    try:
        is_new = not target.exists()
        if is_new:
            target.mkdir(parents=True)
        elif os.listdir(target):
            raise UsageError(f"{target} is not empty", hint="name a new directory")
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        _write_directory(images, blobs, kind, target)
    except BaseException:
        for name in os.listdir(target):
            path = target / name
            remove_tree(path) if path.is_dir() else path.unlink()
        if is_new:
            target.rmdir()
        raise


def _write_archive(images: Sequence[Saved], blobs: Path, kind: str, output: _Output) -> None:
    """Write an archive to a file or pipe. The same images make the same bytes. Blocks."""
    for name, content in _members(images, blobs, kind):
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
        output.write(info.tobuf(tarfile.GNU_FORMAT))
        _pour(content, output)
        output.write(bytes(-info.size % tarfile.BLOCKSIZE))
    output.write(bytes(tarfile.BLOCKSIZE * 2))


def _write_directory(images: Sequence[Saved], blobs: Path, kind: str, directory: Path) -> None:
    """Write a layout into a directory that is empty. Blocks."""
    for name, content in _members(images, blobs, kind):
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        with _Output.opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as output:
            _pour(content, output)


def _members(images: Sequence[Saved], blobs: Path, kind: str) -> Iterator[tuple[str, Content]]:
    """Yield the files of a layout, each name once."""
    if kind == "docker-dir":
        yield from _flat(images[0].manifest, blobs)
        return
    written: set[str] = set()
    entries: list[dict[str, object]] = []
    docker = []
    for image in images:
        content = as_oci(image.manifest)
        manifest = image_manifest(content)
        parts: list[tuple[str, Content]] = [(digest_of(content), content), *_parts(manifest, blobs)]
        for digest, body in parts:
            if digest not in written:
                written.add(digest)
                yield _blob(digest), body
        entries += _entries(content, [name for name in image.names if _is_true(name, digest_of(content))])
        docker.append({
            "Config": _blob(manifest.config.digest),
            "RepoTags": [name for name in image.names if "@" not in name],
            "Layers": [_blob(layer.digest) for layer in manifest.layers],
        })  # fmt: skip
    if kind == "docker-archive":
        yield "manifest.json", msgspec.json.encode(docker)
    yield "index.json", index(entries)
    yield LAYOUT_FILE, LAYOUT_CONTENT


def _flat(content: bytes, blobs: Path) -> Iterator[tuple[str, Content]]:
    """skopeo's own ``dir:``."""
    yield "version", _DIR_VERSION
    yield "manifest.json", content
    for digest, body in _parts(image_manifest(content), blobs):
        yield digest.removeprefix("sha256:"), body


def _parts(manifest: Manifest, blobs: Path) -> Iterator[tuple[str, Path]]:
    for digest in dict.fromkeys((manifest.config.digest, *layer_sizes(manifest))):
        yield digest, blob_path(blobs, digest)


def _is_true(name: str, digest: str) -> bool:
    """Whether a name is that of this manifest: in other words the same image has another digest."""
    return "@" not in name or name.endswith(f"@{digest}")


def _entries(content: bytes, names: Sequence[str]) -> list[dict[str, object]]:
    """One entry for each name: Podman and skopeo look for the second annotation, Docker for the first."""
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    return [descriptor(content, annotations=dict.fromkeys(keys, name)) for name in names] or [descriptor(content)]


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _pour(content: Content, output: _Output) -> None:
    """Write what a file shall hold. Raises BadImage when a blob is not any more what its name says."""
    if isinstance(content, bytes):
        output.write(content)
        return
    algorithm, digits = content.parts[-2:]
    digest = hashlib.new(algorithm)
    with open(content, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            output.write(chunk)
    if digest.hexdigest() != digits:
        raise BadImage(
            f"the blob {algorithm}:{digits} is damaged on this machine's disk",
            hint="remove the image with -f, and fetch it again",
        )
