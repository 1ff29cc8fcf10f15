"""The files of a container's log: ``log``, which grows, and before it those that were full, by number in ``log.d``.

conmon (2.1) keeps one file: before that would grow beyond its limit, conmon opens ``log.tmp``, which need not be new,
empties it, and renames it to ``log`` (ctr_logging.c, reopen_k8s_file). What was ``log`` goes with its last name. So
each file is given another name before it is full, its number in ``log.d``; and as ``log.tmp`` there lies a *spare*, an
empty file that has the next number already. Thus no file is lost at a rotation, be it that nothing looks for a while;
at the next one the file between would be. ``keep`` puts things in order for the next rotation, and deletes what is too
old. It is called at the start, and after each rotation by a process for all containers (``drivers.monitor.rotation``),
which runs without site packages: nothing but the standard library is imported here.

All is done below a directory that is open, and follows no link.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

LOG: Final = "log"
SPARE: Final = "log.tmp"
"""conmon's name for the next file."""
FULL: Final = "log.d"

_ROUNDS: Final = 50  # conmon needs some microseconds from one file to the next
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_Which = tuple[int, int]
"""Device and inode: which file it is, whatever it is called."""


def keep(directory_fd: int, most: int) -> None:
    """Have every file numbered and a spare ready; delete the oldest beyond ``most``, the spare aside. Idempotent.

    Raises OSError, for instance on a full disk: the next call goes on from there.
    """
    with suppress(FileExistsError):
        os.mkdir(FULL, 0o700, dir_fd=directory_fd)
    for _ in range(_ROUNDS):  # conmon may rotate at any moment
        known = _numbers(directory_fd)
        last = max(known.values(), default=0)
        log, spare = _which(directory_fd, LOG), _which(directory_fd, SPARE)
        if log is not None and log not in known:
            _link(directory_fd, LOG, last + 1)
        elif spare is None:
            _make_spare(directory_fd, last + 1)
        elif spare in known and log is not None and known[spare] < known[log]:
            finish(directory_fd)
        else:
            break
    spare = _which(directory_fd, SPARE)
    numbers = sorted(number for which, number in _numbers(directory_fd).items() if which != spare)
    for number in numbers[: -most or None]:
        _unlink(directory_fd, f"{FULL}/{number}")


def prepare(directory_fd: int, most: int, limit_bytes: int) -> int:
    """Make ready for a new run of the monitor; return how many bytes it may write before it rotates.

    Monitors do not count what earlier runs have left in the file: one that is more than half full is rotated.
    No monitor runs. Raises OSError.
    """
    finish(directory_fd)
    with suppress(FileExistsError):
        os.close(os.open(LOG, _NEW, 0o600, dir_fd=directory_fd))
    keep(directory_fd, most)
    size_bytes = os.stat(LOG, dir_fd=directory_fd, follow_symlinks=False).st_size
    if size_bytes > limit_bytes // 2:
        os.rename(SPARE, LOG, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        keep(directory_fd, most)
        size_bytes = 0
    return limit_bytes - size_bytes


def finish(directory_fd: int) -> None:
    """Remove the spare: no monitor writes any more. Idempotent."""
    spare = _which(directory_fd, SPARE)
    known = _numbers(directory_fd)
    _unlink(directory_fd, SPARE)
    if spare in known:
        _unlink(directory_fd, f"{FULL}/{known[spare]}")


class LogFile:
    """One file of a log, open for reading. Close it.

    Attributes:
        stream: it, from its beginning.
        number: its own, or, where it had none yet, that of the last file before it.
    """

    def __init__(self, fd: int, number: int) -> None:
        self.stream = os.fdopen(fd, "rb")
        self.number = number

    @property
    def which(self) -> _Which:
        """Which file it is."""
        status = os.fstat(self.stream.fileno())
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Close it. Idempotent."""
        self.stream.close()


def open_files(directory: str, after: LogFile | None = None) -> list[LogFile]:
    """Open the files of a log, oldest first; the last one grows. ``after``: only those that came after it.

    Empty where there is none. Raises OSError.
    """
    try:
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        spare = _which(directory_fd, SPARE)
        found = _open(directory_fd, spare, after)
        for _ in range(_ROUNDS):
            before, spare = spare, _which(directory_fd, SPARE)
            if spare == before:
                break
            for file in found:  # rotated meanwhile: what was the spare may have been ``log``, and full
                file.close()
            found = _open(directory_fd, spare, after)
        return found
    finally:
        os.close(directory_fd)


def is_current(directory: str, file: LogFile) -> bool:
    """Whether no other file has taken its place. One whose directory is gone has none after it."""
    try:
        status = os.stat(f"{directory}/{LOG}", follow_symlinks=False)
    except OSError:
        return True
    return (status.st_dev, status.st_ino) == file.which


def _open(directory_fd: int, spare: _Which | None, after: LogFile | None) -> list[LogFile]:
    known = _numbers(directory_fd)
    if after is not None:
        after.number = known.get(after.which, after.number)  # it may have got one since
    first = after.number if after is not None else 0
    numbers = sorted(number for which, number in known.items() if which != spare and number > first)
    found: list[LogFile] = []
    try:
        for number in numbers:
            with suppress(FileNotFoundError):  # deleted meanwhile, as the oldest
                found.append(LogFile(os.open(f"{FULL}/{number}", _OLD, dir_fd=directory_fd), number))
        with suppress(FileNotFoundError):
            log = LogFile(os.open(LOG, _OLD, dir_fd=directory_fd), max([first, *numbers]))
            if log.which in [file.which for file in (*found, *([after] if after else []))]:
                log.close()
            else:
                found.append(log)
    except BaseException:
        for file in found:
            file.close()
        raise
    return found


def _numbers(directory_fd: int) -> dict[_Which, int]:
    """Return the files in ``log.d`` with their numbers."""
    try:
        fd = os.open(FULL, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    except OSError:
        return {}
    found = {}
    try:
        for name in os.listdir(fd):
            if name.isascii() and name.isdigit() and (which := _which(fd, name)) is not None:
                found[which] = int(name)
    finally:
        os.close(fd)
    return found


def _which(directory_fd: int, name: str) -> _Which | None:
    try:
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _link(directory_fd: int, name: str, number: int) -> None:
    """Give a file a number, unless it is gone, or that number taken."""
    with suppress(FileNotFoundError, FileExistsError):
        os.link(
            name, f"{FULL}/{number}", src_dir_fd=directory_fd, dst_dir_fd=directory_fd, follow_symlinks=False
        )  # fmt: skip


def _make_spare(directory_fd: int, number: int) -> None:
    name = f"{FULL}/{number}"
    os.close(os.open(name, _NEW, 0o600, dir_fd=directory_fd))
    try:
        os.link(name, SPARE, src_dir_fd=directory_fd, dst_dir_fd=directory_fd, follow_symlinks=False)
    except OSError as error:
        _unlink(directory_fd, name)
        if not isinstance(error, FileExistsError):  # conmon makes one at this moment
            raise


def _unlink(directory_fd: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory_fd)
