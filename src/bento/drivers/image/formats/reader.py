"""Images in archives: ``docker save``'s and OCI's layouts in a tar file, read in one pass, also through a pipe.

Not by skopeo, which needs a file it can seek in, takes one image at a time, and converts. Every file of the archive is
hashed while it is written beside the store, where it stays until its image is whole: a refused archive leaves nothing.
Which of them are layers is known only when ``manifest.json`` or ``index.json`` has come, and that may be last. Names in
the archive are keys here, never paths on disk.

Formats: image-spec, image-layout.md; Docker's image specification v1.2, "Combined Image JSON + Filesystem Changeset".
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bento.drivers.image.base import ArchivedImage, Inbox
from bento.drivers.image.layers.unpack import SpaceGuard
from bento.errors import UsageError
from bento.files.tarstream import Stream, entries
from bento.model.reference import parse
from bento.oci.image import Descriptor, Index, Manifest, choose_platform, layer_type, parse_manifest
from bento.oci.image_config import CONFIG_MAX_BYTES, parse_config
from bento.oci.layout import LAYOUT_FILE, generate, image_manifest
from bento.oci.packing import HEAD_BYTES
from bento.oci.platform import Platform

_FILES_MAX: Final = 100_000
"""Files in one archive: a hundred images have some thousand."""
_SMALL_BYTES: Final = CONFIG_MAX_BYTES
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_LINKS_MAX: Final = 8
_NAME_ANNOTATIONS: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_HINT: Final = "give what save, docker save, podman save or skopeo wrote"


class _Docker(Struct, rename="pascal"):
    """One entry of ``manifest.json``."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class _Entry(Struct, rename="camel"):
    digest: str
    annotations: dict[str, str] | None = None


class _Layout(Struct):
    manifests: list[_Entry]


def read_archive(fd: int, head: bytes, inbox: Inbox, platform: Platform) -> list[ArchivedImage]:
    """Take the blobs of all images in a tar stream: ``head``, and what is to be read from ``fd``. Blocks to its end.

    Of an image for several platforms, the one for ``platform``. Each image once. Raises UsageError for what is no such
    archive, OSError when the disk fails.
    """
    archive = _Archive(inbox)
    space = SpaceGuard(inbox.directory, lambda: None)
    with Stream(partial(os.read, fd), watch=space.check, head=head) as stream:
        for entry in entries(stream):
            archive.add(entry, stream)
    if archive.has("index.json") and archive.has(LAYOUT_FILE):
        found = list(archive.oci_images(platform))
    elif archive.has("manifest.json"):
        found = list(archive.docker_images())
    else:
        raise UsageError("the archive holds no image: neither index.json nor manifest.json", hint=_HINT)
    if not found:
        raise UsageError("the archive holds no image: its list is empty", hint=_HINT)
    return _merged(found)


