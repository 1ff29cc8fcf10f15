"""Without a descriptor left nothing can be read, which says nothing about what is there."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bento.kernel import cgroup
from bento.kernel.process import proc


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fd = os.open(os.devnull, os.O_RDONLY)  # the lowest that is free
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_process_that_cannot_be_read_is_not_taken_for_gone() -> None:
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
        proc.start_ticks_if_alive(os.getpid())
    assert proc.start_ticks_if_alive(os.getpid()) is not None


def test_a_cgroup_that_cannot_be_read_is_not_taken_for_empty(tmp_path: os.PathLike[str]) -> None:
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
        cgroup.Cgroups({"": os.fspath(tmp_path)}).pids()
