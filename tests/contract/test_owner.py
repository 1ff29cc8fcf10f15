"""A tree is given to another owner whole, and nothing beside it, whatever its links lead to and whatever moves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bento.errors import StorageUnusable
from bento.files import owner

UID, GID = 12345, 12346


def owners(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a link out of it, and a file beside it."""
    (tmp_path / "beside").touch()
    top = tmp_path / "top"
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/file").touch()
    (top / "a/out").symlink_to(tmp_path / "beside")
    (top / "a/up").symlink_to("../..")
    os.mkfifo(top / "a/b/fifo")
    return top


def test_all_below_is_given_and_no_link_is_followed(tree: Path) -> None:
    for _ in range(2):
        owner.give(str(tree), UID, GID)
        for path in (tree, *tree.rglob("*")):
            assert owners(path) == (UID, GID), path
    assert owners(tree.parent / "beside") == owners(tree.parent) == (os.geteuid(), os.getegid())


def test_a_file_and_a_link_that_was_named_are_given(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree / "a/file")
    owner.give(str(link), UID, GID)
    assert owners(tree / "a/file") == (UID, GID)
    assert owners(tree) == owners(link) == (os.geteuid(), os.getegid())


def test_any_depth(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    owner.give(str(tmp_path), UID, GID)
    assert (os.fstat(fd).st_uid, os.fstat(fd).st_gid) == (UID, GID)
    os.close(fd)


def test_what_is_moved_away_meanwhile_leads_nowhere_else(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tree.parent / "other"
    other.mkdir()
    (other / "mine").touch()
    give = owner._give_entries

    def move(directory: int, *rest: int) -> list[str]:
        found = give(directory, *rest)
        if "c" in found:
            (tree / "a/b").rename(other / "b")
        return found

    monkeypatch.setattr(owner, "_give_entries", move)
    with pytest.raises(StorageUnusable, match="moved away"):
        owner.give(str(tree), UID, GID)
    assert owners(other / "mine") == owners(other) == (os.geteuid(), os.getegid())


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageUnusable, match="No such file"):
        owner.give(str(tmp_path / "gone"), UID, GID)
