"""Waiting for a file to grow or a directory to go, also when the kernel grants no watch."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.drivers.storage.overlay import OverlayStorage
from bento.errors import KernelError
from bento.kernel import libc
from bento.kernel.file_watches import FileWatches
from bento.kernel.inotify import FileWatch, GoneWatch, arrived, watch_arrivals
from bento.locks import ContainerLocks

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


def test_a_file_whose_place_another_one_takes_is_noticed(tmp_path: Path) -> None:
    log, beside, (read_fd, write_fd) = tmp_path / "log", tmp_path / "log.tmp", os.pipe()
    log.touch()
    beside.touch()
    try:
        with log.open("rb") as stream, FileWatch(Path(f"/proc/self/fd/{stream.fileno()}")) as watch:
            threading.Timer(0.1, lambda: beside.replace(log)).start()
            watch.wait(read_fd)
            assert not beside.exists()
    finally:
        os.close(read_fd)
        os.close(write_fd)


@pytest.fixture
def no_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int = 0) -> int:
        raise KernelError("inotify_init1", errno.EMFILE, "too many open files")

    monkeypatch.setattr(libc, "inotify_init", refuse)


@pytest.mark.usefixtures("no_instances")
def test_without_an_instance_a_file_is_looked_at_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    reader, writer = os.pipe()
    try:
        with FileWatch(tmp_path / "log") as watch:
            watch.wait(reader)  # returns though nothing happens
            os.close(writer)
            watch.wait(reader)
    finally:
        os.close(reader)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_directory_that_goes_is_noticed(tmp_path: Path, request: pytest.FixtureRequest, is_told: bool) -> None:
    if not is_told:
        request.getfixturevalue("no_instances")
    directory = tmp_path / "run"
    directory.mkdir()
    watch = GoneWatch(directory)
    try:
        assert not watch.wait(0.0)
        directory.rmdir()
        assert watch.wait(60.0)
    finally:
        watch.close()
        watch.close()


def test_what_does_not_exist_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="No such file"):
        GoneWatch(tmp_path / "nothing")


@pytest.mark.usefixtures("no_instances")
def test_without_an_instance_a_lock_is_waited_for_all_the_same(tmp_path: Path) -> None:
    locks = ContainerLocks(tmp_path)
    held = locks.hold("a", 0.0)
    releasing = threading.Timer(0.1, held.release)
    releasing.start()
    locks.hold("a", 60.0).release()
    releasing.join()


@pytest.mark.usefixtures("no_instances")
def test_without_an_instance_storage_says_so(tmp_path: Path) -> None:
    assert OverlayStorage(tmp_path).watch_releases() is None


def test_names_of_files_that_are_renamed_into_a_directory_are_told(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    watch = watch_arrivals(str(place))
    assert watch is not None
    try:
        (place / "written here").touch()
        for name in ("a", "ö" * 60):
            (tmp_path / "draft").touch()
            (tmp_path / "draft").rename(place / name)
        assert arrived(watch) == ["a", "ö" * 60]
        assert arrived(watch) == []
    finally:
        os.close(watch)


def test_many_watches_share_an_instance_and_each_is_woken_for_its_own_file(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("one", "two")]
    for each in names:
        each.touch()
    watches = FileWatches()
    made = [watches.watch(path) for path in (*names, names[0])]

    def woken() -> list[bool]:
        watches.dispatch()
        found = []
        for each in made:
            poller = select.poll()
            poller.register(each.fileno() or -1, select.POLLIN)
            found.append(bool(poller.poll(0)))
            each.clear()
        return found

    assert woken() == [False, False, False]
    names[0].write_text("x")
    assert woken() == [True, False, True]
    made.pop().__exit__()
    names[0].write_text("y")
    names[1].write_text("y")
    assert woken() == [True, True]
    for left in made:
        left.__exit__()
        left.__exit__()
    names[0].write_text("z")
    watches.dispatch()
    watches.close()
    watches.close()
