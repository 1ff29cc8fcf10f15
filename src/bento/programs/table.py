"""The table of programs: read from the files of ``known``, and searched by what the kernel shows of a process. Pure.

Nothing is guessed: a program that no file describes, or that two do, is unknown.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from bento.programs.facts import Match, Program

DIRECTORY: Final = Path(__file__).with_name("known")
_INTERPRETER: Final = re.compile(r"(python|ruby|perl|pypy|node|bash|dash|sh|busybox)[0-9.]*")


@cache
def programs() -> dict[str, Program]:
    """Return every program, by its name. Reads some fifty small files, once."""
    found = (read(path.stem) for path in sorted(DIRECTORY.glob("*.toml")))
    return {program.name: program for program in found}


def read(name: str) -> Program:
    """Return one program of the table, by its name."""
    return msgspec.convert(tomllib.loads((DIRECTORY / f"{name}.toml").read_text(encoding="utf-8")), Program)


def find(executable: str, argv: Sequence[str]) -> Program | None:
    """Return the program that a process runs; None: it is not known.

    ``executable``: the file that the kernel runs (/proc/PID/exe), or its name. ``argv``: its arguments.
    """
    name = os.path.basename(executable.removesuffix(" (deleted)"))
    found = [each for each in programs().values() if any(_holds(match, name, argv) for match in each.match)]
    return found[0] if len(found) == 1 else None


def _holds(match: Match, name: str, argv: Sequence[str]) -> bool:
    if match.executable and not fnmatchcase(name, match.executable):
        return False
    if match.script and not _runs_script(name, argv, match.script):
        return False
    return not match.arguments or re.search(match.arguments, " ".join(argv)) is not None


def _runs_script(name: str, argv: Sequence[str], wanted: str) -> bool:
    """Whether an interpreter runs this script: its first argument that is no option, or its title, names it.

    A program that has set its title (gunicorn, unicorn, puma) has its own name in front there.
    """
    if not _INTERPRETER.fullmatch(name):
        return False
    words = [word for word in argv if word]
    title = " ".join(words[:1]).split(" ", 1)[0].rstrip(":")
    if len(words) > 1 and _INTERPRETER.fullmatch(os.path.basename(words[0])):
        rest = words[1:]
        if "-m" in rest[:2]:  # python3 -m gunicorn
            rest = rest[rest.index("-m") + 1 :]
        title = next((word for word in rest if not word.startswith("-")), "")
    return fnmatchcase(os.path.basename(title), wanted)
