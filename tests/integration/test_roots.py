"""The directories of an engine are its own: nobody else may reach into them."""

from __future__ import annotations

import os
import stat

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
