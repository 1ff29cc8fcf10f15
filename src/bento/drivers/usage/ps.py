"""The processes of a container as ps(1) of this machine lists them: the only place that reads its output.

Docker's rules (daemon/top_unix.go): ps is asked for these pids alone; where an option of its does not go with that,
for all, and the lines of others are dropped. A line of a thread, which has "-" for a pid (ps -m), belongs to the
process above it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from typing import Final

from bento.command import find_program, spawn
from bento.errors import BentoError, UsageError
from bento.model.stats import ProcessTable

_LIMIT_S: Final = 30.0
_MOST_BYTES: Final = 64 << 20
_RENAMED: Final = re.compile(r"(\w+)=\s*(PID\b)", re.ASCII)
"""A column that is called PID, and may hold anything (Docker refuses it, too)."""


def process_table(pids: Collection[int], options: Sequence[str]) -> ProcessTable:
    """See UsageDriver.process_table."""
    if renamed := next((found for word in options if (found := _RENAMED.search(word))), None):
        raise UsageError(f"a column must not be renamed to PID: {renamed[0]!r}", hint="omit the name")
    program = os.fspath(find_program("ps", package="procps"))
    words = [program, *options]
    try:
        text = _run([*words, f"-q{','.join(map(str, sorted(pids)))}"])
    except UsageError:
        text = _run(words)
    return parse(text, pids)


def parse(text: str, pids: Collection[int]) -> ProcessTable:
    """Return the lines of these processes, in cells; the last one has what is left of its line. Raises UsageError."""
    heading, *lines = text.splitlines() or [""]
    titles = _words(heading)
    if "PID" not in titles:
        raise UsageError("the lines of ps have no pid by these options", hint="add its column, as in -o pid,comm")
    at, rows, is_ours = titles.index("PID"), [], False
    for line in lines:
        cells = _words(line)
        if len(cells) <= at:
            continue
        if cells[at] != "-":
            is_ours = cells[at].isdigit() and int(cells[at]) in pids
        if is_ours:
            last = len(titles) - 1
            rows.append((*cells[:last], " ".join(cells[last:])))
    return ProcessTable(tuple(titles), tuple(rows))


def _words(line: str) -> list[str]:
    """As Docker's fieldsASCII: a blank of another alphabet is no separator."""
    return [word for word in re.split(r"[\t\n\f\r ]+", line) if word]


def _run(argv: list[str]) -> str:
    """Return what ps prints. Raises UsageError with its own words when it refuses."""
    out = os.memfd_create("ps", os.MFD_CLOEXEC)
    try:
        done = spawn(argv, stdout_fd=out).finish(_LIMIT_S)
        text = os.pread(out, _MOST_BYTES, 0).decode(errors="replace")
    finally:
        os.close(out)
    said = done.stderr.strip().splitlines()
    if done.returncode != 0 and said:
        raise UsageError(f"ps: {said[0].removeprefix('error: ')}", hint="these are its words; see ps(1)")
    if done.returncode not in (0, 1):  # 1: none of these processes is left
        raise BentoError(f"ps ended with status {done.returncode}")
    return text
