"""Commands as they are typed for Docker, with what it prints and exits with: Bento does the same, but where it is said.

The files in docker_commands/ are transcripts. Behind ``$`` stands a command, and below it what it prints, line by line;
``~`` begins a regular expression for a line; ``? N`` is the exit status, if it is not 0; ``! X`` a regular expression
for what is on stderr. ``% REASON`` names a difference that is meant: what follows is Bento's, in the place of what
stands before it. The commands of a file follow on each other, in a root of their own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, busybox_rootfs

FILES = sorted((Path(__file__).parent / "docker_commands").glob("*.txt"))
MAX_DIFFERENCES = 8


class Entry(NamedTuple):
    command: str
    lines: list[str]
    status: int
    said: list[str]
    reason: str


def read(path: Path) -> list[Entry]:
    entries = []
    for block in re.split(r"^\$ ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        command, *rest = block.rstrip("\n").split("\n")
        reason, marks = "", [line for line in rest if not line.startswith("#")]
        for number, line in enumerate(marks):
            if line.startswith("% "):
                stderr = [each for each in marks[:number] if each.startswith("! ")]
                reason, marks = line[2:], [*stderr, *marks[number + 1 :]]
                break
        status = next((int(line[2:]) for line in marks if line.startswith("? ")), 0)
        said = [line[2:] for line in marks if line.startswith("! ")]
        lines = [line for line in marks if not line.startswith(("? ", "! "))]
        entries.append(Entry(command, lines, status, said, reason))
    return entries


def difference(entry: Entry, done: subprocess.CompletedProcess[str]) -> str:
    """What is not as it is written; "" where all is."""
    printed = done.stdout.splitlines()
    if done.returncode != entry.status:
        return f"exit status {done.returncode}, not {entry.status}"
    if len(printed) != len(entry.lines):
        return f"{len(printed)} lines, not {len(entry.lines)}"
    for line, wanted in zip(printed, entry.lines, strict=True):
        if not (re.fullmatch(wanted[1:], line) if wanted.startswith("~") else line == wanted):
            return f"{line!r}, not {wanted!r}"
    missing = [words for words in entry.said if not re.search(words, done.stderr)]
    return f"nothing of {missing} on stderr" if missing else ""


@ONE_RUNTIME
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_typed_for_docker_does_the_same(bento: BentoCli, tmp_path: Path, path: Path) -> None:
    bento("import", "-c", "ENTRYPOINT []", busybox_rootfs(tmp_path / "fs"), "bb")
    script = tmp_path / "bin" / "docker"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, bento.prefix))} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    environ = os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}"}
    for name in ("XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"):
        environ.pop(name, None)
    wrong = []
    for entry in read(path):
        done = subprocess.run(
            ["sh", "-c", entry.command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        if reason := difference(entry, done):
            wrong.append(f"$ {entry.command}\n  {reason}\n  stdout: {done.stdout!r}\n  stderr: {done.stderr!r}")
    assert not wrong, "\n".join(wrong)


def test_few_commands_differ_and_each_says_why() -> None:
    entries = [entry for path in FILES for entry in read(path)]
    assert len(entries) >= 150
    assert len([entry for entry in entries if entry.reason]) <= MAX_DIFFERENCES
