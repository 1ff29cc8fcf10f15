"""A directory as a layer's archive, by GNU tar.

The stream depends on nothing but the files, sorted, without access and change times: the same files are the same layer.
It is not packed, as that of a commit is not: packing would take longer than all else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bento import quiet_threads
from bento.command import Child, find_program, spawn
from bento.drivers.image.formats.source import Source
from bento.errors import UsageError

_END_LIMIT_S: Final = 600.0
_COMPLAINTS_BYTES: Final = 16 << 10
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
GIVE_ROOTFS: Final = "give a root filesystem: bin, etc, usr, ..."


@contextmanager
def archived(source: Source, own_root: Path) -> Iterator[int]:
    """Yield a descriptor of the archive of a directory, to be read to its end; what is below ``own_root`` is left out.

    Raises UsageError for a directory that is empty, or ``own_root`` itself, and, at the end, when tar has failed;
    MissingTool.
    """
    path = source.path
    if not os.listdir(source.fd):
        raise UsageError(f"{path} is empty", hint=GIVE_ROOTFS)
    tar = os.fspath(find_program("tar", package="tar"))
    packer = spawn([tar, *_PACK, *_exclusions(path, own_root), f"--directory={path}", "--file=-", "."])
    try:
        assert packer.stdout_fd is not None  # spawn captures unless stdout is given
        os.set_blocking(packer.stdout_fd, True)
        complaints = _Complaints(packer)
        yield packer.stdout_fd
        done = packer.finish(_END_LIMIT_S)
        # 1: "some files differ", such as a log that grew meanwhile in a directory in use (tar's manual, 2.5).
        if done.returncode not in (0, 1):
            reason = (complaints.text() or f"status {done.returncode}").splitlines()[0]
            raise UsageError(f"{source.words} cannot be imported: {reason}")
    finally:
        packer.kill()


def _exclusions(path: Path, root: Path) -> list[str]:
    """Keep Bento's own files out, when its root lies inside the directory: an import would copy itself."""
    here, root_path = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([here, root_path]) != here:
        return []
    if here == root_path:
        raise UsageError(f"{path} is Bento's own root", hint="import another directory")
    return ["--anchored", "--no-wildcards", f"--exclude=./{os.path.relpath(root_path, here)}"]


class _Complaints:
    """Reads the standard error of a program while it runs: with a full pipe it stands still (pipe(7))."""

    def __init__(self, child: Child) -> None:
        assert child.stderr_fd is not None
        self._text = bytearray()
        self._fd = os.dup(child.stderr_fd)
        os.set_blocking(self._fd, True)
        self._thread = quiet_threads.start(self._read, "bento-complaints")

    def text(self) -> str:
        """Return the beginning of it, once the program has ended."""
        self._thread.join()
        return self._text.decode(errors="replace").strip()

    def _read(self) -> None:
        with open(self._fd, "rb", buffering=0) as stream:
            while chunk := stream.read(_COMPLAINTS_BYTES):
                self._text += chunk[: _COMPLAINTS_BYTES - len(self._text)]
