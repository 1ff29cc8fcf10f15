"""Volumes on disk: what is copied into one, and what an interruption leaves of it."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.drivers.volume import local
from bento.drivers.volume.local import LocalVolumes
from bento.errors import StorageUnusable
from bento.kernel.namespace import in_private_mounts

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep, capability.h


@pytest.fixture
def volumes(tmp_path: Path) -> LocalVolumes:
    made = LocalVolumes(tmp_path / "root")
    with made.changing():
        made.make("v")
    return made


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    """A tree with one of everything."""
    top = tmp_path / "image"
    (top / "sub").mkdir(parents=True)
    os.chown(top, 12, 34)
    os.chmod(top, 0o1770)
    (top / "file").write_text("hello")
    os.chown(top / "file", 1000, 1001)
    os.chmod(top / "file", 0o4755)
    os.setxattr(top / "file", "security.capability", CAPABILITY)
    os.setxattr(top / "file", "user.note", b"\xff\0")
    os.utime(top / "file", ns=(1, 1_000_000_007))
    os.link(top / "file", top / "sub" / "again")
    (top / "sub" / "link").symlink_to("/etc/passwd")
    os.mkfifo(top / "fifo", 0o640)
    os.mknod(top / "null", stat.S_IFCHR | 0o622, os.makedev(1, 3))
    os.chmod(top / "null", 0o622)
    with open(top / "sparse", "wb") as file:
        file.write(b"x" * 4096)
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"y")
    os.utime(top / "sub", ns=(2, 2_000_000_009))
    fd = os.open(top, os.O_PATH)
    yield fd
    os.close(fd)


def test_everything_of_the_tree_is_kept(volumes: LocalVolumes, source: int) -> None:
    assert volumes.fill("v", source)

    top = volumes.path("v")
    status = top.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o1770)
    file = (top / "file").stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (1000, 1001, 0o4755)
    assert file.st_mtime_ns == 1_000_000_007
    assert os.getxattr(top / "file", "security.capability") == CAPABILITY
    assert os.getxattr(top / "file", "user.note") == b"\xff\0"
    assert os.path.samefile(top / "file", top / "sub" / "again")
    assert os.readlink(top / "sub" / "link") == "/etc/passwd"
    assert (top / "sub").stat().st_mtime_ns == 2_000_000_009
    assert stat.S_ISFIFO((top / "fifo").stat().st_mode)
    assert ((top / "null").stat().st_rdev, (top / "null").stat().st_mode) == (os.makedev(1, 3), stat.S_IFCHR | 0o622)
    sparse = (top / "sparse").stat()
    assert sparse.st_size == 1 << 30
    assert sparse.st_blocks * 512 < 1 << 20
    with open(top / "sparse", "rb") as content:
        assert content.read(4097) == b"x" * 4096 + b"\0"
        content.seek(1 << 29)
        assert content.read(2) == b"y\0"
    assert sorted(os.listdir(top.parent)) == ["_data"]
    assert volumes.leftovers() == []


def test_one_that_is_not_empty_is_left_alone(volumes: LocalVolumes, source: int) -> None:
    (volumes.path("v") / "mine").touch()
    assert not volumes.fill("v", source)
    assert os.listdir(volumes.path("v")) == ["mine"]


def test_what_is_left_out_is_not_copied(volumes: LocalVolumes, source: int) -> None:
    status = os.stat("sub", dir_fd=source)
    assert volumes.fill("v", source, {(status.st_dev, status.st_ino)})
    assert sorted(os.listdir(volumes.path("v"))) == ["fifo", "file", "null", "sparse"]


@pytest.mark.parametrize("moment", ["copying", "copied", "moving"])
def test_interrupted_copy_is_done_again_or_finished(
    volumes: LocalVolumes, source: int, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """As by SIGKILL: nothing that would tidy up runs."""
    home = volumes.path("v").parent

    class Killed(BaseException):
        pass

    rename, copy_metadata = os.rename, local._copy_metadata

    def renamed(old: object, new: object, **more: int) -> None:
        if (moment == "copied" and new == home / "filled") or (moment == "moving" and old == "sub"):
            raise Killed
        rename(old, new, **more)  # type: ignore[arg-type]

    def copied(fd: int, source_fd: int) -> None:
        if moment == "copying":
            raise Killed
        copy_metadata(fd, source_fd)

    monkeypatch.setattr(local, "remove_tree", lambda path: None)
    monkeypatch.setattr(local, "_copy_metadata", copied)
    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(Killed):
        volumes.fill("v", source)
    monkeypatch.undo()

    assert volumes.leftovers() == ["unfinished copy into v"]
    if moment == "moving":
        assert volumes.remove_leftovers() == ["unfinished copy into v"]
    else:
        assert os.listdir(volumes.path("v")) == []
        assert volumes.fill("v", source)
    assert sorted(os.listdir(volumes.path("v"))) == ["fifo", "file", "null", "sparse", "sub"]
    assert volumes.path("v").stat().st_uid == 12
    assert os.listdir(home) == ["_data"]
    assert volumes.leftovers() == []


def test_copy_that_a_process_is_at_is_no_leftover(volumes: LocalVolumes) -> None:
    home = volumes.path("v").parent
    (home / "filling").mkdir()
    lock = os.open(home, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert volumes.leftovers() == volumes.remove_leftovers() == []
    finally:
        os.close(lock)
    assert volumes.remove_leftovers() == ["unfinished copy into v"]
    assert os.listdir(home) == ["_data"]


def test_removed_one_is_gone_from_its_name_at_once_and_its_files_later(volumes: LocalVolumes) -> None:
    (volumes.path("v") / "file").touch()
    with volumes.changing():
        volumes.remove("v")
        volumes.remove("v")
    assert volumes.names() == []
    assert volumes.is_empty("v")
    assert [name[:11] for name in volumes.leftovers()] == [".removed-v."]
    with volumes.changing():
        volumes.make("v")  # the name is free
    volumes.clear("v")
    volumes.clear("v")
    assert volumes.leftovers() == []
    assert volumes.names() == ["v"]


def test_full_disk_leaves_nothing(tmp_path: Path, source: int) -> None:
    (tmp_path / "image" / "big").write_bytes(b"x" * 100_000)
    (tmp_path / "small").mkdir()

    def use() -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path / "small"], check=True)
        volumes = LocalVolumes(tmp_path / "small")
        with volumes.changing():
            volumes.make("v")
        with pytest.raises(StorageUnusable, match="full"):
            volumes.fill("v", source)
        assert os.listdir(volumes.path("v")) == []
        assert os.listdir(volumes.path("v").parent) == ["_data"]

    in_private_mounts(use)
