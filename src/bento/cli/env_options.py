"""Variables on the command line and in files, for ``run``, ``create`` and ``exec``."""

from __future__ import annotations

import os

from bento.errors import UsageError


def variable(word: str) -> str:
    """K=V as it is; K alone with the caller's value, or as it is when the caller has none: then it is to be unset."""
    if "=" in word:
        return word
    value = os.environ.get(word)
    return word if value is None else f"{word}={value}"


def read_env_file(path: str) -> list[str]:
    """Return the lines of an env file; empty ones and those that begin with # are comments.

    Raises UsageError, also for a name with blanks in it: others take such files for shell scripts.
    """
    lines = read_lines(path, "env file")
    for line in lines:
        name = line.partition("=")[0]
        if not name or any(char.isspace() for char in name):
            raise UsageError(
                f"env file {path}: bad name {name!r}", hint="write NAME=VALUE, without blanks, or NAME alone"
            )
    return lines


def read_lines(path: str, what: str) -> list[str]:
    """Return the lines of a file but for empty ones and comments. Raises UsageError."""
    try:
        with open(path, encoding="utf-8-sig") as stream:  # editors of Windows put a byte order mark in front
            lines = [line.rstrip("\n").lstrip() for line in stream]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{what} {path}: {reason}") from None
    return [line for line in lines if line and not line.startswith("#")]
