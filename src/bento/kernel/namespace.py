"""Functions run inside a mount namespace of their own, without forking Python.

unshare(2) and setns(2) act on the calling thread. So the work is done in a fresh thread;
what it mounts and the processes it starts live in that namespace. When the thread ends, only
those processes keep the namespace, and its mounts, alive.
"""

from __future__ import annotations

import _thread
import errno
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from bento.errors import KernelError
from bento.kernel import libc
from bento.kernel.process.interrupts import uninterrupted
from bento.kernel.process.pidfd import open_live

T = TypeVar("T")


def in_private_mounts(fn: Callable[[], T], *, without: str = "") -> T:
    """Run ``fn`` in a new mount namespace, copied from the caller's; return what it returns.

    ``without``: what is mounted at this path, and below it, is left out: a copy would keep it from going with the
    host's.

    The host sees no mount made there. Unmounts on the host still reach it (MS_SLAVE), so a
    long-lived monitor in it never keeps a host's filesystem busy. The working directory is /
    inside ``fn``. Blocks until ``fn`` is done; its exceptions come through. Needs CAP_SYS_ADMIN.
    """

    def enter() -> None:
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount("", "/", "", libc.MS_REC | libc.MS_SLAVE)
        # A working directory is a reference to its mount, and children inherit it. unshare gave this thread its own.
        os.chdir("/")
        if without:
            with suppress(KernelError):  # nothing is mounted there
                libc.umount2(without, libc.MNT_DETACH | libc.UMOUNT_NOFOLLOW)

    return _Call(enter, fn).result()


def in_mounts_of(pidfd: int, fn: Callable[[], T]) -> T:
    """Run ``fn`` in the mount namespace of the process behind ``pidfd``; return what it returns.

    Root and working directory are that namespace's root. Blocks. Raises KernelError with ESRCH
    when the process is gone. Needs CAP_SYS_ADMIN, CAP_SYS_CHROOT and Linux 5.8.
    """

    def enter() -> None:
        # setns(2): a mount namespace can only be joined by a thread that shares no root and cwd with others.
        libc.unshare(libc.CLONE_FS)
        try:
            libc.setns(pidfd, libc.CLONE_NEWNS)
        except KernelError as error:
            if error.errno != errno.ESRCH:
                raise
            # A leader thread that has ended has let go of its namespaces, which the process may still be in.
            fd = open_live(pidfd, "ns/mnt")
            try:
                libc.setns(fd, libc.CLONE_NEWNS)
            finally:
                os.close(fd)

    return _Call(enter, fn).result()


def in_network(namespace_fd: int, fn: Callable[[], T]) -> T:
    """Run ``fn`` in the network namespace that the descriptor stands for; return what it returns. Blocks.

    The processes it starts are in that namespace, too. Needs CAP_SYS_ADMIN.
    """
    return _Call(lambda: libc.setns(namespace_fd, libc.CLONE_NEWNET), fn).result()


def in_new(flags: int, fn: Callable[[], T]) -> T:
    """Run ``fn`` in new namespaces (unshare(2)), which end with it unless something keeps them. Blocks.

    ``fn`` is in a thread of its own: /proc/thread-self/ns has them. Mounts are the caller's.
    """
    return _Call(lambda: libc.unshare(flags), fn).result()


def in_given(namespace_fds: Sequence[int], fn: Callable[[], T]) -> T:
    """Run ``fn`` in the namespaces that these descriptors stand for, of any kind but users; return what it returns.

    Blocks. Needs CAP_SYS_ADMIN.
    """

    def enter() -> None:
        for fd in namespace_fds:
            libc.setns(fd, 0)

    return _Call(enter, fn).result()


def start_thread(main: Callable[..., None], *arguments: object) -> None:
    """Run a function in a thread that nothing waits for. Raises KernelError where there is no memory for its stack."""
    try:
        with uninterrupted(signal.valid_signals()):  # as ``quiet_threads`` says
            _thread.start_new_thread(main, arguments)
    except RuntimeError as error:
        raise KernelError("clone", errno.EAGAIN, "no thread can be started", hint="see ulimit -v and -u") from error


class _Call(Generic[T]):
    """One function in one thread. (``threading`` would cost more to import than all of this module.)"""

    def __init__(self, enter: Callable[[], None], fn: Callable[[], T]) -> None:
        self._enter = enter
        self._fn = fn
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._done = _thread.allocate_lock()
        self._is_over = False

    def result(self) -> T:
        self._done.acquire()
        start_thread(self._main)
        try:
            self._done.acquire()
        except BaseException:
            # A signal handler raised here (Ctrl-C), maybe when the lock was held already. The thread goes on: its work
            # must not outlive this call.
            while not self._is_over:
                self._done.acquire()
            raise
        if self._error is not None:
            raise self._error
        return self._values[0]

    def _main(self) -> None:
        try:
            self._enter()
            self._values.append(self._fn())
        except BaseException as error:
            self._error = error
        finally:
            self._is_over = True
            self._done.release()
