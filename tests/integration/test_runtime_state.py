"""What a runtime that was killed leaves of its own state is removed, and in no start's way (rule S21)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.cli import BentoCli, Roots
from support.workload import assert_clean

SLEEP = ("host", "sleep", "1000")
STATE = {"crun": "status", "runc": "state.json"}

KILLED = """#!/bin/sh
# Deletes half of what there is, and is killed; every time but the last.
case "$*" in
*delete*)
    for last; do :; done
    echo x >>{calls}
    if [ -d "$2/$last" ] && [ "$(wc -l <{calls})" -le {times} ]; then
        rm -f "$2/$last/{state}"
        kill -9 $$
    fi
esac
exec {program} "$@"
"""


def left(roots: Roots, runtime: str, identifier: str) -> Path:
    return roots.run_root / "runtime" / runtime / identifier


@pytest.mark.parametrize("times", [1, 2])
def test_s21_what_a_delete_that_was_killed_leaves_is_removed(
    bento: BentoCli, roots: Roots, runtime: str, tmp_path: Path, times: int
) -> None:
    script, calls = tmp_path / "killed", tmp_path / "calls"
    program = shutil.which(runtime)
    script.write_text(KILLED.format(calls=calls, times=times, state=STATE[runtime], program=program))
    script.chmod(0o755)
    identifier = BentoCli(roots, str(script)).run("--name", "w", *SLEEP)
    assert left(roots, runtime, identifier).is_dir()
    stop = bento("stop", "-t", "0", "w", check=False)
    if times == 1:  # the next try is made at once
        assert stop.returncode == 0, str(stop)
        assert not left(roots, runtime, identifier).exists()
    else:
        assert "bento doctor" in stop.stderr
        assert left(roots, runtime, identifier).is_dir()
        assert f"directory: {left(roots, runtime, identifier)}" in bento("doctor", check=False).stdout
        bento("doctor", "--fix", check=False)
        assert not left(roots, runtime, identifier).exists()
    bento("rm", "w")
    assert_clean(bento)


@pytest.mark.parametrize("files", [True, False], ids=["with files", "empty"])
def test_s21_what_is_left_of_a_runtimes_state_is_in_no_starts_way(
    bento: BentoCli, roots: Roots, runtime: str, files: bool
) -> None:
    identifier = bento("create", "--name", "w", *SLEEP).stdout.strip()
    directory = left(roots, runtime, identifier)
    directory.mkdir(parents=True, mode=0o700)
    if files:
        (directory / STATE[runtime]).write_text("{")
    bento("start", "w")
    bento("rm", "-f", "w")
    assert not directory.exists()
    assert_clean(bento)
