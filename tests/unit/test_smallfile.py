"""Small files that are written whole, and removed with what killed writers have left."""

from __future__ import annotations

from pathlib import Path

from bento.files.smallfile import read_small, remove_small, write_small


def test_what_killed_writers_have_left_goes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_small(path, b"whole")
    assert read_small(path) == b"whole"
    for name in ("a.1234.draft", "ab.1234.draft", "a.json"):
        (tmp_path / name).touch()
    assert remove_small(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "ab.1234.draft"]
    (tmp_path / "a.99.draft").touch()  # killed before it was whole
    assert not remove_small(path)
    assert not (tmp_path / "a.99.draft").exists()
    assert not remove_small(tmp_path / "nowhere" / "a")