class _Archive:
    """What has been read: digests by name, and links."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._digests: dict[str, str] = {}
        self._links: dict[str, str] = {}

    def add(self, entry: tarfile.TarInfo, stream: Stream) -> None:
        """Take one entry of the archive."""
        name = posixpath.normpath(entry.name).lstrip("/")
        if len(self._digests) + len(self._links) >= _FILES_MAX:
            raise UsageError(f"the archive has more than {_FILES_MAX} files", hint=_HINT)
        if entry.issym():  # docker save once wrote a layer of several images so
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.linkname))
        elif entry.islnk():
            self._links[name] = posixpath.normpath(entry.linkname).lstrip("/")
        elif entry.isreg() and not entry.issparse():
            self._digests[name] = self._keep(name, entry.size, stream)

    def has(self, name: str) -> bool:
        """Whether the archive has this file."""
        return name in self._digests

    def oci_images(self, platform: Platform) -> Iterator[ArchivedImage]:
        """Yield the images that ``index.json`` names; an older list of names in ``manifest.json`` counts too."""
        layout = self._decode("index.json", _Layout)
        index = parse_manifest(self._content("index.json"))
        tagged = self._tags() if self.has("manifest.json") else {}
        if not isinstance(index, Index):
            raise UsageError("the archive's index.json is no index", hint=_HINT)
        for (descriptor, _), entry in zip(index.manifests, layout.manifests, strict=True):
            content = self._manifest(descriptor, platform)
            if content is None:
                continue
            manifest = image_manifest(content)
            self._take(manifest.config.digest)
            for layer in manifest.layers:
                self._layer(layer.digest)
            names = [(entry.annotations or {}).get(key, "") for key in _NAME_ANNOTATIONS]
            whole = [name for name in names if "/" in name or ":" in name][:1]
            yield ArchivedImage(
                self._inbox.add_bytes(content), _names([*whole, *tagged.get(manifest.config.digest, ())])
            )

    def docker_images(self) -> Iterator[ArchivedImage]:
        """Yield the images that ``manifest.json`` names."""
        for entry in self._decode("manifest.json", list[_Docker]):
            config = self._content(entry.config)
            count = len(parse_config(config).diff_ids)
            digests = [self._digest(name) for name in entry.layers or ()]
            if len(digests) != count:
                raise UsageError(f"the archive has {len(digests)} layers for an image of {count}", hint=_HINT)
            layers = [self._layer(digest) for digest in digests]
            self._inbox.add_bytes(config)
            yield ArchivedImage(self._inbox.add_bytes(generate(config, layers)), _names(entry.repo_tags or ()))

    def _tags(self) -> dict[str, list[str]]:
        """Names by the digest of the configuration."""
        named: dict[str, list[str]] = {}
        for entry in self._decode("manifest.json", list[_Docker]):
            named.setdefault(self._digest(entry.config), []).extend(entry.repo_tags or ())
        return named

    def _manifest(self, descriptor: Descriptor, platform: Platform) -> bytes | None:
        """Return the manifest of one image; None when this entry of the index is something else than an image."""
        content = self._blob(descriptor.digest)
        parsed = parse_manifest(content)
        if isinstance(parsed, Manifest):
            return content
        there = tuple(each for each in parsed.manifests if self._has_blob(each[0].digest))
        return self._blob(choose_platform(Index(there), platform).digest)

    def _keep(self, name: str, size: int, stream: Stream) -> str:
        """Write one file beside the store, unless it is there; return its digest."""
        promised = _BLOB.fullmatch(name)
        if promised and self._inbox.find(f"sha256:{promised[1]}") is not None:
            return f"sha256:{promised[1]}"
        draft = self._inbox.directory / "draft"
        sha256 = hashlib.sha256()
        with open(draft, "wb") as file:
            for piece in stream.pieces(size):
                sha256.update(piece)
                file.write(piece)
        digest = sha256.hexdigest()
        if promised and promised[1] != digest:
            raise UsageError(f"the archive is damaged: {name} has digest {digest}", hint="make it anew")
        os.rename(draft, self._inbox.directory / digest)
        return f"sha256:{digest}"

    def _take(self, digest: str) -> Path:
        """Give a blob to the image on its way in; return its file."""
        self._check_there(digest)
        if self._inbox.find(digest) is None:
            self._inbox.add_file(digest, self._file(digest))
        return self._file(digest)

    def _layer(self, digest: str) -> Descriptor:
        path = self._take(digest)
        self._inbox.begin_layer(digest)
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        return Descriptor(layer_type(head), digest, path.stat().st_size)

    def _has_blob(self, digest: str) -> bool:
        return self._inbox.find(digest) is not None or (self._inbox.directory / digest[7:]).exists()

    def _check_there(self, digest: str) -> None:
        if not self._has_blob(digest):
            raise UsageError(f"the archive lacks the blob {digest}", hint="it is damaged")

    def _file(self, digest: str) -> Path:
        return self._inbox.find(digest) or self._inbox.directory / digest.removeprefix("sha256:")

    def _blob(self, digest: str) -> bytes:
        self._check_there(digest)
        return self._read(self._file(digest), digest)

    def _digest(self, name: str) -> str:
        """Return the digest of a file, also when it is a link to another."""
        at = posixpath.normpath(name).lstrip("/")
        for _ in range(_LINKS_MAX):
            if at in self._digests:
                return self._digests[at]
            at = self._links.get(at, "")
        raise UsageError(f"the archive lacks the file {name!r}", hint="it is damaged")

    def _content(self, name: str) -> bytes:
        return self._read(self._file(self._digest(name)), name)

    def _read(self, path: Path, name: str) -> bytes:
        if path.stat().st_size > _SMALL_BYTES:
            raise UsageError(f"the archive is damaged: {name} has more than {_SMALL_BYTES >> 20} MiB", hint=_HINT)
        return path.read_bytes()

    def _decode(self, name: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(self._content(name), type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            words = str(error).splitlines()[0] if str(error) else "it nests too deep"
            raise UsageError(f"the archive's {name} cannot be read: {words}", hint="it is damaged") from None


def _merged(images: Iterable[ArchivedImage]) -> list[ArchivedImage]:
    """Each image once, with all its names: an index has an entry for each name."""
    merged: dict[str, tuple[str, ...]] = {}
    for image in images:
        merged[image.manifest_digest] = tuple(dict.fromkeys((*merged.get(image.manifest_digest, ()), *image.names)))
    return [ArchivedImage(digest, names) for digest, names in merged.items()]


def _names(names: Any) -> tuple[str, ...]:
    """Full names, each once. Raises UsageError for one that Docker would refuse."""
    return tuple(dict.fromkeys(str(parse(name)) for name in names))
