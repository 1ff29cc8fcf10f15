"""What a workload of the differential suite is, what of its work was saved, and how two stops of it compare.

A workload is one file in ``workloads/``; its README says which keys there are. What it leaves behind is judged piece by
piece, and each piece is either good or bad, or a number of whole items. So that the comparison does not depend on
chance, a piece never measures how much was done: a file that is cut is bad however long it is, and of two numbers of
items only a difference of more than ``tolerance`` counts.
"""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import msgspec

from bento.model.stop import Verdict

HERE = Path(__file__).parent
WORKLOADS = HERE / "workloads"
PROGRAMS = HERE / "programs"
SHELLS = ("dash", "bash", "busybox sh")
BEFORE_LINES = 12
"""Lines of a file that is there before the container starts."""


class BadWorkloadError(Exception):
    """A workload's file says something that cannot be right; one line, with the file's name."""


class Evidence(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One piece of saved work, below the directory that the container sees as /s. Exactly one kind is named."""

    exists: str = ""
    gone: str = ""
    whole: str = ""
    any_whole: tuple[str, ...] = ()
    uncut: str = ""
    count: str = ""
    line: str = ""
    sqlite: str = ""
    # Of these kinds alone:
    of: str = ""  # line: the file
    query: str = ""  # sqlite: what is asked
    answer: str = ""  # sqlite: what it must say
    tolerance: int = 1  # count: a difference up to this is none


class Workload(msgspec.Struct, forbid_unknown_fields=True, rename={"is_short": "short", "is_young": "young"}):
    """One file of ``workloads/``."""

    description: str
    saved: dict[str, Evidence]
    program: str = ""
    argv: tuple[str, ...] = ("{shell}", "/s/program")
    shells: tuple[str, ...] = ("sh",)
    files: dict[str, str] = {}
    before: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    outside: str = ""
    client: str = ""
    late_client: str = ""
    needs: tuple[str, ...] = ()
    grace: float = 5.0
    moments: tuple[float, ...] = (0.2, 0.8, 1.4)
    run: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    is_young: bool = False
    is_short: bool = False
    name: str = ""

    @property
    def missing(self) -> list[str]:
        """The programs that it needs and this machine, whose files are the container's, does not have."""
        return [name for name in self.needs if shutil.which(name) is None]

    def words(self, shell: str) -> list[str]:
        """The command of the container, with the name of its shell put in."""
        return [part for word in self.argv for part in (shell.split() if word == "{shell}" else [word])]


_KINDS = ("exists", "gone", "whole", "any_whole", "uncut", "count", "line", "sqlite")


def load(path: Path) -> Workload:
    """Read one workload.

    Raises:
        BadWorkloadError: the file is not TOML, has an unknown key, or lacks one.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        workload = msgspec.convert(document, Workload)
        _check(workload)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise BadWorkloadError(f"{path.name}: {error}") from None
    workload.name = path.stem
    return workload


def load_all(directory: Path = WORKLOADS) -> list[Workload]:
    """Read every workload of a directory."""
    return [load(path) for path in sorted(directory.glob("*.toml"))]


def _check(workload: Workload) -> None:
    if workload.name:
        raise ValueError("the name of a workload is that of its file: remove `name`")
    if not workload.saved:
        raise ValueError("`saved` is empty: nothing would be compared")
    if not workload.moments:
        raise ValueError("`moments` is empty: it would never be stopped")
    if "/s/program" in workload.argv and not workload.program:
        raise ValueError("`program` is missing, and `argv` runs it")
    for name, evidence in workload.saved.items():
        kinds = [kind for kind in _KINDS if getattr(evidence, kind)]
        if len(kinds) != 1:
            raise ValueError(f"`saved.{name}` names {len(kinds)} kinds of evidence, not one of {', '.join(_KINDS)}")
        if kinds == ["line"] and not evidence.of:
            raise ValueError(f"`saved.{name}`: `line` needs `of`, the file")
        if kinds == ["sqlite"] and not (evidence.query and evidence.answer):
            raise ValueError(f"`saved.{name}`: `sqlite` needs `query` and `answer`")


# -- what was saved -------------------------------------------------------------------------------


def whole_text(lines: int = BEFORE_LINES) -> str:
    """A whole file, as the programs write them: its last line counts the lines before."""
    return "".join(f"{number}\n" for number in range(lines)) + f"whole {lines}\n"


def is_whole(path: Path) -> bool:
    """Whether a file is there and has all its lines; one that ends in .gz is unpacked first."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, ValueError):
        return False
    lines = text.split("\n")
    return len(lines) >= 2 and lines[-1] == "" and lines[-2] == f"whole {len(lines) - 2}"


def judge(evidence: Evidence, place: Path) -> int:
    """Look at one piece of evidence: 1 good, 0 bad; of ``count`` the number of whole items."""
    if evidence.exists:
        return int((place / evidence.exists).exists())
    if evidence.gone:
        return int(not (place / evidence.gone).exists())
    if evidence.whole:
        return int(is_whole(place / evidence.whole))
    if evidence.any_whole:
        return int(any(is_whole(place / name) for name in evidence.any_whole))
    if evidence.uncut:
        return int(all(is_whole(path) for path in place.glob(evidence.uncut)))
    if evidence.count:
        return sum(is_whole(path) for path in place.glob(evidence.count))
    if evidence.line:
        file = place / evidence.of
        return int(file.exists() and evidence.line in file.read_text(errors="replace").splitlines())
    return int(_sqlite_says(place / evidence.sqlite, evidence.query) == evidence.answer)


def _sqlite_says(path: Path, query: str) -> str:
    if not path.exists():
        return ""
    # Not read-only: what the write-ahead log holds is brought in, as the next start of the program would do.
    connection = sqlite3.connect(path)
    try:
        row = connection.execute(query).fetchone()
        return "" if row is None else str(row[0])
    except sqlite3.Error as error:
        return str(error)
    finally:
        connection.close()


def judge_all(workload: Workload, place: Path) -> dict[str, int]:
    """Look at every piece of a workload's evidence."""
    return {name: judge(evidence, place) for name, evidence in workload.saved.items()}


# -- the comparison -------------------------------------------------------------------------------


class Change(Enum):
    """What Bento's stop made of a piece, next to the plain stop."""

    LOST = "lost"
    SAME = "same"
    WON = "won"


class Piece(NamedTuple):
    """A piece of evidence after both stops."""

    name: str
    change: Change
    plain: int
    bento: int

    def __str__(self) -> str:
        return f"{self.name} ({self.plain} plainly, {self.bento} by Bento)"


def compare(saved: Mapping[str, Evidence], plain: Mapping[str, int], bento: Mapping[str, int]) -> list[Piece]:
    """Compare what two stops of one workload have saved, piece by piece."""
    pieces = []
    for name, evidence in saved.items():
        slack = evidence.tolerance if evidence.count else 0
        difference = bento[name] - plain[name]
        change = Change.LOST if difference < -slack else Change.WON if difference > slack else Change.SAME
        pieces.append(Piece(name, change, plain[name], bento[name]))
    return pieces
