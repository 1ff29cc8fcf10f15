"""Sessions in the documentation: blocks of the kind "console", with a command after each "# ", and what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from support.cli import Roots

_CHANGING = (
    (r"\b[0-9a-f]{64}\b", "ID64"),
    (r"\b[0-9a-f]{12}\b", "ID12"),
    (r"\b(Less than a second|About a minute|\d+ seconds?)\b", "TIME"),
    (r"\b\d+\.\d+ s\b", "TIME"),
    (r"(?m)^\s*\d+ (?=\S)", "PID "),
    (r"(?<!Exited )\(\d+\)", "(PID)"),
    (r"\s+", " "),  # columns, and folded lines
)


class Command(NamedTuple):
    """A command, and what it printed."""

    line: str
    output: str


def sessions_of(page: Path) -> list[list[Command]]:
    """Return the sessions of a page, in their order."""
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", page.read_text(encoding="utf-8"))
    return [[Command(*found) for found in re.findall(r"(?m)^# (.+)\n((?:(?!# ).*\n)*)", block)] for block in blocks]


def play(session: list[Command], roots: Roots, directory: Path) -> list[Command]:
    """Type the commands one after the other, in a network namespace of their own, and return what they print."""
    settings = {"BENTO_ROOT": str(roots.root), "BENTO_RUN_ROOT": str(roots.run_root)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = ["ip link set lo up", *(f"{command.line}\n{_AT_END}" for command in session)]
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", "\n".join(script)],
        cwd=directory, env=os.environ | settings | {"PATH": path}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    outputs = done.stdout.split(f"{_END}\n")
    return [Command(command.line, output) for command, output in zip(session, outputs, strict=False)]


_END = "--- end of a command ---"
_AT_END = f"status=$?; echo '{_END}'; (exit $status)"


def steady(output: str) -> str:
    """Return what is the same each time: no ids, times or pids, and no folds."""
    for pattern, name in _CHANGING:
        output = re.sub(pattern, name, output)
    return output.strip()


def folded(output: str) -> str:
    """Return an output as the pages have it: long lines that are no table are folded."""
    lines = []
    for line in output.splitlines():
        long = len(line) > 130 and not re.search(r"\S {3,}\S", line)
        lines += textwrap.wrap(line, 126, subsequent_indent="  ", break_on_hyphens=False) if long else [line]
    return "".join(f"{line}\n" for line in lines)
