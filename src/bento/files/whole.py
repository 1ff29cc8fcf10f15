"""A file that is there when it is whole, or not at all; and all that is given to a descriptor that may take less."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bento.errors import BentoError, StorageUnusable, UsageError
from bento.files.planted import is_planted, resolved

_NAME_MAX: Final = 200
"""Of the target's name in the draft's: with what is added, it stays below the 255 bytes of a file name."""


@contextmanager
def replaced(target: Path, mode: int) -> Iterator[int]:
    """Yield a descriptor to write to; at the end of the block that is ``target``, in place of what was there.

    When the block raises, ``target`` stays what it was. ``mode`` is less the umask; a file that was there leaves its
    mode and its owner. Where the filesystem can, the file has no name meanwhile (O_TMPFILE, open(2)), so that nothing
    is left of a process that is killed, either. Raises UsageError, StorageUnusable when ``target`` cannot be made,
    Conflict for a link that another user has made in a directory such as /tmp.
    """
    try:
        target = resolved(target)
    except OSError as error:
        raise unwritable(target, error) from error
    draft = target.with_name(
        f".{os.fsdecode(os.fsencode(target.name)[:_NAME_MAX])}.{os.getpid()}-{os.urandom(4).hex()}"
    )
    try:
        fd, is_named = _open(draft, mode)
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        yield fd
        _copy_metadata(fd, target)
        if not is_named:
            is_named = True
            _link(fd, draft)
        _rename(draft, target)
    except BaseException:
        if is_named:
            with suppress(FileNotFoundError):
                draft.unlink()
        raise
    finally:
        os.close(fd)


def _copy_metadata(fd: int, target: Path) -> None:
    """Give a file the owner and mode of the one that it replaces, but for set-id bits, and for a stranger's in /tmp."""
    try:
        there = target.lstat()
        if stat.S_ISREG(there.st_mode) and not is_planted(target.parent.stat(), there):
            os.fchown(fd, there.st_uid, there.st_gid)
            os.fchmod(fd, stat.S_IMODE(there.st_mode) & 0o777)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(target: Path | str, error: OSError) -> BentoError:
    """Return the error for what cannot be written to."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageUnusable(
            f"{target} cannot be written: its disk is full", hint="free some space there, or write elsewhere"
        )
    return UsageError(f"{target} cannot be written: {error.strerror}")


def _open(draft: Path, mode: int) -> tuple[int, bool]:
    """Return a new file, and whether it has a name already."""
    with suppress(OSError):  # a filesystem that cannot says so in several ways
        return os.open(draft.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode), False
    return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), True


def _link(fd: int, draft: Path) -> None:
    try:
        directory = os.open(draft.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # With a descriptor of a directory Python calls linkat(2), which follows; link(2) does not.
            os.link(f"/proc/self/fd/{fd}", draft.name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)
    except OSError as error:
        raise unwritable(draft, error) from error


def _rename(draft: Path, target: Path) -> None:
    try:
        os.rename(draft, target)  # linkat(2) replaces nothing
    except OSError as error:
        raise unwritable(target, error) from error


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything. Blocks, also where the descriptor does not. Raises OSError, BrokenPipeError among them."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # some parents set O_NONBLOCK on what they share with us
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            poller.poll()
