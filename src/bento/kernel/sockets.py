"""Sockets of another process that are shut down from outside (pidfd_getfd(2), shutdown(2)).

The directory of a process shows no descriptors once its leader thread has ended, and its pidfd reaches none: both are
then asked of a thread that lives (PIDFD_THREAD, Linux 6.9).
"""

from __future__ import annotations

import _socket  # the C half: the other one costs an import
import os
import struct
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc
from bento.kernel.process import pidfd

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_PIDFD_THREAD: Final = os.O_EXCL  # linux/pidfd.h
_LOOK_LIMIT_S: Final = 0.25
"""How long other processes are searched for the sockets of a process: a host may have millions of descriptors."""


def shut_down_own(
    main_fd: int, pid: int, others: Iterable[int], *, with_unnamed: bool = False, limit_s: float = _LOOK_LIMIT_S
) -> int:
    """Shut down the sockets that a process has and none of ``others``, nor this one; return how many.

    Its peers see the end of the connection, and nothing new is accepted. An unnamed UNIX socket (socketpair(2)) is left
    alone, but ``with_unnamed``: its peer is most likely a child, to which the end would mean that its parent has died.
    All are left alone where it cannot be known within ``limit_s`` which others have them. ``others`` is not read when
    there is none to shut down.
    """
    links = list(_links(pid))
    mine = {target: fd for _, fd, target in links if target.startswith("socket:")}
    thread_fd = _open_thread(links[0][0]) if mine else -1
    if thread_fd < 0:
        return 0
    try:
        if pidfd.has_exited(main_fd):  # then the number may have been another thread's
            return 0
        for _, _, target in _links(os.getpid()):  # before we have copies
            mine.pop(target, None)
        if not any(_shut_down(thread_fd, fd, with_unnamed=with_unnamed, is_trial=True) for fd in mine.values()):
            return 0
        if not _leave_out(mine, others, time.monotonic() + limit_s):
            return 0
        return sum(_shut_down(thread_fd, fd, with_unnamed=with_unnamed) for fd in mine.values())
    finally:
        os.close(thread_fd)


def is_pair(tid: int, number: int, makers: Container[int]) -> bool:
    """Whether a descriptor of a thread is one end of a socketpair(2) that one of ``makers`` has made.

    Neither end has a name, and the kernel keeps which process made them (SO_PEERCRED, unix(7)). A connection that was
    accepted has a name at one of its ends.
    """
    thread_fd = _open_thread(tid)
    if thread_fd < 0:
        return False
    try:
        socket = _copy(thread_fd, number)
    finally:
        os.close(thread_fd)
    if socket is None:
        return False
    try:
        if socket.family != _socket.AF_UNIX or socket.getsockname() or socket.getpeername():
            return False
        credentials = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        return _CREDENTIALS.unpack(credentials)[0] in makers
    except OSError:  # without a peer, or shut down
        return False
    finally:
        socket.close()


def _leave_out(mine: dict[str, int], others: Iterable[int], until_mono_s: float) -> bool:
    """Take out of ``mine`` what others have; return False when there was no time to look at all of them."""
    for other in others:
        for _, _, target in _links(other):
            mine.pop(target, None)
            if time.monotonic() > until_mono_s:
                return False
        if not mine:
            break
    return time.monotonic() <= until_mono_s


def _links(pid: int) -> Iterator[tuple[int, int, str]]:
    """Return the descriptors of a process and what each is of, with a live thread that has them."""
    for tid in _names(f"/proc/{pid}/task"):
        directory = f"/proc/{pid}/task/{tid}/fd"
        if not (names := _names(directory)):  # a thread that has ended
            continue
        for name in names:
            try:
                target = os.readlink(f"{directory}/{name}")
            except OSError:  # closed meanwhile
                continue
            yield int(tid), int(name), target
        return


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _open_thread(tid: int) -> int:
    """Return a pidfd of a thread, the leader or another; -1 when it is gone, or before Linux 6.9."""
    for flags in (0, _PIDFD_THREAD):  # of a leader that lives the first will do
        with suppress(OSError):
            return os.pidfd_open(tid, flags)
    return -1


def _copy(thread_fd: int, number: int) -> _socket.socket | None:
    """Return a copy of a thread's socket; None when it is gone, or may not be had."""
    try:
        fd = libc.pidfd_getfd(thread_fd, number)
    except KernelError:
        return None
    try:
        return _socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None


def _shut_down(thread_fd: int, number: int, *, with_unnamed: bool, is_trial: bool = False) -> bool:
    """Return whether it was shut down, or would be."""
    socket = _copy(thread_fd, number)
    if socket is None:
        return False
    try:
        if socket.family == _socket.AF_UNIX and not with_unnamed and not socket.getsockname():
            return False
        if not is_trial:
            socket.shutdown(_socket.SHUT_RDWR)
    except OSError:  # such as one without a peer
        return False
    finally:
        socket.close()
    return True
