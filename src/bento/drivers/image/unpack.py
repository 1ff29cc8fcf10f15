"""Unpacking a source into a directory, and hashing what was unpacked, in one pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bento.command import Child, find_program, spawn
from bento.drivers.image.source import Source, decompressor
from bento.drivers.image.stream import Transfer
from bento.errors import NotPermitted, StorageUnusable, UsageError
from bento.model.image import ImageConfig

_PREFIX: Final = "sha256:"
_END_LIMIT_S: Final = 600.0
"""For a program to end after its stream did; unpacking ends with setting the times of all directories."""

_NO_ROOM: Final = ("No space left on device", "Disk quota exceeded", "Wrote only")
"""What GNU tar says when the disk is full; the last one when some of a block still had room."""

# Attributes of trusted.overlay.* are orders to overlayfs, such as to take a file's content from elsewhere: an image has
# no business giving them.
_ATTRIBUTES: Final = ("--xattrs", "--xattrs-include=*", "--xattrs-exclude=trusted.overlay.*", "--acls")
_PACK: Final = (
    "--create",
    "--format=posix",
    "--sort=name",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sparse",
    "--sparse-version=0.0",  # the later ones put tar's process id into the stream
    "--numeric-owner",
    "--one-file-system",
    *_ATTRIBUTES,
)
_UNPACK: Final = ("--extract", "--preserve-permissions", "--same-owner", "--numeric-owner", *_ATTRIBUTES)


class Unpacking:
    """One source on its way into ``target``, an empty directory.

    ``lock`` is a descriptor that the unpacking tar inherits: what it locks stays locked until tar is gone, too, even
    when this process is killed.
    """

    def __init__(self, source: Source, target: Path, *, root: Path, lock: int) -> None:
        self.digest = ""  # hexadecimal, of the uncompressed stream
        self.size_bytes = 0  # of that stream
        self._source = source
        self._target = target
        self._root = root
        self._lock = lock

    def run(self) -> None:
        """Unpack all of it. Blocks. Raises UsageError, StorageUnusable, NotPermitted, MissingTool, OSError."""
        if self._source.is_directory:
            self._copy_directory()
        else:
            self._unpack_archive()
        if not os.listdir(self._target):
            raise UsageError(f"{self._source.words} holds no files", hint="give a root filesystem: bin, etc, usr, ...")

    def _copy_directory(self) -> None:
        path = self._source.path
        if not os.listdir(self._source.fd):
            raise UsageError(f"{path} is empty", hint="give a root filesystem: bin, etc, usr, ...")
        producer = spawn([_tar(), *_PACK, *self._exclusions(path), f"--directory={path}", "--file=-", "."])
        # 1: "some files differ", such as a log that grew meanwhile in a directory that is in use (tar's manual, 2.5).
        self._pipe(producer, accepted=(0, 1))

    def _exclusions(self, path: Path) -> list[str]:
        """Keep our own files out, when the root lies inside the directory: an import would copy itself."""
        here, root = os.path.realpath(path), os.path.realpath(self._root)
        if os.path.commonpath([here, root]) != here:
            return []
        if here == root:
            raise UsageError(f"{path} is Bento's own root", hint="import another directory")
        return ["--anchored", "--no-wildcards", f"--exclude=./{os.path.relpath(root, here)}"]

    def _unpack_archive(self) -> None:
        head = self._source.read_head()
        packed = decompressor(head)
        if packed is None:
            self._pipe(self._source.fd, head=b"" if self._source.is_seekable() else head)
            return
        program = os.fspath(find_program(packed[0], package=packed[1]))
        if self._source.is_seekable():
            self._pipe(spawn([program, "-dc"], stdin_fd=self._source.fd))
            return
        spool = self._source.spool(self._target.parent, head)
        try:
            self._pipe(spawn([program, "-dc"], stdin_fd=spool))
        finally:
            os.close(spool)

    def _pipe(self, producer: Child | int, *, head: bytes = b"", accepted: Sequence[int] = (0,)) -> None:
        """Unpack what ``producer``, a program or a descriptor, gives."""
        children = [producer] if isinstance(producer, Child) else []
        try:
            reader, sink = os.pipe()
            try:
                consumer = spawn(
                    [_tar(), *_UNPACK, f"--directory={self._target}", "--file=-"],
                    stdin_fd=reader,
                    pass_fds=(self._lock,),
                )
            except BaseException:
                os.close(sink)
                raise
            finally:
                os.close(reader)
            children.append(consumer)
            origin = producer if isinstance(producer, int) else producer.stdout_fd
            assert origin is not None  # spawn captures unless told otherwise
            transfer = Transfer(origin, sink, head=head, talkers=children)
            is_complete = transfer.run()
            self._judge(transfer, consumer, accepted=(0,))
            if children[0] is not consumer:
                self._judge(transfer, children[0], accepted=accepted)
            if not is_complete:
                raise UsageError(f"{self._source.words} could not be unpacked to its end")
            self.digest, self.size_bytes = transfer.hexdigest(), transfer.size_bytes
        finally:
            for child in children:
                child.kill()

    def _judge(self, transfer: Transfer, child: Child, *, accepted: Sequence[int]) -> None:
        """Raise what a program's end means."""
        done = child.finish(_END_LIMIT_S)
        if done.returncode in accepted:
            return
        text = transfer.said(child) + done.stderr
        words = self._source.words
        if any(mark in text for mark in _NO_ROOM):
            raise StorageUnusable(f"the disk of {self._root} is full", hint="free some space and try again")
        if "Operation not permitted" in text and os.geteuid() != 0:
            raise NotPermitted(f"{words}: {_reason(text)}", hint="run as root")
        raise UsageError(
            f"{words} cannot be imported: {_reason(text) or f'status {done.returncode}'}",
            hint="give a directory, or a tar archive (plain, gzip, bzip2, xz, zstd)",
        )


def image_id(digest: str, config: ImageConfig) -> str:
    """Return the id of this content with these defaults: two imports of the same are one image."""
    content = msgspec.json.encode({"config": config, "layers": [_PREFIX + digest]}, order="deterministic")
    return _PREFIX + hashlib.sha256(content).hexdigest()


def _tar() -> str:
    return os.fspath(find_program("tar", package="tar"))


def _reason(text: str) -> str:
    """Return the first line in which a program says what is wrong, without tar's remarks."""
    for line in text.splitlines():
        if line.strip() and "Removing leading" not in line and not line.endswith("socket ignored"):
            return line.strip()
    return ""
