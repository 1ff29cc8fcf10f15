"""Files of variables and of labels, for ``run``, ``create`` and ``exec``."""

from __future__ import annotations

import argparse
import os

from bento.errors import UsageError
from bento.parse.environment import parse_env_file, parse_lines, variable


def read_variables(args: argparse.Namespace) -> tuple[str, ...]:
    """Return what ``--env-file`` and ``--env`` say, in this order. Raises UsageError."""
    files = [line for path in args.env_file for line in parse_env_file(_text(path, "env file"), path=path)]
    return tuple(variable(word, os.environ) for word in (*files, *args.env))


def read_lines(path: str, what: str) -> list[str]:
    """Return the lines of a file but for empty ones and comments. Raises UsageError."""
    return parse_lines(_text(path, what))


def _text(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as stream:  # editors of Windows put a byte order mark in front
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{what} {path}: {reason}") from None
