"""``make install`` and ``make uninstall``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.workload import ONE_RUNTIME

REPOSITORY = Path(__file__).parents[2]


def make(target: str, prefix: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    subprocess.run(["make", "-C", REPOSITORY, target, f"PREFIX={prefix}"], env=env, check=True, capture_output=True)


@ONE_RUNTIME
def test_what_is_installed_runs_and_uninstall_leaves_what_was_there(tmp_path: Path, runtime: str) -> None:
    prefix = tmp_path / "deep/prefix"
    (tmp_path / "deep/prefix/share/man").mkdir(parents=True)
    for _ in range(2):  # the second time the directories are there
        make("install", prefix)
    done = subprocess.run([prefix / "bin/bento", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("bento ")
    for name in ("share/man/man1/bento-run.1", "share/bash-completion/completions/bento"):
        assert (prefix / name).is_file()
    other = prefix / "share/fish/vendor_completions.d/other.fish"
    other.touch()

    make("uninstall", prefix)
    left = {str(path.relative_to(prefix)) for path in prefix.rglob("*")}
    completions = "share/fish/vendor_completions.d"
    assert left == {"share", "share/man", "share/fish", completions, f"{completions}/other.fish"}
