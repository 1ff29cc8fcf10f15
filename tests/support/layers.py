"""Layers and images of a test's own making: any entries, any lies, as a store takes them and as other tools do."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bento.drivers.image.base import Ingest
from bento.oci.image import OCI_CONFIG, OCI_MANIFEST
from bento.oci.platform import host_platform

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
MTIME = 1_600_000_000


class Entry(NamedTuple):
    """One entry of a layer: a name, fields of TarInfo, content."""

    name: str
    fields: dict[str, Any]
    content: bytes = b""


def file(name: str, content: bytes = b"x", **fields: Any) -> Entry:
    return Entry(name, {"mode": 0o644} | fields, content)


def directory(name: str, mode: int = 0o755, **fields: Any) -> Entry:
    return Entry(name, {"type": tarfile.DIRTYPE, "mode": mode} | fields)


def symlink(name: str, target: str, **fields: Any) -> Entry:
    return Entry(name, {"type": tarfile.SYMTYPE, "linkname": target, "mode": 0o777} | fields)


def hardlink(name: str, target: str) -> Entry:
    return Entry(name, {"type": tarfile.LNKTYPE, "linkname": target})


def device(name: str, major: int, minor: int, *, is_block: bool = False, **fields: Any) -> Entry:
    kind = tarfile.BLKTYPE if is_block else tarfile.CHRTYPE
    return Entry(name, {"type": kind, "devmajor": major, "devminor": minor, "mode": 0o600} | fields)


def fifo(name: str, **fields: Any) -> Entry:
    return Entry(name, {"type": tarfile.FIFOTYPE, "mode": 0o600} | fields)


def whiteout(name: str) -> Entry:
    above, _, last = name.rpartition("/")
    return file(f"{above}/.wh.{last}" if above else f".wh.{last}", b"")


def opaque(name: str) -> Entry:
    return file(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq", b"")


def xattrs(**values: str) -> dict[str, Any]:
    """Fields of an entry with attributes; ``__`` in a name is a dot."""
    return {"pax_headers": {f"SCHILY.xattr.{name.replace('__', '.')}": value for name, value in values.items()}}


def tar(entries: Iterable[Entry]) -> bytes:
    """Return a layer's archive."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for name, fields, content in entries:
            info = tarfile.TarInfo(name)
            info.mtime = MTIME
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Bundle(NamedTuple):
    """An image in memory: its blobs, and the digest of its manifest."""

    blobs: dict[str, bytes]
    manifest: str

    def put(self, ingest: Ingest) -> str:
        """Give the blobs to a store on the way in; return the manifest's digest."""
        for content in self.blobs.values():
            ingest.add_bytes(content)
        return self.manifest

    def write_layout(self, path: Path) -> Path:
        """Write an OCI layout that other tools read, with the tag ``latest``."""
        blobs = path / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for digest, content in self.blobs.items():
            (blobs / digest.partition(":")[2]).write_bytes(content)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        entry = descriptor(OCI_MANIFEST, self.blobs[self.manifest])
        entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        return path


def descriptor(media_type: str, content: bytes, **lies: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content)} | lies


def bundle(
    layers: Sequence[bytes], *, diff_ids: Sequence[str] | None = None, layer: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None, manifest: dict[str, Any] | None = None, is_packed: bool = False,
) -> Bundle:  # fmt: skip
    """Make an image of plain archives, lowest first. ``layer``, ``config`` and ``manifest`` replace fields: lies."""
    stored = [gzip.compress(each, 1, mtime=0) for each in layers] if is_packed else list(layers)
    platform = host_platform()
    document = {
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids or map(sha256, layers))},
    } | (config or {})
    content = json.dumps(document).encode()
    made = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, content),
        "layers": [descriptor(GZIP if is_packed else PLAIN, each) | (layer or {}) for each in stored],
    } | (manifest or {})
    body = json.dumps(made).encode()
    blobs = {sha256(each): each for each in (*stored, content, body)}
    return Bundle(blobs, sha256(body))
