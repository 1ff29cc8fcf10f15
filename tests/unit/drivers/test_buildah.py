"""The directories of builds: each is its build's own, whatever begins, ends or tidies up beside it."""

from __future__ import annotations

import threading
from pathlib import Path

from bento.drivers.builder import buildah
from bento.drivers.builder.buildah import BuildahBuilder


def test_builds_that_begin_at_once_do_not_take_each_other_for_left_over(tmp_path, monkeypatch):
    monkeypatch.setattr(buildah, "find_program", lambda name, package: Path("/nonexistent", name))
    errors = []

    def build() -> None:
        for _ in range(150):
            try:
                with BuildahBuilder(tmp_path).session() as session:
                    (session.directory / "file").write_text("x")
                    assert session.directory.is_dir()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert BuildahBuilder(tmp_path).leftovers() == []


def test_what_a_killed_build_has_left_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(buildah, "find_program", lambda name, package: Path("/nonexistent", name))
    left = tmp_path / "build" / "run-x"
    left.mkdir(parents=True)
    builder = BuildahBuilder(tmp_path)
    assert builder.leftovers() == ["run-x"]
    with builder.session() as session:
        assert not left.exists()
        assert builder.leftovers() == builder.remove_leftovers() == []
        assert builder.prune() == 0, "a build goes on"
    assert builder.prune() >= 0
    assert list((tmp_path / "build").iterdir()) == []
    assert not session.directory.exists()
