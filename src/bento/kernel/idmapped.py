"""Mounts that show the ids of files as those of a user namespace, and threads that make files in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bento.kernel import libc


def open_tree(path: str, user_namespace_fd: int, *, recursive: bool) -> int:
    """Return a detached, idmapped copy of the mount at ``path``; the caller closes it.

    KernelError with EINVAL: a filesystem there has no such mounts.
    """
    fd = libc.open_tree(path, recursive=recursive)
    try:
        libc.map_ids(fd, user_namespace_fd, recursive=recursive)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def making_files_as(owner: tuple[int, int]) -> Iterator[None]:
    """Have the calling thread make files as this user and group, with the capabilities that it has, in the context.

    What root makes has no owner where root's id is not mapped: the kernel refuses that with EOVERFLOW.
    """
    try:
        libc.set_file_ids(*owner)  # several calls: the first may have been done when another one fails
        yield
    finally:
        libc.set_file_ids(0, 0)
