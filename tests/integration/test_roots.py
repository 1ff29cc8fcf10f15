"""The directories of an engine are its own: nothing else may reach into them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME


@pytest.mark.parametrize("which", ["root", "run_root"])
@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o1777, 0), (0o772, 0), (0o755, 65534)])
def test_directory_that_others_may_change_is_refused(
    bento: BentoCli, roots: Roots, which: str, mode: int, owner: int
) -> None:
    directory = getattr(roots, which)
    directory.mkdir()
    directory.chmod(mode)
    os.chown(directory, owner, 0)
    for words in (("run", "-d", "host", "true"), ("ps",), ("stop", "w")):
        line = bento.fails(*words, code=125 if words[0] == "run" else 1)
        assert str(directory) in line
    assert os.listdir(directory) == []
    os.chown(directory, 0, 0)
    directory.chmod(0o755)
    assert_clean(bento)


@pytest.mark.parametrize(("group", "is_fine"), [(0, True), (65534, False)])
def test_directory_that_a_group_may_change(bento: BentoCli, roots: Roots, group: int, is_fine: bool) -> None:
    roots.root.mkdir()
    os.chown(roots.root, 0, group)
    roots.root.chmod(0o775)
    assert bento("ps", check=False).returncode == (0 if is_fine else 1)
    roots.root.chmod(0o755)


def test_run_directories_are_for_root_alone(bento: BentoCli, roots: Roots) -> None:
    """The monitor's sockets are in them, and those of stops."""
    identifier = bento.run("host", "sleep", "1000")
    for directory in (roots.run_root / "containers", roots.run_root / "containers" / identifier):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    bento("rm", "-f", identifier)
    assert_clean(bento)


def test_containers_are_for_root_alone(bento: BentoCli, roots: Roots) -> None:
    """Images have programs with a set-user-ID bit, and containers make more."""
    (roots.root / "containers").mkdir(parents=True)
    (roots.root / "containers").chmod(0o755)
    bento("create", "--name", "w", "host", "true")
    for name in ("containers", "layers", "blobs", "volumes"):
        directory = roots.root / name
        assert not directory.exists() or stat.S_IMODE(directory.stat().st_mode) == 0o700, name


@pytest.mark.parametrize("which", ["--root", "--run-root"])
@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o775, 0), (0o755, 65534), (0o1777, 65534)])
def test_parent_that_others_may_change_is_refused(
    bento: BentoCli, tmp_path: Path, which: str, mode: int, owner: int
) -> None:
    parent = tmp_path / "parent"
    (parent / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(parent / "deep")
    parent.chmod(mode)
    os.chown(parent, owner, 65534)
    for path in (parent / "deep/own", tmp_path / "link/own"):
        line = bento.fails(which, path, "ps")
        assert f"is below {parent}, which" in line


def test_parent_where_only_the_owner_of_a_name_may_change_it_will_do(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    where = tmp_path / "open/own"
    bento("--root", where, "--run-root", tmp_path / "open/run", "ps")

    (tmp_path / "open/others").symlink_to(where)
    os.chown(tmp_path / "open/others", 65534, 65534, follow_symlinks=False)
    assert "may be written by others" in bento.fails("--root", tmp_path / "open/others/deep", "ps")
