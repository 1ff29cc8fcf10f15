"""Measuring a tree: what its files take of the disk, each once."""

from __future__ import annotations

import os
from pathlib import Path

from bento.files.tree import taken_bytes


def test_files_directories_and_blocks_are_counted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    empty = taken_bytes(top)
    assert taken_bytes(tmp_path / "nothing") == 0
    (top / "a/b/file").write_bytes(b"x" * 100_000)
    assert empty + 100_000 <= taken_bytes(top) < empty + 200_000
    assert taken_bytes(top / "a/b/file") >= 100_000


def test_names_of_one_file_holes_and_links_count_nothing(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    top.mkdir()
    (top / "file").write_bytes(b"x" * 100_000)
    outside.write_bytes(b"y" * 10_000_000)
    before = taken_bytes(top)
    for number in range(20):
        os.link(top / "file", top / f"name{number}")
    (top / "link").symlink_to(tmp_path)
    (top / "file-link").symlink_to(outside)
    with open(top / "hole", "wb") as file:
        file.truncate(100_000_000)
    assert taken_bytes(top) < before + 100_000


def test_what_may_not_be_entered_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "top").symlink_to("/usr")
    assert taken_bytes(tmp_path / "top") < 100_000
