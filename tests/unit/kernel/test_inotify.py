"""Waiting for a file to grow."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.kernel.inotify import FileWatch

BEYOND_SELECT = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= BEYOND_SELECT:
        pytest.skip("kernel: this process may not have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, BEYOND_SELECT + 64), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_descriptors_may_be_beyond_what_select_knows(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    reader, writer = os.pipe()
    high = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, BEYOND_SELECT)
    try:
        with FileWatch(tmp_path / "log") as watch:
            (tmp_path / "log").write_text("x")
            watch.wait(high)  # for the file
            os.close(writer)
            watch.wait(high)  # for the other end of the pipe
    finally:
        os.close(reader)
        os.close(high)
