"""What other users of the machine, and containers, put where root comes by: links, modes, and orders to a terminal."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.terminal import Terminal
from support.workload import ONE_RUNTIME, busybox_rootfs

STRANGER = 65534
WRITERS = {
    "save": ("save", "-o", "{}", "plain"),
    "save to a directory": ("save", "--format", "oci-dir", "-o", "{}", "plain"),
    "export": ("export", "-o", "{}", "w"),
    "cp": ("cp", "w:/etc/passwd", "{}"),
    "cp of a directory": ("cp", "w:/etc", "{}"),
}


@pytest.fixture
def container(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "plain")
    bento("create", "--name", "w", "plain", "/bin/true")


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    """A directory such as /tmp."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


@ONE_RUNTIME
def test_a_link_that_another_user_made_is_not_followed(
    bento: BentoCli, container: None, open_to_all: Path, tmp_path: Path
) -> None:
    for number, (what, words) in enumerate(WRITERS.items()):
        victim = tmp_path / f"victim{number}"
        victim.mkdir() if "directory" in what else victim.write_text("mine\n")
        link, own = open_to_all / f"link{number}", open_to_all / f"own{number}"
        link.symlink_to(victim)
        own.symlink_to(link)
        os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
        line = bento.fails(*(word.format(own) for word in words))
        assert f"{link} is a link that user {STRANGER} has made in a directory where all may" in line, what
        assert os.listdir(victim) == [] if victim.is_dir() else victim.read_text() == "mine\n", what

        os.chown(link, 0, 0, follow_symlinks=False)
        bento(*(word.format(own) for word in words))
        assert os.listdir(victim) if victim.is_dir() else victim.read_bytes() != b"mine\n", what
        assert link.is_symlink()


@ONE_RUNTIME
def test_a_file_that_is_overwritten_leaves_its_mode(
    bento: BentoCli, container: None, open_to_all: Path, tmp_path: Path
) -> None:
    def written(path: Path, mode: int, owner: int) -> int:
        path.write_text("old\n")
        os.chown(path, owner, owner)
        path.chmod(mode)
        bento(*(word.format(path) for word in WRITERS[what]))
        assert path.read_bytes() != b"old\n"
        return stat.S_IMODE(path.stat().st_mode)

    for what in ("save", "export", "cp"):
        assert written(tmp_path / "file", 0o604, 0) == 0o604, what
        assert written(tmp_path / "file", 0o6750, 1000) == 0o750, what
        assert written(open_to_all / "planted", 0o666, STRANGER) != 0o666, what


def shown(bento: BentoCli, *words: str) -> str:
    terminal = Terminal(columns=1000)
    try:
        with bento.start(*words, stdout=terminal.slave, stderr=terminal.slave) as running:
            return terminal.read_until_end(running)
    finally:
        terminal.close()


@ONE_RUNTIME
def test_a_terminal_gets_no_orders_from_a_container(bento: BentoCli) -> None:
    script = r"f=$(printf '/\033]0;owned\007'); : >$f; printf 'a\tb\033[2J\233\r\n'; printf '\033c\n' >&2"
    bento("run", "--name", "w", "--label", "l=x\x1b[31m", "host", "/bin/sh", "-c", script)
    for words, text in (
        (("diff", "w"), "\\x1b]0;owned\\x07"),
        (("inspect", "--format", "{{.Config.Labels.l}}", "w"), "x\\x1b[31m"),
        (("logs", "-t", "w"), "a\tb\\x1b[2J"),
    ):
        seen = shown(bento, *words)
        assert text in seen
        assert "\x1b" not in seen
        raw = bento(*words)
        assert "\x1b" in raw.stdout + raw.stderr  # a program that reads it gets it as it is


def test_the_command_takes_nothing_from_the_environment_or_the_directory(tmp_path: Path) -> None:
    for name in ("sitecustomize", "msgspec", "bento"):
        (tmp_path / f"{name}.py").write_text("print('not ours')\n")
    words = [str(Path(sys.executable).with_name("bento")), "version"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "bento.py")}
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "not ours" not in done.stdout
    assert done.stdout.startswith("Version: ")
