"""Taking the packing off an archive: by programs of their own, on another CPU than the one that places the files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bento.command import Child, find_program, spawn
from bento.errors import DeadlineExceeded, MissingTool, UsageError
from bento.oci.packing import HEAD_BYTES, packing_of

_END_LIMIT_S: Final = 60.0
_DECOMPRESSORS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "gzip": (("pigz", "gzip"), "gzip"),
    "zstd": (("zstd",), "zstd"),
    "xz": (("xz",), "xz-utils"),
    "bzip2": (("bzip2",), "bzip2"),
}
"""Programs (the first that is there) and Debian package, by the packing."""
_GZIP_WARNING: Final = 2
"""gzip's exit status for garbage behind the last member, of which pigz says nothing; Docker takes it too. What counts
is the digest of what came out."""


@contextmanager
def decompressed(source_fd: int) -> Iterator[int]:
    """Yield a descriptor of what the archive in ``source_fd``, at its beginning, is without its packing.

    It is to be read to its end. Raises UsageError when it cannot be unpacked, MissingTool. A UsageError from inside is
    raised in the decompressor's words when it is that which has failed.
    """
    program = decompressor(os.pread(source_fd, HEAD_BYTES, 0))
    if program is None:
        yield source_fd
        return
    child = spawn([program, "-dc"], stdin_fd=source_fd)
    try:
        assert child.stdout_fd is not None  # spawn captures unless stdout is given
        os.set_blocking(child.stdout_fd, True)
        try:
            yield child.stdout_fd
        except UsageError as error:
            os.set_blocking(child.stdout_fd, False)
            reason = _last_words(child)
            if not reason:
                raise
            raise UsageError(f"it cannot be unpacked: {reason}") from error
        finish(child, program)
    finally:
        child.kill()


def decompressor(head: bytes) -> str | None:
    """Return the program that unpacks what begins like this; None when it is not packed. Raises MissingTool."""
    packing = packing_of(head)
    if not packing:
        return None
    programs, package = _DECOMPRESSORS[packing]
    for program in programs[:-1]:
        with suppress(MissingTool):
            return os.fspath(find_program(program, package=package))
    return os.fspath(find_program(programs[-1], package=package))


def finish(child: Child, program: str) -> None:
    """Wait for a decompressor that was read to its end. Raises UsageError when it has failed. Blocks."""
    done = child.finish(_END_LIMIT_S)
    if done.returncode not in (0, _GZIP_WARNING if program.endswith("gzip") else 0):
        reason = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise UsageError(f"it cannot be unpacked: {reason[:200]}")


def _last_words(child: Child) -> str:
    """What a decompressor has said, when it is it that has failed."""
    try:
        done = child.finish(0.5)
    except DeadlineExceeded:  # it waits for us: the archive is at fault
        return ""
    return done.stderr.strip().splitlines()[-1][:200] if done.returncode > 0 and done.stderr.strip() else ""
