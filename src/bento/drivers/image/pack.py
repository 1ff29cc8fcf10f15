"""``import``: a root filesystem as an image of one layer, with manifest and configuration, as others make them.

Of a directory GNU tar writes a stream that depends on nothing but the files, sorted, without access and change times:
the same files are the same layer. It is not packed, as that of a commit is not: nobody should have to wait for it. The
configuration says when the image was made and of what, as Docker's does.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento.command import Child, find_program, spawn
from bento.drivers.image.source import Source
from bento.errors import UsageError
from bento.model.image import HistoryEntry, Image, ImageConfig
from bento.oci import image as oci
from bento.oci.platform import Platform, host_platform

if TYPE_CHECKING:
    from bento.drivers.image.base import Record
    from bento.drivers.image.intake import StoreIntake

_END_LIMIT_S: Final = 600.0
_SAID_BYTES: Final = 16 << 10
# Attributes of trusted.overlay.* are orders to overlayfs, such as to take a file's content from elsewhere: an image has
# no business giving them.
_PACK: Final = (
    "--create",
    "--format=posix",
    "--sort=name",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sparse",
    "--sparse-version=0.0",  # the later ones put tar's process id into the stream
    "--numeric-owner",
    "--one-file-system",
    "--xattrs",
    "--xattrs-include=*",
    "--xattrs-exclude=trusted.overlay.*",
)
_GIVE: Final = "give a root filesystem: bin, etc, usr, ..."


class About(Struct, frozen=True, kw_only=True):
    """What the image says of itself."""

    config: ImageConfig
    platform: Platform | None
    message: str


def import_rootfs(intake: StoreIntake, path: Path, about: About, record: Record) -> Image:
    """Make an image of a directory or an archive; see ``ImageStore.import_rootfs``."""
    source = Source(path)
    try:
        digest = _pack_directory(intake, source) if source.is_directory else intake.add_blob(source.fd)
    finally:
        source.close()
    try:
        diff_id = intake.add_layer(digest)
    except UsageError as error:
        raise UsageError(
            f"{source.words} cannot be imported: {error.message}",
            hint="give a directory, or a tar archive (plain, gzip, bzip2, xz, zstd)",
        ) from error
    if intake.is_empty(diff_id):
        raise UsageError(f"{source.words} holds no files", hint=_GIVE)
    now = time.time_ns()
    comment = about.message or f"Imported from {os.fsencode(path).decode(errors='replace')}"
    step = HistoryEntry(created_unix_ns=now, comment=comment)
    platform = about.platform or host_platform()
    content = oci.write_config(about.config, platform, [diff_id], created_unix_ns=now, history=[step])
    config_digest = intake.add_bytes(content)
    layer = oci.Descriptor(oci.layer_type(intake.blob_head(digest)), digest, intake.blob_size(digest))
    manifest = oci.write_manifest(oci.Descriptor(oci.OCI_CONFIG, config_digest, len(content)), [layer])
    return intake.adopt(intake.add_bytes(manifest), record)


def _pack_directory(intake: StoreIntake, source: Source) -> str:
    path = source.path
    if not os.listdir(source.fd):
        raise UsageError(f"{path} is empty", hint=_GIVE)
    tar = os.fspath(find_program("tar", package="tar"))
    packer = spawn([tar, *_PACK, *_exclusions(path, intake.root), f"--directory={path}", "--file=-", "."])
    try:
        assert packer.stdout_fd is not None  # spawn captures unless told otherwise
        os.set_blocking(packer.stdout_fd, True)
        listener = _Listener(packer)
        digest = intake.add_blob(packer.stdout_fd)
        done = packer.finish(_END_LIMIT_S)
        # 1: "some files differ", such as a log that grew meanwhile in a directory in use (tar's manual, 2.5).
        if done.returncode not in (0, 1):
            reason = (listener.said() or f"status {done.returncode}").splitlines()[0]
            raise UsageError(f"{source.words} cannot be imported: {reason}")
        return digest
    finally:
        packer.kill()


def _exclusions(path: Path, root: Path) -> list[str]:
    """Keep our own files out, when the root lies inside the directory: an import would copy itself."""
    here, root_path = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([here, root_path]) != here:
        return []
    if here == root_path:
        raise UsageError(f"{path} is Bento's own root", hint="import another directory")
    return ["--anchored", "--no-wildcards", f"--exclude=./{os.path.relpath(root_path, here)}"]


class _Listener:
    """Takes what a program complains of, meanwhile: it stands still when nobody does (pipe(7))."""

    def __init__(self, child: Child) -> None:
        assert child.stderr_fd is not None
        self._said = bytearray()
        self._fd = os.dup(child.stderr_fd)
        os.set_blocking(self._fd, True)
        self._thread = threading.Thread(target=self._listen, name="bento-listen", daemon=True)
        self._thread.start()

    def said(self) -> str:
        """Return the beginning of it, once the program has ended."""
        self._thread.join()
        return self._said.decode(errors="replace").strip()

    def _listen(self) -> None:
        with open(self._fd, "rb", buffering=0) as stream:
            while chunk := stream.read(_SAID_BYTES):
                self._said += chunk[: _SAID_BYTES - len(self._said)]
